package tree_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/seal"
	"github.com/lockfast/lockfast/repo/tree"
)

// memory is a store of nodes and lists in a map; it counts.
type memory struct {
	keys   *seal.Keys
	chunks map[chunk.ID][]byte
	gets   int
	puts   int
}

func newMemory(t testing.TB) *memory {
	t.Helper()
	k, err := seal.New([16]byte{1}, seal.Secret{2}, map[uint32]seal.Secret{1: {3}})
	if err != nil {
		t.Fatal(err)
	}
	return &memory{keys: k, chunks: map[chunk.ID][]byte{}}
}

func (m *memory) Get(_ context.Context, id chunk.ID) ([]byte, error) {
	m.gets++
	b, ok := m.chunks[id]
	if !ok {
		return nil, chunk.Damaged("chunk "+id.String(), "it is missing")
	}
	return b, nil
}

func (m *memory) Put(_ context.Context, kind chunk.Kind, data []byte) (chunk.ID, error) {
	m.puts++
	id := m.keys.ID(kind, data)
	if m.chunks[id] == nil {
		m.chunks[id] = bytes.Clone(data)
	}
	return id, nil
}

func (m *memory) builder() *tree.Builder {
	return tree.NewBuilder(m, m.keys.Boundary, tree.BuilderOptions{})
}

// build puts entries.
func (m *memory) build(t testing.TB, entries []tree.Entry) tree.Root {
	t.Helper()
	b := m.builder()
	for _, e := range entries {
		if err := b.Put(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	r, err := b.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// clone copies what a cursor lends.
func clone(e tree.Entry) tree.Entry {
	e.Key, e.Meta = bytes.Clone(e.Key), bytes.Clone(e.Meta)
	e.Content.Inline, e.Content.Extents = bytes.Clone(e.Content.Inline), slices.Clone(e.Content.Extents)
	e.Refs = slices.Clone(e.Refs)
	return e
}

// read returns all entries of a map.
func (m *memory) read(t testing.TB, root chunk.ID) []tree.Entry {
	t.Helper()
	var out []tree.Entry
	c := tree.NewCursor(t.Context(), m, root, tree.CursorOptions{})
	for c.Next() {
		out = append(out, clone(c.Entry()))
	}
	if c.Err() != nil {
		t.Fatal(c.Err())
	}
	return out
}

func same(a, b tree.Entry) bool {
	return bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Meta, b.Meta) && tree.SameContent(a.Content, b.Content) &&
		slices.Equal(a.Refs, b.Refs)
}

func id(n uint64) (id chunk.ID) {
	binary.LittleEndian.PutUint64(id[:], n+1)
	binary.LittleEndian.PutUint64(id[8:], (n+1)*0x9e3779b97f4a7c15)
	return id
}

// files returns n entries that look like a tree of files.
func files(n int, seed uint64) []tree.Entry {
	r := rand.New(rand.NewPCG(seed, 1))
	out := make([]tree.Entry, n)
	for i := range out {
		out[i] = file(fmt.Sprintf("src\x00dir%04d\x00name-%07d.c", i/40, i), r.Uint64(), int64(1+r.IntN(20000)))
	}
	return out
}

func file(key string, content uint64, size int64) tree.Entry {
	meta := binary.LittleEndian.AppendUint64([]byte{1, 0xa4, 3, 0, 0, 1}, content%1e9)
	return tree.Entry{Key: []byte(key), Meta: meta, Content: tree.Content{Size: size,
		Extents: []tree.Extent{{ID: id(content), Length: size}}}}
}

func TestBuilder_ReadsBackWhatWasPut(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	entries := files(5000, 1)
	entries[0] = tree.Entry{Key: []byte{}, Meta: []byte{2}}
	entries[10].Content = tree.Content{Size: 3, Inline: []byte("abc")}
	entries[11].Content = tree.Content{Size: 1 << 40, Extents: []tree.Extent{{Length: 1<<40 - 5},
		{ID: id(7), Length: 5}}}
	entries[12].Content = tree.Content{Size: 1 << 50, List: id(99)}
	entries[13].Refs = []tree.Extent{{ID: id(1), Length: 5000}, {ID: id(2), Length: 6000}}
	entries[14].Content = tree.Content{Size: 1 << 40, Extents: []tree.Extent{{Length: 1 << 40}}}
	root := m.build(t, entries)
	got := m.read(t, root.ID)
	for i := range got {
		for _, p := range []*[]byte{&got[i].Key, &got[i].Meta} {
			if *p == nil {
				*p = []byte{}
			}
		}
	}
	if d := cmp.Diff(entries, got); d != "" {
		t.Errorf("entries differ (-want +got):\n%s", d)
	}
	if root.Entries != 5000 {
		t.Errorf("Entries = %d, want 5000", root.Entries)
	}
}

// history is a map and changes to it, as rapid draws them.
func history(t *rapid.T, n int) (before, after map[string]tree.Entry) {
	before = map[string]tree.Entry{}
	for _, e := range files(n, rapid.Uint64().Draw(t, "seed")) {
		before[string(e.Key)] = e
	}
	after = maps.Clone(before)
	keys := slices.Sorted(maps.Keys(before))
	for range rapid.IntRange(0, 20).Draw(t, "changes") {
		i := rapid.IntRange(0, max(0, len(keys)-1)).Draw(t, "at")
		if len(keys) == 0 {
			break
		}
		switch rapid.IntRange(0, 3).Draw(t, "change") {
		case 0:
			delete(after, keys[i])
		case 1:
			after[keys[i]] = file(keys[i], rapid.Uint64().Draw(t, "content"), 77)
		case 2:
			k := keys[i] + "x"
			after[k] = file(k, 5, 5)
		case 3: // a run disappears
			for _, k := range keys[i:min(len(keys), i+300)] {
				delete(after, k)
			}
		}
	}
	return before, after
}

func sorted(m map[string]tree.Entry) []tree.Entry {
	var out []tree.Entry
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[k])
	}
	return out
}

// mergeKeep builds after from before's tree: equal entries are kept, others put.
func (m *memory) mergeKeep(t *rapid.T, before chunk.ID, after []tree.Entry, puts func() bool) tree.Root {
	ctx := context.Background()
	b := m.builder()
	c := tree.NewCursor(ctx, m, before, tree.CursorOptions{})
	more := c.Next()
	for _, e := range after {
		for more && bytes.Compare(c.Entry().Key, e.Key) < 0 {
			more = c.Next()
		}
		var err error
		if more && same(c.Entry(), e) && !puts() {
			err = b.Keep(ctx, c)
		} else {
			err = b.Put(ctx, e)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	r, err := b.Finish(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// soak repeats a random test as often as LOCKFAST_SOAK says, or as long if that is a duration; once without it.
func soak(t *testing.T, check func(t *testing.T)) {
	t.Helper()
	v := os.Getenv("LOCKFAST_SOAK")
	n, _ := strconv.Atoi(v)
	d, _ := time.ParseDuration(v)
	for i, start := 0, time.Now(); i == 0 || i < n || time.Since(start) < d; i++ {
		check(t)
		if t.Failed() {
			return
		}
	}
}

func TestBuilder_SameEntriesSameNodesWhateverTheRoute(t *testing.T) {
	t.Parallel()
	soak(t, sameEntriesSameNodes)
}

func sameEntriesSameNodes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.SampledFrom([]int{0, 1, 2, 100, 600, 3000, 9000}).Draw(rt, "n")
		before, after := history(rt, n)
		m := newMemory(t)
		old := m.build(t, sorted(before))
		want := m.build(t, sorted(after))
		kept := m.mergeKeep(rt, old.ID, sorted(after), func() bool { return false })
		mixed := m.mergeKeep(rt, old.ID, sorted(after), func() bool {
			return rapid.IntRange(0, 500).Draw(rt,
				"put") == 0
		})
		if kept != want || mixed != want {
			rt.Fatalf("roots: put %v, kept %v, mixed %v", want, kept, mixed)
		}
		checkDiff(rt, m, old.ID, want.ID, before, after)
	})
}

// checkDiff compares Diff with the difference of the maps.
func checkDiff(t *rapid.T, m *memory, old, now chunk.ID, before, after map[string]tree.Entry) {
	got := map[string]bool{}
	for c, err := range tree.Diff(context.Background(), m, old, now, tree.CursorOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		for _, side := range []struct {
			e *tree.Entry
			m map[string]tree.Entry
		}{{c.Before, before}, {c.After, after}} {
			if side.e == nil {
				continue
			}
			got[string(side.e.Key)] = true
			if !same(*side.e, side.m[string(side.e.Key)]) {
				t.Fatalf("entry %q differs from the map's", side.e.Key)
			}
		}
	}
	want := map[string]bool{}
	for k, e := range before {
		if f, ok := after[k]; !ok || !same(e, f) {
			want[k] = true
		}
	}
	for k := range after {
		if _, ok := before[k]; !ok {
			want[k] = true
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("Diff (-want +got):\n%s", d)
	}
}

func TestBuilder_KeepsWholeLeavesWithoutStoring(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	entries := files(100_000, 3)
	old := m.build(t, entries)
	m.puts = 0
	kept := 0
	b := tree.NewBuilder(m, m.keys.Boundary, tree.BuilderOptions{Leaf: func(_ chunk.ID, _ tree.Node, k bool) error {
		if k {
			kept++
		}
		return nil
	}})
	c := tree.NewCursor(t.Context(), m, old.ID, tree.CursorOptions{})
	for c.Next() {
		if err := b.Keep(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	got, err := b.Finish(t.Context())
	if err != nil || got != old {
		t.Fatalf("Finish() = %v, %v, want %v", got, err, old)
	}
	if m.puts > 4 || kept < 100 {
		t.Errorf("%d nodes put and %d leaves kept of an unchanged map", m.puts, kept)
	}
}

func TestDiff_SkipsSharedNodes(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	entries := files(100_000, 3)
	old := m.build(t, entries)
	entries[50_000] = file(string(entries[50_000].Key), 1, 1)
	now := m.build(t, entries)
	m.gets = 0
	n := 0
	for _, err := range tree.Diff(t.Context(), m, old.ID, now.ID, tree.CursorOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 1 || m.gets > 8 {
		t.Errorf("%d changes with %d reads, want 1 with at most 8", n, m.gets)
	}
}

func TestCursor_Seek(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	entries := files(20_000, 4)
	root := m.build(t, entries)
	c := tree.NewCursor(t.Context(), m, root.ID, tree.CursorOptions{})
	for _, i := range []int{19_999, 0, 5000, 12_345} {
		if !c.Seek(entries[i].Key) || !bytes.Equal(c.Entry().Key, entries[i].Key) {
			t.Errorf("Seek(%q) is on %q", entries[i].Key, c.Entry().Key)
		}
		if i+1 < len(entries) && (!c.Seek(append(bytes.Clone(entries[i].Key), 0)) ||
			!bytes.Equal(c.Entry().Key, entries[i+1].Key)) {
			t.Errorf("Seek(after %q) is on %q", entries[i].Key, c.Entry().Key)
		}
	}
	if c.Seek([]byte("zzz")) || c.Err() != nil {
		t.Errorf("Seek(behind the end) = true or %v", c.Err())
	}
	if !c.Seek(nil) || !bytes.Equal(c.Entry().Key, entries[0].Key) {
		t.Error("Seek(nil) is not on the first entry")
	}
}

func TestBuilder_DeepPath(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	r := rand.New(rand.NewPCG(1, 2))
	var entries []tree.Entry
	var path []string
	for range 4096 {
		name := make([]byte, 255)
		for i := range name {
			name[i] = 'a' + byte(r.IntN(26))
		}
		path = append(path, string(name))
		if len(path)%16 == 0 || len(path) == 4096 {
			entries = append(entries, file(strings.Join(path, "\x00"), 1, 1))
		}
	}
	root := m.build(t, entries)
	size := 0
	for _, c := range m.chunks {
		size += len(c)
	}
	if size > 64<<20 {
		t.Errorf("a path of 4,096 components takes %d bytes", size)
	}
	if got := m.read(t, root.ID); len(got) != len(entries) ||
		!bytes.Equal(got[len(got)-1].Key, entries[len(entries)-1].Key) {
		t.Errorf("%d entries, want %d", len(got), len(entries))
	}
}

func TestBuilder_HugeUnrelatedKeys(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	var entries []tree.Entry
	for i := range 12 {
		key := bytes.Repeat([]byte{byte('a' + i)}, tree.MaxKey)
		entries = append(entries, tree.Entry{Key: key, Meta: bytes.Repeat([]byte{byte(i)}, tree.MaxMeta)})
	}
	root := m.build(t, entries)
	for _, c := range m.chunks {
		if len(c) > chunk.MaxPlain {
			t.Errorf("a node of %d bytes", len(c))
		}
	}
	if got := m.read(t, root.ID); len(got) != len(entries) {
		t.Errorf("%d entries, want %d", len(got), len(entries))
	}
}

func TestBuilder_RefusesWrongEntries(t *testing.T) {
	t.Parallel()
	ok := file("b", 1, 1)
	for name, e := range map[string]tree.Entry{
		"equal key":      ok,
		"lower key":      file("a", 1, 1),
		"size differs":   {Key: []byte("c"), Content: tree.Content{Size: 2, Inline: []byte("a")}},
		"inline too big": {Key: []byte("c"), Content: tree.Content{Size: 513, Inline: make([]byte, 513)}},
		"empty extent":   {Key: []byte("c"), Content: tree.Content{Extents: []tree.Extent{{ID: id(1)}}}},
		"key too long":   {Key: make([]byte, tree.MaxKey+1)},
		"meta too long":  {Key: []byte("c"), Meta: make([]byte, tree.MaxMeta+1)},
		"hole reference": {Key: []byte("c"), Refs: []tree.Extent{{Length: 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newMemory(t).builder()
			if err := b.Put(t.Context(), ok); err != nil {
				t.Fatal(err)
			}
			if err := b.Put(t.Context(), e); err == nil {
				t.Error("Put = nil, want an error")
			}
		})
	}
}

// visitor collects what Walk reports.
type visitor struct {
	contents map[chunk.ID]bool
	nodes    map[chunk.ID]chunk.Kind
}

func newVisitor() *visitor {
	return &visitor{contents: map[chunk.ID]bool{}, nodes: map[chunk.ID]chunk.Kind{}}
}

func (v *visitor) Node(kind chunk.Kind, id chunk.ID) (bool, error) {
	_, seen := v.nodes[id]
	v.nodes[id] = kind
	return !seen, nil
}

func (v *visitor) Contents(ids []byte) error {
	for i := 0; i < len(ids); i += 16 {
		v.contents[chunk.ID(ids[i:i+16])] = true
	}
	return nil
}

func TestWalk_FindsEverything(t *testing.T) {
	t.Parallel()
	m := newMemory(t)
	w := tree.NewContentWriter(m)
	want := map[chunk.ID]bool{}
	for i := range 20_000 {
		x := tree.Extent{ID: id(uint64(i) * 7919), Length: 1 << 20}
		want[x.ID] = true
		if err := w.Add(t.Context(), x); err != nil {
			t.Fatal(err)
		}
	}
	long, err := w.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	entries := files(3000, 5)
	entries[100].Content = long
	entries[101].Refs = []tree.Extent{{ID: id(4711), Length: 5000}}
	want[id(4711)] = true
	for _, e := range entries {
		for _, x := range e.Content.Extents {
			want[x.ID] = true
		}
	}
	root := m.build(t, entries)
	v := newVisitor()
	if err := tree.Walk(t.Context(), m, root.ID, v); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, v.contents); d != "" {
		t.Errorf("contents (-want +got):\n%.2000s", d)
	}
	if len(v.nodes) != len(m.chunks) {
		t.Errorf("%d nodes and lists visited, %d stored", len(v.nodes), len(m.chunks))
	}
}
