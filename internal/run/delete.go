package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/riverqueue/river"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/internal/kms"
	"github.com/lockfast/lockfast/internal/ledger"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/vault"
	"github.com/lockfast/lockfast/repo"
)

const (
	// deleteBatch is how many recovery points leave the records in one transaction.
	deleteBatch = 100
	// deleteRetry is how long to wait after a deletion that failed.
	deleteRetry = 30 * time.Second
	// DefaultDeletePatience is how long a deletion that was accepted may fail before the recovery point becomes EXPIRED.
	DefaultDeletePatience = 24 * time.Hour
)

// Deleter destroys recovery points whose deletion was accepted. It is the River worker of [vault.DeletePoints].
type Deleter struct {
	river.WorkerDefaults[vault.DeletePoints]
	DB      *meta.DB
	Vaults  *vault.Service
	Ledgers *ledger.DB
	Store   *Store
	// Authority is asked once more before data is destroyed: the role may have changed since the deletion was accepted.
	Authority vault.Authority
	Streams   Streams          // nil if there are none
	Patience  time.Duration    // how long a deletion may fail; 0 is [DefaultDeletePatience]
	Now       func() time.Time // clock of policy, by which statuses have their times; nil is time.Now
	// Deleted is called after recovery points of a vault have gone.
	Deleted func(vaultUUID string)
	Log     *slog.Logger
}

func (d *Deleter) now() time.Time {
	if d.Now != nil {
		return d.Now()
	}
	return time.Now()
}

// Timeout implements [river.Worker]: there is none.
func (*Deleter) Timeout(*river.Job[vault.DeletePoints]) time.Duration { return -1 }

// Work implements [river.Worker]. What could not be destroyed is tried again later.
func (d *Deleter) Work(ctx context.Context, j *river.Job[vault.DeletePoints]) error {
	settled, err := d.Drain(ctx, j.Args.VaultUUID)
	if err == nil && !settled {
		err = river.JobSnooze(deleteRetry)
	}
	return err
}

// Drain destroys all recovery points of a vault whose deletion was accepted. settled is false if some could not be
// destroyed now. It may run several times at once.
func (d *Deleter) Drain(ctx context.Context, vaultUUID string) (settled bool, err error) {
	var after *vault.Point
	settled = true
	for {
		batch, err := d.Vaults.Deletions(ctx, vaultUUID, after, deleteBatch)
		if err != nil {
			return false, err
		}
		if len(batch) == 0 {
			return settled, nil
		}
		gone, kept, err := d.destroy(ctx, vaultUUID, batch)
		if err != nil {
			return false, err
		}
		if settled = settled && gone+kept == len(batch); !settled {
			after = &batch[len(batch)-1]
		}
	}
}

// destroy destroys a batch of recovery points of a vault, and returns how many of them are gone and how many are no longer
// to be destroyed, most of them because they became EXPIRED.
func (d *Deleter) destroy(ctx context.Context, vaultUUID string, batch []vault.Point) (destroyed, kept int, err error) {
	ready, kept, err := d.weigh(ctx, batch)
	if err != nil {
		return 0, kept, err
	}
	begun, err := d.begin(ctx, vaultUUID, ready)
	if err != nil {
		return 0, kept, err
	}
	kept += len(ready) - len(begun)
	gone := d.destroyData(ctx, vaultUUID, begun)
	if ctx.Err() != nil {
		return 0, kept, ctx.Err()
	}
	err = d.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		if _, err := d.Vaults.LockTx(ctx, tx, vaultUUID); err != nil {
			return err
		}
		for _, p := range gone {
			if err := d.removeTx(ctx, tx, p); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, kept, err
	}
	if len(gone) > 0 {
		d.Deleted(vaultUUID)
	}
	for _, p := range gone {
		d.Log.InfoContext(ctx, "recovery point deleted", "recovery_point", p.ARN, "vault", p.VaultName)
	}
	return len(gone), kept, nil
}

// weigh returns the recovery points whose data may be destroyed now. Those that may not be, or whose deletion has failed for
// too long, become EXPIRED; expired is their number. One whose destruction has begun is not saved by either.
func (d *Deleter) weigh(ctx context.Context, batch []vault.Point) (ready []vault.Point, expired int, err error) {
	for _, p := range batch {
		cause := d.prepare(ctx, p)
		switch {
		case cause == nil:
			ready = append(ready, p)
		case ctx.Err() != nil:
			return nil, expired, ctx.Err()
		case isRefusal(cause) || d.now().Sub(p.StatusAt) > d.patience():
			saved, err := d.expire(ctx, p, cause)
			if err != nil {
				return nil, expired, err
			}
			if saved {
				expired++
			} else {
				ready = append(ready, p)
			}
		default:
			d.Log.WarnContext(ctx, "deletion put off", "recovery_point", p.ARN, "error", cause)
			if err := d.Vaults.DeletionWaits(ctx, p, whyWaiting(cause)); err != nil {
				return nil, expired, err
			}
		}
	}
	return ready, expired, nil
}

// whyWaiting is what clients are told of a cause for which a deletion waits; empty if it is none that they can remove.
func whyWaiting(cause error) string {
	if bad, ok := errors.AsType[*kms.Unusable](cause); ok {
		return "The deletion waits: " + bad.Error()
	}
	return ""
}

func (d *Deleter) patience() time.Duration {
	if d.Patience == 0 {
		return DefaultDeletePatience
	}
	return d.Patience
}

// refusal is why a role does not allow a deletion, in the words of the StatusMessage.
type refusal string

func (r refusal) Error() string { return string(r) }

func isRefusal(err error) bool {
	_, ok := errors.AsType[refusal](err)
	return ok
}

// prepare does all that comes before the data of a recovery point is destroyed. It may be repeated.
func (d *Deleter) prepare(ctx context.Context, p vault.Point) error {
	switch why, err := d.Authority.DeleteAuthority(ctx, p); {
	case err != nil:
		return err
	case why != "":
		return refusal(why)
	}
	if err := stopStream(ctx, d.Streams, p); err != nil {
		return fmt.Errorf("stop continuous backup: %w", err)
	}
	_, err := d.Store.Existing(ctx, p.VaultUUID)
	if destroyed(err) { // nothing can be read any more; the objects go with the vault
		return nil
	}
	return err
}

// begin marks recovery points in the ledger, after which nobody can open them, and returns those that it marked. The others
// are not DELETING any more: another worker was faster. The vault is locked, so that a recovery point becomes EXPIRED, with
// all its data, or is destroyed; see [Deleter.expire].
func (d *Deleter) begin(ctx context.Context, vaultUUID string, ready []vault.Point) (begun []vault.Point, err error) {
	if len(ready) == 0 {
		return nil, nil
	}
	err = d.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		begun = nil
		for _, p := range ready {
			deleting, err := d.Vaults.DeletingTx(ctx, tx, vaultUUID, p.ARN)
			if err == nil && deleting && p.StoreID != "" {
				err = d.Ledgers.DeleteTx(ctx, tx, vaultUUID, repo.PointID(p.StoreID))
			}
			if err != nil && !errors.Is(err, repo.ErrNotFound) {
				return err
			}
			if deleting {
				begun = append(begun, p)
			}
		}
		return d.Vaults.OutdateTx(ctx, tx, vaultUUID)
	})
	return begun, err
}

// destroyData removes what makes the data of recovery points, and returns those that have none left. It may be repeated.
func (d *Deleter) destroyData(ctx context.Context, vaultUUID string, begun []vault.Point) (gone []vault.Point) {
	for _, p := range begun {
		v, err := d.Store.Existing(ctx, vaultUUID)
		if err == nil && v != nil && p.StoreID != "" {
			err = v.DeletePoint(ctx, repo.PointID(p.StoreID))
		}
		if err == nil && v != nil && p.State.ID != "" {
			err = v.DropPointState(ctx, repo.PointID(p.State.ID))
		}
		switch {
		case err == nil, errors.Is(err, repo.ErrNotFound), destroyed(err):
			gone = append(gone, p)
		case ctx.Err() != nil:
			return gone
		default:
			d.Log.WarnContext(ctx, "deletion put off", "recovery_point", p.ARN, "error", err)
		}
	}
	return gone
}

// destroyed reports whether an error says that the key of a vault is gone for ever.
func destroyed(err error) bool {
	bad, ok := errors.AsType[*kms.Unusable](err)
	return ok && bad.Destroyed()
}

func (d *Deleter) removeTx(ctx context.Context, tx *meta.Tx, p vault.Point) error {
	if p.StoreID != "" {
		err := d.Ledgers.RemoveTx(ctx, tx, p.VaultUUID, repo.PointID(p.StoreID))
		if err != nil && !errors.Is(err, repo.ErrNotFound) {
			return err
		}
	}
	return d.Vaults.RemovePointTx(ctx, tx, p.VaultUUID, p.ARN)
}

// expire gives a deletion up; the data stays. saved is false if it is too late for that.
func (d *Deleter) expire(ctx context.Context, p vault.Point, cause error) (saved bool, err error) {
	err = d.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		saved = true
		deleting, err := d.Vaults.DeletingTx(ctx, tx, p.VaultUUID, p.ARN)
		if err != nil || !deleting {
			return err
		}
		if p.StoreID != "" {
			there, err := d.Ledgers.HasTx(ctx, tx, p.VaultUUID, repo.PointID(p.StoreID))
			if err != nil || !there {
				saved = false
				return err
			}
		}
		return d.Vaults.ExpirePointTx(ctx, tx, p.VaultUUID, p.ARN, cause.Error())
	})
	if err == nil && saved {
		d.Log.WarnContext(ctx, "recovery point expired", "recovery_point", p.ARN, "vault", p.VaultName, "reason", cause.Error())
	}
	return saved, err
}

// Eraser removes deleted vaults from the store. It is the River worker of [vault.EraseVault].
type Eraser struct {
	river.WorkerDefaults[vault.EraseVault]
	Store *Store
}

// Timeout implements [river.Worker]: there is none.
func (*Eraser) Timeout(*river.Job[vault.EraseVault]) time.Duration { return -1 }

// Work implements [river.Worker].
func (e *Eraser) Work(ctx context.Context, j *river.Job[vault.EraseVault]) error {
	err := e.Store.Erase(ctx, j.Args.VaultUUID)
	if errors.Is(err, blob.ErrRetained) {
		return river.JobSnooze(retainedRetry) // the rest is gone
	}
	return err
}

// retainedRetry is the time after which it is tried again to remove what the store retains.
const retainedRetry = 6 * time.Hour
