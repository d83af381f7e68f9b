package job_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/job"
	"github.com/lockfast/lockfast/internal/meta"
)

// scheduled is a job that a rule wants at the fixture's time.
func (f *fixture) scheduled() job.Scheduled {
	return job.Scheduled{
		Account: account, Region: region, VaultName: "home", ResourceARN: dataARN, ResourceType: "EFS", ResourceName: "data", RoleARN: role,
		DeleteAfterDays: 7, Tags: map[string]string{"rule": "daily"}, At: f.clock.now(), StartWindow: time.Hour,
		Planned: job.Planned{CreatedBy: &backupapi.RecoveryPointCreator{BackupPlanId: new("plan"), BackupRuleName: new("daily")},
			CompletionWindow: 3 * time.Hour, Copies: []job.CopyAction{{VaultARN: "arn:aws:backup:eu-west-1:123456789012:backup-vault:offsite",
				Lifecycle: &backupapi.Lifecycle{DeleteAfterDays: new(int64(1))}}}},
	}
}

// add adds a scheduled job and returns it.
func (f *fixture) add(j job.Scheduled) job.Backup {
	f.t.Helper()
	f.update(func(ctx context.Context, tx *meta.Tx) error { return f.AddScheduledTx(ctx, tx, []job.Scheduled{j}) })
	out, err := f.ListBackupJobs(f.ctx, &backupapi.ListBackupJobsInput{MaxResults: new(1)})
	if err != nil {
		f.t.Fatal(err)
	}
	b, err := f.Backup(f.ctx, *out.BackupJobs[0].BackupJobId)
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

func TestScheduledJob_HasItsWindowFromTheStart(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		want := f.scheduled()
		want.ColdAfterDays = 3
		b := f.add(want)
		if b.DeleteAfterDays != 7 || b.ColdAfterDays != 3 {
			t.Errorf("the job's lifecycle is %d and %d days, want 3 and 7", b.ColdAfterDays, b.DeleteAfterDays)
		}
		if diff := cmp.Diff(want.Planned, b.Planned); diff != "" {
			t.Errorf("planned (-want +got):\n%s", diff)
		}
		if b.State != job.Created || !b.CreatedAt.Equal(start) || !b.StartBy.Equal(start.Add(time.Hour)) {
			t.Errorf("job %+v", b.Status)
		}
		f.clock.add(30 * time.Minute)
		got, _, v := f.claim(f.Service, b.ID)
		if v != job.Claimed || !got.ExpireBy.Equal(start.Add(3*time.Hour+30*time.Minute)) {
			t.Errorf("verdict %v, expires %v", v, got.ExpireBy)
		}
		d := f.describe(b.ID)
		if d.CreatedBy == nil || *d.CreatedBy.BackupPlanId != "plan" {
			t.Errorf("CreatedBy = %+v", d.CreatedBy)
		}
	})
}

func TestScheduledJob_WaitsForItsTime(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		j := f.scheduled()
		j.NotBefore = start.Add(10 * time.Minute)
		b := f.add(j)
		sweep := func() {
			t.Helper()
			if err := f.Sweep(f.ctx); err != nil {
				t.Fatal(err)
			}
		}
		sweep()
		if _, _, v := f.claim(f.Service, b.ID); v != job.Busy {
			t.Errorf("verdict %v too early, want Busy", v)
		}
		f.clock.add(10 * time.Minute)
		sweep()
		if _, _, v := f.claim(f.Service, b.ID); v != job.Claimed {
			t.Errorf("verdict %v in time, want Claimed", v)
		}
		if got := f.enqueued(b.ID); got != 1 {
			t.Errorf("enqueued %d times, want once", got)
		}
	})
}

func TestScheduledJob_ThatCannotStart(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		missed := f.scheduled()
		missed.Missed = true
		if b := f.add(missed); b.State != job.Expired || b.Category != "JOB_EXPIRED" {
			t.Errorf("missed: %s %s", b.State, b.Category)
		}
		f.clock.add(time.Second)
		gone := f.scheduled()
		gone.VaultName = "gone"
		if b := f.add(gone); b.State != job.Failed || b.Message != "Backup vault gone does not exist" || b.Category != "RESOURCE_NOT_FOUND" {
			t.Errorf("without a vault: %s %s %s", b.State, b.Message, b.Category)
		}
		f.clock.add(time.Second)
		_, _ = f.running(dataARN)
		f.clock.add(time.Second)
		late := f.add(f.scheduled())
		f.clock.add(time.Hour)
		if err := f.Sweep(f.ctx); err != nil {
			t.Fatal(err)
		}
		d := f.describe(late.ID)
		if *d.State != "EXPIRED" || *d.MessageCategory != "CONCURRENT_JOB" ||
			*d.StatusMessage != "Backup job failed because there was a running job for the same resource." {
			t.Errorf("behind another job: %s %s %s", *d.State, *d.MessageCategory, *d.StatusMessage)
		}
	})
}
