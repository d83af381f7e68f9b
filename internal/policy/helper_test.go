package policy_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/lockfast/lockfast/internal/policy"
)

const (
	account  = "111111111111"
	other    = "222222222222"
	userARN  = "arn:aws:iam::111111111111:user/team/ann"
	userID   = "AIDAAAAAAAAAAAAAAAAAA"
	roleARN  = "arn:aws:iam::111111111111:role/service-role/Keeper"
	roleID   = "AROAAAAAAAAAAAAAAAAAA"
	session  = "arn:aws:sts::111111111111:assumed-role/Keeper/night"
	rootARN  = "arn:aws:iam::111111111111:root"
	vaultARN = "arn:aws:backup:us-east-1:111111111111:backup-vault:gold"
	pointARN = "arn:aws:backup:us-east-1:111111111111:recovery-point:1eb3b5e7"
	deletes  = "backup:DeleteRecoveryPoint"
)

func user() policy.Principal {
	return policy.Principal{Kind: policy.User, ARN: userARN, ID: userID, Account: account}
}

func roleSession() policy.Principal {
	return policy.Principal{Kind: policy.RoleSession, ARN: session, RoleARN: roleARN, ID: roleID + ":night", Account: account}
}

func root() policy.Principal {
	return policy.Principal{Kind: policy.RootUser, ARN: rootARN, ID: account, Account: account}
}

func service() policy.Principal {
	return policy.Principal{Kind: policy.ServicePrincipal, ARN: "backup.amazonaws.com"}
}

func mustParse(t testing.TB, text string, kind policy.Kind) *policy.Document {
	t.Helper()
	d, err := policy.Parse(text, kind)
	if err != nil {
		t.Fatalf("Parse(%s): %v", text, err)
	}
	return d
}

// document returns a text of version 2012-10-17 with the statements, each the members of an object.
func document(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[{` + strings.Join(statements, "},{") + `}]}`
}

func allows(t testing.TB, text string, r *policy.Request) bool {
	t.Helper()
	return policy.Decide(r, &policy.Sets{Identity: []*policy.Document{mustParse(t, text, policy.Identity)}}).Allowed
}

// holds evaluates one condition: an operator, a key and the values of the policy.
func holds(t testing.TB, operator, key string, want []string, ctx policy.Context) bool {
	t.Helper()
	values, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	text := document(fmt.Sprintf(`"Effect":"Allow","Action":"*","Resource":"*","Condition":{%q:{%q:%s}}`, operator, key, values))
	return allows(t, text, &policy.Request{
		Principal: user(), Action: deletes, Resources: []string{pointARN}, Context: ctx, SameAccount: true,
	})
}
