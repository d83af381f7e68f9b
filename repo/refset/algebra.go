package refset

// merge walks two sets in order of packs and calls one of the three functions per pack.
func merge(a, b Set, onlyA, onlyB func(Slots), both func(x, y Slots)) {
	i, j := 0, 0
	for i < len(a.packs) || j < len(b.packs) {
		switch {
		case j == len(b.packs) || i < len(a.packs) && a.packs[i].pack < b.packs[j].pack:
			onlyA(a.at(i))
			i++
		case i == len(a.packs) || b.packs[j].pack < a.packs[i].pack:
			onlyB(b.at(j))
			j++
		default:
			both(a.at(i), b.at(j))
			i++
			j++
		}
	}
}

func drop(Slots) {}

// combine applies op to the words of two bitmaps of one pack. A pack of which the two sides know different numbers of
// slots is damage that decoding has refused; here the larger number counts.
func (s *Set) combine(x, y Slots, op func(v, w uint64) uint64) {
	if y.Total > x.Total {
		x = x.widen(y.Total)
	} else if x.Total > y.Total {
		y = y.widen(x.Total)
	}
	s.append(x.Pack, uint32(x.Total), func(i int) uint64 { return op(x.word(i), y.word(i)) })
}

// widen returns the same slots of a pack of total slots.
func (s Slots) widen(total int) Slots {
	out := Slots{Pack: s.Pack, Total: total, bits: make([]uint64, wordsOf(uint32(total)))}
	for i := range wordsOf(uint32(s.Total)) {
		out.bits[i] = s.word(i)
	}
	return out
}

// Union returns the slots that are in a or in b.
func Union(a, b Set) Set {
	if a.Len() == 0 {
		return b
	}
	if b.Len() == 0 {
		return a
	}
	var out Set
	merge(a, b, out.keep, out.keep, func(x, y Slots) {
		if x.All() && x.Total == y.Total {
			out.keep(x)
			return
		}
		out.combine(x, y, func(v, w uint64) uint64 { return v | w })
	})
	return out
}

// Intersect returns the slots that are in a and in b.
func Intersect(a, b Set) Set {
	var out Set
	merge(a, b, drop, drop, func(x, y Slots) { out.combine(x, y, func(v, w uint64) uint64 { return v & w }) })
	return out
}

// AndNot returns the slots of a that are not in b.
func AndNot(a, b Set) Set {
	var out Set
	merge(a, b, out.keep, drop, func(x, y Slots) { out.combine(x, y, func(v, w uint64) uint64 { return v &^ w }) })
	return out
}

// Only returns the slots of packs for which keep reports true.
func Only(a Set, keep func(pack uint32) bool) Set {
	var out Set
	for p := range a.Packs() {
		if keep(p.Pack) {
			out.keep(p)
		}
	}
	return out
}
