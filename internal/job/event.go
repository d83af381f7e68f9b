package job

import (
	"context"
	"strings"

	"github.com/lockfast/lockfast/arn"
	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/events"
	"github.com/lockfast/lockfast/internal/meta"
)

// announce tells of a copy job that has another state now.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/eventbridge.html.
func (s *Service) announce(ctx context.Context, tx *meta.Tx, j Copy) error {
	if s.Events == nil {
		return nil
	}
	d := events.CopyJob{
		CopyJobID: j.ID, State: string(j.State), BackupSizeInBytes: j.SizeBytes, CreationDate: events.Time{Time: j.CreatedAt},
		CompletionDate: events.Time{Time: j.CompletedAt}, RoleARN: j.RoleARN, ResourceARN: j.ResourceARN, ResourceType: j.ResourceType,
		SourceVaultARN: j.SourceVaultARN, DestinationVaultARN: j.VaultARN, StatusMessage: j.Message, CreatedBy: planOf(j.CreatedBy),
		VaultEvent: copyEvent(j.State), SourceVaultName: j.SourceVaultARN[strings.LastIndexByte(j.SourceVaultARN, ':')+1:],
	}
	if j.hasCopy() {
		d.DestinationPointARN = j.PointARN
	}
	return s.Events.EnqueueTx(ctx, tx, events.Event{Type: events.CopyStateChange, Account: j.Account, Region: j.Region,
		Resources: []string{j.SourcePointARN}, Detail: d})
}

// copyEvent is the name of a state among the events of a vault; empty for those that have none.
func copyEvent(s State) backupapi.BackupVaultEvent {
	switch s {
	case Running:
		return backupapi.BackupVaultEventCopyJobStarted
	case Completed:
		return backupapi.BackupVaultEventCopyJobSuccessful
	case Failed, Partial:
		return backupapi.BackupVaultEventCopyJobFailed
	}
	return ""
}

func planOf(c *backupapi.RecoveryPointCreator) *events.Creator {
	if c == nil {
		return nil
	}
	text := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	return &events.Creator{PlanID: text(c.BackupPlanId), PlanARN: text(c.BackupPlanArn), PlanVersion: text(c.BackupPlanVersion),
		RuleID: text(c.BackupRuleId)}
}

// tell tells of a job that has another state now.
func (s *Service) tell(ctx context.Context, tx *meta.Tx, k Kind, id string) error {
	if s.Events == nil {
		return nil
	}
	switch k {
	case Copies:
		j, err := copyTx(ctx, tx, id, "")
		if err != nil {
			return err
		}
		return s.announce(ctx, tx, j)
	case Restores:
		r, err := restoreTx(ctx, tx, id, "")
		if err != nil {
			return err
		}
		return s.Events.EnqueueTx(ctx, tx, restoreEvent(r))
	}
	b, err := backupTx(ctx, tx, id, "")
	if err != nil {
		return err
	}
	return s.Events.EnqueueTx(ctx, tx, backupEvent(b))
}

// backupEvent tells the state of a backup job. Of a new one it tells as little as AWS does.
func backupEvent(b Backup) events.Event {
	d := events.BackupJob{BackupJobID: b.ID, State: string(b.State), CreationDate: events.Time{Time: b.CreatedAt},
		VaultName: b.VaultName, PointARN: b.PointARN, VaultEvent: backupName(b.State)}
	e := events.Event{Type: events.BackupStateChange, Account: b.Account, Region: b.Region}
	if b.State == Created && b.Retries == 0 {
		e.Detail = d
		return e
	}
	d.BackupVaultARN, d.BackupVaultName = arn.Vault(b.Account, b.Region, b.VaultName), b.VaultName
	d.BytesTransferred, d.BackupSizeInBytes, d.PercentDone, d.RetryCount = &b.BytesStored, &b.BytesStored, new(b.percent()), &b.Retries
	d.StartBy, d.CompletionDate = events.Time{Time: b.StartBy}, events.Time{Time: b.CompletedAt}
	d.RoleARN, d.ResourceARN, d.ResourceType, d.StatusMessage = b.RoleARN, b.ResourceARN, b.ResourceType, b.Message
	d.CreatedBy = planOf(b.CreatedBy)
	if b.State == Completed {
		e.Resources = []string{b.PointARN}
	}
	e.Detail = d
	return e
}

// backupName is the name of a state of backup jobs among the events of a vault; empty for those that have none.
func backupName(s State) backupapi.BackupVaultEvent {
	switch s {
	case Running:
		return backupapi.BackupVaultEventBackupJobStarted
	case Completed:
		return backupapi.BackupVaultEventBackupJobSuccessful
	case Failed, Partial:
		return backupapi.BackupVaultEventBackupJobFailed
	case Expired:
		return backupapi.BackupVaultEventBackupJobExpired
	case Aborted:
		return backupapi.BackupVaultEventBackupJobCompleted // the name of all ends
	}
	return ""
}

func restoreEvent(r Restore) events.Event {
	d := events.RestoreJob{
		RestoreJobID: r.ID, Status: string(r.State), BackupVaultARN: arn.Vault(r.Account, r.Region, r.VaultName), RecoveryPointARN: r.PointARN,
		SourceResourceARN: r.SourceARN, BackupSizeInBytes: r.SizeBytes, CreationDate: events.Time{Time: r.CreatedAt},
		CompletionDate: events.Time{Time: r.CompletedAt}, RoleARN: r.RoleARN, PercentDone: r.percent(), ResourceType: r.ResourceType,
		CreatedResourceARN: r.CreatedResourceARN, StatusMessage: r.Message, VaultName: r.VaultName,
	}
	switch r.State {
	case Running:
		d.VaultEvent = backupapi.BackupVaultEventRestoreJobStarted
	case Completed:
		d.VaultEvent = backupapi.BackupVaultEventRestoreJobSuccessful
	case Failed:
		d.VaultEvent = backupapi.BackupVaultEventRestoreJobFailed
	case Aborted, Expired:
		d.VaultEvent = backupapi.BackupVaultEventRestoreJobCompleted
	}
	return events.Event{Type: events.RestoreStateChange, Account: r.Account, Region: r.Region, Resources: []string{r.PointARN}, Detail: d}
}
