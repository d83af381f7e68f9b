package iam_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/iamapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
)

// simulator returns a world that can page, and the context of a caller.
func simulator(t *testing.T, db *meta.DB) (*world, context.Context) {
	w := newWorld(t, db)
	w.options.Pager = restjson.NewPager([]byte("key"))
	w.restart()
	return w, caller.With(t.Context(), caller.Caller{Account: account})
}

// verdicts are decisions by action and resource.
func verdicts(out *iamapi.SimulatePrincipalPolicyOutput) map[string]string {
	all := map[string]string{}
	for _, r := range out.EvaluationResults {
		all[r.EvalActionName+" "+*r.EvalResourceName] = string(r.EvalDecision)
	}
	return all
}

func TestSimulatePrincipalPolicy(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, db *meta.DB) {
		w, ctx := simulator(t, db)
		u := w.user(account, "alice", statement("Allow", "Action", "backup:*", "Resource", "*"),
			statement("Deny", "Action", "backup:DeleteBackupVault", "Resource", vault, "Condition", `{"StringEquals":{"aws:username":"alice"}}`))
		roleARN := w.role(account, "r", trusts("*"), statement("Allow", "Action", "s3:GetObject", "Resource", "*"))
		w.exec("INSERT INTO iam_group (account, name, path, group_id, created_at) VALUES (?, 'g', '/', 'AGPA', 0)", account)
		w.inline(account, "group", "g", statement("Allow", "Action", "ec2:*", "Resource", "*"))
		simulate := func(source string, actions []string, resources ...string) map[string]string {
			t.Helper()
			out, err := w.SimulatePrincipalPolicy(ctx, &iamapi.SimulatePrincipalPolicyInput{PolicySourceArn: source, ActionNames: actions,
				ResourceArns: resources})
			if err != nil {
				t.Fatal(err)
			}
			return verdicts(out)
		}
		got := simulate(u.ARN, []string{"backup:DeleteBackupVault", "s3:GetObject"}, vault, "*")
		want := map[string]string{"backup:DeleteBackupVault " + vault: "explicitDeny", "backup:DeleteBackupVault *": "allowed",
			"s3:GetObject " + vault: "implicitDeny", "s3:GetObject *": "implicitDeny"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("user (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(map[string]string{"s3:GetObject *": "allowed"}, simulate(roleARN, []string{"s3:GetObject"})); diff != "" {
			t.Errorf("role (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(map[string]string{"ec2:RunInstances *": "allowed"}, simulate("arn:aws:iam::000000000000:group/g", []string{"ec2:RunInstances"})); diff != "" {
			t.Errorf("group (-want +got):\n%s", diff)
		}
		w.user(other, "bob", allowsAll)
		for _, source := range []string{"arn:aws:iam::111111111111:user/bob", "arn:aws:iam::000000000000:user/none", "arn:aws:iam::000000000000:role/r"} {
			_, err := w.SimulatePrincipalPolicy(ctx, &iamapi.SimulatePrincipalPolicyInput{PolicySourceArn: source, ActionNames: []string{"a:B"}})
			if _, ok := errors.AsType[*iamapi.NoSuchEntityException](err); !ok {
				t.Errorf("simulation of %s = %v", source, err)
			}
		}
	})
}

func TestSimulateCustomPolicy(t *testing.T) {
	t.Parallel()
	w := sqlite(t)
	w, ctx := simulator(t, w.db)
	u := w.user(account, "alice")
	in := &iamapi.SimulateCustomPolicyInput{
		ActionNames: []string{"backup:DeleteBackupVault", "backup:ListBackupVaults", "x:Y"}, MaxItems: new(2),
		PolicyInputList: []string{statement("Allow", "Action", "backup:*", "Resource", "*", "Condition",
			`{"StringEquals":{"aws:PrincipalTag/Team":"blue"},"Bool":{"aws:SecureTransport":"true"}}`)},
		ContextEntries:                     []iamapi.ContextEntry{{ContextKeyName: new("aws:principalTag/team"), ContextKeyValues: []string{"blue"}}},
		PermissionsBoundaryPolicyInputList: []string{statement("Allow", "Action", "backup:List*", "Resource", "*")},
	}
	out, err := w.SimulateCustomPolicy(ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"aws:securetransport"}, out.EvaluationResults[0].MissingContextValues); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
	in.ContextEntries = append(in.ContextEntries, iamapi.ContextEntry{ContextKeyName: new("aws:SecureTransport"), ContextKeyValues: []string{"true"}})
	if out, err = w.SimulateCustomPolicy(ctx, in); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"backup:DeleteBackupVault *": "implicitDeny", "backup:ListBackupVaults *": "allowed"}
	if diff := cmp.Diff(want, verdicts(out)); diff != "" || !*out.IsTruncated {
		t.Errorf("first page (-want +got):\n%s", diff)
	}
	if *out.EvaluationResults[0].PermissionsBoundaryDecisionDetail.AllowedByPermissionsBoundary ||
		!*out.EvaluationResults[1].PermissionsBoundaryDecisionDetail.AllowedByPermissionsBoundary {
		t.Error("details of the boundary are wrong")
	}
	in.Marker = out.Marker
	if out, err = w.SimulateCustomPolicy(ctx, in); err != nil || *out.IsTruncated {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"x:Y *": "implicitDeny"}, verdicts(out)); diff != "" {
		t.Errorf("second page (-want +got):\n%s", diff)
	}
	attached := &iamapi.SimulateCustomPolicyInput{ActionNames: []string{"x:Y"}, PolicyInputList: []string{statement("Allow", "Action", "z:*", "Resource", "*")},
		CallerArn: &u.ARN, ResourcePolicy: new(statement("Allow", "Principal", `{"AWS":"`+u.ARN+`"}`, "Action", "x:Y", "Resource", "*"))}
	if out, err = w.SimulateCustomPolicy(ctx, attached); err != nil || out.EvaluationResults[0].EvalDecision != "allowed" {
		t.Errorf("with a policy of the resource: %+v, %v", out, err)
	}
	for name, bad := range map[string]*iamapi.SimulateCustomPolicyInput{
		"policy":                      {PolicyInputList: []string{"{}"}},
		"boundary":                    {PermissionsBoundaryPolicyInputList: []string{"{}"}},
		"boundaries":                  {PermissionsBoundaryPolicyInputList: []string{allowsAll, allowsAll}},
		"resource policy, nobody":     {ResourcePolicy: new(allowsAll)},
		"resource policy":             {ResourcePolicy: new(allowsAll), CallerArn: &u.ARN},
		"caller":                      {CallerArn: new("arn:aws:iam::000000000000:user/none")},
		"action":                      {ActionNames: []string{"backup:*"}},
		"context":                     {ContextEntries: []iamapi.ContextEntry{{}}},
		"several values where one is": {ContextEntries: []iamapi.ContextEntry{{ContextKeyName: new("a:b"), ContextKeyType: new(iamapi.ContextKeyTypeEnumString), ContextKeyValues: []string{"1", "2"}}}},
		"option":                      {ResourceHandlingOption: new("EC2-VPC-InstanceStore")},
	} {
		if bad.ActionNames == nil {
			bad.ActionNames = []string{"a:B"}
		}
		_, err := w.SimulateCustomPolicy(ctx, bad)
		if _, ok := errors.AsType[*iamapi.InvalidInputException](err); !ok {
			t.Errorf("simulation with a bad %s = %v", name, err)
		}
	}
}
