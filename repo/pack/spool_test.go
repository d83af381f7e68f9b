package pack_test

import (
	"bytes"
	"errors"
	"io"
	mathrand "math/rand/v2"
	"os"
	"testing"

	"github.com/zeebo/blake3"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/pack"
	"github.com/lockfast/lockfast/repo/seal"
)

// filler is a writer or a spool.
type filler interface {
	Add(s pack.Slot, stored []byte) (int, pack.Slot, error)
}

// fill adds chunks and a bundle until the pack is full.
func fill(t *testing.T, k *seal.Keys, w filler) {
	t.Helper()
	parts := []pack.Part{{ID: k.ID(chunk.Part, []byte("one")), Length: 3}, {ID: k.ID(chunk.Part, []byte("three")), Length: 5}}
	_, _, err := w.Add(pack.Slot{ID: pack.BundleID(k, parts), Kind: chunk.Bundle, Plain: 8, Parts: parts}, []byte("onethree"))
	for i := 0; err == nil; i++ {
		data := bytes.Repeat([]byte{byte(i)}, 100+i)
		_, _, err = w.Add(pack.Slot{ID: k.ID(chunk.Data, data), Kind: chunk.Data, Plain: uint32(len(data))}, data)
	}
	if !errors.Is(err, pack.ErrFull) {
		t.Fatalf("Add = %v, want ErrFull in the end", err)
	}
}

func TestSpool_MakesTheBytesOfAWriter(t *testing.T) {
	t.Parallel()
	k := keys(t)
	random := func() io.Reader { return mathrand.NewChaCha8([32]byte{5}) }
	w, err := pack.NewWriter(k, pack.Options{Type: seal.TypeColdPack, Target: 128 << 10, Rand: random()})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s, err := pack.NewSpool(k, pack.Options{Type: seal.TypeColdPack, Target: 128 << 10, Rand: random()}, dir)
	if err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		fill(t, k, w)
		fill(t, k, s)
		want := w.Finish()
		got, err := s.Finish()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(got.Reader())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b, want.Bytes) || got.Size() != want.Size() || got.ID != want.ID || got.Digest != blake3.Sum256(b) {
			t.Fatalf("round %d: the pack differs from that of a writer: %d and %d bytes", round, len(b), len(want.Bytes))
		}
		if err := errors.Join(w.Reset(), s.Reset()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("files left: %v, %v", left, err)
	}
}

func TestSpool_ErrorOfItsFileIsFinal(t *testing.T) {
	t.Parallel()
	k := keys(t)
	s, err := pack.NewSpool(k, pack.Options{Type: seal.TypeColdPack, Target: 128 << 10}, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	data := []byte("data")
	if _, _, err := s.Add(pack.Slot{ID: k.ID(chunk.Data, data), Kind: chunk.Data, Plain: 4}, data); err == nil {
		t.Error("Add to a closed file = nil, want an error")
	}
	if _, err := s.Finish(); err == nil {
		t.Error("Finish after an error = nil, want the error")
	}
}
