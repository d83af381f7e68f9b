package index

import (
	"iter"
	"runtime"

	"github.com/lockfast/lockfast/repo/chunk"
)

// Places yields every location of id in a numbered pack. [Set.Lookup] stops at the first; this is for callers that need
// one of particular ones, even of several in one pack.
func (s *Set) Places(id chunk.ID) iter.Seq[Location] {
	st := s.state.Load()
	return func(yield func(Location) bool) {
		for i := range st.segments {
			if !st.segments[i].places(&id, yield) {
				return
			}
		}
	}
}

// places is Places in one segment; false when the iteration is over.
func (b *bound) places(id *chunk.ID, yield func(Location) bool) bool {
	if !b.MayContain(*id) {
		return true
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
		if loc.Pack != NoPack && !yield(loc) {
			return false
		}
	}
	return true
}
