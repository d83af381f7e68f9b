package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/repo"
)

// batch is how many rows one statement reads or writes.
const batch = 1000

// errTaken refuses a name that is not free.
var errTaken = errors.New("it is taken")

const objectColumns = "id, kind, state, session, size, epoch, remap, registered, sum"

// Reserve implements [repo.Objects].
func (v *Vault) Reserve(ctx context.Context, id repo.SessionID, objects []repo.Object) error {
	return v.update(ctx, func(ctx context.Context, t *ledgerTx) error {
		if err := t.demand(ctx, id, 0); err != nil {
			return err
		}
		add := make(map[repo.ID]repo.Object, len(objects))
		for _, o := range objects {
			add[o.ID] = repo.Object{ID: o.ID, Kind: o.Kind, State: repo.ObjectReserved, Session: id}
		}
		known, err := t.load(ctx, slices.Collect(maps.Keys(add)))
		if err != nil {
			return err
		}
		for _, o := range known {
			if o.Session != id || o.State != repo.ObjectReserved {
				return fmt.Errorf("name %s: %w", o.ID, errTaken)
			}
			delete(add, o.ID)
		}
		return t.put(ctx, slices.Collect(maps.Values(add)))
	})
}

// Register implements [repo.Objects].
func (v *Vault) Register(ctx context.Context, id repo.SessionID, objects []repo.Object) error {
	return v.update(ctx, func(ctx context.Context, t *ledgerTx) error {
		if err := t.demand(ctx, id, 0); err != nil {
			return err
		}
		durable := make(map[repo.ID]repo.Object, len(objects))
		for _, o := range objects {
			durable[o.ID] = o
		}
		known, err := t.load(ctx, slices.Collect(maps.Keys(durable)))
		if err != nil {
			return err
		}
		now, err := t.now(ctx)
		if err != nil {
			return err
		}
		var change []repo.Object
		for _, o := range known {
			if o.Session != id {
				continue
			}
			if o.State == repo.ObjectReserved {
				o.State, o.Size, o.Sum = repo.ObjectLive, durable[o.ID].Size, durable[o.ID].Sum
				if o.Kind == repo.ObjectCold {
					o.Registered = now
				}
				change = append(change, o)
			}
			delete(durable, o.ID)
		}
		for n := range durable {
			return fmt.Errorf("object %s is not of session %s: %w", n, id, repo.ErrNotFound)
		}
		return t.put(ctx, change)
	})
}

// Changes implements [repo.Objects].
func (v *Vault) Changes(ctx context.Context, since uint64) (all []repo.Object, revision uint64, err error) {
	err = v.view(ctx, func(ctx context.Context, t *ledgerTx) error {
		revision = t.revision
		switch {
		case since >= revision:
			return nil
		case since == 0:
			all, err = t.objects(ctx, nil, "state < 5 ORDER BY id")
		case since < t.horizon:
			return fmt.Errorf("changes of vault %s after %d: %w", t.vault, since, repo.ErrStale)
		default:
			all, err = t.objects(ctx, nil, "revision > ? ORDER BY id", int64(since))
		}
		return err
	})
	return all, revision, err
}

// load reads the objects with the given ids, as far as there are any, each once.
func (t *ledgerTx) load(ctx context.Context, ids []repo.ID) (all []repo.Object, err error) {
	ids = slices.Clone(ids)
	slices.SortFunc(ids, func(a, b repo.ID) int { return bytes.Compare(a[:], b[:]) })
	ids = slices.Compact(ids)
	for some := range slices.Chunk(ids, batch) {
		if all, err = t.objects(ctx, all, "id IN ("+marks(len(some))+")", anys(some)...); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// objects appends to all those that a condition selects.
func (t *ledgerTx) objects(ctx context.Context, all []repo.Object, where string, args ...any) ([]repo.Object, error) {
	rows, err := t.Query(ctx, "SELECT "+objectColumns+" FROM ledger_object WHERE vault = ? AND "+where,
		append([]any{t.vault}, args...)...)
	if err != nil {
		return nil, fmt.Errorf("read objects: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var (
			o          repo.Object
			id         []byte
			registered int64
		)
		if err := rows.Scan(&id, &o.Kind, &o.State, &o.Session, &o.Size, &o.Epoch, &o.Remap, &registered, &o.Sum); err != nil {
			return nil, err
		}
		copy(o.ID[:], id)
		if registered != 0 {
			o.Registered = meta.FromMicros(registered)
		}
		all = append(all, o)
	}
	return all, rows.Err()
}

// put writes objects, new ones or changed ones, at a new revision.
func (t *ledgerTx) put(ctx context.Context, objects []repo.Object) error {
	if len(objects) == 0 {
		return nil
	}
	t.revision++
	t.changed = true
	for some := range slices.Chunk(objects, batch) {
		args := make([]any, 0, 11*len(some))
		for _, o := range some {
			registered := int64(0)
			if !o.Registered.IsZero() {
				registered = meta.Micros(o.Registered)
			}
			args = append(args, t.vault, o.ID[:], o.Kind, o.State, string(o.Session),
				o.Size, int64(o.Epoch), orNull(o.Remap), registered, orNull(o.Sum), int64(t.revision))
		}
		row := "(" + marks(11) + ")"
		_, err := t.Exec(ctx, "INSERT INTO ledger_object (vault, "+objectColumns+", revision) VALUES "+
			row+strings.Repeat(", "+row, len(some)-1)+
			` ON CONFLICT (vault, id) DO UPDATE SET state = excluded.state, size = excluded.size,
			epoch = excluded.epoch, remap = excluded.remap, registered = excluded.registered, sum = excluded.sum,
			revision = excluded.revision`, args...)
		if err != nil {
			return fmt.Errorf("write objects: %w", err)
		}
	}
	return nil
}

// marks is n placeholders.
func marks(n int) string { return "?" + strings.Repeat(", ?", n-1) }

func anys[T repo.ID | repo.SessionID | repo.PointID](list []T) []any {
	all := make([]any, len(list))
	for i, v := range list {
		switch v := any(v).(type) {
		case repo.SessionID:
			all[i] = string(v)
		case repo.PointID:
			all[i] = string(v)
		case repo.ID:
			all[i] = v[:]
		}
	}
	return all
}
