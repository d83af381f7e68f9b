// Package chunk cuts content into chunks and defines how chunks are named.
//
// A chunk is the unit that is stored once: at most 4 MiB of plain bytes with an [ID]. Boundaries of files are found
// by a keyed Gear hash (docs/format.md section 6). The hash restarts at every chunk start, so where a chunk ends
// depends on its own bytes alone; a writer that recognises a whole chunk of an earlier version needs no scan.
//
// The package neither hashes nor stores; see packages seal and pack.
package chunk

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/zeebo/blake3"
)

// window is the number of bytes that influence the Gear hash.
const window = 64

// Params are the sizes of chunks in bytes. Avg is a power of two.
type Params struct {
	Min, Avg, Max int
}

// DefaultParams are the sizes for files and objects.
func DefaultParams() Params { return Params{Min: 256 << 10, Avg: 1 << 20, Max: 4 << 20} }

// Check reports sizes that no vault may have.
func (p Params) Check() error {
	switch {
	case p.Avg <= 0 || bits.OnesCount(uint(p.Avg)) != 1 || p.Avg > MaxPlain:
		return fmt.Errorf("chunk average %d: want a power of two up to %d", p.Avg, MaxPlain)
	case p.Min < window || p.Min >= p.Avg:
		return fmt.Errorf("chunk minimum %d: want %d to below the average %d", p.Min, window, p.Avg)
	case p.Max <= p.Avg || p.Max > MaxPlain:
		return fmt.Errorf("chunk maximum %d: want above the average %d, up to %d", p.Max, p.Avg, MaxPlain)
	}
	return nil
}

// Chunker finds chunk boundaries. It has no state between calls and may be used by several goroutines.
type Chunker struct {
	table [256]uint64
	p     Params
	hard  uint64 // limit below Avg: fewer hashes pass
	easy  uint64 // limit from Avg on
}

// New returns a chunker with the table that belongs to key. It panics when p does not pass [Params.Check].
func New(key [32]byte, p Params) *Chunker {
	if err := p.Check(); err != nil {
		panic("chunk: " + err.Error())
	}
	a := bits.TrailingZeros(uint(p.Avg))
	c := &Chunker{p: p, hard: 1 << (64 - a - 2), easy: 1 << (64 - a + 2)}
	h, err := blake3.NewKeyed(key[:])
	if err != nil {
		panic("chunk: " + err.Error())
	}
	_, _ = h.WriteString("lockfast v1 gear")
	var buf [2048]byte
	_, _ = h.Digest().Read(buf[:])
	for i := range c.table {
		c.table[i] = binary.LittleEndian.Uint64(buf[8*i:])
	}
	return c
}

// Params returns the sizes.
func (c *Chunker) Params() Params { return c.p }

// Next returns the length of the chunk at the start of data. With eof, data ends where the content ends. Without, 0
// means that no boundary is in data yet: call again with more bytes; data of the maximal chunk size always has one.
// Empty data gives 0.
func (c *Chunker) Next(data []byte, eof bool) int {
	n := min(len(data), c.p.Max)
	if cut := c.scan(data[:n]); cut > 0 {
		return cut
	}
	if n == c.p.Max || eof {
		return n
	}
	return 0
}

// scan returns the first boundary below the maximum, or 0.
func (c *Chunker) scan(data []byte) int {
	if len(data) < c.p.Min {
		return 0
	}
	// Bytes more than a window before the minimum cannot matter. h is what the window of the first candidate gives.
	var h uint64
	for _, b := range data[c.p.Min-window : c.p.Min] {
		h = h<<1 + c.table[b]
	}
	last := min(len(data), c.p.Max-1) // the largest position that may be a content-defined end
	if h < c.hard && c.p.Min <= last {
		return c.p.Min
	}
	cut, h := c.find(data, c.p.Min, min(last, c.p.Avg-1), h, c.hard)
	if cut == 0 {
		cut, _ = c.find(data, c.p.Avg-1, last, h, c.easy)
	}
	return cut
}

// find adds data[from:to] to h byte by byte and returns the first position in from+1..to where h is below limit, or 0.
func (c *Chunker) find(data []byte, from, to int, h, limit uint64) (int, uint64) {
	if from >= to {
		return 0, h
	}
	t := &c.table
	d := data[from:to]
	i := 0
	// Two bytes per step keep the dependency through h to one shift and one addition for both.
	for ; i+8 <= len(d); i += 8 {
		s := d[i : i+8 : i+8]
		a, b := t[s[0]], t[s[1]]
		h1 := h<<1 + a
		h2 := h<<2 + (a<<1 + b)
		a, b = t[s[2]], t[s[3]]
		h3 := h2<<1 + a
		h4 := h2<<2 + (a<<1 + b)
		a, b = t[s[4]], t[s[5]]
		h5 := h4<<1 + a
		h6 := h4<<2 + (a<<1 + b)
		a, b = t[s[6]], t[s[7]]
		h7 := h6<<1 + a
		h8 := h6<<2 + (a<<1 + b)
		if min(h1, h2, h3, h4, h5, h6, h7, h8) < limit {
			for k, v := range [8]uint64{h1, h2, h3, h4, h5, h6, h7, h8} {
				if v < limit {
					return from + i + k + 1, v
				}
			}
		}
		h = h8
	}
	for ; i < len(d); i++ {
		h = h<<1 + t[d[i]]
		if h < limit {
			return from + i + 1, h
		}
	}
	return 0, h
}
