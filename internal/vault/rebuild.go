package vault

import (
	"context"
	"errors"
	"fmt"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/repo"
)

// RestoreVaultTx records a vault that was found in the store, without recovery points. highest is the highest generation
// of its state there, which may be above that of the record; written is false for a record that the store does not hold so.
// The principals of its policy are those that have their names now, because nobody else is left.
func (s *Service) RestoreVaultTx(ctx context.Context, tx *meta.Tx, vaultUUID string, r repo.VaultRecord, highest uint64, written bool) error {
	v := Vault{UUID: vaultUUID, Account: r.Account, Region: r.Region, Name: r.Name, CreatorRequestID: r.CreatorRequestID,
		CreatedAt: r.Created, request: r.Request, Key: Key{KeyARN: r.KeyARN, CustomerKey: r.CustomerKey}, State: restoredState(highest, written)}
	_, err := tx.Exec(ctx, `INSERT INTO vault_partition (account, region, vaults) VALUES (?, ?, 1)
		ON CONFLICT (account, region) DO UPDATE SET vaults = vault_partition.vaults + 1`, v.Account, v.Region)
	if err != nil {
		return fmt.Errorf("count vaults: %w", err)
	}
	if err := insertVault(ctx, tx, v); err != nil {
		return err
	}
	if r.Policy != "" {
		if err := setPolicy(ctx, tx, v.UUID, AccessPolicy{Text: r.Policy}); err != nil {
			return err
		}
	}
	return s.tags.SetTagsTx(ctx, tx, v.Account, v.ARN(), r.Tags)
}

func restoredState(highest uint64, written bool) State {
	state := State{Version: int64(highest), Written: int64(highest)}
	if !written {
		state.Version++
	}
	return state
}

// RestorePointTx records a recovery point that was found in the store, in a vault that [Service.RestoreVaultTx] has
// recorded. The record is that of f, or what is known without one. A status that no recovery point of a living database
// has becomes EXPIRED, so that nothing happens to the data by itself. One of the same ARN is replaced.
func (s *Service) RestorePointTx(ctx context.Context, tx *meta.Tx, vaultUUID string, f repo.FoundPoint, r repo.PointRecord, written bool) error {
	v, err := byUUID(ctx, tx, vaultUUID, "")
	if err != nil {
		return err
	}
	p := pointOf(v, f, r)
	res, err := tx.Exec(ctx, "DELETE FROM recovery_point WHERE vault_uuid = ? AND arn = ?", vaultUUID, p.ARN)
	if err != nil {
		return fmt.Errorf("restore recovery point %s: %w", p.ARN, err)
	}
	replaced, err := res.RowsAffected()
	if err != nil {
		return err
	}
	p.State.Version, p.State.Written = restoredState(f.State.Highest, written).Version, restoredState(f.State.Highest, written).Written
	var encoded [3]string
	for i, m := range []map[string]string{p.Metadata, p.SourceTags, p.Address} {
		if encoded[i], err = encode(m); err != nil {
			return err
		}
	}
	createdBy, planID, err := creatorColumns(p.CreatedBy)
	if err != nil {
		return err
	}
	damage, err := damageColumn(p.Damaged)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO recovery_point (vault_uuid, arn, account, region, resource_arn, resource_type, resource_name,
		role_arn, job_id, status, status_message, status_at, created_at, initiated_at, completed_at, restored_at,
		delete_after_days, delete_at, logical_bytes, stored_bytes, store_id, metadata, source_tags, continuous, source_vault_arn,
		is_parent, parent_arn, member_id, address, state_version, state_written, state_id,
		cold_after_days, cold_at, cold_since, created_by, plan_id, damaged_at, damage)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		p.VaultUUID, p.ARN, p.Account, p.Region, p.ResourceARN, p.ResourceType, p.ResourceName, p.RoleARN, p.JobID, p.Status,
		p.StatusMessage, micros(p.StatusAt), micros(p.CreatedAt), micros(p.InitiatedAt), micros(p.CompletedAt), micros(p.RestoredAt),
		p.DeleteAfterDays, micros(p.DeleteAt), p.LogicalBytes, p.StoredBytes, p.StoreID, encoded[0], encoded[1], p.Continuous,
		p.SourceVaultARN, p.IsParent, p.ParentARN, p.MemberID, encoded[2], p.State.Version, p.State.Written, p.State.ID,
		p.ColdAfterDays, micros(p.ColdAt), micros(p.ColdSince), createdBy, planID, micros(p.DamagedAt), damage)
	if err != nil {
		return fmt.Errorf("restore recovery point %s: %w", p.ARN, err)
	}
	if err := addPoints(ctx, tx, vaultUUID, 1-int(replaced)); err != nil {
		return err
	}
	if err := s.OutdateTx(ctx, tx, vaultUUID); err != nil {
		return err
	}
	return s.tags.SetTagsTx(ctx, tx, p.Account, p.ARN, r.Tags)
}

// pointOf is the row of a recovery point that was found in the store.
func pointOf(v Vault, f repo.FoundPoint, r repo.PointRecord) Point {
	p := Point{
		VaultUUID: v.UUID, VaultName: v.Name, Account: v.Account, Region: v.Region, ARN: r.ARN, ResourceARN: r.ResourceARN,
		ResourceType: r.ResourceType, ResourceName: r.ResourceName, RoleARN: r.RoleARN, JobID: r.Job, Status: Status(r.Status),
		StatusMessage: r.StatusMessage, StatusAt: r.StatusAt, CreatedAt: r.Created, InitiatedAt: r.Initiated, CompletedAt: r.Completed,
		RestoredAt: r.Restored, DeleteAfterDays: int64(r.DeleteAfter), DeleteAt: r.DeleteAt, LogicalBytes: f.Stats.LogicalBytes,
		StoredBytes: f.Stats.BytesStored, StoreID: string(f.ID), Metadata: r.Restore, SourceTags: r.SourceTags,
		Continuous: r.Continuous, SourceVaultARN: r.SourceVaultARN, Address: r.Address,
		Composite: Composite{IsParent: r.Parent, ParentARN: r.ParentARN, MemberID: r.Member},
	}
	p.ColdAfterDays, p.ColdAt = int64(r.ColdAfterDays), r.ColdAt
	if f.Cold || r.Parent && r.Cold {
		if p.ColdSince = r.ColdAt; p.ColdSince.IsZero() {
			p.ColdSince = p.CompletedAt // it is not known any more
		}
	}
	p.CreatedBy = creatorOf(v, r)
	if !r.DamagedAt.IsZero() {
		p.Damaged = Damaged{r.DamagedAt, Damage{Paths: r.DamagedPaths, More: int64(r.DamagedMore), Unknown: r.DamagedUnknown}}
	}
	if p.LogicalBytes == 0 {
		p.LogicalBytes = int64(r.LogicalBytes)
	}
	if p.StatusAt.IsZero() {
		p.StatusAt = p.CompletedAt
	}
	if p.IsParent {
		p.StoreID, p.State.ID = "", string(f.ID)
	}
	switch p.Status {
	case Completed, Partial, Stopped, Deleting, Expired:
	case Available:
		p.Status, p.StatusMessage = Stopped, "Continuous backup was stopped: the database was rebuilt from the store."
	default:
		p.Status, p.StatusMessage = Expired, "The status "+r.Status+", which the store holds, is not known."
	}
	return p
}

// creatorOf is what the store knows of the rule that made a recovery point.
func creatorOf(v Vault, r repo.PointRecord) *backupapi.RecoveryPointCreator {
	if r.Plan == "" {
		return nil
	}
	return &backupapi.RecoveryPointCreator{
		BackupPlanArn: new("arn:aws:backup:" + v.Region + ":" + v.Account + ":backup-plan:" + r.Plan), BackupPlanId: new(r.Plan),
		BackupPlanVersion: some(r.PlanVersion), BackupRuleId: some(r.Rule),
	}
}

// RestoreEndTx does what follows for a vault of which all recovery points are recorded: the resources that they are of are
// protected again, children whose parent is not there are recovery points of their own, and what was DELETING is deleted.
func (s *Service) RestoreEndTx(ctx context.Context, tx *meta.Tx, vaultUUID string) error {
	_, err := tx.Exec(ctx, `UPDATE recovery_point SET parent_arn = '', member_id = '', state_version = state_version + 1
		WHERE vault_uuid = ? AND parent_arn <> '' AND NOT EXISTS (SELECT 1 FROM recovery_point p
		WHERE p.vault_uuid = recovery_point.vault_uuid AND p.arn = recovery_point.parent_arn)`, vaultUUID)
	if err != nil {
		return fmt.Errorf("restore vault %s: %w", vaultUUID, err)
	}
	newest, err := selectPoints(ctx, tx, ` WHERE p.vault_uuid = ? AND p.arn = (SELECT q.arn FROM recovery_point q
		WHERE q.vault_uuid = p.vault_uuid AND q.resource_arn = p.resource_arn ORDER BY q.created_at DESC, q.arn DESC LIMIT 1)`, vaultUUID)
	if err != nil {
		return err
	}
	for _, p := range newest {
		if err := s.protect(ctx, tx, p); err != nil {
			return err
		}
	}
	var deleting int
	err = tx.QueryRow(ctx, "SELECT COUNT(*) FROM recovery_point WHERE vault_uuid = ? AND status = 'DELETING'", vaultUUID).Scan(&deleting)
	if err == nil && deleting > 0 {
		err = s.enqueueDeletions(ctx, tx, vaultUUID)
	}
	return errors.Join(err, s.enqueueStates(ctx, tx, vaultUUID))
}
