package job

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/lockfast/lockfast/arn"
	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/wire"
)

// StartCopyJob starts a copy of a recovery point into another vault of the account, in any region, or into one of another
// account. The copy keeps the creation date and the tags of the recovery point, and its retention unless Lifecycle gives
// another one. A composite recovery point is copied with those that are nested in it.
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
	return &backupapi.StartCopyJobOutput{CopyJobId: &j.ID, CreationDate: &j.CreatedAt, IsParent: &j.IsParent}, nil
}

// startCopy inserts the job, unless another request with the same token is faster. The row of the source's vault is
// locked, so the recovery point cannot be deleted before the job's row says that it is in use.
func (s *Service) startCopy(ctx context.Context, r request, in *backupapi.StartCopyJobInput) (string, error) {
	c := caller.From(ctx)
	if err := s.checkRole(ctx, c.Account, in.IamRoleArn); err != nil {
		return "", err
	}
	o := copyOrder{account: c.Account, region: c.Region, vaultName: in.SourceBackupVaultName, pointARN: in.RecoveryPointArn,
		vaultARN: in.DestinationBackupVaultArn, roleARN: in.IamRoleArn, lifecycle: in.Lifecycle}
	made := uuid.NewString()
	id := made
	err := s.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) (err error) {
		if id, err = r.reserve(ctx, tx, made); err != nil || id != made {
			return err
		}
		j, err := s.newCopy(ctx, tx, o, made)
		if err != nil {
			return err
		}
		return s.addCopy(ctx, tx, o, j)
	})
	return id, err
}

// copyOrder is a copy that somebody wants.
type copyOrder struct {
	account, region string // of the source
	vaultName       string
	pointARN        string
	vaultARN        string // that is to receive the copy
	roleARN         string
	lifecycle       *backupapi.Lifecycle // nil: that of the source
	createdBy       *backupapi.RecoveryPointCreator
	createdByJob    string
	parent          Composite // of the copy
}

// newCopy makes the row of a copy job, and the checks in their documented order. With an API error, which says why the copy
// cannot be made, the row holds what is known all the same.
func (s *Service) newCopy(ctx context.Context, tx *meta.Tx, o copyOrder, id string) (Copy, error) {
	j := Copy{
		ID: id, Account: o.account, Region: o.region, SourceVaultARN: arn.Vault(o.account, o.region, o.vaultName),
		SourcePointARN: o.pointARN, VaultARN: o.vaultARN, RoleARN: o.roleARN, Composite: o.parent,
		CreatedBy: o.createdBy, CreatedByJob: o.createdByJob, Held: o.parent.ParentID != "",
		Status: Status{State: Created, CreatedAt: s.now()},
	}
	p, days, err := s.Vaults.CopyableTx(ctx, tx, o.account, o.region, o.vaultName, o.pointARN, o.lifecycle)
	if p != nil {
		j.describe(p)
	}
	if err != nil {
		return j, err
	}
	j.DeleteAfterDays = days
	if j.ColdAfterDays, err = s.Vaults.CopyColdAfterDays(p, o.lifecycle, days); err != nil {
		return j, err
	}
	if j.SourceVaultUUID, err = s.Vaults.VaultUUIDTx(ctx, tx, o.account, o.region, o.vaultName); err != nil {
		return j, err
	}
	to, err := destination(o.vaultARN)
	if err != nil {
		return j, err
	}
	j.PointARN = newPointARN(to.account, to.region)
	j.VaultUUID, err = s.Vaults.VaultUUIDTx(ctx, tx, to.account, to.region, to.name)
	switch _, missing := errors.AsType[wire.APIError](err); {
	case missing && to.account != o.account:
		return j, nil // whether others have such a vault is none of the caller's business: the job fails
	case err != nil:
		return j, err
	case j.VaultUUID == j.SourceVaultUUID:
		return j, backupapi.InvalidRequestExceptionf("The source and the destination of a copy are the same backup vault: %s", to.name)
	}
	return j, nil
}

// describe takes over what a job says of its source.
func (j *Copy) describe(p *backupapi.DescribeRecoveryPointOutput) {
	j.ResourceARN, j.ResourceType = *p.ResourceArn, *p.ResourceType
	if p.ResourceName != nil {
		j.ResourceName = *p.ResourceName
	}
	if p.BackupSizeInBytes != nil {
		j.SizeBytes, j.TotalBytes = *p.BackupSizeInBytes, *p.BackupSizeInBytes
	}
	j.IsParent = p.IsParent != nil && *p.IsParent
	if p.CompositeMemberIdentifier != nil && j.ParentID != "" {
		j.Member = *p.CompositeMemberIdentifier
	}
}

// addCopy inserts a copy job and, if its source is composite, the jobs of what is nested in that; they are held until
// their parent begins. The source of each is in use from now on. An API error comes before anything is inserted.
func (s *Service) addCopy(ctx context.Context, tx *meta.Tx, o copyOrder, j Copy) error {
	if !j.IsParent {
		return s.insertCopy(ctx, tx, j)
	}
	nested, err := s.Vaults.NestedTx(ctx, tx, j.SourceVaultUUID, j.SourcePointARN)
	if err != nil {
		return err
	}
	if len(nested) == 0 {
		return backupapi.InvalidRequestExceptionf("Recovery point %s cannot be copied: no recovery point is nested in it any more", j.SourcePointARN)
	}
	if err := s.insertCopy(ctx, tx, j); err != nil {
		return err
	}
	o.parent = Composite{ParentID: j.ID, ParentPoint: j.PointARN}
	for i, source := range nested {
		o.pointARN = source
		c, err := s.newCopy(ctx, tx, o, uuid.NewString())
		c.CreatedAt = c.CreatedAt.Add(time.Duration(i) * time.Microsecond) // they keep their order
		if err := s.addOrFail(ctx, tx, o, c, err); err != nil {
			return err
		}
	}
	return nil
}

// addOrFail inserts a copy job, which is FAILED from the start if newCopy answered an API error.
func (s *Service) addOrFail(ctx context.Context, tx *meta.Tx, o copyOrder, j Copy, refused error) error {
	if refused == nil {
		refused = s.addCopy(ctx, tx, o, j)
	}
	api, ok := errors.AsType[wire.APIError](refused)
	if !ok {
		return refused
	}
	return s.insertFailedCopy(ctx, tx, j, strings.TrimPrefix(api.Error(), api.ErrorName()+": "))
}

// CopyPlannedTx makes the copies that a rule wants of the recovery point of a backup job that completes in this transaction,
// which has locked the vault's row. A copy that cannot be made is a FAILED job: the backup is none the worse for it.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/recov-point-create-a-copy.html.
func (s *Service) CopyPlannedTx(ctx context.Context, tx *meta.Tx, b Backup) error {
	for i, a := range b.Copies {
		o := copyOrder{account: b.Account, region: b.Region, vaultName: b.VaultName, pointARN: b.PointARN, vaultARN: a.VaultARN,
			roleARN: b.RoleARN, lifecycle: a.Lifecycle, createdBy: b.CreatedBy, createdByJob: b.ID}
		j, err := s.newCopy(ctx, tx, o, uuid.NewString())
		j.CreatedAt = j.CreatedAt.Add(time.Duration(i) * time.Microsecond)
		if err := s.addOrFail(ctx, tx, o, j, err); err != nil {
			return err
		}
	}
	return nil
}

// place is where a vault is found.
type place struct{ account, region, name string }

// destination takes the ARN of the vault that receives a copy apart.
func destination(text string) (place, error) {
	a, err := arn.Parse(text)
	if err != nil {
		return place{}, backupapi.InvalidParameterValueExceptionf("DestinationBackupVaultArn: %v", err)
	}
	name, ok := strings.CutPrefix(a.Resource, "backup-vault:")
	if a.Service != "backup" || !ok || text != arn.Vault(a.Account, a.Region, name) {
		return place{}, backupapi.InvalidParameterValueExceptionf("DestinationBackupVaultArn is not the ARN of a backup vault: %s", text)
	}
	return place{a.Account, a.Region, name}, nil
}
