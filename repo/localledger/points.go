package localledger

import (
	"context"
	"fmt"
	"slices"

	"github.com/lockfast/lockfast/repo"
)

// Commit implements [repo.Points].
func (l *Ledger) Commit(ctx context.Context, p repo.Prepared) error {
	unlock, err := l.begin(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if _, ok := l.rows.points[p.Point]; ok {
		return nil
	}
	if _, err := l.active(p.Session); err != nil {
		return err
	}
	for _, id := range p.Packs {
		o, ok := l.rows.objects[id]
		lost := !ok || o.State == repo.ObjectReserved || o.State == repo.ObjectRetired && len(o.Remap) == 0
		if lost {
			return fmt.Errorf("recovery point %s relies on pack %s, which is gone: %w", p.Point, id, repo.ErrFenced)
		}
	}
	c := change{Points: []repo.PointState{{ID: p.Point}}, EndedSessions: []repo.SessionID{p.Session}}
	for id, o := range l.rows.objects {
		if o.Session == p.Session && o.State == repo.ObjectReserved {
			c.GoneObjects = append(c.GoneObjects, id)
		}
	}
	return l.do(c)
}

// Delete implements [repo.Points].
func (l *Ledger) Delete(ctx context.Context, id repo.PointID) error {
	unlock, err := l.begin(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	p, ok := l.rows.points[id]
	if !ok {
		return fmt.Errorf("recovery point %s: %w", id, repo.ErrNotFound)
	}
	if p.Deleting {
		return nil
	}
	p.Deleting = true
	return l.do(change{Points: []repo.PointState{p}})
}

// Remove implements [repo.Points].
func (l *Ledger) Remove(ctx context.Context, id repo.PointID) error {
	unlock, err := l.begin(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if _, ok := l.rows.points[id]; !ok {
		return nil
	}
	return l.do(change{RemovedPoints: []repo.PointID{id}, Ended: []repo.PointID{id}})
}

// Ended implements [repo.Points].
func (l *Ledger) Ended(ctx context.Context, ids []repo.PointID) ([]repo.PointID, error) {
	unlock, err := l.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return slices.DeleteFunc(slices.Clone(ids), func(id repo.PointID) bool { return !l.rows.ended[id] }), nil
}

// Snapshot implements [repo.Points].
func (l *Ledger) Snapshot(ctx context.Context) (repo.Snapshot, error) {
	unlock, err := l.begin(ctx)
	if err != nil {
		return repo.Snapshot{}, err
	}
	defer unlock()
	out := repo.Snapshot{Epoch: l.rows.epoch}
	for _, id := range sortedKeys(l.rows.points) {
		out.Points = append(out.Points, l.rows.points[id])
	}
	for _, id := range sortedKeys(l.rows.sessions) {
		out.Sessions = append(out.Sessions, l.rows.sessions[id])
	}
	return out, nil
}
