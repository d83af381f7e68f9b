package job_test

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/events"
	"github.com/lockfast/lockfast/internal/job"
	"github.com/lockfast/lockfast/internal/meta"
)

// event is an event as its reader finds it.
type event struct {
	Resources []string
	Detail    map[string]any
}

// events reads the events of a type, or of a name among those of a vault, oldest first.
func (f *fixture) events(kind string) (all []event) {
	f.t.Helper()
	list, err := events.New(events.Options{DB: f.db}).List(f.ctx, events.Filter{Account: account, Region: region, Type: kind}, 1000)
	if err != nil {
		f.t.Fatal(err)
	}
	slices.Reverse(list)
	for _, l := range list {
		var e event
		if err := json.Unmarshal([]byte(l.Document), &e); err != nil {
			f.t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

// states are the states that events tell of a backup job, oldest first.
func (f *fixture) states(id string) (all []string) {
	f.t.Helper()
	for _, e := range f.events(events.BackupStateChange) {
		if e.Detail["backupJobId"] == id {
			name, _ := e.Detail["backupVaultEvent"].(string)
			all = append(all, e.Detail["state"].(string)+"/"+name)
		}
	}
	return all
}

// Shapes: https://docs.aws.amazon.com/aws-backup/latest/devguide/eventbridge.html
func TestEvents_OfABackupJob(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		j := f.scheduled()
		j.CreatedBy = &backupapi.RecoveryPointCreator{BackupPlanId: new("plan"), BackupPlanArn: new("arn"), BackupPlanVersion: new("v"), BackupRuleId: new("r")}
		b := f.add(j)
		f.clock.add(time.Minute)
		_, l, _ := f.claim(f.Service, b.ID)
		f.clock.add(time.Minute)
		result := job.Result{Progress: job.Progress{Items: 2, BytesRead: 10, BytesStored: 5, TotalBytes: 10}, Message: "1 items were skipped."}
		if err := f.complete(l, result); err != nil {
			t.Fatal(err)
		}
		vault, none := "arn:aws:backup:eu-west-1:123456789012:backup-vault:home", []string{}
		common := func(state, bytes, name string, percent float64) map[string]any {
			return map[string]any{"backupJobId": b.ID, "state": state, "backupVaultArn": vault, "backupVaultName": "home",
				"bytesTransferred": bytes, "backupSizeInBytes": bytes, "percentDone": percent, "retryCount": 0.0,
				"creationDate": "2026-03-01T12:00:00.000Z", "startBy": "2026-03-01T13:00:00.000Z", "iamRoleArn": role,
				"resourceArn": dataARN, "resourceType": "EFS", "backupVaultEvent": name,
				"createdBy": map[string]any{"backupPlanId": "plan", "backupPlanArn": "arn", "backupPlanVersion": "v", "backupPlanRuleId": "r"}}
		}
		completed := common("COMPLETED", "5", "BACKUP_JOB_SUCCESSFUL", 100)
		completed["completionDate"], completed["statusMessage"] = "2026-03-01T12:02:00.000Z", result.Message
		want := []event{
			{none, map[string]any{"backupJobId": b.ID, "state": "CREATED", "creationDate": "2026-03-01T12:00:00.000Z"}},
			{none, common("RUNNING", "0", "BACKUP_JOB_STARTED", 0)},
			{[]string{b.PointARN}, completed},
		}
		if diff := cmp.Diff(want, f.events(events.BackupStateChange)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

func TestEvents_OfEveryEndOfABackupJob(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		failed, l := f.running(dataARN)
		f.update(func(ctx context.Context, tx *meta.Tx) error { return f.FailTx(ctx, tx, l, "broken") })
		stopped, l := f.running(dataARN)
		f.stop(stopped)
		f.update(func(ctx context.Context, tx *meta.Tx) error { return f.AbortTx(ctx, tx, l) })
		waiting := f.backup(otherARN)
		f.stop(waiting)
		f.clock.add(time.Second)
		missed := f.scheduled()
		missed.Missed = true
		expired := f.add(missed).ID
		for _, c := range []struct {
			name, id string
			want     []string
		}{
			{"failed", failed, []string{"CREATED/", "RUNNING/BACKUP_JOB_STARTED", "FAILED/BACKUP_JOB_FAILED"}},
			{"stopped", stopped, []string{"CREATED/", "RUNNING/BACKUP_JOB_STARTED", "ABORTING/", "ABORTED/BACKUP_JOB_COMPLETED"}},
			{"stopped before it began", waiting, []string{"CREATED/", "ABORTED/BACKUP_JOB_COMPLETED"}},
			{"missed", expired, []string{"CREATED/", "EXPIRED/BACKUP_JOB_EXPIRED"}},
		} {
			if diff := cmp.Diff(c.want, f.states(c.id)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.name, diff)
			}
		}
		if ends, failures := f.events("BACKUP_JOB_COMPLETED"), f.events("BACKUP_JOB_FAILED"); len(ends) != 4 || len(failures) != 1 {
			t.Errorf("%d ends and %d failures, want 4 and 1", len(ends), len(failures))
		}
	})
}

func TestEvents_OfAGroup(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id, web, crm := f.parent()
		f.finish(web, "")
		f.finish(crm, "broken")
		f.end(id)
		if diff := cmp.Diff([]string{"CREATED/", "RUNNING/BACKUP_JOB_STARTED", "PARTIAL/BACKUP_JOB_FAILED"}, f.states(id)); diff != "" {
			t.Errorf("parent (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"CREATED/", "RUNNING/BACKUP_JOB_STARTED", "COMPLETED/BACKUP_JOB_SUCCESSFUL"}, f.states(web)); diff != "" {
			t.Errorf("child (-want +got):\n%s", diff)
		}
	})
}

func TestEvents_OfARestoreJob(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		r := f.restore(restoreInput(here))
		_, l := f.claimRestore(r.ID)
		err := f.complete(l, job.Result{Progress: job.Progress{BytesRead: 1000, TotalBytes: 1000}, CreatedResourceARN: dataARN})
		if err != nil {
			t.Fatal(err)
		}
		common := func(status string, percent float64) map[string]any {
			return map[string]any{"restoreJobId": r.ID, "status": status, "backupSizeInBytes": "1000", "percentDone": percent,
				"backupVaultArn": "arn:aws:backup:eu-west-1:123456789012:backup-vault:home", "recoveryPointArn": pointARN,
				"sourceResourceArn": dataARN, "creationDate": "2026-03-01T12:00:00.000Z", "iamRoleArn": role, "resourceType": "EFS"}
		}
		running, completed := common("RUNNING", 0), common("COMPLETED", 100)
		running["backupVaultEvent"], completed["backupVaultEvent"] = "RESTORE_JOB_STARTED", "RESTORE_JOB_SUCCESSFUL"
		completed["completionDate"], completed["createdResourceArn"] = "2026-03-01T12:00:00.000Z", dataARN
		point := []string{pointARN}
		want := []event{{point, common("PENDING", 0)}, {point, running}, {point, completed}}
		if diff := cmp.Diff(want, f.events(events.RestoreStateChange)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		if n := len(f.events("RESTORE_JOB_COMPLETED")); n != 1 {
			t.Errorf("%d restores have ended, want 1", n)
		}
	})
}

// A rule may make jobs by the thousand.
func TestEvents_OfManyJobsAtOnce(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		all := slices.Repeat([]job.Scheduled{f.scheduled()}, 250)
		f.update(func(ctx context.Context, tx *meta.Tx) error { return f.AddScheduledTx(ctx, tx, all) })
		ids := map[any]bool{}
		for _, e := range f.events(events.BackupStateChange) {
			ids[e.Detail["backupJobId"]] = true
		}
		if len(ids) != 250 {
			t.Errorf("events tell of %d jobs, want 250", len(ids))
		}
	})
}
