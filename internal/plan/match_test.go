package plan_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/plan"
)

const (
	efsARN     = "arn:aws:elasticfilesystem:us-east-1:000000000000:file-system/fs-1"
	volumeARN  = "arn:aws:ec2:us-east-1:000000000000:volume/vol-1"
	clusterARN = "arn:aws:rds:us-east-1:000000000000:cluster:c"
)

func params(list ...string) (all []backupapi.ConditionParameter) {
	for _, p := range list {
		key, value, _ := strings.Cut(p, "=")
		all = append(all, backupapi.ConditionParameter{ConditionKey: new("aws:ResourceTag/" + key), ConditionValue: &value})
	}
	return all
}

func tags(list ...string) (all []backupapi.Condition) {
	for _, p := range list {
		key, value, _ := strings.Cut(p, "=")
		all = append(all, backupapi.Condition{ConditionType: "STRINGEQUALS", ConditionKey: key, ConditionValue: value})
	}
	return all
}

func TestJudge(t *testing.T) {
	t.Parallel()
	type selection = backupapi.BackupSelection
	type conditions = backupapi.Conditions
	efs := plan.Candidate{ARN: efsARN, Type: "EFS", Tags: map[string]string{"backup": "daily", "stage": "prod one"}}
	volume := plan.Candidate{ARN: volumeARN, Type: "EBS"}
	cluster := plan.Candidate{ARN: clusterARN, Type: "Aurora"}
	test := plan.Candidate{ARN: efsARN, Type: "EFS", Tags: map[string]string{"awsbackup-restore-test": "x"}}
	for _, c := range []struct {
		name string
		sel  selection
		r    plan.Candidate
		out  bool // the account has not opted in for anything
		want bool
	}{
		{"nothing is everything", selection{}, efs, false, true},
		{"nothing, opted out", selection{}, efs, true, false},
		{"restore tests never", selection{}, test, false, false},
		{"an ARN", selection{Resources: []string{efsARN}}, efs, false, true},
		{"another ARN", selection{Resources: []string{efsARN + "2"}}, efs, false, false},
		{"a prefix is no match", selection{Resources: []string{efsARN[:len(efsARN)-1]}}, efs, false, false},
		{"an ARN overrides opting out", selection{Resources: []string{efsARN}}, efs, true, true},
		{"a type overrides opting out", selection{Resources: []string{"arn:aws:elasticfilesystem:*:*:file-system/*"}}, efs, true, true},
		{"a service does not", selection{Resources: []string{"arn:aws:elasticfilesystem:*"}}, efs, true, false},
		{"a service, opted in", selection{Resources: []string{"arn:aws:elasticfilesystem:*"}}, efs, false, true},
		{"a star does not", selection{Resources: []string{"*"}}, efs, true, false},
		{"a star, opted in", selection{Resources: []string{"*"}}, efs, false, true},
		{"a shared form does not", selection{Resources: []string{"arn:aws:rds:*:*:cluster:*"}}, cluster, true, false},
		{"a shared form, opted in", selection{Resources: []string{"arn:aws:rds:*:*:cluster:*"}}, cluster, false, true},
		{"empty region and account are any", selection{Resources: []string{"arn:aws:ec2:::volume/*"}}, volume, false, true},
		{"? is no wildcard", selection{Resources: []string{"arn:aws:ec2:*:*:volume/vol-?"}}, volume, false, false},
		{"a tag", selection{ListOfTags: tags("backup=daily")}, efs, false, true},
		{"a tag, opted out", selection{ListOfTags: tags("backup=daily")}, efs, true, false},
		{"one of two tags", selection{ListOfTags: tags("backup=weekly", "backup=daily")}, efs, false, true},
		{"case counts", selection{ListOfTags: tags("Backup=daily")}, efs, false, false},
		{"no such tag", selection{ListOfTags: tags("backup=daily")}, volume, false, false},
		{"the union: by tag", selection{Resources: []string{volumeARN}, ListOfTags: tags("backup=daily")}, efs, false, true},
		{"the union: by ARN", selection{Resources: []string{volumeARN}, ListOfTags: tags("backup=daily")}, volume, false, true},
		{"the union: neither", selection{Resources: []string{volumeARN}, ListOfTags: tags("backup=daily")}, cluster, false, false},
		{"excluded", selection{NotResources: []string{"arn:aws:ec2:*"}}, volume, false, false},
		{"not excluded", selection{NotResources: []string{"arn:aws:ec2:*"}}, efs, false, true},
		{"excluded although named", selection{Resources: []string{volumeARN}, NotResources: []string{"*"}}, volume, false, false},
		{"equals", selection{Conditions: &conditions{StringEquals: params("backup=daily")}}, efs, false, true},
		{"equals, other value", selection{Conditions: &conditions{StringEquals: params("backup=weekly")}}, efs, false, false},
		{"equals, no tag", selection{Conditions: &conditions{StringEquals: params("backup=daily")}}, volume, false, false},
		{"all conditions", selection{Conditions: &conditions{StringEquals: params("backup=daily", "stage=test")}}, efs, false, false},
		{"like", selection{Conditions: &conditions{StringLike: params("backup=d*y")}}, efs, false, true},
		{"like, any value", selection{Conditions: &conditions{StringLike: params("backup=*")}}, efs, false, true},
		{"like, no tag", selection{Conditions: &conditions{StringLike: params("backup=*")}}, volume, false, false},
		{"like, over a space", selection{Conditions: &conditions{StringLike: params("stage=prod*")}}, efs, false, false},
		{"like, with the space", selection{Conditions: &conditions{StringLike: params("stage=* one")}}, efs, false, true},
		{"not equals", selection{Conditions: &conditions{StringNotEquals: params("backup=weekly")}}, efs, false, true},
		{"not equals, the value", selection{Conditions: &conditions{StringNotEquals: params("backup=daily")}}, efs, false, false},
		{"not equals, no tag", selection{Conditions: &conditions{StringNotEquals: params("backup=daily")}}, volume, false, true},
		{"not like", selection{Conditions: &conditions{StringNotLike: params("backup=w*")}}, efs, false, true},
		{"not like, the value", selection{Conditions: &conditions{StringNotLike: params("backup=d*")}}, efs, false, false},
		{"not like, no tag", selection{Conditions: &conditions{StringNotLike: params("backup=*")}}, volume, false, true},
		{"condition on the union", selection{Resources: []string{"*"}, ListOfTags: tags("backup=daily"),
			Conditions: &conditions{StringNotEquals: params("stage=prod one")}}, efs, false, false},
	} {
		got := plan.Judge(&c.sel, c.r, func(string) bool { return !c.out })
		if got.Selected != c.want || got.Reason == "" {
			t.Errorf("%s: %+v, want %v", c.name, got, c.want)
		}
	}
}

func TestSelection_IsKept(t *testing.T) {
	run(t, func(t *testing.T, ctx context.Context, k *kit) {
		made := k.create(t, ctx, daily("a"), "one")
		doc := backupapi.BackupSelection{SelectionName: "sel", IamRoleArn: role, Resources: []string{"*"}, NotResources: []string{volumeARN},
			ListOfTags: []backupapi.Condition{{ConditionType: "StringEquals", ConditionKey: "backup", ConditionValue: "daily"}},
			Conditions: &backupapi.Conditions{StringLike: params("stage=p*")}}
		in := &backupapi.CreateBackupSelectionInput{BackupPlanId: *made.BackupPlanId, BackupSelection: doc, CreatorRequestId: new("t")}
		first, err := k.CreateBackupSelection(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		got, err := k.GetBackupSelection(ctx, &backupapi.GetBackupSelectionInput{BackupPlanId: *made.BackupPlanId, SelectionId: *first.SelectionId})
		if err != nil {
			t.Fatal(err)
		}
		want := doc
		want.ListOfTags = tags("backup=daily")
		if diff := cmp.Diff(&want, got.BackupSelection); diff != "" {
			t.Errorf("GetBackupSelection (-want +got):\n%s", diff)
		}
		again, err := k.CreateBackupSelection(ctx, in)
		if err != nil || *again.SelectionId != *first.SelectionId {
			t.Errorf("the same request again: %+v, %v", again, err)
		}
		in.CreatorRequestId = new("u")
		_, err = k.CreateBackupSelection(ctx, in)
		wants[*backupapi.AlreadyExistsException](t, "the same name", err, "same name")
		in.CreatorRequestId, in.BackupSelection.SelectionName = new("t"), "other"
		_, err = k.CreateBackupSelection(ctx, in)
		wants[*backupapi.AlreadyExistsException](t, "the same token", err, "CreatorRequestId")
		for i := range 3 {
			in.CreatorRequestId, in.BackupSelection.SelectionName = nil, fmt.Sprint("more", i)
			if _, err := k.CreateBackupSelection(ctx, in); err != nil {
				t.Fatal(err)
			}
		}
		var names []string
		list := &backupapi.ListBackupSelectionsInput{BackupPlanId: *made.BackupPlanId, MaxResults: new(3)}
		for {
			out, err := k.ListBackupSelections(ctx, list)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range out.BackupSelectionsList {
				names = append(names, *m.SelectionName)
			}
			if list.NextToken = out.NextToken; out.NextToken == nil {
				break
			}
		}
		if diff := cmp.Diff([]string{"more0", "more1", "more2", "sel"}, names); diff != "" {
			t.Errorf("ListBackupSelections (-want +got):\n%s", diff)
		}
		_, err = k.GetBackupSelection(ctx, &backupapi.GetBackupSelectionInput{BackupPlanId: *made.BackupPlanId, SelectionId: "none"})
		wants[*backupapi.ResourceNotFoundException](t, "no selection", err, "none does not exist")
	})
}

func TestCreateBackupSelection_Refuses(t *testing.T) {
	type selection = backupapi.BackupSelection
	long := func(n int, pattern string) (list []string) {
		for range n {
			list = append(list, pattern)
		}
		return list
	}
	run(t, func(t *testing.T, ctx context.Context, k *kit) {
		made := k.create(t, ctx, daily("a"), "one")
		create := func(plan string, doc selection) error {
			_, err := k.CreateBackupSelection(ctx, &backupapi.CreateBackupSelectionInput{BackupPlanId: plan, BackupSelection: doc})
			return err
		}
		for _, c := range []struct {
			name, plan string
			doc        selection
			text       string
		}{
			{"plan", "none", selection{SelectionName: "s", IamRoleArn: role}, "BackupPlanId: Failed reading"},
			{"name", *made.BackupPlanId, selection{SelectionName: "a b", IamRoleArn: role}, "SelectionName"},
			{"role", *made.BackupPlanId, selection{SelectionName: "s", IamRoleArn: role + "-untrusting"},
				"IAM Role " + role + "-untrusting cannot be assumed by AWS Backup"},
			{"tags", *made.BackupPlanId, selection{SelectionName: "s", IamRoleArn: role + "-weak", ListOfTags: tags("a=b")},
				"IAM Role " + role + "-weak is not authorized to call tag:GetResources"},
			{"resource", *made.BackupPlanId, selection{SelectionName: "s", IamRoleArn: role, Resources: []string{"fs-1"}}, "neither an ARN nor *"},
			{"key", *made.BackupPlanId, selection{SelectionName: "s", IamRoleArn: role, Conditions: &backupapi.Conditions{
				StringEquals: []backupapi.ConditionParameter{{ConditionKey: new("stage"), ConditionValue: new("x")}}}}, "aws:ResourceTag/"},
			{"value", *made.BackupPlanId, selection{SelectionName: "s", IamRoleArn: role, Conditions: &backupapi.Conditions{
				StringEquals: []backupapi.ConditionParameter{{ConditionKey: new("aws:ResourceTag/x")}}}}, "both needed"},
		} {
			wants[*backupapi.InvalidParameterValueException](t, c.name, create(c.plan, c.doc), c.text)
		}
		for name, doc := range map[string]selection{
			"ARNs":       {SelectionName: "s", IamRoleArn: role, Resources: long(501, efsARN)},
			"wildcards":  {SelectionName: "s", IamRoleArn: role, NotResources: long(31, "arn:*")},
			"conditions": {SelectionName: "s", IamRoleArn: role, Conditions: &backupapi.Conditions{StringLike: params(long(31, "a=b")...)}},
			"tags":       {SelectionName: "s", IamRoleArn: role, ListOfTags: tags(long(31, "a=b")...)},
		} {
			wants[*backupapi.LimitExceededException](t, name, create(*made.BackupPlanId, doc), "at most")
		}
		if err := create(*made.BackupPlanId, selection{SelectionName: "weak", IamRoleArn: role + "-weak", Resources: []string{"*"}}); err != nil {
			t.Errorf("a role without tag:GetResources for a selection without tags: %v", err)
		}
	})
}
