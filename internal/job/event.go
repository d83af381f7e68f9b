package job

import (
	"context"
	"strings"

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
