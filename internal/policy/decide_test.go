package policy_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/policy"
)

const (
	allowAll = `"Effect":"Allow","Action":"*","Resource":"*"`
	denyAll  = `"Effect":"Deny","Action":"*","Resource":"*"`
	// deletesOf is a statement of a vault's policy without its effect and principal.
	deletesOf = `"Action":"backup:DeleteRecoveryPoint","Resource":"*",`
)

func aws(value string) string { return fmt.Sprintf(`"Principal":{"AWS":%q}`, value) }

// grants and forbids are statements of a vault's policy.
func grants(principal string) string  { return `"Effect":"Allow",` + deletesOf + principal }
func forbids(principal string) string { return `"Effect":"Deny",` + deletesOf + principal }

// sets are the statements of each set of policies; empty is a set without a document.
type sets struct {
	identity, boundary, session, resource string
	hasSession, resourceDecides           bool
}

func (s sets) compile(t testing.TB) *policy.Sets {
	t.Helper()
	out := &policy.Sets{HasSession: s.hasSession, ResourceDecides: s.resourceDecides}
	if s.identity != "" {
		out.Identity = []*policy.Document{mustParse(t, document(s.identity), policy.Identity)}
	}
	if s.boundary != "" {
		out.Boundary = mustParse(t, document(s.boundary), policy.Identity)
	}
	if s.session != "" {
		out.Session = []*policy.Document{mustParse(t, document(s.session), policy.Identity)}
	}
	if s.resource != "" {
		out.Resource = []policy.Attached{{Document: mustParse(t, document(s.resource), policy.Vault)}}
	}
	return out
}

var (
	allowed       = policy.Decision{Allowed: true}
	lacksIdentity = policy.Decision{Source: policy.IdentityBased}
	lacksResource = policy.Decision{Source: policy.ResourceBased}
	lacksSession  = policy.Decision{Source: policy.SessionPolicy}
	lacksBoundary = policy.Decision{Source: policy.Boundary}
)

func explicit(s policy.Source) policy.Decision { return policy.Decision{Explicit: true, Source: s} }

func TestDecide_InTheSameAccount(t *testing.T) {
	t.Parallel()
	const somethingElse = `"Effect":"Allow","Action":"s3:*","Resource":"*"`
	star := `"Principal":"*"`
	for _, c := range []struct {
		name string
		who  policy.Principal
		sets sets
		want policy.Decision
	}{
		{"nothing", user(), sets{}, lacksIdentity},
		{"identity allows", user(), sets{identity: allowAll}, allowed},
		{"identity allows something else", user(), sets{identity: somethingElse}, lacksIdentity},
		{"identity denies", user(), sets{identity: allowAll + "},{" + denyAll, resource: grants(star)}, explicit(policy.IdentityBased)},
		{"deny comes first", user(), sets{identity: denyAll + "},{" + allowAll}, explicit(policy.IdentityBased)},
		{"boundary alone", user(), sets{boundary: allowAll}, lacksIdentity},
		{"boundary allows", user(), sets{identity: allowAll, boundary: allowAll}, allowed},
		{"boundary lacks", user(), sets{identity: allowAll, boundary: somethingElse}, lacksBoundary},
		{"boundary denies", user(), sets{identity: allowAll, boundary: allowAll + "},{" + denyAll}, explicit(policy.Boundary)},
		{"session allows", roleSession(), sets{identity: allowAll, session: allowAll, hasSession: true}, allowed},
		{"session lacks", roleSession(), sets{identity: allowAll, session: somethingElse, hasSession: true}, lacksSession},
		{"session is empty", roleSession(), sets{identity: allowAll, hasSession: true}, lacksSession},
		{"session denies", roleSession(), sets{identity: allowAll, session: denyAll, hasSession: true}, explicit(policy.SessionPolicy)},
		{"session alone", roleSession(), sets{session: allowAll, hasSession: true}, lacksIdentity},
		{"session does not count", roleSession(), sets{identity: allowAll, session: denyAll}, allowed},
		{"resource names user", user(), sets{resource: grants(aws(userARN))}, allowed},
		{"resource names user beside boundary", user(), sets{boundary: somethingElse, resource: grants(aws(userARN))}, allowed},
		{"resource names id of user", user(), sets{resource: grants(aws(userID))}, allowed},
		{"resource names another user", user(), sets{resource: grants(aws(userARN + "a"))}, lacksIdentity},
		{"resource names everyone", user(), sets{boundary: somethingElse, resource: grants(star)}, allowed},
		{"resource names every AWS principal", user(), sets{boundary: somethingElse, resource: grants(aws("*"))}, allowed},
		{"resource names account", user(), sets{resource: grants(aws(account))}, lacksIdentity},
		{"resource names root", user(), sets{resource: grants(aws(rootARN))}, lacksIdentity},
		{"resource names account and identity allows", user(), sets{identity: allowAll, resource: grants(aws(account))}, allowed},
		{"resource names account beside boundary", user(),
			sets{identity: allowAll, boundary: somethingElse, resource: grants(aws(account))}, lacksBoundary},
		{"resource names session", roleSession(),
			sets{boundary: somethingElse, session: somethingElse, hasSession: true, resource: grants(aws(session))}, allowed},
		{"resource names another session", roleSession(), sets{resource: grants(aws(session + "s"))}, lacksIdentity},
		{"resource names role", roleSession(), sets{resource: grants(aws(roleARN))}, allowed},
		{"resource names id of role", roleSession(), sets{resource: grants(aws(roleID))}, allowed},
		{"resource names role beside boundary", roleSession(), sets{boundary: somethingElse, resource: grants(aws(roleARN))}, lacksBoundary},
		{"resource names role beside session", roleSession(),
			sets{session: somethingElse, hasSession: true, resource: grants(aws(roleARN))}, lacksSession},
		{"resource names role and account", roleSession(),
			sets{resource: grants(aws(account)) + "},{" + grants(aws(roleARN))}, allowed},
		{"resource names role and session", roleSession(),
			sets{boundary: somethingElse, resource: grants(aws(roleARN)) + "},{" + grants(aws(session))}, allowed},
		{"resource denies user", user(), sets{identity: allowAll, resource: forbids(aws(userARN))}, explicit(policy.ResourceBased)},
		{"resource denies account", user(), sets{identity: allowAll, resource: forbids(aws(account))}, explicit(policy.ResourceBased)},
		{"resource denies role", roleSession(), sets{identity: allowAll, resource: forbids(aws(roleARN))}, explicit(policy.ResourceBased)},
		{"resource denies another user", user(), sets{identity: allowAll, resource: forbids(aws(userARN + "a"))}, allowed},
		{"resource denies service only", user(),
			sets{identity: allowAll, resource: forbids(`"Principal":{"Service":"backup.amazonaws.com"}`)}, allowed},
		{"root", root(), sets{}, allowed},
		{"root denied by everyone", root(), sets{resource: forbids(star)}, explicit(policy.ResourceBased)},
		{"root denied by account", root(), sets{resource: forbids(aws(rootARN))}, explicit(policy.ResourceBased)},
		{"service", service(), sets{}, lacksResource},
		{"service has no identity policies", service(), sets{identity: allowAll}, lacksResource},
		{"service named", service(), sets{resource: grants(`"Principal":{"Service":"backup.amazonaws.com"}`)}, allowed},
		{"service among everyone", service(), sets{resource: forbids(star)}, explicit(policy.ResourceBased)},
		{"another service named", service(), sets{resource: grants(`"Principal":{"Service":"s3.amazonaws.com"}`)}, lacksResource},
		{"all but the user denied", user(),
			sets{identity: allowAll, resource: forbids(fmt.Sprintf(`"NotPrincipal":{"AWS":[%q,%q]}`, userARN, rootARN))}, allowed},
		{"all but another user denied", user(),
			sets{identity: allowAll, resource: forbids(fmt.Sprintf(`"NotPrincipal":{"AWS":[%q,%q]}`, userARN+"a", rootARN))},
			explicit(policy.ResourceBased)},
		{"all but the role denied", roleSession(),
			sets{identity: allowAll, resource: forbids(fmt.Sprintf(`"NotPrincipal":{"AWS":%q}`, roleARN))}, allowed},
		{"all but root denied", root(), sets{resource: forbids(fmt.Sprintf(`"NotPrincipal":{"AWS":%q}`, rootARN))}, allowed},
		{"identity does not count", user(), sets{identity: allowAll, resourceDecides: true}, lacksResource},
		{"root does not count", root(), sets{resourceDecides: true}, lacksResource},
		{"root delegated", root(), sets{resource: grants(aws(account)), resourceDecides: true}, allowed},
		{"account delegated", user(), sets{resource: grants(aws(account)), resourceDecides: true}, lacksIdentity},
		{"account delegated and identity", user(),
			sets{identity: allowAll, resource: grants(aws(account)), resourceDecides: true}, allowed},
	} {
		r := &policy.Request{Principal: c.who, Action: deletes, Resources: []string{pointARN}, SameAccount: true}
		if diff := cmp.Diff(c.want, policy.Decide(r, c.sets.compile(t))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestDecide_AcrossAccounts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		who  policy.Principal
		sets sets
		want policy.Decision
	}{
		{"identity alone", user(), sets{identity: allowAll}, lacksResource},
		{"resource alone", user(), sets{resource: grants(aws(userARN))}, lacksIdentity},
		{"role alone", roleSession(), sets{resource: grants(aws(roleARN))}, lacksIdentity},
		{"both", user(), sets{identity: allowAll, resource: grants(aws(userARN))}, allowed},
		{"account", user(), sets{identity: allowAll, resource: grants(aws(account))}, allowed},
		{"another account", user(), sets{identity: allowAll, resource: grants(aws(other))}, lacksResource},
		{"boundary", user(), sets{identity: allowAll, boundary: denyAll, resource: grants(aws(userARN))}, explicit(policy.Boundary)},
		{"session", roleSession(), sets{identity: allowAll, hasSession: true, resource: grants(aws(session))}, lacksSession},
		{"root", root(), sets{}, lacksResource},
		{"root and account", root(), sets{resource: grants(aws(rootARN))}, allowed},
		{"service", service(), sets{resource: grants(`"Principal":{"Service":"backup.amazonaws.com"}`)}, allowed},
	} {
		r := &policy.Request{Principal: c.who, Action: deletes, Resources: []string{pointARN}}
		if diff := cmp.Diff(c.want, policy.Decide(r, c.sets.compile(t))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestDecide_ByActionAndResource(t *testing.T) {
	t.Parallel()
	const snapshot = "arn:aws:ec2:us-east-1::snapshot/snap-1"
	for _, c := range []struct {
		statement string // after Effect
		resources []string
		want      bool
	}{
		{`"Action":"BACKUP:deleteRECOVERYpoint","Resource":"*"`, []string{pointARN}, true},
		{`"Action":"backup:Delete*","Resource":"*"`, []string{pointARN}, true},
		{`"Action":"backup:DeleteRecoveryPoin?","Resource":"*"`, []string{pointARN}, true},
		{`"Action":"backup:DeleteRecoveryPoint?","Resource":"*"`, []string{pointARN}, false},
		{`"Action":"*:*Point","Resource":"*"`, []string{pointARN}, true},
		{`"Action":["s3:*","backup:List*"],"Resource":"*"`, []string{pointARN}, false},
		{`"NotAction":["s3:*","backup:List*"],"Resource":"*"`, []string{pointARN}, true},
		{`"NotAction":"backup:delete*","Resource":"*"`, []string{pointARN}, false},
		{`"Action":"*","Resource":"*"`, nil, true},
		{`"Action":"*","Resource":"arn:*"`, nil, false},
		{`"Action":"*","Resource":"arn:*"`, []string{"*"}, false},
		{`"Action":"*","NotResource":"arn:*"`, []string{"*"}, true},
		{`"Action":"*","Resource":"arn:*"`, []string{pointARN}, true},
		{`"Action":"*","Resource":"arn:aws:backup:*"`, []string{pointARN}, true},
		{`"Action":"*","Resource":"arn:aws:back*"`, []string{pointARN}, true},
		{`"Action":"*","Resource":"arn:aws:ec2:*:*:snapshot/*"`, []string{snapshot}, true},
		{`"Action":"*","Resource":"arn:aws:ec2:*::snapshot/*"`, []string{snapshot}, true},
		{`"Action":"*","Resource":"arn:aws:ec2:*:111111111111:snapshot/*"`, []string{snapshot}, false},
		{`"Action":"*","Resource":"arn:aws:backup:*:backup-vault:gold*"`, []string{vaultARN}, false},
		{`"Action":"*","Resource":"arn:aws:backup:us-east-1:111111111111:backup-vault:GOLD"`, []string{vaultARN}, false},
		{`"Action":"*","Resource":"arn:aws:redshift:*:*:snapshot:*"`, []string{"arn:aws:redshift:r:1:snapshot:c/awsbackup:j"}, true},
		{`"Action":"*","NotResource":"arn:aws:backup:*:*:backup-vault:gold"`, []string{vaultARN}, false},
		{`"Action":"*","Resource":"` + vaultARN + `"`, []string{pointARN, vaultARN}, true},
		{`"Action":"*","Resource":"` + pointARN + `"`, []string{pointARN, vaultARN}, true},
		{`"Action":"*","Resource":"` + vaultARN + `"`, []string{pointARN}, false},
	} {
		r := &policy.Request{Principal: user(), Action: deletes, Resources: c.resources, SameAccount: true}
		if got := allows(t, document(`"Effect":"Allow",`+c.statement), r); got != c.want {
			t.Errorf("%s allows %v = %v, want %v", c.statement, c.resources, got, c.want)
		}
	}
}

func TestDecide_DeniesIfAnyNameIsDenied(t *testing.T) {
	t.Parallel()
	r := &policy.Request{Principal: root(), Action: deletes, Resources: []string{pointARN, vaultARN}, SameAccount: true}
	for resource, want := range map[string]policy.Decision{
		vaultARN: explicit(policy.ResourceBased), pointARN: explicit(policy.ResourceBased), vaultARN + "en": allowed,
	} {
		text := document(`"Effect":"Deny","Principal":"*","Action":"backup:DeleteRecoveryPoint","Resource":"` + resource + `"`)
		got := policy.Decide(r, &policy.Sets{Resource: []policy.Attached{{Document: mustParse(t, text, policy.Vault)}}})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("decision with a deny of %s (-want +got):\n%s", resource, diff)
		}
	}
}

// A vault's policy that names the vault speaks of the recovery points in it, however the request names them.
func TestDecide_ByThePolicyOfWhatHoldsTheResource(t *testing.T) {
	t.Parallel()
	for resource, want := range map[string]bool{vaultARN: true, pointARN: true, "*": true, vaultARN + "en": false} {
		for effect, want := range map[string]policy.Decision{
			"Deny":  {Allowed: !want, Explicit: want, Source: map[bool]policy.Source{true: policy.ResourceBased}[want]},
			"Allow": {Allowed: want, Source: map[bool]policy.Source{false: policy.IdentityBased}[want]},
		} {
			r := &policy.Request{Principal: user(), Action: deletes, Resources: []string{pointARN}, SameAccount: true}
			s := &policy.Sets{}
			if effect == "Deny" {
				s = sets{identity: allowAll}.compile(t)
			}
			d, err := policy.Parse(document(`"Effect":"`+effect+`","Principal":"*","Action":"`+deletes+`","Resource":"`+resource+`"`), policy.Vault)
			if err != nil {
				t.Fatal(err)
			}
			s.Resource = []policy.Attached{{Document: d, On: vaultARN}}
			if diff := cmp.Diff(want, policy.Decide(r, s)); diff != "" {
				t.Errorf("%s on %s (-want +got):\n%s", effect, resource, diff)
			}
		}
	}
}

func TestDecide_OnlyForTheIDThatTheNameHad(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		who    policy.Principal
		named  string
		stored string
		want   policy.Decision
	}{
		{"same user", user(), userARN, userID, allowed},
		{"another user of this name", user(), userARN, userID[:20] + "B", lacksIdentity},
		{"user with another name today", user(), userARN + "old", userID, allowed},
		{"same role", roleSession(), roleARN, roleID, allowed},
		{"another role of this name", roleSession(), roleARN, roleID[:20] + "B", lacksIdentity},
		{"session of the role", roleSession(), session, roleID, allowed},
		{"same session", roleSession(), session, roleID + ":night", allowed},
		{"session of another role of this name", roleSession(), session, roleID[:20] + "B", lacksIdentity},
		{"another session of the role", roleSession(), session + "s", roleID, lacksIdentity},
		{"unknown", user(), userARN, "", allowed},
	} {
		attached := policy.Attached{
			Document: mustParse(t, document(grants(aws(c.named))), policy.Vault),
			IDs:      map[string]string{c.named: c.stored},
		}
		r := &policy.Request{Principal: c.who, Action: deletes, Resources: []string{vaultARN}, SameAccount: true}
		got := policy.Decide(r, &policy.Sets{Resource: []policy.Attached{attached}})
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestTrusts(t *testing.T) {
	t.Parallel()
	delegated := policy.Decision{Source: policy.IdentityBased, Delegated: true}
	trust := func(effect, principal string) string {
		return `"Effect":"` + effect + `","Action":"sts:AssumeRole","Principal":` + principal
	}
	byService := trust("Allow", `{"Service":"backup.amazonaws.com"}`)
	byAccount := trust("Allow", `{"AWS":"`+account+`"}`)
	byUser := trust("Allow", `{"AWS":"`+userARN+`"}`)
	for _, c := range []struct {
		name       string
		who        policy.Principal
		statements string
		same       bool
		want       policy.Decision
	}{
		{"service", service(), byService, false, allowed},
		{"another service", service(), trust("Allow", `{"Service":"ec2.amazonaws.com"}`), false, lacksResource},
		{"user", user(), byUser, true, allowed},
		{"user where a service is named", user(), byService, true, lacksResource},
		{"user of another account", user(), byUser, false, delegated},
		{"account", user(), byAccount, true, delegated},
		{"account of a session", roleSession(), byAccount, true, delegated},
		{"role", roleSession(), trust("Allow", `{"AWS":"`+roleARN+`"}`), true, allowed},
		{"everyone", user(), trust("Allow", `"*"`), true, allowed},
		{"account and user", user(), byAccount + "},{" + byUser, true, allowed},
		{"denied", user(), byUser + "},{" + trust("Deny", `"*"`), true, explicit(policy.ResourceBased)},
		{"condition", user(), byUser + `,"Condition":{"StringEquals":{"sts:ExternalId":"7"}}`, true, allowed},
		{"another condition", user(), byUser + `,"Condition":{"StringEquals":{"sts:ExternalId":"8"}}`, true, lacksResource},
	} {
		r := &policy.Request{
			Principal: c.who, Action: "sts:AssumeRole", Resources: []string{roleARN}, SameAccount: c.same,
			Context: policy.Values{"sts:externalid": {"7"}},
		}
		d := policy.Attached{Document: mustParse(t, document(c.statements), policy.Trust)}
		if diff := cmp.Diff(c.want, policy.Trusts(d, r)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestReason(t *testing.T) {
	t.Parallel()
	for want, d := range map[string]policy.Decision{
		"": allowed,
		"because no identity-based policy allows the backup:DeleteRecoveryPoint action": lacksIdentity,
		"because no resource-based policy allows the backup:DeleteRecoveryPoint action": lacksResource,
		"because no session policy allows the backup:DeleteRecoveryPoint action":        lacksSession,
		"because no permissions boundary allows the backup:DeleteRecoveryPoint action":  lacksBoundary,
		"with an explicit deny in an identity-based policy":                             explicit(policy.IdentityBased),
		"with an explicit deny in a resource-based policy":                              explicit(policy.ResourceBased),
		"with an explicit deny in a session policy":                                     explicit(policy.SessionPolicy),
		"with an explicit deny in a permissions boundary":                               explicit(policy.Boundary),
	} {
		if got := d.Reason(deletes); got != want {
			t.Errorf("Reason of %+v = %q, want %q", d, got, want)
		}
	}
}
