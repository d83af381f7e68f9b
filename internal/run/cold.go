package run

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/lockfast/lockfast/internal/ledger"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/vault"
	"github.com/lockfast/lockfast/repo"
)

// renewCold is how often a move to cold storage gives a sign of life.
const renewCold = 20 * time.Second

// Colder moves recovery points to cold storage when their lifecycle says so. Nobody's role is asked: the lifecycle was set
// by somebody who was allowed to.
type Colder struct {
	DB      *meta.DB
	Vaults  *vault.Service
	Ledgers *ledger.DB
	Store   *Store
	// Moved is called after a recovery point of a vault has been moved.
	Moved func(vaultUUID string)
	Log   *slog.Logger
}

// Sweep moves every recovery point that is due, one after the other. What fails is tried again by a later call, after a
// pause that grows with each failure. It may run on several nodes at once.
func (c *Colder) Sweep(ctx context.Context) error {
	err := errors.Join(c.Vaults.ParentsToCold(ctx), c.removeLeftovers(ctx))
	for err == nil {
		m, ok, claimErr := c.Vaults.ClaimColdMove(ctx)
		if claimErr != nil || !ok {
			return errors.Join(claimErr, c.Vaults.ParentsToCold(ctx))
		}
		err = c.settle(ctx, m)
	}
	return err
}

// settle makes a move, and ends the claim if it fails. Only what concerns all moves is an error.
func (c *Colder) settle(ctx context.Context, m vault.ColdMove) error {
	log := c.Log.With("recovery_point", m.ARN, "vault", m.VaultName)
	err := reporting(ctx, log, vault.ErrState, paced(renewCold, func(ctx context.Context) error { return c.Vaults.RenewColdMove(ctx, m) }),
		func(ctx context.Context) error { return c.move(ctx, m) })
	if err == nil {
		log.InfoContext(ctx, "recovery point moved to cold storage")
		c.Moved(m.VaultUUID)
		return c.removeLeftovers(ctx)
	}
	stopping := ctx.Err() != nil
	if !stopping {
		log.WarnContext(ctx, "recovery point not moved to cold storage", "error", err)
	}
	return errors.Join(c.Vaults.EndColdMove(context.WithoutCancel(ctx), m, !stopping), ctx.Err())
}

// move brings the contents into cold storage, and then makes what was made there the recovery point, in one transaction.
// Until then, and for those who read it meanwhile also afterwards, it is what it was.
func (c *Colder) move(ctx context.Context, m vault.ColdMove) (err error) {
	v, err := c.Store.Vault(ctx, m.VaultUUID, m.Account)
	if err != nil {
		return err
	}
	w, err := v.NewWriter(ctx, repo.WriterOptions{Job: "cold " + m.ARN, Cold: repo.PointID(m.StoreID)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Abort(context.WithoutCancel(ctx))) }() // it is over also after a commit
	if err := w.MoveToCold(ctx); err != nil {
		return err
	}
	p, err := w.Prepare(ctx, w.Source().Facts())
	if err != nil {
		return err
	}
	return c.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		if err := c.Vaults.MovedTx(ctx, tx, m, string(p.Point), p.Stats.BytesStored); err != nil {
			return err
		}
		if err := c.Ledgers.CommitTx(ctx, tx, m.VaultUUID, p); err != nil {
			return err
		}
		return c.Ledgers.DeleteTx(ctx, tx, m.VaultUUID, repo.PointID(m.StoreID))
	})
}

// removeLeftovers removes manifests and refsets of what was moved. A vault that cannot be opened now keeps its own.
func (c *Colder) removeLeftovers(ctx context.Context) error {
	left, err := c.Vaults.Moved(ctx)
	for _, l := range left {
		if err := c.remove(ctx, l); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			c.Log.WarnContext(ctx, "leftover of a move to cold storage not removed", "recovery_point", l.ARN, "error", err)
		}
	}
	return err
}

func (c *Colder) remove(ctx context.Context, l vault.Leftover) error {
	v, err := c.Store.Existing(ctx, l.VaultUUID)
	if err != nil {
		return err
	}
	if v != nil {
		if err := v.DeletePoint(ctx, repo.PointID(l.StoreID)); err != nil && !errors.Is(err, repo.ErrNotFound) {
			return err
		}
	}
	return c.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		if err := c.Vaults.LeftoverGoneTx(ctx, tx, l); err != nil {
			return err
		}
		return c.Ledgers.RemoveTx(ctx, tx, l.VaultUUID, repo.PointID(l.StoreID))
	})
}
