package server_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/backup/types"

	"github.com/lockfast/lockfast/internal/lockfastapi"
)

// TestCopy_ByARule lets a rule back up a directory and a group daily and copy both to three vaults, one of which is not there
// and one another account's that does not admit it.
func TestCopy_ByARule(t *testing.T) {
	t.Parallel()
	o := options(t, t.TempDir())
	o.Config.Clock = "2026-03-01T00:00:00Z"
	f := start(t, o)
	theirs := f.other()
	theirs.vault("refuge")
	f.crossAccount("true")
	f.vault("home")
	f.vault("offsite")
	web, _ := f.member("web", map[string]string{"a": "1"})
	shop := f.group("shop", "web")
	id := f.plan(web, shop)
	own(f, lockfastapi.AdvanceClock, &lockfastapi.AdvanceClockInput{Seconds: 6 * 3600})
	var jobs []types.CopyJob
	f.eventually(func() bool {
		jobs = must(f.sdk.ListCopyJobs(f.Context(), &backup.ListCopyJobsInput{}))(f).CopyJobs
		over := 0
		for _, j := range jobs {
			if j.State != types.CopyJobStateCreated && j.State != types.CopyJobStateRunning {
				over++
			}
		}
		return over == 8 // three for the directory, three for the group, and one for its member in each vault that may be there
	})
	want := map[string]string{"offsite": "COMPLETED ", "absent": "FAILED RESOURCE_NOT_FOUND", "refuge": "FAILED ACCESS_DENIED"}
	for _, j := range jobs {
		name := (*j.DestinationBackupVaultArn)[strings.LastIndex(*j.DestinationBackupVaultArn, ":")+1:]
		got := string(j.State) + " " + strings.TrimPrefix(aws.ToString(j.MessageCategory), "SUCCESS")
		if got != want[name] || aws.ToString(j.CreatedBy.BackupPlanId) != id || aws.ToString(j.CreatedByBackupJobId) == "" {
			t.Errorf("copy of %s to %s = %s, %q, by %v of job %q", *j.ResourceArn, name, got, aws.ToString(j.StatusMessage), j.CreatedBy,
				aws.ToString(j.CreatedByBackupJobId))
		}
	}
	f.plannedCopies(web, shop)
}

// plan makes a plan with a rule that backs resources up daily at five, for 35 days, and copies them.
func (f *fixture) plan(resources ...string) (id string) {
	f.Helper()
	to := func(account, vault string, days int64) types.CopyAction {
		return types.CopyAction{DestinationBackupVaultArn: aws.String("arn:aws:backup:us-east-1:" + account + ":backup-vault:" + vault),
			Lifecycle: &types.Lifecycle{DeleteAfterDays: &days}}
	}
	made := must(f.sdk.CreateBackupPlan(f.Context(), &backup.CreateBackupPlanInput{BackupPlan: &types.BackupPlanInput{
		BackupPlanName: aws.String("daily"), Rules: []types.BackupRuleInput{{RuleName: aws.String("daily"), TargetBackupVaultName: aws.String("home"),
			ScheduleExpression: aws.String("cron(0 5 ? * * *)"), Lifecycle: &types.Lifecycle{DeleteAfterDays: aws.Int64(35)},
			CopyActions: []types.CopyAction{to("000000000000", "offsite", -1), to("000000000000", "absent", 365), to(tenant, "refuge", 365)}}}}}))(f)
	must(f.sdk.CreateBackupSelection(f.Context(), &backup.CreateBackupSelectionInput{BackupPlanId: made.BackupPlanId,
		BackupSelection: &types.BackupSelection{SelectionName: aws.String("all"), IamRoleArn: aws.String(role), Resources: resources}}))(f)
	return *made.BackupPlanId
}

// plannedCopies checks the copies that were made, and that the backups are none the worse for those that were not.
func (f *fixture) plannedCopies(web, shop string) {
	f.Helper()
	points := func(vault string) (byResource map[string]types.RecoveryPointByBackupVault) {
		byResource = map[string]types.RecoveryPointByBackupVault{}
		for _, p := range must(f.sdk.ListRecoveryPointsByBackupVault(f.Context(), &backup.ListRecoveryPointsByBackupVaultInput{BackupVaultName: &vault}))(f).RecoveryPoints {
			if p.ParentRecoveryPointArn == nil {
				byResource[*p.ResourceArn] = p
			}
		}
		return byResource
	}
	home, offsite := points("home"), points("offsite")
	for _, arn := range []string{web, shop} {
		from, to := home[arn], offsite[arn]
		if from.Status != types.RecoveryPointStatusCompleted || to.Status != types.RecoveryPointStatusCompleted ||
			!to.CreationDate.Equal(aws.ToTime(from.CreationDate)) || to.Lifecycle == nil || *to.Lifecycle.DeleteAfterDays != 35 {
			f.Errorf("copy %+v of %+v", to, from)
			continue
		}
		if to.CreatedBy == nil || from.CreatedBy == nil || aws.ToString(to.CreatedBy.BackupPlanId) != aws.ToString(from.CreatedBy.BackupPlanId) {
			f.Errorf("copy was created by %v, its source by %v", to.CreatedBy, from.CreatedBy)
		}
		if at := to.CreationDate.Add(35 * 24 * time.Hour); !to.CalculatedLifecycle.DeleteAt.Equal(at) {
			f.Errorf("copy is deleted at %s, want %s", to.CalculatedLifecycle.DeleteAt, at)
		}
	}
}
