package pack_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/pack"
)

// content draws up to 1 MiB that compress well, badly, or not at all, in parts of unlike kinds.
func content() *rapid.Generator[[]byte] {
	return rapid.Custom(func(t *rapid.T) []byte {
		b := []byte{}
		for range rapid.IntRange(0, 4).Draw(t, "parts") {
			n := rapid.OneOf(rapid.IntRange(0, 300), rapid.IntRange(0, 256<<10)).Draw(t, "length")
			switch rapid.IntRange(0, 3).Draw(t, "kind") {
			case 0:
				b = append(b, text(n)...)
			case 1:
				b = append(b, make([]byte, n)...)
			case 2:
				b = append(b, noise(rapid.Uint64().Draw(t, "seed"), n)...)
			default: // few symbols, few repetitions
				for _, c := range noise(rapid.Uint64().Draw(t, "seed"), n) {
					b = append(b, 'a'+c&15)
				}
			}
		}
		return b
	})
}

func TestCompress_RoundTrip(t *testing.T) {
	t.Parallel()
	dec := pack.NewDecompressor(1)
	defer dec.Close()
	for _, level := range []pack.Level{pack.Fast, pack.Small} {
		comp := pack.NewCompressor(level)
		rapid.Check(t, func(t *rapid.T) {
			plain := content().Draw(t, "plain")
			stored, codec := comp.Compress(make([]byte, 10, rapid.IntRange(10, 2<<20).Draw(t, "room")), plain)
			if codec == chunk.Raw && !bytes.Equal(stored, plain) || codec != chunk.Raw && len(stored) > len(plain)-len(plain)/32 {
				t.Fatalf("level %d stores %d bytes as %d, %s", level, len(plain), len(stored), codec)
			}
			buf := make([]byte, 3, rapid.IntRange(3, 2<<20).Draw(t, "buffer"))
			got, err := dec.Decompress(buf, codec, stored, len(plain))
			if err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("level %d, %s: %d bytes, %v; want %d", level, codec, len(got), err, len(plain))
			}
		})
	}
}

func TestCompress_SmallStoresLess(t *testing.T) {
	t.Parallel()
	plain := slices.Concat(words(1, 400<<10), text(5000), words(2, 400<<10))
	fast, _ := pack.NewCompressor(pack.Fast).Compress(nil, plain)
	small, _ := pack.NewCompressor(pack.Small).Compress(nil, plain)
	if len(small) >= len(fast) || len(fast) > len(plain)/2 {
		t.Errorf("%d bytes are %d when fast and %d when small", len(plain), len(fast), len(small))
	}
}

// words returns a text of 256 words.
func words(seed uint64, n int) []byte {
	list := bytes.Fields(bytes.Map(func(r rune) rune {
		if r&7 == 0 {
			return ' '
		}
		return 'a' + r%26
	}, noise(9, 4000)))
	var b []byte
	for _, c := range noise(seed, n) {
		b = append(append(b, list[int(c)%len(list)]...), ' ')
	}
	return b[:n]
}

func TestCompress_WhatGainsLittleStaysRaw(t *testing.T) {
	t.Parallel()
	comp := pack.NewCompressor(pack.Fast)
	for name, plain := range map[string][]byte{
		"nothing": nil, "short": make([]byte, 63), "noise": noise(1, 1<<20),
		"2 %": append(noise(1, 98_000), make([]byte, 2000)...),
	} {
		if stored, codec := comp.Compress(nil, plain); codec != chunk.Raw || !bytes.Equal(stored, plain) {
			t.Errorf("%s is stored as %s", name, codec)
		}
	}
	if _, codec := comp.Compress(nil, append(noise(1, 95_000), make([]byte, 5000)...)); codec != chunk.Zstd {
		t.Errorf("what gains 5 %% is stored as %s", codec)
	}
}

func TestDecompress_ManyGoroutines(t *testing.T) {
	t.Parallel()
	dec := pack.NewDecompressor(2)
	defer dec.Close()
	var wg sync.WaitGroup
	for g := range 5 {
		plain := words(uint64(g), 100_000+g)
		stored, codec := pack.NewCompressor(pack.Fast).Compress(nil, plain)
		damaged := bytes.Clone(stored[:len(stored)-1])
		wg.Go(func() {
			for range 20 {
				if got, err := dec.Decompress(nil, codec, stored, len(plain)); err != nil || !bytes.Equal(got, plain) {
					t.Errorf("%d bytes, %v; want %d", len(got), err, len(plain))
				}
				if _, err := dec.Decompress(nil, codec, damaged, len(plain)); !errors.Is(err, chunk.ErrDamaged) {
					t.Errorf("Decompress of a cut frame = %v, want damage", err)
				}
			}
		})
	}
	wg.Wait()
}

func TestDecompress_WritesNoMoreThanTheNotedLength(t *testing.T) {
	t.Parallel()
	dec := pack.NewDecompressor(1)
	defer dec.Close()
	plain := words(1, 300_000)
	stored, codec := pack.NewCompressor(pack.Fast).Compress(nil, plain)
	// Without its content size a frame does not say how long it is: the header is replaced by one with a window alone.
	unsized := append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0, 10 << 3}, stored[headerLen(stored):]...)
	for _, n := range []int{0, 1, 1000, 128 << 10, len(plain) - 1, len(plain), len(plain) + 1} {
		buf := bytes.Repeat([]byte{0xa5}, len(plain)+4096)
		got, err := dec.Decompress(buf[:0], codec, unsized, n)
		if n == len(plain) && (err != nil || !bytes.Equal(got, plain)) {
			t.Errorf("Decompress to %d bytes = %d bytes, %v", n, len(got), err)
		}
		if n != len(plain) && !errors.Is(err, chunk.ErrDamaged) {
			t.Errorf("Decompress to %d bytes = %v, want damage", n, err)
		}
		if left := bytes.Count(buf[n:], []byte{0xa5}); left != len(buf)-n {
			t.Errorf("Decompress to %d bytes wrote %d bytes behind them", n, len(buf)-n-left)
		}
	}
}

// headerLen returns the length of the header of a frame without dictionary.
func headerLen(frame []byte) int {
	n := 5 + []int{0, 2, 4, 8}[frame[4]>>6]
	if frame[4]&0x20 == 0 || frame[4]>>6 == 0 {
		n++ // window, or a content size of one byte
	}
	return n
}

// handmade frames hold 300 bytes: 100 zeros as a run, then 200 times 'x' as they are.
const handmade = 300

func handmadePlain() []byte { return append(make([]byte, 100), bytes.Repeat([]byte{'x'}, 200)...) }

// frame returns a handmade frame with the given descriptor and what follows that in the header.
func frame(descriptor byte, rest ...byte) []byte {
	b := append([]byte{0x28, 0xb5, 0x2f, 0xfd, descriptor}, rest...)
	b = append(block(b, 1, 100, false), 0)
	return append(block(b, 0, 200, true), bytes.Repeat([]byte{'x'}, 200)...)
}

// block appends the header of a block.
func block(b []byte, kind, size int, last bool) []byte {
	h := size<<3 | kind<<1
	if last {
		h |= 1
	}
	return append(b, byte(h), byte(h>>8), byte(h>>16))
}

// skippable returns a frame to skip.
func skippable(n int) []byte {
	return append(binary.LittleEndian.AppendUint32([]byte{0x50, 0x2a, 0x4d, 0x18}, uint32(n)), make([]byte, n)...)
}

// checksum is that of a handmade frame: the low half of XXH64.
var checksum = []byte{0x43, 0x79, 0xf5, 0x57}

const window8M = 13 << 3 // 2^(10+13)

func TestDecompress_TakesOneFrame(t *testing.T) {
	t.Parallel()
	dec := pack.NewDecompressor(1)
	defer dec.Close()
	for name, stored := range map[string][]byte{
		"window":             frame(0, 0),
		"largest window":     frame(0, window8M),
		"single segment":     frame(0x60, handmade-256, 0),
		"window and size":    frame(0x40, window8M, handmade-256, 0),
		"dictionary none":    frame(1, 0, 0),
		"size of eight":      frame(0xe0, handmade&255, handmade>>8, 0, 0, 0, 0, 0, 0),
		"checksum":           append(frame(4, 0), checksum...),
		"empty block before": append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0, 0}, frame(0, 0)[6:]...),
	} {
		got, err := dec.Decompress(nil, chunk.Zstd, stored, handmade)
		if err != nil || !bytes.Equal(got, handmadePlain()) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	empty := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 1, 0, 0}
	if got, err := dec.Decompress(nil, chunk.Zstd, empty, 0); err != nil || len(got) != 0 {
		t.Errorf("an empty frame: %d bytes, %v", len(got), err)
	}
}

func TestDecompress_RefusesWhatIsNotOneFrame(t *testing.T) {
	t.Parallel()
	dec := pack.NewDecompressor(1)
	defer dec.Close()
	one := frame(0, 0)
	empty := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 1, 0, 0}
	open := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0}
	for name, stored := range map[string][]byte{
		"nothing":                nil,
		"garbage behind":         append(frame(0, 0), 0),
		"empty frame behind":     append(frame(0, 0), empty...),
		"empty frame before":     append(bytes.Clone(empty), one...),
		"frame to skip behind":   append(frame(0, 0), skippable(0)...),
		"frame to skip before":   append(skippable(3), one...),
		"frame to skip alone":    skippable(handmade),
		"older format":           append([]byte{0x27}, one[1:]...),
		"no magic":               one[4:],
		"window of 9 MiB":        frame(0, window8M|1),
		"window of 16 MiB":       frame(0, window8M+8),
		"dictionary":             frame(1, 0, 7),
		"reserved bit":           frame(8, 0),
		"another size":           frame(0x60, handmade-255, 0),
		"an enormous size":       frame(0xe0, 255, 255, 255, 255, 255, 255, 255, 255),
		"wrong checksum":         append(frame(4, 0), checksum[0]^1, checksum[1], checksum[2], checksum[3]),
		"no checksum":            frame(4, 0),
		"checksum not announced": append(frame(0, 0), checksum...),
		"block of unknown type":  block(bytes.Clone(open), 3, 0, true),
		"run over the window":    append(block(append(block(bytes.Clone(open), 1, 1025, false), 0), 0, 0, true), 0),
		"no last block":          append(block(bytes.Clone(open), 1, handmade, false), 0),
	} {
		if _, err := dec.Decompress(nil, chunk.Zstd, stored, handmade); !errors.Is(err, chunk.ErrDamaged) {
			t.Errorf("%s: %v, want damage", name, err)
		}
	}
	for n := range one {
		if _, err := dec.Decompress(nil, chunk.Zstd, one[:n], handmade); !errors.Is(err, chunk.ErrDamaged) {
			t.Errorf("a frame cut at %d of %d: %v, want damage", n, len(one), err)
		}
	}
	if _, err := dec.Decompress(nil, chunk.Zstd, frame(0x20, 44), 44); !errors.Is(err, chunk.ErrDamaged) {
		t.Errorf("blocks of more than the content's size: %v, want damage", err)
	}
	large := append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xa0}, binary.LittleEndian.AppendUint32(nil, 8<<20+1)...)
	for range 64 {
		large = append(block(large, 1, 128<<10, false), 0)
	}
	large = append(block(large, 1, 1, true), 0)
	if _, err := dec.Decompress(nil, chunk.Zstd, large, 8<<20+1); !errors.Is(err, chunk.ErrDamaged) {
		t.Errorf("one segment of more than 8 MiB: %v, want damage", err)
	}
}
