package refset

import "math/bits"

// Sum is a union that grows. It takes about a bit for each slot and eight bytes for each pack, however many sets are added.
// It is for one goroutine at a time.
type Sum struct {
	packs []sumPack // by number
	words []uint64
}

// sumPack is one pack; none of it is in the sum while slots is 0.
type sumPack struct {
	slots uint32
	off   uint32 // as in entry
}

// NewSum returns an empty sum.
func NewSum() *Sum { return &Sum{} }

// Add adds the slots of a pack; s.Pack is its number.
func (u *Sum) Add(s Slots) {
	if s.Total == 0 {
		return
	}
	for int64(s.Pack) >= int64(len(u.packs)) {
		u.packs = append(u.packs, sumPack{})
	}
	p := &u.packs[s.Pack]
	switch {
	case p.slots == 0:
		u.put(p, s)
	case uint32(s.Total) != p.slots: // damage that decoding has refused; the larger number counts
		both := alike([]Slots{u.slots(s.Pack), s})
		for i := range both[0].bits {
			both[0].bits[i] |= both[1].word(i)
		}
		u.put(p, both[0])
	case p.off == full:
	case s.bits == nil:
		p.off = full
	default:
		for i, w := range s.bits {
			u.words[int(p.off)+i] |= w
		}
	}
}

// put replaces a pack.
func (u *Sum) put(p *sumPack, s Slots) {
	*p = sumPack{slots: uint32(s.Total), off: full}
	if s.bits != nil {
		p.off = uint32(len(u.words))
		u.words = append(u.words, s.bits...)
	}
}

func (u *Sum) slots(pack uint32) Slots {
	p := u.packs[pack]
	out := Slots{Pack: pack, Total: int(p.slots)}
	if p.off != full {
		out.bits = append([]uint64{}, u.words[p.off:][:wordsOf(p.slots)]...)
	} else {
		out = out.widen(out.Total)
	}
	return out
}

// AddSet adds a set.
func (u *Sum) AddSet(s Set) {
	for p := range s.Packs() {
		u.Add(p)
	}
}

// Set returns what was added. The sum is not to be used any more.
func (u *Sum) Set() Set {
	out := Set{words: u.words}
	for no, p := range u.packs {
		if p.slots == 0 {
			continue
		}
		e := entry{pack: uint32(no), slots: p.slots, off: p.off}
		if p.off != full {
			n := 0
			for _, w := range u.words[p.off:][:wordsOf(p.slots)] {
				n += bits.OnesCount64(w)
			}
			if n == int(p.slots) {
				e.off = full
			}
		}
		out.packs = append(out.packs, e)
	}
	return out
}
