package localledger

import (
	"context"
	"fmt"
	"slices"

	"github.com/lockfast/lockfast/repo"
)

// Reserve implements [repo.Objects].
func (l *Ledger) Reserve(ctx context.Context, id repo.SessionID, objects []repo.Object) error {
	unlock, err := l.begin(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := l.active(id); err != nil {
		return err
	}
	var c change
	for _, o := range objects {
		row, ok := l.rows.objects[o.ID]
		if ok && (row.Session != id || row.State != repo.ObjectReserved) {
			return fmt.Errorf("name %s is taken", o.ID)
		}
		if !ok {
			c.Objects = append(c.Objects, repo.Object{ID: o.ID, Kind: o.Kind, State: repo.ObjectReserved, Session: id})
		}
	}
	return l.do(c)
}

// Register implements [repo.Objects].
func (l *Ledger) Register(ctx context.Context, id repo.SessionID, objects []repo.Object) error {
	unlock, err := l.begin(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := l.active(id); err != nil {
		return err
	}
	var c change
	for _, o := range objects {
		row, ok := l.rows.objects[o.ID]
		if !ok || row.Session != id {
			return fmt.Errorf("name %s is not reserved by session %s: %w", o.ID, id, repo.ErrNotFound)
		}
		if row.State == repo.ObjectReserved {
			row.State, row.Size, row.Sum = repo.ObjectLive, o.Size, slices.Clone(o.Sum)
			if row.Kind == repo.ObjectCold {
				row.Registered = l.now().UTC()
			}
			c.Objects = append(c.Objects, row.Object)
		}
	}
	return l.do(c)
}

// Changes implements [repo.Objects].
func (l *Ledger) Changes(ctx context.Context, since uint64) ([]repo.Object, uint64, error) {
	unlock, err := l.begin(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer unlock()
	if 0 < since && since < l.rows.horizon {
		return nil, 0, fmt.Errorf("changes after %d: %w", since, repo.ErrStale)
	}
	var out []repo.Object
	for _, o := range l.rows.objects {
		if o.revision > since {
			out = append(out, o.Object)
		}
	}
	for _, o := range l.rows.forgotten {
		if since > 0 && o.revision > since {
			out = append(out, o.Object)
		}
	}
	slices.SortFunc(out, func(a, b repo.Object) int { return compareIDs(a.ID, b.ID) })
	return out, l.rows.revision, nil
}
