package vault

import (
	"context"
	"slices"
	"strconv"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
)

// newest is the order of all lists of recovery points. The vault only matters between copies that share an ARN.
const newest = " ORDER BY p.created_at DESC, p.arn DESC, p.vault_uuid DESC LIMIT ?"

// olderThan limits a list in the order newest to what comes after a page.
func (f *filter) olderThan(page *restjson.Page) error {
	if page.After == nil {
		return nil
	}
	created, err := strconv.ParseInt(page.After[0], 10, 64)
	if err != nil {
		return err
	}
	f.add("(p.created_at, p.arn, p.vault_uuid) < (?, ?, ?)", created, page.After[1], page.After[2])
	return nil
}

// list reads a page of recovery points and the token of the next one.
func (s *Service) list(ctx context.Context, f filter, page *restjson.Page) (points []Point, next *string, err error) {
	if err := f.olderThan(page); err != nil {
		return nil, nil, err
	}
	err = s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		points, err = selectPoints(ctx, tx, f.where()+newest, append(f.args, page.Limit+1)...)
		return err
	})
	if len(points) > page.Limit {
		points = points[:page.Limit]
		last := points[page.Limit-1]
		next = page.Next(strconv.FormatInt(micros(last.CreatedAt), 10), last.ARN, last.VaultUUID)
	}
	return points, next, err
}

// ListRecoveryPointsByBackupVault lists the recovery points of a vault, newest first.
func (s *Service) ListRecoveryPointsByBackupVault(ctx context.Context, in *backupapi.ListRecoveryPointsByBackupVaultInput) (*backupapi.ListRecoveryPointsByBackupVaultOutput, error) {
	c := caller.From(ctx)
	if err := ownAccount(c, in.BackupVaultAccountId); err != nil {
		return nil, err
	}
	if err := checkFilters(in.ByResourceArn, in.ByParentRecoveryPointArn); err != nil {
		return nil, err
	}
	page, err := restjson.OpenPage(ctx, s.pager, backupapi.ListRecoveryPointsByBackupVault, in)
	if err != nil {
		return nil, err
	}
	v, err := s.named(ctx, c, in.BackupVaultName)
	if err != nil {
		return nil, err
	}
	out := &backupapi.ListRecoveryPointsByBackupVaultOutput{RecoveryPoints: []backupapi.RecoveryPointByBackupVault{}}
	f := filter{}
	f.add("p.vault_uuid = ?", v.UUID)
	if in.ByBackupPlanId != nil {
		f.add("p.plan_id = ? AND p.plan_id <> ''", *in.ByBackupPlanId)
	}
	if in.ByParentRecoveryPointArn != nil {
		f.add("p.parent_arn = ? AND p.parent_arn <> ''", *in.ByParentRecoveryPointArn)
	}
	if in.ByResourceArn != nil {
		f.add("p.resource_arn = ?", *in.ByResourceArn)
	}
	if in.ByResourceType != nil {
		f.add("p.resource_type = ?", *in.ByResourceType)
	}
	if in.ByCreatedBefore != nil {
		f.add("p.created_at < ?", meta.Micros(*in.ByCreatedBefore))
	}
	if in.ByCreatedAfter != nil {
		f.add("p.created_at > ?", meta.Micros(*in.ByCreatedAfter))
	}
	points, next, err := s.list(ctx, f, page)
	if err != nil {
		return nil, err
	}
	out.NextToken = next
	for _, p := range points {
		out.RecoveryPoints = append(out.RecoveryPoints, inVault(p))
	}
	return out, nil
}

// named reads the vault that a list is about; a missing one is an API error.
func (s *Service) named(ctx context.Context, c caller.Caller, name string) (v Vault, err error) {
	err = s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		v, err = byName(ctx, tx, c.Account, c.Region, name, "")
		return err
	})
	return v, err
}

func inVault(p Point) backupapi.RecoveryPointByBackupVault {
	d := describe(p)
	return backupapi.RecoveryPointByBackupVault{
		RecoveryPointArn: d.RecoveryPointArn, BackupVaultName: d.BackupVaultName, BackupVaultArn: d.BackupVaultArn,
		ResourceArn: d.ResourceArn, ResourceType: d.ResourceType, ResourceName: d.ResourceName, IamRoleArn: d.IamRoleArn,
		Status: d.Status, StatusMessage: d.StatusMessage, CreationDate: d.CreationDate, InitiationDate: d.InitiationDate,
		CompletionDate: d.CompletionDate, LastRestoreTime: d.LastRestoreTime, BackupSizeInBytes: d.BackupSizeInBytes,
		Lifecycle: d.Lifecycle, CalculatedLifecycle: d.CalculatedLifecycle, IsEncrypted: d.IsEncrypted,
		EncryptionKeyArn: d.EncryptionKeyArn, EncryptionKeyType: d.EncryptionKeyType, IsParent: d.IsParent, VaultType: d.VaultType,
		ParentRecoveryPointArn: d.ParentRecoveryPointArn, CompositeMemberIdentifier: d.CompositeMemberIdentifier,
		SourceBackupVaultArn: d.SourceBackupVaultArn, CreatedBy: d.CreatedBy,
	}
}

// ListRecoveryPointsByResource lists the recovery points of a resource in all vaults of the region, newest first.
// Lockfast knows of no backups but its own, so managedByAWSBackupOnly makes no difference.
func (s *Service) ListRecoveryPointsByResource(ctx context.Context, in *backupapi.ListRecoveryPointsByResourceInput) (*backupapi.ListRecoveryPointsByResourceOutput, error) {
	if err := checkARN(in.ResourceArn); err != nil {
		return nil, err
	}
	page, err := restjson.OpenPage(ctx, s.pager, backupapi.ListRecoveryPointsByResource, in)
	if err != nil {
		return nil, err
	}
	c := caller.From(ctx)
	f := filter{}
	f.add("p.account = ? AND p.region = ? AND p.resource_arn = ?", c.Account, c.Region, in.ResourceArn)
	points, next, err := s.list(ctx, f, page)
	if err != nil {
		return nil, err
	}
	out := &backupapi.ListRecoveryPointsByResourceOutput{RecoveryPoints: []backupapi.RecoveryPointByResource{}, NextToken: next}
	for _, p := range points {
		d := describe(p)
		out.RecoveryPoints = append(out.RecoveryPoints, backupapi.RecoveryPointByResource{
			RecoveryPointArn: d.RecoveryPointArn, BackupVaultName: d.BackupVaultName, CreationDate: d.CreationDate,
			Status: d.Status, StatusMessage: d.StatusMessage, BackupSizeBytes: d.BackupSizeInBytes,
			EncryptionKeyArn: d.EncryptionKeyArn, EncryptionKeyType: d.EncryptionKeyType, IsParent: d.IsParent, ResourceName: d.ResourceName, VaultType: d.VaultType,
			ParentRecoveryPointArn: d.ParentRecoveryPointArn,
		})
	}
	return out, nil
}

// ListRecoveryPoints lists the recovery points of the region with their sizes, newest first.
func (s *Service) ListRecoveryPoints(ctx context.Context, in *lockfastapi.ListRecoveryPointsInput) (*lockfastapi.ListRecoveryPointsOutput, error) {
	page, err := restjson.OpenPage(ctx, s.pager, lockfastapi.ListRecoveryPoints, in)
	if err != nil {
		return nil, err
	}
	c := caller.From(ctx)
	f := filter{}
	if in.BackupVaultName != nil {
		v, err := s.named(ctx, c, *in.BackupVaultName)
		if err != nil {
			return nil, err
		}
		f.add("p.vault_uuid = ?", v.UUID)
	} else {
		f.add("p.account = ? AND p.region = ?", c.Account, c.Region)
	}
	if in.RecoveryPointArn != nil {
		f.add("p.arn = ?", *in.RecoveryPointArn)
	}
	if in.ResourceArn != nil {
		f.add("p.resource_arn = ?", *in.ResourceArn)
	}
	if err := s.settleSizes(ctx, c); err != nil {
		return nil, err
	}
	points, next, err := s.list(ctx, f, page)
	if err != nil {
		return nil, err
	}
	out := &lockfastapi.ListRecoveryPointsOutput{RecoveryPoints: []lockfastapi.RecoveryPoint{}, NextToken: next}
	err = s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		out.RecoveryPoints = out.RecoveryPoints[:0]
		outdated, err := outdatedVaults(ctx, tx, c)
		if err != nil {
			return err
		}
		for _, p := range points {
			sized, err := s.sized(ctx, tx, p)
			if err != nil {
				return err
			}
			sized.SizesOutdated = slices.Contains(outdated, p.VaultUUID)
			out.RecoveryPoints = append(out.RecoveryPoints, sized)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
