package repo

import (
	"context"
	"fmt"

	"github.com/lockfast/lockfast/repo/refset"
)

// badPack says what of a pack is damaged. It is not changed once others can see it.
type badPack struct {
	all   bool
	slots map[int]bool
}

func (b *badPack) has(slot int) bool { return b != nil && (b.all || b.slots[slot]) }

// in reports whether any of the slots is damaged.
func (b *badPack) in(s refset.Slots) bool {
	if b == nil {
		return false
	}
	for slot := range s.Each() {
		if b.has(slot) {
			return true
		}
	}
	return false
}

// add notes a slot, or the whole pack.
func (b *badPack) add(slot int) {
	if slot == WholeObject {
		b.all = true
		return
	}
	if b.slots == nil {
		b.slots = map[int]bool{}
	}
	b.slots[slot] = true
}

// loadDamages takes over what the ledger knows about damaged packs. A revision that was read before has nothing new. The
// caller holds turn.
func (c *catalog) loadDamages(ctx context.Context, revision uint64) error {
	if revision == c.revision {
		return nil
	}
	records, err := c.v.ledger.Damages(ctx)
	if err != nil {
		return fmt.Errorf("read ledger: %w", err)
	}
	bad := map[ID]*badPack{}
	for _, d := range records {
		if d.Pack.IsZero() {
			continue
		}
		if bad[d.Pack] == nil {
			bad[d.Pack] = &badPack{}
		}
		bad[d.Pack].add(d.Slot)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.rows {
		c.rows[i].bad = bad[c.rows[i].id]
	}
	c.publish()
	return nil
}

// trust notes that a pack was found sound.
func (c *catalog) trust(n uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rows[n].suspect || c.rows[n].bad != nil {
		c.rows[n].suspect, c.rows[n].bad = false, nil
		c.publish()
	}
}

// damagedIn reports whether a set names what is known to be damaged, or a pack in which damage was found.
func (c *catalog) damagedIn(set refset.Set) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for s := range set.Packs() {
		if c.rows[s.Pack].suspect || c.rows[s.Pack].bad.in(s) {
			return true
		}
	}
	return false
}
