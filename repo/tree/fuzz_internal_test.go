package tree

import (
	"context"
	"testing"

	"github.com/lockfast/lockfast/repo/chunk"
)

// single is a store with one chunk under every id.
type single []byte

func (s single) Get(context.Context, chunk.ID) ([]byte, error)             { return s, nil }
func (s single) Put(context.Context, chunk.Kind, []byte) (chunk.ID, error) { return chunk.ID{1}, nil }

// leafBytes returns an encoded leaf with every form of content.
func leafBytes() []byte {
	n := &encoder{}
	for _, e := range []Entry{
		{Key: []byte{}, Meta: []byte("dir")},
		{Key: []byte("a"), Meta: []byte("dim"), Content: Content{Size: 2, Inline: []byte("xy")}},
		{Key: []byte("ab"), Content: Content{Size: 9, Extents: []Extent{{chunk.ID{1}, 9}}},
			Refs: []Extent{{chunk.ID{4}, 77}}},
		{Key: []byte("b"), Content: Content{Size: 12, Extents: []Extent{{chunk.ID{1}, 9}, {Length: 3}}}},
		{Key: []byte("c"), Content: Content{Size: 1 << 40, List: chunk.ID{5}}},
	} {
		n.add(&e)
	}
	return n.append(nil)
}

func FuzzNode(f *testing.F) {
	f.Add(leafBytes())
	inner := &encoder{level: 1}
	inner.addChild(child{key: []byte("a"), id: chunk.ID{1}, entries: 4, bytes: 5})
	inner.addChild(child{key: []byte("b"), id: chunk.ID{2}, entries: 4, bytes: 5})
	f.Add(inner.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := ParseNode(chunk.ID{1}, b)
		if err != nil {
			return
		}
		var d decoder
		d.open(chunk.ID{1}, n)
		e := &encoder{level: n.Level}
		for d.next() {
			if n.Level > 0 {
				e.addChild(d.child)
				continue
			}
			if err := d.entry.check(); err != nil {
				t.Fatalf("decoded entry is refused: %v", err)
			}
			e.add(&d.entry)
		}
		if d.err == nil && (e.count != n.Count || len(e.ids) != len(n.IDs) || len(e.lists) != len(n.Lists)) {
			t.Errorf("%d entries encode to %d", n.Count, e.count)
		}
		c := NewCursor(t.Context(), single(b), chunk.ID{1}, CursorOptions{})
		for i := 0; i < 5000 && c.Next(); i++ {
		}
		c.Seek([]byte("ab"))
	})
}

func FuzzList(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 2, 0, 0, 0, 10, 3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16})
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := parseList("list", b); err != nil {
			return
		}
		n := 0
		for _, err := range Extents(t.Context(), single(b), Content{Size: 10, List: chunk.ID{1}}, 0) {
			if n++; err != nil || n > 5000 {
				break
			}
		}
	})
}
