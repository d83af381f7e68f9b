package iam

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/policy"
	"github.com/lockfast/lockfast/internal/query"
	"github.com/lockfast/lockfast/internal/stsapi"
	"github.com/lockfast/lockfast/internal/wire"
)

const (
	defaultSession = time.Hour
	chainedSession = time.Hour      // most for a role that is assumed by another role's session
	userSession    = 12 * time.Hour // default of GetSessionToken
	maxInline      = 2048           // characters of a session policy
	maxManaged     = 10
)

// STSRoutes registers the operations of STS. AssumeRoleWithWebIdentity needs providers of identities, which do not exist here.
func (s *Service) STSRoutes(r *query.Router) {
	query.Handle(r, stsapi.GetCallerIdentity, s.GetCallerIdentity, query.Anybody)
	query.Handle(r, stsapi.GetSessionToken, s.GetSessionToken, query.Anybody)
	query.Handle(r, stsapi.AssumeRole, s.AssumeRole, assumes)
}

// assumes asks for the rights to assume a role, to tag the session, and to say who is behind it. An inherited source identity
// needs the right, too.
//
// See https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html and
// https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_control-access_monitor.html.
func assumes(c caller.Caller, in *stsapi.AssumeRoleInput) []caller.Access {
	keys := map[string][]string{"sts:rolesessionname": {in.RoleSessionName}}
	if in.ExternalId != nil {
		keys["sts:externalid"] = []string{*in.ExternalId}
	}
	for _, t := range in.Tags {
		keys["aws:requesttag/"+strings.ToLower(t.Key)] = []string{t.Value}
		keys["aws:tagkeys"] = append(keys["aws:tagkeys"], t.Key)
	}
	if len(in.TransitiveTagKeys) > 0 {
		keys["sts:transitivetagkeys"] = in.TransitiveTagKeys
	}
	source := inheritedSource(c)
	if in.SourceIdentity != nil {
		source = *in.SourceIdentity
	}
	actions := []string{"sts:AssumeRole"}
	if len(in.Tags) > 0 {
		actions = append(actions, "sts:TagSession")
	}
	if source != "" {
		keys["sts:sourceidentity"] = []string{source}
		actions = append(actions, "sts:SetSourceIdentity")
	}
	var asked []caller.Access
	for _, action := range actions {
		asked = append(asked, caller.Access{Action: action, Resource: in.RoleArn, Keys: keys})
	}
	return asked
}

func inheritedSource(c caller.Caller) string {
	if c.Session == nil {
		return ""
	}
	return c.Session.SourceIdentity
}

// AssumeRole makes temporary credentials of a role. That the caller may have them has been decided by then, by
// [Service.Authorize].
//
// See https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html.
func (s *Service) AssumeRole(ctx context.Context, in *stsapi.AssumeRoleInput) (*stsapi.AssumeRoleOutput, error) {
	c := caller.From(ctx)
	if err := refuseUnhonoured(in); err != nil {
		return nil, err
	}
	role, err := s.roleByARN(ctx, in.RoleArn)
	if err != nil {
		return nil, err
	}
	if role == nil { // since the decision
		return nil, refusal(c.ARN, &caller.Access{Action: "sts:AssumeRole", Resource: in.RoleArn}, policy.Decision{})
	}
	lasts, err := roleDuration(c, role, in.DurationSeconds)
	if err != nil {
		return nil, err
	}
	g := &grant{Account: role.account, Role: role.name, ID: role.id, Session: in.RoleSessionName}
	if err := s.limit(ctx, g, in); err != nil {
		return nil, err
	}
	if err := g.tag(c, in); err != nil {
		return nil, err
	}
	credentials, packed, err := s.issue(g, lasts)
	if err != nil {
		return nil, err
	}
	if err := s.markUsed(ctx, role, c.Region); err != nil {
		return nil, err
	}
	out := &stsapi.AssumeRoleOutput{
		Credentials: credentials,
		AssumedRoleUser: &stsapi.AssumedRoleUser{
			Arn: sessionARN(role.account, role.name, g.Session), AssumedRoleId: role.id + ":" + g.Session,
		},
	}
	if g.Limited || len(g.Tags) > 0 {
		out.PackedPolicySize = &packed
	}
	if g.Source != "" {
		out.SourceIdentity = &g.Source
	}
	return out, nil
}

func refuseUnhonoured(in *stsapi.AssumeRoleInput) error {
	switch {
	case in.SerialNumber != nil || in.TokenCode != nil:
		return &wire.Denied{Message: "MultiFactorAuthentication failed, there are no MFA devices here."}
	case len(in.ProvidedContexts) > 0:
		return invalid("ProvidedContexts", "Lockfast does not honour ProvidedContexts.")
	}
	return nil
}

func invalid(member, format string, args ...any) error {
	return &wire.Invalid{Member: member, Text: fmt.Sprintf(format, args...)}
}

func roleDuration(c caller.Caller, role *principal, seconds *int) (time.Duration, error) {
	if seconds == nil {
		return defaultSession, nil
	}
	lasts := time.Duration(*seconds) * time.Second
	switch {
	case lasts > role.maxSession:
		return 0, invalid("DurationSeconds", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	case c.Kind == caller.RoleSession && lasts > chainedSession:
		return 0, invalid("DurationSeconds",
			"The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.")
	}
	return lasts, nil
}

// limit takes in the session policies.
func (s *Service) limit(ctx context.Context, g *grant, in *stsapi.AssumeRoleInput) error {
	if in.Policy != nil {
		if len(*in.Policy) > maxInline {
			return invalid("Policy", "Policy must have %d characters at most.", maxInline)
		}
		if _, err := policy.Parse(*in.Policy, policy.Identity); err != nil {
			return stsapi.MalformedPolicyDocumentExceptionf("%v", err)
		}
		g.Inline, g.Limited = []string{*in.Policy}, true
	}
	if len(in.PolicyArns) > maxManaged {
		return invalid("PolicyArns", "PolicyArns must name %d policies at most.", maxManaged)
	}
	for _, p := range in.PolicyArns {
		if p.Arn == nil {
			return wire.Missing("PolicyArns.member.arn")
		}
		ok, err := s.managedExists(ctx, g.Account, *p.Arn)
		if err != nil {
			return err
		}
		if !ok {
			return invalid("PolicyArns", "Policy ARN %s was not found in the account of the role.", *p.Arn)
		}
		g.Managed, g.Limited = append(g.Managed, *p.Arn), true
	}
	return nil
}

// managedExists reports whether an account can use a managed policy.
func (s *Service) managedExists(ctx context.Context, account, policyARN string) (bool, error) {
	if _, ok := awsManaged(policyARN); ok {
		return true, nil
	}
	return recall(ctx, s, thing{managedPolicies, account, policyARN}, func(ctx context.Context, tx *meta.Tx) (bool, error) {
		var n int
		err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM iam_policy WHERE arn = ? AND account = ?", policyARN, account).Scan(&n)
		return n > 0, err
	})
}

// tag takes in the session tags, those that the calling session hands down, and the source identity, which cannot be
// changed once it is set.
func (g *grant) tag(c caller.Caller, in *stsapi.AssumeRoleInput) error {
	g.Tags = map[string]string{}
	seen := map[string]bool{}
	for _, t := range in.Tags {
		if seen[strings.ToLower(t.Key)] {
			return invalid("Tags", "Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		seen[strings.ToLower(t.Key)] = true
		g.Tags[t.Key] = t.Value
	}
	for _, k := range in.TransitiveTagKeys {
		if _, ok := g.Tags[k]; !ok {
			return invalid("TransitiveTagKeys", "The specified transitive tag key %s must be included in the requested tags.", k)
		}
		g.Inherit = append(g.Inherit, k)
	}
	if err := g.inherit(c.Session, seen); err != nil {
		return err
	}
	g.Source = inheritedSource(c)
	if in.SourceIdentity != nil {
		if g.Source != "" && g.Source != *in.SourceIdentity {
			return invalid("SourceIdentity", "SourceIdentity is set for the calling session already and cannot be changed.")
		}
		g.Source = *in.SourceIdentity
	}
	return nil
}

func (g *grant) inherit(from *caller.Session, seen map[string]bool) error {
	if from == nil {
		return nil
	}
	for _, k := range from.TransitiveTags {
		if seen[strings.ToLower(k)] {
			return invalid("Tags", "One of the specified tag keys can't be set because it conflicts with a transitive tag key "+
				"from the calling session: %s", k)
		}
		g.Tags[k] = from.Tags[k]
		g.Inherit = append(g.Inherit, k)
	}
	return nil
}

// issue makes the credentials for a grant. packed is how full the token is, in percent.
func (s *Service) issue(g *grant, lasts time.Duration) (c *stsapi.Credentials, packed int, err error) {
	now := time.Now().UTC().Truncate(time.Second)
	g.Issued, g.Expires = now.Unix(), now.Add(lasts).Unix()
	id := "ASIA" + letters(16)
	token, secret, err := s.tokens.seal(id, g)
	if errors.Is(err, errTokenTooLong) {
		return nil, 0, stsapi.PackedPolicyTooLargeExceptionf(
			"Packed size of session policies and tags is too large: they take more than the %d characters of a token.", maxToken)
	}
	if err != nil {
		return nil, 0, err
	}
	return &stsapi.Credentials{AccessKeyId: id, SecretAccessKey: secret, SessionToken: token, Expiration: now.Add(lasts)},
		(100*len(token) + maxToken - 1) / maxToken, nil
}

// GetSessionToken makes temporary credentials of a user, who needs no permission for it.
//
// See https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html.
func (s *Service) GetSessionToken(ctx context.Context, in *stsapi.GetSessionTokenInput) (*stsapi.GetSessionTokenOutput, error) {
	c := caller.From(ctx)
	if c.Session != nil || c.Kind != caller.User {
		return nil, wire.Errorf(http.StatusForbidden, "AccessDenied", "Cannot call GetSessionToken with session credentials")
	}
	if in.SerialNumber != nil || in.TokenCode != nil {
		return nil, &wire.Denied{Message: "MultiFactorAuthentication failed, there are no MFA devices here."}
	}
	lasts := userSession
	if in.DurationSeconds != nil {
		lasts = time.Duration(*in.DurationSeconds) * time.Second
	}
	credentials, _, err := s.issue(&grant{Account: c.Account, ID: c.UserID}, lasts)
	if err != nil {
		return nil, err
	}
	return &stsapi.GetSessionTokenOutput{Credentials: credentials}, nil
}
