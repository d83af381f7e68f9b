package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/meta"
)

// Planned is what a backup job has in addition that a rule of a backup plan made. It is zero for others.
type Planned struct {
	CreatedBy        *backupapi.RecoveryPointCreator
	NotBefore        time.Time     // the job waits until then; zero once it may start
	CompletionWindow time.Duration // from the start of the job; 0: Status.ExpireBy is fixed
	Copies           []CopyAction  // to make of the recovery point
}

// CopyAction is a copy that a rule wants of each of its recovery points.
type CopyAction struct {
	VaultARN  string               `json:"vault_arn"`
	Lifecycle *backupapi.Lifecycle `json:"lifecycle,omitempty"`
}

// Scheduled is a backup job that a rule of a plan wants.
type Scheduled struct {
	Account, Region            string
	VaultName                  string
	ResourceARN                string
	ResourceType, ResourceName string
	RoleARN                    string
	DeleteAfterDays            int64 // 0 = kept for ever
	ColdAfterDays              int64 // 0 = never moved to cold storage
	Tags                       map[string]string
	At                         time.Time // as scheduled: when it counts as created
	StartWindow                time.Duration
	Missed                     bool // nobody was there to start it, and its start window is over
	Planned
}

// AddScheduledTx inserts backup jobs that rules want. One whose vault is gone is FAILED from the start, and one that was missed
// is EXPIRED.
func (s *Service) AddScheduledTx(ctx context.Context, tx *meta.Tx, all []Scheduled) error {
	for _, j := range all {
		b := Backup{
			ID: uuid.NewString(), Account: j.Account, Region: j.Region, VaultName: j.VaultName, ResourceARN: j.ResourceARN,
			ResourceType: j.ResourceType, ResourceName: j.ResourceName, RoleARN: j.RoleARN, PointARN: newPointARN(j.Account, j.Region),
			DeleteAfterDays: j.DeleteAfterDays, ColdAfterDays: j.ColdAfterDays, Tags: j.Tags, Planned: j.Planned,
			Status: Status{State: Created, CreatedAt: j.At, StartBy: j.At.Add(j.StartWindow)},
		}
		b.IsParent = b.ResourceType == groupType
		b.ExpireBy = b.StartBy.Add(j.CompletionWindow)
		if !b.NotBefore.After(s.now()) {
			b.NotBefore = time.Time{}
		}
		if err := s.addScheduled(ctx, tx, b, j.Missed); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) addScheduled(ctx context.Context, tx *meta.Tx, b Backup, missed bool) (err error) {
	b.VaultUUID, err = s.Vaults.VaultUUIDTx(ctx, tx, b.Account, b.Region, b.VaultName)
	gone, isGone := errors.AsType[*backupapi.ResourceNotFoundException](err)
	if err != nil && !isGone {
		return err
	}
	if !missed && !isGone {
		return insertBackup(ctx, tx, b)
	}
	if err := insertBackupRow(ctx, tx, b); err != nil {
		return err
	}
	to, message := Expired, expiredMessage
	if isGone {
		to, message = Failed, gone.Message
	}
	return s.end(ctx, tx, Lease{Kind: Backups, JobID: b.ID}, to, message)
}

// startLater enqueues jobs that had to wait until now.
func (s *Service) startLater(ctx context.Context, tx *meta.Tx) (int, error) {
	due, err := selectBackups(ctx, tx, " WHERE not_before > 0 AND not_before <= ? AND state = 'CREATED' ORDER BY not_before, id LIMIT ?"+tx.ForUpdate(),
		micros(s.now()), sweepBatch)
	if err != nil {
		return 0, err
	}
	for _, b := range due {
		err := exec1(ctx, tx, "UPDATE backup_job SET not_before = 0, lease_until = ? WHERE id = ?", micros(time.Now().Add(firstRequeue)), b.ID)
		if err != nil {
			return 0, err
		}
		if err := enqueue(ctx, tx, b.ID, b.IsParent); err != nil {
			return 0, err
		}
	}
	return len(due), nil
}

// never is a lease_until of jobs that nobody is to enqueue.
const never = math.MaxInt64 / 2

// startWindow gives a job that has just started the time in which it has to complete.
func startWindow(ctx context.Context, tx *meta.Tx, b *Backup) error {
	if b.CompletionWindow == 0 {
		return nil
	}
	b.ExpireBy = b.StartedAt.Add(b.CompletionWindow)
	return exec1(ctx, tx, "UPDATE backup_job SET expire_by = ? WHERE id = ?", micros(b.ExpireBy), b.ID)
}

// creator and copyActions are how columns hold these.
type (
	creator struct {
		by **backupapi.RecoveryPointCreator
	}
	copyActions struct{ p *Planned }
)

func (c creator) Scan(v any) error {
	text, ok := v.(string)
	if !ok {
		return fmt.Errorf("created_by holds %T", v)
	}
	if text == "" {
		return nil
	}
	return json.Unmarshal([]byte(text), c.by)
}

func (c copyActions) Scan(v any) error {
	text, ok := v.(string)
	if !ok {
		return fmt.Errorf("copy_actions holds %T", v)
	}
	if text == "" {
		return nil
	}
	return json.Unmarshal([]byte(text), &c.p.Copies)
}

// columns are the values of the columns of a job.
func (p Planned) columns() []any {
	copies := ""
	if len(p.Copies) > 0 {
		copies = encode(p.Copies)
	}
	return []any{encodeCreator(p.CreatedBy), micros(p.NotBefore), p.CompletionWindow.Microseconds(), copies}
}

func encodeCreator(c *backupapi.RecoveryPointCreator) string {
	if c == nil {
		return ""
	}
	return encode(c)
}
