package vault

import (
	"context"

	"github.com/lockfast/lockfast/arn"
	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/events"
	"github.com/lockfast/lockfast/internal/meta"
)

// deleted is the status that events name when a recovery point or vault has gone, modified when a vault is different.
const (
	deleted  = "DELETED"
	modified = "MODIFIED"
)

// Events keeps what happened.
type Events interface {
	// EnqueueTx records events that the transaction makes happen.
	EnqueueTx(ctx context.Context, tx *meta.Tx, all ...events.Event) error
}

// announce records an event of a recovery point as it is now; name is its name among the events of a vault, or empty.
func (s *Service) announce(ctx context.Context, tx *meta.Tx, kind string, p Point, status string, name backupapi.BackupVaultEvent) error {
	d := events.Point{
		BackupVaultName: p.VaultName, BackupVaultARN: arn.Vault(p.Account, p.Region, p.VaultName),
		CreationDate: events.Time{Time: p.CreatedAt}, CompletionDate: events.Time{Time: p.CompletedAt}, RoleARN: p.RoleARN,
		ResourceType: p.ResourceType, ResourceARN: p.ResourceARN, Status: status, StatusMessage: p.StatusMessage,
		IsEncrypted: "true", StorageClass: string(p.class()), VaultEvent: name,
	}
	if p.DeleteAfterDays > 0 || p.ColdAfterDays > 0 {
		d.Lifecycle = &events.Lifecycle{MoveToColdStorageAfterDays: p.ColdAfterDays, DeleteAfterDays: p.DeleteAfterDays}
	}
	if !p.DeleteAt.IsZero() || !p.ColdAt.IsZero() {
		d.CalculatedLifecycle = &events.DeleteAt{MoveToColdStorageAt: events.Time{Time: p.ColdAt}, DeleteAt: events.Time{Time: p.DeleteAt}}
	}
	return s.events.EnqueueTx(ctx, tx, events.Event{Type: kind, Account: p.Account, Region: p.Region,
		Resources: []string{p.ARN}, Detail: d})
}

// announceVault tells of a vault that was made, changed or deleted.
func (s *Service) announceVault(ctx context.Context, tx *meta.Tx, v Vault, state string) error {
	d := events.Vault{BackupVaultName: v.Name, State: state}
	if state == modified {
		d.IsLocked = "false"
	}
	return s.events.EnqueueTx(ctx, tx, events.Event{Type: events.VaultStateChange, Account: v.Account, Region: v.Region,
		Resources: []string{v.ARN()}, Detail: d})
}

// changed tells of a recovery point that was in another status before. A stream belongs to AVAILABLE: whatever ends
// that status interrupts it.
func (s *Service) changed(ctx context.Context, tx *meta.Tx, p Point, before Status) error {
	if p.Status == before {
		return nil // it was EXPIRED and still is, perhaps for another reason
	}
	var name backupapi.BackupVaultEvent
	if p.Status == Expired || p.Status == Stopped {
		name = backupapi.BackupVaultEventRecoveryPointModified
	}
	if err := s.announce(ctx, tx, events.PointStateChange, p, string(p.Status), name); err != nil || before != Available {
		return err
	}
	if p.Status != Deleting { // whose work includes it
		if err := tx.Enqueue(ctx, StopStream{p.VaultUUID, p.ARN}, nil); err != nil {
			return err
		}
	}
	return s.announce(ctx, tx, events.PointChange, p, string(p.Status), backupapi.BackupVaultEventContinuousBackupInterrupted)
}
