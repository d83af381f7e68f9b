package pack

import (
	"encoding/binary"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/field"
	"github.com/lockfast/lockfast/repo/seal"
)

// appendTable adds the table of slots of docs/format.md section 7.3 to dst.
func appendTable(dst []byte, slots []Slot) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(slots)))
	for i := range slots {
		s := &slots[i]
		dst = append(dst, byte(s.Kind), byte(s.Codec))
		dst = binary.AppendUvarint(dst, uint64(s.Stored))
		dst = binary.AppendUvarint(dst, uint64(s.Plain))
		if s.Kind == chunk.Bundle {
			dst = binary.AppendUvarint(dst, uint64(len(s.Parts)))
			for _, p := range s.Parts {
				dst = binary.AppendUvarint(dst, uint64(p.Length))
			}
		}
	}
	for i := range slots {
		dst = append(dst, slots[i].ID[:]...)
	}
	for i := range slots {
		for _, p := range slots[i].Parts {
			dst = append(dst, p.ID[:]...)
		}
	}
	return dst
}

// tableReader reads a table of slots. Every step checks that the bytes at hand can hold what is claimed.
type tableReader struct {
	name string
	b    []byte
	err  error
}

// fail notes the first damage.
func (r *tableReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = chunk.Damaged(r.name, "trailer: "+format, args...)
	}
}

// number reads a uvarint up to limit.
func (r *tableReader) number(limit uint64) int {
	v, rest, ok := field.Uvarint(r.b)
	if !ok || v > limit {
		r.fail("a number is missing or above %d", limit)
		return 0
	}
	r.b = rest
	return int(v)
}

// id reads 16 bytes.
func (r *tableReader) id() (id chunk.ID) {
	if len(r.b) < len(id) {
		r.fail("an id is missing")
		return id
	}
	copy(id[:], r.b)
	r.b = r.b[len(id):]
	return id
}

// parseTable reads the slots of a pack whose slots end at end.
func parseTable(name string, table []byte, end uint64) ([]Slot, error) {
	r := &tableReader{name: name, b: table}
	n := r.number(min(MaxSlots, uint64(len(table)/20)))
	slots := make([]Slot, n)
	off, parts := uint64(HeaderSize), 0
	for i := 0; i < n && r.err == nil; i++ {
		parts += r.slot(&slots[i], off)
		off += uint64(slots[i].Stored)
	}
	if r.err == nil && off != end {
		r.fail("slots end at %d instead of %d", off, end)
	}
	if r.err == nil && len(r.b) != 16*(n+parts) {
		r.fail("%d bytes of ids for %d slots and %d parts", len(r.b), n, parts)
	}
	for i := range slots {
		slots[i].ID = r.id()
	}
	for i := range slots {
		for j := range slots[i].Parts {
			slots[i].Parts[j].ID = r.id()
		}
	}
	return slots, r.err
}

// slot reads what precedes the ids and returns the number of parts.
func (r *tableReader) slot(s *Slot, off uint64) int {
	if len(r.b) < 2 {
		r.fail("a slot is missing")
		return 0
	}
	s.Kind, s.Codec, s.Offset = chunk.Kind(r.b[0]), chunk.Codec(r.b[1]), uint32(off)
	r.b = r.b[2:]
	s.Stored = uint32(r.number(chunk.MaxPlain + seal.Overhead))
	s.Plain = uint32(r.number(chunk.MaxPlain))
	if s.Kind < chunk.Data || s.Kind > chunk.List || s.Stored < seal.Overhead {
		r.fail("%s of %d bytes in a slot", s.Kind, s.Stored)
	}
	if s.Kind != chunk.Bundle {
		return 0
	}
	n := r.number(min(MaxParts, uint64(len(r.b)/17)))
	s.Parts = make([]Part, n)
	var sum uint64
	for i := range s.Parts {
		s.Parts[i].Length = uint32(r.number(chunk.MaxPart))
		sum += uint64(s.Parts[i].Length)
	}
	if sum != uint64(s.Plain) {
		r.fail("parts of %d bytes in a bundle of %d", sum, s.Plain)
	}
	return n
}
