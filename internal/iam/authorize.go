package iam

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/policy"
	"github.com/lockfast/lockfast/internal/wire"
)

// ResourcePolicies finds the policies that resources have themselves, such as the access policy of a vault.
type ResourcePolicies interface {
	// ResourcePolicies returns the policies that have a say about an access. account and region are the caller's. A resource
	// that does not exist has none.
	ResourcePolicies(ctx context.Context, account, region string, a caller.Access) ([]policy.Attached, error)
}

// ResourceTags finds the tags of resources other than identities.
type ResourceTags interface {
	// ResourceTags returns the tags of a resource of an account; none if it does not exist.
	ResourceTags(ctx context.Context, account, arn string) (map[string]string, error)
}

// requester is a caller with everything that does not depend on what it asks for.
type requester struct {
	caller    *caller.Caller
	principal *principal // nil if it is gone
	policy.Principal
	sets    policy.Sets
	tagged  bool // its policies ask for tags of resources
	request caller.Request
	service string // that uses the role
	now     time.Time
}

// Authorize decides by the policies of the caller and of the resource whether all that is asked for is allowed. The answer
// is nil, [*wire.Denied], or an error of the database. Nothing crosses the border between accounts, except copies into a
// vault and the assumption of a role, if both sides allow it. What is no ARN belongs to nobody, and the operation is left
// to name the parameter that is wrong.
//
// See https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html.
func (s *Service) Authorize(ctx context.Context, c caller.Caller, asked []caller.Access) error {
	if c.ARN == "" || len(asked) == 0 {
		return errors.New("authorize: nobody asks for anything")
	}
	if err := s.keyUsed(ctx, c, asked); err != nil {
		return err
	}
	r, err := s.requester(ctx, &c)
	if err != nil {
		return fmt.Errorf("authorize: %w", err)
	}
	for i := range asked {
		d, err := s.decide(ctx, r, &asked[i])
		if err != nil {
			return fmt.Errorf("authorize %s: %w", asked[i].Action, err)
		}
		if !d.Allowed {
			return refusal(c.ARN, &asked[i], d)
		}
	}
	return nil
}

// refusal words a refusal like
// https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html. Whether a role exists that does not trust
// the caller is nobody's business, so all refusals to assume one read the same.
func refusal(who string, a *caller.Access, d policy.Decision) *wire.Denied {
	text := "User: " + who + " is not authorized to perform: " + a.Action + " on resource: " + a.Resource
	if d.Explicit || !decidedByRole(a.Action) {
		text += " " + d.Reason(a.Action)
	}
	return &wire.Denied{Message: text}
}

func (s *Service) requester(ctx context.Context, c *caller.Caller) (*requester, error) {
	r := &requester{caller: c, request: caller.RequestFrom(ctx), now: s.o.Now()}
	p, err := s.principalOf(ctx, c)
	if err != nil || p == nil {
		return r, err
	}
	r.principal = p
	r.Principal = policy.Principal{Kind: policy.User, ARN: c.ARN, ID: c.UserID, Account: c.Account}
	if c.Kind == caller.RoleSession {
		r.Kind, r.RoleARN = policy.RoleSession, c.RoleARN
	}
	r.sets.Identity, r.sets.Boundary, r.tagged = p.identity, p.boundary, p.resourceTags
	if c.Session != nil && c.Session.Limited {
		r.sets.HasSession = true
		if r.sets.Session, err = s.sessionPolicies(ctx, c); err != nil {
			return nil, err
		}
		r.tagged = r.tagged || usesTags(r.sets.Session...)
	}
	return r, nil
}

// decide answers for one access.
func (s *Service) decide(ctx context.Context, r *requester, a *caller.Access) (policy.Decision, error) {
	owner, same := ownership(r.caller.Account, a)
	switch {
	case r.principal == nil || r.withoutMFA(a.Action):
		return policy.Decision{Source: policy.IdentityBased}, nil
	case !same && !crosses(a.Action):
		return policy.Decision{Source: policy.ResourceBased}, nil
	}
	sets := r.sets
	if err := s.addResourcePolicies(ctx, r, a, same, &sets); err != nil {
		return policy.Decision{}, err
	}
	c := &conditions{caller: r.caller, request: r.request, access: a, tags: r.principal.tags, owner: owner,
		service: r.service, now: r.now}
	if r.tagged || asksForTags(sets.Resource) {
		account := owner
		if account == "" {
			account = r.caller.Account
		}
		var err error
		if c.about, err = s.resourceTags(ctx, account, a.Resource); err != nil {
			return policy.Decision{}, err
		}
	}
	q := &policy.Request{Principal: r.Principal, Action: a.Action, Resources: names(a), Context: c, SameAccount: same}
	d := policy.Decide(q, &sets)
	if d.Explicit && d.Source == policy.ResourceBased && same && r.principal.administrator && unlocks(a.Action) {
		sets.Resource = nil
		d = policy.Decide(q, &sets)
	}
	return d, nil
}

func names(a *caller.Access) []string {
	if len(a.Also) == 0 {
		return []string{a.Resource}
	}
	return append([]string{a.Resource}, a.Also...)
}

// addResourcePolicies adds what the resource has to say. Roles speak for themselves: their trust policy decides. The service
// is bound by policies of other accounts only: what people may not do to a vault must not stop its lifecycle.
func (s *Service) addResourcePolicies(ctx context.Context, r *requester, a *caller.Access, same bool, sets *policy.Sets) error {
	if decidedByRole(a.Action) {
		sets.ResourceDecides = true
		role, err := s.roleByARN(ctx, a.Resource)
		if err == nil && role != nil {
			sets.Resource = []policy.Attached{role.trust}
		}
		return err
	}
	if s.o.ResourcePolicies == nil || r.service != "" && same {
		return nil
	}
	var err error
	sets.Resource, err = s.o.ResourcePolicies.ResourcePolicies(ctx, r.caller.Account, r.caller.Region, *a)
	sets.ResourceDecides = len(sets.Resource) > 0 && decidedByKey(a.Action)
	return err
}

func asksForTags(attached []policy.Attached) bool {
	for _, a := range attached {
		if usesTags(a.Document) {
			return true
		}
	}
	return false
}

// withoutMFA reports whether credentials of GetSessionToken are used for what they cannot do. There are no MFA devices here.
//
// See https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html.
func (r *requester) withoutMFA(action string) bool {
	if r.caller.Session == nil || r.caller.Kind != caller.User {
		return false
	}
	vendor, name, _ := strings.Cut(action, ":")
	return vendor == "iam" && name != "PassRole" && name != "CreateServiceLinkedRole" ||
		vendor == "sts" && name != "AssumeRole" && name != "TagSession" && name != "SetSourceIdentity"
}

// decidedByRole reports whether an action is one on a role that its trust policy must allow.
func decidedByRole(action string) bool {
	switch action {
	case "sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity":
		return true
	}
	return false
}

// decidedByKey reports whether an action is one on a key, which its policy must allow or leave to the account. A key always
// has a policy.
//
// See https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-overview.html.
func decidedByKey(action string) bool { return strings.HasPrefix(action, "kms:") }

// crosses reports whether an action may reach into another account at all.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/create-a-vault-access-policy.html.
func crosses(action string) bool {
	return action == "backup:CopyIntoBackupVault" || decidedByRole(action)
}

// unlocks reports whether an action is one by which the first administrator of an account gets out of a vault's policy that
// forbids everything to everybody, as the root user of an account can on AWS.
func unlocks(action string) bool {
	switch action {
	case "backup:PutBackupVaultAccessPolicy", "backup:GetBackupVaultAccessPolicy", "backup:DeleteBackupVaultAccessPolicy":
		return true
	}
	return false
}

// ownership returns the account that a resource belongs to, which may be none, and whether none of its names belongs to
// another account than the caller's.
func ownership(account string, a *caller.Access) (owner string, same bool) {
	owner = ownerOf(a.Resource)
	same = owner == "" || owner == account
	for _, other := range a.Also {
		if o := ownerOf(other); o != "" && o != account {
			same = false
		}
	}
	return owner, same
}

// ownerOf returns the account in an ARN. It is empty for what belongs to all accounts or to AWS, and for what is no ARN.
func ownerOf(resource string) string {
	rest, ok := strings.CutPrefix(resource, "arn:")
	for range 3 {
		_, rest, ok = cutIf(ok, rest)
	}
	owner, _, ok := cutIf(ok, rest)
	if !ok || owner == "*" || owner == "aws" {
		return ""
	}
	return owner
}

func cutIf(ok bool, s string) (before, after string, found bool) {
	if !ok {
		return "", "", false
	}
	return strings.Cut(s, ":")
}
