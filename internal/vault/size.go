package vault

import (
	"context"

	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
)

// sized is a recovery point as Lockfast's own operations answer it.
func (s *Service) sized(ctx context.Context, tx *meta.Tx, p Point) (lockfastapi.RecoveryPoint, error) {
	z, err := sizesOf(ctx, tx, p)
	return lockfastapi.RecoveryPoint{
		RecoveryPointArn: p.ARN, ResourceArn: p.ResourceARN, ResourceName: some(p.ResourceName),
		ResourceType: p.ResourceType, BackupVaultName: p.VaultName, Status: string(p.Status), StorageClass: string(p.class()),
		StatusMessage: some(p.StatusMessage), CreationDate: p.CreatedAt, LogicalBytes: z.logical,
		StoredBytes: z.stored, UniqueBytes: z.unique, UniquePartBytes: z.parts, IsParent: p.IsParent,
		ParentRecoveryPointArn: some(p.ParentARN), CompositeMemberIdentifier: some(p.MemberID),
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
