package localledger

import "github.com/lockfast/lockfast/repo"

// Adopt fills an empty ledger with what the objects of a vault tell (see [repo.Vault.Remains]).
func (l *Ledger) Adopt(i repo.Remains) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := change{Objects: i.Objects, Ended: i.Left}
	for _, id := range i.Points {
		c.Points = append(c.Points, repo.PointState{ID: id})
	}
	return l.do(c)
}
