package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/repo"
)

// Commit implements [repo.Points].
func (v *Vault) Commit(ctx context.Context, p repo.Prepared) error {
	return v.updateTx(ctx, func(ctx context.Context, tx *meta.Tx) error { return v.d.CommitTx(ctx, tx, v.name, p) })
}

// CommitTx is [repo.Points.Commit] within a larger transaction, which commits
// the recovery point together with the rows of others.
func (d *DB) CommitTx(ctx context.Context, tx *meta.Tx, vault string, p repo.Prepared) error {
	return d.within(ctx, tx, vault, func(ctx context.Context, t *ledgerTx) error {
		switch _, err := t.point(ctx, p.Point); {
		case err == nil:
			return nil // an earlier answer was lost
		case !errors.Is(err, repo.ErrNotFound):
			return err
		}
		if err := t.demand(ctx, p.Session, repo.SessionWriter); err != nil {
			return err
		}
		if err := t.checkPacks(ctx, p); err != nil {
			return err
		}
		for _, step := range []struct {
			text string
			args []any
		}{
			{"INSERT INTO ledger_point (vault, id, deleting) VALUES (?, ?, FALSE)", []any{vault, string(p.Point)}},
			{"DELETE FROM ledger_object WHERE vault = ? AND session = ? AND state = 1", []any{vault, string(p.Session)}},
			{"DELETE FROM ledger_session WHERE vault = ? AND id = ?", []any{vault, string(p.Session)}},
		} {
			if _, err := t.Exec(ctx, step.text, step.args...); err != nil {
				return fmt.Errorf("commit recovery point %s: %w", p.Point, err)
			}
		}
		return t.record(ctx, repo.JournalCommitted, p.Point)
	})
}

// checkPacks demands that every pack of the point is there or says where its
// slots went.
func (t *ledgerTx) checkPacks(ctx context.Context, p repo.Prepared) error {
	known, err := t.load(ctx, p.Packs)
	if err != nil {
		return err
	}
	good := make(map[repo.ID]bool, len(known))
	for _, o := range known {
		moved := o.State == repo.ObjectRetired && o.Remap != nil
		good[o.ID] = o.Kind != repo.ObjectSegment && (o.State == repo.ObjectLive || o.State == repo.ObjectCondemned || moved)
	}
	for _, id := range p.Packs {
		if !good[id] {
			return fmt.Errorf("recovery point %s needs pack %s, which is gone: %w", p.Point, id, repo.ErrFenced)
		}
	}
	return nil
}

// point reads whether a point is being deleted, or [repo.ErrNotFound].
func (t *ledgerTx) point(ctx context.Context, id repo.PointID) (deleting bool, err error) {
	row := t.QueryRow(ctx, "SELECT deleting FROM ledger_point WHERE vault = ? AND id = ?", t.vault, string(id))
	if err := row.Scan(&deleting); errors.Is(err, sql.ErrNoRows) {
		return false, fmt.Errorf("recovery point %s: %w", id, repo.ErrNotFound)
	} else if err != nil {
		return false, fmt.Errorf("recovery point %s: %w", id, err)
	}
	return deleting, nil
}

// Delete implements [repo.Points].
func (v *Vault) Delete(ctx context.Context, id repo.PointID) error {
	return v.updateTx(ctx, func(ctx context.Context, tx *meta.Tx) error { return v.d.DeleteTx(ctx, tx, v.name, id) })
}

// DeleteTx is [repo.Points.Delete] within a larger transaction.
func (d *DB) DeleteTx(ctx context.Context, tx *meta.Tx, vault string, id repo.PointID) error {
	return d.within(ctx, tx, vault, func(ctx context.Context, t *ledgerTx) error {
		if _, err := t.point(ctx, id); err != nil {
			return err
		}
		_, err := t.Exec(ctx, "UPDATE ledger_point SET deleting = TRUE WHERE vault = ? AND id = ?", vault, string(id))
		return err
	})
}

// HasTx reports whether a vault has a recovery point that is not being deleted, which stays so until the transaction ends.
func (d *DB) HasTx(ctx context.Context, tx *meta.Tx, vault string, id repo.PointID) (has bool, err error) {
	err = d.within(ctx, tx, vault, func(ctx context.Context, t *ledgerTx) error {
		deleting, err := t.point(ctx, id)
		has = err == nil && !deleting
		return err
	})
	if errors.Is(err, repo.ErrNotFound) {
		return false, nil
	}
	return has, err
}

// Remove implements [repo.Points].
func (v *Vault) Remove(ctx context.Context, id repo.PointID) error {
	return v.updateTx(ctx, func(ctx context.Context, tx *meta.Tx) error { return v.d.RemoveTx(ctx, tx, v.name, id) })
}

// RemoveTx is [repo.Points.Remove] within a larger transaction.
func (d *DB) RemoveTx(ctx context.Context, tx *meta.Tx, vault string, id repo.PointID) error {
	return d.within(ctx, tx, vault, func(ctx context.Context, t *ledgerTx) error {
		r, err := t.Exec(ctx, "DELETE FROM ledger_point WHERE vault = ? AND id = ?", vault, string(id))
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n == 0 {
			return err
		}
		now, err := t.now(ctx)
		if err != nil {
			return err
		}
		_, err = t.Exec(ctx, "INSERT INTO ledger_ended (vault, id, ended) VALUES (?, ?, ?) ON CONFLICT (vault, id) DO NOTHING",
			vault, string(id), meta.Micros(now))
		if err != nil {
			return err
		}
		t.free()
		return t.record(ctx, repo.JournalRemoved, id)
	})
}

// Ended implements [repo.Points].
func (v *Vault) Ended(ctx context.Context, ids []repo.PointID) (ended []repo.PointID, err error) {
	err = v.view(ctx, func(ctx context.Context, t *ledgerTx) error {
		ended = nil
		for some := range slices.Chunk(ids, batch) {
			if err := t.ended(ctx, some, &ended); err != nil {
				return fmt.Errorf("read what has ended: %w", err)
			}
		}
		return nil
	})
	return ended, err
}

// ended appends those of some ids that are over.
func (t *ledgerTx) ended(ctx context.Context, some []repo.PointID, all *[]repo.PointID) error {
	rows, err := t.Query(ctx, "SELECT id FROM ledger_ended WHERE vault = ? AND id IN ("+marks(len(some))+")",
		append([]any{t.vault}, anys(some)...)...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id repo.PointID
		if err := rows.Scan(&id); err != nil {
			return err
		}
		*all = append(*all, id)
	}
	return rows.Err()
}

// Snapshot implements [repo.Points].
func (v *Vault) Snapshot(ctx context.Context) (s repo.Snapshot, err error) {
	err = v.view(ctx, func(ctx context.Context, t *ledgerTx) error {
		s = repo.Snapshot{Epoch: t.epoch, Journal: t.journal}
		if s.Points, err = t.points(ctx); err != nil {
			return err
		}
		s.Sessions, err = t.sessions(ctx, "")
		return err
	})
	return s, err
}

func (t *ledgerTx) points(ctx context.Context) ([]repo.PointState, error) {
	rows, err := t.Query(ctx, "SELECT id, deleting FROM ledger_point WHERE vault = ? ORDER BY id", t.vault)
	if err != nil {
		return nil, fmt.Errorf("read recovery points: %w", err)
	}
	defer rows.Close()
	var all []repo.PointState
	for rows.Next() {
		var p repo.PointState
		if err := rows.Scan(&p.ID, &p.Deleting); err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, rows.Err()
}
