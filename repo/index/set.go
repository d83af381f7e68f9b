package index

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/pack"
)

// Set is the index of a vault: its segments, in which packs have the numbers of the ledger. Lookups need no lock and
// see either the state before or after a change.
type Set struct {
	mu    sync.Mutex // serialises changes
	state atomic.Pointer[setState]
}

// setState is immutable.
type setState struct {
	segments []bound
	packs    []packAt // by number
	count    int      // of packs
}

// packAt is where a pack is described: a row of the pack table of a segment. It is nowhere while segment is 0.
type packAt struct{ segment, row uint32 }

// bound is a segment with the ledger's numbers of its packs by row, [NoPack] for those that are gone.
type bound struct {
	*Segment
	numbers []uint32
}

// NewSet returns an empty set.
func NewSet() *Set {
	s := &Set{}
	s.state.Store(&setState{})
	return s
}

// Add puts segments into the set, in front of those that are there. number gives the ledger's number of a pack, or
// [NoPack]. Segments that a member supersedes, and such that are there already, are left out.
func (s *Set) Add(number func(pack.ID) uint32, segments ...*Segment) {
	s.update(number, func(old []*Segment) []*Segment { return append(slices.Clone(segments), old...) })
}

// Remove takes segments out.
func (s *Set) Remove(number func(pack.ID) uint32, ids ...SegmentID) {
	s.update(number, func(old []*Segment) []*Segment {
		return slices.DeleteFunc(old, func(g *Segment) bool { return slices.Contains(ids, g.id) })
	})
}

// Rebind asks number again for every pack, after packs were retired or registered.
func (s *Set) Rebind(number func(pack.ID) uint32) {
	s.update(number, func(old []*Segment) []*Segment { return old })
}

func (s *Set) update(number func(pack.ID) uint32, change func([]*Segment) []*Segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	segments := change(s.Segments())
	dead := map[SegmentID]bool{}
	for _, g := range segments {
		for _, id := range g.Superseded() {
			dead[id] = true
		}
	}
	next := &setState{}
	for _, g := range segments {
		if dead[g.id] {
			continue
		}
		dead[g.id] = true // a second copy is not needed
		next.bind(g, number)
	}
	s.state.Store(next)
}

// bind adds a segment and numbers its packs. Of several segments that describe a pack, the last one counts.
func (st *setState) bind(g *Segment, number func(pack.ID) uint32) {
	b := bound{Segment: g, numbers: make([]uint32, g.Packs())}
	st.segments = append(st.segments, b)
	for i := range b.numbers {
		n := number(g.packID(i))
		b.numbers[i] = n
		if n == NoPack {
			continue
		}
		for int64(n) >= int64(len(st.packs)) {
			st.packs = append(st.packs, packAt{})
		}
		if st.packs[n].segment == 0 {
			st.count++
		}
		st.packs[n] = packAt{uint32(len(st.segments)), uint32(i)}
	}
}

// Segments returns the segments, newest first.
func (s *Set) Segments() []*Segment {
	st := s.state.Load()
	out := make([]*Segment, len(st.segments))
	for i, b := range st.segments {
		out[i] = b.Segment
	}
	return out
}

// Pack returns what is known about the pack with the given number.
func (s *Set) Pack(no uint32) (PackInfo, bool) {
	st := s.state.Load()
	if int64(no) >= int64(len(st.packs)) || st.packs[no].segment == 0 {
		return PackInfo{}, false
	}
	p := st.packs[no]
	return st.segments[p.segment-1].Pack(int(p.row)), true
}

// PackCount returns the number of packs that are in the ledger and in the set.
func (s *Set) PackCount() int { return s.state.Load().count }

// Lookup returns a location of id in a pack that is in the ledger and that skip, if not nil, does not refuse. It does
// not allocate.
func (s *Set) Lookup(id chunk.ID, skip func(pack uint32) bool) (Location, bool) {
	st := s.state.Load()
	for i := range st.segments {
		if loc, ok := st.segments[i].find(&id, skip); ok {
			return loc, true
		}
	}
	return Location{}, false
}

// find is Lookup in one segment.
func (b *bound) find(id *chunk.ID, skip func(uint32) bool) (Location, bool) {
	if !b.MayContain(*id) {
		return Location{}, false
	}
	defer runtime.KeepAlive(b.Segment)
	for i := b.search(id); i < b.Len(); i++ {
		e := parseEntry(b.entries[i*entrySize:][:entrySize])
		if e.id != *id {
			break
		}
		loc, ok := b.locate(&e)
		if !ok {
			continue
		}
		loc.Pack = b.numbers[loc.Pack]
		if loc.Pack != NoPack && (skip == nil || !skip(loc.Pack)) {
			return loc, true
		}
	}
	return Location{}, false
}
