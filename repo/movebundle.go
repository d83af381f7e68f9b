package repo

import (
	"context"
	"fmt"
	"slices"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/pack"
)

// newBundle takes the needed parts of old bundles. Those of one old bundle stay together, so that a slot moves to one
// slot and refsets stay exact.
type newBundle struct {
	plain []byte
	parts []pack.Part
	have  map[ID]bool // ids of parts

	from   []place // bundles that went here; guarded by reclaim.mu
	to     place   // guarded by reclaim.mu
	stored bool    // to is known; guarded by reclaim.mu
}

// bundleMover fills new bundles, one at a time. It is for one goroutine at a time.
type bundleMover struct {
	r          *reclaim
	kind       ObjectKind // of the packs
	compressor *pack.Compressor
	open       *newBundle
	plain      []byte // of an old bundle
	stored     []byte
}

// bundler returns a mover that nobody uses; release gives it back, perhaps with an open bundle.
func (r *reclaim) bundler(kind ObjectKind) *bundleMover {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, b := range r.bundlers {
		if b.kind == kind {
			r.bundlers = slices.Delete(r.bundlers, i, i+1)
			return b
		}
	}
	return &bundleMover{r: r, kind: kind}
}

func (r *reclaim) release(b *bundleMover) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bundlers = append(r.bundlers, b)
}

// take copies the needed parts of a bundle, which has been opened and not been decompressed. Every one is checked, since it
// gets a new neighbourhood that vouches for it.
func (b *bundleMover) take(ctx context.Context, from place, s pack.Slot, encoded []byte) error {
	if b.joined(s.ID, from) {
		return nil
	}
	plain, err := b.r.v.dec.Decompress(b.plain, s.Codec, encoded, int(s.Plain))
	if err != nil {
		return fmt.Errorf("slot %d: %w", from.slot, err)
	}
	if s.Codec != chunk.Raw {
		b.plain = plain
	}
	var needed []pack.Part
	n, off := 0, 0
	for _, p := range s.Parts {
		data := plain[off : off+int(p.Length)]
		off += int(p.Length)
		if !b.r.marks.parts.Has(p.ID) {
			continue
		}
		if err := pack.VerifyPart(b.r.v.keys, p.ID, data); err != nil {
			return fmt.Errorf("slot %d: %w", from.slot, err)
		}
		n += copy(plain[n:], data)
		needed = append(needed, p)
	}
	if o := b.open; o != nil && (len(o.plain)+n > b.r.w.bundle.target || len(o.parts)+len(needed) > pack.MaxParts) {
		if err := b.flush(ctx); err != nil {
			return err
		}
	}
	b.add(s.ID, from, needed, plain[:n])
	return nil
}

// joined notes another copy of a bundle whose needed parts have been taken.
func (b *bundleMover) joined(id ID, from place) bool {
	r := b.r
	r.mu.Lock()
	defer r.mu.Unlock()
	to := r.parts[b.key(id)]
	switch {
	case to == nil:
		return false
	case to.stored:
		r.remap(from, to.to)
	default:
		to.from = append(to.from, from)
	}
	return true
}

// add puts parts, whose bytes stand back to back, into the open bundle.
func (b *bundleMover) add(id ID, from place, parts []pack.Part, plain []byte) {
	if b.open == nil {
		b.open = &newBundle{have: map[ID]bool{}}
	}
	o := b.open
	for _, p := range parts {
		if !o.have[p.ID] {
			o.have[p.ID] = true
			o.parts = append(o.parts, p)
			o.plain = append(o.plain, plain[:p.Length]...)
		}
		plain = plain[p.Length:]
	}
	b.r.mu.Lock()
	defer b.r.mu.Unlock()
	o.from = append(o.from, from)
	b.r.parts[b.key(id)] = o
	b.r.report.BundlesSplit++
}

// flush stores the open bundle.
func (b *bundleMover) flush(ctx context.Context) error {
	o := b.open
	if o == nil {
		return nil
	}
	if b.compressor == nil {
		b.compressor = pack.NewCompressor(levelOf(b.kind))
	}
	stored, codec := b.compressor.Compress(b.stored, o.plain)
	if codec != chunk.Raw {
		b.stored = stored
	}
	r := b.r
	slot := pack.Slot{ID: pack.BundleID(r.v.keys, o.parts), Kind: chunk.Bundle, Codec: codec, Plain: uint32(len(o.plain)), Parts: o.parts}
	loc, err := r.packer(b.kind).add(ctx, slot, stored)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	o.to, o.stored = place{pack: pack.ID(r.v.catalog.row(loc.Pack).id), slot: int(loc.Slot)}, true
	for _, from := range o.from {
		r.remap(from, o.to)
	}
	o.plain, o.parts, o.have, o.from, b.open = nil, nil, nil, nil, nil
	return nil
}
