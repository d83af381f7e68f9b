// Package parity protects the bytes of an object against bad sectors and flipped bits (docs/format.md section 5.7).
//
// The covered bytes are cut into at most 32 data shards, beside which two parity shards of a Reed-Solomon code stand.
// A CRC32C of each shard, kept twice, tells which are bad. Up to two bad ones are computed anew. Nothing here is
// authenticated: what [Layout.Repair] returns has to be opened and checked like anything that was read.
package parity

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"sort"

	"github.com/klauspost/reedsolomon"

	"github.com/lockfast/lockfast/repo/chunk"
)

// Limits of the code.
const (
	MaxData = 32      // data shards
	Spare   = 2       // parity shards
	Unit    = 4 << 10 // a shard is a multiple of it, so that a sector touches two at most
)

// Layout is how covered bytes are cut. It follows from their number alone.
type Layout struct {
	Bytes  int // covered
	Data   int // data shards
	Length int // of a shard
}

// For returns the layout of n covered bytes.
func For(n int) Layout {
	length := Unit * max(1, (n+MaxData*Unit-1)/(MaxData*Unit))
	return Layout{Bytes: n, Data: max(1, (n+length-1)/length), Length: length}
}

// Full returns the covered bytes with the zeros that fill the last shard.
func (l Layout) Full() int { return l.Data * l.Length }

// Region returns the length of the parity region.
func (l Layout) Region() int { return 2*l.table() + Spare*l.Length }

// table returns the length of one of the two tables.
func (l Layout) table() int { return 4 * (l.Data + Spare + 1) }

// OfObject returns the layout of an object of the given size that is covered bytes followed by their parity region. It
// reports false when no object has that size.
func OfObject(size int) (Layout, bool) {
	n := sort.Search(size, func(n int) bool { return n+For(n).Region() >= size })
	l := For(n)
	return l, n > 0 && n+l.Region() == size
}

// Append adds the parity region of covered to dst, which may be the array that covered stands in.
func (l Layout) Append(dst, covered []byte) []byte {
	all := l.split(covered)
	at, table := len(dst), l.table()
	dst = slices.Grow(dst, l.Region())[:at+l.Region()]
	region := dst[at:]
	for i := range Spare {
		all[l.Data+i] = region[table+i*l.Length:][:l.Length]
	}
	if err := l.code().Encode(all); err != nil {
		panic("parity: " + err.Error()) // only for shards of different lengths
	}
	sums := region[:0:table]
	for _, s := range all {
		sums = binary.LittleEndian.AppendUint32(sums, sum(s))
	}
	sums = binary.LittleEndian.AppendUint32(sums, sum(sums))
	copy(region[len(region)-table:], sums)
	return dst
}

// Check reports whether covered bytes and region are as they were written.
func (l Layout) Check(covered, region []byte) error {
	if len(covered) != l.Bytes || len(region) != l.Region() {
		return damaged("%d and %d bytes do not fit", len(covered), len(region))
	}
	table := l.table()
	first, last := region[:table], region[len(region)-table:]
	if !whole(first) || !whole(last) {
		return damaged("a table of checksums is bad")
	}
	if bad := l.bad(l.shards(covered, region), first); len(bad) > 0 {
		return damaged("%d of %d shards are bad", len(bad), l.Data+Spare)
	}
	return nil
}

// Repair returns the covered bytes as they were written, in an array of their own, and the numbers of the shards that
// were bad; parity shards count behind the data. The error wraps [chunk.ErrDamaged] when more than two are.
func (l Layout) Repair(covered, region []byte) (fixed []byte, bad []int, err error) {
	if len(covered) != l.Bytes || len(region) != l.Region() {
		return nil, nil, damaged("%d and %d bytes do not fit", len(covered), len(region))
	}
	table := l.table()
	err = damaged("both tables of checksums are bad")
	for _, sums := range [][]byte{region[:table], region[len(region)-table:]} {
		if !whole(sums) {
			continue
		}
		if fixed, bad, err = l.repairBy(covered, region, sums); err == nil {
			return fixed, bad, nil
		}
	}
	return nil, bad, err
}

// repairBy is Repair by one of the tables.
func (l Layout) repairBy(covered, region, sums []byte) ([]byte, []int, error) {
	all := l.shards(covered, region)
	bad := l.bad(all, sums)
	if len(bad) > Spare {
		return nil, bad, damaged("%d of %d shards are bad, %d can be restored", len(bad), len(all), Spare)
	}
	for _, i := range bad {
		all[i] = nil
	}
	if len(bad) > 0 {
		if err := l.code().Reconstruct(all); err != nil {
			return nil, bad, damaged("%v", err)
		}
		if still := l.bad(all, sums); len(still) > 0 {
			return nil, bad, damaged("shard %d cannot be restored", still[0])
		}
	}
	fixed := make([]byte, 0, l.Full())
	for _, s := range all[:l.Data] {
		fixed = append(fixed, s...)
	}
	return fixed[:l.Bytes], bad, nil
}

// shards returns all shards of an object as it was read.
func (l Layout) shards(covered, region []byte) [][]byte {
	all := l.split(covered)
	for i := range Spare {
		all[l.Data+i] = region[l.table()+i*l.Length:][:l.Length]
	}
	return all
}

// split returns the data shards of covered, the last one filled up, and room for the parity.
func (l Layout) split(covered []byte) [][]byte {
	all := make([][]byte, l.Data+Spare)
	for i := range l.Data {
		s := covered[min(i*l.Length, len(covered)):min((i+1)*l.Length, len(covered))]
		if len(s) < l.Length {
			s = append(make([]byte, 0, l.Length), s...)[:l.Length]
		}
		all[i] = s
	}
	return all
}

// bad returns the shards that do not have their checksum.
func (l Layout) bad(all [][]byte, sums []byte) (bad []int) {
	for i, s := range all {
		if sum(s) != binary.LittleEndian.Uint32(sums[4*i:]) {
			bad = append(bad, i)
		}
	}
	return bad
}

func (l Layout) code() reedsolomon.Encoder {
	enc, err := reedsolomon.New(l.Data, Spare, reedsolomon.WithMaxGoroutines(1), reedsolomon.WithInversionCache(false))
	if err != nil {
		panic("parity: " + err.Error()) // only for wrong numbers of shards
	}
	return enc
}

// whole reports whether a table has its own checksum.
func whole(table []byte) bool {
	return sum(table[:len(table)-4]) == binary.LittleEndian.Uint32(table[len(table)-4:])
}

func sum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

func damaged(format string, args ...any) error {
	return fmt.Errorf("parity: "+format+": %w", append(args, chunk.ErrDamaged)...)
}
