package vault_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/vault"
)

func (f *fixture) delete(arn string) error {
	_, err := f.DeleteRecoveryPoint(f.ctx, &backupapi.DeleteRecoveryPointInput{BackupVaultName: "home", RecoveryPointArn: arn})
	return err
}

// deletions reads all recovery points of a vault that are DELETING.
func (f *fixture) deletions(id string) []string {
	f.t.Helper()
	var (
		arns []string
		last *vault.Point
	)
	for {
		points, err := f.Deletions(f.ctx, id, last, 2)
		if err != nil {
			f.t.Fatal(err)
		}
		if len(points) == 0 {
			return arns
		}
		for _, p := range points {
			arns = append(arns, p.ARN)
		}
		last = &points[len(points)-1]
	}
}

// queued counts the jobs that were enqueued for a kind of work.
func (f *fixture) queued(kind string) (n int) {
	f.t.Helper()
	f.update(func(ctx context.Context, tx *meta.Tx) error {
		return tx.QueryRow(ctx, "SELECT COUNT(*) FROM river_job WHERE kind = ?", kind).Scan(&n)
	})
	return n
}

func (f *fixture) removePoint(id, arn string) error {
	return f.db.Update(f.ctx, func(ctx context.Context, tx *meta.Tx) error { return f.RemovePointTx(ctx, tx, id, arn) })
}

func (f *fixture) count(name string) int64 {
	f.t.Helper()
	out, err := f.DescribeBackupVault(f.ctx, &backupapi.DescribeBackupVaultInput{BackupVaultName: name})
	if err != nil {
		f.t.Fatal(err)
	}
	return *out.NumberOfRecoveryPoints
}

func TestDeleteRecoveryPoint(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		first := f.completed(id, 1)
		f.clock.add(time.Second)
		second := f.completed(id, 2)
		if err := f.delete(second); err != nil {
			t.Fatal(err)
		}
		if d := f.describe(second); *d.Status != vault.Deleting {
			t.Errorf("status = %s, want DELETING", *d.Status)
		}
		wantError(t, f.delete(second), "InvalidResourceStateException",
			"AWS Backup is already performing an action on recovery point "+second+". Try again later.")
		if err := f.delete(first); err != nil {
			t.Fatal(err)
		}
		if n := f.queued("vault_delete_points"); n != 1 {
			t.Errorf("%d jobs for two deletions of one vault, want 1", n)
		}
		if diff := cmp.Diff([]string{first, second}, f.deletions(id)); diff != "" {
			t.Error(diff)
		}

		for range 2 { // a repetition after a crash does no harm
			if err := f.removePoint(id, second); err != nil {
				t.Fatal(err)
			}
		}
		if n := f.count("home"); n != 1 {
			t.Errorf("count = %d, want 1", n)
		}
		if diff := cmp.Diff(map[string]string{id + dataARN: first, dataARN: first}, f.others.protected); diff != "" {
			t.Error("protected resources name a recovery point that is gone:", diff)
		}
		wantError(t, f.delete(second), "ResourceNotFoundException", "")
		if err := f.removePoint(id, first); err != nil {
			t.Fatal(err)
		}
		if len(f.others.protected) != 0 || f.others.tags[first] != nil || f.others.tags[second] != nil {
			t.Errorf("left behind: %v, %v", f.others.protected, f.others.tags)
		}
	})
}

func TestDeleteRecoveryPoint_Busy(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		wantError(t, f.delete(f.creating(id, 1)), "InvalidResourceStateException", "")
		arn := f.completed(id, 2)
		f.others.inUse[arn] = true
		wantError(t, f.delete(arn), "InvalidResourceStateException", "")
		if d := f.describe(arn); *d.Status != vault.Completed {
			t.Errorf("status = %s after a refusal, want COMPLETED", *d.Status)
		}
		f.others.inUse[arn] = false
		if err := f.delete(arn); err != nil {
			t.Error(err)
		}
	})
}

// T-36: https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DeleteRecoveryPoint.html
func TestDeleteRecoveryPoint_StoreUnreachable(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		arn := f.completed(f.vault("home"), 1)
		f.others.unreachable = blob.ErrUnavailable
		if err := f.delete(arn); !errors.Is(err, blob.ErrUnavailable) {
			t.Errorf("DeleteRecoveryPoint = %v, want %v", err, blob.ErrUnavailable)
		}
		if err := f.delete(arn + "0"); errors.Is(err, blob.ErrUnavailable) || err == nil {
			t.Errorf("DeleteRecoveryPoint of what is absent = %v, want not found, which comes first", err)
		}
		if d := f.describe(arn); *d.Status != vault.Completed {
			t.Errorf("status = %s, want COMPLETED", *d.Status)
		}
		f.others.unreachable = nil
		if err := f.delete(arn); err != nil {
			t.Error(err)
		}
	})
}

func TestDeleteRecoveryPoint_RaceHasOneWinner(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		arn := f.completed(id, 1)
		errs := make([]error, 8)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() { errs[i] = f.delete(arn) })
		}
		wg.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
				continue
			}
			wantError(t, err, "InvalidResourceStateException", "")
		}
		if won != 1 {
			t.Errorf("%d deletions were accepted, want 1", won)
		}
		for i := range errs {
			wg.Go(func() { errs[i] = f.removePoint(id, arn) })
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Error(err)
		}
		if n := f.count("home"); n != 0 {
			t.Errorf("count = %d, want 0", n)
		}
	})
}

func TestDeletions_AreEnqueuedAnewOnceTheyWereOver(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		a, b := f.completed(id, 1), f.completed(id, 2)
		if err := f.delete(a); err != nil {
			t.Fatal(err)
		}
		f.deletions(id) // a pass that did not get as far as removing it
		if err := f.removePoint(id, a); err != nil {
			t.Fatal(err)
		}
		if left := f.deletions(id); left != nil {
			t.Errorf("left: %v", left)
		}
		if err := f.delete(b); err != nil {
			t.Fatal(err)
		}
		if n := f.queued("vault_delete_points"); n != 2 {
			t.Errorf("%d jobs, want a second one after the first was over", n)
		}
		if points, err := f.Deletions(f.ctx, "gone", nil, 1); points != nil || err != nil {
			t.Errorf("Deletions of a vault that is gone = %v, %v", points, err)
		}
	})
}

// Work on deletions that goes on is not taken for lost, and does not write with every batch that it is alive.
func TestDeletions_RenewTheirLeaseSeldom(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		if err := f.delete(f.completed(id, 1)); err != nil {
			t.Fatal(err)
		}
		exec := func(query string, args ...any) {
			t.Helper()
			f.update(func(ctx context.Context, tx *meta.Tx) error {
				_, err := tx.Exec(ctx, query, args...)
				return err
			})
		}
		renewed := func(age time.Duration) bool {
			t.Helper()
			before := meta.Micros(time.Now().Add(-age))
			exec("UPDATE vault SET deleting_since = ?", before)
			if points, err := f.Deletions(f.ctx, id, nil, 1); len(points) != 1 || err != nil {
				t.Fatalf("Deletions = %v, %v, want one", points, err)
			}
			var after int64
			f.update(func(ctx context.Context, tx *meta.Tx) error {
				return tx.QueryRow(ctx, "SELECT deleting_since FROM vault").Scan(&after)
			})
			return after > before
		}
		if renewed(vault.DefaultLease / 100) {
			t.Error("the lease was renewed at once")
		}
		if !renewed(vault.DefaultLease / 2) {
			t.Error("the lease was not renewed after half of it")
		}
		if _, err := f.Sweep(f.ctx); err != nil {
			t.Fatal(err)
		}
		if n := f.queued(vault.DeletePoints{}.Kind()); n != 1 {
			t.Errorf("%d jobs for work that goes on, want 1", n)
		}
		exec("UPDATE vault SET deleting_since = ?", meta.Micros(time.Now().Add(-2*vault.DefaultLease)))
		if _, err := f.Sweep(f.ctx); err != nil {
			t.Fatal(err)
		}
		if n := f.queued(vault.DeletePoints{}.Kind()); n != 2 {
			t.Errorf("%d jobs once the work was silent for long, want 2", n)
		}
	})
}

func TestExpirePointTx(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		arn := f.completed(id, 1)
		if err := f.delete(arn); err != nil {
			t.Fatal(err)
		}
		expire := func(arn string) error {
			return f.db.Update(f.ctx, func(ctx context.Context, tx *meta.Tx) error {
				return f.ExpirePointTx(ctx, tx, id, arn, "the store does not answer")
			})
		}
		if err := expire(arn); err != nil {
			t.Fatal(err)
		}
		if d := f.describe(arn); *d.Status != vault.Expired || *d.StatusMessage != "the store does not answer" {
			t.Errorf("status = %s, %v", *d.Status, d.StatusMessage)
		}
		_, err := f.UpdateRecoveryPointLifecycle(f.ctx, &backupapi.UpdateRecoveryPointLifecycleInput{
			BackupVaultName: "home", RecoveryPointArn: arn, Lifecycle: &backupapi.Lifecycle{}})
		wantError(t, err, "InvalidRequestException", "")
		if err := f.removePoint(id, arn); !errors.Is(err, vault.ErrState) {
			t.Errorf("removing an EXPIRED recovery point: %v, want ErrState", err)
		}
		if err := f.delete(arn); err != nil {
			t.Errorf("deleting it again: %v", err)
		}
		if d := f.describe(arn); *d.Status != vault.Deleting || d.StatusMessage != nil {
			t.Errorf("status = %s, %v, want DELETING without a message", *d.Status, d.StatusMessage)
		}
		if err := expire(f.creating(id, 2)); !errors.Is(err, vault.ErrState) {
			t.Errorf("expiring a CREATING recovery point: %v, want ErrState", err)
		}
	})
}

func TestSweep(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		arns := map[string]string{"due": f.completed(id, 1), "in use": f.completed(id, 2), "later": f.completed(id, 3), "for ever": f.completed(id, 4)}
		for name, days := range map[string]int64{"due": 1, "in use": 1, "later": 2} {
			_, err := f.UpdateRecoveryPointLifecycle(f.ctx, &backupapi.UpdateRecoveryPointLifecycleInput{
				BackupVaultName: "home", RecoveryPointArn: arns[name], Lifecycle: &backupapi.Lifecycle{DeleteAfterDays: &days}})
			if err != nil {
				t.Fatal(err)
			}
		}
		f.others.inUse[arns["in use"]] = true
		sweep := func(want int) {
			t.Helper()
			if n, err := f.Sweep(f.ctx); n != want || err != nil {
				t.Errorf("Sweep = %d, %v, want %d", n, err, want)
			}
		}
		f.clock.add(24*time.Hour - time.Microsecond)
		sweep(0) // not before DeleteAt
		f.clock.add(time.Microsecond)
		sweep(1)
		sweep(0)
		if diff := cmp.Diff([]string{arns["due"]}, f.deletions(id)); diff != "" {
			t.Error(diff)
		}
		f.others.inUse[arns["in use"]] = false
		sweep(1)
		f.update(func(ctx context.Context, tx *meta.Tx) error { return f.ExpirePointTx(ctx, tx, id, arns["due"], "why") })
		f.clock.add(24 * time.Hour)
		sweep(1) // what is EXPIRED is not tried again
	})
}

func TestProtected_RaceOfTwoVaults(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		a, b := f.vault("home"), f.vault("other")
		for i := range 10 {
			old, added := f.completed(a, 2*i), f.creating(b, 2*i+1)
			if err := f.delete(old); err != nil {
				t.Fatal(err)
			}
			f.clock.add(time.Second)
			var wg sync.WaitGroup
			wg.Go(func() {
				if err := f.removePoint(a, old); err != nil {
					t.Error(err)
				}
			})
			wg.Go(func() {
				err := f.db.Update(f.ctx, func(ctx context.Context, tx *meta.Tx) error {
					return f.CompletePointTx(ctx, tx, b, added, completion(i))
				})
				if err != nil {
					t.Error(err)
				}
			})
			wg.Wait()
			if diff := cmp.Diff(map[string]string{b + dataARN: added, dataARN: added}, f.others.protected); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}
