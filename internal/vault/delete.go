package vault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/meta"
)

// DefaultLease is how long the work on a vault's deletions may be silent before [Service.Sweep] enqueues it again, because
// its server may be dead. Each call of [Service.Deletions] is a sign of life.
const DefaultLease = 2 * time.Minute

// DeletePoints is the work of destroying those recovery points of a vault that are DELETING. There is one such job per
// vault however many they are; it asks [Service.Deletions] until there are none.
type DeletePoints struct {
	VaultUUID string `json:"vault_uuid"`
}

// Kind names the work.
func (DeletePoints) Kind() string { return "vault_delete_points" }

// DeleteRecoveryPoint accepts a deletion, which is carried out soon afterwards. If the role that made the recovery point
// does not allow it, the answer is the same, but the recovery point becomes EXPIRED, with the reason, and keeps its data;
// the call may be repeated once the role allows it.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/deleting-backups.html.
func (s *Service) DeleteRecoveryPoint(ctx context.Context, in *backupapi.DeleteRecoveryPointInput) (*backupapi.DeleteRecoveryPointOutput, error) {
	if err := checkARN(in.RecoveryPointArn); err != nil {
		return nil, err
	}
	// The store and the role are asked between two transactions: they may be slow to answer, and come last among the checks.
	var (
		p       Point
		refusal string
	)
	err := s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) (err error) {
		if _, p, err = s.read(ctx, tx, in.BackupVaultName, in.RecoveryPointArn, ""); err != nil {
			return err
		}
		return s.checkDelete(ctx, tx, p)
	})
	if err == nil {
		err = s.store.Reachable(ctx, p.VaultUUID)
	}
	if err == nil {
		err = s.unclaimed(ctx, p.VaultUUID)
	}
	if err == nil {
		refusal, err = s.authority.DeleteAuthority(ctx, p)
	}
	if err != nil {
		return nil, err
	}
	err = s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		_, p, err := s.read(ctx, tx, in.BackupVaultName, in.RecoveryPointArn, tx.ForUpdate())
		if err != nil {
			return err
		}
		return s.beginDelete(ctx, tx, p, refusal)
	})
	if err != nil {
		return nil, err
	}
	s.logRefusal(ctx, p, refusal)
	return &backupapi.DeleteRecoveryPointOutput{}, nil
}

// logRefusal tells the operator of a recovery point that has become EXPIRED, if it has.
func (s *Service) logRefusal(ctx context.Context, p Point, refusal string) {
	if refusal != "" {
		s.log.WarnContext(ctx, "recovery point expired", "recovery_point", p.ARN, "vault", p.VaultName, "reason", refusal)
	}
}

// checkDelete makes the checks that come after existence, in their documented order. Refusals are API errors.
func (s *Service) checkDelete(ctx context.Context, tx *meta.Tx, p Point) error {
	if err := s.checkIdle(ctx, tx, p); err != nil {
		return err
	}
	return s.checkChildless(ctx, tx, p)
}

// checkIdle refuses the deletion of a recovery point with which something is being done. The refusal is an API error.
func (s *Service) checkIdle(ctx context.Context, tx *meta.Tx, p Point) error {
	busy := !mayBecome(p.Status, Deleting)
	if !busy {
		var err error
		if busy, err = p.moving(ctx, tx); err != nil {
			return err
		}
	}
	if !busy {
		var err error
		if busy, err = s.restores.InUseTx(ctx, tx, p.Account, p.ARN); err != nil {
			return err
		}
	}
	if busy {
		return backupapi.InvalidResourceStateExceptionf(
			"AWS Backup is already performing an action on recovery point %s. Try again later.", p.ARN)
	}
	return nil
}

// beginDelete accepts the deletion if nothing speaks against it. If the role refuses it, the recovery point becomes
// EXPIRED instead. The vault is locked.
func (s *Service) beginDelete(ctx context.Context, tx *meta.Tx, p Point, refusal string) error {
	if err := s.checkDelete(ctx, tx, p); err != nil {
		return err
	}
	if refusal != "" {
		return s.become(ctx, tx, p, Expired, refusal)
	}
	if err := s.become(ctx, tx, p, Deleting, ""); err != nil {
		return err
	}
	return s.enqueueDeletions(ctx, tx, p.VaultUUID)
}

// enqueueDeletions sees to it that somebody works on the vault's deletions.
func (s *Service) enqueueDeletions(ctx context.Context, tx *meta.Tx, vaultUUID string) error {
	res, err := tx.Exec(ctx, "UPDATE vault SET deleting_since = ? WHERE uuid = ? AND deleting_since = 0",
		micros(time.Now()), vaultUUID)
	if err != nil {
		return fmt.Errorf("enqueue deletions: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return err
	}
	return tx.Enqueue(ctx, DeletePoints{vaultUUID}, nil)
}

// Deletions returns up to limit recovery points of a vault that are DELETING and come after the cursor, the oldest
// acceptance first; StatusAt is the time of the acceptance. The cursor is the last one of the call before, or nil. When
// it is nil and there are none, the work on the vault's deletions is over: the next accepted deletion enqueues it anew.
func (s *Service) Deletions(ctx context.Context, vaultUUID string, after *Point, limit int) (found []Point, err error) {
	err = s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		if _, err := s.LockTx(ctx, tx, vaultUUID); err != nil {
			if errors.Is(err, ErrNotFound) {
				return nil
			}
			return err
		}
		f := filter{}
		f.add("p.vault_uuid = ? AND p.status = 'DELETING'", vaultUUID)
		if after != nil {
			f.add("(p.status_at, p.arn) > (?, ?)", micros(after.StatusAt), after.ARN)
		}
		found, err = selectPoints(ctx, tx, f.where()+" ORDER BY p.status_at, p.arn LIMIT ?", append(f.args, limit)...)
		if err != nil {
			return err
		}
		if len(found) > 0 || after != nil {
			now := time.Now()
			_, err = tx.Exec(ctx, "UPDATE vault SET deleting_since = ? WHERE uuid = ? AND deleting_since > 0 AND deleting_since < ?",
				micros(now), vaultUUID, micros(now.Add(-s.lease/10))) // seldom, as it waits for a sync
			return err
		}
		return exec1(ctx, tx, "UPDATE vault SET deleting_since = 0 WHERE uuid = ?", vaultUUID)
	})
	return found, err
}

// RemovePointTx removes the row of a recovery point whose data is destroyed, and lowers the vault's count. It does
// nothing if the row is gone; the error wraps [ErrState] if it is not DELETING.
func (s *Service) RemovePointTx(ctx context.Context, tx *meta.Tx, vaultUUID, arn string) error {
	p, err := s.lockPoint(ctx, tx, vaultUUID, arn)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if p.Status != Deleting {
		return fmt.Errorf("remove recovery point %s: %w: %s", arn, ErrState, p.Status)
	}
	if err := s.drop(ctx, tx, p); err != nil {
		return err
	}
	if err := s.tags.DropTagsTx(ctx, tx, p.Account, arn); err != nil {
		return err
	}
	return s.protect(ctx, tx, p)
}

// DeletionWaits notes in the StatusMessage of a recovery point that is DELETING why its data is not destroyed yet; the reason
// is empty when it is not known. It does nothing if the recovery point is gone or has another status.
func (s *Service) DeletionWaits(ctx context.Context, p Point, reason string) error {
	if p.StatusMessage == reason {
		return nil
	}
	return s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		now, err := s.lockPoint(ctx, tx, p.VaultUUID, p.ARN)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil || now.Status != Deleting {
			return err
		}
		err = exec1(ctx, tx, "UPDATE recovery_point SET status_message = ? WHERE vault_uuid = ? AND arn = ?", reason, p.VaultUUID, p.ARN)
		if err != nil {
			return err
		}
		return s.touch(ctx, tx, p.VaultUUID, p.ARN)
	})
}

// DeletingTx locks the vault, and reports whether a recovery point is in it and DELETING.
func (s *Service) DeletingTx(ctx context.Context, tx *meta.Tx, vaultUUID, arn string) (bool, error) {
	p, err := s.lockPoint(ctx, tx, vaultUUID, arn)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil && p.Status == Deleting, err
}

// ExpirePointTx turns a recovery point to EXPIRED: it was to be deleted and could not be, for the reason in message.
// Its data stays. The error wraps [ErrNotFound] or [ErrState].
func (s *Service) ExpirePointTx(ctx context.Context, tx *meta.Tx, vaultUUID, arn, message string) error {
	p, err := s.lockPoint(ctx, tx, vaultUUID, arn)
	if err != nil {
		return err
	}
	return s.become(ctx, tx, p, Expired, message)
}

// RestoredTx records the time of a restore that completed. A recovery point that is gone is no error.
func (s *Service) RestoredTx(ctx context.Context, tx *meta.Tx, vaultUUID, arn string, started time.Time) error {
	_, err := tx.Exec(ctx, "UPDATE recovery_point SET restored_at = ? WHERE vault_uuid = ? AND arn = ? AND restored_at < ?",
		micros(started), vaultUUID, arn, micros(started))
	if err != nil {
		return fmt.Errorf("record restore of %s: %w", arn, err)
	}
	return s.touch(ctx, tx, vaultUUID, arn)
}

// Sweep accepts the deletion of every recovery point whose time has come and that nobody is reading, and enqueues work
// on deletions again that seems to have been lost. It returns the number of recovery points accepted. Those whose role
// does not allow it become EXPIRED, and are not tried again by themselves. One that is AVAILABLE is not due at any time.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/deleting-backups.html.
func (s *Service) Sweep(ctx context.Context) (int, error) {
	if err := errors.Join(s.requeue(ctx), s.requeueStates(ctx)); err != nil {
		return 0, err
	}
	done := 0
	var after *Point
	for {
		due, err := s.due(ctx, after, sweepBatch)
		if err != nil || len(due) == 0 {
			return done, err
		}
		for i := range due {
			ok, err := s.sweep(ctx, due[i])
			if err != nil {
				return done, err
			}
			if ok {
				done++
			}
		}
		after = &due[len(due)-1]
	}
}

// sweepBatch is how many recovery points are read at a time.
const sweepBatch = 500

func (s *Service) requeue(ctx context.Context) error {
	return s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		now := time.Now()
		lost, err := selectVaults(ctx, tx, " WHERE deleting_since > 0 AND deleting_since < ? ORDER BY uuid"+tx.ForUpdate(),
			micros(now.Add(-s.lease)))
		if err != nil {
			return err
		}
		for _, v := range lost {
			if err := exec1(ctx, tx, "UPDATE vault SET deleting_since = ? WHERE uuid = ?", micros(now), v.UUID); err != nil {
				return err
			}
			if err := tx.Enqueue(ctx, DeletePoints{v.UUID}, nil); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Service) due(ctx context.Context, after *Point, limit int) (due []Point, err error) {
	f := filter{}
	f.add("p.status IN ('COMPLETED', 'PARTIAL', 'STOPPED') AND p.delete_at > 0 AND p.delete_at <= ? AND "+childless, micros(s.now()))
	if after != nil {
		f.add("(p.delete_at, p.vault_uuid, p.arn) > (?, ?, ?)", micros(after.DeleteAt), after.VaultUUID, after.ARN)
	}
	err = s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		due, err = selectPoints(ctx, tx, f.where()+" ORDER BY p.delete_at, p.vault_uuid, p.arn LIMIT ?", append(f.args, limit)...)
		return err
	})
	return due, err
}

// sweep accepts the deletion of a recovery point if it is still due; false if it has to wait or somebody else was faster.
func (s *Service) sweep(ctx context.Context, p Point) (bool, error) {
	var refusal string
	err := s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error { return s.checkDelete(ctx, tx, p) })
	if err == nil {
		refusal, err = s.authority.DeleteAuthority(ctx, p)
	}
	if err == nil {
		err = s.sweepDue(ctx, p, refusal)
	}
	_, busy := errors.AsType[*backupapi.InvalidResourceStateException](err)
	_, kept := errors.AsType[*backupapi.InvalidRequestException](err)
	switch {
	case busy, kept, errors.Is(err, ErrNotFound), errors.Is(err, ErrState):
		return false, nil
	case err != nil:
		return false, err
	}
	s.logRefusal(ctx, p, refusal)
	return refusal == "", nil
}

func (s *Service) sweepDue(ctx context.Context, p Point, refusal string) error {
	return s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		now, err := s.lockPoint(ctx, tx, p.VaultUUID, p.ARN)
		if err != nil {
			return err
		}
		if now.Status != p.Status || !now.DeleteAt.Equal(p.DeleteAt) {
			return ErrState // its lifecycle was changed meanwhile
		}
		return s.beginDelete(ctx, tx, now, refusal)
	})
}
