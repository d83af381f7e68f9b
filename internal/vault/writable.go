package vault

import (
	"context"
	"errors"

	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/repo"
)

// writable is asked before the transaction of a change that [Service.durable] writes: what it refuses has changed nothing.
// The error for a vault whose key may not be used is what refused makes of the reason.
func (s *Service) writable(ctx context.Context, vaultUUID string, refused func(format string, args ...any) error) error {
	if s.states == nil {
		return nil
	}
	err := s.states.Writable(ctx, vaultUUID)
	if errors.Is(err, ErrKey) {
		return refused("The change cannot be written to the store, and was not made: %v", err)
	}
	return err
}

// unclaimed refuses to change a vault that the server of another database has taken over in the store. It is asked outside
// of transactions, where a change is made here first and in the store later: that the store is away is no reason to refuse.
func (s *Service) unclaimed(ctx context.Context, vaultUUID string) error {
	if s.states == nil {
		return nil
	}
	if err := s.states.Writable(ctx, vaultUUID); errors.Is(err, repo.ErrClaimed) {
		return err
	}
	return nil
}

// TagsChangeable refuses to change the tags of what an ARN names, a vault or a recovery point, if another server has taken
// it over in the store: the error wraps [repo.ErrClaimed]. It is not called inside a transaction.
func (s *Service) TagsChangeable(ctx context.Context, account, name string) error {
	if s.states == nil {
		return nil
	}
	var vaults []Vault
	err := s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) (err error) {
		if region, vault, ok := parseVaultARN(name, account); ok {
			vaults, err = selectVaults(ctx, tx, " WHERE account = ? AND region = ? AND name = ?", account, region, vault)
			return err
		}
		vaults, err = selectVaults(ctx, tx,
			" WHERE uuid IN (SELECT vault_uuid FROM recovery_point WHERE account = ? AND arn = ?) ORDER BY uuid", account, name)
		return err
	})
	for _, v := range vaults {
		if err == nil {
			err = s.unclaimed(ctx, v.UUID)
		}
	}
	return err
}
