package vault_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/events"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/vault"
)

const refused = "Insufficient privileges: role " + role + " does not allow elasticfilesystem:Backup on " + dataARN

// wantStatus expects a status and its message.
func (f *fixture) wantStatus(arn string, status vault.Status, message string) {
	f.t.Helper()
	d := f.describe(arn)
	got := ""
	if d.StatusMessage != nil {
		got = *d.StatusMessage
	}
	if *d.Status != status || got != message {
		f.t.Errorf("recovery point is %s, %q, want %s, %q", *d.Status, got, status, message)
	}
}

// told returns what events told of a recovery point, the first one first: status, message and name among the events of
// a vault.
func (f *fixture) told(arn string) (lines []string) {
	f.t.Helper()
	list, err := f.events.List(f.ctx, events.Filter{Account: account, Region: region, Point: arn}, 100)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, e := range list {
		line := *e.Status
		for _, part := range []*string{e.VaultEvent, e.StatusMessage} {
			if part != nil {
				line += " " + *part
			}
		}
		lines = append([]string{line}, lines...)
	}
	return lines
}

// T-20, T-22 to T-26, DEL-12, DEL-17: https://docs.aws.amazon.com/aws-backup/latest/devguide/deleting-backups.html
func TestDeleteRecoveryPoint_RefusedByTheRole(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		arn := f.completed(id, 1)
		f.others.refuse(refused)
		if err := f.delete(arn); err != nil {
			t.Fatalf("DeleteRecoveryPoint = %v, want success", err)
		}
		f.wantStatus(arn, vault.Expired, refused)
		if f.count("home") != 1 || f.others.tags[arn] == nil || f.deletions(id) != nil || f.queued("vault_delete_points") != 0 {
			t.Errorf("something of it was deleted: %d, %v, %v", f.count("home"), f.others.tags, f.deletions(id))
		}
		if p, err := f.FindPoint(f.ctx, account, region, arn); err != nil || p.StoreID == "" {
			t.Errorf("FindPoint = %v, %v, want it to be restorable", p.StoreID, err)
		}

		const gone = "The role " + role + " does not exist or cannot be assumed by backup.amazonaws.com"
		f.others.refuse(gone) // a second attempt asks again
		if err := f.delete(arn); err != nil {
			t.Fatal(err)
		}
		f.wantStatus(arn, vault.Expired, gone)

		f.others.refuse("")
		if err := f.delete(arn); err != nil {
			t.Fatal(err)
		}
		f.wantStatus(arn, vault.Deleting, "")
		wantError(t, f.delete(arn), "InvalidResourceStateException", "")
		if err := f.removePoint(id, arn); err != nil {
			t.Fatal(err)
		}
		wantError(t, f.delete(arn), "ResourceNotFoundException", "")
		want := []string{"CREATING", "COMPLETED", "EXPIRED RECOVERY_POINT_MODIFIED " + refused, "DELETING", "DELETED RECOVERY_POINT_MODIFIED"}
		if diff := cmp.Diff(want, f.told(arn)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

// The role is asked last, so that refusals of the call leave the recovery point alone whatever the role allows.
func TestDeleteRecoveryPoint_AsksTheRoleLast(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		f.vault("other")
		creating, busy, arn := f.creating(id, 1), f.completed(id, 2), f.completed(id, 3)
		f.others.refuse(refused)
		f.others.inUse[busy] = true
		deleteIn := func(name, arn string) error {
			_, err := f.DeleteRecoveryPoint(f.ctx, &backupapi.DeleteRecoveryPointInput{BackupVaultName: name, RecoveryPointArn: arn})
			return err
		}
		for _, c := range []struct{ name, vault, arn, want string }{
			{"DEL-3", "home", "foo", "InvalidParameterValueException"},
			{"DEL-5", "absent", arn, "ResourceNotFoundException"},
			{"DEL-6, unknown", "home", arn + "0", "ResourceNotFoundException"},
			{"DEL-6, another vault", "other", arn, "ResourceNotFoundException"},
			{"DEL-7, CREATING", "home", creating, "InvalidResourceStateException"},
			{"DEL-7, being restored", "home", busy, "InvalidResourceStateException"},
		} {
			wantError(t, deleteIn(c.vault, c.arn), c.want, "")
		}
		if f.others.asked != nil {
			t.Errorf("the role was asked for %q", f.others.asked)
		}
		f.wantStatus(creating, vault.Creating, "")
		f.wantStatus(busy, vault.Completed, "")

		f.others.broken = errors.New("no database")
		if err := f.delete(arn); !errors.Is(err, f.others.broken) {
			t.Errorf("DeleteRecoveryPoint = %v, want %v", err, f.others.broken)
		}
		f.wantStatus(arn, vault.Completed, "")
	})
}

// meanwhile changes something while a role is asked.
type meanwhile struct {
	vault.Authority
	do func()
}

func (m meanwhile) DeleteAuthority(ctx context.Context, p vault.Point) (string, error) {
	m.do()
	return m.Authority.DeleteAuthority(ctx, p)
}

func TestDeleteRecoveryPoint_ChecksAgainAfterTheRole(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		arn := f.completed(id, 1)
		slow := f.with(meanwhile{f.others, func() { f.others.inUse[arn] = true }}, 0)
		for _, refusal := range []string{"", refused} {
			f.others.refuse(refusal)
			f.others.inUse[arn] = false
			_, err := slow.DeleteRecoveryPoint(f.ctx, &backupapi.DeleteRecoveryPointInput{BackupVaultName: "home", RecoveryPointArn: arn})
			wantError(t, err, "InvalidResourceStateException", "")
			f.wantStatus(arn, vault.Completed, "")
		}
	})
}

// Of calls at the same time of which the role refuses some, one at most is accepted, and the recovery point does not come
// back from DELETING.
func TestDeleteRecoveryPoint_RaceOfRefusalAndAcceptance(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		for i := range 5 {
			arn := f.completed(id, i)
			var wg sync.WaitGroup
			errs := make([]error, 8)
			for n := range errs {
				wg.Go(func() {
					f.others.refuse([]string{"", refused}[n%2])
					errs[n] = f.delete(arn)
				})
			}
			wg.Wait()
			for _, err := range errs {
				if err != nil {
					wantError(t, err, "InvalidResourceStateException", "")
				}
			}
			accepted := 0
			for _, line := range f.told(arn) {
				if line == "DELETING" {
					accepted++
				}
			}
			status := *f.describe(arn).Status
			if want := map[vault.Status]int{vault.Deleting: 1, vault.Expired: 0}; accepted != want[status] {
				t.Errorf("recovery point is %s after %d acceptances", status, accepted)
			}
		}
	})
}

// T-28: https://docs.aws.amazon.com/aws-backup/latest/devguide/deleting-backups.html
func TestSweep_RefusedByTheRole(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		arn, other := f.completed(id, 1), f.completed(id, 2)
		for _, arn := range []string{arn, other} {
			_, err := f.UpdateRecoveryPointLifecycle(f.ctx, &backupapi.UpdateRecoveryPointLifecycleInput{
				BackupVaultName: "home", RecoveryPointArn: arn, Lifecycle: &backupapi.Lifecycle{DeleteAfterDays: new(int64(1))}})
			if err != nil {
				t.Fatal(err)
			}
		}
		f.others.inUse[other] = true
		f.others.refuse(refused)
		f.clock.add(24 * time.Hour)
		for range 2 { // what is EXPIRED is not tried again
			if n, err := f.Sweep(f.ctx); n != 0 || err != nil {
				t.Errorf("Sweep = %d, %v, want 0", n, err)
			}
		}
		f.wantStatus(arn, vault.Expired, refused)
		f.wantStatus(other, vault.Completed, "")
		if diff := cmp.Diff([]string{arn}, f.others.asked); diff != "" {
			t.Errorf("asked (-want +got):\n%s", diff)
		}
		want := []string{"CREATING", "COMPLETED", "COMPLETED RECOVERY_POINT_MODIFIED", "EXPIRED RECOVERY_POINT_MODIFIED " + refused}
		if diff := cmp.Diff(want, f.told(arn)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		f.others.refuse("")
		f.others.inUse[other] = false
		if n, err := f.Sweep(f.ctx); n != 1 || err != nil {
			t.Errorf("Sweep = %d, %v, want the other one", n, err)
		}
		if err := f.delete(arn); err != nil { // by hand it is
			t.Fatal(err)
		}
		f.wantStatus(arn, vault.Deleting, "")
	})
}

func TestEvents_OfAJobThatDoesNotComplete(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		arn := f.creating(id, 1)
		for range 2 {
			f.update(func(ctx context.Context, tx *meta.Tx) error { return f.DropCreatingTx(ctx, tx, id, arn) })
		}
		if diff := cmp.Diff([]string{"CREATING", "DELETED"}, f.told(arn)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}
