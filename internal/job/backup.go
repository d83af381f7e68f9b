package job

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/lockfast/lockfast/arn"
	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/meta"
)

// Backup is the row of a backup job. Times are zero where there is none.
type Backup struct {
	ID                         string
	Account, Region            string
	VaultUUID, VaultName       string
	ResourceARN                string
	ResourceType, ResourceName string
	RoleARN                    string
	PointARN                   string // of the recovery point that it makes
	DeleteAfterDays            int64  // 0 = kept for ever
	ColdAfterDays              int64  // 0 = never moved to cold storage
	Tags                       map[string]string
	Composite
	Planned
	Retries int64 // how often it was put off, see [Service.RetryTx]
	Status
}

// Status is what backup jobs and restore jobs have in common: how far they are.
type Status struct {
	State                  State
	Message, Category      string
	CreatedAt              time.Time
	StartBy                time.Time // zero for restore jobs
	ExpireBy               time.Time // when a job that has not completed expires
	StartedAt, CompletedAt time.Time
	Progress
	Skipped  int64 // items that were left out
	Attempts int64
}

// Progress is how far a job has come.
type Progress struct {
	Items       int64
	BytesRead   int64 // of the resource, or written to it by a restore
	BytesStored int64 // by a backup, after deduplication and compression
	TotalBytes  int64 // estimate of the end value of BytesRead; 0 = unknown
}

// ErrNotFound says that there is no such job.
var ErrNotFound = errors.New("job does not exist")

const backupColumns = `id, account, region, vault_uuid, vault_name, resource_arn, resource_type, resource_name, role_arn,
	point_arn, delete_after_days, cold_after_days, tags, start_by, is_parent, parent_job, parent_point, member,
	created_by, not_before, completion_window, copy_actions, retries, ` + statusColumns

const statusColumns = `state, status_message, message_category, created_at, expire_by, started_at, completed_at, items, bytes_read,
	bytes_stored, total_bytes, skipped, attempts`

// fields are where a scan puts statusColumns.
func (s *Status) fields() []any {
	return []any{
		&s.State, &s.Message, &s.Category, at{&s.CreatedAt}, at{&s.ExpireBy}, at{&s.StartedAt}, at{&s.CompletedAt}, &s.Items,
		&s.BytesRead, &s.BytesStored, &s.TotalBytes, &s.Skipped, &s.Attempts,
	}
}

func scanBackup(scan func(...any) error) (Backup, error) {
	var (
		b      Backup
		tags   string
		window int64
	)
	err := scan(append([]any{
		&b.ID, &b.Account, &b.Region, &b.VaultUUID, &b.VaultName, &b.ResourceARN, &b.ResourceType, &b.ResourceName, &b.RoleARN,
		&b.PointARN, &b.DeleteAfterDays, &b.ColdAfterDays, &tags, at{&b.StartBy}, &b.IsParent, &b.ParentID, &b.ParentPoint, &b.Member,
		creator{&b.CreatedBy}, at{&b.NotBefore}, &window, copyActions{&b.Planned}, &b.Retries,
	}, b.fields()...)...)
	if err != nil {
		return Backup{}, err
	}
	b.CompletionWindow = time.Duration(window) * time.Microsecond
	return b, json.Unmarshal([]byte(tags), &b.Tags)
}

func selectBackups(ctx context.Context, tx *meta.Tx, rest string, args ...any) ([]Backup, error) {
	rows, err := tx.Query(ctx, "SELECT "+backupColumns+" FROM backup_job"+rest, args...)
	if err != nil {
		return nil, fmt.Errorf("list backup jobs: %w", err)
	}
	defer rows.Close()
	var all []Backup
	for rows.Next() {
		b, err := scanBackup(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("list backup jobs: %w", err)
		}
		all = append(all, b)
	}
	return all, rows.Err()
}

func backupTx(ctx context.Context, tx *meta.Tx, id, lock string) (Backup, error) {
	b, err := scanBackup(tx.QueryRow(ctx, "SELECT "+backupColumns+" FROM backup_job WHERE id = ?"+lock, id).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return Backup{}, fmt.Errorf("read backup job %s: %w", id, err)
	}
	return b, nil
}

// Backup reads a backup job, or returns an error that wraps [ErrNotFound].
func (s *Service) Backup(ctx context.Context, id string) (b Backup, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		b, err = backupTx(ctx, tx, id, "")
		return err
	})
	return b, err
}

// at scans a time that is stored as 0 when there is none.
type at struct{ t *time.Time }

func (a at) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("time column holds %T", v)
	}
	if *a.t = (time.Time{}); n != 0 {
		*a.t = meta.FromMicros(n)
	}
	return nil
}

// micros is the inverse of [at].
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return meta.Micros(t)
}

func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func some(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// checkARN refuses what does not have the form of an ARN.
func checkARN(text string) error { return checkFilters(&text) }

// checkFilters refuses filters of a list that should be ARNs and are not: an empty list would say that there is nothing.
func checkFilters(arns ...*string) error {
	if err := arn.CheckAll(arns...); err != nil {
		return backupapi.InvalidParameterValueExceptionf("%v", err)
	}
	return nil
}

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("job: " + err.Error()) // strings and maps of strings always have a JSON form
	}
	return string(b)
}
