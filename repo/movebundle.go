package repo

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

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
	spare      []byte       // for the plain bytes of the next new bundle
	plain      []byte       // of an old bundle
	needed     []neededPart // of it
	stored     []byte
}

// neededPart is a part with its bytes.
type neededPart struct {
	pack.Part
	data []byte
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
	if int(s.Plain) > cap(b.plain) {
		b.plain = make([]byte, 0, max(int(s.Plain), b.r.w.bundle.target+chunk.MaxPart))
	}
	plain, err := b.r.v.dec.Decompress(b.plain, s.Codec, encoded, int(s.Plain))
	if err != nil {
		return fmt.Errorf("slot %d: %w", from.slot, err)
	}
	b.needed = b.needed[:0]
	n, off := 0, 0
	for _, p := range s.Parts {
		data := plain[off : off+int(p.Length)]
		off += int(p.Length)
		if !b.r.marks.parts.Has(p.ID) {
			continue
		}
		if err := pack.VerifyPart(b.r.v.keys(), p.ID, data); err != nil {
			return fmt.Errorf("slot %d: %w", from.slot, err)
		}
		n += len(data)
		b.needed = append(b.needed, neededPart{p, data})
	}
	if o := b.open; o != nil && (len(o.plain)+n > b.r.w.bundle.target || len(o.parts)+len(b.needed) > pack.MaxParts) {
		if err := b.flush(ctx); err != nil {
			return err
		}
	}
	b.add(s.ID, from)
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

// add puts what is needed of an old bundle into the open one.
func (b *bundleMover) add(id ID, from place) {
	if b.open == nil {
		if b.spare == nil {
			b.spare = make([]byte, 0, b.r.w.bundle.target)
		}
		b.open = &newBundle{plain: b.spare, have: map[ID]bool{}}
	}
	o := b.open
	for _, p := range b.needed {
		if !o.have[p.ID] {
			o.have[p.ID] = true
			o.parts = append(o.parts, p.Part)
			o.plain = append(o.plain, p.data...)
		}
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
	slot := pack.Slot{ID: pack.BundleID(r.v.keys(), o.parts), Kind: chunk.Bundle, Codec: codec, Plain: uint32(len(o.plain)), Parts: o.parts}
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
	b.open, b.spare = nil, o.plain[:0]
	o.plain, o.parts, o.have, o.from = nil, nil, nil, nil
	return nil
}

// flushBundles stores the bundles that are still open. Nobody uses their movers any more.
func (r *reclaim) flushBundles(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	for _, b := range r.bundlers {
		g.Go(func() error { return b.flush(gctx) })
	}
	return g.Wait()
}
