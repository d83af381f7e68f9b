package iam

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/lockfast/lockfast/arn"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/iamapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/policy"
	"github.com/lockfast/lockfast/internal/query"
	"github.com/lockfast/lockfast/internal/restjson"
)

// maxSimulated is the greatest number of pairs of an action and a resource in one simulation.
const maxSimulated = 10_000

// simulateRoutes registers the operations that try policies out.
func (s *Service) simulateRoutes(r *query.Router) {
	query.Handle(r, iamapi.SimulateCustomPolicy, s.SimulateCustomPolicy,
		func(caller.Caller, *iamapi.SimulateCustomPolicyInput) []query.Access {
			return caller.OnAll("iam:SimulateCustomPolicy")
		})
	query.Handle(r, iamapi.SimulatePrincipalPolicy, s.SimulatePrincipalPolicy,
		func(_ caller.Caller, in *iamapi.SimulatePrincipalPolicyInput) []query.Access {
			return caller.On("iam:SimulatePrincipalPolicy", in.PolicySourceArn)
		})
}

// simulation is what both operations have in common.
type simulation struct {
	actions, resources []string
	entries            []iamapi.ContextEntry
	policies           []string // more policies of the principal
	boundaries         []string
	resourcePolicy     *string
	callerARN          *string
	owner              *string
	option             *string

	account   string
	who       *caller.Caller // whose policies are tried; nil for policies alone
	principal policy.Principal
	sets      policy.Sets
	tags      map[string]string
}

// SimulateCustomPolicy says what policies would allow that nobody has.
//
// See https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulateCustomPolicy.html.
func (s *Service) SimulateCustomPolicy(ctx context.Context, in *iamapi.SimulateCustomPolicyInput) (*iamapi.SimulatePrincipalPolicyOutput, error) {
	page, err := openPage(ctx, s, iamapi.SimulateCustomPolicy, in, in.MaxItems)
	if err != nil {
		return nil, err
	}
	sim := &simulation{actions: in.ActionNames, resources: in.ResourceArns, entries: in.ContextEntries, policies: in.PolicyInputList,
		boundaries: in.PermissionsBoundaryPolicyInputList, resourcePolicy: in.ResourcePolicy, callerARN: in.CallerArn,
		owner: in.ResourceOwner, option: in.ResourceHandlingOption, account: caller.From(ctx).Account}
	return s.simulate(ctx, sim, page)
}

// SimulatePrincipalPolicy says what the policies of a user, a group or a role allow.
//
// See https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html.
func (s *Service) SimulatePrincipalPolicy(ctx context.Context, in *iamapi.SimulatePrincipalPolicyInput) (*iamapi.SimulatePrincipalPolicyOutput, error) {
	page, err := openPage(ctx, s, iamapi.SimulatePrincipalPolicy, in, in.MaxItems)
	if err != nil {
		return nil, err
	}
	sim := &simulation{actions: in.ActionNames, resources: in.ResourceArns, entries: in.ContextEntries, policies: in.PolicyInputList,
		boundaries: in.PermissionsBoundaryPolicyInputList, resourcePolicy: in.ResourcePolicy, callerARN: in.CallerArn,
		owner: in.ResourceOwner, option: in.ResourceHandlingOption, account: caller.From(ctx).Account}
	if err := s.take(ctx, sim, in.PolicySourceArn); err != nil {
		return nil, err
	}
	return s.simulate(ctx, sim, page)
}

// take finds the principal whose policies are tried.
func (s *Service) take(ctx context.Context, sim *simulation, source string) error {
	p, err := s.sourceOf(ctx, source)
	if err != nil {
		return err
	}
	if p == nil || p.account != sim.account {
		return iamapi.NoSuchEntityExceptionf("The entity %s cannot be found.", source)
	}
	sim.sets.Identity, sim.sets.Boundary, sim.tags = slices.Clone(p.identity), p.boundary, p.tags
	switch p.kind {
	case kindUser:
		sim.who = &caller.Caller{Account: p.account, ARN: source, UserID: p.id, Kind: caller.User, Name: p.name}
		sim.principal = policy.Principal{Kind: policy.User, ARN: source, ID: p.id, Account: p.account}
	case kindRole:
		const session = "simulation"
		sim.who = &caller.Caller{Account: p.account, ARN: sessionARN(p.account, p.name, session), UserID: p.id + ":" + session,
			Kind: caller.RoleSession, Name: p.name, RoleARN: source}
		sim.principal = policy.Principal{Kind: policy.RoleSession, ARN: sim.who.ARN, RoleARN: source, ID: sim.who.UserID, Account: p.account}
	}
	return nil
}

// sourceOf finds a user, a group or a role by its ARN; it is nil if there is none.
func (s *Service) sourceOf(ctx context.Context, source string) (*principal, error) {
	a, err := arn.Parse(source)
	if err != nil {
		return nil, iamapi.InvalidInputExceptionf("Invalid Entity Arn: %s does not clearly define entity type and name.", source)
	}
	kind, id := a.Split()
	name := id[strings.LastIndexByte(id, '/')+1:]
	var p *principal
	switch {
	case a.Service != "iam" || kind != kindUser && kind != kindGroup && kind != kindRole:
		return nil, iamapi.InvalidInputExceptionf("Invalid Entity Arn: %s does not clearly define entity type and name.", source)
	case kind == kindRole:
		p, err = s.role(ctx, a.Account, name)
	default:
		p, err = s.userOrGroup(ctx, kind, a.Account, name)
	}
	if err != nil || p == nil || p.arn() != source {
		return nil, err
	}
	return p, nil
}

func (s *Service) userOrGroup(ctx context.Context, kind, account, name string) (p *principal, err error) {
	of := userKind
	if kind == kindGroup {
		of = groupKind
	}
	err = s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		e, err := findTx(ctx, tx, of, account, name)
		if isAbsent(err) {
			p = nil
			return nil
		}
		if err != nil {
			return err
		}
		p = &principal{kind: kind, account: account, name: e.name, path: e.path, id: e.id}
		return p.complete(ctx, tx, e.boundary)
	})
	return p, err
}

// simulate answers a page of the decisions for every action on every resource, which are numbered.
func (s *Service) simulate(ctx context.Context, sim *simulation, page *restjson.Page) (*iamapi.SimulatePrincipalPolicyOutput, error) {
	all, err := s.results(ctx, sim)
	if err != nil {
		return nil, err
	}
	from, _ := strconv.Atoi(after(page))
	all = all[min(from, len(all)):]
	out := &iamapi.SimulatePrincipalPolicyOutput{EvaluationResults: all, IsTruncated: new(false)}
	if len(all) > page.Limit {
		out.EvaluationResults, out.IsTruncated = all[:page.Limit], new(true)
		out.Marker = page.Next(strconv.Itoa(from + page.Limit))
	}
	return out, nil
}

func (s *Service) results(ctx context.Context, sim *simulation) ([]iamapi.EvaluationResult, error) {
	if sim.option != nil {
		return nil, iamapi.InvalidInputExceptionf("Lockfast does not honour ResourceHandlingOption.")
	}
	if len(sim.resources) == 0 {
		sim.resources = []string{"*"}
	}
	if len(sim.actions)*len(sim.resources) > maxSimulated {
		return nil, iamapi.InvalidInputExceptionf("A simulation can have %d pairs of an action and a resource at most.", maxSimulated)
	}
	if err := s.compileAll(ctx, sim); err != nil {
		return nil, err
	}
	given, err := contextOf(sim.entries)
	if err != nil {
		return nil, err
	}
	results := []iamapi.EvaluationResult{}
	for _, action := range sim.actions {
		if vendor, name, ok := strings.Cut(action, ":"); !ok || vendor == "" || name == "" || strings.ContainsAny(action, "*?") {
			return nil, iamapi.InvalidInputExceptionf("Invalid action %s: want one action such as s3:GetObject, without wildcards.", action)
		}
		for _, resource := range sim.resources {
			results = append(results, s.try(sim, given, action, resource))
		}
	}
	return results, nil
}

// compileAll reads the policies that are given, and who asks if that is not the principal.
func (s *Service) compileAll(ctx context.Context, sim *simulation) error {
	for _, text := range sim.policies {
		d, err := policy.Parse(text, policy.Identity)
		if err != nil {
			return iamapi.InvalidInputExceptionf("PolicyInputList: %v", err)
		}
		sim.sets.Identity = append(sim.sets.Identity, d)
	}
	if len(sim.boundaries) > 1 {
		return iamapi.InvalidInputExceptionf("PermissionsBoundaryPolicyInputList can hold one policy.")
	}
	for _, text := range sim.boundaries {
		d, err := policy.Parse(text, policy.Identity)
		if err != nil {
			return iamapi.InvalidInputExceptionf("PermissionsBoundaryPolicyInputList: %v", err)
		}
		sim.sets.Boundary = d
	}
	if sim.callerARN != nil {
		if err := s.actAs(ctx, sim, *sim.callerARN); err != nil {
			return err
		}
	}
	if sim.resourcePolicy == nil {
		return nil
	}
	if sim.who == nil {
		return iamapi.InvalidInputExceptionf("CallerArn must be given with ResourcePolicy, and must be the ARN of a user.")
	}
	d, err := policy.Parse(*sim.resourcePolicy, policy.Resource)
	if err != nil {
		return iamapi.InvalidInputExceptionf("ResourcePolicy: %v", err)
	}
	sim.sets.Resource = []policy.Attached{{Document: d}}
	return nil
}

// actAs makes a user of the account the one who asks, with the policies that there are.
func (s *Service) actAs(ctx context.Context, sim *simulation, who string) error {
	p, err := s.sourceOf(ctx, who)
	if err != nil {
		return err
	}
	if p == nil || p.account != sim.account || p.kind != kindUser {
		return iamapi.InvalidInputExceptionf("CallerArn %s is not a user of the account.", who)
	}
	sim.who = &caller.Caller{Account: p.account, ARN: who, UserID: p.id, Kind: caller.User, Name: p.name}
	sim.principal = policy.Principal{Kind: policy.User, ARN: who, ID: p.id, Account: p.account}
	sim.tags = p.tags
	return nil
}

func contextOf(entries []iamapi.ContextEntry) (map[string][]string, error) {
	given := map[string][]string{}
	for _, e := range entries {
		if deref(e.ContextKeyName) == "" {
			return nil, iamapi.InvalidInputExceptionf("ContextKeyName is missing.")
		}
		if e.ContextKeyType != nil && !strings.HasSuffix(string(*e.ContextKeyType), "List") && len(e.ContextKeyValues) > 1 {
			return nil, iamapi.InvalidInputExceptionf("%s is a single value and has %d.", *e.ContextKeyName, len(e.ContextKeyValues))
		}
		given[strings.ToLower(*e.ContextKeyName)] = e.ContextKeyValues
	}
	return given, nil
}

// try decides for one action on one resource.
func (s *Service) try(sim *simulation, given map[string][]string, action, resource string) iamapi.EvaluationResult {
	account := ownerOf(resource)
	if sim.owner != nil {
		account = strings.TrimSuffix(strings.TrimPrefix(*sim.owner, "arn:aws:iam::"), ":root")
	}
	access := &caller.Access{Action: action, Resource: resource, Keys: given}
	keys := &asking{inner: policy.Values(given)}
	if sim.who != nil {
		keys.inner = &conditions{caller: sim.who, access: access, tags: sim.tags, owner: account, now: s.o.Now()}
	}
	q := &policy.Request{Principal: sim.principal, Action: action, Resources: []string{resource}, Context: keys,
		SameAccount: account == "" || account == sim.account}
	d := policy.Decide(q, &sim.sets)
	result := iamapi.EvaluationResult{EvalActionName: action, EvalResourceName: &resource, EvalDecision: decisionOf(d),
		MatchedStatements: []iamapi.Statement{}, MissingContextValues: keys.missing()}
	if sim.sets.Boundary != nil {
		q.SameAccount = true
		within := policy.Decide(q, &policy.Sets{Identity: []*policy.Document{sim.sets.Boundary}})
		result.PermissionsBoundaryDecisionDetail = &iamapi.PermissionsBoundaryDecisionDetail{AllowedByPermissionsBoundary: &within.Allowed}
	}
	return result
}

func decisionOf(d policy.Decision) iamapi.PolicyEvaluationDecisionType {
	switch {
	case d.Allowed:
		return iamapi.PolicyEvaluationDecisionTypeAllowed
	case d.Explicit:
		return iamapi.PolicyEvaluationDecisionTypeExplicitDeny
	}
	return iamapi.PolicyEvaluationDecisionTypeImplicitDeny
}

// asking notes which condition keys were asked for in vain.
type asking struct {
	inner  policy.Context
	absent []string
}

// Values implements [policy.Context].
func (a *asking) Values(key string) ([]string, bool) {
	values, ok := a.inner.Values(key)
	if !ok && !slices.Contains(a.absent, key) {
		a.absent = append(a.absent, key)
	}
	return values, ok
}

func (a *asking) missing() []string {
	slices.Sort(a.absent)
	return append([]string{}, a.absent...)
}
