package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/lockfast/lockfast/arn"
	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/events"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/repo"
)

// ErrState says that a recovery point is not in a status that allows the change.
var ErrState = errors.New("recovery point is in another status")

// NewPoint is what is known of a recovery point when its capture starts.
type NewPoint struct {
	VaultUUID, ARN             string
	ResourceARN                string
	ResourceType, ResourceName string
	RoleARN, JobID             string
	InitiatedAt                time.Time // of the job
	DeleteAfterDays            int64     // 0 = kept for ever
	ColdAfterDays              int64     // 0 = never moved to cold storage
	Continuous                 bool
	// CreatedAt is when the data was captured that a copy holds; zero for what is captured now.
	CreatedAt      time.Time
	SourceVaultARN string // vault that a copy is made from
	CreatedBy      *backupapi.RecoveryPointCreator
	Composite
}

// CreatePointTx adds a recovery point that is CREATING from now on. If the job's row is there already, because the job
// starts again, its capture counts from now. The error wraps [ErrNotFound] when the vault is gone.
func (s *Service) CreatePointTx(ctx context.Context, tx *meta.Tx, n NewPoint) (Point, error) {
	v, err := s.LockTx(ctx, tx, n.VaultUUID)
	if err != nil {
		return Point{}, err
	}
	p, err := pointIn(ctx, tx, n.VaultUUID, n.ARN)
	switch {
	case errors.Is(err, ErrNotFound):
		if p, err = s.insert(ctx, tx, v, n); err != nil {
			return Point{}, err
		}
		return s.place(ctx, tx, p, n.Composite)
	case err != nil:
		return Point{}, err
	case p.Status != Creating || p.JobID != n.JobID:
		return Point{}, fmt.Errorf("create recovery point %s: %w: %s", n.ARN, ErrState, p.Status)
	}
	p.CreatedAt = s.captured(n)
	if !p.Continuous {
		p.DeleteAt = deleteAt(p.CreatedAt, p.DeleteAfterDays)
		p.ColdAt = deleteAt(p.CreatedAt, p.ColdAfterDays)
	}
	return p, exec1(ctx, tx, "UPDATE recovery_point SET created_at = ?, delete_at = ?, cold_at = ? WHERE vault_uuid = ? AND arn = ?",
		micros(p.CreatedAt), micros(p.DeleteAt), micros(p.ColdAt), p.VaultUUID, p.ARN)
}

// captured is when the data of a new recovery point was captured.
func (s *Service) captured(n NewPoint) time.Time {
	if !n.CreatedAt.IsZero() {
		return n.CreatedAt
	}
	return s.now()
}

func (s *Service) insert(ctx context.Context, tx *meta.Tx, v Vault, n NewPoint) (Point, error) {
	now := s.now()
	p := Point{
		VaultUUID: v.UUID, VaultName: v.Name, Account: v.Account, Region: v.Region,
		ARN: n.ARN, ResourceARN: n.ResourceARN, ResourceType: n.ResourceType, ResourceName: n.ResourceName,
		RoleARN: n.RoleARN, JobID: n.JobID, Status: Creating, StatusAt: now, CreatedAt: s.captured(n), InitiatedAt: n.InitiatedAt,
		DeleteAfterDays: n.DeleteAfterDays, Continuous: n.Continuous, SourceVaultARN: n.SourceVaultARN, Key: v.Key,
		CreatedBy: n.CreatedBy,
	}
	if !p.Continuous {
		p.DeleteAt = deleteAt(p.CreatedAt, n.DeleteAfterDays)
		p.ColdAfterDays, p.ColdAt = n.ColdAfterDays, deleteAt(p.CreatedAt, n.ColdAfterDays)
	}
	createdBy, planID, err := creatorColumns(n.CreatedBy)
	if err != nil {
		return Point{}, err
	}
	_, err = tx.Exec(ctx, `INSERT INTO recovery_point (vault_uuid, arn, account, region, resource_arn, resource_type,
		resource_name, role_arn, job_id, status, status_message, status_at, created_at, initiated_at, completed_at,
		restored_at, delete_after_days, delete_at, logical_bytes, stored_bytes, store_id, metadata, source_tags, continuous, source_vault_arn,
		created_by, plan_id, cold_after_days, cold_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', ?, ?, ?, 0, 0, ?, ?, 0, 0, '', '{}', '{}', ?, ?, ?, ?, ?, ?)`,
		p.VaultUUID, p.ARN, p.Account, p.Region, p.ResourceARN, p.ResourceType, p.ResourceName, p.RoleARN, p.JobID,
		p.Status, micros(now), micros(p.CreatedAt), micros(p.InitiatedAt), p.DeleteAfterDays, micros(p.DeleteAt), p.Continuous,
		p.SourceVaultARN, createdBy, planID, p.ColdAfterDays, micros(p.ColdAt))
	if err != nil {
		return Point{}, fmt.Errorf("insert recovery point %s: %w", p.ARN, err)
	}
	if err := addPoints(ctx, tx, p.VaultUUID, 1); err != nil {
		return Point{}, err
	}
	return p, s.changed(ctx, tx, p, gone)
}

// Completion is what is known of a recovery point when its data is durable.
type Completion struct {
	StoreID       string // the store's name for it
	LogicalBytes  int64
	StoredBytes   int64             // what the store holds for it, shared with others or not
	Metadata      map[string]string // what a restore is started with
	Tags          map[string]string
	SourceTags    map[string]string // tags of the resource
	StatusMessage string            // for a recovery point that lacks something; empty otherwise
	Address       map[string]string // where the resource was
	// Record is the first state of the recovery point, which is in the store already; nil if nothing is. The recovery point
	// was completed when it says.
	Record *repo.PointRecord
}

// CompletePointTx turns a recovery point from CREATING to COMPLETED, or to AVAILABLE if it is continuous. The error wraps [ErrNotFound] or [ErrState] when
// it is not there or not CREATING.
func (s *Service) CompletePointTx(ctx context.Context, tx *meta.Tx, vaultUUID, arn string, c Completion) error {
	p, err := s.lockPoint(ctx, tx, vaultUUID, arn)
	if err != nil {
		return err
	}
	metadata, err := encode(c.Metadata)
	if err != nil {
		return err
	}
	tags, err := encode(c.SourceTags)
	if err != nil {
		return err
	}
	to := Completed
	if p.Continuous {
		to = Available
	}
	if p.CompletedAt = s.now(); c.Record != nil {
		p.CompletedAt = c.Record.Completed
	}
	address, err := encode(c.Address)
	if err != nil {
		return err
	}
	if err := s.become(ctx, tx, p, to, c.StatusMessage); err != nil {
		return err
	}
	err = exec1(ctx, tx, `UPDATE recovery_point SET completed_at = ?, store_id = ?, logical_bytes = ?, stored_bytes = ?,
		metadata = ?, source_tags = ?, address = ? WHERE vault_uuid = ? AND arn = ?`,
		micros(p.CompletedAt), c.StoreID, c.LogicalBytes, c.StoredBytes, metadata, tags, address, vaultUUID, arn)
	if err != nil {
		return err
	}
	if err := s.tags.SetTagsTx(ctx, tx, p.Account, p.ARN, c.Tags); err != nil {
		return err
	}
	if err := s.settle(ctx, tx, vaultUUID, arn, c.Record); err != nil {
		return err
	}
	if err := s.OutdateTx(ctx, tx, vaultUUID); err != nil {
		return err
	}
	return s.protect(ctx, tx, p)
}

// DropCreatingTx removes the row of a recovery point whose job did not complete. It does nothing if there is none.
func (s *Service) DropCreatingTx(ctx context.Context, tx *meta.Tx, vaultUUID, arn string) error {
	p, err := s.lockPoint(ctx, tx, vaultUUID, arn)
	if errors.Is(err, ErrNotFound) || err == nil && p.Status != Creating {
		return nil
	}
	if err != nil {
		return err
	}
	return s.drop(ctx, tx, p)
}

// drop removes the row of a recovery point, of which the vault is locked.
func (s *Service) drop(ctx context.Context, tx *meta.Tx, p Point) error {
	if !mayBecome(p.Status, gone) {
		return fmt.Errorf("remove recovery point %s: %w: %s", p.ARN, ErrState, p.Status)
	}
	if err := exec1(ctx, tx, "DELETE FROM recovery_point WHERE vault_uuid = ? AND arn = ?", p.VaultUUID, p.ARN); err != nil {
		return err
	}
	if err := addPoints(ctx, tx, p.VaultUUID, -1); err != nil {
		return err
	}
	if p.StoreID != "" {
		if err := s.OutdateTx(ctx, tx, p.VaultUUID); err != nil {
			return err
		}
	}
	var name backupapi.BackupVaultEvent
	if p.Status == Deleting {
		name = backupapi.BackupVaultEventRecoveryPointModified
	}
	return s.announce(ctx, tx, events.PointStateChange, p, deleted, name)
}

// lockPoint locks the vault's row and reads one of its recovery points.
func (s *Service) lockPoint(ctx context.Context, tx *meta.Tx, vaultUUID, arn string) (Point, error) {
	if _, err := s.LockTx(ctx, tx, vaultUUID); err != nil {
		return Point{}, err
	}
	return pointIn(ctx, tx, vaultUUID, arn)
}

// become changes the status of a recovery point, of which the vault is locked, and that of its parent with it. It tells of
// both.
func (s *Service) become(ctx context.Context, tx *meta.Tx, p Point, to Status, message string) error {
	if !mayBecome(p.Status, to) {
		return fmt.Errorf("recovery point %s cannot become %s: %w: %s", p.ARN, to, ErrState, p.Status)
	}
	res, err := tx.Exec(ctx, `UPDATE recovery_point SET status = ?, status_message = ?, status_at = ?
		WHERE vault_uuid = ? AND arn = ? AND status = ?`, to, message, micros(s.now()), p.VaultUUID, p.ARN, p.Status)
	if err != nil {
		return fmt.Errorf("recovery point %s becomes %s: %w", p.ARN, to, err)
	}
	n, err := res.RowsAffected()
	if err == nil && n == 0 {
		err = fmt.Errorf("recovery point %s cannot become %s: %w", p.ARN, to, ErrState)
	}
	if err != nil {
		return err
	}
	now := p
	now.Status, now.StatusMessage = to, message
	if p.Status != Creating { // else whoever completes it sees to its state
		if err := s.touch(ctx, tx, p.VaultUUID, p.ARN); err != nil {
			return err
		}
	}
	if err := s.changed(ctx, tx, now, p.Status); err != nil {
		return err
	}
	return s.related(ctx, tx, p, to)
}

// protect brings the list of protected resources up to date after a recovery point of a resource came or went.
func (s *Service) protect(ctx context.Context, tx *meta.Tx, p Point) error {
	err := s.protectIn(ctx, tx, p, p.VaultUUID, " WHERE p.vault_uuid = ? AND p.resource_arn = ?", p.VaultUUID, p.ResourceARN)
	if err != nil {
		return err
	}
	// The list over all vaults changes in the order of the commits.
	if err := addVaults(ctx, tx, p.Account, p.Region, 0); err != nil {
		return err
	}
	return s.protectIn(ctx, tx, p, "", " WHERE p.account = ? AND p.region = ? AND p.resource_arn = ?",
		p.Account, p.Region, p.ResourceARN)
}

func (s *Service) protectIn(ctx context.Context, tx *meta.Tx, p Point, vaultUUID, where string, args ...any) error {
	// A copy is as old as its source, which comes first.
	newest, err := selectPoints(ctx, tx, where+" AND p.status <> 'CREATING' ORDER BY p.created_at DESC, p.source_vault_arn, p.arn DESC LIMIT 1",
		args...)
	if err != nil {
		return err
	}
	if len(newest) == 0 {
		return s.protected.DropProtectedTx(ctx, tx, p.Account, p.Region, vaultUUID, p.ResourceARN)
	}
	n := newest[0]
	return s.protected.PutProtectedTx(ctx, tx, p.Account, p.Region, vaultUUID, backupapi.ProtectedResource{
		ResourceArn: &n.ResourceARN, ResourceType: &n.ResourceType, ResourceName: some(n.ResourceName),
		LastBackupTime: &n.CreatedAt, LastBackupVaultArn: new(arn.Vault(n.Account, n.Region, n.VaultName)),
		LastRecoveryPointArn: &n.ARN,
	})
}

// addPoints changes a vault's count of recovery points.
func addPoints(ctx context.Context, tx *meta.Tx, vaultUUID string, n int) error {
	return exec1(ctx, tx, "UPDATE vault SET point_count = point_count + ? WHERE uuid = ?", n, vaultUUID)
}

// exec1 runs a statement that must change one row.
func exec1(ctx context.Context, tx *meta.Tx, query string, args ...any) error {
	res, err := tx.Exec(ctx, query, args...)
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err == nil && n != 1 {
		err = fmt.Errorf("%d rows changed instead of one by %q", n, query)
	}
	return err
}

func encode(m map[string]string) (string, error) {
	if m == nil {
		return "{}", nil
	}
	b, err := json.Marshal(m)
	return string(b), err
}
