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
	"github.com/lockfast/lockfast/internal/wire"
)

// copyable asks whether a recovery point of home can be copied, and for how long the copy would be kept.
func (f *fixture) copyable(arn string, l *backupapi.Lifecycle) (d *backupapi.DescribeRecoveryPointOutput, days int64, err error) {
	f.t.Helper()
	err = f.db.Update(f.ctx, func(ctx context.Context, tx *meta.Tx) error {
		d, days, err = f.CopyableTx(ctx, tx, account, region, "home", arn, l)
		return err
	})
	return d, days, err
}

func (f *fixture) completePoint(id string, n int) {
	f.t.Helper()
	f.update(func(ctx context.Context, tx *meta.Tx) error {
		return f.CompletePointTx(ctx, tx, id, pointARN(n), completion(n))
	})
}

func TestCopyableTx_Retention(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		p := newPoint(id, 1)
		p.DeleteAfterDays = 30
		f.update(func(ctx context.Context, tx *meta.Tx) error {
			_, err := f.CreatePointTx(ctx, tx, p)
			return err
		})
		f.completePoint(id, 1)
		f.clock.add(48 * time.Hour)
		for name, test := range map[string]struct {
			l    *backupapi.Lifecycle
			want int64
			err  string
		}{
			"none":         {nil, 30, ""},
			"empty":        {&backupapi.Lifecycle{}, 30, ""},
			"never":        {&backupapi.Lifecycle{DeleteAfterDays: new(int64(-1))}, 30, ""},
			"other":        {&backupapi.Lifecycle{DeleteAfterDays: new(int64(400))}, 400, ""},
			"shorter":      {&backupapi.Lifecycle{DeleteAfterDays: new(int64(3))}, 3, ""},
			"over already": {&backupapi.Lifecycle{DeleteAfterDays: new(int64(2))}, 0, "InvalidParameterValueException"},
			"no days":      {&backupapi.Lifecycle{DeleteAfterDays: new(int64(0))}, 0, "InvalidParameterValueException"},
			"cold storage": {&backupapi.Lifecycle{MoveToColdStorageAfterDays: new(int64(1))}, 30, ""},
			"output only":  {&backupapi.Lifecycle{DeleteAfterEvent: new(backupapi.LifecycleDeleteAfterEventDeleteAfterCopy)}, 0, "InvalidParameterValueException"},
		} {
			d, days, err := f.copyable(p.ARN, test.l)
			if test.err != "" {
				if api, ok := errors.AsType[wire.APIError](err); !ok || api.ErrorName() != test.err {
					t.Errorf("%s: CopyableTx = %v, want %s", name, err, test.err)
				}
				continue
			}
			if err != nil || days != test.want || *d.RecoveryPointArn != p.ARN {
				t.Errorf("%s: CopyableTx = %d days, %v, want %d", name, days, err, test.want)
			}
		}
	})
}

func TestCopyableTx_Refusals(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		want := func(arn, name string) {
			t.Helper()
			_, _, err := f.copyable(arn, nil)
			if api, ok := errors.AsType[wire.APIError](err); !ok || api.ErrorName() != name {
				t.Errorf("CopyableTx(%s) = %v, want %s", arn, err, name)
			}
		}
		want("nonsense", "InvalidParameterValueException")
		want(pointARN(9), "ResourceNotFoundException")
		want(f.creating(id, 4), "InvalidRequestException") // CREATING
		f.completePoint(id, 4)
		if _, _, err := f.copyable(pointARN(4), nil); err != nil {
			t.Error(err)
		}
		f.update(func(ctx context.Context, tx *meta.Tx) error {
			return f.ExpirePointTx(ctx, tx, id, pointARN(4), "no right")
		})
		want(pointARN(4), "InvalidRequestException") // EXPIRED
		if _, err := f.DeleteRecoveryPoint(f.ctx, &backupapi.DeleteRecoveryPointInput{BackupVaultName: "home", RecoveryPointArn: pointARN(4)}); err != nil {
			t.Fatal(err)
		}
		want(pointARN(4), "InvalidRequestException") // DELETING
		parent, web, _ := f.family(id)
		for _, arn := range []string{parent, web} {
			if d, _, err := f.copyable(arn, nil); err != nil || *d.IsParent != (arn == parent) {
				t.Errorf("CopyableTx of a family's %s = %+v, %v", arn, d, err)
			}
		}
		p := newPoint(id, 5)
		p.Continuous = true
		f.update(func(ctx context.Context, tx *meta.Tx) error {
			_, err := f.CreatePointTx(ctx, tx, p)
			return err
		})
		f.completePoint(id, 5)
		want(p.ARN, "InvalidRequestException") // AVAILABLE
	})
}

func TestCreatePointTx_OfACopy(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		p := newPoint(id, 1)
		p.CreatedAt, p.SourceVaultARN, p.DeleteAfterDays = f.clock.now().Add(-24*time.Hour), "arn:aws:backup:eu-west-1:123456789012:backup-vault:source", 7
		for range 2 { // the job starts again
			f.update(func(ctx context.Context, tx *meta.Tx) error {
				_, err := f.CreatePointTx(ctx, tx, p)
				return err
			})
			f.clock.add(time.Hour)
		}
		f.completePoint(id, 1)
		d := f.describe(p.ARN)
		if !d.CreationDate.Equal(p.CreatedAt) || !d.CalculatedLifecycle.DeleteAt.Equal(p.CreatedAt.Add(7*24*time.Hour)) || *d.Status != vault.Completed {
			t.Errorf("copy created at %s is created %s, deleted %s, %s", p.CreatedAt, d.CreationDate, d.CalculatedLifecycle.DeleteAt, *d.Status)
		}
		list, err := f.ListRecoveryPointsByBackupVault(f.ctx, &backupapi.ListRecoveryPointsByBackupVaultInput{BackupVaultName: "home"})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]*string{&p.SourceVaultARN, &p.SourceVaultARN}, []*string{d.SourceBackupVaultArn, list.RecoveryPoints[0].SourceBackupVaultArn}); diff != "" {
			t.Errorf("SourceBackupVaultArn (-want +got):\n%s", diff)
		}
	})
}

func TestProtected_NamesTheSourceRatherThanItsCopy(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		home, offsite := f.vault("home"), f.vault("offsite")
		source := f.creating(home, 1)
		f.completePoint(home, 1)
		p := newPoint(offsite, 2)
		p.CreatedAt, p.SourceVaultARN = f.clock.now(), "arn:aws:backup:eu-west-1:123456789012:backup-vault:home"
		f.update(func(ctx context.Context, tx *meta.Tx) error {
			_, err := f.CreatePointTx(ctx, tx, p)
			return err
		})
		f.completePoint(offsite, 2)
		want := map[string]string{dataARN: source, home + dataARN: source, offsite + dataARN: p.ARN}
		if diff := cmp.Diff(want, f.others.protected); diff != "" {
			t.Errorf("newest recovery points (-want +got):\n%s", diff)
		}
	})
}
