package refset

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/pack"
	"github.com/lockfast/lockfast/repo/seal"
)

const (
	magic        = "lfrefset"
	headSize     = 16
	flagSuperset = 1
	flagDelta    = 2
	formAll      = 1
	formBitmap   = 2
	maxPacks     = 1 << 26
)

// Encode returns the plain text of a refset object. name gives the id of a pack. superset says that the set may have
// more slots than are needed.
func Encode(s Set, superset bool, name func(pack uint32) (pack.ID, bool)) ([]byte, error) {
	ids := make([]pack.ID, len(s.packs))
	order := make([]int, len(s.packs))
	for i, e := range s.packs {
		id, ok := name(e.pack)
		if !ok {
			return nil, fmt.Errorf("refset: pack number %d has no name", e.pack)
		}
		ids[i], order[i] = id, i
	}
	slices.SortFunc(order, func(i, j int) int { return bytes.Compare(ids[i][:], ids[j][:]) })
	out := make([]byte, 0, headSize+len(order)*19+len(s.words)*8)
	out = append(out, magic...)
	var flags byte
	if superset {
		flags = flagSuperset
	}
	out = append(out, flags, 0, 0, 0)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(order)))
	for _, i := range order {
		out = append(out, ids[i][:]...)
		out = appendSlots(out, s.at(i))
	}
	return out, nil
}

func appendSlots(out []byte, s Slots) []byte {
	out = binary.LittleEndian.AppendUint16(out, uint16(s.Total))
	if s.All() {
		return append(out, formAll)
	}
	out = append(out, formBitmap)
	end := len(out) + (s.Total+7)/8
	for _, w := range s.bits {
		out = binary.LittleEndian.AppendUint64(out, w)
	}
	return out[:end]
}

// Record is one pack of an encoded refset.
type Record struct {
	ID    pack.ID
	Slots Slots // Slots.Pack is not set
}

// Parse reads the plain text of a refset object; object is for errors. The records are ascending by id and share
// nothing with b.
func Parse(object string, b []byte) (records []Record, superset bool, err error) {
	if len(b) < headSize || string(b[:8]) != magic {
		return nil, false, chunk.Damaged(object, "not a refset")
	}
	if b[8]&flagDelta != 0 {
		return nil, false, &seal.UnsupportedError{Object: object, Feature: "refset form", Value: flagDelta}
	}
	if b[8]&^flagSuperset != 0 || b[9]|b[10]|b[11] != 0 {
		return nil, false, chunk.Damaged(object, "unknown flags %x", b[8:12])
	}
	n := binary.LittleEndian.Uint32(b[12:])
	superset = b[8]&flagSuperset != 0
	b = b[headSize:]
	if n > maxPacks || uint64(n)*19 > uint64(len(b)) {
		return nil, false, chunk.Damaged(object, "%d packs in %d bytes", n, len(b))
	}
	records = make([]Record, n)
	var words arena
	for i := range records {
		if b, err = records[i].parse(object, b, &words); err != nil {
			return nil, false, err
		}
		if i > 0 && bytes.Compare(records[i-1].ID[:], records[i].ID[:]) >= 0 {
			return nil, false, chunk.Damaged(object, "pack %s is out of order", records[i].ID)
		}
	}
	if len(b) > 0 {
		return nil, false, chunk.Damaged(object, "%d bytes too many", len(b))
	}
	return records, superset, nil
}

// arena hands out bitmaps that stand together.
type arena []uint64

func (a *arena) take(n int) []uint64 {
	if len(*a) < n {
		*a = make([]uint64, max(n, 1024))
	}
	out := (*a)[:n:n]
	*a = (*a)[n:]
	return out
}

// parse reads one record and returns the rest.
func (r *Record) parse(object string, b []byte, words *arena) ([]byte, error) {
	if len(b) < 19 {
		return nil, chunk.Damaged(object, "it ends within a pack")
	}
	copy(r.ID[:], b)
	total, form := int(binary.LittleEndian.Uint16(b[16:])), b[18]
	r.Slots = Slots{Total: total}
	b = b[19:]
	if total == 0 || form != formAll && form != formBitmap {
		return nil, chunk.Damaged(object, "pack %s has %d slots in form %d", r.ID, total, form)
	}
	if form == formAll {
		return b, nil
	}
	n := (total + 7) / 8
	if len(b) < n {
		return nil, chunk.Damaged(object, "it ends within pack %s", r.ID)
	}
	r.Slots.bits = words.take(wordsOf(uint32(total)))
	for i, v := range b[:n] {
		r.Slots.bits[i/8] |= uint64(v) << (i % 8 * 8)
	}
	count := r.Slots.Count()
	if count == 0 || count >= total || r.Slots.bits[len(r.Slots.bits)-1]>>((total-1)%64)>>1 != 0 {
		return nil, chunk.Damaged(object, "pack %s has a bitmap of %d in %d slots", r.ID, count, total)
	}
	return b[n:], nil
}

// FromRecords returns the set of the records whose pack number knows, and the ids of the others, which the ledger
// does not have.
func FromRecords(records []Record, number func(pack.ID) (uint32, bool)) (s Set, unknown []pack.ID) {
	all := make([]Slots, 0, len(records))
	for _, r := range records {
		no, ok := number(r.ID)
		if !ok {
			unknown = append(unknown, r.ID)
			continue
		}
		r.Slots.Pack = no
		all = append(all, r.Slots)
	}
	slices.SortFunc(all, func(a, b Slots) int { return int(int64(a.Pack) - int64(b.Pack)) })
	for _, p := range all {
		s.keep(p)
	}
	return s, unknown
}
