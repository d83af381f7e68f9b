// Package refset holds sets of slots of packs: what a recovery point needs, what a session relies on, what reclaim
// may not touch (docs/format.md section 9).
//
// In memory packs have the dense numbers of the ledger; on the store they have their ids, so that a set survives
// renumbering. A [Set] is immutable; a [Builder] collects.
package refset

import (
	"iter"
	"math/bits"
	"slices"
)

// Set is a set of slots, sorted by pack. The zero Set is empty. Sets share nothing with what they were made from
// unless it is immutable.
type Set struct {
	packs []entry
	words []uint64 // bitmaps of those packs that are not full
}

// entry is one pack of a set.
type entry struct {
	pack  uint32
	slots uint32 // number of slots of the pack
	off   uint32 // of the bitmap in words; full when the set has every slot
}

// full in entry.off stands for all slots.
const full = ^uint32(0)

// wordsOf returns the length of a bitmap.
func wordsOf(slots uint32) int { return int(slots+63) / 64 }

// Slots are the slots of one pack in a set.
type Slots struct {
	Pack  uint32
	Total int // slots of the pack
	bits  []uint64
}

// All reports whether every slot of the pack is in the set.
func (s Slots) All() bool { return s.bits == nil }

// Count returns the number of slots in the set.
func (s Slots) Count() int {
	if s.bits == nil {
		return s.Total
	}
	n := 0
	for _, w := range s.bits {
		n += bits.OnesCount64(w)
	}
	return n
}

// Has reports whether slot is in the set.
func (s Slots) Has(slot int) bool {
	if slot < 0 || slot >= s.Total {
		return false
	}
	return s.bits == nil || s.bits[slot/64]>>(slot%64)&1 == 1
}

// Each yields the slots, ascending.
func (s Slots) Each() iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range wordsOf(uint32(s.Total)) {
			for w := s.word(i); w != 0; w &= w - 1 {
				if !yield(i*64 + bits.TrailingZeros64(w)) {
					return
				}
			}
		}
	}
}

// word returns word i of the bitmap, also of a full one.
func (s Slots) word(i int) uint64 {
	if s.bits != nil {
		return s.bits[i]
	}
	if rest := s.Total - i*64; rest < 64 {
		return 1<<rest - 1
	}
	return ^uint64(0)
}

// Len returns the number of packs.
func (s Set) Len() int { return len(s.packs) }

// Count returns the number of slots.
func (s Set) Count() int {
	n := 0
	for i := range s.packs {
		n += s.at(i).Count()
	}
	return n
}

func (s Set) at(i int) Slots {
	e := s.packs[i]
	out := Slots{Pack: e.pack, Total: int(e.slots)}
	if e.off != full {
		out.bits = s.words[e.off:][:wordsOf(e.slots)]
	}
	return out
}

// Packs yields the packs with their slots, ascending by number.
func (s Set) Packs() iter.Seq[Slots] {
	return func(yield func(Slots) bool) {
		for i := range s.packs {
			if !yield(s.at(i)) {
				return
			}
		}
	}
}

// Pack returns the slots of one pack; ok is false when there are none.
func (s Set) Pack(pack uint32) (slots Slots, ok bool) {
	i, ok := slices.BinarySearchFunc(s.packs, pack, func(e entry, p uint32) int {
		return int(int64(e.pack) - int64(p))
	})
	if !ok {
		return Slots{}, false
	}
	return s.at(i), true
}

// Has reports whether a slot is in the set.
func (s Set) Has(pack uint32, slot int) bool {
	slots, ok := s.Pack(pack)
	return ok && slots.Has(slot)
}

// Bytes returns the sum of the slots' lengths. lengths gives the stored length of every slot of a pack; it is called
// once per pack.
func (s Set) Bytes(lengths func(pack uint32) []uint32) int64 {
	var n int64
	for slots := range s.Packs() {
		l := lengths(slots.Pack)
		for i := range slots.Each() {
			if i < len(l) {
				n += int64(l[i])
			}
		}
	}
	return n
}

// append adds the slots of a pack above all others; combine(i) gives word i.
func (s *Set) append(pack, slots uint32, combine func(i int) uint64) {
	n := wordsOf(slots)
	off := len(s.words)
	count := 0
	for i := range n {
		w := combine(i)
		count += bits.OnesCount64(w)
		s.words = append(s.words, w)
	}
	switch count {
	case 0:
		s.words = s.words[:off]
	case int(slots):
		s.words = s.words[:off]
		s.packs = append(s.packs, entry{pack: pack, slots: slots, off: full})
	default:
		s.packs = append(s.packs, entry{pack: pack, slots: slots, off: uint32(off)})
	}
}

// keep adds the slots of a pack as they are.
func (s *Set) keep(p Slots) {
	e := entry{pack: p.Pack, slots: uint32(p.Total), off: full}
	if p.bits != nil {
		e.off = uint32(len(s.words))
		s.words = append(s.words, p.bits...)
	}
	s.packs = append(s.packs, e)
}
