package vault

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/events"
	"github.com/lockfast/lockfast/internal/meta"
)

// Composite is what a recovery point of a group, or of a member of one, has in addition. That of the group is the parent:
// it has no data, and is COMPLETED as long as all members have a child, a recovery point in the same vault, and PARTIAL
// when one has not or a child that is a parent itself is PARTIAL. Its retention is the longest of its children's. It can
// be deleted when it has no children left but those that are DELETING.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/applicationstackbackups.html.
type Composite struct {
	IsParent  bool
	ParentARN string // empty for what is nobody's child
	MemberID  string // name of the resource in the group
}

// childrenOf selects the children of a recovery point that have not gone.
const childrenOf = " WHERE p.vault_uuid = ? AND p.parent_arn = ? AND p.status <> 'DELETING'"

// childless is the condition that a recovery point is no parent of children that have not gone.
const childless = `(p.is_parent = FALSE OR NOT EXISTS (SELECT 1 FROM recovery_point c
	WHERE c.vault_uuid = p.vault_uuid AND c.parent_arn = p.arn AND c.status <> 'DELETING'))`

// place records what a new recovery point has to do with others.
func (s *Service) place(ctx context.Context, tx *meta.Tx, p Point, c Composite) (Point, error) {
	if p.Composite = c; c == (Composite{}) {
		return p, nil
	}
	return p, exec1(ctx, tx, "UPDATE recovery_point SET is_parent = ?, parent_arn = ?, member_id = ? WHERE vault_uuid = ? AND arn = ?",
		c.IsParent, c.ParentARN, c.MemberID, p.VaultUUID, p.ARN)
}

// CompleteParentTx turns a parent from CREATING to COMPLETED, or to PARTIAL if members are missing: c.StatusMessage names
// those that were not backed up, and children may have gone meanwhile. The errors are those of [Service.CompletePointTx].
func (s *Service) CompleteParentTx(ctx context.Context, tx *meta.Tx, vaultUUID, arn string, c Completion) error {
	p, err := s.lockPoint(ctx, tx, vaultUUID, arn)
	if err != nil {
		return err
	}
	tags, err := encode(c.SourceTags)
	if err != nil {
		return err
	}
	address, err := encode(c.Address)
	if err != nil {
		return err
	}
	p.CompletedAt = s.now()
	to, message := Completed, join(p.StatusMessage, c.StatusMessage)
	if message != "" {
		to = Partial
	}
	if err := s.become(ctx, tx, p, to, message); err != nil {
		return err
	}
	err = exec1(ctx, tx, "UPDATE recovery_point SET completed_at = ?, source_tags = ?, address = ? WHERE vault_uuid = ? AND arn = ?",
		micros(p.CompletedAt), tags, address, vaultUUID, arn)
	if err != nil {
		return err
	}
	if err := s.tags.SetTagsTx(ctx, tx, p.Account, p.ARN, c.Tags); err != nil {
		return err
	}
	if err := s.adjust(ctx, tx, vaultUUID, arn); err != nil {
		return err
	}
	if err := s.touch(ctx, tx, vaultUUID, arn); err != nil {
		return err
	}
	return s.protect(ctx, tx, p)
}

// DropParentTx removes the row of a parent whose job did not complete. The children that there are stay, with no parent. It
// does nothing if there is no such row.
func (s *Service) DropParentTx(ctx context.Context, tx *meta.Tx, vaultUUID, arn string) error {
	p, err := s.lockPoint(ctx, tx, vaultUUID, arn)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil || p.Status != Creating {
		return err
	}
	if err := s.release(ctx, tx, p); err != nil {
		return err
	}
	return s.DropCreatingTx(ctx, tx, vaultUUID, arn)
}

// release makes children of a parent that goes recovery points of their own.
func (s *Service) release(ctx context.Context, tx *meta.Tx, p Point) error {
	_, err := tx.Exec(ctx, `UPDATE recovery_point SET parent_arn = '', member_id = '', state_version = state_version + 1
		WHERE vault_uuid = ? AND parent_arn = ?`, p.VaultUUID, p.ARN)
	if err != nil {
		return fmt.Errorf("release children of recovery point %s: %w", p.ARN, err)
	}
	return s.enqueueStates(ctx, tx, p.VaultUUID)
}

// checkChildless refuses the deletion of a parent that has children left. The refusal is an API error.
func (s *Service) checkChildless(ctx context.Context, tx *meta.Tx, p Point) error {
	if !p.IsParent {
		return nil
	}
	var left int64
	err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM recovery_point p"+childrenOf, p.VaultUUID, p.ARN).Scan(&left)
	switch {
	case err != nil:
		return fmt.Errorf("count children of recovery point %s: %w", p.ARN, err)
	case left > 0:
		return backupapi.InvalidRequestExceptionf("Recovery point %s is composite and cannot be deleted before its nested recovery "+
			"points: delete or disassociate them first; there are %d", p.ARN, left)
	}
	return nil
}

// related does for parents and children what follows from a recovery point's change from p.Status to another one, which has
// been made. The vault is locked.
func (s *Service) related(ctx context.Context, tx *meta.Tx, p Point, to Status) error {
	if to == Deleting && p.IsParent {
		if err := s.release(ctx, tx, p); err != nil {
			return err
		}
	}
	switch {
	case p.ParentARN == "":
		return nil
	case to == Deleting:
		return s.lost(ctx, tx, p, "was deleted")
	case to == Partial && p.Status == Completed:
		return s.lost(ctx, tx, p, "is incomplete")
	}
	return nil
}

// lost makes a parent PARTIAL of which a child has gone in some way.
func (s *Service) lost(ctx context.Context, tx *meta.Tx, child Point, how string) error {
	p, err := pointIn(ctx, tx, child.VaultUUID, child.ParentARN)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	message := join(p.StatusMessage, fmt.Sprintf("Member %s %s.", child.MemberID, how))
	switch p.Status {
	case Completed:
		err = s.become(ctx, tx, p, Partial, message)
	case Partial, Creating: // CREATING becomes PARTIAL in the end if it has a message
		err = exec1(ctx, tx, "UPDATE recovery_point SET status_message = ? WHERE vault_uuid = ? AND arn = ?",
			message, p.VaultUUID, p.ARN)
		if err == nil {
			err = s.touch(ctx, tx, p.VaultUUID, p.ARN)
		}
	}
	if err != nil {
		return err
	}
	return s.adjust(ctx, tx, p.VaultUUID, p.ARN)
}

// maxMessage is the length in bytes from which on the message of a parent gets no longer.
const maxMessage = 4000

// join puts two statements behind each other, each of which may be empty. What has been said is not repeated.
func join(first, second string) string {
	if len(first) > maxMessage || strings.Contains(first, second) {
		return first
	}
	return strings.TrimSpace(first + " " + second)
}

// adjust gives a parent, and the parents above it, the longest retention of its children. One without children keeps what
// it has.
func (s *Service) adjust(ctx context.Context, tx *meta.Tx, vaultUUID, arn string) error {
	for arn != "" {
		p, err := pointIn(ctx, tx, vaultUUID, arn)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		longest, ok, err := longestRetention(ctx, tx, p)
		if err != nil || !ok || longest == p.DeleteAfterDays || p.Status == Creating || p.Status == Deleting {
			return err
		}
		err = exec1(ctx, tx, "UPDATE recovery_point SET delete_after_days = ?, delete_at = ? WHERE vault_uuid = ? AND arn = ?",
			longest, micros(deleteAt(p.CreatedAt, longest)), p.VaultUUID, p.ARN)
		if err == nil {
			err = s.touch(ctx, tx, p.VaultUUID, p.ARN)
		}
		if err != nil {
			return err
		}
		p.DeleteAfterDays, p.DeleteAt = longest, deleteAt(p.CreatedAt, longest)
		err = s.announce(ctx, tx, events.PointChange, p, string(p.Status), backupapi.BackupVaultEventRecoveryPointModified)
		if err != nil {
			return err
		}
		arn = p.ParentARN
	}
	return nil
}

// longestRetention is the longest retention among the children of a parent in days, 0 for ever; ok is false if it has none.
func longestRetention(ctx context.Context, tx *meta.Tx, p Point) (days int64, ok bool, err error) {
	var children, forever int64
	err = tx.QueryRow(ctx, `SELECT COUNT(*), CAST(COALESCE(SUM(CASE WHEN p.delete_after_days = 0 THEN 1 ELSE 0 END), 0) AS BIGINT),
		COALESCE(MAX(p.delete_after_days), 0) FROM recovery_point p`+childrenOf, p.VaultUUID, p.ARN).Scan(&children, &forever, &days)
	if err != nil {
		return 0, false, fmt.Errorf("read retention of children of recovery point %s: %w", p.ARN, err)
	}
	if forever > 0 {
		days = 0
	}
	return days, children > 0, nil
}

// checkParentLifecycle refuses to give a parent another retention than its children have. The refusal is an API error.
func (s *Service) checkParentLifecycle(ctx context.Context, tx *meta.Tx, p Point) error {
	if !p.IsParent {
		return nil
	}
	longest, ok, err := longestRetention(ctx, tx, p)
	if err == nil && ok && longest != p.DeleteAfterDays {
		err = backupapi.InvalidRequestExceptionf("The lifecycle of recovery point %s, which is composite, is the longest of its "+
			"nested recovery points: change theirs", p.ARN)
	}
	return err
}

// checkReadable refuses to read the data of a parent, which has none. The refusal is an API error.
func checkReadable(p Point) error {
	if !p.IsParent {
		return nil
	}
	return backupapi.InvalidRequestExceptionf("Recovery point %s is composite: it has no data of its own and cannot be restored "+
		"itself. Restore its members, the recovery points of which it is the parent", p.ARN)
}

// DisassociateRecoveryPointFromParent makes a child a recovery point of its own. Its parent stays, and becomes PARTIAL.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/applicationstackbackups.html.
func (s *Service) DisassociateRecoveryPointFromParent(ctx context.Context, in *backupapi.DisassociateRecoveryPointFromParentInput) (*backupapi.DisassociateRecoveryPointFromParentOutput, error) {
	if err := checkARN(in.RecoveryPointArn); err != nil {
		return nil, err
	}
	err := s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		_, p, err := s.read(ctx, tx, in.BackupVaultName, in.RecoveryPointArn, tx.ForUpdate())
		switch {
		case err != nil:
			return err
		case p.ParentARN == "":
			return backupapi.InvalidRequestExceptionf("Recovery point %s is not nested in a composite one", p.ARN)
		case p.Status == Creating, p.Status == Deleting:
			return backupapi.InvalidRequestExceptionf("Recovery point %s cannot be disassociated from its parent while its status is %s",
				p.ARN, p.Status)
		}
		err = exec1(ctx, tx, "UPDATE recovery_point SET parent_arn = '', member_id = '' WHERE vault_uuid = ? AND arn = ?", p.VaultUUID, p.ARN)
		if err == nil {
			err = s.touch(ctx, tx, p.VaultUUID, p.ARN)
		}
		if err != nil {
			return err
		}
		return s.lost(ctx, tx, p, "was disassociated")
	})
	if err != nil {
		return nil, err
	}
	return &backupapi.DisassociateRecoveryPointFromParentOutput{}, nil
}
