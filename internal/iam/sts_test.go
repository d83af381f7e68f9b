package iam_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/iam"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/query"
	"github.com/lockfast/lockfast/internal/sigv4"
	"github.com/lockfast/lockfast/internal/stsapi"
	"github.com/lockfast/lockfast/internal/wire"
)

func trusts(principal string, members ...string) string {
	return statement("Allow", append([]string{"Principal", principal,
		"Action", `["sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity"]`}, members...)...)
}

// assume authorises and carries out AssumeRole, and looks the credentials up.
func (w *world) assume(c caller.Caller, in *stsapi.AssumeRoleInput) (caller.Caller, *stsapi.AssumeRoleOutput, error) {
	w.Helper()
	ctx := caller.With(w.Context(), c)
	if err := w.Authorize(ctx, c, iam.Assumes(c, in)); err != nil {
		return caller.Caller{}, nil, err
	}
	out, err := w.AssumeRole(ctx, in)
	if err != nil {
		return caller.Caller{}, nil, err
	}
	secret, session, err := w.Lookup(ctx, out.Credentials.AccessKeyId, out.Credentials.SessionToken)
	if err != nil || secret != out.Credentials.SecretAccessKey {
		w.Fatalf("Lookup of new credentials: %v", err)
	}
	session.Region = c.Region
	return session, out, nil
}

func (w *world) mustAssume(c caller.Caller, in *stsapi.AssumeRoleInput) caller.Caller {
	w.Helper()
	session, _, err := w.assume(c, in)
	if err != nil {
		w.Fatal(err)
	}
	return session
}

func TestAssumeRole(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, db *meta.DB) {
		w := newWorld(t, db)
		u := w.user(account, "alice")
		arn := w.role(account, "Backups", trusts(`{"AWS":"`+u.ARN+`"}`), statement("Allow", "Action", "backup:*", "Resource", "*"))
		c, out, err := w.assume(u, &stsapi.AssumeRoleInput{RoleArn: arn, RoleSessionName: "s1"})
		if err != nil {
			t.Fatal(err)
		}
		id, _, _ := strings.Cut(c.UserID, ":")
		want := caller.Caller{Account: account, Region: "us-east-1", ARN: "arn:aws:sts::000000000000:assumed-role/Backups/s1",
			UserID: id + ":s1", AccessKeyID: out.Credentials.AccessKeyId, Kind: caller.RoleSession, Name: "Backups", RoleARN: arn,
			Session: &caller.Session{Name: "s1"}}
		ignore := cmpopts.IgnoreFields(caller.Session{}, "Issued", "Expires")
		if diff := cmp.Diff(want, c, ignore, cmpopts.EquateEmpty()); diff != "" || !strings.HasPrefix(id, "AROA") {
			t.Errorf("caller (-want +got):\n%s", diff)
		}
		if left := time.Until(out.Credentials.Expiration); left < 59*time.Minute || left > time.Hour || !out.Credentials.Expiration.Equal(c.Session.Expires) {
			t.Errorf("expires in %s", left)
		}
		if *out.AssumedRoleUser != (stsapi.AssumedRoleUser{Arn: c.ARN, AssumedRoleId: c.UserID}) || out.PackedPolicySize != nil {
			t.Errorf("AssumeRole = %+v", out)
		}
		w.allows(c, "backup:ListBackupVaults", "*")
		w.denies(c, "iam:ListRoles", "*", "because no identity-based policy allows the iam:ListRoles action")
		var used int64
		if row(w, &used, "SELECT used_at FROM iam_role"); used == 0 {
			t.Error("the use of the role is not recorded")
		}
		// Another node knows the session, too; nobody else's key opens it.
		if _, _, err := iam.New(w.options).Lookup(t.Context(), out.Credentials.AccessKeyId, out.Credentials.SessionToken); err != nil {
			t.Error(err)
		}
		strange := w.options
		strange.TokenKey = [32]byte{2}
		for name, err := range map[string]error{
			"another key":        lookup(iam.New(strange), out.Credentials.AccessKeyId, out.Credentials.SessionToken),
			"another id":         lookup(w.Service, "ASIAAAAAAAAAAAAAAAAA", out.Credentials.SessionToken),
			"without token":      lookup(w.Service, out.Credentials.AccessKeyId, ""),
			"cut token":          lookup(w.Service, out.Credentials.AccessKeyId, out.Credentials.SessionToken[:40]),
			"nonsense for token": lookup(w.Service, out.Credentials.AccessKeyId, "?"),
		} {
			if !errors.Is(err, sigv4.ErrUnknownKey) {
				t.Errorf("Lookup with %s = %v", name, err)
			}
		}
		// A role made anew is another role.
		w.exec("UPDATE iam_role SET role_id = 'AROANEW'")
		if err := lookup(w.Service, out.Credentials.AccessKeyId, out.Credentials.SessionToken); !errors.Is(err, sigv4.ErrUnknownKey) {
			t.Errorf("Lookup after the role was made anew = %v", err)
		}
		w.denies(c, "backup:ListBackupVaults", "*", "because no identity-based policy allows the backup:ListBackupVaults action")
	})
}

func lookup(s *iam.Service, id, token string) error {
	_, _, err := s.Lookup(context.Background(), id, token)
	return err
}

func TestAssumeRole_TrustDecides(t *testing.T) {
	t.Parallel()
	w := sqlite(t)
	alice, bob := w.user(account, "alice"), w.user(account, "bob", statement("Allow", "Action", "sts:*", "Resource", "*"))
	admin := w.user(other, "admin", allowsAll)
	byAccount := w.role(account, "ByAccount", trusts(`{"AWS":"000000000000"}`))
	toOthers := w.role(account, "ToOthers", trusts(`{"AWS":"111111111111"}`))
	withID := w.role(account, "WithID", trusts(`{"AWS":"`+alice.ARN+`"}`, "Condition", `{"StringEquals":{"sts:ExternalId":"42"}}`))
	toService := w.role(account, "ToService", trusts(`{"Service":"backup.amazonaws.com"}`))
	denying := w.role(account, "Denying", `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"},{"Effect":"Deny","Principal":{"AWS":"`+bob.ARN+`"},"Action":"sts:AssumeRole"}]}`)
	unknown := "arn:aws:iam::000000000000:role/Unknown"
	gone := w.role(account, "Remembers", trusts(`{"AWS":"`+alice.ARN+`"}`))
	w.exec("UPDATE iam_role SET trust_ids = ? WHERE name = 'Remembers'", `{"`+alice.ARN+`":"AIDAFORMER"}`)
	tests := []struct {
		name   string
		c      caller.Caller
		role   string
		id     *string
		reason string // after the common part of a refusal; "-" if there is none
	}{
		{"the account, but no policy", alice, byAccount, nil, ""},
		{"the account and a policy", bob, byAccount, nil, "-"},
		{"another account", admin, toOthers, nil, "-"},
		{"not that account", admin, byAccount, nil, ""},
		{"external id", alice, withID, new("42"), "-"},
		{"wrong external id", alice, withID, new("43"), ""},
		{"no external id", alice, withID, nil, ""},
		{"a policy alone is not enough", bob, withID, new("42"), ""},
		{"only a service", bob, toService, nil, ""},
		{"denied", bob, denying, nil, " with an explicit deny in a resource-based policy"},
		{"trusts everybody here", alice, denying, nil, "-"},
		{"trusts everybody, and another account allows it", admin, denying, nil, "-"},
		{"unknown role", bob, unknown, nil, ""},
		{"trusts one who had the name before", alice, gone, nil, ""},
		{"wrong path", bob, strings.Replace(byAccount, "/p/", "/", 1), nil, ""},
		{"not a role", bob, "arn:aws:iam::000000000000:user/alice", nil, ""},
		{"no ARN", bob, "no ARN, but long enough", nil, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := w.assume(test.c, &stsapi.AssumeRoleInput{RoleArn: test.role, RoleSessionName: "s1", ExternalId: test.id})
			if test.reason == "-" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantDenied(t, err, "User: "+test.c.ARN+" is not authorized to perform: sts:AssumeRole on resource: "+test.role+test.reason)
		})
	}
}

func TestAssumeRole_SessionPoliciesLimit(t *testing.T) {
	t.Parallel()
	w := sqlite(t)
	u := w.user(account, "alice")
	arn := w.role(account, "r", trusts(`{"AWS":"`+u.ARN+`"}`), allowsAll)
	managed := w.managed(account, "Lists", statement("Allow", "Action", "backup:List*", "Resource", "*"))
	c, out, err := w.assume(u, &stsapi.AssumeRoleInput{RoleArn: arn, RoleSessionName: "s1",
		Policy:     new(statement("Allow", "Action", "backup:Describe*", "Resource", vault)),
		PolicyArns: []stsapi.PolicyDescriptorType{{Arn: &managed}, {Arn: new("arn:aws:iam::aws:policy/IAMReadOnlyAccess")}}})
	if err != nil {
		t.Fatal(err)
	}
	if n := *out.PackedPolicySize; n < 1 || n > 100 {
		t.Errorf("PackedPolicySize = %d", n)
	}
	w.allows(c, "backup:DescribeBackupVault", vault)
	w.allows(c, "backup:ListBackupVaults", "*")
	w.allows(c, "iam:ListRoles", "*")
	w.denies(c, "backup:DeleteBackupVault", vault, "because no session policy allows the backup:DeleteBackupVault action")
	w.exec("UPDATE iam_policy_version SET document = ?", statement("Deny", "Action", "backup:List*", "Resource", "*"))
	w.denies(c, "backup:ListBackupVaults", "*", "with an explicit deny in a session policy")

	for name, in := range map[string]*stsapi.AssumeRoleInput{
		"malformed":      {Policy: new("{}")},
		"with principal": {Policy: new(statement("Allow", "Principal", "*", "Action", "*", "Resource", "*"))},
		"too long":       {Policy: new(statement("Allow", "Action", "*", "Resource", strings.Repeat("x", 2048)))},
		"unknown":        {PolicyArns: []stsapi.PolicyDescriptorType{{Arn: new("arn:aws:iam::000000000000:policy/none")}}},
		"no ARN":         {PolicyArns: []stsapi.PolicyDescriptorType{{}}},
		"too many":       {PolicyArns: make([]stsapi.PolicyDescriptorType, 11)},
	} {
		in.RoleArn, in.RoleSessionName = arn, "s1"
		_, _, err := w.assume(u, in)
		_, invalid := errors.AsType[*wire.Invalid](err)
		if _, malformed := errors.AsType[*stsapi.MalformedPolicyDocumentException](err); !invalid && !malformed {
			t.Errorf("AssumeRole with a policy that is %s = %v", name, err)
		}
	}
}

func TestAssumeRole_Chain(t *testing.T) {
	t.Parallel()
	w := sqlite(t)
	u := w.user(account, "alice")
	first := w.role(account, "First", trusts(`{"AWS":"`+u.ARN+`"}`))
	second := w.role(account, "Second", trusts(`{"AWS":"`+first+`"}`), statement("Allow", "Action", "x:Do", "Resource", "*", "Condition",
		`{"StringEquals":{"aws:PrincipalTag/Team":"blue","aws:PrincipalTag/Level":"2","sts:SourceIdentity":"alice"}}`))
	w.exec("INSERT INTO iam_tag (account, kind, entity, key, value) VALUES (?, 'role', 'Second', 'Team', 'red')", account)
	outer := w.mustAssume(u, &stsapi.AssumeRoleInput{RoleArn: first, RoleSessionName: "outer", SourceIdentity: new("alice"),
		Tags: []stsapi.Tag{{Key: "Team", Value: "blue"}, {Key: "Gone", Value: "1"}}, TransitiveTagKeys: []string{"Team"}, DurationSeconds: new(7200)})
	inner, out, err := w.assume(outer, &stsapi.AssumeRoleInput{RoleArn: second, RoleSessionName: "inner",
		Tags: []stsapi.Tag{{Key: "Level", Value: "2"}}})
	if err != nil {
		w.Fatal(err)
	}
	if *out.SourceIdentity != "alice" || inner.Session.SourceIdentity != "alice" {
		t.Errorf("source identity = %v", out.SourceIdentity)
	}
	if diff := cmp.Diff(map[string]string{"Team": "blue", "Level": "2"}, inner.Session.Tags); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	w.allows(inner, "x:Do", "*")
	for name, in := range map[string]*stsapi.AssumeRoleInput{
		"more than an hour":         {DurationSeconds: new(3601)},
		"a transitive tag again":    {Tags: []stsapi.Tag{{Key: "team", Value: "red"}}},
		"a tag twice":               {Tags: []stsapi.Tag{{Key: "a", Value: "1"}, {Key: "A", Value: "2"}}},
		"a transitive tag not sent": {TransitiveTagKeys: []string{"Other"}},
		"another source identity":   {SourceIdentity: new("bob")},
		"provided contexts":         {ProvidedContexts: []stsapi.ProvidedContext{{}}},
	} {
		in.RoleArn, in.RoleSessionName = second, "inner"
		_, _, err := w.assume(outer, in)
		if _, invalid := errors.AsType[*wire.Invalid](err); !invalid {
			t.Errorf("AssumeRole with %s = %v", name, err)
		}
	}
	if _, _, err := w.assume(u, &stsapi.AssumeRoleInput{RoleArn: first, RoleSessionName: "s1", DurationSeconds: new(7201)}); err == nil {
		t.Error("a session is longer than its role allows")
	}
	w.exec("UPDATE iam_role SET trust = ?", statement("Allow", "Principal", "*", "Action", "sts:AssumeRole"))
	for name, in := range map[string]*stsapi.AssumeRoleInput{
		"sts:TagSession":        {Tags: []stsapi.Tag{{Key: "a", Value: "1"}}},
		"sts:SetSourceIdentity": {SourceIdentity: new("alice")},
	} {
		in.RoleArn, in.RoleSessionName = first, "s1"
		_, _, err := w.assume(u, in)
		wantDenied(t, err, "User: "+u.ARN+" is not authorized to perform: "+name+" on resource: "+first)
	}
}

func TestAssumeRole_TokenTooLong(t *testing.T) {
	t.Parallel()
	w := sqlite(t)
	u := w.user(account, "alice")
	arn := w.role(account, "r", trusts("*"))
	in := &stsapi.AssumeRoleInput{RoleArn: arn, RoleSessionName: "s1"}
	for i := range 50 {
		in.Tags = append(in.Tags, stsapi.Tag{Key: fmt.Sprintf("key%d", i), Value: iam.Random(200)})
	}
	_, _, err := w.assume(u, in)
	if _, ok := errors.AsType[*stsapi.PackedPolicyTooLargeException](err); !ok {
		t.Errorf("AssumeRole with 50 long tags = %v", err)
	}
	in.Tags = in.Tags[:10]
	_, out, err := w.assume(u, in)
	if err != nil || len(out.Credentials.SessionToken) > 4096 {
		t.Errorf("AssumeRole with 10 long tags = %v", err)
	}
}

func TestGetSessionToken(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, db *meta.DB) {
		w := newWorld(t, db)
		u := w.user(account, "alice", allowsAll)
		out, err := w.GetSessionToken(caller.With(t.Context(), u), &stsapi.GetSessionTokenInput{DurationSeconds: new(900)})
		if err != nil {
			t.Fatal(err)
		}
		_, c, err := w.Lookup(t.Context(), out.Credentials.AccessKeyId, out.Credentials.SessionToken)
		if err != nil || c.ARN != u.ARN || c.UserID != u.UserID || c.Kind != caller.User || c.Session == nil || c.Name != "alice" {
			t.Fatalf("Lookup = %+v, %v", c, err)
		}
		w.allows(c, "backup:DeleteBackupVault", vault)
		w.allows(c, "iam:PassRole", iam.DefaultRole(account))
		w.denies(c, "iam:ListRoles", "*", "because no identity-based policy allows the iam:ListRoles action")
		if _, err := w.GetSessionToken(caller.With(t.Context(), c), &stsapi.GetSessionTokenInput{}); err == nil {
			t.Error("a session gets another one")
		}
		w.exec("UPDATE iam_user SET name = 'alicia'")
		w.exec("UPDATE iam_inline_policy SET entity = 'alicia'")
		if _, c, err = w.Lookup(t.Context(), out.Credentials.AccessKeyId, out.Credentials.SessionToken); err != nil || c.Name != "alicia" {
			t.Errorf("Lookup after a new name = %+v, %v", c, err)
		}
		w.exec("DELETE FROM iam_user")
		if err := lookup(w.Service, out.Credentials.AccessKeyId, out.Credentials.SessionToken); !errors.Is(err, sigv4.ErrUnknownKey) {
			t.Errorf("Lookup after the user is gone = %v", err)
		}
	})
}

func TestLookup_ExpiredSession(t *testing.T) {
	t.Parallel()
	w := sqlite(t)
	u := w.user(account, "alice")
	id, token, err := w.Expired(u)
	if err != nil {
		t.Fatal(err)
	}
	if err := lookup(w.Service, id, token); !errors.Is(err, sigv4.ErrExpired) {
		t.Errorf("Lookup = %v", err)
	}
}

func TestSTSRoutes(t *testing.T) {
	t.Parallel()
	w := sqlite(t)
	r := query.New(query.Options{Service: stsapi.Service, Credentials: w.Service, Authorizer: w.Service})
	w.STSRoutes(r)
	if diff := cmp.Diff([]string{"AssumeRole", "GetCallerIdentity", "GetSessionToken"}, r.Operations()); diff != "" {
		t.Error(diff)
	}
}
