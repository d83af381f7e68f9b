package iam_test

import (
	"strings"
	"testing"
	"time"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/iam"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
)

const (
	vault   = "arn:aws:backup:us-east-1:000000000000:backup-vault:v"
	foreign = "arn:aws:backup:us-east-1:111111111111:backup-vault:v"
	point   = "arn:aws:ec2:us-east-1::snapshot/snap-1"
)

func TestAuthorize_ReadsEveryPolicyOfAUser(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, db *meta.DB) {
		w := newWorld(t, db)
		u := w.user(account, "alice", statement("Allow", "Action", "backup:DescribeBackupVault", "Resource", vault))
		w.exec("INSERT INTO iam_group (account, name, path, group_id, created_at) VALUES (?, 'g', '/', 'AGPA', 0)", account)
		w.exec("INSERT INTO iam_membership (account, group_name, user_name) VALUES (?, 'g', 'alice')", account)
		w.inline(account, "group", "g", statement("Allow", "Action", "backup:ListTags", "Resource", "*"))
		inGroup := w.managed(account, "InGroup", statement("Allow", "Action", "backup:TagResource", "Resource", "*"))
		w.exec("INSERT INTO iam_attachment (account, kind, entity, policy_arn) VALUES (?, 'group', 'g', ?)", account, inGroup)
		w.exec("INSERT INTO iam_attachment (account, kind, entity, policy_arn) VALUES (?, 'user', 'alice', ?)", account,
			"arn:aws:iam::aws:policy/IAMReadOnlyAccess")
		w.allows(u, "backup:DescribeBackupVault", vault)
		w.allows(u, "backup:ListTags", vault)
		w.allows(u, "backup:TagResource", vault)
		w.allows(u, "iam:ListRoles", "*")
		w.denies(u, "backup:DeleteBackupVault", vault, "because no identity-based policy allows the backup:DeleteBackupVault action")
		w.inline(account, "group", "g", statement("Deny", "Action", "backup:*", "Resource", vault))
		w.denies(u, "backup:DescribeBackupVault", vault, "with an explicit deny in an identity-based policy")
		w.exec("DELETE FROM iam_membership")
		w.allows(u, "backup:DescribeBackupVault", vault)
		w.denies(u, "backup:ListTags", vault, "because no identity-based policy allows the backup:ListTags action")
		bounds := w.managed(account, "Bounds", statement("Allow", "Action", "iam:*", "Resource", "*"))
		w.exec("UPDATE iam_user SET boundary = ?", bounds)
		w.denies(u, "backup:DescribeBackupVault", vault, "because no permissions boundary allows the backup:DescribeBackupVault action")
		w.allows(u, "iam:ListRoles", "*")
		w.exec("DELETE FROM iam_user")
		w.denies(u, "iam:ListRoles", "*", "because no identity-based policy allows the iam:ListRoles action")
	})
}

func TestAuthorize_AnotherAccountOfTheSameNames(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, db *meta.DB) {
		w := newWorld(t, db)
		w.user(account, "alice", allowsAll)
		u := w.user(other, "alice")
		w.denies(u, "backup:ListBackupVaults", "*", "because no identity-based policy allows the backup:ListBackupVaults action")
	})
}

// sqlite returns a world on SQLite, for what is no question of SQL.
func sqlite(t testing.TB) *world {
	t.Helper()
	return newWorld(t, metatest.Open(t, meta.Options{URL: metatest.SQLite(t)}, iam.Migrations()))
}

func TestAuthorize_NothingCrossesAccounts(t *testing.T) {
	t.Parallel()
	w := sqlite(t)
	admin := w.user(account, "admin", allowsAll)
	for _, r := range []string{vault, "*", point, "nonsense", "arn:aws:s3:::bucket", "arn:aws:iam::aws:policy/x", "arn:aws:x", "arn:",
		"arn:aws:iam::*:role/r"} {
		w.allows(admin, "backup:DeleteBackupVault", r)
	}
	for action, r := range map[string]string{
		"backup:DeleteBackupVault": foreign, "iam:PassRole": "arn:aws:iam::111111111111:role/r", "iam:GetRole": "arn:aws:iam::111111111111:role/r",
		"backup:ListTags": "arn:aws:backup:us-east-1:nobody:backup-vault:v",
	} {
		w.denies(admin, action, r, "because no resource-based policy allows the "+action+" action")
	}
	err := w.ask(admin, caller.Access{Action: "backup:DeleteRecoveryPoint", Resource: point, Also: []string{foreign}})
	wantDenied(t, err, "User: "+admin.ARN+" is not authorized to perform: backup:DeleteRecoveryPoint on resource: "+point+
		" because no resource-based policy allows the backup:DeleteRecoveryPoint action")
	all := statement("Allow", "Principal", "*", "Action", `["backup:DeleteBackupVault","backup:CopyIntoBackupVault"]`, "Resource", "*")
	w.denies(admin, "backup:CopyIntoBackupVault", foreign, "because no resource-based policy allows the backup:CopyIntoBackupVault action")
	w.attach(foreign, all)
	w.denies(admin, "backup:DeleteBackupVault", foreign, "because no resource-based policy allows the backup:DeleteBackupVault action")
	w.allows(admin, "backup:CopyIntoBackupVault", foreign)
	guest := w.user(account, "guest")
	w.denies(guest, "backup:CopyIntoBackupVault", foreign, "because no identity-based policy allows the backup:CopyIntoBackupVault action")
}

func TestAuthorize_PoliciesOfResources(t *testing.T) {
	t.Parallel()
	w := sqlite(t)
	if _, err := w.EnsureAccount(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	var id string
	row(w, &id, "SELECT user_id FROM iam_user WHERE administrator")
	admin := caller.Caller{Account: account, ARN: "arn:aws:iam::000000000000:user/administrator", UserID: id, Kind: caller.User}
	second, guest := w.user(account, "second", allowsAll), w.user(account, "guest")
	w.attach(vault, `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Principal":{"AWS":"`+guest.ARN+`"},"Action":"backup:DescribeBackupVault","Resource":"*"},
		{"Effect":"Deny","Principal":"*","NotAction":"backup:DescribeBackupVault","Resource":"*"}]}`)
	w.allows(guest, "backup:DescribeBackupVault", vault)
	w.denies(second, "backup:DeleteBackupVaultAccessPolicy", vault, "with an explicit deny in a resource-based policy")
	for _, action := range []string{"backup:PutBackupVaultAccessPolicy", "backup:GetBackupVaultAccessPolicy", "backup:DeleteBackupVaultAccessPolicy"} {
		w.allows(admin, action, vault)
	}
	w.denies(admin, "backup:DeleteBackupVault", vault, "with an explicit deny in a resource-based policy")
	w.inline(account, "user", "administrator", statement("Deny", "Action", "backup:PutBackupVaultAccessPolicy", "Resource", "*"))
	w.denies(admin, "backup:PutBackupVaultAccessPolicy", vault, "with an explicit deny in an identity-based policy")
}

// Without a statement for the account, policies of identities do not count for a key, as
// https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-overview.html says.
func TestAuthorize_PolicyOfAKeyDecides(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, db *meta.DB) {
		const key, gone = "arn:aws:kms:us-east-1:000000000000:key/k", "arn:aws:kms:us-east-1:000000000000:key/gone"
		w := newWorld(t, db)
		alice, bob := w.user(account, "alice", allowsAll), w.user(account, "bob")
		w.attach(key, `{"Version":"2012-10-17","Statement":[
			{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:user/bob"},"Action":"kms:Encrypt","Resource":"*"}]}`)
		w.allows(bob, "kms:Encrypt", key)
		w.denies(bob, "kms:Decrypt", key, "because no resource-based policy allows the kms:Decrypt action")
		w.denies(alice, "kms:Encrypt", key, "because no resource-based policy allows the kms:Encrypt action")
		w.allows(alice, "lockfast:RotateKey", key)
		w.allows(alice, "kms:DescribeKey", gone)
		w.attach(key, `{"Version":"2012-10-17","Statement":[
			{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:root"},"Action":"kms:*","Resource":"*"}]}`)
		w.allows(alice, "kms:Encrypt", key)
		w.denies(bob, "kms:Encrypt", key, "because no identity-based policy allows the kms:Encrypt action")
	})
}

func TestAuthorize_ConditionKeys(t *testing.T) {
	t.Parallel()
	w := sqlite(t)
	w.tags[vault] = map[string]string{"Team": "blue"}
	u := w.user(account, "alice")
	w.exec("INSERT INTO iam_tag (account, kind, entity, key, value) VALUES (?, 'user', 'alice', 'Team', 'blue')", account)
	roleARN := w.role(account, "tagged", statement("Allow", "Principal", "*", "Action", "sts:AssumeRole"))
	w.exec("INSERT INTO iam_tag (account, kind, entity, key, value) VALUES (?, 'role', 'tagged', 'Team', 'blue')", account)
	now := time.Now().UTC().Format(time.RFC3339)[:11]
	for condition, resource := range map[string]string{
		`{"StringEquals":{"aws:username":"alice"}}`:                                                        vault,
		`{"StringEquals":{"aws:userid":"` + u.UserID + `"}}`:                                               vault,
		`{"ArnEquals":{"aws:PrincipalArn":"` + u.ARN + `"}}`:                                               vault,
		`{"StringEquals":{"aws:PrincipalAccount":"` + account + `","aws:PrincipalType":"User"}}`:           vault,
		`{"StringEquals":{"AWS:PrincipalTag/team":"blue"}}`:                                                vault,
		`{"StringEquals":{"aws:ResourceTag/Team":"${aws:PrincipalTag/Team}"}}`:                             vault,
		`{"StringEquals":{"iam:ResourceTag/Team":"blue"}}`:                                                 roleARN,
		`{"IpAddress":{"aws:SourceIp":"10.1.0.0/16"},"Bool":{"aws:SecureTransport":"true"}}`:               vault,
		`{"StringLike":{"aws:UserAgent":"te*","aws:CurrentTime":"` + now + `*"}}`:                          vault,
		`{"NumericGreaterThan":{"aws:EpochTime":"1000000000"}}`:                                            vault,
		`{"DateGreaterThan":{"aws:CurrentTime":"2020-01-01T00:00:00Z"}}`:                                   vault,
		`{"StringEquals":{"aws:RequestedRegion":"us-east-1","aws:ResourceAccount":"` + account + `"}}`:     vault,
		`{"Bool":{"aws:ViaAWSService":"false"},"Null":{"aws:TokenIssueTime":"true","aws:referer":"true"}}`: vault,
		`{"Null":{"aws:MultiFactorAuthPresent":"true","aws:CalledVia":"true","sts:ExternalId":"true"}}`:    vault,
		`{"StringEquals":{"iam:PassedToService":"backup.amazonaws.com"}}`:                                  "*",
	} {
		w.exec("DELETE FROM iam_inline_policy")
		w.inline(account, "user", "alice", statement("Allow", "Action", "x:Do", "Resource", "*", "Condition", condition))
		access := caller.Access{Action: "x:Do", Resource: resource}
		if resource == "*" {
			access.Keys = map[string][]string{"iam:passedtoservice": {caller.ServiceName}}
		}
		if err := w.ask(u, access); err != nil {
			t.Errorf("%s: %v", condition, err)
		}
		w.exec("DELETE FROM iam_inline_policy")
		w.inline(account, "user", "alice", allowsAll, statement("Deny", "Action", "x:Do", "Resource", "*", "Condition", condition))
		if err := w.ask(u, access); err == nil || !strings.Contains(err.Error(), "explicit deny") {
			t.Errorf("Deny with %s: %v", condition, err)
		}
	}
}

func TestAuthorize_FollowsChanges(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, db *meta.DB) {
		w := newWorld(t, db)
		there := iam.New(w.options)
		u := w.user(account, "alice", allowsAll)
		ask := func() error { return there.Authorize(t.Context(), u, caller.OnAll("a:B")) }
		if err := ask(); err != nil {
			t.Fatal(err)
		}
		w.exec("DELETE FROM iam_inline_policy")
		deadline := time.Now().Add(time.Second)
		for ask() == nil {
			if time.Now().After(deadline) {
				t.Fatal("another node still allows what was forbidden a second ago")
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
}

func TestAuthorize_Nobody(t *testing.T) {
	t.Parallel()
	w := sqlite(t)
	if w.ask(caller.Caller{}, caller.Access{Action: "a:B", Resource: "*"}) == nil {
		t.Error("nobody was authorised")
	}
	u := w.user(account, "alice", allowsAll)
	if w.Authorize(t.Context(), u, nil) == nil {
		t.Error("nothing was authorised")
	}
	u.Kind = caller.Root
	w.denies(u, "a:B", "*", "because no identity-based policy allows the a:B action")
}

// BenchmarkAuthorize asks for a caller with ten policies, of which the last one decides.
func BenchmarkAuthorize(b *testing.B) {
	w := sqlite(b)
	u := w.user(account, "alice")
	for i := range 9 {
		w.inline(account, "user", "alice", `{"Version":"2012-10-17","Statement":[
			{"Effect":"Allow","Action":["s3:Get*","s3:List*","ec2:Describe*"],"Resource":["arn:aws:s3:::bucket`+string(rune('0'+i))+`/*","*"]},
			{"Effect":"Deny","Action":["backup:DeleteBackupVault","backup:DeleteRecoveryPoint"],"Resource":"arn:aws:backup:*:*:backup-vault:keep-*"},
			{"Effect":"Allow","Action":"backup:Describe*","Resource":"*","Condition":{"StringEquals":{"aws:RequestedRegion":"eu-west-1"}}}]}`)
	}
	w.inline(account, "user", "alice", statement("Allow", "Action", "backup:*", "Resource", "arn:aws:backup:*:*:backup-vault:*"))
	asked := caller.On("backup:DescribeBackupVault", vault)
	ctx := b.Context()
	for b.Loop() {
		if err := w.Authorize(ctx, u, asked); err != nil {
			b.Fatal(err)
		}
	}
}
