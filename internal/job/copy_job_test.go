package job_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/job"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/wire"
)

const (
	homeARN    = "arn:aws:backup:eu-west-1:123456789012:backup-vault:home"
	offsiteARN = "arn:aws:backup:eu-west-1:123456789012:backup-vault:offsite"
)

func copyInput() *backupapi.StartCopyJobInput {
	return &backupapi.StartCopyJobInput{SourceBackupVaultName: "home", RecoveryPointArn: pointARN, IamRoleArn: role,
		DestinationBackupVaultArn: offsiteARN}
}

// copy starts a copy job and returns its id.
func (f *fixture) copy() string {
	f.t.Helper()
	out, err := f.StartCopyJob(f.ctx, copyInput())
	if err != nil {
		f.t.Fatal(err)
	}
	return *out.CopyJobId
}

func (f *fixture) claimCopy(s *job.Service, id string) (l job.Lease, v job.Verdict) {
	f.t.Helper()
	f.update(func(ctx context.Context, tx *meta.Tx) (err error) {
		_, l, v, err = s.ClaimCopyTx(ctx, tx, id)
		return err
	})
	return l, v
}

func (f *fixture) describeCopy(id string) *backupapi.CopyJob {
	f.t.Helper()
	out, err := f.DescribeCopyJob(f.ctx, &backupapi.DescribeCopyJobInput{CopyJobId: id})
	if err != nil {
		f.t.Fatal(err)
	}
	return out.CopyJob
}

func TestCopyJob_FromStartToEnd(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.copy()
		want := &backupapi.CopyJob{
			AccountId: new(account), CopyJobId: &id, SourceBackupVaultArn: new(homeARN), SourceRecoveryPointArn: new(pointARN),
			DestinationBackupVaultArn: new(offsiteARN), DestinationVaultType: new("BACKUP_VAULT"), DestinationVaultLockState: new("UNLOCKED"),
			DestinationRecoveryPointLifecycle: &backupapi.Lifecycle{DeleteAfterDays: new(int64(7))},
			ResourceArn:                       new(dataARN), ResourceType: new("EFS"), ResourceName: new("data"), IamRoleArn: new(role),
			BackupSizeInBytes: new(int64(1000)), CreationDate: new(start), State: new(backupapi.CopyJobStateCreated), IsParent: new(false),
		}
		if diff := cmp.Diff(want, f.describeCopy(id)); diff != "" {
			t.Errorf("copy job that waits (-want +got):\n%s", diff)
		}
		if !f.inUse() {
			t.Error("the source of a copy that waits is not in use")
		}
		l, v := f.claimCopy(f.Service, id)
		if v != job.Claimed {
			t.Fatalf("verdict = %d, want Claimed", v)
		}
		running := f.describeCopy(id)
		if *running.State != backupapi.CopyJobStateRunning || !strings.HasPrefix(text(running.DestinationRecoveryPointArn),
			"arn:aws:backup:eu-west-1:123456789012:recovery-point:") || *running.DestinationRecoveryPointArn == pointARN {
			t.Errorf("running copy job = %s, copy %s", *running.State, text(running.DestinationRecoveryPointArn))
		}
		if signal, err := f.Heartbeat(f.ctx, l, job.Progress{BytesRead: 500, TotalBytes: 1000}); err != nil || signal != job.GoOn {
			t.Errorf("Heartbeat = %d, %v, want GoOn", signal, err)
		}
		d, err := f.DescribeJobDetail(f.ctx, &lockfastapi.DescribeJobDetailInput{JobId: id})
		if err != nil || d.Kind != lockfastapi.JobKindCopy || d.BytesRead != 500 {
			t.Errorf("DescribeJobDetail = %+v, %v", d, err)
		}
		f.clock.add(time.Minute)
		if err := f.complete(l, job.Result{}); err != nil {
			t.Fatal(err)
		}
		want.State, want.CompletionDate, want.MessageCategory = new(backupapi.CopyJobStateCompleted), new(start.Add(time.Minute)), new("SUCCESS")
		want.DestinationRecoveryPointArn = running.DestinationRecoveryPointArn
		if diff := cmp.Diff(want, f.describeCopy(id)); diff != "" {
			t.Errorf("copy job that completed (-want +got):\n%s", diff)
		}
		if f.inUse() {
			t.Error("the source of a copy that completed is in use")
		}
	})
}

func TestStartCopyJob_Refusals(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		for name, test := range map[string]struct {
			change func(*backupapi.StartCopyJobInput)
			error  string
			text   string
		}{
			"role":       {func(in *backupapi.StartCopyJobInput) { in.IamRoleArn += "x" }, "InvalidParameterValueException", ""},
			"no vault":   {func(in *backupapi.StartCopyJobInput) { in.SourceBackupVaultName = "no" }, "ResourceNotFoundException", "Backup vault no does not exist"},
			"no point":   {func(in *backupapi.StartCopyJobInput) { in.RecoveryPointArn += "x" }, "ResourceNotFoundException", ""},
			"no target":  {func(in *backupapi.StartCopyJobInput) { in.DestinationBackupVaultArn += "x" }, "ResourceNotFoundException", "Backup vault offsitex does not exist"},
			"no ARN":     {func(in *backupapi.StartCopyJobInput) { in.DestinationBackupVaultArn = "offsite" }, "InvalidParameterValueException", ""},
			"other ARN":  {func(in *backupapi.StartCopyJobInput) { in.DestinationBackupVaultArn = dataARN }, "InvalidParameterValueException", ""},
			"same vault": {func(in *backupapi.StartCopyJobInput) { in.DestinationBackupVaultArn = homeARN }, "InvalidRequestException", ""},
			"cold storage": {func(in *backupapi.StartCopyJobInput) {
				in.Lifecycle = &backupapi.Lifecycle{DeleteAfterDays: new(int64(1)), MoveToColdStorageAfterDays: new(int64(1))}
			}, "InvalidRequestException", "no cold storage"},
		} {
			in := copyInput()
			test.change(in)
			in.IdempotencyToken = new(name)
			_, err := f.StartCopyJob(f.ctx, in)
			if api, ok := errors.AsType[wire.APIError](err); !ok || api.ErrorName() != test.error {
				t.Errorf("%s: StartCopyJob = %v, want %s", name, err, test.error)
			} else if test.text != "" {
				wantError(t, err, test.error, test.text)
			}
		}
		list, err := f.ListCopyJobs(f.ctx, &backupapi.ListCopyJobsInput{})
		if err != nil || len(list.CopyJobs) != 0 {
			t.Errorf("%d copy jobs after refusals, %v, want none", len(list.CopyJobs), err)
		}
	})
}

func TestStartCopyJob_TwiceWithOneToken(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		in := copyInput()
		in.IdempotencyToken = new("once")
		first, err := f.StartCopyJob(f.ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		f.clock.add(time.Minute)
		second, err := f.StartCopyJob(f.ctx, in)
		if diff := cmp.Diff(first, second); err != nil || diff != "" {
			t.Errorf("second StartCopyJob, %v (-first +second):\n%s", err, diff)
		}
		in.Lifecycle = &backupapi.Lifecycle{DeleteAfterDays: new(int64(3))}
		_, err = f.StartCopyJob(f.ctx, in)
		wantError(t, err, "InvalidParameterValueException", "")
	})
}

func TestClaim_OneBackupOrCopyPerResource(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		backup, lease := f.running(dataARN)
		f.clock.add(time.Second)
		first := f.copy()
		f.clock.add(time.Second)
		second := f.backup(dataARN)
		if _, v := f.claimCopy(f.Service, first); v != job.Busy {
			t.Errorf("verdict = %d for a copy beside backup %s, want Busy", v, backup)
		}
		if err := f.complete(lease, job.Result{}); err != nil {
			t.Fatal(err)
		}
		if n, m := f.enqueued(first), f.enqueued(second); n != 2 || m != 1 {
			t.Errorf("enqueued %d and %d times, want the copy, which waited longest, once more", n, m)
		}
		l, v := f.claimCopy(f.Service, first)
		if v != job.Claimed {
			t.Fatalf("verdict = %d for the copy, want Claimed", v)
		}
		if _, _, v := f.claim(f.Service, second); v != job.Busy {
			t.Errorf("verdict = %d for a backup beside a copy, want Busy", v)
		}
		f.update(func(ctx context.Context, tx *meta.Tx) error { return f.FailTx(ctx, tx, l, "no permission") })
		if d := f.describeCopy(first); *d.State != backupapi.CopyJobStateFailed || text(d.MessageCategory) != "ACCESS_DENIED" ||
			d.DestinationRecoveryPointArn != nil {
			t.Errorf("failed copy = %s, %s, copy %q", *d.State, text(d.MessageCategory), text(d.DestinationRecoveryPointArn))
		}
		if n := f.enqueued(second); n != 2 {
			t.Errorf("enqueued %d times after the copy failed, want 2", n)
		}
		if _, _, v := f.claim(f.Service, second); v != job.Claimed {
			t.Errorf("verdict = %d, want Claimed", v)
		}
	})
}

func TestClaim_RaceOfBackupsAndCopiesHasOneWinner(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		claims := make([]func(context.Context, *meta.Tx) (job.Verdict, error), 8)
		for i := range claims {
			if i%2 == 0 {
				id := f.backup(dataARN)
				claims[i] = func(ctx context.Context, tx *meta.Tx) (job.Verdict, error) {
					_, _, v, err := f.ClaimBackupTx(ctx, tx, id)
					return v, err
				}
				continue
			}
			id := f.copy()
			claims[i] = func(ctx context.Context, tx *meta.Tx) (job.Verdict, error) {
				_, _, v, err := f.ClaimCopyTx(ctx, tx, id)
				return v, err
			}
		}
		verdicts := make([]job.Verdict, len(claims))
		var wg sync.WaitGroup
		for i, claim := range claims {
			wg.Go(func() {
				err := f.db.Update(f.ctx, func(ctx context.Context, tx *meta.Tx) (err error) {
					verdicts[i], err = claim(ctx, tx)
					return err
				})
				if errors.Is(err, job.ErrBusy) {
					verdicts[i] = job.Busy
				} else if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		won := 0
		for _, v := range verdicts {
			if v == job.Claimed {
				won++
			}
		}
		if won != 1 {
			t.Errorf("%d jobs of one resource were claimed, want 1", won)
		}
	})
}

func TestSweep_StartsACopyAgainWhoseWorkerWasLost(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.copy()
		lost, v := f.claimCopy(f.service(-time.Minute), id)
		if v != job.Claimed {
			t.Fatalf("verdict = %d, want Claimed", v)
		}
		if err := f.Sweep(f.ctx); err != nil {
			t.Fatal(err)
		}
		if n := f.enqueued(id); n != 2 {
			t.Errorf("enqueued %d times, want 2", n)
		}
		again, v := f.claimCopy(f.Service, id)
		if v != job.Claimed {
			t.Fatalf("verdict = %d after the worker was lost, want Claimed", v)
		}
		if err := f.complete(lost, job.Result{}); !errors.Is(err, job.ErrLost) {
			t.Errorf("the lost worker's end = %v, want %v", err, job.ErrLost)
		}
		if err := f.complete(again, job.Result{}); err != nil {
			t.Error(err)
		}
	})
}

func TestListCopyJobs_FiltersAndPages(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		var made []string
		for range 5 {
			made = append(made, f.copy())
			f.clock.add(time.Minute)
		}
		l, _ := f.claimCopy(f.Service, made[1])
		if err := f.complete(l, job.Result{}); err != nil {
			t.Fatal(err)
		}
		failed := backupapi.CopyJobStateFailed
		waiting := backupapi.CopyJobStateCreated
		for name, test := range map[string]struct {
			in   backupapi.ListCopyJobsInput
			want []int // newest first
		}{
			"all":               {backupapi.ListCopyJobsInput{}, []int{4, 3, 2, 1, 0}},
			"state":             {backupapi.ListCopyJobsInput{ByState: &waiting}, []int{4, 3, 2, 0}},
			"no such state":     {backupapi.ListCopyJobsInput{ByState: &failed}, nil},
			"resource":          {backupapi.ListCopyJobsInput{ByResourceArn: new(dataARN)}, []int{4, 3, 2, 1, 0}},
			"other resource":    {backupapi.ListCopyJobsInput{ByResourceArn: new(otherARN)}, nil},
			"type":              {backupapi.ListCopyJobsInput{ByResourceType: new("EBS")}, nil},
			"destination":       {backupapi.ListCopyJobsInput{ByDestinationVaultArn: new(offsiteARN)}, []int{4, 3, 2, 1, 0}},
			"other destination": {backupapi.ListCopyJobsInput{ByDestinationVaultArn: new(homeARN)}, nil},
			"source":            {backupapi.ListCopyJobsInput{BySourceRecoveryPointArn: new(pointARN)}, []int{4, 3, 2, 1, 0}},
			"other source":      {backupapi.ListCopyJobsInput{BySourceRecoveryPointArn: new(dataARN)}, nil},
			"parent":            {backupapi.ListCopyJobsInput{ByParentJobId: new(made[0])}, nil},
			"category":          {backupapi.ListCopyJobsInput{ByMessageCategory: new("success")}, []int{1}},
			"account":           {backupapi.ListCopyJobsInput{ByAccountId: new(account)}, []int{4, 3, 2, 1, 0}},
			"created after":     {backupapi.ListCopyJobsInput{ByCreatedAfter: new(start.Add(2 * time.Minute))}, []int{4, 3}},
			"created before":    {backupapi.ListCopyJobsInput{ByCreatedBefore: new(start.Add(2 * time.Minute))}, []int{1, 0}},
			"complete after":    {backupapi.ListCopyJobsInput{ByCompleteAfter: new(start)}, []int{1}},
			"complete before":   {backupapi.ListCopyJobsInput{ByCompleteBefore: new(start)}, nil},
		} {
			test.in.MaxResults = new(2)
			var got []int
			for {
				out, err := f.ListCopyJobs(f.ctx, &test.in)
				if err != nil {
					t.Fatal(err)
				}
				for _, j := range out.CopyJobs {
					for i, id := range made {
						if id == *j.CopyJobId {
							got = append(got, i)
						}
					}
				}
				if out.NextToken == nil {
					break
				}
				test.in.NextToken = out.NextToken
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
		out, err := f.ListCopyJobs(as(t.Context(), "210987654321", region), &backupapi.ListCopyJobsInput{})
		if err != nil || len(out.CopyJobs) != 0 {
			t.Errorf("%d copy jobs of another account, %v, want none", len(out.CopyJobs), err)
		}
		_, err = f.ListCopyJobs(f.ctx, &backupapi.ListCopyJobsInput{ByAccountId: new("210987654321")})
		if _, denied := errors.AsType[*wire.Denied](err); !denied {
			t.Errorf("ListCopyJobs by another account = %v, want a refusal", err)
		}
		_, err = f.DescribeCopyJob(f.ctx, &backupapi.DescribeCopyJobInput{CopyJobId: "nothing"})
		wantError(t, err, "ResourceNotFoundException", fmt.Sprintf("Copy job %s does not exist", "nothing"))
	})
}

func TestSweep_ForgetsOldCopies(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.copy()
		l, _ := f.claimCopy(f.Service, id)
		if err := f.complete(l, job.Result{}); err != nil {
			t.Fatal(err)
		}
		f.clock.add(91 * 24 * time.Hour)
		if err := f.Sweep(f.ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Copy(f.ctx, id); !errors.Is(err, job.ErrNotFound) {
			t.Errorf("copy job after 91 days: %v, want %v", err, job.ErrNotFound)
		}
	})
}
