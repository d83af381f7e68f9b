package index

import (
	"iter"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/lockfast/lockfast/repo/chunk"
)

// Marks is a set of ids, most of which stand in the index: it takes a bit for each entry of the segments that the set had
// when it was made. All copies of a content are marked together. Its methods may be called concurrently.
type Marks struct {
	segments []bound
	bits     [][]atomic.Uint64 // by segment; the first entry of an id in the first segment that has it stands for all

	mu    sync.Mutex
	other map[chunk.ID]bool // ids that stand in none of the segments; guarded by mu
}

// Marks returns an empty set of ids.
func (s *Set) Marks() *Marks {
	m := &Marks{segments: s.state.Load().segments, other: map[chunk.ID]bool{}}
	m.bits = make([][]atomic.Uint64, len(m.segments))
	for i := range m.segments {
		m.bits[i] = make([]atomic.Uint64, (m.segments[i].Len()+63)/64)
	}
	return m
}

// Mark adds id and reports whether it was not there before.
func (m *Marks) Mark(id chunk.ID) bool {
	if i, at, ok := m.first(&id, len(m.segments)); ok {
		return m.bits[i][at/64].Or(1<<(at%64))>>(at%64)&1 == 0
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.other[id]
	m.other[id] = true
	return !before
}

// Has reports whether id is there.
func (m *Marks) Has(id chunk.ID) bool {
	if i, at, ok := m.first(&id, len(m.segments)); ok {
		return m.bit(i, at)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.other[id]
}

func (m *Marks) bit(segment, at int) bool { return m.bits[segment][at/64].Load()>>(at%64)&1 == 1 }

// first returns the entry that stands for id, if one of the first n segments has it.
func (m *Marks) first(id *chunk.ID, n int) (segment, at int, ok bool) {
	for i := range n {
		s := m.segments[i].Segment
		if !s.MayContain(*id) {
			continue
		}
		at := s.search(id)
		found := at < s.Len() && chunk.ID(s.entries[at*entrySize:][:16]) == *id
		runtime.KeepAlive(s)
		if found {
			return i, at, true
		}
	}
	return 0, 0, false
}

// Missing yields the parts of bundles that are not there. The same one may come several times, when several segments
// describe its pack.
func (m *Marks) Missing() iter.Seq[Location] {
	return func(yield func(Location) bool) {
		for i := range m.segments {
			if !m.missing(i, func(_ chunk.ID, loc Location) bool { return yield(loc) }) {
				return
			}
		}
	}
}

// missing is Missing for one segment, with the ids of the parts.
func (m *Marks) missing(segment int, yield func(chunk.ID, Location) bool) bool {
	b := &m.segments[segment]
	defer runtime.KeepAlive(b.Segment)
	first := 0 // entry of the same id
	for at := range b.Len() {
		e := parseEntry(b.entries[at*entrySize:][:entrySize])
		if at > 0 && chunk.ID(b.entries[first*entrySize:][:16]) != e.id {
			first = at
		}
		if e.kind != chunk.Part || int(e.pack) >= len(b.numbers) || b.numbers[e.pack] == NoPack {
			continue
		}
		i, bit, ok := m.first(&e.id, segment)
		if !ok {
			i, bit = segment, first
		}
		if m.bit(i, bit) {
			continue
		}
		if loc, ok := b.locate(&e); ok {
			loc.Pack = b.numbers[loc.Pack]
			if !yield(e.id, loc) {
				return false
			}
		}
	}
	return true
}
