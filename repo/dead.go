package repo

import (
	"github.com/lockfast/lockfast/repo/index"
	"github.com/lockfast/lockfast/repo/refset"
)

// deadStored returns, of each of the first packs by number, the stored bytes of the slots in the index that are not in live. It goes through
// the index once, and takes a bit for each slot and sixteen bytes for each pack.
func (v *Vault) deadStored(live refset.Set, packs int) []int64 {
	d := deadSlots{c: v.catalog, first: make([]uint64, packs+1)}
	segments := v.catalog.set.Segments()
	for _, s := range segments {
		for i := range s.Packs() {
			p := s.Pack(i)
			if n, ok := d.c.known(p.ID); ok && int(n) < len(d.first)-1 {
				d.first[n+1] = uint64(p.Slots)
			}
		}
	}
	for n := range d.first[1:] {
		d.first[n+1] += d.first[n]
	}
	d.seen = make([]uint64, (d.first[len(d.first)-1]+63)/64)
	for p := range live.Packs() { // what is live counts as seen
		for slot := range p.Each() {
			d.see(p.Pack, slot)
		}
	}
	d.dead = make([]int64, len(d.first)-1)
	for _, s := range segments {
		d.add(s)
	}
	return d.dead
}

// deadSlots adds up slots, each once, however many segments describe it.
type deadSlots struct {
	c     *catalog
	first []uint64 // by number: the first bit of the pack
	seen  []uint64
	dead  []int64
}

// see reports whether a slot was not seen before.
func (d *deadSlots) see(n uint32, slot int) bool {
	if int(n) >= len(d.first)-1 {
		return false
	}
	bit := d.first[n] + uint64(slot)
	if bit >= d.first[n+1] || d.seen[bit/64]>>(bit%64)&1 == 1 {
		return false
	}
	d.seen[bit/64] |= 1 << (bit % 64)
	return true
}

func (d *deadSlots) add(s *index.Segment) {
	numbers := make([]uint32, s.Packs())
	for i := range numbers {
		n, ok := d.c.known(s.Pack(i).ID)
		if !ok {
			n = index.NoPack
		}
		numbers[i] = n
	}
	note := func(loc index.Location) {
		if int(loc.Pack) < len(numbers) && numbers[loc.Pack] != index.NoPack && d.see(numbers[loc.Pack], int(loc.Slot)) {
			d.dead[numbers[loc.Pack]] += int64(loc.Stored)
		}
	}
	for loc := range s.Bundles() {
		note(loc)
	}
	for _, loc := range s.All() {
		if !loc.Part {
			note(loc)
		}
	}
}
