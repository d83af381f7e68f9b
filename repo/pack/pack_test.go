package pack_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/zeebo/blake3"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/pack"
	"github.com/lockfast/lockfast/repo/seal"
)

func keys(t testing.TB) *seal.Keys {
	t.Helper()
	k, err := seal.New([16]byte{1}, seal.Secret{2}, map[uint32]seal.Secret{1: {3}})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func text(n int) []byte { return []byte(strings.Repeat("all work and no play ", n/21+1))[:n] }

func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed)}).Read(b)
	return b
}

// from returns a Fetch over bytes.
func from(b []byte) pack.Fetch {
	return func(_ context.Context, off, n int64) ([]byte, error) {
		if off < 0 || n < 0 || off+n > int64(len(b)) {
			return nil, errors.New("range behind the end")
		}
		return bytes.Clone(b[off : off+n]), nil
	}
}

// add compresses and adds a chunk.
func add(t testing.TB, w *pack.Writer, k *seal.Keys, kind chunk.Kind, plain []byte, parts []pack.Part) error {
	t.Helper()
	s := pack.Slot{Kind: kind, Plain: uint32(len(plain)), Parts: parts}
	if kind == chunk.Bundle {
		s.ID = pack.BundleID(k, parts)
	} else {
		s.ID = k.ID(kind, plain)
	}
	stored, codec := pack.NewCompressor(pack.Fast).Compress(nil, plain)
	s.Codec = codec
	_, _, err := w.Add(s, stored)
	return err
}

// bundle returns a bundle of some small contents.
func bundle(k *seal.Keys) (plain []byte, parts []pack.Part) {
	for i := range 20 {
		p := text(100 + i)
		p[0] = byte(i)
		plain = append(plain, p...)
		parts = append(parts, pack.Part{ID: k.ID(chunk.Part, p), Length: uint32(len(p))})
	}
	return plain, parts
}

// sample returns a pack with all kinds of slots and what they hold.
func sample(t testing.TB, k *seal.Keys, opts pack.Options) (pack.Packed, [][]byte) {
	t.Helper()
	w, err := pack.NewWriter(k, opts)
	if err != nil {
		t.Fatal(err)
	}
	b, parts := bundle(k)
	plains := [][]byte{text(300_000), noise(1, 50_000), b, {}}
	for i, kind := range []chunk.Kind{chunk.Data, chunk.Data, chunk.Bundle, chunk.Data} {
		if kind != chunk.Bundle {
			err = add(t, w, k, kind, plains[i], nil)
		} else {
			err = add(t, w, k, kind, plains[i], parts)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return w.Finish(), plains
}

func TestPack_ReadsBackFromRanges(t *testing.T) {
	t.Parallel()
	k := keys(t)
	p, plains := sample(t, k, pack.Options{Target: 8 << 20})
	dec := pack.NewDecompressor(1)
	defer dec.Close()
	got, err := pack.Open(t.Context(), k, dec, p.Type, p.ID, int64(len(p.Bytes)), from(p.Bytes))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(p.Slots, got.Slots); d != "" {
		t.Errorf("slots (-want +got):\n%s", d)
	}
	o, err := pack.NewOpener(k, got.Info)
	if err != nil {
		t.Fatal(err)
	}
	for no, s := range got.Slots {
		stored, err := o.Open(no, s, bytes.Clone(p.Bytes[s.Offset:s.Offset+s.Stored]))
		if err != nil {
			t.Fatal(err)
		}
		plain, err := dec.Decompress(nil, s.Codec, stored, int(s.Plain))
		if err != nil || !bytes.Equal(plain, plains[no]) {
			t.Errorf("slot %d: %d bytes, %v; want %d", no, len(plain), err, len(plains[no]))
		}
		if err := pack.Verify(k, s, plain); err != nil {
			t.Errorf("slot %d: %v", no, err)
		}
		if len(plain) > 0 {
			plain[len(plain)-1] ^= 1
			if err := pack.Verify(k, s, plain); !errors.Is(err, chunk.ErrDamaged) {
				t.Errorf("slot %d: Verify of changed bytes = %v", no, err)
			}
		}
	}
	if p.Digest != blake3.Sum256(p.Bytes) {
		t.Error("the digest is not that of the object")
	}
}

func TestOpen_RefusesChangedBytes(t *testing.T) {
	t.Parallel()
	k := keys(t)
	p, _ := sample(t, k, pack.Options{Target: 8 << 20})
	dec := pack.NewDecompressor(1)
	defer dec.Close()
	last := p.Slots[len(p.Slots)-1]
	end := int(last.Offset + last.Stored)
	for i := range p.Bytes {
		if i >= pack.HeaderSize && i < end || i > end && i < len(p.Bytes)-pack.FooterSize && i%50 != 0 {
			continue
		}
		b := bytes.Clone(p.Bytes)
		b[i] ^= 4
		_, err := pack.Open(t.Context(), k, dec, p.Type, p.ID, int64(len(b)), from(b))
		if err == nil {
			t.Errorf("Open with byte %d of %d changed = nil", i, len(b))
		}
	}
	for _, n := range []int{0, 10, 200, len(p.Bytes) - 1} {
		if _, err := pack.Open(t.Context(), k, dec, p.Type, p.ID, int64(n), from(p.Bytes[:n])); !errors.Is(err,
			chunk.ErrDamaged) {
			t.Errorf("Open of %d bytes = %v, want damage", n, err)
		}
	}
	if _, err := pack.Open(t.Context(), k, dec, p.Type, pack.ID{9}, int64(len(p.Bytes)),
		from(p.Bytes)); !errors.Is(err, chunk.ErrDamaged) {
		t.Errorf("Open under another id = %v, want damage", err)
	}
}

func TestOpener_RefusesAnotherPlace(t *testing.T) {
	t.Parallel()
	k := keys(t)
	p, _ := sample(t, k, pack.Options{Target: 8 << 20})
	o, err := pack.NewOpener(k, pack.Info{ID: p.ID, Type: p.Type, Epoch: p.Epoch, Salt: p.Salt})
	if err != nil {
		t.Fatal(err)
	}
	s := p.Slots[0]
	stored := p.Bytes[s.Offset : s.Offset+s.Stored]
	for name, change := range map[string]func(*pack.Slot, *int){
		"slot":  func(_ *pack.Slot, no *int) { *no = 1 },
		"id":    func(s *pack.Slot, _ *int) { s.ID[0] ^= 1 },
		"kind":  func(s *pack.Slot, _ *int) { s.Kind = chunk.Node },
		"codec": func(s *pack.Slot, _ *int) { s.Codec ^= 1 },
		"plain": func(s *pack.Slot, _ *int) { s.Plain++ },
	} {
		c, no := s, 0
		change(&c, &no)
		if _, err := o.Open(no, c, bytes.Clone(stored)); !errors.Is(err, chunk.ErrDamaged) ||
			!strings.Contains(err.Error(), p.ID.String()) {
			t.Errorf("Open with another %s = %v, want damage that names the pack", name, err)
		}
	}
}

func TestWriter_ManyGoroutinesUntilFull(t *testing.T) {
	t.Parallel()
	k := keys(t)
	w, err := pack.NewWriter(k, pack.Options{Target: 1 << 20, Type: seal.TypeMetaPack})
	if err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Go(func() {
				for i := 0; ; i++ {
					plain := noise(uint64(g), 1000+i)
					if err := add(t, w, k, chunk.Node, plain, nil); errors.Is(err, pack.ErrFull) {
						return
					} else if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		p := w.Finish()
		if len(p.Bytes) > 1<<20 || len(p.Slots) < 500 {
			t.Errorf("round %d: %d bytes, %d slots", round, len(p.Bytes), len(p.Slots))
		}
		check(t, k, p)
		if err := w.Reset(); err != nil {
			t.Fatal(err)
		}
	}
}

// check opens and verifies every slot.
func check(t testing.TB, k *seal.Keys, p pack.Packed) {
	t.Helper()
	dec := pack.NewDecompressor(1)
	defer dec.Close()
	got, err := pack.Open(t.Context(), k, dec, p.Type, p.ID, int64(len(p.Bytes)), from(p.Bytes))
	if err != nil {
		t.Fatal(err)
	}
	o, err := pack.NewOpener(k, got.Info)
	if err != nil {
		t.Fatal(err)
	}
	for no, s := range got.Slots {
		stored, err := o.Open(no, s, bytes.Clone(p.Bytes[s.Offset:s.Offset+s.Stored]))
		if err != nil {
			t.Fatal(err)
		}
		plain, err := dec.Decompress(nil, s.Codec, stored, int(s.Plain))
		if err != nil {
			t.Fatal(err)
		}
		if err := pack.Verify(k, s, plain); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFinish_PadsToHideSizes(t *testing.T) {
	t.Parallel()
	k := keys(t)
	for _, n := range []int{0, 1000, 100_000, 3 << 20, 5 << 20} {
		w, err := pack.NewWriter(k, pack.Options{Target: 16 << 20})
		if err != nil {
			t.Fatal(err)
		}
		for left := n; left > 0; left -= min(left, 1<<20) {
			if err := add(t, w, k, chunk.Data, noise(uint64(left), min(left, 1<<20)), nil); err != nil {
				t.Fatal(err)
			}
		}
		size := len(w.Finish().Bytes)
		if over := size - n; over > n/8+1000 && over > 70<<10 || n >= 4<<20 && size%(64<<10) != 0 {
			t.Errorf("a pack of %d bytes is padded to %d", n, size)
		}
	}
}

func TestWriter_ManyPartsFitTheTrailer(t *testing.T) {
	t.Parallel()
	k := keys(t)
	w, err := pack.NewWriter(k, pack.Options{Target: 2 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		var plain []byte
		var parts []pack.Part
		for j := range 2000 {
			p := fmt.Appendf(nil, "%d %d", i, j)
			plain = append(plain, p...)
			parts = append(parts, pack.Part{ID: k.ID(chunk.Part, p), Length: uint32(len(p))})
		}
		if err := add(t, w, k, chunk.Bundle, plain, parts); errors.Is(err, pack.ErrFull) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	check(t, k, w.Finish())
}

func TestName_RoundTrip(t *testing.T) {
	t.Parallel()
	for _, want := range []seal.Type{seal.TypeDataPack, seal.TypeMetaPack, seal.TypeColdPack} {
		name := pack.Name(want, pack.ID{0xab, 1})
		if got, id, err := pack.ParseName(name); got != want || id != (pack.ID{0xab, 1}) || err != nil {
			t.Errorf("ParseName(%s) = %s, %s, %v", name, got, id, err)
		}
	}
	for _, bad := range []string{"", "d/ab/cd", "q/ab/ab010000000000000000000000000000",
		"d/ac/ab010000000000000000000000000000", "d/AB/AB010000000000000000000000000000"} {
		if _, _, err := pack.ParseName(bad); err == nil {
			t.Errorf("ParseName(%q) = nil, want an error", bad)
		}
	}
}

func TestDecompress_StopsAtTheNotedLength(t *testing.T) {
	t.Parallel()
	dec := pack.NewDecompressor(1)
	defer dec.Close()
	stored, codec := pack.NewCompressor(pack.Fast).Compress(nil, make([]byte, 4<<20))
	if codec != chunk.Zstd {
		t.Fatalf("zeros are stored as %s", codec)
	}
	for _, n := range []int{0, 1, 4<<20 - 1, 4<<20 + 1} {
		if _, err := dec.Decompress(nil, codec, stored, n); !errors.Is(err, chunk.ErrDamaged) {
			t.Errorf("Decompress to %d bytes = %v, want damage", n, err)
		}
	}
	if _, err := dec.Decompress(nil, 9, stored, 10); err == nil {
		t.Error("Decompress with an unknown codec = nil")
	}
}

func FuzzOpen(f *testing.F) {
	k := keys(f)
	p, _ := sample(f, k, pack.Options{Target: 8 << 20})
	small, err := pack.NewWriter(k, pack.Options{Target: 1 << 20})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(bytes.Clone(small.Finish().Bytes), []byte{})
	f.Add(bytes.Clone(p.Bytes[:1000]), bytes.Clone(p.Bytes[len(p.Bytes)-1000:]))
	dec := pack.NewDecompressor(1)
	f.Fuzz(func(t *testing.T, head, tail []byte) {
		b := append(head, tail...)
		id := pack.ID{}
		if len(b) >= pack.HeaderSize {
			id = pack.ID(b[seal.HeaderSize:])
		}
		_, _ = pack.Open(t.Context(), k, dec, seal.TypeDataPack, id, int64(len(b)), from(b))
	})
}

func FuzzDecompress(f *testing.F) {
	stored, _ := pack.NewCompressor(pack.Fast).Compress(nil, text(5000))
	f.Add(stored, 5000)
	f.Add(frame(0x40, window8M, handmade-256, 0), handmade)
	f.Add(append(frame(4, 0), checksum...), handmade)
	dec := pack.NewDecompressor(1)
	f.Fuzz(func(t *testing.T, stored []byte, n int) {
		n = max(0, n) % chunk.MaxPlain
		if b, err := dec.Decompress(nil, chunk.Zstd, stored, n); err == nil && len(b) != n {
			t.Errorf("Decompress = %d bytes, want %d", len(b), n)
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	k := keys(b)
	w, err := pack.NewWriter(k, pack.Options{Target: 32 << 20})
	if err != nil {
		b.Fatal(err)
	}
	data := noise(1, 1<<20)
	s := pack.Slot{ID: k.ID(chunk.Data, data), Kind: chunk.Data, Plain: 1 << 20}
	b.SetBytes(1 << 20)
	for b.Loop() {
		if _, _, err := w.Add(s, data); errors.Is(err, pack.ErrFull) {
			w.Finish()
			if err := w.Reset(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func TestNewWriter_RefusesSizesThatDoNotWork(t *testing.T) {
	t.Parallel()
	for _, n := range []int{-1, 0, 1000, 1 << 33} {
		if _, err := pack.NewWriter(keys(t), pack.Options{Target: n}); err == nil {
			t.Errorf("NewWriter with a target of %d = nil, want an error", n)
		}
	}
	w, err := pack.NewWriter(keys(t), pack.Options{Target: 16 << 10})
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		err = add(t, w, keys(t), chunk.Data, noise(1, 500), nil)
	}
	if _, n := w.Len(); n < 10 || !errors.Is(err, pack.ErrFull) {
		t.Errorf("%d slots, then %v", n, err)
	}
	check(t, keys(t), w.Finish())
}

func TestAdd_RefusesWhatTheFormatCannotHold(t *testing.T) {
	t.Parallel()
	w, err := pack.NewWriter(keys(t), pack.Options{Target: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]pack.Slot{
		"part":            {Kind: chunk.Part},
		"no kind":         {},
		"too long":        {Kind: chunk.Data, Plain: chunk.MaxPlain + 1},
		"parts of a node": {Kind: chunk.Node, Parts: []pack.Part{{}}},
	} {
		if _, _, err := w.Add(s, nil); err == nil || errors.Is(err, pack.ErrFull) {
			t.Errorf("Add(%s) = %v, want an error", name, err)
		}
	}
}
