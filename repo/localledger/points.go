package localledger

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/lockfast/lockfast/repo"
)

// Announce implements [repo.Points].
func (l *Ledger) Announce(ctx context.Context, id repo.SessionID) (repo.JournalHead, error) {
	unlock, err := l.begin(ctx)
	if err != nil {
		return repo.JournalHead{}, err
	}
	defer unlock()
	if _, err := l.active(id); err != nil {
		return repo.JournalHead{}, err
	}
	e, err := l.rows.head().NextOf(repo.JournalAnnounced, repo.PointID(id))
	if err == nil {
		err = l.do(change{History: []repo.JournalEntry{e}})
	}
	if err != nil {
		return repo.JournalHead{}, err
	}
	return e.Head(), nil
}

// Journal implements [repo.Points].
func (l *Ledger) Journal(ctx context.Context, from uint64, limit int) ([]repo.JournalEntry, error) {
	unlock, err := l.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	at, _ := slices.BinarySearchFunc(l.rows.history, from, func(e repo.JournalEntry, n uint64) int { return cmp.Compare(e.Number, n) })
	rest := l.rows.history[at:]
	return slices.Clone(rest[:min(limit, len(rest))]), nil
}

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
	e, err := l.rows.head().NextOf(repo.JournalCommitted, p.Point)
	if err != nil {
		return err
	}
	c := change{
		Points: []repo.PointState{{ID: p.Point}}, EndedSessions: []repo.SessionID{p.Session}, History: []repo.JournalEntry{e},
	}
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
	e, err := l.rows.head().NextOf(repo.JournalRemoved, id)
	if err != nil {
		return err
	}
	return l.do(change{RemovedPoints: []repo.PointID{id}, Ended: []repo.PointID{id}, History: []repo.JournalEntry{e}})
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
	out := repo.Snapshot{Epoch: l.rows.epoch, Journal: l.rows.head()}
	for _, id := range sortedKeys(l.rows.points) {
		out.Points = append(out.Points, l.rows.points[id])
	}
	for _, id := range sortedKeys(l.rows.sessions) {
		out.Sessions = append(out.Sessions, l.rows.sessions[id])
	}
	return out, nil
}
