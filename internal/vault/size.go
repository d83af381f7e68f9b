package vault

import (
	"context"
	"fmt"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
)

// Sizes computes what recovery points take in the store.
type Sizes interface {
	// Settle computes the sizes of vaults. What cannot be computed now stays outdated.
	Settle(ctx context.Context, vaultUUIDs []string)
}

// OutdateTx counts a change of what a vault holds, in the transaction that makes it. What was measured before, or is being
// measured now, is outdated. A vault that is gone is no error.
func (s *Service) OutdateTx(ctx context.Context, tx *meta.Tx, vaultUUID string) error {
	if _, err := tx.Exec(ctx, "UPDATE vault SET changes = changes + 1 WHERE uuid = ?", vaultUUID); err != nil {
		return fmt.Errorf("outdate sizes of vault %s: %w", vaultUUID, err)
	}
	return nil
}

// Outdate is [Service.OutdateTx] for a change that no transaction has made.
func (s *Service) Outdate(ctx context.Context, vaultUUID string) error {
	return s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error { return s.OutdateTx(ctx, tx, vaultUUID) })
}

// settleSizes computes the sizes of the caller's recovery points that changed, unless that is done in the background.
func (s *Service) settleSizes(ctx context.Context, c caller.Caller) error {
	if s.sizes == nil {
		return nil
	}
	var outdated []string
	err := s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) (err error) {
		outdated, err = outdatedVaults(ctx, tx, c)
		return err
	})
	if err == nil && len(outdated) > 0 {
		s.sizes.Settle(ctx, outdated)
	}
	return err
}

// outdatedVaults returns the vaults of the caller's region that have to be measured anew.
func outdatedVaults(ctx context.Context, tx *meta.Tx, c caller.Caller) (ids []string, err error) {
	rows, err := tx.Query(ctx, `SELECT v.uuid FROM vault v LEFT JOIN vault_usage u ON u.vault_uuid = v.uuid
		WHERE v.account = ? AND v.region = ? AND COALESCE(u.changes, -1) <> v.changes ORDER BY v.uuid`, c.Account, c.Region)
	if err != nil {
		return nil, fmt.Errorf("list vaults to measure: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("list vaults to measure: %w", err)
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// sized is a recovery point as Lockfast's own operations answer it.
func (s *Service) sized(ctx context.Context, tx *meta.Tx, p Point) (lockfastapi.RecoveryPoint, error) {
	z, err := sizesOf(ctx, tx, p)
	return lockfastapi.RecoveryPoint{
		RecoveryPointArn: p.ARN, ResourceArn: p.ResourceARN, ResourceName: some(p.ResourceName),
		ResourceType: p.ResourceType, BackupVaultName: p.VaultName, Status: string(p.Status), StorageClass: string(p.class()),
		StatusMessage: some(p.StatusMessage), CreationDate: p.CreatedAt, LogicalBytes: z.logical,
		StoredBytes: z.stored, UniqueBytes: z.unique, UniquePartBytes: z.parts, IsParent: p.IsParent,
		ParentRecoveryPointArn: some(p.ParentARN), CompositeMemberIdentifier: some(p.MemberID),
		Damage: p.described(),
	}, err
}

// sizes of a recovery point in bytes; nil are those that are not known yet.
type sizes struct{ logical, stored, unique, parts *int64 }

// sizesOf returns the sizes of a recovery point. A parent has no data: its sizes are the sums of its children's, so
// what these share counts several times in stored, and not at all in unique.
func sizesOf(ctx context.Context, tx *meta.Tx, p Point) (sizes, error) {
	if !p.IsParent {
		z := sizes{unique: p.UniqueBytes, parts: p.UniquePartBytes}
		if p.Status != Creating {
			z.logical = &p.LogicalBytes
		}
		if p.UniqueBytes != nil {
			z.stored = &p.StoredBytes
		}
		return z, nil
	}
	children, err := selectPoints(ctx, tx, childrenOf, p.VaultUUID, p.ARN)
	sum := sizes{new(int64), new(int64), new(int64), new(int64)}
	for _, c := range children {
		z, err := sizesOf(ctx, tx, c)
		if err != nil {
			return sum, err
		}
		sum = sizes{plus(sum.logical, z.logical), plus(sum.stored, z.stored), plus(sum.unique, z.unique), plus(sum.parts, z.parts)}
	}
	return sum, err
}

// plus is unknown if one of two numbers is.
func plus(a, b *int64) *int64 {
	if a == nil || b == nil {
		return nil
	}
	return new(*a + *b)
}
