package vault_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/events"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
	"github.com/lockfast/lockfast/internal/vault"
	"github.com/lockfast/lockfast/repo"
)

// writer stands for what writes states.
type writer struct {
	asked  []string
	broken error
	away   error // why nothing can be written
}

func (w *writer) Writable(context.Context, string) error { return w.away }

func (w *writer) WriteState(_ context.Context, _, pointARN string) error {
	w.asked = append(w.asked, pointARN)
	return w.broken
}

// stated gives a fixture a service whose states are written.
func (f *fixture) stated() *writer {
	w := &writer{}
	f.Service = vault.New(vault.Options{DB: f.db, Tags: f.others, Protected: f.others, Restores: f.others, Store: f.others, States: w,
		Principals: f.others, Authority: f.others, Events: f.events, Now: f.clock.now})
	return w
}

// unwritten returns what is to be written, and notes it as written.
func (f *fixture) unwritten(id string) vault.Unwritten {
	f.t.Helper()
	u, err := f.UnwrittenStates(f.ctx, id, 100)
	if err != nil {
		f.t.Fatal(err)
	}
	var done []vault.Written
	if u.Vault != nil {
		done = append(done, vault.Written{Version: u.Vault.Generation, Generation: u.Vault.Generation})
	}
	for _, p := range u.Points {
		done = append(done, vault.Written{ARN: p.ARN, Version: p.Record.Generation, Generation: p.Record.Generation})
	}
	if gone, err := f.StatesWritten(f.ctx, id, done); err != nil || len(gone) > 0 {
		f.t.Fatalf("StatesWritten = %v, %v", gone, err)
	}
	return u
}

// A policy and a lifecycle may protect data: they are in the store before they are answered.
func TestDurable(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		w := f.stated()
		arn := f.completed(f.vault("home"), 1)
		change := map[string]func() error{
			"": func() error {
				_, err := f.PutBackupVaultAccessPolicy(f.ctx, &backupapi.PutBackupVaultAccessPolicyInput{BackupVaultName: "home", Policy: new(
					`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"backup:DeleteBackupVault","Resource":"*"}]}`)})
				return err
			},
			arn: func() error {
				_, err := f.UpdateRecoveryPointLifecycle(f.ctx, &backupapi.UpdateRecoveryPointLifecycleInput{BackupVaultName: "home",
					RecoveryPointArn: arn, Lifecycle: &backupapi.Lifecycle{DeleteAfterDays: new(int64(300))}})
				return err
			},
		}
		for what, change := range change {
			w.asked, w.broken = nil, nil
			if err := change(); err != nil || !slices.Equal(w.asked, []string{what}) {
				t.Errorf("change = %v, and %q was written, want %q", err, w.asked, what)
			}
			w.broken = errors.New("no store")
			if err := change(); !errors.Is(err, w.broken) {
				t.Errorf("change that cannot be written = %v, want the reason", err)
			} else if late, ok := errors.AsType[*backupapi.ServiceUnavailableException](err); !ok || !strings.Contains(late.Message, "The change was made") {
				t.Errorf("change that cannot be written = %v, want to be told that it was made", err)
			}
		}
	})
}

// What cannot be written to the store is refused before it is changed. Where a change may follow later, only a vault that
// belongs to another server refuses it.
func TestUnwritable(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		w := f.stated()
		arn := f.completed(f.vault("home"), 1)
		lifecycle := func() error {
			_, err := f.UpdateRecoveryPointLifecycle(f.ctx, &backupapi.UpdateRecoveryPointLifecycleInput{BackupVaultName: "home",
				RecoveryPointArn: arn, Lifecycle: &backupapi.Lifecycle{DeleteAfterDays: new(int64(300))}})
			return err
		}
		put := func() error {
			_, err := f.PutBackupVaultAccessPolicy(f.ctx, &backupapi.PutBackupVaultAccessPolicyInput{BackupVaultName: "home", Policy: new(
				`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"backup:DeleteBackupVault","Resource":"*"}]}`)})
			return err
		}
		w.away = fmt.Errorf("c/2 is newer: %w", repo.ErrClaimed)
		for what, change := range map[string]func() error{
			"lifecycle": lifecycle, "put": put, "delete": func() error { return f.delete(arn) },
			"tags of the point": func() error { return f.TagsChangeable(f.ctx, account, arn) },
			"tags of the vault": func() error {
				return f.TagsChangeable(f.ctx, account, "arn:aws:backup:"+region+":"+account+":backup-vault:home")
			},
			"delete the vault": func() error {
				_, err := f.DeleteBackupVault(f.ctx, &backupapi.DeleteBackupVaultInput{BackupVaultName: "home"})
				return err
			},
		} {
			if err := change(); !errors.Is(err, repo.ErrClaimed) {
				t.Errorf("%s = %v, want ErrClaimed", what, err)
			}
		}
		w.away = fmt.Errorf("%w: KMS key k is disabled", vault.ErrKey)
		const text = "The change cannot be written to the store, and was not made: key cannot be used: KMS key k is disabled"
		wantError(t, lifecycle(), "InvalidRequestException", text)
		wantError(t, put(), "InvalidParameterValueException", text)
		if err := f.TagsChangeable(f.ctx, account, arn); err != nil {
			t.Errorf("TagsChangeable = %v, want nil: they are written later", err)
		}
		_, err := f.GetBackupVaultAccessPolicy(f.ctx, &backupapi.GetBackupVaultAccessPolicyInput{BackupVaultName: "home"})
		wantError(t, err, "ResourceNotFoundException", "")
		if d := f.describe(arn); d.Lifecycle != nil && d.Lifecycle.DeleteAfterDays != nil || *d.Status != vault.Completed || len(w.asked) > 0 {
			t.Errorf("recovery point = %v, %s, want it unchanged", d.Lifecycle, *d.Status)
		}
	})
}

// Every change makes a state unwritten, and nothing else does.
func TestUnwrittenStates(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		f.stated()
		id := f.vault("home")
		arn := f.completed(id, 1)
		first := f.unwritten(id)
		if first.Vault == nil || first.Vault.Name != "home" || len(first.Points) != 1 || first.Points[0].Record.Status != "COMPLETED" {
			t.Fatalf("UnwrittenStates = %+v, want the vault and its recovery point", first)
		}
		if u := f.unwritten(id); u.Vault != nil || len(u.Points) > 0 {
			t.Errorf("UnwrittenStates = %+v, want none", u)
		}
		f.creating(id, 2)
		if u := f.unwritten(id); len(u.Points) > 0 {
			t.Errorf("UnwrittenStates = %+v, want none of what is being made", u)
		}
		f.update(func(ctx context.Context, tx *meta.Tx) error { return f.TagsChangedTx(ctx, tx, account, arn) })
		f.update(func(ctx context.Context, tx *meta.Tx) error { return f.TagsChangedTx(ctx, tx, account, arn) })
		u := f.unwritten(id)
		if len(u.Points) != 1 || u.Points[0].Record.Generation != first.Points[0].Record.Generation+2 || u.Vault != nil {
			t.Errorf("UnwrittenStates = %+v, want the recovery point two generations later", u)
		}
	})
}

// A row that changes while its state is written stays unwritten, also when the store has higher generations.
func TestStatesWritten_WhileTheRowChanges(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		f.stated()
		id := f.vault("home")
		arn := f.completed(id, 1)
		u, err := f.UnwrittenStates(f.ctx, id, 100)
		if err != nil {
			t.Fatal(err)
		}
		f.update(func(ctx context.Context, tx *meta.Tx) error { return f.TagsChangedTx(ctx, tx, account, arn) })
		_, err = f.StatesWritten(f.ctx, id, []vault.Written{{ARN: arn, Version: u.Points[0].Record.Generation, Generation: 9}, {ARN: "gone"}})
		if err != nil {
			t.Fatal(err)
		}
		if u := f.unwritten(id); len(u.Points) != 1 || u.Points[0].Record.Generation != 10 {
			t.Errorf("UnwrittenStates = %+v, want generation 10", u)
		}
	})
}

// What a completion has put into the store with the data need not be written again, unless the row says something else.
func TestCompletePointTx_WithAFirstState(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		f.stated()
		id := f.vault("home")
		f.unwritten(id)
		for n, change := range map[int]func(r *repo.PointRecord){1: func(*repo.PointRecord) {}, 2: func(r *repo.PointRecord) { r.RoleARN = "x" }} {
			arn, c := f.creating(id, n), completion(n)
			p, err := f.Point(f.ctx, id, arn)
			if err != nil {
				t.Fatal(err)
			}
			c.Record = f.PlannedRecord(p, c)
			change(c.Record)
			f.update(func(ctx context.Context, tx *meta.Tx) error { return f.CompletePointTx(ctx, tx, id, arn, c) })
			if u := f.unwritten(id); len(u.Points) != n-1 {
				t.Errorf("UnwrittenStates = %+v, want %d", u.Points, n-1)
			}
		}
	})
}

// A vault that is restored from its state and those of its recovery points is as it was.
func TestRestore_IsTheInverseOfWriting(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		f.stated()
		id := f.vault("home")
		arn := f.completed(id, 1)
		f.mark(id, map[repo.PointID]vault.Damage{repo.PointID(completion(1).StoreID): {Paths: []string{"b", "a"}, More: 3, Unknown: true}})
		u := f.unwritten(id)
		before, err := f.Point(f.ctx, id, arn)
		if err != nil {
			t.Fatal(err)
		}
		f.update(func(ctx context.Context, tx *meta.Tx) error {
			for _, text := range []string{"DELETE FROM recovery_point", "DELETE FROM vault", "DELETE FROM vault_partition"} {
				if _, err := tx.Exec(ctx, text); err != nil {
					return err
				}
			}
			if err := f.RestoreVaultTx(ctx, tx, id, *u.Vault, u.Vault.Generation, true); err != nil {
				return err
			}
			r := u.Points[0].Record
			found := repo.FoundPoint{ID: u.Points[0].ID, State: repo.Found[repo.PointRecord]{State: &r, Highest: r.Generation}}
			found.Stats.LogicalBytes, found.Stats.BytesStored = before.LogicalBytes, before.StoredBytes
			for range 2 { // a second one replaces the first
				if err := f.RestorePointTx(ctx, tx, id, found, r, true); err != nil {
					return err
				}
			}
			return f.RestoreEndTx(ctx, tx, id)
		})
		after, err := f.Point(f.ctx, id, arn)
		if diff := cmp.Diff(before, after, cmpopts.IgnoreUnexported(vault.Cold{})); diff != "" || err != nil {
			t.Errorf("restored recovery point (-before +after), %v:\n%s", err, diff)
		}
		if v, err := f.Vault(f.ctx, id); err != nil || v.Points != 1 || v.Name != "home" {
			t.Errorf("Vault = %+v, %v", v, err)
		}
		if _, again := f.Vault(f.ctx, id); again != nil {
			t.Error(again)
		}
	})
}

// A mark of damage is in the state of its recovery point from the moment in which it is set to that in which it is dropped.
func TestMarkDamaged_ChangesTheState(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		f.stated()
		id := f.vault("home")
		f.completed(id, 1)
		f.completed(id, 2)
		f.unwritten(id)
		point := repo.PointID(completion(1).StoreID)
		found := f.clock.now()
		for i, step := range []struct {
			damaged map[repo.PointID]vault.Damage
			want    repo.PointRecord // what it says of damage
		}{
			{map[repo.PointID]vault.Damage{point: {Paths: []string{"a"}, More: 7}},
				repo.PointRecord{DamagedAt: found, DamagedPaths: []string{"a"}, DamagedMore: 7}},
			{map[repo.PointID]vault.Damage{point: {Unknown: true}}, repo.PointRecord{DamagedAt: found, DamagedUnknown: true}},
			{nil, repo.PointRecord{}},
		} {
			f.mark(id, step.damaged)
			f.clock.add(time.Hour)
			u := f.unwritten(id)
			if len(u.Points) != 1 || u.Points[0].ID != point {
				t.Fatalf("step %d: UnwrittenStates = %+v, want that of the marked recovery point", i, u)
			}
			r := u.Points[0].Record
			got := repo.PointRecord{DamagedAt: r.DamagedAt, DamagedPaths: r.DamagedPaths, DamagedMore: r.DamagedMore, DamagedUnknown: r.DamagedUnknown}
			if diff := cmp.Diff(step.want, got); diff != "" {
				t.Errorf("step %d: state of damage (-want +got):\n%s", i, diff)
			}
			f.mark(id, step.damaged)
			if u := f.unwritten(id); len(u.Points) > 0 {
				t.Errorf("step %d: UnwrittenStates = %+v after the same mark again, want none", i, u)
			}
		}
		if err := f.MarkDamaged(f.ctx, "00000000-0000-4000-8000-000000000009", map[repo.PointID]vault.Damage{point: {}}, true); err != nil {
			t.Errorf("MarkDamaged in a vault that is gone = %v", err)
		}
	})
}

// Marks that an earlier version has set are in no state.
func TestMigrations_HaveMarksOfDamageWritten(t *testing.T) {
	t.Parallel()
	metatest.Each(t, func(t *testing.T, create func(*testing.T) string) {
		db := metatest.Open(t, meta.Options{URL: create(t)}, migrationsBefore(t, "0392"), events.Migrations())
		f := newFixture(t, db, 0)
		f.stated()
		id := f.vault("home")
		f.completed(id, 1)
		arn := f.completed(id, 2)
		f.unwritten(id)
		f.unwritten(id) // nobody is at work on them any more
		f.update(func(ctx context.Context, tx *meta.Tx) error {
			_, err := tx.Exec(ctx, "UPDATE recovery_point SET damaged_at = 5, damage = '{\"paths\":[\"a\"]}' WHERE arn = ?", arn)
			return err
		})
		if err := db.Migrate(t.Context(), vault.Migrations(), events.Migrations()); err != nil {
			t.Fatal(err)
		}
		if ids, err := f.UnwrittenVaults(f.ctx); err != nil || !slices.Equal(ids, []string{id}) {
			t.Errorf("UnwrittenVaults = %v, %v, want %s", ids, err, id)
		}
		if u := f.unwritten(id); len(u.Points) != 1 || u.Points[0].ARN != arn || !slices.Equal(u.Points[0].Record.DamagedPaths, []string{"a"}) {
			t.Errorf("UnwrittenStates = %+v, want that of %s with its damage", u, arn)
		}
	})
}

// A state that the store has lost is written anew above every generation of its name; what is being deleted has none.
func TestRewriteState(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		f.stated()
		id := f.vault("home")
		arn := f.completed(id, 1)
		f.unwritten(id)
		written, err := f.WrittenStates(f.ctx, id)
		if err != nil || len(written) != 2 || written[""] == 0 {
			t.Fatalf("WrittenStates = %v, %v, want the vault and a recovery point", written, err)
		}
		for point := range written {
			want := arn
			if point == "" {
				want = ""
			}
			if got, found, err := f.RewriteState(f.ctx, id, point, 41); err != nil || !found || got != want {
				t.Errorf("RewriteState = %q, %t, %v, want %q", got, found, err, want)
			}
		}
		u := f.unwritten(id)
		if u.Vault == nil || u.Vault.Generation != 42 || len(u.Points) != 1 || u.Points[0].Record.Generation != 42 {
			t.Errorf("unwritten = %+v, want both as generation 42", u)
		}
		if _, found, err := f.RewriteState(f.ctx, id, repo.PointID("unknown"), 1); found || err != nil {
			t.Errorf("RewriteState of an unknown point = %t, %v, want false", found, err)
		}
	})
}
