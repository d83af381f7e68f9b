package task

import (
	"context"
	"database/sql"
	"errors"

	"github.com/lockfast/lockfast/arn"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
)

// StartReclaim starts to give back all space of a vault that no recovery point needs.
func (s *Service) StartReclaim(ctx context.Context, in *lockfastapi.StartReclaimInput) (*lockfastapi.StartReclaimOutput, error) {
	id, err := s.startOn(ctx, in.BackupVaultName, Task{Kind: lockfastapi.TaskKindReclaim})
	if err != nil {
		return nil, err
	}
	return &lockfastapi.StartReclaimOutput{TaskId: id}, nil
}

// defaultLevel reads every byte: who asks for a verification wants to know.
const defaultLevel = 3

// StartVerification starts to check a vault; levels 0 to 3 as in docs/format.md.
func (s *Service) StartVerification(ctx context.Context, in *lockfastapi.StartVerificationInput) (*lockfastapi.StartVerificationOutput, error) {
	level := defaultLevel
	if in.Level != nil {
		level = *in.Level
	}
	id, err := s.startOn(ctx, in.BackupVaultName, Task{Kind: lockfastapi.TaskKindVerification, Level: level})
	if err != nil {
		return nil, err
	}
	return &lockfastapi.StartVerificationOutput{TaskId: id}, nil
}

// knownFirst is the level of a repair that verifies the vault only if no damage is known.
const knownFirst = -1

// StartRepair starts to replace what is damaged in a vault: what is known to be, or what a verification finds. The other
// vault is one of the same account and region.
func (s *Service) StartRepair(ctx context.Context, in *lockfastapi.StartRepairInput) (*lockfastapi.StartRepairOutput, error) {
	t := Task{Kind: lockfastapi.TaskKindRepair, Level: knownFirst}
	if in.Level != nil {
		t.Level = *in.Level
	}
	if in.SourceBackupVaultName != nil {
		if *in.SourceBackupVaultName == in.BackupVaultName {
			return nil, lockfastapi.InvalidParameterValueExceptionf("SourceBackupVaultName is the vault that is to be repaired")
		}
		c := caller.From(ctx)
		var err error
		if t.SourceUUID, err = s.vaults.VaultUUID(ctx, c.Account, c.Region, *in.SourceBackupVaultName); err != nil {
			return nil, err
		}
	}
	id, err := s.startOn(ctx, in.BackupVaultName, t)
	if err != nil {
		return nil, err
	}
	return &lockfastapi.StartRepairOutput{TaskId: id}, nil
}

// startOn starts a task of which the kind and what belongs to it are given.
func (s *Service) startOn(ctx context.Context, vault string, t Task) (string, error) {
	c := caller.From(ctx)
	vaultUUID, err := s.vaults.VaultUUID(ctx, c.Account, c.Region, vault)
	if err != nil {
		return "", err
	}
	t.Account, t.Region, t.VaultUUID, t.VaultName = c.Account, c.Region, vaultUUID, vault
	return s.start(ctx, t)
}

// DescribeTask describes a reclaim, a verification or a repair, for 30 days after its end.
func (s *Service) DescribeTask(ctx context.Context, in *lockfastapi.DescribeTaskInput) (*lockfastapi.DescribeTaskOutput, error) {
	c := caller.From(ctx)
	var t Task
	err := s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) (err error) {
		t, err = read(ctx, tx, in.TaskId, "")
		return err
	})
	if errors.Is(err, sql.ErrNoRows) || err == nil && (t.Account != c.Account || t.Region != c.Region) {
		return nil, lockfastapi.ResourceNotFoundExceptionf("Task %s does not exist.", in.TaskId)
	}
	if err != nil {
		return nil, err
	}
	out := &lockfastapi.DescribeTaskOutput{
		TaskId: t.ID, Kind: t.Kind, BackupVaultName: t.VaultName, State: t.State, Done: t.Done, Total: t.Total,
		CreationDate: t.CreatedAt, Report: t.Report,
	}
	if t.StatusMessage != "" {
		out.StatusMessage = &t.StatusMessage
	}
	if !t.CompletedAt.IsZero() {
		out.CompletionDate = &t.CompletedAt
	}
	return out, nil
}

// Routes registers the operations.
func (s *Service) Routes(own *restjson.Router) {
	restjson.Handle(own, lockfastapi.StartReclaim, s.StartReclaim,
		func(c caller.Caller, in *lockfastapi.StartReclaimInput) []restjson.Access {
			return onVault(c, "lockfast:StartReclaim", in.BackupVaultName)
		})
	restjson.Handle(own, lockfastapi.StartVerification, s.StartVerification,
		func(c caller.Caller, in *lockfastapi.StartVerificationInput) []restjson.Access {
			return onVault(c, "lockfast:StartVerification", in.BackupVaultName)
		})
	restjson.Handle(own, lockfastapi.StartRepair, s.StartRepair,
		func(c caller.Caller, in *lockfastapi.StartRepairInput) []restjson.Access {
			access := onVault(c, "lockfast:StartRepair", in.BackupVaultName)
			if in.SourceBackupVaultName != nil { // whose contents are read
				access = append(access, onVault(c, "lockfast:StartRepair", *in.SourceBackupVaultName)...)
			}
			return access
		})
	restjson.Handle(own, lockfastapi.DescribeTask, s.DescribeTask,
		func(caller.Caller, *lockfastapi.DescribeTaskInput) []restjson.Access {
			return caller.OnAll("lockfast:DescribeTask")
		})
}

func onVault(c caller.Caller, action, vault string) []restjson.Access {
	return caller.On(action, arn.Vault(c.Account, c.Region, vault))
}
