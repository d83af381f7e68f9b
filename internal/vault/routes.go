package vault

import (
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
			return onAll("backup:ListBackupVaults")
		})
	restjson.Handle(backup, backupapi.DeleteBackupVault, s.DeleteBackupVault,
		func(c caller.Caller, in *backupapi.DeleteBackupVaultInput) []restjson.Access {
			return onVault(c, "backup:DeleteBackupVault", in.BackupVaultName)
		})
	s.pointRoutes(backup)
	restjson.Handle(own, lockfastapi.ListRecoveryPoints, s.ListRecoveryPoints,
		func(caller.Caller, *lockfastapi.ListRecoveryPointsInput) []restjson.Access {
			return onAll("lockfast:ListRecoveryPoints")
		})
	restjson.Handle(own, lockfastapi.GetVaultUsage, s.GetVaultUsage,
		func(c caller.Caller, in *lockfastapi.GetVaultUsageInput) []restjson.Access {
			return onVault(c, "lockfast:GetVaultUsage", in.BackupVaultName)
		})
}

func (s *Service) pointRoutes(r *restjson.Router) {
	restjson.Handle(r, backupapi.DescribeRecoveryPoint, s.DescribeRecoveryPoint,
		func(_ caller.Caller, in *backupapi.DescribeRecoveryPointInput) []restjson.Access {
			return on("backup:DescribeRecoveryPoint", in.RecoveryPointArn)
		})
	restjson.Handle(r, backupapi.GetRecoveryPointRestoreMetadata, s.GetRecoveryPointRestoreMetadata,
		func(_ caller.Caller, in *backupapi.GetRecoveryPointRestoreMetadataInput) []restjson.Access {
			return on("backup:GetRecoveryPointRestoreMetadata", in.RecoveryPointArn)
		})
	restjson.Handle(r, backupapi.UpdateRecoveryPointLifecycle, s.UpdateRecoveryPointLifecycle,
		func(_ caller.Caller, in *backupapi.UpdateRecoveryPointLifecycleInput) []restjson.Access {
			return on("backup:UpdateRecoveryPointLifecycle", in.RecoveryPointArn)
		})
	restjson.Handle(r, backupapi.DeleteRecoveryPoint, s.DeleteRecoveryPoint,
		func(_ caller.Caller, in *backupapi.DeleteRecoveryPointInput) []restjson.Access {
			return on("backup:DeleteRecoveryPoint", in.RecoveryPointArn)
		})
	restjson.Handle(r, backupapi.ListRecoveryPointsByBackupVault, s.ListRecoveryPointsByBackupVault,
		func(c caller.Caller, in *backupapi.ListRecoveryPointsByBackupVaultInput) []restjson.Access {
			return onVault(c, "backup:ListRecoveryPointsByBackupVault", in.BackupVaultName)
		})
	restjson.Handle(r, backupapi.ListRecoveryPointsByResource, s.ListRecoveryPointsByResource,
		func(caller.Caller, *backupapi.ListRecoveryPointsByResourceInput) []restjson.Access {
			return onAll("backup:ListRecoveryPointsByResource")
		})
}

// creates also asks for the right to make storage.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/create-a-vault.html.
func creates(c caller.Caller, in *backupapi.CreateBackupVaultInput) []restjson.Access {
	return append(onVault(c, "backup:CreateBackupVault", in.BackupVaultName), onAll("backup-storage:MountCapsule")...)
}

func on(action, arn string) []restjson.Access {
	return []restjson.Access{{Action: action, Resource: arn}}
}

func onAll(action string) []restjson.Access { return on(action, "*") }

func onVault(c caller.Caller, action, name string) []restjson.Access {
	return on(action, vaultARN(c.Account, c.Region, name))
}
