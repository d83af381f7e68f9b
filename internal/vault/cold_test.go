package vault_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/vault"
)

const day = 24 * time.Hour

// aging makes recovery point n of a vault, which is moved to cold storage after 10 days and deleted after 100.
func (f *fixture) aging(id string, n int) string {
	f.t.Helper()
	p := newPoint(id, n)
	p.DeleteAfterDays, p.ColdAfterDays = 100, 10
	f.update(func(ctx context.Context, tx *meta.Tx) error {
		if _, err := f.CreatePointTx(ctx, tx, p); err != nil {
			return err
		}
		return f.CompletePointTx(ctx, tx, id, p.ARN, completion(n))
	})
	return p.ARN
}

// claim claims a move, of which there must be one.
func (f *fixture) claim(want string) vault.ColdMove {
	f.t.Helper()
	m, ok, err := f.ClaimColdMove(f.ctx)
	if err != nil || !ok || m.ARN != want {
		f.t.Fatalf("ClaimColdMove = %s, %v, %v, want %s", m.ARN, ok, err, want)
	}
	return m
}

func (f *fixture) noClaim(why string) {
	f.t.Helper()
	if m, ok, err := f.ClaimColdMove(f.ctx); ok || err != nil {
		f.t.Errorf("ClaimColdMove %s = %s, %v, %v, want none", why, m.ARN, ok, err)
	}
}

func (f *fixture) moved(m vault.ColdMove, storeID string) error {
	return f.db.Update(f.ctx, func(ctx context.Context, tx *meta.Tx) error { return f.MovedTx(ctx, tx, m, storeID, 50) })
}

func (f *fixture) setLifecycle(arn string, remove, cold *int64) error {
	_, err := f.UpdateRecoveryPointLifecycle(f.ctx, &backupapi.UpdateRecoveryPointLifecycleInput{BackupVaultName: "home",
		RecoveryPointArn: arn, Lifecycle: &backupapi.Lifecycle{DeleteAfterDays: remove, MoveToColdStorageAfterDays: cold}})
	return err
}

// https://docs.aws.amazon.com/aws-backup/latest/devguide/API_Lifecycle.html
func TestMoveToColdStorage(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		created := f.clock.now()
		arn := f.aging(id, 1)
		d := f.describe(arn)
		want := &backupapi.CalculatedLifecycle{MoveToColdStorageAt: new(created.Add(10 * day)), DeleteAt: new(created.Add(100 * day))}
		if diff := cmp.Diff(want, d.CalculatedLifecycle); diff != "" {
			t.Error(diff)
		}
		f.clock.add(10*day - time.Microsecond)
		f.noClaim("before MoveToColdStorageAt")
		f.clock.add(time.Microsecond)
		m := f.claim(arn)
		f.noClaim("while another one is at work")
		if err := f.RenewColdMove(f.ctx, m); err != nil {
			t.Error(err)
		}
		wantError(t, f.delete(arn), "InvalidResourceStateException", "")
		if err := f.moved(m, "cold"); err != nil {
			t.Fatal(err)
		}
		f.noClaim("of what is cold")
		d = f.describe(arn)
		if *d.StorageClass != backupapi.StorageClassCold || *d.Status != vault.Completed || *d.Lifecycle.MoveToColdStorageAfterDays != 10 {
			t.Errorf("after the move: %s, %s, lifecycle %+v", *d.StorageClass, *d.Status, d.Lifecycle)
		}
		if told := f.told(arn); told[len(told)-1] != "COMPLETED RECOVERY_POINT_MODIFIED" {
			t.Errorf("told %q", told)
		}

		left, err := f.Moved(f.ctx)
		if diff := cmp.Diff([]vault.Leftover{{VaultUUID: id, ARN: arn, StoreID: completion(1).StoreID}}, left); err != nil || diff != "" {
			t.Fatal(diff, err)
		}
		wantError(t, f.delete(arn), "InvalidResourceStateException", "")
		f.update(func(ctx context.Context, tx *meta.Tx) error { return f.LeftoverGoneTx(ctx, tx, left[0]) })
		if left, err := f.Moved(f.ctx); err != nil || len(left) > 0 {
			t.Errorf("Moved = %v, %v, want none", left, err)
		}
		if _, _, err := f.copyable(arn, nil); err == nil {
			t.Error("CopyableTx of what is cold = nil, want an error")
		}
		if p, ok, err := f.Parent(f.ctx, id, dataARN); ok || err != nil {
			t.Errorf("Parent = %s, %v, %v, want none: what is cold is none", p.ARN, ok, err)
		}
		if err := f.delete(arn); err != nil { // before 90 days are over
			t.Error(err)
		}
	})
}

// https://docs.aws.amazon.com/aws-backup/latest/devguide/API_UpdateRecoveryPointLifecycle.html
func TestUpdateRecoveryPointLifecycle_OfWhatIsCold(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		arn := f.aging(f.vault("home"), 1)
		if err := f.setLifecycle(arn, new(int64(200)), new(int64(5))); err != nil {
			t.Errorf("while it is warm: %v", err)
		}
		f.clock.add(5 * day)
		if err := f.moved(f.claim(arn), "cold"); err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct {
			remove, cold *int64
			want         string
		}{
			"later":     {new(int64(200)), new(int64(6)), "InvalidRequestException"},
			"left out":  {new(int64(200)), nil, "InvalidRequestException"},
			"never":     {new(int64(-1)), new(int64(-1)), "InvalidRequestException"},
			"too short": {new(int64(94)), new(int64(5)), "InvalidParameterValueException"},
			"longer":    {new(int64(95)), new(int64(5)), ""},
			"for ever":  {new(int64(-1)), new(int64(5)), ""},
		} {
			err := f.setLifecycle(arn, c.remove, c.cold)
			if c.want != "" {
				wantError(t, err, c.want, "")
			} else if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if d := f.describe(arn); *d.StorageClass != backupapi.StorageClassCold || *d.Lifecycle.MoveToColdStorageAfterDays != 5 {
			t.Errorf("it is %s, lifecycle %+v", *d.StorageClass, d.Lifecycle)
		}
	})
}

func TestMovedTx_OnlyForWhoHoldsTheClaimOfAWantedMove(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		lost, unwanted, deleting := f.aging(id, 1), f.aging(id, 2), f.aging(id, 3)
		f.clock.add(10 * day)
		stale := f.claim(lost)
		if err := f.DropColdClaims(f.ctx); err != nil {
			t.Fatal(err)
		}
		fresh := f.claim(lost)
		check := func(what string, m vault.ColdMove) {
			t.Helper()
			if err := f.RenewColdMove(f.ctx, m); !errors.Is(err, vault.ErrState) {
				t.Errorf("%s: RenewColdMove = %v, want ErrState", what, err)
			}
			if err := f.moved(m, "cold"); !errors.Is(err, vault.ErrState) {
				t.Errorf("%s: MovedTx = %v, want ErrState", what, err)
			}
		}
		check("a lost claim", stale)
		if err := f.moved(fresh, "cold"); err != nil {
			t.Error(err)
		}
		m := f.claim(unwanted)
		if err := f.setLifecycle(unwanted, nil, nil); err != nil {
			t.Fatal(err)
		}
		check("a changed lifecycle", m)
		m = f.claim(deleting)
		f.update(func(ctx context.Context, tx *meta.Tx) error { return f.ExpirePointTx(ctx, tx, id, deleting, "why") })
		check("what has become EXPIRED", m)
		f.noClaim("of what is EXPIRED or has no such lifecycle")
	})
}

func TestEndColdMove_TriesAFailedOneLater(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		first, second := f.aging(id, 1), f.aging(id, 2)
		f.clock.add(10 * day)
		m := f.claim(first)
		if err := f.EndColdMove(f.ctx, m, false); err != nil { // the server stops
			t.Fatal(err)
		}
		m = f.claim(first)
		if err := f.EndColdMove(f.ctx, m, true); err != nil {
			t.Fatal(err)
		}
		f.claim(second)
		f.noClaim("of one that failed a moment ago")
		if err := f.delete(first); err != nil { // nobody is at work on it
			t.Error(err)
		}
	})
}

func TestColdAfterDays_OfTypesThatHaveColdStorage(t *testing.T) {
	t.Parallel()
	s := vault.New(vault.Options{})
	l := &backupapi.Lifecycle{MoveToColdStorageAfterDays: new(int64(7)), OptInToArchiveForSupportedResources: new(true)}
	for kind, want := range map[string]int64{"EFS": 7, "CloudFormation": 7, "S3": 0, "RDS": 0} {
		if got := s.ColdAfterDays(l, kind); got != want {
			t.Errorf("ColdAfterDays(%s) = %d, want %d", kind, got, want)
		}
	}
	if got := s.ColdAfterDays(&backupapi.Lifecycle{MoveToColdStorageAfterDays: new(int64(-1))}, "EFS"); got != 0 {
		t.Errorf("ColdAfterDays(-1) = %d, want 0", got)
	}
}

func TestCopyColdAfterDays(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		d := f.describe(f.aging(f.vault("home"), 1))
		for name, c := range map[string]struct {
			l      *backupapi.Lifecycle
			remove int64
			want   int64
			err    string
		}{
			"that of the source":        {nil, 100, 10, ""},
			"none":                      {&backupapi.Lifecycle{DeleteAfterDays: new(int64(50))}, 50, 0, ""},
			"its own":                   {&backupapi.Lifecycle{MoveToColdStorageAfterDays: new(int64(3))}, 100, 3, ""},
			"too late for the source's": {&backupapi.Lifecycle{MoveToColdStorageAfterDays: new(int64(11))}, 100, 0, "InvalidParameterValueException"},
		} {
			days, err := f.CopyColdAfterDays(d, c.l, c.remove)
			if c.err != "" {
				wantError(t, err, c.err, "")
			} else if err != nil || days != c.want {
				t.Errorf("%s: CopyColdAfterDays = %d, %v, want %d", name, days, err, c.want)
			}
		}
	})
}

func TestParentsToCold_AfterTheLastChild(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		parent, web, crm := f.family(id)
		for _, arn := range []string{web, crm, parent} {
			if err := f.setLifecycle(arn, new(int64(7)), nil); err != nil {
				t.Fatal(err)
			}
		}
		for _, arn := range []string{web, crm} {
			if err := f.setLifecycle(arn, nil, new(int64(1))); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.setLifecycle(parent, nil, new(int64(1))); err != nil {
			t.Fatal(err)
		}
		f.clock.add(day)
		class := func(want backupapi.StorageClass) {
			t.Helper()
			if err := f.ParentsToCold(f.ctx); err != nil {
				t.Fatal(err)
			}
			if got := *f.describe(parent).StorageClass; got != want {
				t.Errorf("parent is %s, want %s", got, want)
			}
		}
		class(backupapi.StorageClassWarm)
		for range 2 {
			m, ok, err := f.ClaimColdMove(f.ctx)
			if !ok || err != nil || m.ARN == parent {
				t.Fatalf("ClaimColdMove = %s, %v, %v", m.ARN, ok, err)
			}
			class(backupapi.StorageClassWarm)
			if err := f.moved(m, "cold "+m.ARN); err != nil {
				t.Fatal(err)
			}
		}
		class(backupapi.StorageClassCold)
		if told := f.told(parent); told[len(told)-1] != "COMPLETED RECOVERY_POINT_MODIFIED" {
			t.Errorf("told %q", told)
		}
	})
}
