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

// Open implements [repo.Sessions].
func (v *Vault) Open(ctx context.Context, o repo.SessionOptions) (s repo.Session, err error) {
	call := v.once
	if o.Kind == repo.SessionWriter && o.Job != "" {
		call = v.update // a repetition fences what the first one opened
	}
	err = call(ctx, func(ctx context.Context, t *ledgerTx) error {
		now, err := t.now(ctx)
		if err != nil {
			return err
		}
		if err := t.admit(ctx, o, now); err != nil {
			return err
		}
		s = repo.Session{
			ID: newSessionID(), Kind: o.Kind, State: repo.SessionActive, Job: o.Job, Pin: o.Pin,
			Opened: t.epoch, Acked: t.epoch, Lease: t.d.lease,
		}
		_, err = t.Exec(ctx, `INSERT INTO ledger_session
			(id, vault, kind, state, job, pin, opened, acked, lease_until, keep_until) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0)`,
			string(s.ID), t.vault, s.Kind, s.State, s.Job, string(s.Pin), int64(s.Opened), int64(s.Acked), meta.Micros(now.Add(t.d.lease)))
		return err
	})
	return s, err
}

// admit checks that a session may be opened and fences those it replaces.
func (t *ledgerTx) admit(ctx context.Context, o repo.SessionOptions, now time.Time) error {
	if o.Pin != "" {
		if deleting, err := t.point(ctx, o.Pin); err != nil {
			return err
		} else if deleting {
			return fmt.Errorf("recovery point %s: %w", o.Pin, repo.ErrNotFound)
		}
	}
	switch {
	case o.Kind == repo.SessionCollector:
		if _, err := t.fence(ctx, now, "lease_until < ?", meta.Micros(now)); err != nil {
			return err
		}
		var n int
		row := t.QueryRow(ctx, "SELECT count(*) FROM ledger_session WHERE vault = ? AND state = ? AND kind = ?",
			t.vault, repo.SessionActive, repo.SessionCollector)
		if err := row.Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			return fmt.Errorf("vault %s is being reclaimed: %w", t.vault, repo.ErrBusy)
		}
	case o.Kind == repo.SessionWriter && o.Job != "":
		_, err := t.fence(ctx, now, "kind = ? AND job = ?", repo.SessionWriter, o.Job)
		return err
	}
	return nil
}

// fence fences the active sessions that a condition selects.
func (t *ledgerTx) fence(ctx context.Context, now time.Time, where string, args ...any) (int, error) {
	args = append([]any{repo.SessionFenced, meta.Micros(now.Add(keepFenced)), t.vault, repo.SessionActive}, args...)
	r, err := t.Exec(ctx, `UPDATE ledger_session SET state = ?, pins = NULL, pin = '', keep_until = ?
		WHERE vault = ? AND state = ? AND `+where, args...)
	if err != nil {
		return 0, fmt.Errorf("fence sessions: %w", err)
	}
	n, err := r.RowsAffected()
	if n > 0 {
		t.free()
	}
	return int(n), err
}

// Renew implements [repo.Sessions].
func (v *Vault) Renew(ctx context.Context, id repo.SessionID) (epoch uint64, err error) {
	err = v.update(ctx, func(ctx context.Context, t *ledgerTx) error {
		now, err := t.now(ctx)
		if err != nil {
			return err
		}
		epoch = t.epoch
		return t.touch(ctx, id, "lease_until = ?", meta.Micros(now.Add(t.d.lease)))
	})
	return epoch, err
}

// Acknowledge implements [repo.Sessions].
func (v *Vault) Acknowledge(ctx context.Context, id repo.SessionID, pins []byte) (epoch uint64, err error) {
	err = v.update(ctx, func(ctx context.Context, t *ledgerTx) error {
		now, err := t.now(ctx)
		if err != nil {
			return err
		}
		epoch = t.epoch
		return t.touch(ctx, id, "lease_until = ?, acked = ?, pins = ?", meta.Micros(now.Add(t.d.lease)), int64(epoch), orNull(pins))
	})
	return epoch, err
}

// touch changes an active session.
func (t *ledgerTx) touch(ctx context.Context, id repo.SessionID, set string, args ...any) error {
	args = append(args, string(id), t.vault, repo.SessionActive)
	r, err := t.Exec(ctx, "UPDATE ledger_session SET "+set+" WHERE id = ? AND vault = ? AND state = ?", args...)
	if err != nil {
		return fmt.Errorf("session %s: %w", id, err)
	}
	if n, err := r.RowsAffected(); err != nil || n == 1 {
		return err
	}
	return fenced(id)
}

func fenced(id repo.SessionID) error { return fmt.Errorf("session %s: %w", id, repo.ErrFenced) }

// demand returns [repo.ErrFenced] unless the session is active and, if a kind is
// given, of that kind.
func (t *ledgerTx) demand(ctx context.Context, id repo.SessionID, kind repo.SessionKind) error {
	var got repo.SessionKind
	row := t.QueryRow(ctx, "SELECT kind FROM ledger_session WHERE id = ? AND vault = ? AND state = ?",
		string(id), t.vault, repo.SessionActive)
	switch err := row.Scan(&got); {
	case errors.Is(err, sql.ErrNoRows), err == nil && kind != 0 && got != kind:
		return fenced(id)
	default:
		return err
	}
}

// Close implements [repo.Sessions].
func (v *Vault) Close(ctx context.Context, id repo.SessionID) error {
	return v.update(ctx, func(ctx context.Context, t *ledgerTx) error {
		_, err := t.Exec(ctx, "DELETE FROM ledger_session WHERE id = ? AND vault = ? AND state = ? AND kind = ?",
			string(id), t.vault, repo.SessionActive, repo.SessionReader)
		if err != nil {
			return err
		}
		writer := t.demand(ctx, id, repo.SessionWriter) == nil
		err = t.touch(ctx, id, "state = ?, pins = NULL, pin = ''", repo.SessionClosed)
		switch {
		case errors.Is(err, repo.ErrFenced):
			return nil
		case err == nil && writer:
			t.free()
		}
		return err
	})
}

// Fence implements [repo.Sessions].
func (v *Vault) Fence(ctx context.Context) (n int, err error) {
	err = v.update(ctx, func(ctx context.Context, t *ledgerTx) error {
		n, err = t.fenceLate(ctx)
		return err
	})
	return n, err
}

// fenceLate fences sessions whose lease has run out.
func (t *ledgerTx) fenceLate(ctx context.Context) (int, error) {
	now, err := t.now(ctx)
	if err != nil {
		return 0, err
	}
	return t.fence(ctx, now, "lease_until < ?", meta.Micros(now))
}

// sessions reads those that a condition selects, ascending by id.
func (t *ledgerTx) sessions(ctx context.Context, where string, args ...any) ([]repo.Session, error) {
	rows, err := t.Query(ctx, `SELECT id, kind, state, job, pin, opened, acked, pins FROM ledger_session
		WHERE vault = ? `+where+` ORDER BY id`, append([]any{t.vault}, args...)...)
	if err != nil {
		return nil, fmt.Errorf("read sessions: %w", err)
	}
	defer rows.Close()
	var all []repo.Session
	for rows.Next() {
		var s repo.Session
		if err := rows.Scan(&s.ID, &s.Kind, &s.State, &s.Job, &s.Pin, &s.Opened, &s.Acked, &s.Pins); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, rows.Err()
}
