package job

import (
	"github.com/lockfast/lockfast/arn"
	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/restjson"
)

// Routes registers the operations of AWS Backup and of Lockfast.
func (s *Service) Routes(backup, own *restjson.Router) {
	restjson.Handle(backup, backupapi.StartBackupJob, s.StartBackupJob,
		func(c caller.Caller, in *backupapi.StartBackupJobInput) []restjson.Access {
			return append(caller.On("backup:StartBackupJob", arn.Vault(c.Account, c.Region, in.BackupVaultName)), caller.Pass(&in.IamRoleArn)...)
		})
	restjson.Handle(backup, backupapi.DescribeBackupJob, s.DescribeBackupJob,
		func(caller.Caller, *backupapi.DescribeBackupJobInput) []restjson.Access {
			return caller.OnAll("backup:DescribeBackupJob")
		})
	restjson.Handle(backup, backupapi.ListBackupJobs, s.ListBackupJobs,
		func(caller.Caller, *backupapi.ListBackupJobsInput) []restjson.Access {
			return caller.OnAll("backup:ListBackupJobs")
		})
	restjson.Handle(backup, backupapi.StopBackupJob, s.StopBackupJob,
		func(caller.Caller, *backupapi.StopBackupJobInput) []restjson.Access {
			return caller.OnAll("backup:StopBackupJob")
		})
	s.restoreRoutes(backup)
	s.ownRoutes(own)
}

func (s *Service) restoreRoutes(r *restjson.Router) {
	restjson.Handle(r, backupapi.StartRestoreJob, s.StartRestoreJob,
		func(_ caller.Caller, in *backupapi.StartRestoreJobInput) []restjson.Access {
			return append(caller.On("backup:StartRestoreJob", in.RecoveryPointArn), caller.Pass(in.IamRoleArn)...)
		})
	restjson.Handle(r, backupapi.DescribeRestoreJob, s.DescribeRestoreJob,
		func(caller.Caller, *backupapi.DescribeRestoreJobInput) []restjson.Access {
			return caller.OnAll("backup:DescribeRestoreJob")
		})
	restjson.Handle(r, backupapi.ListRestoreJobs, s.ListRestoreJobs,
		func(caller.Caller, *backupapi.ListRestoreJobsInput) []restjson.Access {
			return caller.OnAll("backup:ListRestoreJobs")
		})
	restjson.Handle(r, backupapi.ListRestoreJobsByProtectedResource, s.ListRestoreJobsByProtectedResource,
		func(caller.Caller, *backupapi.ListRestoreJobsByProtectedResourceInput) []restjson.Access {
			return caller.OnAll("backup:ListRestoreJobsByProtectedResource")
		})
	restjson.Handle(r, backupapi.GetRestoreJobMetadata, s.GetRestoreJobMetadata,
		func(caller.Caller, *backupapi.GetRestoreJobMetadataInput) []restjson.Access {
			return caller.OnAll("backup:GetRestoreJobMetadata")
		})
}

func (s *Service) ownRoutes(r *restjson.Router) {
	restjson.Handle(r, lockfastapi.RestoreToDirectory, s.RestoreToDirectory,
		func(_ caller.Caller, in *lockfastapi.RestoreToDirectoryInput) []restjson.Access {
			return append(caller.On("lockfast:RestoreToDirectory", in.RecoveryPointArn), caller.Pass(in.IamRoleArn)...)
		})
	restjson.Handle(r, lockfastapi.DescribeJobDetail, s.DescribeJobDetail,
		func(caller.Caller, *lockfastapi.DescribeJobDetailInput) []restjson.Access {
			return caller.OnAll("lockfast:DescribeJobDetail")
		})
	restjson.Handle(r, lockfastapi.ListSkippedItems, s.ListSkippedItems,
		func(caller.Caller, *lockfastapi.ListSkippedItemsInput) []restjson.Access {
			return caller.OnAll("lockfast:ListSkippedItems")
		})
}
