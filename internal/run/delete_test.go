package run_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/riverqueue/river"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/events"
	"github.com/lockfast/lockfast/internal/keys"
	"github.com/lockfast/lockfast/internal/ledger"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
	"github.com/lockfast/lockfast/internal/run"
	"github.com/lockfast/lockfast/internal/vault"
	"github.com/lockfast/lockfast/repo"
)

const (
	account = "123456789012"
	region  = "eu-west-1"
	stream  = "arn:aws:backup:eu-west-1:123456789012:recovery-point:continuous:docs-00000001"
)

// others are the nouns that a vault works with and that play no part here, and a stream.
type others struct {
	calls   []string // what happened, in order
	refusal string   // of the role
	broken  error    // what is the matter with the stream
	data    func(ctx context.Context) error
}

func (*others) SetTagsTx(context.Context, *meta.Tx, string, string, map[string]string) error {
	return nil
}

func (*others) DropTagsTx(context.Context, *meta.Tx, string, string) error { return nil }
func (*others) TagsTx(context.Context, *meta.Tx, string, string) (map[string]string, error) {
	return nil, nil
}

func (*others) PutProtectedTx(context.Context, *meta.Tx, string, string, string, backupapi.ProtectedResource) error {
	return nil
}

func (*others) DropProtectedTx(context.Context, *meta.Tx, string, string, string, string) error {
	return nil
}

func (*others) InUseTx(context.Context, *meta.Tx, string, string) (bool, error) { return false, nil }

func (o *others) DeleteAuthority(context.Context, vault.Point) (string, error) { return o.refusal, nil }

func (o *others) StopStream(ctx context.Context, p vault.Point) error {
	line := "stop " + string(p.Status)
	if o.data(ctx) == nil {
		line += " with data"
	}
	o.calls = append(o.calls, line)
	return o.broken
}

type fixture struct {
	t       *testing.T
	ctx     context.Context
	others  *others
	vaults  *vault.Service
	id      string // UUID of the vault
	ledgers *ledger.DB
	point   repo.PointID
	deleter *run.Deleter
}

// streaming runs a test on both databases, with a vault that holds a continuous recovery point with data.
func streaming(t *testing.T, test func(t *testing.T, f *fixture)) {
	t.Parallel()
	metatest.Run(t, func(t *testing.T, open func(*testing.T, ...meta.MigrationSet) *meta.DB) {
		db := open(t, vault.Migrations(), events.Migrations(), ledger.Migrations())
		root, err := keys.Create(t.TempDir() + "/root.key")
		if err != nil {
			t.Fatal(err)
		}
		log := slog.New(slog.DiscardHandler)
		ledgers := ledger.New(db, ledger.Options{})
		blobs := mem.New()
		store := run.NewStore(run.StoreOptions{Blobs: func() (blob.Store, error) { return blobs, nil }, DB: db, Ledgers: ledgers,
			Keys: root, Domain: func(context.Context, string) ([32]byte, error) { return [32]byte{1}, nil }, Log: log})
		o := &others{}
		f := &fixture{t: t, others: o, ledgers: ledgers, ctx: caller.With(t.Context(), caller.Caller{Account: account, Region: region})}
		f.vaults = vault.New(vault.Options{DB: db, Tags: o, Protected: o, Restores: o, Store: store, Authority: o,
			Events: events.New(events.Options{DB: db})})
		f.deleter = &run.Deleter{DB: db, Vaults: f.vaults, Ledgers: ledgers, Store: store, Authority: o, Streams: o, Log: log,
			Deleted: func(string) { o.calls = append(o.calls, "deleted") }}
		f.add(store, ledgers)
		test(t, f)
	})
}

// add makes the vault and its recovery point.
func (f *fixture) add(store *run.Store, ledgers *ledger.DB) {
	f.t.Helper()
	var v *repo.Vault
	var p repo.Prepared
	_, err := f.vaults.CreateBackupVault(f.ctx, &backupapi.CreateBackupVaultInput{BackupVaultName: "home"})
	update := func(fn func(context.Context, *meta.Tx) error) {
		if err == nil {
			err = f.deleter.DB.Update(f.ctx, fn)
		}
	}
	update(func(ctx context.Context, tx *meta.Tx) (err error) {
		if f.id, err = f.vaults.VaultUUIDTx(ctx, tx, account, region, "home"); err != nil {
			return err
		}
		_, err = f.vaults.CreatePointTx(ctx, tx, vault.NewPoint{VaultUUID: f.id, ARN: stream, ResourceARN: "arn:aws:s3:::docs",
			ResourceType: "S3", DeleteAfterDays: 7, Continuous: true})
		return err
	})
	if err == nil {
		v, err = store.Vault(f.ctx, f.id, account)
	}
	if err == nil {
		var w *repo.Writer
		if w, err = v.NewWriter(f.ctx, repo.WriterOptions{Job: "job"}); err == nil {
			p, err = w.Prepare(f.ctx, repo.Facts{Created: time.Now(), Resource: "arn:aws:s3:::docs", Driver: "test"})
		}
	}
	update(func(ctx context.Context, tx *meta.Tx) error {
		return errors.Join(ledgers.CommitTx(ctx, tx, f.id, p),
			f.vaults.CompletePointTx(ctx, tx, f.id, stream, vault.Completion{StoreID: string(p.Point)}))
	})
	if err != nil {
		f.t.Fatal(err)
	}
	f.point = p.Point
	f.others.data = func(ctx context.Context) error {
		point, err := v.OpenPoint(ctx, p.Point)
		if err == nil {
			err = point.Close()
		}
		return err
	}
}

// delete has the recovery point deleted, and expects that its deletion is accepted.
func (f *fixture) delete() {
	f.t.Helper()
	in := &backupapi.DeleteRecoveryPointInput{BackupVaultName: "home", RecoveryPointArn: stream}
	if _, err := f.vaults.DeleteRecoveryPoint(f.ctx, in); err != nil {
		f.t.Fatal(err)
	}
}

// drain works on the deletions of the vault.
func (f *fixture) drain() (settled bool) {
	f.t.Helper()
	settled, err := f.deleter.Drain(f.ctx, f.id)
	if err != nil {
		f.t.Fatal(err)
	}
	return settled
}

// status is that of the recovery point, with its message; "gone" if it is.
func (f *fixture) status() string {
	f.t.Helper()
	p, err := f.vaults.Point(f.ctx, f.id, stream)
	if errors.Is(err, vault.ErrNotFound) {
		return "gone"
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return strings.TrimSpace(string(p.Status) + " " + p.StatusMessage)
}

func (f *fixture) want(status string, calls ...string) {
	f.t.Helper()
	if got := f.status(); got != status {
		f.t.Errorf("recovery point is %s, want %s", got, status)
	}
	if diff := cmp.Diff(calls, f.others.calls); diff != "" {
		f.t.Errorf("what happened (-want +got):\n%s", diff)
	}
}

// DEL-30: https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DeleteRecoveryPoint.html
func TestDeleter_StopsTheStreamBeforeTheDataGoes(t *testing.T) {
	streaming(t, func(t *testing.T, f *fixture) {
		f.delete()
		f.others.broken = errors.New("the bucket does not answer")
		if f.drain() {
			t.Error("a deletion whose stream cannot be stopped is settled")
		}
		f.want("DELETING", "stop DELETING with data")
		if err := f.others.data(f.ctx); err != nil {
			t.Errorf("the data went although the stream runs: %v", err)
		}
		f.others.broken = nil
		if !f.drain() {
			t.Error("the deletion is not settled")
		}
		f.want("gone", "stop DELETING with data", "stop DELETING with data", "deleted")
		if err := f.others.data(f.ctx); err == nil {
			t.Error("the data is still there")
		}
	})
}

// DEL-16: https://docs.aws.amazon.com/aws-backup/latest/devguide/deleting-backups.html
func TestDeleter_GivesUpAfterItsPatience(t *testing.T) {
	streaming(t, func(t *testing.T, f *fixture) {
		f.delete()
		f.others.broken = errors.New("the bucket does not answer")
		f.deleter.Patience = time.Nanosecond
		if !f.drain() {
			t.Error("what was given up is not settled")
		}
		f.want("EXPIRED stop continuous backup: the bucket does not answer", "stop DELETING with data")
		f.others.broken = nil
		f.delete()
		if !f.drain() {
			t.Error("the deletion is not settled")
		}
		f.want("gone", "stop DELETING with data", "stop DELETING with data", "deleted")
	})
}

// DEL-15: https://docs.aws.amazon.com/aws-backup/latest/devguide/deleting-backups.html
func TestDeleter_AsksTheRoleAgain(t *testing.T) {
	streaming(t, func(t *testing.T, f *fixture) {
		f.delete()
		f.others.refusal = "the role is gone"
		if !f.drain() {
			t.Error("what is EXPIRED is not settled")
		}
		f.want("EXPIRED the role is gone")
		if err := f.others.data(f.ctx); err != nil {
			t.Errorf("the data is gone: %v", err)
		}
	})
}

// What has begun to be destroyed cannot be read any more, so it must not be called EXPIRED, which means that it is kept:
// https://docs.aws.amazon.com/aws-backup/latest/devguide/deleting-backups.html
func TestDeleter_FinishesWhatItHasBegunWhateverTheRoleSays(t *testing.T) {
	for name, interrupt := range map[string]func(f *fixture){
		"killed after the mark": func(f *fixture) {
			if err := f.ledgers.Vault(f.id).Delete(f.ctx, f.point); err != nil {
				f.t.Fatal(err)
			}
		},
		"killed after the manifest": func(f *fixture) {
			v, err := f.deleter.Store.Existing(f.ctx, f.id)
			if err == nil {
				err = v.DeletePoint(f.ctx, f.point)
			}
			if err != nil {
				f.t.Fatal(err)
			}
		},
		"killed after the ledger's row": func(f *fixture) {
			if err := f.ledgers.Vault(f.id).Remove(f.ctx, f.point); err != nil {
				f.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			streaming(t, func(t *testing.T, f *fixture) {
				f.delete()
				interrupt(f)
				f.others.refusal = "the role is gone"
				f.deleter.Patience = time.Nanosecond
				if !f.drain() {
					t.Error("the deletion is not settled")
				}
				f.want("gone", "deleted")
			})
		})
	}
}

// DIS-3, DIS-4: https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DisassociateRecoveryPoint.html
func TestStreamStopper(t *testing.T) {
	streaming(t, func(t *testing.T, f *fixture) {
		_, err := f.vaults.DisassociateRecoveryPoint(f.ctx, &backupapi.DisassociateRecoveryPointInput{
			BackupVaultName: "home", RecoveryPointArn: stream})
		if err != nil {
			t.Fatal(err)
		}
		w := &run.StreamStopper{Vaults: f.vaults, Streams: f.others}
		j := &river.Job[vault.StopStream]{Args: vault.StopStream{VaultUUID: f.id, PointARN: stream}}
		f.others.broken = errors.New("the bucket does not answer")
		if err := w.Work(f.ctx, j); !errors.Is(err, f.others.broken) {
			t.Errorf("Work = %v, want an error, so that it is tried again", err)
		}
		f.others.broken = nil
		if err := w.Work(f.ctx, j); err != nil {
			t.Error(err)
		}
		f.want("STOPPED Continuous backup was stopped: the recovery point was disassociated.",
			"stop STOPPED with data", "stop STOPPED with data")
		f.delete()
		f.drain()
		if err := w.Work(f.ctx, j); err != nil {
			t.Errorf("Work of what is gone = %v", err)
		}
		f.want("gone", "stop STOPPED with data", "stop STOPPED with data", "stop DELETING with data", "deleted")
	})
}
