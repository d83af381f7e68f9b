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
	c := caller.From(ctx)
	var found []backupapi.CopyJob
	err := s.DB.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		j, err := copyTx(ctx, tx, in.CopyJobId, "")
		if errors.Is(err, ErrNotFound) || err == nil && (j.Account != c.Account || j.Region != c.Region) {
			return backupapi.ResourceNotFoundExceptionf("Copy job %s does not exist", in.CopyJobId)
		}
		if err == nil {
			found, err = describeCopies(ctx, tx, []Copy{j})
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return &backupapi.DescribeCopyJobOutput{CopyJob: &found[0]}, nil
}

// describeCopy is a copy job as clients see it.
func describeCopy(j Copy) backupapi.CopyJob {
	d := backupapi.CopyJob{
		AccountId: &j.Account, CopyJobId: &j.ID, SourceBackupVaultArn: &j.SourceVaultARN, SourceRecoveryPointArn: &j.SourcePointARN,
		DestinationBackupVaultArn: &j.VaultARN, DestinationVaultType: new(string(backupapi.VaultTypeBackupVault)),
		DestinationVaultLockState: new("UNLOCKED"), ResourceArn: &j.ResourceARN, ResourceType: &j.ResourceType,
		ResourceName: some(j.ResourceName), CreationDate: &j.CreatedAt, CompletionDate: optional(j.CompletedAt),
		State: new(backupapi.CopyJobState(j.State)), StatusMessage: some(j.Message), MessageCategory: some(j.Category),
		BackupSizeInBytes: &j.SizeBytes, IamRoleArn: &j.RoleARN, IsParent: &j.IsParent, ParentJobId: some(j.ParentID),
		CompositeMemberIdentifier: some(j.Member), CreatedBy: j.CreatedBy, CreatedByBackupJobId: some(j.CreatedByJob),
	}
	if j.hasCopy() { // otherwise there is no copy
		d.DestinationRecoveryPointArn = &j.PointARN
	}
	d.DestinationRecoveryPointLifecycle = lifecycle(j.ColdAfterDays, j.DeleteAfterDays)
	return d
}

// hasCopy reports whether there is a copy, or something that becomes one.
func (j Copy) hasCopy() bool { return j.State == Running || j.State == Completed || j.State == Partial }

// ListCopyJobs lists the copy jobs of the last 30 days, newest first.
func (s *Service) ListCopyJobs(ctx context.Context, in *backupapi.ListCopyJobsInput) (*backupapi.ListCopyJobsOutput, error) {
	c := caller.From(ctx)
	if err := ownAccount(c, in.ByAccountId); err != nil {
		return nil, err
	}
	if err := checkFilters(in.ByResourceArn, in.ByDestinationVaultArn, in.BySourceRecoveryPointArn); err != nil {
		return nil, err
	}
	page, err := restjson.OpenPage(ctx, s.Pager, backupapi.ListCopyJobs, in)
	if err != nil {
		return nil, err
	}
	out := &backupapi.ListCopyJobsOutput{CopyJobs: []backupapi.CopyJob{}}
	f := s.copiesWanted(c, in)
	if err := f.olderThan(page); err != nil {
		return nil, err
	}
	err = s.DB.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		jobs, err := selectCopies(ctx, tx, f.where()+newest, append(f.args, page.Limit+1)...)
		if err != nil {
			return err
		}
		out.NextToken = nil
		if len(jobs) > page.Limit {
			jobs = jobs[:page.Limit]
			last := jobs[page.Limit-1]
			out.NextToken = page.Next(key(last.CreatedAt, last.ID)...)
		}
		out.CopyJobs, err = describeCopies(ctx, tx, jobs)
		return err
	})
	if err != nil {
		return nil, err
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
	f.equal("parent_job", in.ByParentJobId)
	f.after("created_at", in.ByCreatedAfter)
	f.before("created_at", in.ByCreatedBefore)
	f.after("completed_at", in.ByCompleteAfter)
	f.before("completed_at", in.ByCompleteBefore)
	if in.ByMessageCategory != nil {
		f.add("message_category = ?", sameCategory(*in.ByMessageCategory))
	}
	return f
}
