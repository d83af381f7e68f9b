package chunk_test

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/zeebo/blake3"
	"pgregory.net/rapid"

	"github.com/lockfast/lockfast/repo/chunk"
)

// small sizes make many chunks of little data.
func small() chunk.Params { return chunk.Params{Min: 256, Avg: 1024, Max: 4096} }

func random(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(b)
	return b
}

// plainGear cuts as docs/format.md section 6 says, one byte at a time.
func plainGear(key [32]byte, p chunk.Params, data []byte) int {
	h, _ := blake3.NewKeyed(key[:])
	_, _ = h.WriteString("lockfast v1 gear")
	var table [2048]byte
	_, _ = h.Digest().Read(table[:])
	a := bits.TrailingZeros(uint(p.Avg))
	var sum uint64
	for i, b := range data {
		sum = sum<<1 + binary.LittleEndian.Uint64(table[8*int(b):])
		n := i + 1
		limit := uint64(1) << (64 - a - 2)
		if n >= p.Avg {
			limit = 1 << (64 - a + 2)
		}
		if n == p.Max || n >= p.Min && sum < limit {
			return n
		}
	}
	return len(data)
}

// cuts returns the lengths of all chunks.
func cuts(c *chunk.Chunker, data []byte) []int {
	var out []int
	for len(data) > 0 {
		n := c.Next(data, true)
		out = append(out, n)
		data = data[n:]
	}
	return out
}

func TestNext_IsTheSpecifiedGear(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		key := [32]byte{rapid.Byte().Draw(rt, "key")}
		c := chunk.New(key, small())
		data := random(rapid.Uint64().Draw(rt, "seed"), rapid.IntRange(0, 20000).Draw(rt, "n"))
		if rapid.Bool().Draw(rt, "dull") {
			data = bytes.Repeat([]byte{1}, len(data))
		}
		for len(data) > 0 {
			got, want := c.Next(data, true), plainGear(key, small(), data)
			if got != want {
				rt.Fatalf("Next = %d, want %d", got, want)
			}
			data = data[got:]
		}
	})
}

func TestNext_SplitsDoNotMatter(t *testing.T) {
	t.Parallel()
	c := chunk.New([32]byte{1}, small())
	rapid.Check(t, func(rt *rapid.T) {
		data := random(rapid.Uint64().Draw(rt, "seed"), rapid.IntRange(0, 30000).Draw(rt, "n"))
		want := cuts(c, data)
		var got []int
		var buf []byte
		for rest := data; len(rest) > 0 || len(buf) > 0; {
			n := min(len(rest), rapid.IntRange(1, 5000).Draw(rt, "piece"))
			buf, rest = append(buf, rest[:n]...), rest[n:]
			for len(buf) > 0 {
				k := c.Next(buf, len(rest) == 0)
				if k == 0 {
					break
				}
				got = append(got, k)
				buf = buf[k:]
			}
		}
		if len(got) != len(want) {
			rt.Fatalf("%d chunks, want %d", len(got), len(want))
		}
		for i := range got {
			if got[i] != want[i] {
				rt.Fatalf("chunk %d has %d bytes, want %d", i, got[i], want[i])
			}
		}
	})
}

func TestNext_FullBufferAlwaysHasABoundary(t *testing.T) {
	t.Parallel()
	p := chunk.DefaultParams()
	c := chunk.New([32]byte{1}, p)
	if n := c.Next(make([]byte, p.Max), false); n < p.Min || n > p.Max {
		t.Errorf("Next(zeros) = %d, want %d to %d", n, p.Min, p.Max)
	}
	if n := c.Next(make([]byte, p.Min-1), false); n != 0 {
		t.Errorf("Next(short) = %d, want 0", n)
	}
	if n := c.Next(make([]byte, 10), true); n != 10 {
		t.Errorf("Next(short, at the end) = %d, want 10", n)
	}
	if n := c.Next(nil, true); n != 0 {
		t.Errorf("Next(nothing) = %d, want 0", n)
	}
}

func TestNext_AverageSize(t *testing.T) {
	t.Parallel()
	got := cuts(chunk.New([32]byte{7}, small()), random(3, 8<<20))
	if avg := (8 << 20) / len(got); avg < 900 || avg > 1500 {
		t.Errorf("average chunk = %d, want about 1,100", avg)
	}
}

func TestNext_ResynchronisesAfterAnInsertion(t *testing.T) {
	t.Parallel()
	c := chunk.New([32]byte{7}, small())
	data := random(3, 1<<20)
	old := map[string]bool{}
	for rest := data; len(rest) > 0; {
		n := c.Next(rest, true)
		old[string(rest[:n])] = true
		rest = rest[n:]
	}
	fresh := 0
	for rest := append([]byte("inserted"), data...); len(rest) > 0; {
		n := c.Next(rest, true)
		if !old[string(rest[:n])] {
			fresh++
		}
		rest = rest[n:]
	}
	if fresh > 20 {
		t.Errorf("%d of %d chunks are new after 8 bytes were inserted", fresh, len(old))
	}
}

func TestParseID(t *testing.T) {
	t.Parallel()
	id := chunk.ID{1, 0xab}
	if got, err := chunk.ParseID(id.String()); got != id || err != nil {
		t.Errorf("ParseID(%s) = %s, %v", id, got, err)
	}
	for _, s := range []string{"", "01", id.String() + "0", "zz" + id.String()[2:]} {
		if _, err := chunk.ParseID(s); err == nil {
			t.Errorf("ParseID(%q) = nil, want an error", s)
		}
	}
}

func FuzzNext(f *testing.F) {
	f.Add([]byte("abc"), true)
	f.Add(random(1, 5000), false)
	c := chunk.New([32]byte{1}, small())
	f.Fuzz(func(t *testing.T, data []byte, eof bool) {
		n := c.Next(data, eof)
		if n < 0 || n > len(data) || n > 4096 || eof && n == 0 && len(data) > 0 {
			t.Errorf("Next of %d bytes = %d", len(data), n)
		}
	})
}

func BenchmarkNext(b *testing.B) {
	c := chunk.New([32]byte{1}, chunk.DefaultParams())
	data := random(1, 64<<20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		cuts(c, data)
	}
}
