package vector_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/index"
	"github.com/lockfast/lockfast/repo/pack"
	"github.com/lockfast/lockfast/repo/refset"
	"github.com/lockfast/lockfast/repo/seal"
	"github.com/lockfast/lockfast/repo/tree"
)

func TestChunker(t *testing.T) {
	t.Parallel()
	f := file{
		Description: "Lengths of the chunks of noise(12 MiB): u64 x(0) = 1, x(i+1) = x(i) * 6364136223846793005 + " +
			"1442695040888963407, byte i the highest byte of x(i).", Section: "6", Vectors: []vector{inputs()}}
	data := make([]byte, 12<<20)
	x := uint64(1)
	for i := range data {
		data[i] = byte(x >> 56)
		x = x*6364136223846793005 + 1442695040888963407
	}
	c := chunk.New(keys(t).ChunkerKey(), chunk.DefaultParams())
	var lengths []string
	for rest := data; len(rest) > 0; {
		n := c.Next(rest, true)
		lengths = append(lengths, itoa(n))
		rest = rest[n:]
	}
	f.Vectors = append(f.Vectors, vector{Name: "noise", Values: map[string]string{"lengths": strings.Join(lengths,
		" ")}})
	compare(t, "chunker.json", f)
}

// slots returns the chunks of the sample pack.
func slots(k *seal.Keys) (s []pack.Slot, plain [][]byte) {
	parts := []pack.Part{{ID: k.ID(chunk.Part, stream(600)), Length: 600},
		{ID: k.ID(chunk.Part, stream(700)), Length: 700}}
	plain = [][]byte{stream(1000), slices.Concat(stream(600), stream(700)), {}}
	s = []pack.Slot{{ID: k.ID(chunk.Data, plain[0]), Kind: chunk.Data, Plain: 1000},
		{ID: pack.BundleID(k, parts), Kind: chunk.Bundle, Plain: 1300, Parts: parts},
		{ID: k.ID(chunk.Data, nil), Kind: chunk.Data}}
	return s, plain
}

func samplePack(t *testing.T) pack.Packed {
	t.Helper()
	k := keys(t)
	w, err := pack.NewWriter(k, pack.Options{Target: 1 << 20, Rand: random(), Raw: true})
	if err != nil {
		t.Fatal(err)
	}
	s, plain := slots(k)
	for i := range s {
		if _, _, err := w.Add(s[i], plain[i]); err != nil {
			t.Fatal(err)
		}
	}
	return w.Finish()
}

// open reads every slot of a pack and verifies it.
func open(t *testing.T, typ seal.Type, id pack.ID, object []byte) {
	t.Helper()
	k := keys(t)
	dec := pack.NewDecompressor(1)
	defer dec.Close()
	p, err := pack.Open(t.Context(), k, dec, typ, id, int64(len(object)),
		func(_ context.Context, off, n int64) ([]byte, error) {
			return bytes.Clone(object[off : off+n]), nil
		})
	if err != nil {
		t.Fatal(err)
	}
	o, err := pack.NewOpener(k, p.Info)
	if err != nil {
		t.Fatal(err)
	}
	for no, s := range p.Slots {
		stored, err := o.Open(no, s, bytes.Clone(object[s.Offset:s.Offset+s.Stored]))
		if err != nil {
			t.Fatal(err)
		}
		plain, err := dec.Decompress(nil, s.Codec, stored, int(s.Plain))
		if err != nil {
			t.Fatal(err)
		}
		if err := pack.Verify(k, s, plain); err != nil {
			t.Error(err)
		}
	}
}

func TestPack(t *testing.T) {
	t.Parallel()
	p := samplePack(t)
	open(t, p.Type, p.ID, p.Bytes)
	compare(t, "pack.json", file{
		Description: "A data pack of three raw slots: stream(1000), a bundle of stream(600) and stream(700), and " +
			"nothing. The trailer is raw.", Section: "7",
		Vectors: []vector{inputs(), {Name: pack.Name(p.Type, p.ID),
			Values: map[string]string{"object": toHex(p.Bytes), "digest": toHex(p.Digest[:]),
				"ids": idHex(p.Slots[0].ID) + " " + idHex(p.Slots[1].ID) + " " + idHex(p.Slots[2].ID)}}}})
}

// TestPackZstd only decodes: encoders differ between releases.
func TestPackZstd(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "testdata", "v1", "pack-zstd.json")
	if _, err := os.Stat(path); err != nil && *add {
		k := keys(t)
		w, err := pack.NewWriter(k, pack.Options{Target: 1 << 20, Rand: random(), Type: seal.TypeMetaPack})
		if err != nil {
			t.Fatal(err)
		}
		plain := bytes.Repeat(stream(100), 100)
		stored, codec := pack.NewCompressor(pack.Fast).Compress(nil, plain)
		if _, _, err := w.Add(pack.Slot{ID: k.ID(chunk.Node, plain), Kind: chunk.Node, Codec: codec,
			Plain: uint32(len(plain))}, stored); err != nil {
			t.Fatal(err)
		}
		p := w.Finish()
		compare(t, "pack-zstd.json", file{Description: "A meta pack of one zstd slot, 100 times stream(100). For decoding only.", Section: "7",
			Vectors: []vector{inputs(), {Name: pack.Name(p.Type, p.ID),
				Values: map[string]string{"object": toHex(p.Bytes)}}}})
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	object, err := hex.DecodeString(f.Vectors[1].Values["object"])
	if err != nil {
		t.Fatal(err)
	}
	typ, id, err := pack.ParseName(f.Vectors[1].Name)
	if err != nil {
		t.Fatal(err)
	}
	open(t, typ, id, object)
}

func TestSegment(t *testing.T) {
	t.Parallel()
	p := samplePack(t)
	b := index.NewBuilder()
	b.AddPack(index.InfoOf(p), p.Slots)
	built, err := b.BuildID(index.SegmentID(count(0xa0, 16)))
	if err != nil {
		t.Fatal(err)
	}
	s, err := index.Open("segment", built.Plain)
	if err != nil {
		t.Fatal(err)
	}
	set := index.NewSet()
	set.Add(func(pack.ID) uint32 { return 5 }, s)
	part := p.Slots[1].Parts[1]
	loc, ok := set.Lookup(part.ID, nil)
	if want := (index.Location{Pack: 5, Slot: 1, Kind: chunk.Bundle, Chunk: p.Slots[1].ID, Offset: p.Slots[1].Offset,
		Stored: p.Slots[1].Stored,
		Plain:  1300, Part: true, PartOffset: 600, PartLength: 700}); !ok || loc != want {
		t.Errorf("Lookup = %+v, %v, want %+v", loc, ok, want)
	}
	compare(t, "segment.json", file{Description: "The plain text of the index segment of the pack in pack.json, without a filter.", Section: "8",
		Vectors: []vector{{Name: index.SegmentName(0, built.ID),
			Values: map[string]string{"plain": toHex(built.Plain)}}}})
}

func TestRefset(t *testing.T) {
	t.Parallel()
	b := refset.NewBuilder()
	b.AddAll(1)
	for _, slot := range []int{0, 3, 64, 69} {
		b.Add(2, slot)
	}
	s, err := b.Set(func(uint32) int { return 70 })
	if err != nil {
		t.Fatal(err)
	}
	plain, err := refset.Encode(s, false, func(no uint32) (pack.ID,
		bool) {
		return pack.ID(count(byte(0xc0-16*no), 16)), true
	})
	if err != nil {
		t.Fatal(err)
	}
	compare(t, "refset.json", file{
		Description: "The plain text of a refset: slots 0, 3, 64, 69 of pack a0a1.. and all slots of pack b0b1.., " +
			"both of 70 slots.", Section: "9",
		Vectors: []vector{{Name: "refset", Values: map[string]string{"plain": toHex(plain)}}}})
}

// nodes keeps what a builder stores, in order.
type nodes struct {
	keys *seal.Keys
	put  [][]byte
	ids  []chunk.ID
}

func (n *nodes) Get(_ context.Context, id chunk.ID) ([]byte, error) {
	return n.put[slices.Index(n.ids, id)], nil
}

func (n *nodes) Put(_ context.Context, kind chunk.Kind, data []byte) (chunk.ID, error) {
	n.put = append(n.put, bytes.Clone(data))
	n.ids = append(n.ids, n.keys.ID(kind, data))
	return n.ids[len(n.ids)-1], nil
}

func TestTree(t *testing.T) {
	t.Parallel()
	n := &nodes{keys: keys(t)}
	b := tree.NewBuilder(n, n.keys.Boundary, tree.BuilderOptions{})
	entries := []tree.Entry{
		{Key: []byte{}, Meta: []byte("dir")},
		{Key: []byte("etc"), Meta: []byte("dir")},
		{Key: []byte("etc\x00hosts"), Meta: []byte("file one"),
			Content: tree.Content{Size: 9, Inline: []byte("localhost")}},
		{Key: []byte("etc\x00passwd"), Meta: []byte("file two"),
			Content: tree.Content{Size: 600, Extents: []tree.Extent{{ID: chunk.ID(count(1, 16)), Length: 600}}}},
		{Key: []byte("etc\x00sparse"), Meta: []byte("file"), Content: tree.Content{Size: 1 << 40,
			Extents: []tree.Extent{{Length: 1<<40 - 7}, {ID: chunk.ID(count(2, 16)), Length: 7}}},
			Refs: []tree.Extent{{ID: chunk.ID(count(3, 16)), Length: 5000}}},
		{Key: []byte("long"), Content: tree.Content{Size: 1 << 41, List: chunk.ID(count(4, 16))}},
	}
	for _, e := range entries {
		if err := b.Put(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	root, err := b.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f := file{
		Description: "A leaf with every form of content; a map of 3,000 entries, key the decimal number in 6 digits, " +
			"Meta its last digit, content 1 byte inline 'x'; a list of 100 extents of 4 MiB, id of extent i " +
			"= id of the data byte i.", Section: "11",
		Vectors: []vector{inputs(), {Name: "leaf", Values: map[string]string{"id": idHex(root.ID),
			"node": toHex(n.put[0])}}}}
	f.Vectors = append(f.Vectors, numbers(t), listVector(t))
	compare(t, "tree.json", f)
}

func numbers(t *testing.T) vector {
	n := &nodes{keys: keys(t)}
	b := tree.NewBuilder(n, n.keys.Boundary, tree.BuilderOptions{})
	for i := range 3000 {
		key := []byte("000000")
		for j, v := 5, i; v > 0; j, v = j-1, v/10 {
			key[j] = '0' + byte(v%10)
		}
		if err := b.Put(t.Context(), tree.Entry{Key: key, Meta: key[5:],
			Content: tree.Content{Size: 1, Inline: []byte("x")}}); err != nil {
			t.Fatal(err)
		}
	}
	root, err := b.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v := vector{Name: "numbers", Values: map[string]string{"root": idHex(root.ID),
		"root_node": toHex(n.put[len(n.put)-1])}}
	var ids []string
	for _, id := range n.ids {
		ids = append(ids, id.String())
	}
	v.Values["nodes"] = strings.Join(ids, " ")
	return v
}

func listVector(t *testing.T) vector {
	n := &nodes{keys: keys(t)}
	w := tree.NewContentWriter(n)
	for i := range 100 {
		if err := w.Add(t.Context(), tree.Extent{ID: n.keys.ID(chunk.Data, []byte{byte(i)}),
			Length: 4 << 20}); err != nil {
			t.Fatal(err)
		}
	}
	c, err := w.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return vector{Name: "list", Values: map[string]string{"id": idHex(c.List), "list": toHex(n.put[0])}}
}
