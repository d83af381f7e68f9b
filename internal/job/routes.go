package job

import (
	"context"

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
			vault := arn.Vault(c.Account, c.Region, in.BackupVaultName)
			return append(caller.Tagging("backup:StartBackupJob", vault, in.RecoveryPointTags), caller.Pass(&in.IamRoleArn)...)
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
	s.copyRoutes(backup)
	s.restoreRoutes(backup)
	s.summaryRoutes(backup)
	s.ownRoutes(own)
}

func (s *Service) copyRoutes(r *restjson.Router) {
	restjson.Handle(r, backupapi.StartCopyJob, s.StartCopyJob, copies)
	restjson.Handle(r, backupapi.DescribeCopyJob, s.DescribeCopyJob,
		func(caller.Caller, *backupapi.DescribeCopyJobInput) []restjson.Access {
			return caller.OnAll("backup:DescribeCopyJob")
		})
	restjson.Handle(r, backupapi.ListCopyJobs, s.ListCopyJobs,
		func(caller.Caller, *backupapi.ListCopyJobsInput) []restjson.Access {
			return caller.OnAll("backup:ListCopyJobs")
		})
}

// copies asks for the right to take the recovery point out of its vault and for that to put it into the other one. What is
// read of the recovery point also answers to the name of its vault.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/create-a-vault-access-policy.html.
func copies(c caller.Caller, in *backupapi.StartCopyJobInput) []restjson.Access {
	vault := arn.Vault(c.Account, c.Region, in.SourceBackupVaultName)
	from := caller.On("backup:CopyFromBackupVault", in.RecoveryPointArn, vault)
	from[0].Keys = map[string][]string{"backup:copytargets": {in.DestinationBackupVaultArn}}
	asked := append(caller.On("backup:StartCopyJob", in.RecoveryPointArn, vault), from...)
	asked = append(asked, caller.On("backup:CopyIntoBackupVault", in.DestinationBackupVaultArn)...)
	return append(asked, caller.Pass(&in.IamRoleArn)...)
}

func (s *Service) restoreRoutes(r *restjson.Router) {
	restjson.HandleOn(r, backupapi.StartRestoreJob, s.StartRestoreJob,
		func(ctx context.Context, in *backupapi.StartRestoreJobInput) ([]restjson.Access, error) {
			return s.restores(ctx, "backup:StartRestoreJob", in.RecoveryPointArn, in.IamRoleArn)
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
	restjson.Handle(r, backupapi.PutRestoreValidationResult, s.PutRestoreValidationResult,
		func(caller.Caller, *backupapi.PutRestoreValidationResultInput) []restjson.Access {
			return caller.OnAll("backup:PutRestoreValidationResult")
		})
	restjson.Handle(r, backupapi.GetRestoreJobMetadata, s.GetRestoreJobMetadata,
		func(caller.Caller, *backupapi.GetRestoreJobMetadataInput) []restjson.Access {
			return caller.OnAll("backup:GetRestoreJobMetadata")
		})
}

// restores asks for the right to restore a recovery point, and to hand over the role that does it. If none is named, that is
// the role that made the recovery point, which is no less powerful for not being named.
func (s *Service) restores(ctx context.Context, action, point string, role *string) ([]restjson.Access, error) {
	asked := caller.On(action, point)
	if role == nil {
		c := caller.From(ctx)
		made, err := s.Vaults.RoleOfPoint(ctx, c.Account, c.Region, point)
		if err != nil || made == "" {
			return asked, err
		}
		role = &made
	}
	return append(asked, caller.Pass(role)...), nil
}

func (s *Service) ownRoutes(r *restjson.Router) {
	restjson.HandleOn(r, lockfastapi.RestoreToDirectory, s.RestoreToDirectory,
		func(ctx context.Context, in *lockfastapi.RestoreToDirectoryInput) ([]restjson.Access, error) {
			return s.restores(ctx, "lockfast:RestoreToDirectory", in.RecoveryPointArn, in.IamRoleArn)
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
