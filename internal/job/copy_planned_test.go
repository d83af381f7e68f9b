package job_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/events"
	"github.com/lockfast/lockfast/internal/job"
	"github.com/lockfast/lockfast/internal/meta"
)

const vaultPrefix = "arn:aws:backup:eu-west-1:123456789012:backup-vault:"

// more makes the stand-in for vaults know another recovery point.
func (f *fixture) more(arn, resourceARN, member string, change func(*backupapi.DescribeRecoveryPointOutput)) {
	if f.others.more == nil {
		f.others.more = map[string]backupapi.DescribeRecoveryPointOutput{}
	}
	d := backupapi.DescribeRecoveryPointOutput{RecoveryPointArn: &arn, ResourceArn: &resourceARN, ResourceType: new("EFS"),
		BackupSizeInBytes: new(int64(1000))}
	if member != "" {
		d.CompositeMemberIdentifier = &member
	}
	if change != nil {
		change(&d)
	}
	f.others.more[arn] = d
}

// copies lists copy jobs, oldest first.
func (f *fixture) copies(in backupapi.ListCopyJobsInput) []backupapi.CopyJob {
	f.t.Helper()
	out, err := f.ListCopyJobs(f.ctx, &in)
	if err != nil {
		f.t.Fatal(err)
	}
	slices.Reverse(out.CopyJobs)
	return out.CopyJobs
}

// copyEvents are the states that events tell of a copy job, oldest first.
func (f *fixture) copyEvents(id string) (states []string) {
	f.t.Helper()
	list, err := events.New(events.Options{DB: f.db}).List(f.ctx, events.Filter{Account: account, Region: region, Type: events.CopyStateChange}, 1000)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, e := range list {
		var d struct{ Detail events.CopyJob }
		if err := json.Unmarshal([]byte(e.Document), &d); err != nil {
			f.t.Fatal(err)
		}
		if d.Detail.CopyJobID == id {
			states = append([]string{d.Detail.State + "/" + string(d.Detail.VaultEvent)}, states...)
		}
	}
	return states
}

func TestCopyPlannedTx_OneJobPerAction(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		j := f.scheduled()
		j.Copies = []job.CopyAction{
			{VaultARN: vaultPrefix + "offsite", Lifecycle: &backupapi.Lifecycle{DeleteAfterDays: new(int64(-1))}},
			{VaultARN: vaultPrefix + "offsite", Lifecycle: &backupapi.Lifecycle{DeleteAfterDays: new(int64(365))}},
			{VaultARN: vaultPrefix + "nowhere"},
			{VaultARN: vaultPrefix + "home"},
			{VaultARN: "arn:aws:backup:eu-west-1:210987654321:backup-vault:nowhere"},
		}
		b := f.add(j)
		f.more(b.PointARN, dataARN, "", nil)
		_, l, _ := f.claim(f.Service, b.ID)
		f.update(func(ctx context.Context, tx *meta.Tx) error {
			if err := f.CompleteTx(ctx, tx, l, job.Result{}); err != nil {
				return err
			}
			return f.CopyPlannedTx(ctx, tx, b)
		})
		if d := f.describe(b.ID); *d.State != "COMPLETED" {
			t.Errorf("backup job is %s", *d.State)
		}
		type copied struct{ vault, state, category, message string }
		var got []copied
		for _, c := range f.copies(backupapi.ListCopyJobsInput{}) {
			got = append(got, copied{*c.DestinationBackupVaultArn, string(*c.State), text(c.MessageCategory), text(c.StatusMessage)})
			if text(c.CreatedByBackupJobId) != b.ID || c.CreatedBy == nil || *c.CreatedBy.BackupPlanId != "plan" ||
				*c.SourceRecoveryPointArn != b.PointARN || *c.IamRoleArn != role || *c.ResourceArn != dataARN {
				t.Errorf("copy job %+v is not that of the backup job", c)
			}
		}
		if diff := cmp.Diff([]copied{
			{vaultPrefix + "offsite", "CREATED", "", ""},
			{vaultPrefix + "offsite", "CREATED", "", ""},
			{vaultPrefix + "nowhere", "FAILED", "RESOURCE_NOT_FOUND", "Backup vault nowhere does not exist"},
			{vaultPrefix + "home", "FAILED", "MISCELLANEOUS", "The source and the destination of a copy are the same backup vault: home"},
			{"arn:aws:backup:eu-west-1:210987654321:backup-vault:nowhere", "CREATED", "", ""}, // it is not told before it is allowed
		}, got, cmp.AllowUnexported(copied{})); diff != "" {
			t.Errorf("copy jobs (-want +got):\n%s", diff)
		}
		all := f.copies(backupapi.ListCopyJobsInput{})
		if *all[0].DestinationRecoveryPointLifecycle.DeleteAfterDays != 7 || *all[1].DestinationRecoveryPointLifecycle.DeleteAfterDays != 365 {
			t.Errorf("retention of the copies = %v, %v", all[0].DestinationRecoveryPointLifecycle, all[1].DestinationRecoveryPointLifecycle)
		}
		for i, want := range []int{1, 1, 0, 0, 1} {
			if n := f.enqueued(*all[i].CopyJobId); n != want {
				t.Errorf("copy %d was enqueued %d times, want %d", i, n, want)
			}
		}
		if diff := cmp.Diff([]string{"CREATED/", "FAILED/COPY_JOB_FAILED"}, f.copyEvents(*all[2].CopyJobId)); diff != "" {
			t.Errorf("events of the copy that failed (-want +got):\n%s", diff)
		}
	})
}

// family makes the recovery point of a group copyable, with three in it of which the last cannot be copied.
func (f *fixture) family() {
	parent := func(d *backupapi.DescribeRecoveryPointOutput) {
		d.IsParent, d.ResourceType = new(true), new("CloudFormation")
	}
	f.more(pointARN, shopARN, "", parent)
	f.more(pointARN+"1", dataARN, "data", nil)
	f.more(pointARN+"2", otherARN, "other", nil)
	f.more(pointARN+"3", otherARN+"x", "gone", func(d *backupapi.DescribeRecoveryPointOutput) {
		d.StatusMessage = new("Recovery point cannot be copied while its status is EXPIRED")
	})
	f.others.nested = []string{pointARN + "1", pointARN + "2", pointARN + "3"}
}

// openCopy lets a parent copy job begin.
func (f *fixture) openCopy(id string) (v job.Verdict) {
	f.t.Helper()
	f.update(func(ctx context.Context, tx *meta.Tx) error {
		parent, verdict, err := f.OpenCopyTx(ctx, tx, id)
		if v = verdict; err == nil && v == job.Claimed {
			_, err = f.ReleaseCopiesTx(ctx, tx, parent)
		}
		return err
	})
	return v
}

// endCopies ends a parent copy job if its children have ended.
func (f *fixture) endCopies(id string) (v job.Verdict) {
	f.t.Helper()
	f.update(func(ctx context.Context, tx *meta.Tx) error {
		parent, children, verdict, err := f.CopiesTx(ctx, tx, id)
		if v = verdict; err != nil || v != job.Claimed {
			return err
		}
		state, message := job.CopyOutcome(children)
		return f.EndParentCopyTx(ctx, tx, parent, state, message)
	})
	return v
}

func TestCompositeCopy_FromStartToEnd(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		f.family()
		out, err := f.StartCopyJob(f.ctx, copyInput())
		if err != nil || !*out.IsParent {
			t.Fatalf("StartCopyJob = %+v, %v, want a parent", out, err)
		}
		id := *out.CopyJobId
		children := f.copies(backupapi.ListCopyJobsInput{ByParentJobId: &id})
		if len(children) != 3 || text(children[2].MessageCategory) != "MISCELLANEOUS" || *children[2].State != "FAILED" {
			t.Fatalf("children = %+v", children)
		}
		first, second := *children[0].CopyJobId, *children[1].CopyJobId
		if _, v := f.claimCopy(f.Service, first); v != job.Busy || f.enqueued(first) != 0 {
			t.Errorf("verdict = %d for a child before its parent, enqueued %d times; want Busy, not at all", v, f.enqueued(first))
		}
		if v := f.openCopy(id); v != job.Claimed {
			t.Fatalf("verdict = %d for the parent, want Claimed", v)
		}
		if v := f.openCopy(id); v != job.Taken {
			t.Errorf("verdict = %d for an open parent, want Taken", v)
		}
		l, _ := f.claimCopy(f.Service, first)
		parent := f.describeCopy(id)
		if diff := cmp.Diff(map[string]int64{"RUNNING": 1, "CREATED": 1, "FAILED": 1}, parent.ChildJobsInState); diff != "" || *parent.NumberOfChildJobs != 3 {
			t.Errorf("ChildJobsInState (-want +got):\n%s", diff)
		}
		if c := f.describeCopy(first); text(c.ParentJobId) != id || text(c.CompositeMemberIdentifier) != "data" || *c.IsParent {
			t.Errorf("child = %+v", c)
		}
		if err := f.complete(l, job.Result{Progress: job.Progress{BytesRead: 10}}); err != nil {
			t.Fatal(err)
		}
		if v := f.endCopies(id); v != job.Busy {
			t.Errorf("verdict = %d for a parent with a child that waits, want Busy", v)
		}
		if n := f.enqueued(id); n < 2 {
			t.Errorf("the parent was enqueued %d times after a child has ended, want once more", n)
		}
		l, _ = f.claimCopy(f.Service, second)
		if err := f.complete(l, job.Result{}); err != nil {
			t.Fatal(err)
		}
		if v := f.endCopies(id); v != job.Claimed {
			t.Fatalf("verdict = %d for a parent whose children have ended, want Claimed", v)
		}
		parent = f.describeCopy(id)
		if *parent.State != "PARTIAL" || !strings.Contains(text(parent.StatusMessage), "Member gone was not copied: ") || parent.DestinationRecoveryPointArn == nil {
			t.Errorf("parent = %s, %q", *parent.State, text(parent.StatusMessage))
		}
		if diff := cmp.Diff([]string{"CREATED/", "RUNNING/COPY_JOB_STARTED", "PARTIAL/COPY_JOB_FAILED"}, f.copyEvents(id)); diff != "" {
			t.Errorf("events of the parent (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"CREATED/", "RUNNING/COPY_JOB_STARTED", "COMPLETED/COPY_JOB_SUCCESSFUL"}, f.copyEvents(first)); diff != "" {
			t.Errorf("events of a child (-want +got):\n%s", diff)
		}
	})
}

func TestCompositeCopy_KeepsWhatIsNested(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		f.family()
		id := f.copy()
		inUse := func() (used []bool) {
			for _, arn := range []string{pointARN, pointARN + "1", pointARN + "2"} {
				f.update(func(ctx context.Context, tx *meta.Tx) error {
					busy, err := f.InUseTx(ctx, tx, account, arn)
					used = append(used, busy)
					return err
				})
			}
			return used
		}
		if diff := cmp.Diff([]bool{true, true, true}, inUse()); diff != "" {
			t.Errorf("in use while the parent waits (-want +got):\n%s", diff)
		}
		f.update(func(ctx context.Context, tx *meta.Tx) error {
			parent, _, err := f.OpenCopyTx(ctx, tx, id)
			if err != nil {
				return err
			}
			return f.RefuseCopyTx(ctx, tx, parent, "Backup vault x does not exist")
		})
		for _, c := range append(f.copies(backupapi.ListCopyJobsInput{ByParentJobId: &id}), *f.describeCopy(id)) {
			if *c.State != "FAILED" {
				t.Errorf("copy job of %s is %s after the refusal, want FAILED", *c.SourceRecoveryPointArn, *c.State)
			}
		}
		if diff := cmp.Diff([]bool{false, false, false}, inUse()); diff != "" {
			t.Errorf("in use after the refusal (-want +got):\n%s", diff)
		}
	})
}

func TestCompositeCopy_WaitsForItsTurn(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		f.family()
		first := f.copy()
		f.clock.add(time.Second)
		second := f.copy()
		if v := f.openCopy(first); v != job.Claimed {
			t.Fatalf("verdict = %d, want Claimed", v)
		}
		if v := f.openCopy(second); v != job.Busy {
			t.Errorf("verdict = %d for a second copy of the group, want Busy", v)
		}
		for _, c := range f.copies(backupapi.ListCopyJobsInput{ByParentJobId: &first, ByState: new(backupapi.CopyJobStateCreated)}) {
			l, _ := f.claimCopy(f.Service, *c.CopyJobId)
			f.update(func(ctx context.Context, tx *meta.Tx) error { return f.FailTx(ctx, tx, l, "no permission") })
		}
		before := f.enqueued(second)
		if f.endCopies(first); *f.describeCopy(first).State != "FAILED" {
			t.Errorf("parent of which nothing was copied is %s, want FAILED", *f.describeCopy(first).State)
		}
		if n := f.enqueued(second); n != before+1 {
			t.Errorf("the second copy was enqueued %d times after the first had ended, want once more than %d", n, before)
		}
		if v := f.openCopy(second); v != job.Claimed {
			t.Errorf("verdict = %d, want Claimed", v)
		}
	})
}
