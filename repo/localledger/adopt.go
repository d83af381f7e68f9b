package localledger

import (
	"context"

	"github.com/lockfast/lockfast/repo"
)

// TakeOver claims a vault whose own ledger is lost, opened by [repo.OpenReadOnly], and fills an empty ledger with what its objects
// tell (see [repo.Vault.Remains]). Whoever had claimed the vault before can write to it no more.
func (l *Ledger) TakeOver(ctx context.Context, v *repo.Vault) error {
	identity, err := l.Identity(ctx)
	if err != nil {
		return err
	}
	if err := v.Claim(ctx, identity); err != nil {
		return err
	}
	found, err := v.Remains(ctx)
	if err != nil {
		return err
	}
	return l.adopt(found)
}

func (l *Ledger) adopt(i repo.Remains) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := change{Objects: i.Objects, Ended: i.Left, History: []repo.JournalEntry{repo.BeginJournal(i.Highest, l.rows.identity)}}
	for _, id := range i.Points {
		c.Points = append(c.Points, repo.PointState{ID: id})
	}
	return l.do(c)
}
