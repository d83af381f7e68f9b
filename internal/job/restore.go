package job

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/resource/directory"
)

// Restore is the row of a restore job.
type Restore struct {
	ID                              string
	Account, Region                 string
	VaultUUID, VaultName            string
	PointARN                        string
	PointCreatedAt                  time.Time
	SourceARN, ResourceType         string // of the resource that was backed up
	RoleARN                         string
	SizeBytes                       int64
	Metadata                        map[string]string
	Target                          Target
	CreatedResourceARN, CreatedPath string
	Validation                      Validation
	Status
}

// Target says where a restore goes. Exactly one of Resource, NewDirectory and Into is set.
type Target struct {
	// Resource is the ARN of a declared resource, in the root of which a new directory receives the contents.
	Resource string `json:",omitempty"`
	// NewDirectory is the path of a resource to be made and declared, under Name. It does not exist yet; the directory
	// that is to hold it does. In its root a new directory receives the contents.
	NewDirectory string `json:",omitempty"`
	Name         string `json:",omitempty"`
	// SourceTags asks for the new resource to get the tags that the source had when it was backed up.
	SourceTags bool `json:",omitempty"`
	// Into is the path of an absent or empty directory that receives the contents directly.
	Into string `json:",omitempty"`
	// Items limits the restore to some paths relative to the root of the source; nil restores everything.
	Items []string `json:",omitempty"`
	// Escaped says that Items are in the form of [directory.Display].
	Escaped bool `json:",omitempty"`
	// Intact asks for what is whole of a damaged recovery point.
	Intact bool `json:",omitempty"`
}

// Paths returns Items as bytes.
func (t Target) Paths() ([][]byte, error) {
	var paths [][]byte
	for _, item := range t.Items {
		p := []byte(item)
		if t.Escaped {
			var err error
			if p, err = directory.ParseDisplay(item); err != nil {
				return nil, err
			}
		}
		paths = append(paths, p)
	}
	return paths, nil
}

const restoreColumns = `id, account, region, vault_uuid, vault_name, point_arn, point_created_at, source_arn, resource_type, role_arn,
	size_bytes, metadata, target, created_resource_arn, created_path, validation_status, validation_message, ` + statusColumns

func scanRestore(scan func(...any) error) (Restore, error) {
	var (
		r                Restore
		metadata, target string
	)
	err := scan(append([]any{
		&r.ID, &r.Account, &r.Region, &r.VaultUUID, &r.VaultName, &r.PointARN, at{&r.PointCreatedAt}, &r.SourceARN, &r.ResourceType,
		&r.RoleARN, &r.SizeBytes, &metadata, &target, &r.CreatedResourceARN, &r.CreatedPath,
		&r.Validation.Status, &r.Validation.Message,
	}, r.fields()...)...)
	if err != nil {
		return Restore{}, err
	}
	return r, errors.Join(json.Unmarshal([]byte(metadata), &r.Metadata), json.Unmarshal([]byte(target), &r.Target))
}

func selectRestores(ctx context.Context, tx *meta.Tx, rest string, args ...any) ([]Restore, error) {
	rows, err := tx.Query(ctx, "SELECT "+restoreColumns+" FROM restore_job"+rest, args...)
	if err != nil {
		return nil, fmt.Errorf("list restore jobs: %w", err)
	}
	defer rows.Close()
	var all []Restore
	for rows.Next() {
		r, err := scanRestore(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("list restore jobs: %w", err)
		}
		all = append(all, r)
	}
	return all, rows.Err()
}

func restoreTx(ctx context.Context, tx *meta.Tx, id, lock string) (Restore, error) {
	r, err := scanRestore(tx.QueryRow(ctx, "SELECT "+restoreColumns+" FROM restore_job WHERE id = ?"+lock, id).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return Restore{}, fmt.Errorf("read restore job %s: %w", id, err)
	}
	return r, nil
}

// Restore reads a restore job, or returns an error that wraps [ErrNotFound].
func (s *Service) Restore(ctx context.Context, id string) (r Restore, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		r, err = restoreTx(ctx, tx, id, "")
		return err
	})
	return r, err
}

// RecordPath notes what a running restore is about to make, so that it can be found if the worker is lost.
func (s *Service) RecordPath(ctx context.Context, l Lease, path string) error {
	return s.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		res, err := tx.Exec(ctx, "UPDATE restore_job SET created_path = ? WHERE id = ? AND lease = ? AND lease <> ''", path, l.JobID, l.token)
		if err != nil {
			return fmt.Errorf("record path of restore job %s: %w", l.JobID, err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 1 {
			return err
		}
		return fmt.Errorf("record path of restore job %s: %w", l.JobID, ErrLost)
	})
}

// InUseTx reports whether a restore or copy of a recovery point waits or runs.
func (s *Service) InUseTx(ctx context.Context, tx *meta.Tx, account, pointARN string) (bool, error) {
	var n int
	err := tx.QueryRow(ctx, `SELECT (SELECT COUNT(*) FROM restore_job WHERE account = ? AND point_arn = ? AND state IN ('PENDING', 'RUNNING'))
		+ (SELECT COUNT(*) FROM copy_job WHERE account = ? AND source_point_arn = ? AND state IN ('CREATED', 'RUNNING'))`,
		account, pointARN, account, pointARN).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("look for restores and copies of %s: %w", pointARN, err)
	}
	return n > 0, nil
}

// LastRestoreTx returns when the last restore of a resource that completed was created, when its recovery point was,
// and how long it ran. The times are zero if there was none.
func (s *Service) LastRestoreTx(ctx context.Context, tx *meta.Tx, account, region, resourceARN string) (created, point time.Time, took time.Duration, err error) {
	last, err := selectRestores(ctx, tx, ` WHERE account = ? AND region = ? AND source_arn = ? AND state = 'COMPLETED'
		ORDER BY created_at DESC, id DESC LIMIT 1`, account, region, resourceARN)
	if err != nil || len(last) == 0 {
		return created, point, 0, err
	}
	r := last[0]
	return r.CreatedAt, r.PointCreatedAt, r.CompletedAt.Sub(r.StartedAt), nil
}
