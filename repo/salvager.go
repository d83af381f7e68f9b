package repo

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/index"
	"github.com/lockfast/lockfast/repo/pack"
)

// salvager moves what is live in one damaged pack to new packs.
type salvager struct {
	*repairing
	c *reclaim
	x *victim

	slots  []pack.Slot // nil if nothing knows them
	opener pack.Opener
	raw    []byte // the pack as it is, nil if it is gone
	mended []byte // with what parity restores, nil if that is nothing
	plain  []byte
	comp   *pack.Compressor
}

func (s *salvager) key(id ID) tierID { return tierID{id, s.x.kind == ObjectCold} }

func (s *salvager) run(ctx context.Context) error {
	if err := s.open(ctx); err != nil {
		return err
	}
	for no := range s.x.live.Each() {
		if no >= len(s.slots) {
			s.lose(s.x, no)
			continue
		}
		from := place{pack: pack.ID(s.x.id), slot: no}
		if s.c.movedBefore(s.key(s.slots[no].ID), from) {
			continue
		}
		slot, stored, err := s.slot(ctx, no)
		if err != nil {
			return err
		}
		if stored == nil {
			s.lose(s.x, no)
			continue
		}
		loc, err := s.c.packer(s.x.kind).add(ctx, slot, stored)
		if err != nil {
			return err
		}
		s.report.Slots++
		s.c.noteMoved(s.key(s.slots[no].ID), from, place{pack: pack.ID(s.v.catalog.row(loc.Pack).id), slot: int(loc.Slot)})
	}
	return nil
}

// open reads the pack, and finds out what its slots are: from its trailer, or from the index.
func (s *salvager) open(ctx context.Context) error {
	name := packName(s.x.kind, s.x.id)
	p, err := s.v.openPack(ctx, s.x.packRow)
	if err != nil && !isDamage(err) {
		return err
	}
	var info pack.Info
	if err == nil {
		s.slots, info = p.Slots, p.Info
	} else if known, ok := s.v.catalog.set.Pack(s.x.number); ok {
		s.slots, info = s.v.indexedSlots(s.x.number, known), known.Info
	} else {
		return nil
	}
	if s.opener, err = pack.NewOpener(s.v.keys(), info); err != nil {
		return fmt.Errorf("open %s: %w", name, err)
	}
	if s.raw, err = readWhole(ctx, s.v.store, name, 1<<32); err != nil && !isDamage(err) {
		return err
	}
	if s.mended, err = s.v.mend(ctx, name); err != nil && !isDamage(err) {
		return err
	}
	return nil
}

// slot returns a slot to store instead of slot no, and what to store; nil if nothing can restore it.
func (s *salvager) slot(ctx context.Context, no int) (pack.Slot, []byte, error) {
	want := s.slots[no]
	if stored := s.read(no, s.raw); stored != nil {
		return want, stored, nil
	}
	if stored := s.read(no, s.mended); stored != nil {
		s.report.FromParity++
		return want, stored, nil
	}
	parts := want.Parts
	if want.Kind != chunk.Bundle {
		parts = []pack.Part{{ID: want.ID, Length: want.Plain}}
	}
	partly := want.Kind == chunk.Bundle && s.c.marks.partly(s.x.number, no, parts)
	var plain []byte
	var have []pack.Part
	fromOther := false
	for _, p := range parts {
		data, other, err := s.elsewhere(ctx, p.ID, int(p.Length), s.x.number)
		if err != nil {
			return want, nil, err
		}
		if data == nil {
			if partly && !s.c.marks.parts.Has(p.ID) {
				continue // no recovery point needs it any more
			}
			return want, nil, nil
		}
		fromOther = fromOther || other
		plain, have = append(plain, data...), append(have, p)
	}
	if fromOther {
		s.report.FromOther++
	} else {
		s.report.FromVault++
	}
	return s.remake(want, plain, have)
}

// remake makes a slot of plain bytes that were checked.
func (s *salvager) remake(want pack.Slot, plain []byte, parts []pack.Part) (pack.Slot, []byte, error) {
	if want.Kind == chunk.Bundle {
		want.Parts, want.ID = parts, pack.BundleID(s.v.keys(), parts)
	}
	if s.comp == nil {
		s.comp = pack.NewCompressor(pack.Fast)
	}
	want.Plain = uint32(len(plain))
	stored, codec := s.comp.Compress(nil, plain)
	want.Codec = codec
	if stored == nil {
		stored = []byte{} // an empty content
	}
	return want, stored, nil
}

// read opens slot no in the bytes of a pack and checks its ids; nil if they are damaged.
func (s *salvager) read(no int, b []byte) []byte {
	want := s.slots[no]
	end := uint64(want.Offset) + uint64(want.Stored)
	if end > uint64(len(b)) {
		return nil
	}
	stored, err := s.opener.Open(no, want, bytes.Clone(b[want.Offset:end]))
	if err != nil {
		return nil
	}
	plain, err := s.v.dec.Decompress(s.plain, want.Codec, stored, int(want.Plain))
	if err != nil {
		return nil
	}
	if want.Codec != chunk.Raw {
		s.plain = plain
	}
	if pack.Verify(s.v.keys(), want, plain) != nil {
		return nil
	}
	return stored
}

// indexedSlots puts the slots of a pack together from what segments say of it. A slot that they do not know has no id and
// is found damaged.
func (v *Vault) indexedSlots(number uint32, info index.PackInfo) []pack.Slot {
	slots := make([]pack.Slot, info.Slots)
	parts := make(map[int]map[uint32]pack.Part) // by slot and offset
	for _, g := range v.catalog.set.Segments() {
		row := -1
		for i := range g.Packs() {
			if g.Pack(i).ID == info.ID {
				row = i
			}
		}
		if row < 0 {
			continue
		}
		note := func(id ID, loc index.Location) {
			if int(loc.Pack) != row || int(loc.Slot) >= len(slots) {
				return
			}
			if !loc.Part {
				slots[loc.Slot] = loc.PackSlot()
				return
			}
			if parts[int(loc.Slot)] == nil {
				parts[int(loc.Slot)] = map[uint32]pack.Part{}
			}
			if loc.PartLength > 0 {
				parts[int(loc.Slot)][loc.PartOffset] = pack.Part{ID: id, Length: loc.PartLength}
			}
		}
		for loc := range g.Bundles() {
			note(loc.Chunk, loc)
		}
		for id, loc := range g.All() {
			note(id, loc)
		}
	}
	for no, of := range parts {
		slots[no].Parts = ordered(of)
	}
	return slots
}

// ordered returns parts by their offsets.
func ordered(of map[uint32]pack.Part) []pack.Part {
	var out []pack.Part
	for _, off := range slices.Sorted(maps.Keys(of)) {
		out = append(out, of[off])
	}
	return out
}
