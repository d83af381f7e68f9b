package index

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"

	"github.com/FastFilter/xorfilter"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/pack"
)

// minFilter is the number of entries from which a filter pays.
const minFilter = 32

// Builder collects entries for one segment, 32 bytes each. It is for one goroutine at a time.
type Builder struct {
	rows    map[pack.ID]uint32
	packs   []PackInfo
	entries []record
	bundles []record
	seen    map[uint64]bool // bundles by row and slot
	old     []SegmentID
}

// NewBuilder returns an empty builder.
func NewBuilder() *Builder {
	return &Builder{rows: map[pack.ID]uint32{}, seen: map[uint64]bool{}}
}

// Len returns the number of entries so far.
func (b *Builder) Len() int { return len(b.entries) }

// AddPack adds everything that a pack holds.
func (b *Builder) AddPack(info PackInfo, slots []pack.Slot) {
	row := b.row(info)
	for no := range slots {
		s := &slots[no]
		e := chunkEntry(row, no, s)
		if s.Kind != chunk.Bundle {
			b.entries = append(b.entries, e.record())
			continue
		}
		b.addBundle(e.record())
		part := entry{pack: row, slot: uint16(no), kind: chunk.Part}
		for _, p := range s.Parts {
			part.id, part.plain = p.ID, p.Length
			b.entries = append(b.entries, part.record())
			part.offset += p.Length
		}
	}
}

// Add adds one content by its location, for instance one that was borrowed from another session. The number in
// loc.Pack does not matter.
func (b *Builder) Add(id chunk.ID, info PackInfo, loc Location) {
	e := entry{id: loc.Chunk, pack: b.row(info), slot: loc.Slot, offset: loc.Offset, stored: loc.Stored,
		plain: loc.Plain, kind: loc.Kind, codec: loc.Codec}
	if loc.Part {
		b.addBundle(e.record())
		e = entry{id: id, pack: e.pack, slot: loc.Slot, offset: loc.PartOffset, plain: loc.PartLength, kind: chunk.Part}
	}
	b.entries = append(b.entries, e.record())
}

// Merge adds what a segment holds, and notes that the new segment replaces it. keep decides by pack; entries of other
// packs are left out.
func (b *Builder) Merge(s *Segment, keep func(id pack.ID) bool) {
	rows := make([]uint32, s.Packs())
	for i := range rows {
		rows[i] = NoPack
		if keep == nil || keep(s.packID(i)) {
			rows[i] = b.row(s.Pack(i))
		}
	}
	for i := range len(s.bundles) / entrySize {
		if r := record(s.bundles[i*entrySize:][:entrySize]); moveRow(&r, rows) {
			b.addBundle(r)
		}
	}
	for i := range s.Len() {
		if r := record(s.entries[i*entrySize:][:entrySize]); moveRow(&r, rows) {
			b.entries = append(b.entries, r)
		}
	}
	b.old = append(b.old, s.id)
	runtime.KeepAlive(s)
}

// moveRow gives a record its new row; false when the record is left out.
func moveRow(r *record, rows []uint32) bool {
	row := r.row()
	if uint64(row) >= uint64(len(rows)) || rows[row] == NoPack {
		return false
	}
	r.setRow(rows[row])
	return true
}

// row returns the provisional row of a pack.
func (b *Builder) row(info PackInfo) uint32 {
	r, ok := b.rows[info.ID]
	if !ok {
		if len(b.packs) == maxPacks {
			panic("index: too many packs in one segment")
		}
		r = uint32(len(b.packs))
		b.rows[info.ID] = r
		b.packs = append(b.packs, info)
	}
	return r
}

func (b *Builder) addBundle(r record) {
	if k := r.place(); !b.seen[k] {
		b.seen[k] = true
		b.bundles = append(b.bundles, r)
	}
}

// Built is the plain text of a segment, to be sealed under the name of its id.
type Built struct {
	ID    SegmentID
	Plain []byte
	Packs []PackInfo
}

// Build returns a segment with a random id and empties the builder.
func (b *Builder) Build() (Built, error) {
	var id SegmentID
	if _, err := rand.Read(id[:]); err != nil {
		return Built{}, err
	}
	return b.BuildID(id)
}

// BuildID is [Builder.Build] with a given id; only vectors choose one.
func (b *Builder) BuildID(id SegmentID) (Built, error) {
	if len(b.entries) > maxEntries || len(b.bundles) > maxEntries {
		return Built{}, fmt.Errorf("index segment: %d entries are more than %d", len(b.entries), maxEntries)
	}
	b.sort()
	filter, err := b.filter()
	if err != nil {
		return Built{}, fmt.Errorf("index segment: build filter: %w", err)
	}
	le := binary.LittleEndian
	size := segmentHead + len(b.packs)*packSize + (len(b.entries)+len(b.bundles))*entrySize + 16*len(b.old)
	out := make([]byte, 0, size+len(filter.Fingerprints))
	out = append(out, segmentMagic...)
	for _, n := range []int{len(b.packs), len(b.entries), len(b.bundles), len(b.old)} {
		out = le.AppendUint32(out, uint32(n))
	}
	out = le.AppendUint64(out, filter.Seed)
	for _, n := range []uint32{filter.SegmentLength, filter.SegmentCountLength, uint32(len(filter.Fingerprints)), 0} {
		out = le.AppendUint32(out, n)
	}
	out = append(out, id[:]...)
	for i := range b.packs {
		out = appendPack(out, &b.packs[i])
	}
	for i := range b.entries {
		out = append(out, b.entries[i][:]...)
	}
	for i := range b.bundles {
		out = append(out, b.bundles[i][:]...)
	}
	for _, o := range b.old {
		out = append(out, o[:]...)
	}
	built := Built{ID: id, Plain: append(out, filter.Fingerprints...), Packs: b.packs}
	*b = *NewBuilder()
	return built, nil
}

// sort brings everything into the order of the format and removes doubles.
func (b *Builder) sort() {
	order := make([]uint32, len(b.packs)) // old row -> new row
	sorted := slices.Clone(b.packs)
	slices.SortFunc(sorted, func(x, y PackInfo) int { return bytes.Compare(x.ID[:], y.ID[:]) })
	for i, p := range sorted {
		order[b.rows[p.ID]] = uint32(i)
	}
	b.packs = sorted
	for _, records := range [][]record{b.entries, b.bundles} {
		for i := range records {
			records[i].setRow(order[records[i].row()])
		}
	}
	slices.SortFunc(b.entries, compareRecords)
	b.entries = slices.Compact(b.entries)
	slices.SortFunc(b.bundles, comparePlaces)
	slices.SortFunc(b.old, func(x, y SegmentID) int { return bytes.Compare(x[:], y[:]) })
	b.old = slices.Compact(b.old)
}

// filter builds the filter over the sorted entries; a zero filter means none.
func (b *Builder) filter() (xorfilter.BinaryFuse8, error) {
	if len(b.entries) < minFilter {
		return xorfilter.BinaryFuse8{}, nil
	}
	keys := make([]uint64, 0, len(b.entries))
	for i := range b.entries {
		if k := filterKey(b.entries[i][:]); i == 0 || k != keys[len(keys)-1] {
			keys = append(keys, k)
		}
	}
	f, err := xorfilter.PopulateBinaryFuse8(keys)
	if err != nil {
		return xorfilter.BinaryFuse8{}, err
	}
	return *f, nil
}
