package vault

import (
	"context"
	"maps"

	"github.com/google/uuid"

	"github.com/lockfast/lockfast/arn"
	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/events"
	"github.com/lockfast/lockfast/internal/meta"
)

// DescribeRecoveryPoint answers the fields of a recovery point.
func (s *Service) DescribeRecoveryPoint(ctx context.Context, in *backupapi.DescribeRecoveryPointInput) (*backupapi.DescribeRecoveryPointOutput, error) {
	p, err := s.view(ctx, in.BackupVaultAccountId, in.BackupVaultName, in.RecoveryPointArn)
	if err != nil {
		return nil, err
	}
	return describe(p), nil
}

// view reads the recovery point that a reading operation names.
func (s *Service) view(ctx context.Context, account *string, name, arn string) (p Point, err error) {
	if err := ownAccount(caller.From(ctx), account); err != nil {
		return p, err
	}
	if err := checkARN(arn); err != nil {
		return p, err
	}
	err = s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		_, p, err = s.read(ctx, tx, name, arn, "")
		return err
	})
	return p, err
}

func describe(p Point) *backupapi.DescribeRecoveryPointOutput {
	return &backupapi.DescribeRecoveryPointOutput{
		RecoveryPointArn:    &p.ARN,
		BackupVaultName:     &p.VaultName,
		BackupVaultArn:      new(arn.Vault(p.Account, p.Region, p.VaultName)),
		ResourceArn:         &p.ResourceARN,
		ResourceType:        &p.ResourceType,
		ResourceName:        some(p.ResourceName),
		IamRoleArn:          &p.RoleARN,
		Status:              &p.Status,
		StatusMessage:       p.statusMessage(),
		CreationDate:        &p.CreatedAt,
		InitiationDate:      &p.InitiatedAt,
		CompletionDate:      optional(p.CompletedAt),
		LastRestoreTime:     optional(p.RestoredAt),
		BackupSizeInBytes:   &p.LogicalBytes,
		Lifecycle:           lifecycle(p),
		CalculatedLifecycle: calculated(p),
		IsEncrypted:         new(true),
		EncryptionKeyArn:    some(p.KeyARN),
		EncryptionKeyType:   p.kind(),
		IsParent:            &p.IsParent,
		StorageClass:        new(p.class()),

		CreatedBy:                 p.CreatedBy,
		ParentRecoveryPointArn:    some(p.ParentARN),
		SourceBackupVaultArn:      some(p.SourceVaultARN),
		CompositeMemberIdentifier: some(p.MemberID),
		VaultType:                 new(backupapi.VaultTypeBackupVault),
	}
}

// GetRecoveryPointRestoreMetadata answers what the recovery point can be restored with.
func (s *Service) GetRecoveryPointRestoreMetadata(ctx context.Context, in *backupapi.GetRecoveryPointRestoreMetadataInput) (*backupapi.GetRecoveryPointRestoreMetadataOutput, error) {
	p, err := s.view(ctx, in.BackupVaultAccountId, in.BackupVaultName, in.RecoveryPointArn)
	if err != nil {
		return nil, err
	}
	if p.IsParent { // the operation declares no InvalidRequestException
		return nil, backupapi.InvalidParameterValueExceptionf("Recovery point %s is composite and cannot be restored itself", p.ARN)
	}
	if p.Status == Creating {
		return nil, backupapi.InvalidParameterValueExceptionf("Recovery point %s cannot be restored while its status is %s", p.ARN, p.Status)
	}
	metadata := map[string]string{"aws:backup:request-id": uuid.NewString()}
	maps.Copy(metadata, p.Metadata)
	return &backupapi.GetRecoveryPointRestoreMetadataOutput{
		BackupVaultArn:   new(arn.Vault(p.Account, p.Region, p.VaultName)),
		RecoveryPointArn: &p.ARN,
		ResourceType:     &p.ResourceType,
		RestoreMetadata:  metadata,
	}, nil
}

// UpdateRecoveryPointLifecycle replaces the lifecycle of a recovery point; what is left out becomes absent. Times count
// from its creation.
func (s *Service) UpdateRecoveryPointLifecycle(ctx context.Context, in *backupapi.UpdateRecoveryPointLifecycleInput) (*backupapi.UpdateRecoveryPointLifecycleOutput, error) {
	if err := checkARN(in.RecoveryPointArn); err != nil {
		return nil, err
	}
	if in.Lifecycle == nil {
		return nil, backupapi.MissingParameterValueExceptionf("Lifecycle is missing")
	}
	keep, err := retention(in.Lifecycle)
	if err != nil {
		return nil, err
	}
	var p Point
	err = s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		_, p, err = s.read(ctx, tx, in.BackupVaultName, in.RecoveryPointArn, "")
		return err
	})
	if err == nil {
		err = s.writable(ctx, p.VaultUUID, func(format string, args ...any) error {
			return backupapi.InvalidRequestExceptionf(format, args...)
		})
	}
	if err != nil {
		return nil, err
	}
	err = s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		_, p, err = s.read(ctx, tx, in.BackupVaultName, in.RecoveryPointArn, tx.ForUpdate())
		if err != nil {
			return err
		}
		if err := p.checkColdChange(in.Lifecycle); err != nil {
			return err
		}
		p.DeleteAfterDays, p.DeleteAt = keep, deleteAt(p.CreatedAt, keep)
		p.ColdAfterDays = s.ColdAfterDays(in.Lifecycle, p.ResourceType)
		p.ColdAt = deleteAt(p.CreatedAt, p.ColdAfterDays)
		return s.setLifecycle(ctx, tx, p)
	})
	if err == nil {
		err = s.durable(ctx, p.VaultUUID, p.ARN)
	}
	if err != nil {
		return nil, err
	}
	return &backupapi.UpdateRecoveryPointLifecycleOutput{
		BackupVaultArn:      new(arn.Vault(p.Account, p.Region, p.VaultName)),
		RecoveryPointArn:    &p.ARN,
		Lifecycle:           lifecycle(p),
		CalculatedLifecycle: calculated(p),
	}, nil
}

func (s *Service) setLifecycle(ctx context.Context, tx *meta.Tx, p Point) error {
	if p.Continuous {
		return backupapi.InvalidRequestExceptionf("The lifecycle of recovery point %s cannot be changed: it is a continuous backup", p.ARN)
	}
	switch p.Status {
	case Completed, Partial:
	default:
		return backupapi.InvalidRequestExceptionf("The lifecycle of recovery point %s cannot be changed while its status is %s",
			p.ARN, p.Status)
	}
	if !p.DeleteAt.IsZero() && p.DeleteAt.Before(s.now()) {
		return backupapi.InvalidParameterValueExceptionf("Invalid lifecycle. DeleteAfterDays puts the deletion into the past: %s",
			p.DeleteAt.Format("2006-01-02T15:04:05Z"))
	}
	if err := s.checkParentLifecycle(ctx, tx, p); err != nil {
		return err
	}
	err := exec1(ctx, tx, "UPDATE recovery_point SET delete_after_days = ?, delete_at = ?, cold_after_days = ?, cold_at = ? WHERE vault_uuid = ? AND arn = ?",
		p.DeleteAfterDays, micros(p.DeleteAt), p.ColdAfterDays, micros(p.ColdAt), p.VaultUUID, p.ARN)
	if err == nil {
		err = s.touch(ctx, tx, p.VaultUUID, p.ARN)
	}
	if err != nil {
		return err
	}
	err = s.announce(ctx, tx, events.PointChange, p, string(p.Status), backupapi.BackupVaultEventRecoveryPointModified)
	if err != nil {
		return err
	}
	return s.adjust(ctx, tx, p.VaultUUID, p.ParentARN)
}
