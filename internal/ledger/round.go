package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/repo"
)

// TakeRound implements [repo.Rounds].
func (v *Vault) TakeRound(ctx context.Context, holder repo.ID, every, hold time.Duration) (r repo.Round, ok bool, err error) {
	err = v.update(ctx, func(ctx context.Context, t *ledgerTx) error {
		now, err := t.now(ctx)
		if err != nil {
			return err
		}
		if r, err = t.round(ctx); err != nil {
			return err
		}
		if r, ok = r.Taken(holder, now, every, hold); !ok {
			return nil
		}
		return t.putRound(ctx, r)
	})
	return r, ok, err
}

// NoteRound implements [repo.Rounds].
func (v *Vault) NoteRound(ctx context.Context, r repo.Round, hold time.Duration) error {
	return v.update(ctx, func(ctx context.Context, t *ledgerTx) error {
		now, err := t.now(ctx)
		if err != nil {
			return err
		}
		there, err := t.round(ctx)
		if err != nil {
			return err
		}
		noted, err := there.Noted(r, now, hold)
		if err != nil {
			return err
		}
		return t.putRound(ctx, noted)
	})
}

// round reads the row of the vault's round, zero if there is none.
func (t *ledgerTx) round(ctx context.Context) (r repo.Round, err error) {
	var began, until int64
	var holder []byte
	err = t.QueryRow(ctx, "SELECT began_at, place, finished, holder, held_until FROM ledger_round WHERE vault = ?", t.vault).
		Scan(&began, &r.Place, &r.Over, &holder, &until)
	if errors.Is(err, sql.ErrNoRows) {
		return repo.Round{}, nil
	}
	if err != nil {
		return r, fmt.Errorf("read round: %w", err)
	}
	copy(r.Holder[:], holder)
	r.Began, r.Until = meta.FromMicros(began), meta.FromMicros(until)
	return r, nil
}

func (t *ledgerTx) putRound(ctx context.Context, r repo.Round) error {
	_, err := t.Exec(ctx, `INSERT INTO ledger_round (vault, began_at, place, finished, holder, held_until) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (vault) DO UPDATE SET began_at = excluded.began_at, place = excluded.place, finished = excluded.finished,
		holder = excluded.holder, held_until = excluded.held_until`,
		t.vault, meta.Micros(r.Began), r.Place, r.Over, r.Holder[:], meta.Micros(r.Until))
	if err != nil {
		return fmt.Errorf("note round: %w", err)
	}
	return nil
}
