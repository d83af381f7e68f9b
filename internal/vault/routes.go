package vault

import (
	"github.com/lockfast/lockfast/arn"
	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/restjson"
)

// Routes registers the operations of AWS Backup and of Lockfast.
func (s *Service) Routes(backup, own *restjson.Router) {
	restjson.Handle(backup, backupapi.CreateBackupVault, s.CreateBackupVault, creates)
	restjson.Handle(backup, backupapi.DescribeBackupVault, s.DescribeBackupVault,
		func(c caller.Caller, in *backupapi.DescribeBackupVaultInput) []restjson.Access {
			return onVault(c, "backup:DescribeBackupVault", in.BackupVaultName)
		})
	restjson.Handle(backup, backupapi.ListBackupVaults, s.ListBackupVaults,
		func(caller.Caller, *backupapi.ListBackupVaultsInput) []restjson.Access {
			return caller.OnAll("backup:ListBackupVaults")
		})
	restjson.Handle(backup, backupapi.DeleteBackupVault, s.DeleteBackupVault,
		func(c caller.Caller, in *backupapi.DeleteBackupVaultInput) []restjson.Access {
			return onVault(c, "backup:DeleteBackupVault", in.BackupVaultName)
		})
	s.policyRoutes(backup)
	s.pointRoutes(backup)
	restjson.Handle(own, lockfastapi.ListRecoveryPoints, s.ListRecoveryPoints,
		func(caller.Caller, *lockfastapi.ListRecoveryPointsInput) []restjson.Access {
			return caller.OnAll("lockfast:ListRecoveryPoints")
		})
	restjson.Handle(own, lockfastapi.DescribeDeletion, s.DescribeDeletion,
		func(caller.Caller, *lockfastapi.DescribeDeletionInput) []restjson.Access {
			return caller.OnAll("lockfast:DescribeDeletion")
		})
	restjson.Handle(own, lockfastapi.GetVaultUsage, s.GetVaultUsage,
		func(c caller.Caller, in *lockfastapi.GetVaultUsageInput) []restjson.Access {
			return onVault(c, "lockfast:GetVaultUsage", in.BackupVaultName)
		})
	restjson.Handle(own, lockfastapi.GetVaultVerification, s.GetVaultVerification,
		func(c caller.Caller, in *lockfastapi.GetVaultVerificationInput) []restjson.Access {
			return onVault(c, "lockfast:GetVaultVerification", in.BackupVaultName)
		})
}

func (s *Service) policyRoutes(r *restjson.Router) {
	restjson.Handle(r, backupapi.PutBackupVaultAccessPolicy, s.PutBackupVaultAccessPolicy,
		func(c caller.Caller, in *backupapi.PutBackupVaultAccessPolicyInput) []restjson.Access {
			return onVault(c, "backup:PutBackupVaultAccessPolicy", in.BackupVaultName)
		})
	restjson.Handle(r, backupapi.GetBackupVaultAccessPolicy, s.GetBackupVaultAccessPolicy,
		func(c caller.Caller, in *backupapi.GetBackupVaultAccessPolicyInput) []restjson.Access {
			return onVault(c, "backup:GetBackupVaultAccessPolicy", in.BackupVaultName)
		})
	restjson.Handle(r, backupapi.DeleteBackupVaultAccessPolicy, s.DeleteBackupVaultAccessPolicy,
		func(c caller.Caller, in *backupapi.DeleteBackupVaultAccessPolicyInput) []restjson.Access {
			return onVault(c, "backup:DeleteBackupVaultAccessPolicy", in.BackupVaultName)
		})
}

func (s *Service) pointRoutes(r *restjson.Router) {
	restjson.Handle(r, backupapi.DescribeRecoveryPoint, s.DescribeRecoveryPoint,
		func(c caller.Caller, in *backupapi.DescribeRecoveryPointInput) []restjson.Access {
			return onPoint(c, "backup:DescribeRecoveryPoint", in.BackupVaultName, in.RecoveryPointArn)
		})
	restjson.Handle(r, backupapi.GetRecoveryPointRestoreMetadata, s.GetRecoveryPointRestoreMetadata,
		func(c caller.Caller, in *backupapi.GetRecoveryPointRestoreMetadataInput) []restjson.Access {
			return onPoint(c, "backup:GetRecoveryPointRestoreMetadata", in.BackupVaultName, in.RecoveryPointArn)
		})
	restjson.Handle(r, backupapi.UpdateRecoveryPointLifecycle, s.UpdateRecoveryPointLifecycle,
		func(c caller.Caller, in *backupapi.UpdateRecoveryPointLifecycleInput) []restjson.Access {
			return onPoint(c, "backup:UpdateRecoveryPointLifecycle", in.BackupVaultName, in.RecoveryPointArn)
		})
	restjson.Handle(r, backupapi.DeleteRecoveryPoint, s.DeleteRecoveryPoint,
		func(c caller.Caller, in *backupapi.DeleteRecoveryPointInput) []restjson.Access {
			return onPoint(c, "backup:DeleteRecoveryPoint", in.BackupVaultName, in.RecoveryPointArn)
		})
	restjson.Handle(r, backupapi.DisassociateRecoveryPoint, s.DisassociateRecoveryPoint,
		func(c caller.Caller, in *backupapi.DisassociateRecoveryPointInput) []restjson.Access {
			return onPoint(c, "backup:DisassociateRecoveryPoint", in.BackupVaultName, in.RecoveryPointArn)
		})
	restjson.Handle(r, backupapi.DisassociateRecoveryPointFromParent, s.DisassociateRecoveryPointFromParent,
		func(c caller.Caller, in *backupapi.DisassociateRecoveryPointFromParentInput) []restjson.Access {
			return onPoint(c, "backup:DisassociateRecoveryPointFromParent", in.BackupVaultName, in.RecoveryPointArn)
		})
	restjson.Handle(r, backupapi.ListRecoveryPointsByBackupVault, s.ListRecoveryPointsByBackupVault,
		func(c caller.Caller, in *backupapi.ListRecoveryPointsByBackupVaultInput) []restjson.Access {
			return onVault(c, "backup:ListRecoveryPointsByBackupVault", in.BackupVaultName)
		})
	restjson.Handle(r, backupapi.ListRecoveryPointsByResource, s.ListRecoveryPointsByResource,
		func(caller.Caller, *backupapi.ListRecoveryPointsByResourceInput) []restjson.Access {
			return caller.OnAll("backup:ListRecoveryPointsByResource")
		})
}

// creates also asks for the right to make storage and, if a key is named, to use it.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/create-a-vault.html.
func creates(c caller.Caller, in *backupapi.CreateBackupVaultInput) []restjson.Access {
	vault := arn.Vault(c.Account, c.Region, in.BackupVaultName)
	asked := append(caller.Tagging("backup:CreateBackupVault", vault, in.BackupVaultTags), caller.OnAll("backup-storage:MountCapsule")...)
	return append(asked, keyUse(c, in.EncryptionKeyArn)...)
}

func onVault(c caller.Caller, action, name string) []restjson.Access {
	return caller.On(action, arn.Vault(c.Account, c.Region, name))
}

// onPoint is an action on a recovery point, which also answers to the name of its vault.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/create-a-vault-access-policy.html.
func onPoint(c caller.Caller, action, vault, point string) []restjson.Access {
	return caller.On(action, point, arn.Vault(c.Account, c.Region, vault))
}
