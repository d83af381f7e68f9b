package plan

import (
	"context"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/events"
	"github.com/lockfast/lockfast/internal/meta"
)

// Events keeps what happened.
type Events interface {
	// EnqueueTx records events that the transaction makes happen.
	EnqueueTx(ctx context.Context, tx *meta.Tx, all ...events.Event) error
}

// announce tells of a plan that was made, has another version, or is deleted.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/eventbridge.html.
func (s *Service) announce(ctx context.Context, tx *meta.Tx, p Plan, state string) error {
	if s.o.Events == nil {
		return nil
	}
	d := events.Plan{BackupPlanID: p.ID, VersionID: p.Version, State: state}
	switch state {
	case created:
		d.CreationDate, d.VaultEvent = events.Time{Time: p.CreatedAt}, backupapi.BackupVaultEventBackupPlanCreated
	case modified:
		d.ModifiedAt, d.VaultEvent = events.Time{Time: s.now()}, backupapi.BackupVaultEventBackupPlanModified
	case deleted:
		d.DeletionDate = events.Time{Time: p.DeletedAt}
	}
	return s.o.Events.EnqueueTx(ctx, tx, events.Event{Type: events.PlanStateChange, Account: p.Account, Region: p.Region,
		Resources: []string{p.ARN()}, Detail: d})
}

// What events tell of a plan.
const (
	created  = "CREATED"
	modified = "MODIFIED"
	deleted  = "DELETED"
)
