package job_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/job"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
)

func TestClaim_OneBackupPerResource(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		first, lease := f.running(dataARN)
		f.clock.add(time.Second)
		second := f.backup(dataARN)
		f.clock.add(time.Second)
		third := f.backup(dataARN)
		if _, _, v := f.claim(f.Service, second); v != job.Busy {
			t.Errorf("verdict = %d, want Busy", v)
		}
		f.wantState(second, backupapi.BackupJobStateCreated, "", "")
		if _, _, v := f.claim(f.Service, f.backup(otherARN)); v != job.Claimed {
			t.Errorf("verdict = %d for another resource, want Claimed", v)
		}
		if _, _, v := f.claim(f.Service, first); v != job.Taken {
			t.Errorf("verdict = %d for a running job, want Taken", v)
		}
		if err := f.complete(lease, job.Result{}); err != nil {
			t.Fatal(err)
		}
		if n, m := f.enqueued(second), f.enqueued(third); n != 2 || m != 1 {
			t.Errorf("enqueued %d and %d times, want the one that waited longest once more", n, m)
		}
		if _, err := f.StopBackupJob(f.ctx, &backupapi.StopBackupJobInput{BackupJobId: second}); err != nil {
			t.Fatal(err)
		}
		if m := f.enqueued(third); m != 2 {
			t.Errorf("enqueued %d times after the job before it was stopped, want 2", m)
		}
		if _, _, v := f.claim(f.Service, third); v != job.Claimed {
			t.Errorf("verdict = %d, want Claimed", v)
		}
		if _, _, v := f.claim(f.Service, first); v != job.Taken {
			t.Errorf("verdict = %d for a completed job, want Taken", v)
		}
	})
}

func TestClaim_RaceForAResourceHasOneWinner(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		const n = 6
		var ids [n]string
		for i := range ids {
			ids[i] = f.backup(dataARN)
		}
		var leases [n]job.Lease
		claimed := 0
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i := range ids {
			wg.Go(func() {
				var v job.Verdict
				err := f.db.Update(f.ctx, func(ctx context.Context, tx *meta.Tx) (err error) {
					_, leases[i], v, err = f.ClaimBackupTx(ctx, tx, ids[i])
					return err
				})
				if err != nil && !errors.Is(err, job.ErrBusy) {
					t.Error(err)
				}
				if err == nil && v == job.Claimed {
					mu.Lock()
					defer mu.Unlock()
					claimed++
				}
			})
		}
		wg.Wait()
		if claimed != 1 {
			t.Errorf("%d jobs of one resource were claimed, want 1", claimed)
		}
	})
}

func TestClaim_AndEndAtOnceLoseNoJob(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		for range 10 {
			_, lease := f.running(dataARN)
			next := f.backup(dataARN)
			before := f.enqueued(next)
			var v job.Verdict
			var wg sync.WaitGroup
			wg.Go(func() {
				if err := f.complete(lease, job.Result{}); err != nil {
					t.Error(err)
				}
			})
			var l job.Lease
			wg.Go(func() {
				err := f.db.Update(f.ctx, func(ctx context.Context, tx *meta.Tx) (err error) {
					_, l, v, err = f.ClaimBackupTx(ctx, tx, next)
					return err
				})
				if err != nil {
					t.Error(err)
				}
			})
			wg.Wait()
			if v == job.Busy && f.enqueued(next) == before {
				t.Fatal("the waiting job was found busy and not enqueued again")
			}
			if v == job.Busy {
				_, l, _ = f.claim(f.Service, next)
			}
			if err := f.complete(l, job.Result{}); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestClaim_AfterTheStartWindow(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id, behind := f.backup(dataARN), ""
		f.clock.add(time.Minute)
		behind = f.backup(dataARN)
		f.clock.add(479 * time.Minute)
		if _, _, v := f.claim(f.Service, id); v != job.TooLate {
			t.Errorf("verdict = %d, want TooLate", v)
		}
		f.wantState(id, backupapi.BackupJobStateExpired, "Backup job expired before completion.", "JOB_EXPIRED")
		if n := f.enqueued(behind); n != 2 {
			t.Errorf("the job behind it was enqueued %d times, want 2", n)
		}
	})
}

func TestLease_LostWorker(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.backup(dataARN)
		short := f.service(-time.Second)
		_, old, v := f.claim(short, id)
		if v != job.Claimed {
			t.Fatalf("verdict = %d", v)
		}
		if err := f.Sweep(f.ctx); err != nil {
			t.Fatal(err)
		}
		if n := f.enqueued(id); n != 2 {
			t.Errorf("enqueued %d times, want 2", n)
		}
		if err := f.Sweep(f.ctx); err != nil {
			t.Fatal(err)
		}
		if n := f.enqueued(id); n != 2 {
			t.Errorf("enqueued %d times, want no third time so soon", n)
		}
		b, lease, v := f.claim(f.Service, id)
		if v != job.Claimed || b.Attempts != 2 || b.State != job.Running {
			t.Fatalf("second claim = %+v, %d", b, v)
		}
		if signal, err := f.Heartbeat(f.ctx, old, job.Progress{Items: 9}); signal != job.Leave || err != nil {
			t.Errorf("Heartbeat of the lost worker = %d, %v, want Leave", signal, err)
		}
		if err := f.complete(old, job.Result{}); !errors.Is(err, job.ErrLost) {
			t.Errorf("CompleteTx of the lost worker = %v, want ErrLost", err)
		}
		if err := f.complete(lease, job.Result{}); err != nil {
			t.Error(err)
		}
		if err := f.complete(lease, job.Result{}); !errors.Is(err, job.ErrLost) {
			t.Errorf("second CompleteTx = %v, want ErrLost", err)
		}
	})
}

func TestClaim_GivesUp(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.backup(dataARN)
		short := f.service(-time.Second)
		for range 3 { // orderly restarts do not count
			_, l, v := f.claim(f.Service, id)
			if v != job.Claimed {
				t.Fatalf("verdict = %d", v)
			}
			if err := f.Release(f.ctx, l); err != nil {
				t.Fatal(err)
			}
		}
		for range job.MaxAttempts {
			if _, _, v := f.claim(short, id); v != job.Claimed {
				t.Fatalf("verdict = %d", v)
			}
		}
		if _, _, v := f.claim(short, id); v != job.GivenUp {
			t.Errorf("verdict = %d, want GivenUp", v)
		}
		f.wantState(id, backupapi.BackupJobStateFailed, "The job was interrupted 5 times.", "MISCELLANEOUS")
	})
}

// A server that is killed between taking work from the queue and claiming the job leaves no lease that could run out.
func TestSweep_EnqueuesAgainWhatNobodyClaimed(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.backup(dataARN)
		for i, want := range []int{1, 2, 2} {
			if err := f.Sweep(f.ctx); err != nil {
				t.Fatal(err)
			}
			if n := f.enqueued(id); n != want {
				t.Errorf("after %d times two minutes: enqueued %d times, want %d", i, n, want)
			}
			f.update(func(ctx context.Context, tx *meta.Tx) error {
				_, err := tx.Exec(ctx, "UPDATE backup_job SET lease_until = lease_until - ? WHERE id = ?",
					(2*time.Minute + time.Second).Microseconds(), id)
				return err
			})
		}
	})
}

func TestRestartAll(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id, old := f.running(dataARN)
		stopped, _ := f.running(otherARN)
		if _, err := f.StopBackupJob(f.ctx, &backupapi.StopBackupJobInput{BackupJobId: stopped}); err != nil {
			t.Fatal(err)
		}
		if err := f.RestartAll(f.ctx); err != nil {
			t.Fatal(err)
		}
		if n, m := f.enqueued(id), f.enqueued(stopped); n != 2 || m != 2 {
			t.Errorf("enqueued %d and %d times, want 2", n, m)
		}
		if signal, _ := f.Heartbeat(f.ctx, old, job.Progress{}); signal != job.Leave {
			t.Errorf("Heartbeat = %d, want Leave", signal)
		}
		if _, _, v := f.claim(f.Service, id); v != job.Claimed {
			t.Errorf("verdict = %d, want Claimed", v)
		}
		b, l, v := f.claim(f.Service, stopped)
		if v != job.Claimed || b.State != job.Aborting {
			t.Errorf("claim of a stopped job = %s, %d, want it ABORTING", b.State, v)
		}
		f.update(func(ctx context.Context, tx *meta.Tx) error { return f.AbortTx(ctx, tx, l) })
	})
}

func TestSweep_ExpiresWhatWaitedTooLong(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		running, l := f.running(dataARN)
		waiting := f.backup(dataARN)
		f.clock.add(480*time.Minute - time.Microsecond)
		if err := f.Sweep(f.ctx); err != nil {
			t.Fatal(err)
		}
		f.wantState(waiting, backupapi.BackupJobStateCreated, "", "")
		f.clock.add(time.Microsecond)
		if err := f.Sweep(f.ctx); err != nil {
			t.Fatal(err)
		}
		f.wantState(waiting, backupapi.BackupJobStateExpired, "Backup job failed because there was a running job for the same resource.", "CONCURRENT_JOB")
		f.wantState(running, backupapi.BackupJobStateRunning, "", "")

		f.clock.add(10080 * time.Minute)
		if signal, err := f.Heartbeat(f.ctx, l, job.Progress{}); signal != job.OutOfTime || err != nil {
			t.Errorf("Heartbeat = %d, %v, want OutOfTime", signal, err)
		}
		f.update(func(ctx context.Context, tx *meta.Tx) error { return f.ExpireTx(ctx, tx, l) })
		f.wantState(running, backupapi.BackupJobStateExpired, "Backup job expired before completion.", "JOB_EXPIRED")
	})
}

func TestProgress(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id, l := f.running(dataARN)
		f.clock.add(time.Minute)
		signal, err := f.Heartbeat(f.ctx, l, job.Progress{Items: 5, BytesRead: 250, BytesStored: 50, TotalBytes: 1000})
		if signal != job.GoOn || err != nil {
			t.Errorf("Heartbeat = %d, %v, want GoOn", signal, err)
		}
		d := f.describe(id)
		if *d.PercentDone != "25.0" || *d.BytesTransferred != 50 || d.ExpectedCompletionDate == nil || !d.ExpectedCompletionDate.Equal(f.clock.now().Add(3*time.Minute)) {
			t.Errorf("PercentDone %s, BytesTransferred %d, ExpectedCompletionDate %v", *d.PercentDone, *d.BytesTransferred, d.ExpectedCompletionDate)
		}
		var skips []job.Skip
		for i := range 450 {
			skips = append(skips, job.Skip{Path: []byte(fmt.Sprint("f\xff", i)), Reason: "no permission"})
		}
		err = f.complete(l, job.Result{
			Progress: job.Progress{Items: 20, BytesRead: 900, BytesStored: 60, TotalBytes: 900},
			Skipped:  skips, SkippedMore: 7, Message: "457 items were skipped.",
		})
		if err != nil {
			t.Fatal(err)
		}
		f.wantState(id, backupapi.BackupJobStateCompleted, "457 items were skipped.", "MISCELLANEOUS")
		if d := f.describe(id); *d.PercentDone != "100.0" || d.CompletionDate == nil || *d.BackupSizeInBytes != 60 {
			t.Errorf("completed job = %+v", d)
		}
		detail, err := f.DescribeJobDetail(f.ctx, &lockfastapi.DescribeJobDetailInput{JobId: id})
		want := &lockfastapi.DescribeJobDetailOutput{
			JobId: id, Kind: job.Backups, State: "COMPLETED", Items: 20, BytesRead: 900, BytesStored: 60, TotalBytes: new(int64(900)),
			SkippedItems: 457, StatusMessage: new("457 items were skipped."),
		}
		if diff := cmp.Diff(want, detail); err != nil || diff != "" {
			t.Error(err, diff)
		}

		var got []job.Skip
		in := &lockfastapi.ListSkippedItemsInput{JobId: id, MaxResults: new(100)}
		for {
			out, err := f.ListSkippedItems(f.ctx, in)
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range out.SkippedItems {
				got = append(got, job.Skip{Path: k.Path, Reason: k.Reason})
			}
			if out.SkippedItems[0].DisplayPath[:4] != "f\uFFFD" {
				t.Errorf("DisplayPath = %q", out.SkippedItems[0].DisplayPath)
			}
			if in.NextToken = out.NextToken; in.NextToken == nil {
				break
			}
		}
		if diff := cmp.Diff(skips, got); diff != "" {
			t.Error(diff)
		}
		_, err = f.ListSkippedItems(f.ctx, &lockfastapi.ListSkippedItemsInput{JobId: "x"})
		wantError(t, err, "ResourceNotFoundException", "Job x does not exist")
		_, err = f.DescribeJobDetail(as(f.ctx, "000000000000", region), &lockfastapi.DescribeJobDetailInput{JobId: id})
		wantError(t, err, "ResourceNotFoundException", "Job "+id+" does not exist")
	})
}
