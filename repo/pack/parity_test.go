package pack_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/pack"
	"github.com/lockfast/lockfast/repo/parity"
)

func TestRepair_AnySectorOfAPack(t *testing.T) {
	t.Parallel()
	k := keys(t)
	p, _ := sample(t, k, pack.Options{Target: 8 << 20, Parity: pack.FullParity})
	name := pack.Name(p.Type, p.ID)
	for at := 0; at < len(p.Bytes); at += 4096 {
		b := bytes.Clone(p.Bytes)
		clear(b[at:min(at+4096, len(b))])
		changed := !bytes.Equal(b, p.Bytes) // padding is zeros anyway
		fixed, noticed, err := pack.Repair(name, b)
		if err != nil || !bytes.Equal(fixed, p.Bytes) || noticed != changed {
			t.Fatalf("Repair with the sector at %d zeroed = %t, %v, want what was written", at, noticed, err)
		}
	}
}

// TestRepair_Trailers: with the parity of trailers alone, a pack can be opened whichever sector is bad, and what is not
// covered stays as it is.
func TestRepair_Trailers(t *testing.T) {
	t.Parallel()
	k, dec := keys(t), pack.NewDecompressor(1)
	defer dec.Close()
	p, _ := sample(t, k, pack.Options{Target: 8 << 20, Parity: pack.TrailerParity})
	name := pack.Name(p.Type, p.ID)
	for at := 0; at < len(p.Bytes); at += 4096 {
		b := bytes.Clone(p.Bytes)
		clear(b[at:min(at+4096, len(b))])
		fixed, _, err := pack.Repair(name, b)
		if err != nil {
			t.Fatalf("Repair with the sector at %d zeroed = %v", at, err)
		}
		fetch := func(_ context.Context, off, n int64) ([]byte, error) { return fixed[off : off+n], nil }
		opened, err := pack.Open(t.Context(), k, dec, p.Type, p.ID, int64(len(fixed)), fetch)
		if err != nil || len(opened.Slots) != len(p.Slots) {
			t.Fatalf("Open after the sector at %d was zeroed = %v", at, err)
		}
	}
}

// TestRepair_NeverReturnsGarbage damages packs at random: what is returned either is what was written, or an error.
func TestRepair_NeverReturnsGarbage(t *testing.T) {
	t.Parallel()
	k := keys(t)
	p, _ := sample(t, k, pack.Options{Target: 8 << 20, Parity: pack.FullParity})
	name := pack.Name(p.Type, p.ID)
	l := parity.For(len(p.Bytes)) // about; how far apart hits are
	rapid.Check(t, func(t *rapid.T) {
		b := bytes.Clone(p.Bytes)
		hits := rapid.SliceOfN(rapid.IntRange(0, len(b)-1), 0, 6).Draw(t, "hits")
		shards := map[int]bool{}
		for _, at := range hits {
			b[at] ^= byte(rapid.IntRange(1, 255).Draw(t, "xor"))
			shards[at/l.Length] = true
		}
		if rapid.IntRange(0, 9).Draw(t, "cut") == 0 {
			b = b[:rapid.IntRange(0, len(b)-1).Draw(t, "length")]
		}
		fixed, _, err := pack.Repair(name, b)
		switch {
		case err != nil && !errors.Is(err, chunk.ErrDamaged):
			t.Fatalf("Repair = %v, want ErrDamaged", err)
		case err == nil && !bytes.Equal(fixed, p.Bytes):
			t.Fatal("Repair returns other bytes than were written")
		case err != nil && len(b) == len(p.Bytes) && len(hits) <= 1:
			t.Fatalf("Repair of one bad byte = %v", err)
		}
	})
}

func TestRepair_PacksWithoutParity(t *testing.T) {
	t.Parallel()
	p, _ := sample(t, keys(t), pack.Options{Target: 8 << 20})
	for _, b := range [][]byte{p.Bytes, p.Bytes[:len(p.Bytes)-1], nil, make([]byte, 300)} {
		if _, _, err := pack.Repair("d/x", b); !errors.Is(err, chunk.ErrDamaged) {
			t.Errorf("Repair of %d bytes without parity = %v, want ErrDamaged", len(b), err)
		}
	}
}

func FuzzRepair(f *testing.F) {
	k := keys(f)
	for _, o := range []pack.Parity{pack.NoParity, pack.TrailerParity, pack.FullParity} {
		w, err := pack.NewWriter(k, pack.Options{Target: 64 << 10, Parity: o})
		if err != nil {
			f.Fatal(err)
		}
		plain := []byte("a chunk")
		if _, _, err := w.Add(pack.Slot{ID: k.ID(chunk.Data, plain), Kind: chunk.Data, Plain: uint32(len(plain))}, plain); err != nil {
			f.Fatal(err)
		}
		b := bytes.Clone(w.Finish().Bytes)
		f.Add(b, uint32(5))
		f.Add(b, uint32(len(b)-9))
	}
	f.Fuzz(func(t *testing.T, b []byte, at uint32) {
		if len(b) > 0 {
			b[int(at)%len(b)] ^= 0x21
		}
		fixed, _, err := pack.Repair("d/x", b)
		if err == nil && len(fixed) != len(b) {
			t.Errorf("Repair of %d bytes returns %d", len(b), len(fixed))
		}
		if err != nil && !errors.Is(err, chunk.ErrDamaged) {
			t.Errorf("Repair = %v, want ErrDamaged", err)
		}
	})
}
