package index

import (
	"iter"
	"runtime"

	"github.com/lockfast/lockfast/repo/chunk"
)

// Tally tells which ids several owners name and which only one does, in three bits for each entry of the index and not
// one for each pair of owner and id. Owners come one after the other: [Tally.Begin], then [Tally.Name] for what the owner
// names. When all have come, [Tally.Begin] and [Tally.Sole] tell what an owner, going through the same ids again, has for
// itself. It is for one goroutine at a time.
type Tally struct {
	named  *Marks // by any owner
	shared *Marks // by several
	now    *Marks // by the owner whose turn it is
}

// Tally returns an empty tally over the segments that the set has now.
func (s *Set) Tally() *Tally { return &Tally{named: s.Marks(), shared: s.Marks(), now: s.Marks()} }

// Begin says that another owner follows.
func (t *Tally) Begin() {
	for i := range t.now.bits {
		for j := range t.now.bits[i] {
			t.now.bits[i][j].Store(0)
		}
	}
	clear(t.now.other)
}

// Name notes that the owner names id. more is false when that changes nothing: the owner has named it, or several others
// have. So whoever names a node of a tree need not look at what is below it, because the others have.
func (t *Tally) Name(id chunk.ID) (more bool) {
	if !t.now.Mark(id) || t.shared.Has(id) {
		return false
	}
	if !t.named.Mark(id) {
		t.shared.Mark(id)
	}
	return true
}

// Sole reports whether no other owner names id, which this one does; once for each id and [Tally.Begin].
func (t *Tally) Sole(id chunk.ID) bool { return !t.shared.Has(id) && t.now.Mark(id) }

// Unnamed yields the parts of bundles that no owner names, each once.
func (t *Tally) Unnamed() iter.Seq[Location] {
	m := t.named
	return func(yield func(Location) bool) {
		for i := range m.segments {
			ok := m.missing(i, func(id chunk.ID, loc Location) bool { return m.before(i, &id, &loc) || yield(loc) })
			if !ok {
				return
			}
		}
	}
}

// before reports whether an earlier segment describes the same part.
func (m *Marks) before(segment int, id *chunk.ID, loc *Location) bool {
	found := false
	for i := 0; i < segment && !found; i++ {
		m.segments[i].places(id, func(x Location) bool {
			found = x.Part && x.Pack == loc.Pack && x.Slot == loc.Slot && x.PartOffset == loc.PartOffset
			return !found
		})
	}
	return found
}

// Slots yields every slot that a segment describes: bundles, then the others. Location.Pack is the row of the pack table.
func (s *Segment) Slots() iter.Seq[Location] {
	return func(yield func(Location) bool) {
		defer runtime.KeepAlive(s)
		for _, records := range [][]byte{s.bundles, s.entries} {
			for i := 0; i < len(records); i += entrySize {
				e := parseEntry(records[i:][:entrySize])
				if e.kind == chunk.Part {
					continue
				}
				if loc, ok := s.locate(&e); ok && !yield(loc) {
					return
				}
			}
		}
	}
}
