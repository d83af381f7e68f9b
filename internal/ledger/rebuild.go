package ledger

import (
	"context"
	"fmt"
	"slices"

	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/repo"
)

// BeginRebuild marks the database as one that is being built from a store, until [DB.EndRebuildTx]. It may be repeated.
func (d *DB) BeginRebuild(ctx context.Context) error {
	return d.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		begun, err := rebuilding(ctx, tx)
		if err != nil || begun {
			return err
		}
		now, err := tx.Now(ctx)
		if err == nil {
			_, err = tx.Exec(ctx, "INSERT INTO ledger_rebuild (started_at) VALUES (?)", meta.Micros(now))
		}
		return err
	})
}

// Rebuilding reports whether the database is being built, or the building was interrupted.
func (d *DB) Rebuilding(ctx context.Context) (begun bool, err error) {
	err = d.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		begun, err = rebuilding(ctx, tx)
		return err
	})
	return begun, err
}

func rebuilding(ctx context.Context, tx *meta.Tx) (bool, error) {
	var n int
	if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM ledger_rebuild").Scan(&n); err != nil {
		return false, fmt.Errorf("look for a rebuild: %w", err)
	}
	return n > 0, nil
}

// EndRebuildTx ends what [DB.BeginRebuild] began.
func (d *DB) EndRebuildTx(ctx context.Context, tx *meta.Tx) error {
	_, err := tx.Exec(ctx, "DELETE FROM ledger_rebuild")
	return err
}

// RestoreTx makes the ledger of a vault whose former one is lost, with the identity that its newest claim in the store has
// ([repo.Vault.Claim]), the objects found there, and without sessions. Its epochs begin anew: no session of the former
// ledger can act on this one.
func (d *DB) RestoreTx(ctx context.Context, tx *meta.Tx, vault string, identity [16]byte, objects []repo.Object) error {
	_, err := tx.Exec(ctx, "INSERT INTO ledger_vault (vault, identity, epoch, revision) VALUES (?, ?, 0, 0)", vault, identity[:])
	if err != nil {
		return fmt.Errorf("restore ledger of vault %s: %w", vault, err)
	}
	return d.within(ctx, tx, vault, func(ctx context.Context, t *ledgerTx) error {
		now, err := t.now(ctx)
		if err != nil {
			return err
		}
		restored := slices.Clone(objects)
		for i := range restored {
			if restored[i].Kind == repo.ObjectCold {
				restored[i].Registered = now // when it was is not known any more; it must not go too early
			}
		}
		return t.put(ctx, restored)
	})
}

// RestorePointTx records a recovery point that was found in the store.
func (d *DB) RestorePointTx(ctx context.Context, tx *meta.Tx, vault string, id repo.PointID) error {
	_, err := tx.Exec(ctx, "INSERT INTO ledger_point (vault, id, deleting) VALUES (?, ?, FALSE)", vault, string(id))
	if err != nil {
		return fmt.Errorf("restore recovery point %s: %w", id, err)
	}
	return nil
}

// DiscardPointTx records that what was found in the store under the id of a recovery point is left over from a session that
// ended without one, so that the next reclaim sweeps it.
func (d *DB) DiscardPointTx(ctx context.Context, tx *meta.Tx, vault string, id repo.PointID) error {
	_, err := tx.Exec(ctx, "DELETE FROM ledger_point WHERE vault = ? AND id = ?", vault, string(id))
	if err == nil {
		_, err = tx.Exec(ctx, `INSERT INTO ledger_session
			(id, vault, kind, state, job, pin, opened, acked, lease_until, keep_until) VALUES (?, ?, ?, ?, '', '', 0, 0, 0, 0)`,
			string(id), vault, repo.SessionWriter, repo.SessionClosed)
	}
	if err != nil {
		return fmt.Errorf("discard recovery point %s: %w", id, err)
	}
	return nil
}
