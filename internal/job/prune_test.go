package job_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/lockfast/lockfast/internal/job"
	"github.com/lockfast/lockfast/internal/meta"
)

func TestSweep_ForgetsJobsThatEndedLongAgo(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		const day = 24 * time.Hour
		first := f.completedRestore()
		done, l := f.running(dataARN)
		if err := f.complete(l, job.Result{Skipped: []job.Skip{{Path: []byte("a"), Reason: "gone"}}}); err != nil {
			t.Fatal(err)
		}
		f.clock.add(time.Hour)
		last := f.completedRestore()
		f.clock.add(90*day - 2*time.Hour)
		f.sweep()
		for _, id := range []string{first, last} {
			if _, err := f.Restore(f.ctx, id); err != nil {
				t.Errorf("restore job before 90 days: %v", err)
			}
		}
		f.wantState(done, "COMPLETED", "", "SUCCESS")
		running, _ := f.running(dataARN)

		f.clock.add(90 * day)
		f.sweep()
		if _, err := f.Backup(f.ctx, done); !errors.Is(err, job.ErrNotFound) {
			t.Errorf("backup job after 90 days = %v, want %v", err, job.ErrNotFound)
		}
		if _, err := f.Restore(f.ctx, first); !errors.Is(err, job.ErrNotFound) {
			t.Errorf("restore job after 90 days = %v, want %v", err, job.ErrNotFound)
		}
		if _, err := f.Restore(f.ctx, last); err != nil {
			t.Errorf("last restore of the resource = %v, want it kept", err)
		}
		if _, err := f.Backup(f.ctx, running); err != nil {
			t.Errorf("job that runs for 90 days = %v, want it kept", err)
		}
		var skips int
		f.update(func(ctx context.Context, tx *meta.Tx) error {
			return tx.QueryRow(ctx, "SELECT COUNT(*) FROM job_skip").Scan(&skips)
		})
		if skips != 0 {
			t.Errorf("%d skipped items of jobs that are gone", skips)
		}
	})
}

func (f *fixture) sweep() {
	f.t.Helper()
	if err := f.Sweep(f.ctx); err != nil {
		f.t.Fatal(err)
	}
}

// completedRestore returns the id of a restore job that has completed.
func (f *fixture) completedRestore() string {
	f.t.Helper()
	r := f.restore(restoreInput(here))
	_, l := f.claimRestore(r.ID)
	if err := f.complete(l, job.Result{}); err != nil {
		f.t.Fatal(err)
	}
	return r.ID
}
