package repo

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// session keeps a session of the ledger alive: it renews the lease and acknowledges epochs. Its goroutine ends with end.
type session struct {
	v    *Vault
	row  Session
	poke chan struct{} // an epoch may have begun
	stop context.CancelFunc
	done chan struct{}

	// acknowledge stops relying on condemned packs and tells the ledger.
	acknowledge func(ctx context.Context) (epoch uint64, err error)
	// lost is called once when the ledger fenced the session.
	lost func(err error)
}

// openSession opens a session; start has to follow.
func (v *Vault) openSession(ctx context.Context, o SessionOptions) (*session, error) {
	row, err := v.ledger.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	s := &session{v: v, row: row, poke: make(chan struct{}, 1), done: make(chan struct{}), lost: func(error) {}}
	s.acknowledge = s.acknowledgeReader
	if err := v.catalog.refresh(ctx); err != nil {
		return nil, errors.Join(err, v.ledger.Close(context.WithoutCancel(ctx), row.ID))
	}
	return s, nil
}

// acknowledgeReader is enough for sessions that rely on nothing but their pin: what was moved is looked up again.
func (s *session) acknowledgeReader(ctx context.Context) (uint64, error) {
	if err := s.v.catalog.refresh(ctx); err != nil {
		return 0, err
	}
	return s.v.ledger.Acknowledge(ctx, s.row.ID, nil)
}

// start begins to keep the session alive.
func (s *session) start(ctx context.Context) error {
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.v.mu.Lock()
	closed := s.v.closed
	if !closed {
		s.v.sessions[s] = true
	}
	s.v.mu.Unlock()
	if closed {
		s.stop()
		close(s.done)
		return errors.Join(fmt.Errorf("vault: %w", ErrClosed), s.v.ledger.Close(context.WithoutCancel(ctx), s.row.ID))
	}
	go s.keep(ctx)
	return nil
}

// lookEvery is how often a session looks for a new epoch at the latest. A reclaim in the same process pokes it; one on
// another node waits for this.
const lookEvery = 10 * time.Second

// keep is the session's goroutine.
func (s *session) keep(ctx context.Context) {
	defer close(s.done)
	acked := s.row.Acked
	timer := time.NewTicker(max(min(s.row.Lease/4, lookEvery), 10*time.Millisecond))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-s.poke:
		}
		epoch, err := s.v.ledger.Renew(ctx, s.row.ID)
		if err == nil && epoch > acked {
			if epoch, err = s.acknowledge(ctx); err == nil {
				acked = epoch
			}
		}
		if errors.Is(err, ErrFenced) {
			s.lost(err)
			return
		}
		if err != nil && ctx.Err() == nil {
			s.v.log.Warn("session cannot be renewed, trying again", "session", s.row.ID, "error", err)
		}
	}
}

// end stops keeping the session alive, without telling the ledger. It may be called twice.
func (s *session) end() {
	s.stop()
	<-s.done
	s.v.mu.Lock()
	delete(s.v.sessions, s)
	s.v.mu.Unlock()
}

// close ends the session in the ledger too.
func (s *session) close(ctx context.Context) error {
	s.end()
	return s.v.ledger.Close(context.WithoutCancel(ctx), s.row.ID)
}

// pokeSessions makes the sessions of this process look at the epoch now.
func (v *Vault) pokeSessions() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for s := range v.sessions {
		select {
		case s.poke <- struct{}{}:
		default:
		}
	}
}
