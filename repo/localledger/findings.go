package localledger

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/lockfast/lockfast/repo"
)

type damageKey struct {
	object string
	slot   int
}

func keyOf(d repo.DamageRecord) damageKey { return damageKey{d.Object, d.Slot} }

type verifiedKey struct {
	pack  repo.ID
	level int
}

// applyFindings takes over what checks found, and drops what was found about packs that are gone.
func (r *rows) applyFindings(c change) {
	for _, d := range c.Damages {
		r.damages[keyOf(d)] = d
	}
	for _, d := range c.ClearedDamages {
		delete(r.damages, keyOf(d))
	}
	for _, v := range c.Verified {
		r.verified[verifiedKey{v.Pack, v.Level}] = v
	}
	if c.Round != nil {
		r.round = *c.Round
	}
	if len(c.GoneObjects) == 0 {
		return
	}
	gone := map[repo.ID]bool{}
	for _, id := range c.GoneObjects {
		gone[id] = true
	}
	for k, d := range r.damages {
		if gone[d.Pack] {
			delete(r.damages, k)
		}
	}
	for k := range r.verified {
		if gone[k.pack] {
			delete(r.verified, k)
		}
	}
}

// RecordDamage implements [repo.Findings].
func (l *Ledger) RecordDamage(ctx context.Context, damages []repo.DamageRecord) error {
	unlock, err := l.begin(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	c := change{Quiet: true}
	now := l.clock()
	for _, d := range damages {
		if known, ok := l.rows.damages[keyOf(d)]; ok {
			d = known
		} else {
			d.Found, c.Quiet = now, false
		}
		d.Seen = now
		c.Damages = append(c.Damages, d)
	}
	if len(damages) == 0 {
		return nil
	}
	return l.do(c)
}

// clock is the ledger's time as SQL ledgers keep it.
func (l *Ledger) clock() time.Time { return l.now().UTC().Truncate(time.Microsecond) }

// Damages implements [repo.Findings].
func (l *Ledger) Damages(ctx context.Context) ([]repo.DamageRecord, error) {
	unlock, err := l.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	var out []repo.DamageRecord
	for _, d := range l.rows.damages {
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b repo.DamageRecord) int {
		return cmp.Or(cmp.Compare(a.Object, b.Object), cmp.Compare(a.Slot, b.Slot))
	})
	return out, nil
}

// ClearDamage implements [repo.Findings].
func (l *Ledger) ClearDamage(ctx context.Context, damages []repo.DamageRecord) error {
	unlock, err := l.begin(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	var c change
	for _, d := range damages {
		if _, ok := l.rows.damages[keyOf(d)]; ok {
			c.ClearedDamages = append(c.ClearedDamages, repo.DamageRecord{Object: d.Object, Slot: d.Slot})
		}
	}
	if len(c.ClearedDamages) == 0 {
		return nil
	}
	return l.do(c)
}

// RecordVerified implements [repo.Findings].
func (l *Ledger) RecordVerified(ctx context.Context, level int, packs []repo.ID) error {
	unlock, err := l.begin(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	var c change
	for _, id := range packs {
		if _, ok := l.rows.objects[id]; ok {
			c.Verified = append(c.Verified, repo.Verification{Pack: id, Level: level, At: l.clock()})
		}
	}
	if len(c.Verified) == 0 {
		return nil
	}
	return l.do(c)
}

// Verifications implements [repo.Findings].
func (l *Ledger) Verifications(ctx context.Context) ([]repo.Verification, time.Time, error) {
	unlock, err := l.begin(ctx)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer unlock()
	var out []repo.Verification
	for _, v := range l.rows.verified {
		if l.rows.objects[v.Pack].State != repo.ObjectRetired {
			out = append(out, v)
		}
	}
	slices.SortFunc(out, func(a, b repo.Verification) int {
		return cmp.Or(compareIDs(a.Pack, b.Pack), cmp.Compare(a.Level, b.Level))
	})
	return out, l.clock(), nil
}
