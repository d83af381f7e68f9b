package vault

import (
	"context"
	"fmt"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/meta"
)

// disassociated is why a recovery point is STOPPED that somebody has disassociated.
const disassociated = "Continuous backup was stopped: the recovery point was disassociated."

// StopStream is the work of stopping the stream of a continuous recovery point that is not AVAILABLE any more. The
// deletion of a recovery point stops its stream itself.
type StopStream struct {
	VaultUUID string `json:"vault_uuid"`
	PointARN  string `json:"point_arn"`
}

// Kind names the work.
func (StopStream) Kind() string { return "vault_stop_stream" }

// DisassociateRecoveryPoint stops continuous backup. The recovery point stays as STOPPED, with the data up to now, until
// its retention is over.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DisassociateRecoveryPoint.html.
func (s *Service) DisassociateRecoveryPoint(ctx context.Context, in *backupapi.DisassociateRecoveryPointInput) (*backupapi.DisassociateRecoveryPointOutput, error) {
	if err := checkARN(in.RecoveryPointArn); err != nil {
		return nil, err
	}
	var p Point
	err := s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) (err error) {
		if _, p, err = s.read(ctx, tx, in.BackupVaultName, in.RecoveryPointArn, ""); err != nil {
			return err
		}
		return checkDisassociate(p)
	})
	if err != nil {
		return nil, err
	}
	refusal, err := s.authority.DeleteAuthority(ctx, p)
	if err == nil && refusal != "" {
		err = backupapi.InvalidRequestExceptionf("Recovery point %s cannot be disassociated: %s", p.ARN, refusal)
	}
	if err != nil {
		return nil, err
	}
	err = s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		_, p, err := s.read(ctx, tx, in.BackupVaultName, in.RecoveryPointArn, tx.ForUpdate())
		if err != nil {
			return err
		}
		if err := checkDisassociate(p); err != nil {
			return err
		}
		return s.stop(ctx, tx, p, disassociated)
	})
	if err != nil {
		return nil, err
	}
	return &backupapi.DisassociateRecoveryPointOutput{}, nil
}

func checkDisassociate(p Point) error {
	switch {
	case !p.Continuous:
		return backupapi.InvalidRequestExceptionf("Recovery point %s is not a continuous backup, and cannot be disassociated", p.ARN)
	case p.Status != Available:
		return backupapi.InvalidResourceStateExceptionf("Recovery point %s cannot be disassociated while its status is %s", p.ARN, p.Status)
	}
	return nil
}

// StopPointTx turns a recovery point from AVAILABLE to STOPPED: its stream has ended, for the reason in message. The
// error wraps [ErrNotFound] or [ErrState].
func (s *Service) StopPointTx(ctx context.Context, tx *meta.Tx, vaultUUID, arn, message string) error {
	p, err := s.lockPoint(ctx, tx, vaultUUID, arn)
	if err != nil {
		return err
	}
	return s.stop(ctx, tx, p, message)
}

// stop keeps the data for the whole retention from now on: while the stream ran, what was older left it continuously.
func (s *Service) stop(ctx context.Context, tx *meta.Tx, p Point, message string) error {
	p.DeleteAt = deleteAt(s.now(), p.DeleteAfterDays)
	if err := s.become(ctx, tx, p, Stopped, message); err != nil {
		return err
	}
	err := exec1(ctx, tx, "UPDATE recovery_point SET delete_at = ? WHERE vault_uuid = ? AND arn = ?", micros(p.DeleteAt), p.VaultUUID, p.ARN)
	if err != nil {
		return fmt.Errorf("stop recovery point %s: %w", p.ARN, err)
	}
	return nil
}
