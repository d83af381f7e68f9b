package ledger

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/repo"
)

// Condemn implements [repo.Collector].
func (v *Vault) Condemn(ctx context.Context, id repo.SessionID, packs []repo.ID) (epoch uint64, err error) {
	err = v.collect(ctx, id, func(ctx context.Context, t *ledgerTx) error {
		t.raise()
		epoch = t.epoch
		known, err := t.load(ctx, packs)
		if err != nil {
			return err
		}
		var change []repo.Object
		for _, o := range known {
			if o.Kind != repo.ObjectSegment && (o.State == repo.ObjectLive || o.State == repo.ObjectCondemned) {
				o.State, o.Epoch = repo.ObjectCondemned, epoch
				change = append(change, o)
			}
		}
		return t.put(ctx, change)
	})
	return epoch, err
}

// collect is update for the active collector.
func (v *Vault) collect(ctx context.Context, id repo.SessionID, fn func(context.Context, *ledgerTx) error) error {
	return v.update(ctx, func(ctx context.Context, t *ledgerTx) error {
		if err := t.demand(ctx, id, repo.SessionCollector); err != nil {
			return err
		}
		return fn(ctx, t)
	})
}

// Waiting implements [repo.Collector].
func (v *Vault) Waiting(ctx context.Context, epoch uint64) (all []repo.Session, err error) {
	err = v.update(ctx, func(ctx context.Context, t *ledgerTx) error {
		if _, err := t.fenceLate(ctx); err != nil {
			return err
		}
		all, err = t.sessions(ctx, "AND state = ? AND kind <> ? AND acked < ?",
			repo.SessionActive, repo.SessionCollector, int64(epoch))
		return err
	})
	return all, err
}

// Rescue implements [repo.Collector].
func (v *Vault) Rescue(ctx context.Context, id repo.SessionID, packs []repo.ID) error {
	return v.collect(ctx, id, func(ctx context.Context, t *ledgerTx) error {
		known, err := t.load(ctx, packs)
		if err != nil {
			return err
		}
		var change []repo.Object
		for _, o := range known {
			if o.State == repo.ObjectCondemned {
				o.State = repo.ObjectLive
				change = append(change, o)
			}
		}
		return t.put(ctx, change)
	})
}

// Retire implements [repo.Collector].
func (v *Vault) Retire(ctx context.Context, id repo.SessionID, objects []repo.Retirement) error {
	return v.collect(ctx, id, func(ctx context.Context, t *ledgerTx) error {
		remaps := make(map[repo.ID][]byte, len(objects))
		list := make([]repo.ID, len(objects))
		for i, o := range objects {
			remaps[o.ID], list[i] = o.Remap, o.ID
		}
		known, err := t.load(ctx, list)
		if err != nil {
			return err
		}
		t.raise()
		var change []repo.Object
		for _, o := range known {
			switch {
			case o.State == repo.ObjectCondemned, o.State == repo.ObjectLive && o.Kind == repo.ObjectSegment:
				o.State, o.Epoch, o.Remap = repo.ObjectRetired, t.epoch, remaps[o.ID]
				change = append(change, o)
			case o.State != repo.ObjectRetired:
				return fmt.Errorf("retire object %s: its state: %w", o.ID, repo.ErrNotFound)
			}
			delete(remaps, o.ID)
		}
		for n := range remaps {
			return fmt.Errorf("retire object %s: %w", n, repo.ErrNotFound)
		}
		return t.put(ctx, change)
	})
}

// Forget implements [repo.Collector]. Fenced sessions keep their rows for three
// days, unless [DB.FenceAll] has fenced them.
func (v *Vault) Forget(ctx context.Context, id repo.SessionID, objects []repo.ID, sessions []repo.SessionID) error {
	return v.collect(ctx, id, func(ctx context.Context, t *ledgerTx) error {
		now, err := t.now(ctx)
		if err != nil {
			return err
		}
		if err := t.forget(ctx, objects); err != nil {
			return err
		}
		for _, table := range []string{"ledger_damage", "ledger_verified"} {
			err := deleteAll(ctx, t, table+` WHERE vault = ? AND pack NOT IN (SELECT id FROM ledger_object WHERE vault = ? AND state < 5)
				AND pack IN`, objects, t.vault, t.vault)
			if err != nil {
				return err
			}
		}
		const over = "(state = 2 OR (state = 3 AND keep_until <= ?))"
		err = deleteAll(ctx, t, `ledger_object WHERE vault = ? AND state = 1
			AND session IN (SELECT id FROM ledger_session WHERE vault = ? AND `+over+`) AND session IN`,
			sessions, t.vault, t.vault, meta.Micros(now))
		if err != nil {
			return err
		}
		if err := t.remember(ctx, sessions, over, now); err != nil {
			return err
		}
		return deleteAll(ctx, t, "ledger_session WHERE vault = ? AND "+over+" AND id IN", sessions, t.vault, meta.Micros(now))
	})
}

// remember keeps the ids of writers that a condition with a time and a list selects, and drops old ones.
func (t *ledgerTx) remember(ctx context.Context, sessions []repo.SessionID, over string, now time.Time) error {
	for some := range slices.Chunk(sessions, batch) {
		args := append([]any{meta.Micros(now), t.vault, repo.SessionWriter, meta.Micros(now)}, anys(some)...)
		_, err := t.Exec(ctx, `INSERT INTO ledger_ended (vault, id, ended) SELECT vault, id, CAST(? AS BIGINT) FROM ledger_session
			WHERE vault = ? AND kind = ? AND `+over+" AND id IN ("+marks(len(some))+`) ON CONFLICT (vault, id) DO NOTHING`, args...)
		if err != nil {
			return fmt.Errorf("remember sessions: %w", err)
		}
	}
	_, err := t.Exec(ctx, "DELETE FROM ledger_ended WHERE vault = ? AND ended < ?", t.vault, meta.Micros(now.Add(-keepEnded)))
	return err
}

// forget leaves of retired objects what other nodes have to learn, and drops what they had time to.
func (t *ledgerTx) forget(ctx context.Context, objects []repo.ID) error {
	if len(objects) == 0 {
		return nil
	}
	t.revision++
	t.changed = true
	for some := range slices.Chunk(objects, batch) {
		args := append([]any{int64(t.revision), t.vault}, anys(some)...)
		_, err := t.Exec(ctx, `UPDATE ledger_object SET state = 5, remap = NULL, revision = ?
			WHERE vault = ? AND state = 4 AND id IN (`+marks(len(some))+")", args...)
		if err != nil {
			return fmt.Errorf("forget: %w", err)
		}
	}
	if t.revision <= t.d.remember || t.revision-t.d.remember <= t.horizon {
		return nil
	}
	t.horizon = t.revision - t.d.remember
	_, err := t.Exec(ctx, "DELETE FROM ledger_object WHERE vault = ? AND state = 5 AND revision <= ?", t.vault, int64(t.horizon))
	if err != nil {
		return fmt.Errorf("forget: %w", err)
	}
	return nil
}

// deleteAll deletes the rows of a table that a condition and a list select.
func deleteAll[T repo.ID | repo.SessionID](ctx context.Context, t *ledgerTx, from string, list []T, args ...any) error {
	for len(list) > 0 {
		n := min(batch, len(list))
		some := append(args[:len(args):len(args)], anys(list[:n])...)
		if _, err := t.Exec(ctx, "DELETE FROM "+from+" ("+marks(n)+")", some...); err != nil {
			return fmt.Errorf("forget: %w", err)
		}
		list = list[n:]
	}
	return nil
}
