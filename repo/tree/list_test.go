package tree_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/lockfast/lockfast/repo/tree"
)

// write stores extents as one content.
func (m *memory) write(t testing.TB, extents []tree.Extent) tree.Content {
	t.Helper()
	w := tree.NewContentWriter(m)
	for _, x := range extents {
		if err := w.Add(t.Context(), x); err != nil {
			t.Fatal(err)
		}
	}
	c, err := w.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestContentWriter_ReadsBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		m := newMemory(t)
		n := rapid.SampledFrom([]int{0, 1, 63, 64, 65, 300, 5000, 20_000}).Draw(rt, "n")
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))
		var extents []tree.Extent
		var want []tree.At
		off := int64(0)
		for range n {
			x := tree.Extent{Length: 1 + r.Int64N(1<<20)}
			if r.IntN(5) > 0 {
				x.ID = id(r.Uint64())
			}
			extents = append(extents, x)
			if k := len(want) - 1; k >= 0 && x.ID.IsZero() && want[k].ID.IsZero() {
				want[k].Length += x.Length
			} else {
				want = append(want, tree.At{Offset: off, Extent: x})
			}
			off += x.Length
		}
		c := m.write(t, extents)
		if c.Size != off || (len(want) > tree.MaxExtents) == c.List.IsZero() {
			rt.Fatalf("content of %d bytes in %d extents, list %s; want %d bytes", c.Size, len(c.Extents), c.List, off)
		}
		from := int64(0)
		if off > 0 {
			from = r.Int64N(off)
		}
		var got []tree.At
		for x, err := range tree.Extents(t.Context(), m, c, from) {
			if err != nil {
				rt.Fatal(err)
			}
			got = append(got, x)
		}
		for len(want) > 0 && want[0].Offset+want[0].Length <= from {
			want = want[1:]
		}
		if len(want) == 0 {
			want = nil
		}
		if !slices.Equal(want, got) {
			rt.Fatalf("Extents from %d (-want +got):\n%.2000s", from, cmp.Diff(want, got))
		}
	})
}

func TestContentWriter_SharesListsAfterAnInsertion(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	r := rand.New(rand.NewPCG(1, 1))
	extents := make([]tree.Extent, 50_000)
	for i := range extents {
		extents[i] = tree.Extent{ID: m.keys.ID(1, []byte{byte(i), byte(i >> 8), byte(r.Uint32())}), Length: 1 << 20}
	}
	m.write(t, extents)
	before := len(m.chunks)
	m.write(t, append([]tree.Extent{{ID: id(3), Length: 5}}, extents...))
	if added := len(m.chunks) - before; added > 4 {
		t.Errorf("an extent at the front stores %d of %d list chunks again", added, before)
	}
}

func TestExtents_RefusesWrongSize(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	extents := make([]tree.Extent, 100)
	for i := range extents {
		extents[i] = tree.Extent{ID: id(uint64(i)), Length: 10}
	}
	c := m.write(t, extents)
	c.Size++
	var last error
	for _, err := range tree.Extents(t.Context(), m, c, 0) {
		last = err
	}
	if last == nil {
		t.Error("Extents = nil, want an error for a list that is too short")
	}
}
