package job

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
)

// Windows of a backup job, in minutes.
const (
	defaultStartWindow    = 480
	minStartWindow        = 60
	defaultCompleteWindow = 10080
	maxWindow             = 52_560_000
)

// StartBackupJob starts a backup of a resource. That the resource exists and can be read is found out by the job.
func (s *Service) StartBackupJob(ctx context.Context, in *backupapi.StartBackupJobInput) (*backupapi.StartBackupJobOutput, error) {
	if err := refuseBackupMembers(in); err != nil {
		return nil, err
	}
	r := request{"StartBackupJob", in.IdempotencyToken, restjson.Fingerprint(backupapi.StartBackupJob, in)}
	id, err := s.replay(ctx, r)
	if err == nil && id == "" {
		id, err = s.startBackup(ctx, r, in)
	}
	if err != nil {
		return nil, err
	}
	b, err := s.Backup(ctx, id)
	if err != nil {
		return nil, err
	}
	return &backupapi.StartBackupJobOutput{
		BackupJobId: &b.ID, CreationDate: &b.CreatedAt, RecoveryPointArn: &b.PointARN, IsParent: &b.IsParent,
	}, nil
}

func refuseBackupMembers(in *backupapi.StartBackupJobInput) error {
	switch {
	case in.LogicallyAirGappedBackupVaultArn != nil:
		return backupapi.InvalidRequestExceptionf("LogicallyAirGappedBackupVaultArn is not supported: this version of Lockfast has no such vaults")
	case len(in.BackupOptions) > 0:
		return backupapi.InvalidRequestExceptionf("BackupOptions is not supported for resources of the types that this version of Lockfast backs up")
	case in.Index != nil:
		return backupapi.InvalidRequestExceptionf("Index is not supported: this version of Lockfast makes no indexes of recovery points")
	}
	return nil
}

// startBackup makes the checks in their documented order and inserts the job, unless another request with the same
// token is faster.
func (s *Service) startBackup(ctx context.Context, r request, in *backupapi.StartBackupJobInput) (string, error) {
	b, err := s.newBackup(ctx, in)
	if err != nil {
		return "", err
	}
	if err := s.checkRole(ctx, b.Account, b.RoleARN); err != nil {
		return "", err
	}
	id := b.ID
	err = s.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) (err error) {
		if id, err = r.reserve(ctx, tx, b.ID); err != nil || id != b.ID {
			return err
		}
		if err := insertBackup(ctx, tx, b); err != nil || s.Events == nil {
			return err
		}
		return s.Events.EnqueueTx(ctx, tx, backupEvent(b))
	})
	return id, err
}

func (s *Service) newBackup(ctx context.Context, in *backupapi.StartBackupJobInput) (Backup, error) {
	c := caller.From(ctx)
	b := Backup{
		ID: uuid.NewString(), Account: c.Account, Region: c.Region, VaultName: in.BackupVaultName,
		ResourceARN: in.ResourceArn, RoleARN: in.IamRoleArn, Tags: in.RecoveryPointTags,
		PointARN: newPointARN(c.Account, c.Region),
	}
	if in.Lifecycle != nil && in.Lifecycle.DeleteAfterDays != nil {
		b.DeleteAfterDays = max(0, *in.Lifecycle.DeleteAfterDays)
	}
	err := s.DB.View(ctx, func(ctx context.Context, tx *meta.Tx) (err error) {
		if b.VaultUUID, err = s.Vaults.VaultUUIDTx(ctx, tx, c.Account, c.Region, in.BackupVaultName); err != nil {
			return err
		}
		r, _, err := s.Resources.LookupTx(ctx, tx, c.Account, c.Region, in.ResourceArn)
		b.ResourceName = r.Name
		return err
	})
	if err != nil {
		return b, err
	}
	if err := checkARN(in.ResourceArn); err != nil {
		return b, err
	}
	ok := false
	if b.ResourceType, ok = s.Resources.TypeOf(in.ResourceArn); !ok {
		return b, backupapi.InvalidParameterValueExceptionf("Unsupported resource type: %s", in.ResourceArn)
	}
	if err := s.checkOptIn(ctx, b); err != nil {
		return b, err
	}
	b.ColdAfterDays = s.Vaults.ColdAfterDays(in.Lifecycle, b.ResourceType)
	b.IsParent = b.ResourceType == groupType
	b.State, b.CreatedAt = Created, s.now()
	start, err := window("StartWindowMinutes", in.StartWindowMinutes, minStartWindow, defaultStartWindow)
	if err != nil {
		return b, err
	}
	complete, err := window("CompleteWindowMinutes", in.CompleteWindowMinutes, 1, defaultCompleteWindow)
	if err != nil {
		return b, err
	}
	b.StartBy, b.ExpireBy = b.CreatedAt.Add(start), b.CreatedAt.Add(complete)
	if err := checkTags(in.RecoveryPointTags); err != nil {
		return b, err
	}
	return b, s.Vaults.CheckLifecycle(in.Lifecycle)
}

// checkOptIn refuses types of resources that the Region settings leave out.
func (s *Service) checkOptIn(ctx context.Context, b Backup) error {
	if s.Settings == nil {
		return nil
	}
	return s.DB.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		optedIn, err := s.Settings.OptedInTx(ctx, tx, b.Account, b.Region)
		if err == nil && !optedIn(b.ResourceType) {
			err = backupapi.InvalidRequestExceptionf("The Region settings have not opted in for resources of type %s", b.ResourceType)
		}
		return err
	})
}

func window(member string, minutes *int64, least, absent int64) (time.Duration, error) {
	switch {
	case minutes == nil:
		return time.Duration(absent) * time.Minute, nil
	case *minutes < least || *minutes > maxWindow:
		return 0, backupapi.InvalidParameterValueExceptionf("%s must be between %d and %d: %d", member, least, maxWindow, *minutes)
	}
	return time.Duration(*minutes) * time.Minute, nil
}

// checkRole refuses a role that the service cannot take on.
func (s *Service) checkRole(ctx context.Context, account, arn string) error {
	ok, err := s.Roles.RoleUsable(ctx, account, arn)
	if err == nil && !ok {
		err = backupapi.InvalidParameterValueExceptionf("IAM Role %s cannot be assumed by AWS Backup", arn)
	}
	return err
}

// insertBackup adds a job that waits, and enqueues it unless it has to wait for a time.
func insertBackup(ctx context.Context, tx *meta.Tx, b Backup) error {
	if err := insertBackupRow(ctx, tx, b); err != nil || !b.NotBefore.IsZero() {
		return err
	}
	return enqueue(ctx, tx, b.ID, b.IsParent)
}

func insertBackupRow(ctx context.Context, tx *meta.Tx, b Backup) error {
	if b.Tags == nil {
		b.Tags = map[string]string{}
	}
	requeue := micros(time.Now().Add(firstRequeue))
	if !b.NotBefore.IsZero() {
		requeue = never
	}
	args := slices.Concat([]any{b.ID, b.Account, b.Region, b.VaultUUID, b.VaultName, b.ResourceARN, b.ResourceType, b.ResourceName, b.RoleARN,
		b.PointARN, b.DeleteAfterDays, b.ColdAfterDays, encode(b.Tags), micros(b.StartBy), b.IsParent, b.ParentID, b.ParentPoint, b.Member},
		b.Planned.columns(), []any{b.Retries, b.State, micros(b.CreatedAt), micros(b.ExpireBy), requeue})
	_, err := tx.Exec(ctx, "INSERT INTO backup_job ("+backupColumns+`, lease, lease_until)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', '', ?, ?, 0, 0, 0, 0, 0, 0, 0, 0, '', ?)`, args...)
	if err != nil {
		return fmt.Errorf("insert backup job: %w", err)
	}
	return nil
}

// Limits of tags.
const (
	maxTags     = 50
	maxTagKey   = 128
	maxTagValue = 256
)

// checkTags refuses tags that no recovery point may have. How many there are is only known to the running job, which
// adds those of the resource.
func checkTags(tags map[string]string) error {
	for key, value := range tags {
		switch {
		case key == "" || utf8.RuneCountInString(key) > maxTagKey:
			return backupapi.InvalidParameterValueExceptionf("RecoveryPointTags: a key must have 1 to %d characters", maxTagKey)
		case utf8.RuneCountInString(value) > maxTagValue:
			return backupapi.InvalidParameterValueExceptionf("RecoveryPointTags: the value of %q has more than %d characters", key, maxTagValue)
		case strings.HasPrefix(strings.ToLower(key), "aws:"):
			return backupapi.InvalidParameterValueExceptionf("RecoveryPointTags: the key %q has the reserved prefix aws:", key)
		case strings.ContainsFunc(key+value, notInTag):
			return backupapi.InvalidParameterValueExceptionf("RecoveryPointTags: letters, digits, spaces and the characters "+
				"+ - = . _ : / @ are possible in keys and values, %q has others", key)
		}
	}
	return nil
}

// notInTag reports whether a character may not be part of a tag.
func notInTag(r rune) bool {
	return r == utf8.RuneError || !unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.Zs) && !strings.ContainsRune("+-=._:/@", r)
}

// tooManyTags is the number of tags that a recovery point would have.
type tooManyTags int

func (n tooManyTags) Error() string {
	return fmt.Sprintf("More than %d tags specified: the resource and the backup job have %d together.", maxTags, int(n))
}

// MergeTags returns the tags of a recovery point: those of its resource and those of its job, which win. The error, whose
// text is the message of the job, says that there are more than a recovery point can have.
func MergeTags(ofResource, ofJob map[string]string) (map[string]string, error) {
	merged := make(map[string]string, len(ofResource)+len(ofJob))
	maps.Copy(merged, ofResource)
	maps.Copy(merged, ofJob)
	if len(merged) > maxTags {
		return nil, tooManyTags(len(merged))
	}
	return merged, nil
}
