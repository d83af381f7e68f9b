//go:build libzstd && cgo

package pack

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/lockfast/lockfast/repo/chunk"
)

// other is the codec of the build without libzstd.
type other struct {
	fast, small encoder
	dec         *Decompressor
}

func newOther() other {
	return other{newGoEncoder(Fast), newGoEncoder(Small), &Decompressor{dec: newGoDecoder(1)}}
}

// decompress does what Decompress does in the other build.
func (o other) decompress(stored []byte, plain int) ([]byte, error) {
	return o.dec.Decompress(nil, chunk.Zstd, stored, plain)
}

// plainBytes draws what both have something to do with: words, runs, and bytes that do not compress.
func plainBytes(t *rapid.T) []byte {
	words := [][]byte{[]byte("return"), []byte("if err != nil "), []byte("{\n\t"), []byte("}\n"), []byte("struct "), make([]byte, 40)}
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
	n := rapid.OneOf(rapid.IntRange(0, 300), rapid.IntRange(0, 40_000), rapid.IntRange(0, 1<<20)).Draw(t, "length")
	noise := rapid.IntRange(0, 20).Draw(t, "noise")
	var b []byte
	for len(b) < n {
		if r.IntN(20) < noise {
			b = append(b, byte(r.Uint32()))
		} else {
			b = append(b, words[r.IntN(len(words))]...)
		}
	}
	return b[:n]
}

func TestCodecs_ReadWhatTheOtherWrites(t *testing.T) {
	t.Parallel()
	o, dec := newOther(), NewDecompressor(1)
	comps := []*Compressor{NewCompressor(Fast), NewCompressor(Small)}
	rapid.Check(t, func(t *rapid.T) {
		plain := plainBytes(t)
		for level, comp := range comps {
			// The encoder is asked itself, so that frames of what does not compress are read as well.
			if got, err := o.decompress(comp.enc.encode(nil, plain), len(plain)); err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("the Go decoder reads %d bytes of level %d as %d, %v", len(plain), level, len(got), err)
			}
		}
		for _, enc := range []encoder{o.fast, o.small} {
			stored := enc.encode(nil, plain)
			if len(plain) == 0 {
				continue // it writes no frame for nothing
			}
			if got, err := dec.Decompress(nil, chunk.Zstd, stored, len(plain)); err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("libzstd reads %d bytes as %d, %v", len(plain), len(got), err)
			}
		}
	})
}

// alike decodes with both. Headers, lengths and ends are checked alike, so they differ in one thing only: libzstd does
// not look whether entropy-coded literals end where they should, and then returns other bytes of the noted length,
// where the Go decoder returns an error. The id of the chunk tells.
func alike(t interface{ Fatalf(string, ...any) }, o other, lib *Decompressor, stored []byte, plain int) {
	want, wantErr := o.decompress(stored, plain)
	got, err := lib.Decompress(nil, chunk.Zstd, stored, plain)
	switch {
	case wantErr == nil && (err != nil || !bytes.Equal(got, want)):
		t.Fatalf("libzstd reads %d bytes of %x as %d, %v; the Go decoder has no error", plain, stored, len(got), err)
	case err == nil && len(got) != plain:
		t.Fatalf("libzstd reads %d bytes, want %d", len(got), plain)
	case err == nil:
		again, err := NewDecompressor(1).Decompress(nil, chunk.Zstd, stored, plain)
		if err != nil || !bytes.Equal(again, got) {
			t.Fatalf("a new context reads other bytes of %x: %v", stored, err)
		}
	}
}

func TestCodecs_RefuseDamageAlike(t *testing.T) {
	t.Parallel()
	o, lib, enc := newOther(), NewDecompressor(1), newEncoder(Fast)
	rapid.Check(t, func(t *rapid.T) {
		plain := plainBytes(t)
		plain = append(plain, "not empty"...)[:min(len(plain)+9, 40_000)]
		frame := enc.encode(nil, plain)
		if rapid.Bool().Draw(t, "written by the other") {
			frame = o.fast.encode(nil, plain)
		}
		for range 20 {
			cut := frame[:rapid.IntRange(0, len(frame)-1).Draw(t, "cut")]
			if _, err := lib.Decompress(nil, chunk.Zstd, cut, len(plain)); err == nil {
				t.Fatalf("libzstd reads %d of %d bytes of a frame", len(cut), len(frame))
			}
			if _, err := o.decompress(cut, len(plain)); err == nil {
				t.Fatalf("the Go decoder reads %d of %d bytes of a frame", len(cut), len(frame))
			}
			damaged := bytes.Clone(frame)
			at := rapid.OneOf(rapid.IntRange(0, min(60, len(frame)-1)), rapid.IntRange(0, len(frame)-1)).Draw(t, "at")
			damaged[at] ^= byte(rapid.IntRange(1, 255).Draw(t, "change"))
			alike(t, o, lib, damaged, len(plain))
			alike(t, o, lib, frame, len(plain)+rapid.IntRange(-9, 9).Draw(t, "more"))
		}
	})
}

func FuzzCodecsAlike(f *testing.F) {
	o, lib := newOther(), NewDecompressor(1)
	text := bytes.Repeat([]byte("all work and no play makes "), 100)
	f.Add(o.small.encode(nil, text), len(text))
	f.Add(newEncoder(Fast).encode(nil, text[:500]), 500)
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0, 3, 2, 0, 'x'}, 64)
	f.Fuzz(func(t *testing.T, stored []byte, n int) {
		alike(t, o, lib, stored, max(0, n)%chunk.MaxPlain)
	})
}
