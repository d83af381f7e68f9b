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
	// Measure measures a vault and its recovery points; it is zero for a vault that has nothing in the store yet. held says
	// which recovery points cannot be deleted now.
	Measure(ctx context.Context, vaultUUID string, held func(repo.PointID) bool) (repo.Measure, error)
	// WouldFree says what deleting recovery points of a vault would free, all together.
	WouldFree(ctx context.Context, vaultUUID string, points []repo.PointID) (repo.Freed, error)
	// Coverage tells what verifications have read within a time, and what damage is known.
	Coverage(ctx context.Context, vaultUUID string, within time.Duration) (repo.Coverage, error)
	// Reachable is nil if a vault's data can be read and changed now, and for a vault that has none yet.
	Reachable(ctx context.Context, vaultUUID string) error
}

// GetVaultUsage answers how much a vault stores now. The vault is measured, unless nothing has changed since it was.
func (s *Service) GetVaultUsage(ctx context.Context, in *lockfastapi.GetVaultUsageInput) (*lockfastapi.GetVaultUsageOutput, error) {
	v, err := s.named(ctx, caller.From(ctx), in.BackupVaultName)
	if err != nil {
		return nil, err
	}
	held, err := s.Held(ctx, v.UUID)
	if err != nil {
		return nil, err
	}
	m, err := s.store.Measure(ctx, v.UUID, held)
	if err != nil {
		return nil, fmt.Errorf("measure vault %s: %w", v.Name, err)
	}
	return &lockfastapi.GetVaultUsageOutput{
		PhysicalBytes: m.PhysicalBytes, LiveBytes: m.LiveBytes, DeadBytes: m.DeadBytes, DeadPartBytes: m.DeadPartBytes,
		LockedBytes: m.LockedBytes, RecoveryPoints: v.Points, LogicalBytes: m.LogicalBytes, Epoch: int64(m.Epoch), MeasuredAt: s.now(),
		RetainedBytes: m.RetainedBytes, ColdLiveBytes: m.Cold.LiveBytes, ColdDeadBytes: m.Cold.DeadBytes, ColdDeadPartBytes: m.Cold.DeadPartBytes,
	}, nil
}

// held reports whether a recovery point must not be deleted, whoever asks and whatever its status. What could hold one,
// a vault lock or a legal hold, does not exist in this version, so it is false; all that depends on holds asks here.
func held(Point) bool { return false }

// Held returns which recovery points of a vault are held, by their names in the store.
func (s *Service) Held(ctx context.Context, vaultUUID string) (func(repo.PointID) bool, error) {
	holds := map[repo.PointID]bool{}
	err := s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		clear(holds)
		points, err := selectPoints(ctx, tx, " WHERE p.vault_uuid = ? AND p.store_id <> ''", vaultUUID)
		for _, p := range points {
			if held(p) {
				holds[repo.PointID(p.StoreID)] = true
			}
		}
		return err
	})
	return func(id repo.PointID) bool { return holds[id] }, err
}

// Usage is what was last recorded of a vault.
type Usage struct {
	repo.Usage // but Points, which are those of the vault now, and Cold.Points, which are not recorded
	Account    string
	Region     string
	Vault      string // its name
	UUID       string
	Epoch      uint64
	MeasuredAt time.Time
}

// Usages returns what is recorded of all vaults that were measured.
func (s *Service) Usages(ctx context.Context) (all []Usage, err error) {
	err = s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		all = nil
		rows, err := tx.Query(ctx, `SELECT v.account, v.region, v.name, v.uuid, v.point_count, u.epoch, u.measured_at, u.physical_bytes, u.live_bytes,
			u.dead_bytes, u.dead_part_bytes, u.locked_bytes, u.logical_bytes, u.cold_live_bytes, u.cold_dead_bytes, u.cold_dead_part_bytes, u.retained_bytes
			FROM vault_usage u JOIN vault v ON v.uuid = u.vault_uuid ORDER BY v.account, v.region, v.name`)
		if err != nil {
			return fmt.Errorf("list usage of vaults: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var u Usage
			err := rows.Scan(&u.Account, &u.Region, &u.Vault, &u.UUID, &u.Points, &u.Epoch, at{&u.MeasuredAt}, &u.PhysicalBytes, &u.LiveBytes,
				&u.DeadBytes, &u.DeadPartBytes, &u.LockedBytes, &u.LogicalBytes, &u.Cold.LiveBytes, &u.Cold.DeadBytes, &u.Cold.DeadPartBytes, &u.RetainedBytes)
			if err != nil {
				return fmt.Errorf("list usage of vaults: %w", err)
			}
			all = append(all, u)
		}
		return rows.Err()
	})
	return all, err
}

// SetMeasure records what was measured of a vault and its recovery points after v was read: what has changed since then leaves
// them outdated. What is not there any more is left out. It does nothing if somebody records a newer measure.
func (s *Service) SetMeasure(ctx context.Context, v Vault, m repo.Measure) error {
	newest, err := s.recording(ctx, v, func(context.Context, *meta.Tx) error { return nil })
	if err != nil || !newest {
		return err
	}
	points, err := s.changedSizes(ctx, v.UUID, m.Sizes)
	for err == nil && newest && len(points) > 0 {
		n := min(len(points), sweepBatch)
		newest, err = s.recording(ctx, v, func(ctx context.Context, tx *meta.Tx) error { return setSizes(ctx, tx, points[:n]) })
		points = points[n:]
	}
	if err == nil && newest {
		_, err = s.recording(ctx, v, func(ctx context.Context, tx *meta.Tx) error { return s.setUsage(ctx, tx, v, m) })
	}
	return err
}

// recording runs a transaction that records a part of a measure, unless a newer one is being recorded or the vault is gone.
func (s *Service) recording(ctx context.Context, v Vault, fn func(context.Context, *meta.Tx) error) (newest bool, err error) {
	err = s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		res, err := tx.Exec(ctx, "UPDATE vault SET sizing = ? WHERE uuid = ? AND sizing <= ?", v.Changes, v.UUID, v.Changes)
		if err != nil {
			return fmt.Errorf("record measure of vault %s: %w", v.UUID, err)
		}
		n, err := res.RowsAffected()
		if newest = n == 1; err != nil || !newest {
			return err
		}
		return fn(ctx, tx)
	})
	return newest, err
}

func setSizes(ctx context.Context, tx *meta.Tx, points []Point) error {
	for _, p := range points {
		_, err := tx.Exec(ctx, `UPDATE recovery_point SET stored_bytes = ?, unique_bytes = ?, unique_part_bytes = ?
			WHERE vault_uuid = ? AND arn = ?`, p.StoredBytes, *p.UniqueBytes, *p.UniquePartBytes, p.VaultUUID, p.ARN)
		if err != nil {
			return fmt.Errorf("record size of %s: %w", p.ARN, err)
		}
	}
	return nil
}

func (s *Service) setUsage(ctx context.Context, tx *meta.Tx, v Vault, m repo.Measure) error {
	_, err := tx.Exec(ctx, `INSERT INTO vault_usage (vault_uuid, epoch, measured_at, physical_bytes, live_bytes, dead_bytes, dead_part_bytes,
		locked_bytes, logical_bytes, cold_live_bytes, cold_dead_bytes, cold_dead_part_bytes, retained_bytes, changes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (vault_uuid) DO UPDATE SET epoch = excluded.epoch, measured_at = excluded.measured_at,
		physical_bytes = excluded.physical_bytes, live_bytes = excluded.live_bytes, dead_bytes = excluded.dead_bytes,
		dead_part_bytes = excluded.dead_part_bytes, locked_bytes = excluded.locked_bytes, logical_bytes = excluded.logical_bytes,
		cold_live_bytes = excluded.cold_live_bytes, cold_dead_bytes = excluded.cold_dead_bytes,
		cold_dead_part_bytes = excluded.cold_dead_part_bytes, retained_bytes = excluded.retained_bytes, changes = excluded.changes`,
		v.UUID, int64(m.Epoch), micros(s.now()), m.PhysicalBytes, m.LiveBytes, m.DeadBytes, m.DeadPartBytes, m.LockedBytes, m.LogicalBytes,
		m.Cold.LiveBytes, m.Cold.DeadBytes, m.Cold.DeadPartBytes, m.RetainedBytes, v.Changes)
	if err != nil {
		return fmt.Errorf("record usage of vault %s: %w", v.UUID, err)
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
			if !ok || is(p.UniqueBytes, z.Unique) && is(p.UniquePartBytes, z.UniqueParts) && p.StoredBytes == z.Referenced {
				continue
			}
			p.StoredBytes, p.UniqueBytes, p.UniquePartBytes = z.Referenced, &z.Unique, &z.UniqueParts
			changed = append(changed, p)
		}
		return err
	})
	return changed, err
}

func is(recorded *int64, n int64) bool { return recorded != nil && *recorded == n }

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
