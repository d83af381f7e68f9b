package tree_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/tree"
)

// TestCursor_LeavesOutDamagedNodes damages some nodes of a map of three levels. The cursor yields every entry that is left,
// in order, from the start and from any key, and tells how many are lost.
func TestCursor_LeavesOutDamagedNodes(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		m := newMemory(t)
		var entries []tree.Entry
		for i, e := range files(3000, 1) { // long keys and Meta make nodes of few entries
			e.Key = append(fmt.Appendf(nil, "%05d", i), bytes.Repeat([]byte("k"), 2000)...)
			e.Meta = append(bytes.Clone(e.Key), bytes.Repeat([]byte("m"), 4000)...)
			entries = append(entries, e)
		}
		root := m.build(t, entries)
		if seed == 0 && levels(t, m, root.ID) < 3 {
			t.Fatal("the map has less than three levels")
		}
		r := rand.New(rand.NewPCG(seed, 2))
		for id := range m.chunks {
			if id != root.ID && r.IntN(6) == 0 {
				delete(m.chunks, id)
			}
		}
		var lost int64
		first := true
		damaged := func(d *tree.NodeError) bool {
			if first {
				lost += d.Entries
			}
			return errors.Is(d, chunk.ErrDamaged)
		}
		var left []tree.Entry
		c := tree.NewCursor(t.Context(), m, root.ID, tree.CursorOptions{Damaged: damaged})
		for c.Next() {
			left = append(left, clone(c.Entry()))
		}
		if c.Err() != nil || int64(len(left))+lost != root.Entries || lost == 0 {
			t.Fatalf("seed %d: %d entries left and %d lost of %d, %v", seed, len(left), lost, root.Entries, c.Err())
		}
		first = false
		for range 200 {
			key := entries[r.IntN(len(entries))].Key
			at := 0
			for at < len(left) && bytes.Compare(left[at].Key, key) < 0 {
				at++
			}
			if ok := c.Seek(key); ok != (at < len(left)) || c.Err() != nil {
				t.Fatalf("seed %d: Seek(%q) = %t, %v", seed, key, ok, c.Err())
			}
			for i := at; i < min(at+300, len(left)); i++ {
				if !same(c.Entry(), left[i]) {
					t.Fatalf("seed %d: entry %d from %q is %q, want %q", seed, i-at, key, c.Entry().Key, left[i].Key)
				}
				c.Next()
			}
		}
		plain := tree.NewCursor(t.Context(), m, root.ID, tree.CursorOptions{})
		for plain.Next() {
		}
		if err := plain.Err(); !errors.Is(err, chunk.ErrDamaged) || !strings.Contains(err.Error(), "entries from") {
			t.Errorf("seed %d: a cursor that leaves out nothing ends with %v, want the first entries lost", seed, err)
		}
		delete(m.chunks, root.ID)
		c = tree.NewCursor(t.Context(), m, root.ID, tree.CursorOptions{Damaged: damaged})
		if c.Next() || !errors.Is(c.Err(), chunk.ErrDamaged) {
			t.Errorf("seed %d: a cursor over a map without root ends with %v, want damage", seed, c.Err())
		}
	}
}

// levels returns how many levels of nodes a map has.
func levels(t *testing.T, m *memory, id chunk.ID) int {
	t.Helper()
	n, err := tree.ParseNode(id, m.chunks[id])
	if err != nil {
		t.Fatal(err)
	}
	return n.Level + 1
}
