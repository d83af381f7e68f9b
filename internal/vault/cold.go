package vault

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/events"
	"github.com/lockfast/lockfast/internal/meta"
)

// Cold is what a recovery point has to do with cold storage.
type Cold struct {
	ColdAfterDays int64     // 0 = never moved
	ColdAt        time.Time // when the move is due
	ColdSince     time.Time // when it was moved; zero = it is warm

	claim        string    // of who moves it
	claimedUntil time.Time // by the database's clock: end of the claim, or of the pause after a failure
	tries        int64     // moves that have failed
	warmID       string    // the store's name before the move, until nothing is left of it
}

// coldTypes are the types of resources whose recovery points can be moved to cold storage; the setting is ignored for
// others.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/backup-feature-availability.html.
var coldTypes = [...]string{"EFS", "CloudFormation"}

// class is the storage class as clients see it.
func (c Cold) class() backupapi.StorageClass {
	if c.ColdSince.IsZero() {
		return backupapi.StorageClassWarm
	}
	return backupapi.StorageClassCold
}

// ColdAfterDays is the number of days after which a recovery point of a type, with a lifecycle that was checked, is moved to
// cold storage; 0 for never.
func (s *Service) ColdAfterDays(l *backupapi.Lifecycle, resourceType string) int64 {
	if l == nil || l.MoveToColdStorageAfterDays == nil {
		return 0
	}
	for _, t := range coldTypes {
		if t == resourceType {
			return max(0, *l.MoveToColdStorageAfterDays)
		}
	}
	return 0
}

// CopyColdAfterDays is ColdAfterDays for a copy of a recovery point, which has the source's if there is no lifecycle. The
// copy is deleted after a number of days, 0 for never; if that is the source's, the lifecycle's move may not go with it,
// which is an API error.
func (s *Service) CopyColdAfterDays(p *backupapi.DescribeRecoveryPointOutput, l *backupapi.Lifecycle, deleteAfterDays int64) (int64, error) {
	if l == nil {
		l = p.Lifecycle
	}
	days := s.ColdAfterDays(l, *p.ResourceType)
	if days > 0 && deleteAfterDays > 0 && deleteAfterDays < days+minColdDays {
		return 0, errColdTooShort()
	}
	return days, nil
}

// checkColdChange refuses to change when a recovery point is moved that has been. The refusal is an API error.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_UpdateRecoveryPointLifecycle.html.
func (p Point) checkColdChange(l *backupapi.Lifecycle) error {
	days := l.MoveToColdStorageAfterDays
	if p.ColdSince.IsZero() || days != nil && *days == p.ColdAfterDays {
		return nil
	}
	return backupapi.InvalidRequestExceptionf("Lifecycle.MoveToColdStorageAfterDays of recovery point %s must stay %d: "+
		"it is in cold storage already", p.ARN, p.ColdAfterDays)
}

// moving reports whether somebody moves the recovery point to cold storage now, or has left something of it behind.
func (p Point) moving(ctx context.Context, tx *meta.Tx) (bool, error) {
	if p.warmID != "" || p.claim == "" {
		return p.warmID != "", nil
	}
	now, err := tx.Now(ctx)
	return now.Before(p.claimedUntil), err
}

const (
	// coldLease is how long a claim lives without a sign of its owner.
	coldLease = 2 * time.Minute
	// firstColdPause is the pause after the first failure; each is twice the one before, up to lastColdPause.
	firstColdPause = time.Minute
	lastColdPause  = 6 * time.Hour
)

// ColdMove is the right to move one recovery point to cold storage, for as long as it is renewed.
type ColdMove struct {
	Point
	claim string
}

// movable is the condition that a recovery point has to meet.
const movable = "p.cold_at > 0 AND p.cold_since = 0 AND p.status IN ('COMPLETED', 'PARTIAL')"

// ClaimColdMove claims the recovery point whose move to cold storage has been due for longest, unless somebody else is at
// work on it or it failed a short time ago; false if there is none.
func (s *Service) ClaimColdMove(ctx context.Context) (m ColdMove, ok bool, err error) {
	err = s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		ok = false
		now, err := tx.Now(ctx)
		if err != nil {
			return err
		}
		due, err := selectPoints(ctx, tx, " WHERE "+movable+` AND p.is_parent = FALSE AND p.store_id <> '' AND p.cold_at <= ?
			AND p.cold_until <= ? ORDER BY p.cold_at, p.vault_uuid, p.arn LIMIT 1`, micros(s.now()), micros(now))
		if err != nil || len(due) == 0 {
			return err
		}
		m = ColdMove{due[0], uuid.NewString()}
		res, err := tx.Exec(ctx, `UPDATE recovery_point SET cold_claim = ?, cold_until = ?
			WHERE vault_uuid = ? AND arn = ? AND cold_until = ? AND cold_since = 0`,
			m.claim, micros(now.Add(coldLease)), m.VaultUUID, m.ARN, micros(m.claimedUntil))
		if err != nil {
			return fmt.Errorf("claim move of %s to cold storage: %w", m.ARN, err)
		}
		n, err := res.RowsAffected()
		ok = n == 1
		return err
	})
	return m, ok, err
}

// RenewColdMove extends a claim. The error wraps [ErrState] if it is lost, or the move is not wanted any more.
func (s *Service) RenewColdMove(ctx context.Context, m ColdMove) error {
	return s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		now, err := tx.Now(ctx)
		if err != nil {
			return err
		}
		res, err := tx.Exec(ctx, "UPDATE recovery_point AS p SET cold_until = ? WHERE vault_uuid = ? AND arn = ? AND cold_claim = ? AND "+movable,
			micros(now.Add(coldLease)), m.VaultUUID, m.ARN, m.claim)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n > 0 {
			return err
		}
		return fmt.Errorf("move of %s to cold storage: %w", m.ARN, ErrState)
	})
}

// EndColdMove gives up a claim. After a failure it is a while before the move is tried again.
func (s *Service) EndColdMove(ctx context.Context, m ColdMove, failed bool) error {
	return s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		until, tries := time.Time{}, m.tries
		if failed {
			now, err := tx.Now(ctx)
			if err != nil {
				return err
			}
			pause := min(firstColdPause<<min(tries, 10), lastColdPause)
			until, tries = now.Add(pause), tries+1
		}
		_, err := tx.Exec(ctx, "UPDATE recovery_point SET cold_claim = '', cold_until = ?, cold_tries = ? WHERE vault_uuid = ? AND arn = ? AND cold_claim = ?",
			micros(until), tries, m.VaultUUID, m.ARN, m.claim)
		return err
	})
}

// DropColdClaims ends all claims, whose owners have died.
func (s *Service) DropColdClaims(ctx context.Context) error {
	return s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE recovery_point SET cold_claim = '', cold_until = 0 WHERE cold_claim <> ''")
		return err
	})
}

// MovedTx records that a recovery point is in cold storage, where the store has another name for it. What it was before is
// to be removed, see [Service.Moved]. The error wraps [ErrNotFound], or [ErrState] if the claim is lost or the move is not
// wanted any more.
func (s *Service) MovedTx(ctx context.Context, tx *meta.Tx, m ColdMove, storeID string, storedBytes int64) error {
	p, err := s.lockPoint(ctx, tx, m.VaultUUID, m.ARN)
	if err != nil {
		return err
	}
	unwanted := p.ColdAt.IsZero() || p.Status != Completed && p.Status != Partial
	if p.claim != m.claim || p.StoreID != m.StoreID || !p.ColdSince.IsZero() || unwanted {
		return fmt.Errorf("move of %s to cold storage: %w", m.ARN, ErrState)
	}
	err = exec1(ctx, tx, `UPDATE recovery_point SET cold_since = ?, store_id = ?, warm_store_id = ?, stored_bytes = ?, unique_bytes = NULL, unique_part_bytes = NULL,
		cold_claim = '', cold_until = 0, cold_tries = 0 WHERE vault_uuid = ? AND arn = ?`,
		micros(s.now()), storeID, p.StoreID, storedBytes, p.VaultUUID, p.ARN)
	if err != nil {
		return err
	}
	if err := s.touch(ctx, tx, p.VaultUUID, p.ARN); err != nil {
		return err
	}
	if err := s.OutdateTx(ctx, tx, p.VaultUUID); err != nil {
		return err
	}
	p.ColdSince = s.now()
	return s.announce(ctx, tx, events.PointChange, p, string(p.Status), backupapi.BackupVaultEventRecoveryPointModified)
}

// Leftover is what a recovery point was in the store before it was moved to cold storage.
type Leftover struct {
	VaultUUID, ARN string
	StoreID        string
}

// Moved returns what is left of recovery points that were moved; nothing needs it.
func (s *Service) Moved(ctx context.Context) (left []Leftover, err error) {
	err = s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		points, err := selectPoints(ctx, tx, " WHERE p.warm_store_id <> '' ORDER BY p.vault_uuid, p.arn")
		left = nil
		for _, p := range points {
			left = append(left, Leftover{p.VaultUUID, p.ARN, p.warmID})
		}
		return err
	})
	return left, err
}

// LeftoverGoneTx records that what a recovery point was is removed.
func (s *Service) LeftoverGoneTx(ctx context.Context, tx *meta.Tx, l Leftover) error {
	if err := s.OutdateTx(ctx, tx, l.VaultUUID); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "UPDATE recovery_point SET warm_store_id = '' WHERE vault_uuid = ? AND arn = ? AND warm_store_id = ?",
		l.VaultUUID, l.ARN, l.StoreID)
	return err
}

// ParentsToCold moves the recovery points of groups to cold storage that are due and have no warm child left; they have no
// data.
func (s *Service) ParentsToCold(ctx context.Context) error {
	return s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		due, err := selectPoints(ctx, tx, " WHERE "+movable+` AND p.is_parent = TRUE AND p.cold_at <= ? AND NOT EXISTS (
			SELECT 1 FROM recovery_point c WHERE c.vault_uuid = p.vault_uuid AND c.parent_arn = p.arn AND c.cold_since = 0
			AND c.status <> 'DELETING') ORDER BY p.vault_uuid, p.arn`, micros(s.now()))
		if err != nil {
			return err
		}
		for _, p := range due {
			if _, err := s.LockTx(ctx, tx, p.VaultUUID); err != nil {
				return err
			}
			p.ColdSince = s.now()
			_, err := tx.Exec(ctx, "UPDATE recovery_point SET cold_since = ? WHERE vault_uuid = ? AND arn = ? AND cold_since = 0",
				micros(p.ColdSince), p.VaultUUID, p.ARN)
			if err == nil {
				err = s.touch(ctx, tx, p.VaultUUID, p.ARN)
			}
			if err == nil {
				err = s.announce(ctx, tx, events.PointChange, p, string(p.Status), backupapi.BackupVaultEventRecoveryPointModified)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}
