package iam

import (
	"context"
	"fmt"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
)

// touchTx tells all nodes that what they remember of identities may be wrong once the transaction is committed. It locks
// a row until then: transactions that begin with it run one after the other, and may count before they add.
func touchTx(ctx context.Context, tx *meta.Tx) error {
	if _, err := tx.Exec(ctx, "UPDATE iam_epoch SET epoch = epoch + 1 WHERE id = 1"); err != nil {
		return fmt.Errorf("touch identities: %w", err)
	}
	return nil
}

// alter runs fn in a transaction that changes what anybody may do. Such transactions run one after the other. This node
// follows the change when alter returns.
func (s *Service) alter(ctx context.Context, fn func(ctx context.Context, tx *meta.Tx) error) error {
	err := s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		if err := touchTx(ctx, tx); err != nil {
			return err
		}
		return fn(ctx, tx)
	})
	s.known.expire() // after an error, too: it may have been committed
	return err
}

// edit is [Service.alter] for a change of the caller's account.
func (s *Service) edit(ctx context.Context, fn func(ctx context.Context, tx *meta.Tx, account string) error) error {
	account := caller.From(ctx).Account
	return s.alter(ctx, func(ctx context.Context, tx *meta.Tx) error { return fn(ctx, tx, account) })
}

// view runs fn in a transaction that reads the caller's account.
func (s *Service) view(ctx context.Context, fn func(ctx context.Context, tx *meta.Tx, account string) error) error {
	account := caller.From(ctx).Account
	return s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error { return fn(ctx, tx, account) })
}
