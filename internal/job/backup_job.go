package job

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/lockfast/lockfast/arn"
	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/wire"
)

// listed is how far back lists of jobs go.
const listed = 30 * 24 * time.Hour

// DescribeBackupJob answers the fields of a backup job.
func (s *Service) DescribeBackupJob(ctx context.Context, in *backupapi.DescribeBackupJobInput) (*backupapi.DescribeBackupJobOutput, error) {
	var out *backupapi.DescribeBackupJobOutput
	err := s.DB.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		b, err := ownBackup(ctx, tx, in.BackupJobId, "")
		if err != nil {
			return err
		}
		all := []Backup{b}
		if err := addUp(ctx, tx, all); err != nil {
			return err
		}
		out = s.describeJob(all[0])
		return describeChildren(ctx, tx, b, out)
	})
	return out, err
}

func (s *Service) describeJob(b Backup) *backupapi.DescribeBackupJobOutput {
	j := s.describeBackup(b)
	return &backupapi.DescribeBackupJobOutput{
		AccountId: j.AccountId, BackupJobId: j.BackupJobId, BackupSizeInBytes: j.BackupSizeInBytes, BackupVaultArn: j.BackupVaultArn,
		BackupVaultName: j.BackupVaultName, BytesTransferred: j.BytesTransferred, CompletionDate: j.CompletionDate,
		CreationDate: j.CreationDate, ExpectedCompletionDate: j.ExpectedCompletionDate, IamRoleArn: j.IamRoleArn,
		InitiationDate: j.InitiationDate, IsEncrypted: j.IsEncrypted, IsParent: j.IsParent, MessageCategory: j.MessageCategory,
		ParentJobId: j.ParentJobId, PercentDone: j.PercentDone, RecoveryPointArn: j.RecoveryPointArn, RecoveryPointLifecycle: j.RecoveryPointLifecycle,
		ResourceArn: j.ResourceArn, ResourceName: j.ResourceName, ResourceType: j.ResourceType, StartBy: j.StartBy, State: j.State,
		StatusMessage: j.StatusMessage, VaultLockState: j.VaultLockState, VaultType: j.VaultType, CreatedBy: j.CreatedBy,
	}
}

// ownBackup reads a job of the caller's account and region; a missing one is an API error.
func ownBackup(ctx context.Context, tx *meta.Tx, id, lock string) (Backup, error) {
	b, err := backupTx(ctx, tx, id, lock)
	c := caller.From(ctx)
	if errors.Is(err, ErrNotFound) || err == nil && (b.Account != c.Account || b.Region != c.Region) {
		return Backup{}, backupapi.ResourceNotFoundExceptionf("Backup job %s does not exist", id)
	}
	return b, err
}

// describeBackup is a backup job as lists show it.
func (s *Service) describeBackup(b Backup) backupapi.BackupJob {
	j := backupapi.BackupJob{
		AccountId: &b.Account, BackupJobId: &b.ID, BackupVaultName: &b.VaultName,
		BackupVaultArn: new(arn.Vault(b.Account, b.Region, b.VaultName)),
		ResourceArn:    &b.ResourceARN, ResourceType: &b.ResourceType, ResourceName: some(b.ResourceName), IamRoleArn: &b.RoleARN,
		State: new(backupapi.BackupJobState(b.State)), StatusMessage: some(b.Message), MessageCategory: some(b.Category),
		CreationDate: &b.CreatedAt, InitiationDate: &b.CreatedAt, CompletionDate: optional(b.CompletedAt), StartBy: &b.StartBy,
		ExpectedCompletionDate: optional(b.expected(s.now())), PercentDone: new(fmt.Sprintf("%.1f", b.percent())),
		BackupSizeInBytes: &b.BytesStored, BytesTransferred: &b.BytesStored, IsParent: &b.IsParent,
		ParentJobId: some(b.ParentID), IsEncrypted: new(true), CreatedBy: b.CreatedBy,
		VaultType: new(string(backupapi.VaultTypeBackupVault)), VaultLockState: new("UNLOCKED"),
	}
	switch b.State {
	case Failed, Aborted, Expired: // no recovery point was made
	default:
		j.RecoveryPointArn = &b.PointARN
	}
	j.RecoveryPointLifecycle = lifecycle(b.ColdAfterDays, b.DeleteAfterDays)
	return j
}

// lifecycle is nil if a recovery point is neither moved to cold storage nor deleted.
func lifecycle(coldAfterDays, deleteAfterDays int64) *backupapi.Lifecycle {
	if coldAfterDays == 0 && deleteAfterDays == 0 {
		return nil
	}
	l := &backupapi.Lifecycle{}
	if coldAfterDays > 0 {
		l.MoveToColdStorageAfterDays = &coldAfterDays
	}
	if deleteAfterDays > 0 {
		l.DeleteAfterDays = &deleteAfterDays
	}
	return l
}

// percent is how much of a job is done.
func (s Status) percent() float64 {
	switch {
	case s.State == Completed, s.State == Partial:
		return 100
	case s.TotalBytes <= 0:
		return 0
	}
	return min(99.9, 100*float64(s.BytesRead)/float64(s.TotalBytes))
}

// expected estimates when a running job will end; the zero time if it is too early to tell.
func (s Status) expected(now time.Time) time.Time {
	p := s.percent()
	if s.State != Running || p < 1 || !now.After(s.StartedAt) {
		return time.Time{}
	}
	spent := float64(now.Sub(s.StartedAt))
	return now.Add(time.Duration(spent * (100 - p) / p)).Truncate(time.Microsecond)
}

// StopBackupJob stops a job that waits, or asks the worker of a running one to. A parent ends when its children have.
func (s *Service) StopBackupJob(ctx context.Context, in *backupapi.StopBackupJobInput) (*backupapi.StopBackupJobOutput, error) {
	err := s.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		b, err := ownBackup(ctx, tx, in.BackupJobId, tx.ForUpdate())
		if err != nil {
			return err
		}
		if b.State.Over() {
			return backupapi.InvalidRequestExceptionf("Backup job %s cannot be stopped: its state is %s", b.ID, b.State)
		}
		return s.stopTx(ctx, tx, b)
	})
	if err != nil {
		return nil, err
	}
	return &backupapi.StopBackupJobOutput{}, nil
}

// filter collects conditions that must all hold, with their arguments.
type filter struct {
	conditions []string
	args       []any
}

func (f *filter) add(condition string, args ...any) {
	f.conditions = append(f.conditions, condition)
	f.args = append(f.args, args...)
}

func (f *filter) equal(column string, value *string) {
	if value != nil {
		f.add(column+" = ?", *value)
	}
}

func (f *filter) after(column string, t *time.Time) {
	if t != nil {
		f.add(column+" > ?", meta.Micros(*t))
	}
}

// before leaves out rows without a time.
func (f *filter) before(column string, t *time.Time) {
	if t != nil {
		f.add(column+" > 0 AND "+column+" < ?", meta.Micros(*t))
	}
}

func (f *filter) where() string { return " WHERE " + strings.Join(f.conditions, " AND ") }

// olderThan limits a list, newest first, to what comes after a page.
func (f *filter) olderThan(page *restjson.Page) error {
	if page.After == nil {
		return nil
	}
	created, err := strconv.ParseInt(page.After[0], 10, 64)
	if err != nil {
		return err
	}
	f.add("(created_at, id) < (?, ?)", created, page.After[1])
	return nil
}

// newest is the order of all lists of jobs.
const newest = " ORDER BY created_at DESC, id DESC LIMIT ?"

// recent limits a list to the jobs of the caller that lists show.
func (s *Service) recent(c caller.Caller) filter {
	f := filter{}
	f.add("account = ? AND region = ?", c.Account, c.Region)
	f.add("created_at > ?", meta.Micros(s.now().Add(-listed)))
	return f
}

func key(created time.Time, id string) []string {
	return []string{strconv.FormatInt(meta.Micros(created), 10), id}
}

// ListBackupJobs lists the backup jobs of the last 30 days, newest first.
func (s *Service) ListBackupJobs(ctx context.Context, in *backupapi.ListBackupJobsInput) (*backupapi.ListBackupJobsOutput, error) {
	c := caller.From(ctx)
	if err := ownAccount(c, in.ByAccountId); err != nil {
		return nil, err
	}
	if err := checkFilters(in.ByResourceArn); err != nil {
		return nil, err
	}
	page, err := restjson.OpenPage(ctx, s.Pager, backupapi.ListBackupJobs, in)
	if err != nil {
		return nil, err
	}
	out := &backupapi.ListBackupJobsOutput{BackupJobs: []backupapi.BackupJob{}}
	f := s.recent(c)
	if in.ByParentJobId != nil {
		f.add("parent_job = ? AND parent_job <> ''", *in.ByParentJobId)
	}
	f.equal("vault_name", in.ByBackupVaultName)
	f.equal("resource_arn", in.ByResourceArn)
	f.equal("resource_type", in.ByResourceType)
	f.equal("state", (*string)(in.ByState))
	f.after("created_at", in.ByCreatedAfter)
	f.before("created_at", in.ByCreatedBefore)
	f.after("completed_at", in.ByCompleteAfter)
	f.before("completed_at", in.ByCompleteBefore)
	if in.ByMessageCategory != nil {
		f.add("message_category = ?", sameCategory(*in.ByMessageCategory))
	}
	if err := f.olderThan(page); err != nil {
		return nil, err
	}
	var jobs []Backup
	err = s.DB.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		if jobs, err = selectBackups(ctx, tx, f.where()+newest, append(f.args, page.Limit+1)...); err != nil {
			return err
		}
		return addUp(ctx, tx, jobs)
	})
	if err != nil {
		return nil, err
	}
	if len(jobs) > page.Limit {
		jobs = jobs[:page.Limit]
		last := jobs[page.Limit-1]
		out.NextToken = page.Next(key(last.CreatedAt, last.ID)...)
	}
	for _, b := range jobs {
		out.BackupJobs = append(out.BackupJobs, s.describeBackup(b))
	}
	return out, nil
}

// ownAccount refuses the jobs of other accounts.
func ownAccount(c caller.Caller, id *string) error {
	if id == nil || *id == c.Account {
		return nil
	}
	return &wire.Denied{Message: "Insufficient privileges to perform this action."}
}
