package e2e_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/google/go-cmp/cmp"
)

func TestPlans_Boto3(t *testing.T) {
	t.Parallel()
	s := serve(t, "--clock", "2026-01-01T00:00:00Z")
	dir, arn := s.protect(t)
	s.lockfast(t, "resource", "add", "--type", "EFS", "--path", t.TempDir(), "--tag", "backup=daily")
	s.lockfast(t, "resource", "add", "--type", "EFS", "--path", t.TempDir(), "--tag", "backup=daily", "--tag", "stage=test")
	s.story(t, dir, arn, recentPython(t), "boto3/plans.py")
}

// The resources of https://registry.terraform.io/providers/hashicorp/aws/latest/docs that plans need.
func TestTerraform_Plans(t *testing.T) {
	t.Parallel()
	s := serve(t)
	tf := newTerraform(t, s, "terraform/plans.tf")
	tf.apply(t)
	c, id := s.client(t), tf.run(t, "output", "-raw", "plan")
	rules := func() map[string]string {
		p, err := c.GetBackupPlan(t.Context(), &backup.GetBackupPlanInput{BackupPlanId: &id})
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]string{}
		for _, r := range p.BackupPlan.Rules {
			found[*r.RuleName] = *r.ScheduleExpression
		}
		return found
	}
	want := map[string]string{"daily": "cron(0 5 ? * * *)", "monthly": "cron(0 5 1 * ? *)", "weekly": "cron(0 5 ? * SAT *)"}
	if diff := cmp.Diff(want, rules()); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
	tf.apply(t, "-var=changed=true")
	if diff := cmp.Diff(map[string]string{"daily": "cron(0 6 ? * * *)", "monthly": "cron(0 5 1 * ? *)"}, rules()); diff != "" {
		t.Errorf("rules after a change (-want +got):\n%s", diff)
	}
	tf.run(t, "destroy", "-no-color", "-input=false", "-auto-approve", "-var=changed=true")
	if left := tf.run(t, "state", "list"); left != "" {
		t.Errorf("left after destroy: %s", left)
	}
	plans, err := c.ListBackupPlans(t.Context(), &backup.ListBackupPlansInput{})
	if err != nil || len(plans.BackupPlansList) != 0 {
		t.Errorf("plans after destroy = %+v, %v", plans, err)
	}
}
