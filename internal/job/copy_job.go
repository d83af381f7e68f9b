package job

import (
	"context"
	"errors"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
)

// DescribeCopyJob answers the fields of a copy job.
func (s *Service) DescribeCopyJob(ctx context.Context, in *backupapi.DescribeCopyJobInput) (*backupapi.DescribeCopyJobOutput, error) {
	j, err := s.Copy(ctx, in.CopyJobId)
	c := caller.From(ctx)
	if errors.Is(err, ErrNotFound) || err == nil && (j.Account != c.Account || j.Region != c.Region) {
		return nil, backupapi.ResourceNotFoundExceptionf("Copy job %s does not exist", in.CopyJobId)
	}
	if err != nil {
		return nil, err
	}
	return &backupapi.DescribeCopyJobOutput{CopyJob: new(describeCopy(j))}, nil
}

// describeCopy is a copy job as clients see it.
func describeCopy(j Copy) backupapi.CopyJob {
	d := backupapi.CopyJob{
		AccountId: &j.Account, CopyJobId: &j.ID, SourceBackupVaultArn: &j.SourceVaultARN, SourceRecoveryPointArn: &j.SourcePointARN,
		DestinationBackupVaultArn: &j.VaultARN, DestinationVaultType: new(string(backupapi.VaultTypeBackupVault)),
		DestinationVaultLockState: new("UNLOCKED"), ResourceArn: &j.ResourceARN, ResourceType: &j.ResourceType,
		ResourceName: some(j.ResourceName), CreationDate: &j.CreatedAt, CompletionDate: optional(j.CompletedAt),
		State: new(backupapi.CopyJobState(j.State)), StatusMessage: some(j.Message), MessageCategory: some(j.Category),
		BackupSizeInBytes: &j.SizeBytes, IamRoleArn: &j.RoleARN, IsParent: new(false),
	}
	if j.State == Running || j.State == Completed { // otherwise there is no copy
		d.DestinationRecoveryPointArn = &j.PointARN
	}
	d.DestinationRecoveryPointLifecycle = lifecycle(j.ColdAfterDays, j.DeleteAfterDays)
	return d
}

// ListCopyJobs lists the copy jobs of the last 30 days, newest first.
func (s *Service) ListCopyJobs(ctx context.Context, in *backupapi.ListCopyJobsInput) (*backupapi.ListCopyJobsOutput, error) {
	c := caller.From(ctx)
	if err := ownAccount(c, in.ByAccountId); err != nil {
		return nil, err
	}
	page, err := restjson.OpenPage(ctx, s.Pager, backupapi.ListCopyJobs, in)
	if err != nil {
		return nil, err
	}
	out := &backupapi.ListCopyJobsOutput{CopyJobs: []backupapi.CopyJob{}}
	if in.ByParentJobId != nil {
		return out, nil // no copy job has a parent
	}
	f := s.copiesWanted(c, in)
	if err := f.olderThan(page); err != nil {
		return nil, err
	}
	var jobs []Copy
	err = s.DB.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		jobs, err = selectCopies(ctx, tx, f.where()+newest, append(f.args, page.Limit+1)...)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(jobs) > page.Limit {
		jobs = jobs[:page.Limit]
		last := jobs[page.Limit-1]
		out.NextToken = page.Next(key(last.CreatedAt, last.ID)...)
	}
	for _, j := range jobs {
		out.CopyJobs = append(out.CopyJobs, describeCopy(j))
	}
	return out, nil
}

// copiesWanted are the conditions of a list.
func (s *Service) copiesWanted(c caller.Caller, in *backupapi.ListCopyJobsInput) filter {
	f := s.recent(c)
	f.equal("resource_arn", in.ByResourceArn)
	f.equal("resource_type", in.ByResourceType)
	f.equal("state", (*string)(in.ByState))
	f.equal("vault_arn", in.ByDestinationVaultArn)
	f.equal("source_point_arn", in.BySourceRecoveryPointArn)
	f.after("created_at", in.ByCreatedAfter)
	f.before("created_at", in.ByCreatedBefore)
	f.after("completed_at", in.ByCompleteAfter)
	f.before("completed_at", in.ByCompleteBefore)
	if in.ByMessageCategory != nil {
		f.add("message_category = ?", sameCategory(*in.ByMessageCategory))
	}
	return f
}
