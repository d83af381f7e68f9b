package job

import (
	"context"
	"strings"

	"github.com/google/uuid"

	"github.com/lockfast/lockfast/arn"
	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
)

// StartCopyJob starts a copy of a recovery point into another vault of the account, in any region. The copy keeps the
// creation date and the tags of the recovery point, and its retention unless Lifecycle gives another one.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_StartCopyJob.html.
func (s *Service) StartCopyJob(ctx context.Context, in *backupapi.StartCopyJobInput) (*backupapi.StartCopyJobOutput, error) {
	r := request{"StartCopyJob", in.IdempotencyToken, restjson.Fingerprint(backupapi.StartCopyJob, in)}
	id, err := s.replay(ctx, r)
	if err == nil && id == "" {
		id, err = s.startCopy(ctx, r, in)
	}
	if err != nil {
		return nil, err
	}
	j, err := s.Copy(ctx, id)
	if err != nil {
		return nil, err
	}
	return &backupapi.StartCopyJobOutput{CopyJobId: &j.ID, CreationDate: &j.CreatedAt, IsParent: new(false)}, nil
}

// startCopy inserts the job, unless another request with the same token is faster. The row of the source's vault is
// locked, so the recovery point cannot be deleted before the job's row says that it is in use.
func (s *Service) startCopy(ctx context.Context, r request, in *backupapi.StartCopyJobInput) (string, error) {
	if err := s.checkRole(ctx, caller.From(ctx).Account, in.IamRoleArn); err != nil {
		return "", err
	}
	made := uuid.NewString()
	id := made
	err := s.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) (err error) {
		if id, err = r.reserve(ctx, tx, made); err != nil || id != made {
			return err
		}
		j, err := s.newCopy(ctx, tx, in, made)
		if err != nil {
			return err
		}
		return insertCopy(ctx, tx, j)
	})
	return id, err
}

// newCopy makes the checks in their documented order.
func (s *Service) newCopy(ctx context.Context, tx *meta.Tx, in *backupapi.StartCopyJobInput, id string) (Copy, error) {
	c := caller.From(ctx)
	p, days, err := s.Vaults.CopyableTx(ctx, tx, in.SourceBackupVaultName, in.RecoveryPointArn, in.Lifecycle)
	if err != nil {
		return Copy{}, err
	}
	to, err := destination(c, in.DestinationBackupVaultArn)
	if err != nil {
		return Copy{}, err
	}
	j := Copy{
		ID: id, Account: c.Account, Region: c.Region, SourceVaultARN: *p.BackupVaultArn, SourcePointARN: *p.RecoveryPointArn,
		VaultARN: in.DestinationBackupVaultArn, PointARN: newPointARN(c.Account, to.region), ResourceARN: *p.ResourceArn,
		ResourceType: *p.ResourceType, RoleARN: in.IamRoleArn, DeleteAfterDays: days, SizeBytes: *p.BackupSizeInBytes,
	}
	if j.ColdAfterDays, err = s.Vaults.CopyColdAfterDays(p, in.Lifecycle, days); err != nil {
		return Copy{}, err
	}
	if p.ResourceName != nil {
		j.ResourceName = *p.ResourceName
	}
	if j.SourceVaultUUID, err = s.Vaults.VaultUUIDTx(ctx, tx, c.Account, c.Region, in.SourceBackupVaultName); err != nil {
		return Copy{}, err
	}
	if j.VaultUUID, err = s.Vaults.VaultUUIDTx(ctx, tx, c.Account, to.region, to.name); err != nil {
		return Copy{}, err
	}
	if j.VaultUUID == j.SourceVaultUUID {
		return Copy{}, backupapi.InvalidRequestExceptionf("The source and the destination of a copy are the same backup vault: %s", to.name)
	}
	j.State, j.CreatedAt, j.TotalBytes = Created, s.now(), j.SizeBytes
	return j, nil
}

// place is where a vault is found in an account.
type place struct{ region, name string }

// destination takes the ARN of the vault that receives a copy apart.
func destination(c caller.Caller, text string) (place, error) {
	a, err := arn.Parse(text)
	if err != nil {
		return place{}, backupapi.InvalidParameterValueExceptionf("DestinationBackupVaultArn: %v", err)
	}
	name, ok := strings.CutPrefix(a.Resource, "backup-vault:")
	if a.Service != "backup" || !ok || text != arn.Vault(a.Account, a.Region, name) {
		return place{}, backupapi.InvalidParameterValueExceptionf("DestinationBackupVaultArn is not the ARN of a backup vault: %s", text)
	}
	if a.Account != c.Account {
		return place{}, backupapi.InvalidRequestExceptionf("DestinationBackupVaultArn names a vault of account %s: "+
			"this version of Lockfast copies between vaults of one account", a.Account)
	}
	return place{a.Region, name}, nil
}
