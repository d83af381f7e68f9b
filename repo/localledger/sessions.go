package localledger

import (
	"context"
	"fmt"
	"slices"

	"github.com/lockfast/lockfast/repo"
)

// Open implements [repo.Sessions].
func (l *Ledger) Open(ctx context.Context, o repo.SessionOptions) (repo.Session, error) {
	unlock, err := l.begin(ctx)
	if err != nil {
		return repo.Session{}, err
	}
	defer unlock()
	if p, ok := l.rows.points[o.Pin]; o.Pin != "" && (!ok || p.Deleting) {
		return repo.Session{}, fmt.Errorf("recovery point %s: %w", o.Pin, repo.ErrNotFound)
	}
	c := change{Sessions: l.fenceable(func(s repo.Session) bool {
		return l.lapsed(s) || o.Kind == repo.SessionWriter && o.Job != "" && s.Kind == repo.SessionWriter && s.Job == o.Job
	})}
	if o.Kind == repo.SessionCollector {
		for _, s := range l.rows.sessions {
			if s.Kind == repo.SessionCollector && s.State == repo.SessionActive && !l.lapsed(s) {
				return repo.Session{}, fmt.Errorf("reclaim by session %s is running: %w", s.ID, repo.ErrBusy)
			}
		}
	}
	s := repo.Session{
		ID: newSessionID(), Kind: o.Kind, State: repo.SessionActive, Job: o.Job, Pin: o.Pin,
		Opened: l.rows.epoch, Acked: l.rows.epoch,
	}
	c.Sessions = append(c.Sessions, s)
	if err := l.do(c); err != nil {
		return repo.Session{}, err
	}
	l.expires[s.ID] = l.now().Add(l.lease)
	s.Lease = l.lease
	return s, nil
}

// Renew implements [repo.Sessions].
func (l *Ledger) Renew(ctx context.Context, id repo.SessionID) (uint64, error) {
	unlock, err := l.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	if _, err := l.active(id); err != nil {
		return 0, err
	}
	l.expires[id] = l.now().Add(l.lease)
	return l.rows.epoch, nil
}

// Acknowledge implements [repo.Sessions].
func (l *Ledger) Acknowledge(ctx context.Context, id repo.SessionID, pins []byte) (uint64, error) {
	unlock, err := l.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	s, err := l.active(id)
	if err != nil {
		return 0, err
	}
	s.Pins, s.Acked = slices.Clone(pins), l.rows.epoch
	if err := l.do(change{Sessions: []repo.Session{s}}); err != nil {
		return 0, err
	}
	l.expires[id] = l.now().Add(l.lease)
	return l.rows.epoch, nil
}

// Close implements [repo.Sessions].
func (l *Ledger) Close(ctx context.Context, id repo.SessionID) error {
	unlock, err := l.begin(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	s, ok := l.rows.sessions[id]
	if !ok || s.State != repo.SessionActive {
		return nil
	}
	if s.Kind == repo.SessionReader {
		return l.do(change{EndedSessions: []repo.SessionID{id}})
	}
	s.State, s.Pins = repo.SessionClosed, nil
	return l.do(change{Sessions: []repo.Session{s}})
}

// Fence implements [repo.Sessions].
func (l *Ledger) Fence(ctx context.Context) (int, error) {
	unlock, err := l.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	return l.fence()
}

func (l *Ledger) fence() (int, error) {
	c := change{Sessions: l.fenceable(l.lapsed)}
	if len(c.Sessions) == 0 {
		return 0, nil
	}
	return len(c.Sessions), l.do(c)
}
