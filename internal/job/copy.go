package job

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/lockfast/lockfast/arn"
	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/meta"
)

// Copy is the row of a copy job. It belongs to the account of its source; the copy belongs to that of the vault which
// receives it.
type Copy struct {
	ID                              string
	Account, Region                 string
	SourceVaultUUID, SourceVaultARN string
	SourcePointARN                  string
	VaultUUID, VaultARN             string // that receives the copy; no UUID if there is no such vault
	PointARN                        string // of the copy
	ResourceARN                     string
	ResourceType, ResourceName      string
	RoleARN                         string
	DeleteAfterDays                 int64 // 0 = kept for ever
	ColdAfterDays                   int64 // 0 = never moved to cold storage
	SizeBytes                       int64
	Composite                                                       // ParentPoint is the copy that the parent makes
	CreatedBy                       *backupapi.RecoveryPointCreator // nil unless a rule wants the copy
	CreatedByJob                    string                          // backup job of that rule
	Held                            bool                            // it waits until its parent has begun
	Status
}

// VaultAccount is the account that receives the copy.
func (j Copy) VaultAccount() string {
	a, err := arn.Parse(j.VaultARN)
	if err != nil {
		return j.Account
	}
	return a.Account
}

const copyColumns = `id, account, region, source_vault_uuid, source_vault_arn, source_point_arn, vault_uuid, vault_arn, point_arn,
	resource_arn, resource_type, resource_name, role_arn, delete_after_days, cold_after_days, size_bytes,
	is_parent, parent_job, parent_point, member, created_by, created_by_job, held, ` + statusColumns

func scanCopy(scan func(...any) error) (j Copy, err error) {
	err = scan(append([]any{
		&j.ID, &j.Account, &j.Region, &j.SourceVaultUUID, &j.SourceVaultARN, &j.SourcePointARN, &j.VaultUUID, &j.VaultARN, &j.PointARN,
		&j.ResourceARN, &j.ResourceType, &j.ResourceName, &j.RoleARN, &j.DeleteAfterDays, &j.ColdAfterDays, &j.SizeBytes,
		&j.IsParent, &j.ParentID, &j.ParentPoint, &j.Member, creator{&j.CreatedBy}, &j.CreatedByJob, &j.Held,
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
		if busy, err := mustWait(ctx, tx, j); err != nil || busy {
			return j, Lease{}, Busy, err
		}
	}
	l, v, err := s.claim(ctx, tx, Copies, id, &j.Status)
	if err == nil && waited && v == Claimed {
		err = s.takeTurn(ctx, tx, j.Account, j.ResourceARN, id)
	}
	if err == nil && waited && v == Claimed {
		err = s.announce(ctx, tx, j)
	}
	if v == GivenUp {
		err = errors.Join(err, wakeNext(ctx, tx, j.Account, j.ResourceARN))
	}
	return j, l, v, err
}

// mustWait reports whether a copy job cannot begin yet.
func mustWait(ctx context.Context, tx *meta.Tx, j Copy) (bool, error) {
	if j.Held {
		return true, nil
	}
	return resourceBusy(ctx, tx, j.Account, j.ResourceARN)
}

// insertCopy inserts a copy job that waits, and enqueues its work unless it is held.
func (s *Service) insertCopy(ctx context.Context, tx *meta.Tx, j Copy) error {
	if err := s.insertCopyRow(ctx, tx, j); err != nil || j.Held {
		return err
	}
	return enqueueCopy(ctx, tx, j)
}

func enqueueCopy(ctx context.Context, tx *meta.Tx, j Copy) error {
	if j.IsParent {
		return tx.Enqueue(ctx, RunCompositeCopy{j.ID}, nil)
	}
	return tx.Enqueue(ctx, RunCopy{j.ID}, nil)
}

func (s *Service) insertCopyRow(ctx context.Context, tx *meta.Tx, j Copy) error {
	until := micros(time.Now().Add(firstRequeue))
	if j.Held {
		until = never
	}
	args := []any{j.ID, j.Account, j.Region, j.SourceVaultUUID, j.SourceVaultARN, j.SourcePointARN, j.VaultUUID, j.VaultARN, j.PointARN,
		j.ResourceARN, j.ResourceType, j.ResourceName, j.RoleARN, j.DeleteAfterDays, j.ColdAfterDays, j.SizeBytes,
		j.IsParent, j.ParentID, j.ParentPoint, j.Member, encodeCreator(j.CreatedBy), j.CreatedByJob, j.Held,
		j.State, j.Message, j.Category, micros(j.CreatedAt), 0, 0, 0, 0, 0, 0, j.TotalBytes, 0, 0, until}
	_, err := tx.Exec(ctx, "INSERT INTO copy_job ("+copyColumns+", lease, lease_until) VALUES ("+
		strings.Repeat("?, ", len(args)-1)+"'', ?)", args...)
	if err != nil {
		return fmt.Errorf("insert copy job: %w", err)
	}
	return s.announce(ctx, tx, j)
}

// insertFailedCopy inserts a copy job that cannot be carried out.
func (s *Service) insertFailedCopy(ctx context.Context, tx *meta.Tx, j Copy, message string) error {
	j.Held = true // for nobody to enqueue it
	if err := s.insertCopyRow(ctx, tx, j); err != nil {
		return err
	}
	return s.end(ctx, tx, Lease{Kind: Copies, JobID: j.ID}, Failed, message)
}
