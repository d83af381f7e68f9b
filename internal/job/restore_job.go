package job

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"

	"github.com/lockfast/lockfast/arn"
	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
)

// DescribeRestoreJob answers the fields of a restore job.
func (s *Service) DescribeRestoreJob(ctx context.Context, in *backupapi.DescribeRestoreJobInput) (*backupapi.DescribeRestoreJobOutput, error) {
	r, err := s.ownRestore(ctx, in.RestoreJobId)
	if err != nil {
		return nil, err
	}
	j := s.describeRestore(r)
	return &backupapi.DescribeRestoreJobOutput{
		AccountId: j.AccountId, BackupSizeInBytes: j.BackupSizeInBytes, BackupVaultArn: j.BackupVaultArn, CompletionDate: j.CompletionDate,
		CreatedResourceArn: j.CreatedResourceArn, CreationDate: j.CreationDate, ExpectedCompletionTimeMinutes: j.ExpectedCompletionTimeMinutes,
		IamRoleArn: j.IamRoleArn, IsParent: j.IsParent, PercentDone: j.PercentDone, RecoveryPointArn: j.RecoveryPointArn,
		RecoveryPointCreationDate: j.RecoveryPointCreationDate, ResourceType: j.ResourceType, RestoreJobId: j.RestoreJobId,
		SourceResourceArn: j.SourceResourceArn, Status: j.Status, StatusMessage: j.StatusMessage,
		ValidationStatus: j.ValidationStatus, ValidationStatusMessage: j.ValidationStatusMessage,
	}, nil
}

// ownRestore reads a job of the caller's account and region; a missing one is an API error.
func (s *Service) ownRestore(ctx context.Context, id string) (Restore, error) {
	r, err := s.Restore(ctx, id)
	return owned(caller.From(ctx), id, r, err)
}

// owned makes an API error of a job that is missing or somebody else's.
func owned(c caller.Caller, id string, r Restore, err error) (Restore, error) {
	if errors.Is(err, ErrNotFound) || err == nil && (r.Account != c.Account || r.Region != c.Region) {
		return Restore{}, backupapi.ResourceNotFoundExceptionf("Restore job %s does not exist", id)
	}
	return r, err
}

// describeRestore is a restore job as lists show it.
func (s *Service) describeRestore(r Restore) backupapi.RestoreJobsListMember {
	j := backupapi.RestoreJobsListMember{
		AccountId: &r.Account, RestoreJobId: &r.ID, RecoveryPointArn: &r.PointARN, RecoveryPointCreationDate: &r.PointCreatedAt,
		BackupVaultArn: new(arn.Vault(r.Account, r.Region, r.VaultName)), SourceResourceArn: &r.SourceARN, ResourceType: &r.ResourceType,
		IamRoleArn: &r.RoleARN, BackupSizeInBytes: &r.SizeBytes, Status: new(backupapi.RestoreJobStatus(r.State)),
		StatusMessage: some(r.Message), CreationDate: &r.CreatedAt, CompletionDate: optional(r.CompletedAt),
		PercentDone: new(fmt.Sprintf("%.2f%%", r.percent())), CreatedResourceArn: some(r.CreatedResourceARN), IsParent: new(false),
		ValidationStatusMessage: some(r.Validation.Message),
	}
	if r.Validation.Status != "" {
		j.ValidationStatus = &r.Validation.Status
	}
	if now := s.now(); r.State == Running {
		if end := r.expected(now); !end.IsZero() {
			j.ExpectedCompletionTimeMinutes = new(int64(math.Ceil(end.Sub(now).Minutes())))
		}
	}
	return j
}

// GetRestoreJobMetadata answers the metadata that a restore was started with.
func (s *Service) GetRestoreJobMetadata(ctx context.Context, in *backupapi.GetRestoreJobMetadataInput) (*backupapi.GetRestoreJobMetadataOutput, error) {
	r, err := s.ownRestore(ctx, in.RestoreJobId)
	if err != nil {
		return nil, err
	}
	return &backupapi.GetRestoreJobMetadataOutput{RestoreJobId: &r.ID, Metadata: maps.Clone(r.Metadata)}, nil
}

// ListRestoreJobs lists the restore jobs of the last 30 days, newest first.
func (s *Service) ListRestoreJobs(ctx context.Context, in *backupapi.ListRestoreJobsInput) (*backupapi.ListRestoreJobsOutput, error) {
	c := caller.From(ctx)
	if err := ownAccount(c, in.ByAccountId); err != nil {
		return nil, err
	}
	if err := checkFilters(in.ByRestoreTestingPlanArn); err != nil {
		return nil, err
	}
	page, err := restjson.OpenPage(ctx, s.Pager, backupapi.ListRestoreJobs, in)
	if err != nil {
		return nil, err
	}
	out := &backupapi.ListRestoreJobsOutput{RestoreJobs: []backupapi.RestoreJobsListMember{}}
	if in.ByParentJobId != nil || in.ByRestoreTestingPlanArn != nil {
		return out, nil // no job has a parent or was started by a restore test
	}
	f := s.recent(c)
	f.equal("resource_type", in.ByResourceType)
	f.equal("state", (*string)(in.ByStatus))
	f.after("created_at", in.ByCreatedAfter)
	f.before("created_at", in.ByCreatedBefore)
	f.after("completed_at", in.ByCompleteAfter)
	f.before("completed_at", in.ByCompleteBefore)
	out.RestoreJobs, out.NextToken, err = s.listRestores(ctx, f, page)
	return out, err
}

// ListRestoreJobsByProtectedResource lists the restore jobs of a resource, newest first.
func (s *Service) ListRestoreJobsByProtectedResource(ctx context.Context, in *backupapi.ListRestoreJobsByProtectedResourceInput) (*backupapi.ListRestoreJobsByProtectedResourceOutput, error) {
	if err := checkARN(in.ResourceArn); err != nil {
		return nil, err
	}
	page, err := restjson.OpenPage(ctx, s.Pager, backupapi.ListRestoreJobsByProtectedResource, in)
	if err != nil {
		return nil, err
	}
	c := caller.From(ctx)
	f := filter{}
	f.add("account = ? AND region = ? AND source_arn = ?", c.Account, c.Region, in.ResourceArn)
	f.equal("state", (*string)(in.ByStatus))
	f.after("point_created_at", in.ByRecoveryPointCreationDateAfter)
	f.before("point_created_at", in.ByRecoveryPointCreationDateBefore)
	out := &backupapi.ListRestoreJobsByProtectedResourceOutput{}
	out.RestoreJobs, out.NextToken, err = s.listRestores(ctx, f, page)
	return out, err
}

func (s *Service) listRestores(ctx context.Context, f filter, page *restjson.Page) (list []backupapi.RestoreJobsListMember, next *string, err error) {
	if err := f.olderThan(page); err != nil {
		return nil, nil, err
	}
	var jobs []Restore
	err = s.DB.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		jobs, err = selectRestores(ctx, tx, f.where()+newest, append(f.args, page.Limit+1)...)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	if len(jobs) > page.Limit {
		jobs = jobs[:page.Limit]
		last := jobs[page.Limit-1]
		next = page.Next(key(last.CreatedAt, last.ID)...)
	}
	list = []backupapi.RestoreJobsListMember{}
	for _, r := range jobs {
		list = append(list, s.describeRestore(r))
	}
	return list, next, nil
}
