package index

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"math/bits"
	"runtime"
	"sort"

	"github.com/FastFilter/xorfilter"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/pack"
)

// SegmentID is the random name of a segment.
type SegmentID [16]byte

// String returns 32 lower-case hex digits.
func (id SegmentID) String() string { return chunk.ID(id).String() }

// SegmentName returns the name of a segment's object in the vault.
func SegmentName(level int, id SegmentID) string { return fmt.Sprintf("x/%d/%s", level, id) }

// ParseSegmentName splits the name of a segment's object.
func ParseSegmentName(name string) (level int, id SegmentID, err error) {
	var hex string
	if n, _ := fmt.Sscanf(name, "x/%d/%s", &level, &hex); n == 2 {
		c, err := chunk.ParseID(hex)
		if err == nil && level >= 0 && SegmentName(level, SegmentID(c)) == name {
			return level, SegmentID(c), nil
		}
	}
	return 0, SegmentID{}, fmt.Errorf("%q is not the name of an index segment", name)
}

const (
	segmentMagic = "lfindex1"
	segmentHead  = 64
	maxEntries   = 1 << 28
	maxPacks     = 1 << 24
)

// Segment is an opened segment. It refers to the bytes it was opened from and may be used by any number of goroutines.
//
// The bytes may be a mapped file, which goes when nobody refers to the segment any more. So whoever reads them keeps the
// segment alive until he has.
type Segment struct {
	id         SegmentID
	packs      []byte
	entries    []byte
	bundles    []byte
	superseded []byte
	filter     *xorfilter.BinaryFuse8 // nil without filter
}

// Open reads the plain text of a segment, which it keeps: a byte slice or a mapped file. It costs nothing per entry;
// what a lookup finds is checked then.
func Open(name string, b []byte) (*Segment, error) {
	if len(b) < segmentHead || string(b[:8]) != segmentMagic {
		return nil, chunk.Damaged(name, "not an index segment")
	}
	le := binary.LittleEndian
	packs, entries, bundles, old := le.Uint32(b[8:]), le.Uint32(b[12:]), le.Uint32(b[16:]), le.Uint32(b[20:])
	prints := le.Uint32(b[40:])
	want := uint64(packs)*packSize + (uint64(entries)+uint64(bundles))*entrySize + uint64(old)*16 + uint64(prints)
	if packs > maxPacks || entries > maxEntries || bundles > maxEntries || want != uint64(len(b)-segmentHead) {
		return nil, chunk.Damaged(name, "%d packs, %d entries and %d bundles in %d bytes", packs, entries, bundles,
			len(b))
	}
	s := &Segment{id: SegmentID(b[48:64])}
	rest := b[segmentHead:]
	take := func(n uint64) []byte {
		part := rest[:n:n]
		rest = rest[n:]
		return part
	}
	s.packs = take(uint64(packs) * packSize)
	s.entries = take(uint64(entries) * entrySize)
	s.bundles = take(uint64(bundles) * entrySize)
	s.superseded = take(uint64(old) * 16)
	if prints > 0 {
		s.filter = &xorfilter.BinaryFuse8{Seed: le.Uint64(b[24:]), SegmentLength: le.Uint32(b[32:]),
			SegmentLengthMask: le.Uint32(b[32:]) - 1, SegmentCountLength: le.Uint32(b[36:]), Fingerprints: rest}
		if err := checkFilter(name, s.filter); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// checkFilter makes sure that no hash can point behind the fingerprints.
func checkFilter(name string, f *xorfilter.BinaryFuse8) error {
	if bits.OnesCount32(f.SegmentLength) != 1 || f.SegmentCountLength == 0 ||
		f.SegmentCountLength%f.SegmentLength != 0 ||
		uint64(f.SegmentCountLength)+2*uint64(f.SegmentLength) != uint64(len(f.Fingerprints)) {
		return chunk.Damaged(name, "its filter does not fit its %d fingerprints", len(f.Fingerprints))
	}
	f.SegmentCount = f.SegmentCountLength / f.SegmentLength
	return nil
}

// ID returns the segment's id.
func (s *Segment) ID() SegmentID { return s.id }

// Len returns the number of entries: chunks other than bundles, and parts.
func (s *Segment) Len() int { return len(s.entries) / entrySize }

// Superseded returns the segments that s replaces.
func (s *Segment) Superseded() []SegmentID {
	out := make([]SegmentID, len(s.superseded)/16)
	for i := range out {
		copy(out[i][:], s.superseded[16*i:])
	}
	runtime.KeepAlive(s)
	return out
}

// Packs returns the number of packs, and Pack what is known of one.
func (s *Segment) Packs() int { return len(s.packs) / packSize }

// Pack returns row i of the pack table.
func (s *Segment) Pack(i int) PackInfo {
	p := parsePack(s.packs[i*packSize:])
	runtime.KeepAlive(s)
	return p
}

// packID returns the id in row i without the rest.
func (s *Segment) packID(i int) pack.ID {
	id := pack.ID(s.packs[i*packSize:][:16])
	runtime.KeepAlive(s)
	return id
}

// MayContain reports false when id is surely not in the segment.
func (s *Segment) MayContain(id chunk.ID) bool {
	may := s.filter == nil || s.filter.Contains(filterKey(id[:]))
	runtime.KeepAlive(s)
	return may
}

// filterKey is what the filter is built over.
func filterKey(id []byte) uint64 { return binary.LittleEndian.Uint64(id) }

// search returns the first entry that is not below id. Ids are uniformly distributed: the place of one among n is
// known up to about the square root of n, and among those which that leaves it is estimated again. What remains, or
// is not distributed like that, is bisected.
func (s *Segment) search(id *chunk.ID) int {
	lo, hi := 0, s.Len()
	key, loKey, hiKey := binary.BigEndian.Uint64(id[:]), uint64(0), ^uint64(0)
	for hi-lo > 32 && loKey < key && key < hiKey {
		n := hi - lo
		guess := lo + int(float64(key-loKey)/float64(hiKey-loKey)*float64(n))
		slack := int(math.Sqrt(float64(n)))
		if a := guess - slack; a > lo {
			if k := s.key(a); k < key {
				lo, loKey = a, k
			} else {
				hi, hiKey = a, k
			}
		}
		if b := guess + slack; b < hi {
			if k := s.key(b); k > key {
				hi, hiKey = b, k
			} else {
				lo, loKey = b, k
			}
		}
		if hi-lo > n/2 {
			break
		}
	}
	// An id equal in its first 8 bytes may lie before lo or at hi.
	for lo > 0 && loKey == key {
		lo--
		loKey = s.key(lo)
	}
	if hiKey == key {
		hi = s.Len()
	}
	for lo < hi {
		if mid := int(uint(lo+hi) / 2); bytes.Compare(s.entries[mid*entrySize:][:16], id[:]) < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// key returns the first 8 bytes of entry i, so that they compare like the id.
func (s *Segment) key(i int) uint64 { return binary.BigEndian.Uint64(s.entries[i*entrySize:]) }

// locate turns a record into a location with a row as pack number; it refuses what does not fit together.
func (s *Segment) locate(e *entry) (Location, bool) {
	c := *e
	if e.kind == chunk.Part {
		b, ok := s.bundle(e.pack, e.slot)
		if !ok || uint64(e.offset)+uint64(e.plain) > uint64(b.plain) {
			return Location{}, false
		}
		c = b
	}
	if int(c.pack) >= s.Packs() || c.kind < chunk.Data || c.kind > chunk.List {
		return Location{}, false
	}
	loc := Location{Pack: c.pack, Slot: c.slot, Kind: c.kind, Codec: c.codec, Chunk: c.id, Offset: c.offset,
		Stored: c.stored, Plain: c.plain}
	if e.kind == chunk.Part {
		loc.Part, loc.PartOffset, loc.PartLength = true, e.offset, e.plain
	}
	return loc, true
}

// bundle finds the bundle entry of a slot.
func (s *Segment) bundle(row uint32, slot uint16) (entry, bool) {
	n := len(s.bundles) / entrySize
	at := func(i int) uint64 {
		b := s.bundles[i*entrySize:]
		return uint64(u24(b[16:]))<<16 | uint64(binary.LittleEndian.Uint16(b[19:]))
	}
	want := uint64(row)<<16 | uint64(slot)
	i := sort.Search(n, func(i int) bool { return at(i) >= want })
	if i == n || at(i) != want {
		return entry{}, false
	}
	e := parseEntry(s.bundles[i*entrySize:][:entrySize])
	runtime.KeepAlive(s)
	return e, true
}

// All yields every entry with its id, ascending; Location.Pack is the row of the pack table.
func (s *Segment) All() iter.Seq2[chunk.ID, Location] {
	return func(yield func(chunk.ID, Location) bool) {
		for i := range s.Len() {
			e := parseEntry(s.entries[i*entrySize:][:entrySize])
			if loc, ok := s.locate(&e); ok && !yield(e.id, loc) {
				return
			}
		}
		runtime.KeepAlive(s)
	}
}

// Bundles yields every bundle chunk in order of pack and slot; Location.Pack is the row of the pack table.
func (s *Segment) Bundles() iter.Seq[Location] {
	return func(yield func(Location) bool) {
		for i := range len(s.bundles) / entrySize {
			e := parseEntry(s.bundles[i*entrySize:][:entrySize])
			if loc, ok := s.locate(&e); ok && !yield(loc) {
				return
			}
		}
		runtime.KeepAlive(s)
	}
}
