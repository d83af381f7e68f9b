package ledger

import (
	"context"
	"fmt"

	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/repo"
)

// record appends to the journal what became of a recovery point.
func (t *ledgerTx) record(ctx context.Context, kind repo.JournalKind, id repo.PointID) error {
	e, err := t.journal.NextOf(kind, id)
	if err != nil {
		return err
	}
	return t.append(ctx, e)
}

func (t *ledgerTx) append(ctx context.Context, e repo.JournalEntry) error {
	_, err := t.Exec(ctx, "INSERT INTO ledger_journal (vault, number, kind, id, hash) VALUES (?, ?, ?, ?, ?)",
		t.vault, int64(e.Number), e.Kind, e.ID[:], e.Hash[:])
	if err != nil {
		return fmt.Errorf("append to journal: %w", err)
	}
	t.journal, t.changed = e.Head(), true
	return nil
}

// Announce implements [repo.Points].
func (v *Vault) Announce(ctx context.Context, id repo.SessionID) (head repo.JournalHead, err error) {
	err = v.update(ctx, func(ctx context.Context, t *ledgerTx) error {
		if err := t.demand(ctx, id, repo.SessionWriter); err != nil {
			return err
		}
		err := t.record(ctx, repo.JournalAnnounced, repo.PointID(id))
		head = t.journal
		return err
	})
	return head, err
}

// Journal implements [repo.Points].
func (v *Vault) Journal(ctx context.Context, from uint64, limit int) (all []repo.JournalEntry, err error) {
	err = v.view(ctx, func(ctx context.Context, t *ledgerTx) error {
		all = nil
		rows, err := t.Query(ctx, `SELECT number, kind, id, hash FROM ledger_journal WHERE vault = ? AND number >= ?
			ORDER BY number LIMIT ?`, t.vault, int64(from), limit)
		if err != nil {
			return fmt.Errorf("read journal: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var e repo.JournalEntry
			var id, hash []byte
			if err := rows.Scan(&e.Number, &e.Kind, &id, &hash); err != nil {
				return fmt.Errorf("read journal: %w", err)
			}
			copy(e.ID[:], id)
			copy(e.Hash[:], hash)
			all = append(all, e)
		}
		return rows.Err()
	})
	return all, err
}

// BeginJournalTx begins the journal of a ledger that was restored; highest is the highest number of a head that a manifest
// in the store carries.
func (d *DB) BeginJournalTx(ctx context.Context, tx *meta.Tx, vault string, highest uint64) error {
	return d.within(ctx, tx, vault, func(ctx context.Context, t *ledgerTx) error {
		return t.append(ctx, repo.BeginJournal(highest, t.identity))
	})
}
