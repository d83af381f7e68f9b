package job

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/lockfast/lockfast/internal/meta"
)

// Copy is the row of a copy job.
type Copy struct {
	ID                              string
	Account, Region                 string
	SourceVaultUUID, SourceVaultARN string
	SourcePointARN                  string
	VaultUUID, VaultARN             string // that receives the copy
	PointARN                        string // of the copy
	ResourceARN                     string
	ResourceType, ResourceName      string
	RoleARN                         string
	DeleteAfterDays                 int64 // 0 = kept for ever
	ColdAfterDays                   int64 // 0 = never moved to cold storage
	SizeBytes                       int64
	Status
}

const copyColumns = `id, account, region, source_vault_uuid, source_vault_arn, source_point_arn, vault_uuid, vault_arn, point_arn,
	resource_arn, resource_type, resource_name, role_arn, delete_after_days, cold_after_days, size_bytes, ` + statusColumns

func scanCopy(scan func(...any) error) (j Copy, err error) {
	err = scan(append([]any{
		&j.ID, &j.Account, &j.Region, &j.SourceVaultUUID, &j.SourceVaultARN, &j.SourcePointARN, &j.VaultUUID, &j.VaultARN, &j.PointARN,
		&j.ResourceARN, &j.ResourceType, &j.ResourceName, &j.RoleARN, &j.DeleteAfterDays, &j.ColdAfterDays, &j.SizeBytes,
	}, j.fields()...)...)
	return j, err
}

func selectCopies(ctx context.Context, tx *meta.Tx, rest string, args ...any) ([]Copy, error) {
	rows, err := tx.Query(ctx, "SELECT "+copyColumns+" FROM copy_job"+rest, args...)
	if err != nil {
		return nil, fmt.Errorf("list copy jobs: %w", err)
	}
	defer rows.Close()
	var all []Copy
	for rows.Next() {
		j, err := scanCopy(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("list copy jobs: %w", err)
		}
		all = append(all, j)
	}
	return all, rows.Err()
}

func copyTx(ctx context.Context, tx *meta.Tx, id, lock string) (Copy, error) {
	j, err := scanCopy(tx.QueryRow(ctx, "SELECT "+copyColumns+" FROM copy_job WHERE id = ?"+lock, id).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return Copy{}, fmt.Errorf("read copy job %s: %w", id, err)
	}
	return j, nil
}

// Copy reads a copy job, or returns an error that wraps [ErrNotFound].
func (s *Service) Copy(ctx context.Context, id string) (j Copy, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		j, err = copyTx(ctx, tx, id, "")
		return err
	})
	return j, err
}

// ClaimCopyTx claims a copy job, as [Service.ClaimBackupTx] does a backup job. Copies wait as long as it takes: the verdict
// is never TooLate.
func (s *Service) ClaimCopyTx(ctx context.Context, tx *meta.Tx, id string) (Copy, Lease, Verdict, error) {
	j, err := copyTx(ctx, tx, id, tx.ForUpdate())
	if err != nil {
		return j, Lease{}, 0, err
	}
	waited := j.State == Created
	if waited {
		if busy, err := resourceBusy(ctx, tx, j.Account, j.ResourceARN); err != nil || busy {
			return j, Lease{}, Busy, err
		}
	}
	l, v, err := s.claim(ctx, tx, Copies, id, &j.Status)
	if err == nil && waited && v == Claimed {
		err = s.takeTurn(ctx, tx, j.Account, j.ResourceARN, id)
	}
	if v == GivenUp {
		err = errors.Join(err, wakeNext(ctx, tx, j.Account, j.ResourceARN))
	}
	return j, l, v, err
}

func insertCopy(ctx context.Context, tx *meta.Tx, j Copy) error {
	_, err := tx.Exec(ctx, "INSERT INTO copy_job ("+copyColumns+`, lease, lease_until)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', '', ?, 0, 0, 0, 0, 0, 0, ?, 0, 0, '', ?)`,
		j.ID, j.Account, j.Region, j.SourceVaultUUID, j.SourceVaultARN, j.SourcePointARN, j.VaultUUID, j.VaultARN, j.PointARN,
		j.ResourceARN, j.ResourceType, j.ResourceName, j.RoleARN, j.DeleteAfterDays, j.ColdAfterDays, j.SizeBytes, j.State, micros(j.CreatedAt),
		j.TotalBytes, micros(time.Now().Add(firstRequeue)))
	if err != nil {
		return fmt.Errorf("insert copy job: %w", err)
	}
	return tx.Enqueue(ctx, RunCopy{j.ID}, nil)
}
