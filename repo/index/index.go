// Package index finds where a content is stored: it maps ids to places in packs.
//
// A [Segment] is an immutable sorted array with a filter in front (docs/format.md section 8); a session publishes
// one, merges replace many by one. A [Set] is what a vault looks things up in: all its segments, bound to the numbers
// that the ledger gave to packs. A [Table] holds what running sessions are storing right now, including what they are
// only about to store.
//
// Ids are uniformly distributed, which lookups use: they interpolate instead of bisecting.
package index

import (
	"bytes"
	"cmp"
	"encoding/binary"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/pack"
	"github.com/lockfast/lockfast/repo/seal"
)

// NoPack is the number of a pack that the ledger does not know.
const NoPack = ^uint32(0)

// Location says where a content is. For a part it names the bundle's chunk and the range of the part in its plain
// bytes.
type Location struct {
	Pack       uint32 // number of the pack
	Slot       uint16
	Kind       chunk.Kind // of the slot: never Part
	Codec      chunk.Codec
	Part       bool     // the content is the range PartOffset, PartLength of a bundle
	Chunk      chunk.ID // id of the slot
	Offset     uint32   // of the slot in the pack
	Stored     uint32   // length of the slot, with its tag
	Plain      uint32   // plain length of the slot
	PartOffset uint32
	PartLength uint32
}

// Length returns the plain length of the content.
func (l Location) Length() int64 {
	if l.Part {
		return int64(l.PartLength)
	}
	return int64(l.Plain)
}

// PackSlot returns the slot as package pack knows it, without parts.
func (l Location) PackSlot() pack.Slot {
	return pack.Slot{ID: l.Chunk, Kind: l.Kind, Codec: l.Codec, Offset: l.Offset, Stored: l.Stored, Plain: l.Plain}
}

// PackInfo is what a segment knows about a pack.
type PackInfo struct {
	pack.Info
	Slots  int      // number of slots
	Digest [32]byte // of the whole object
}

// InfoOf returns the row of a pack that was just written.
func InfoOf(p pack.Packed) PackInfo {
	return PackInfo{Info: pack.Info{ID: p.ID, Type: p.Type, Epoch: p.Epoch, Salt: p.Salt, Size: p.Size},
		Slots: len(p.Slots), Digest: p.Digest}
}

const (
	entrySize = 32
	packSize  = 96
)

// entry is one 32-byte record. Its fields are those of docs/format.md section 8.
type entry struct {
	id     chunk.ID
	pack   uint32 // row of the pack table, 24 bits
	slot   uint16
	offset uint32
	stored uint32 // 24 bits
	plain  uint32 // 24 bits
	kind   chunk.Kind
	codec  chunk.Codec
}

// record is an entry as it is stored.
type record [entrySize]byte

func (e *entry) record() (r record) {
	copy(r[:], e.id[:])
	putU24(r[16:], e.pack)
	binary.LittleEndian.PutUint16(r[19:], e.slot)
	binary.LittleEndian.PutUint32(r[21:], e.offset)
	putU24(r[25:], e.stored)
	putU24(r[28:], e.plain)
	r[31] = byte(e.kind)<<4 | byte(e.codec)
	return r
}

// row returns the row of the pack table, and setRow changes it.
func (r *record) row() uint32 { return u24(r[16:]) }

func (r *record) setRow(row uint32) { putU24(r[16:], row) }

// place is a number that orders records of one segment by pack and slot.
func (r *record) place() uint64 {
	return uint64(r.row())<<16 | uint64(binary.LittleEndian.Uint16(r[19:]))
}

func u24(b []byte) uint32 { return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 }

func putU24(b []byte, v uint32) { b[0], b[1], b[2] = byte(v), byte(v>>8), byte(v>>16) }

func parseEntry(b []byte) (e entry) {
	_ = b[entrySize-1]
	copy(e.id[:], b)
	e.pack = u24(b[16:])
	e.slot = binary.LittleEndian.Uint16(b[19:])
	e.offset = binary.LittleEndian.Uint32(b[21:])
	e.stored = u24(b[25:])
	e.plain = u24(b[28:])
	e.kind, e.codec = chunk.Kind(b[31]>>4), chunk.Codec(b[31]&15)
	return e
}

// compareRecords orders by id, pack, slot.
func compareRecords(a, b record) int {
	if c := bytes.Compare(a[:16], b[:16]); c != 0 {
		return c
	}
	return comparePlaces(a, b)
}

// comparePlaces orders by pack, slot.
func comparePlaces(a, b record) int { return cmp.Compare(a.place(), b.place()) }

// chunkEntry returns the record of a slot.
func chunkEntry(row uint32, no int, s *pack.Slot) entry {
	return entry{id: s.ID, pack: row, slot: uint16(no), offset: s.Offset, stored: s.Stored, plain: s.Plain,
		kind: s.Kind, codec: s.Codec}
}

func appendPack(dst []byte, p *PackInfo) []byte {
	dst = append(dst, p.ID[:]...)
	dst = append(dst, byte(p.Type), 0)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(p.Slots))
	dst = binary.LittleEndian.AppendUint32(dst, p.Epoch)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(p.Size))
	dst = append(dst, p.Salt[:]...)
	return append(dst, p.Digest[:]...)
}

func parsePack(b []byte) (p PackInfo) {
	_ = b[packSize-1]
	copy(p.ID[:], b)
	p.Type = seal.Type(b[16])
	p.Slots = int(binary.LittleEndian.Uint16(b[18:]))
	p.Epoch = binary.LittleEndian.Uint32(b[20:])
	p.Size = int64(binary.LittleEndian.Uint64(b[24:]))
	copy(p.Salt[:], b[32:])
	copy(p.Digest[:], b[64:])
	return p
}
