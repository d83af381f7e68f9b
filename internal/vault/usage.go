package vault

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/lockfast/lockfast/arn"
	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/repo"
)

// Store keeps the data of vaults.
type Store interface {
	// Usage measures a vault; it is zero for one that has nothing in the store yet.
	Usage(ctx context.Context, vaultUUID string) (repo.Usage, error)
	// Coverage tells what verifications have read within a time, and what damage is known.
	Coverage(ctx context.Context, vaultUUID string, within time.Duration) (repo.Coverage, error)
	// Reachable is nil if a vault's data can be read and changed now, and for a vault that has none yet.
	Reachable(ctx context.Context, vaultUUID string) error
}

// GetVaultUsage answers how much a vault stores.
func (s *Service) GetVaultUsage(ctx context.Context, in *lockfastapi.GetVaultUsageInput) (*lockfastapi.GetVaultUsageOutput, error) {
	v, err := s.named(ctx, caller.From(ctx), in.BackupVaultName)
	if err != nil {
		return nil, err
	}
	u, err := s.store.Usage(ctx, v.UUID)
	if err != nil {
		return nil, fmt.Errorf("measure vault %s: %w", v.Name, err)
	}
	return &lockfastapi.GetVaultUsageOutput{
		PhysicalBytes: u.PhysicalBytes, LiveBytes: u.LiveBytes, DeadBytes: u.DeadBytes,
		RecoveryPoints: v.Points, LogicalBytes: u.LogicalBytes,
	}, nil
}

// SetSizes records what the store computed of the recovery points of a vault. Those it does not know are left alone.
func (s *Service) SetSizes(ctx context.Context, vaultUUID string, sizes map[repo.PointID]repo.Sizes) error {
	points, err := s.changedSizes(ctx, vaultUUID, sizes)
	if err != nil {
		return err
	}
	for len(points) > 0 {
		n := min(len(points), sweepBatch)
		err := s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
			for _, p := range points[:n] {
				_, err := tx.Exec(ctx, "UPDATE recovery_point SET stored_bytes = ?, unique_bytes = ? WHERE vault_uuid = ? AND arn = ?",
					p.StoredBytes, *p.UniqueBytes, p.VaultUUID, p.ARN)
				if err != nil {
					return fmt.Errorf("record size of %s: %w", p.ARN, err)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		points = points[n:]
	}
	return nil
}

// changedSizes returns the recovery points of a vault with new sizes, where they differ from the recorded ones.
func (s *Service) changedSizes(ctx context.Context, vaultUUID string, sizes map[repo.PointID]repo.Sizes) (changed []Point, err error) {
	err = s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		changed = nil
		points, err := selectPoints(ctx, tx, " WHERE p.vault_uuid = ? AND p.store_id <> ''", vaultUUID)
		for _, p := range points {
			z, ok := sizes[repo.PointID(p.StoreID)]
			if !ok || p.UniqueBytes != nil && *p.UniqueBytes == z.Unique && p.StoredBytes == z.Referenced {
				continue
			}
			p.StoredBytes, p.UniqueBytes = z.Referenced, &z.Unique
			changed = append(changed, p)
		}
		return err
	})
	return changed, err
}

// Parent returns the newest recovery point of a resource in a vault, out of cold storage, that another one can be captured against; false if
// there is none.
func (s *Service) Parent(ctx context.Context, vaultUUID, resourceARN string) (p Point, ok bool, err error) {
	err = s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		found, err := selectPoints(ctx, tx, ` WHERE p.vault_uuid = ? AND p.resource_arn = ? AND p.status = 'COMPLETED' AND p.cold_since = 0
			ORDER BY p.created_at DESC, p.arn DESC LIMIT 1`, vaultUUID, resourceARN)
		if ok = len(found) > 0; ok {
			p = found[0]
		}
		return err
	})
	return p, ok, err
}

// TaggableTx reports whether the ARN names a vault of the account, or a recovery point in one, and locks the vault's row,
// so that it is still there when the caller has changed its tags.
func (s *Service) TaggableTx(ctx context.Context, tx *meta.Tx, account, name string) (bool, error) {
	if region, vault, ok := parseVaultARN(name, account); ok {
		_, err := byName(ctx, tx, account, region, vault, tx.ForUpdate())
		if _, missing := errors.AsType[*backupapi.ResourceNotFoundException](err); missing {
			return false, nil
		}
		return err == nil, err
	}
	points, err := selectPoints(ctx, tx, " WHERE p.account = ? AND p.arn = ?", account, name)
	if err != nil || len(points) == 0 {
		return false, err
	}
	if _, err = s.lockPoint(ctx, tx, points[0].VaultUUID, name); errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// parseVaultARN returns the region and the name of a vault of an account.
func parseVaultARN(name, account string) (region, vault string, ok bool) {
	part := strings.SplitN(name, ":", 7)
	if len(part) != 7 || part[5] != "backup-vault" || name != arn.Vault(account, part[3], part[6]) {
		return "", "", false
	}
	return part[3], part[6], true
}
