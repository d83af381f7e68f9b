package refset

import "math/bits"

// join walks many sets in order of packs and calls visit once per pack, with the slots of those sets that have it and
// which they are. Both slices are valid during the call.
func join(sets []Set, visit func(slots []Slots, which []int)) {
	pos := make([]int, len(sets))
	slots := make([]Slots, 0, len(sets))
	which := make([]int, 0, len(sets))
	for {
		low := uint64(1) << 32
		slots, which = slots[:0], which[:0]
		for i := range sets {
			if pos[i] == len(sets[i].packs) {
				continue
			}
			pack := uint64(sets[i].packs[pos[i]].pack)
			if pack > low {
				continue
			}
			if pack < low {
				low = pack
				slots, which = slots[:0], which[:0]
			}
			slots, which = append(slots, sets[i].at(pos[i])), append(which, i)
		}
		if len(which) == 0 {
			return
		}
		for _, i := range which {
			pos[i]++
		}
		visit(slots, which)
	}
}

// UnionAll returns the slots that are in any of many sets. It is much faster than repeated [Union].
func UnionAll(sets ...Set) Set {
	var out Set
	join(sets, func(slots []Slots, _ []int) {
		slots = alike(slots)
		out.append(slots[0].Pack, uint32(slots[0].Total), func(i int) uint64 {
			var w uint64
			for _, s := range slots {
				w |= s.word(i)
			}
			return w
		})
	})
	return out
}

// Singles returns the slots that exactly one of many sets has.
func Singles(sets ...Set) Set {
	var out Set
	join(sets, func(slots []Slots, _ []int) {
		slots = alike(slots)
		out.append(slots[0].Pack, uint32(slots[0].Total), func(i int) uint64 {
			var once, more uint64
			for _, s := range slots {
				w := s.word(i)
				more |= once & w
				once |= w
			}
			return once &^ more
		})
	})
	return out
}

// alike widens slots of one pack to the largest number of slots that any side knows.
func alike(slots []Slots) []Slots {
	total := 0
	for _, s := range slots {
		total = max(total, s.Total)
	}
	for i, s := range slots {
		if s.Total < total {
			slots[i] = s.widen(total)
		}
	}
	return slots
}

// Share is what one of many sets refers to.
type Share struct {
	Referenced int64 // stored bytes of all its slots
	Unique     int64 // of those which no other set has: what goes when the set goes
}

// Shares returns the share of each set. lengths gives the stored length of every slot of a pack; it is called once
// per pack. Nothing is kept from call to call: the result cannot drift.
func Shares(sets []Set, lengths func(pack uint32) []uint32) []Share {
	out := make([]Share, len(sets))
	var once, more []uint64 // slots that one set has, or several, of the current pack
	join(sets, func(slots []Slots, which []int) {
		slots = alike(slots)
		n := wordsOf(uint32(slots[0].Total))
		once, more = append(once[:0], make([]uint64, n)...), append(more[:0], make([]uint64, n)...)
		for _, s := range slots {
			for i := range n {
				w := s.word(i)
				more[i] |= once[i] & w
				once[i] |= w
			}
		}
		l := lengths(slots[0].Pack)
		total := sum(l)
		for k, s := range slots {
			share := &out[which[k]]
			if s.All() && len(l) == s.Total {
				share.Referenced += total
			} else {
				share.Referenced += weigh(l, n, s.word)
			}
			share.Unique += weigh(l, n, func(i int) uint64 { return s.word(i) &^ more[i] })
		}
	})
	return out
}

func sum(l []uint32) (n int64) {
	for _, v := range l {
		n += int64(v)
	}
	return n
}

// weigh adds the lengths of the slots in a bitmap of n words.
func weigh(l []uint32, n int, word func(i int) uint64) (total int64) {
	for i := range n {
		for w := word(i); w != 0; w &= w - 1 {
			if slot := i*64 + bits.TrailingZeros64(w); slot < len(l) {
				total += int64(l[slot])
			}
		}
	}
	return total
}
