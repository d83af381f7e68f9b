package localledger

import (
	"context"
	"time"

	"github.com/lockfast/lockfast/repo"
)

// TakeRound implements [repo.Rounds].
func (l *Ledger) TakeRound(ctx context.Context, holder repo.ID, every, hold time.Duration) (repo.Round, bool, error) {
	unlock, err := l.begin(ctx)
	if err != nil {
		return repo.Round{}, false, err
	}
	defer unlock()
	r, ok := l.rows.round.Taken(holder, l.clock(), every, hold)
	if !ok {
		return r, false, nil
	}
	return r, true, l.do(change{Round: &r, Quiet: true})
}

// NoteRound implements [repo.Rounds].
func (l *Ledger) NoteRound(ctx context.Context, r repo.Round, hold time.Duration) error {
	unlock, err := l.begin(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	noted, err := l.rows.round.Noted(r, l.clock(), hold)
	if err != nil {
		return err
	}
	return l.do(change{Round: &noted, Quiet: true})
}
