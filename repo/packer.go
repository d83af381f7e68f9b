package repo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/lockfast/lockfast/repo/index"
	"github.com/lockfast/lockfast/repo/pack"
)

// packer fills packs of one type. A full pack is finished, stored and registered in the background while the next one
// fills; the number of buffers, which packers may share, bounds how many are under way.
type packer struct {
	w      *Writer
	kind   ObjectKind
	target int
	free   chan *openPack // buffers that are not in use; nil = not allocated yet

	mu      sync.RWMutex // held to read while adding, to write while the open pack is changed
	open    *openPack    // nil before the first slot
	uploads sync.WaitGroup
}

// openPack is a pack being filled.
type openPack struct {
	filler
	number uint32
	put    *sending // of a [pack.Stream]
}

// filler is a [pack.Writer] or a [pack.Stream].
type filler interface {
	Add(s pack.Slot, stored []byte) (int, pack.Slot, error)
	Len() (size, slots int)
	ID() pack.ID
	Reset() error
}

// finish ends the filling.
func (o *openPack) finish() (pack.Packed, error) {
	if s, ok := o.filler.(*pack.Stream); ok {
		return s.Finish()
	}
	return o.filler.(*pack.Writer).Finish(), nil
}

// abandon says that the pack is not wanted.
func (o *openPack) abandon(err error) {
	if s, ok := o.filler.(*pack.Stream); ok {
		s.Close(err)
	}
}

// packBuffers returns n buffers, more than the packers that take them.
func packBuffers(n int) chan *openPack {
	free := make(chan *openPack, n)
	for range n {
		free <- nil
	}
	return free
}

func newPacker(w *Writer, kind ObjectKind, target uint32, free chan *openPack) *packer {
	return &packer{w: w, kind: kind, target: int(target), free: free}
}

// packers returns all that a writer has.
func (w *Writer) packers() []*packer { return append(slices.Clone(w.data), w.meta, w.cold) }

// dataPacker returns a packer for the next content, which of them nobody can foretell.
func (w *Writer) dataPacker() *packer { return w.data[rand.IntN(len(w.data))] }

// add puts a chunk into the open pack and returns where it is.
func (p *packer) add(ctx context.Context, s pack.Slot, stored []byte) (index.Location, error) {
	for {
		p.mu.RLock()
		open := p.open
		if open != nil {
			no, slot, err := open.Add(s, stored)
			if err == nil {
				loc := index.Location{
					Pack: open.number, Slot: uint16(no), Kind: slot.Kind, Codec: slot.Codec, Chunk: slot.ID,
					Offset: slot.Offset, Stored: slot.Stored, Plain: slot.Plain,
				}
				p.mu.RUnlock()
				return loc, nil
			}
			if !errors.Is(err, pack.ErrFull) {
				p.mu.RUnlock()
				return index.Location{}, err
			}
		}
		p.mu.RUnlock()
		if err := p.next(ctx, open); err != nil {
			return index.Location{}, err
		}
	}
}

// next replaces the pack that was found full, unless somebody else has done so.
func (p *packer) next(ctx context.Context, full *openPack) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open != full {
		return nil
	}
	if full != nil {
		if _, slots := full.Len(); slots == 0 {
			return errors.New("a chunk is larger than a pack")
		}
		p.open = nil
		p.uploads.Go(func() { p.upload(full) })
	}
	select {
	case buffer := <-p.free:
		if p.w.ctx.Err() != nil { // then what is given back may still be in use
			return p.w.err()
		}
		return p.begin(buffer)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// begin opens a new pack in a buffer. Every pack gets an openPack of its own, so that next can tell them apart.
func (p *packer) begin(buffer *openPack) error {
	open := &openPack{}
	if buffer != nil {
		open.filler = buffer.filler
		if err := open.Reset(); err != nil {
			return err
		}
	} else {
		var err error
		if open.filler, err = p.make(); err != nil {
			return err
		}
	}
	open.number = p.w.v.catalog.open(ID(open.ID()), p.kind, p.w.s.row.ID)
	if s, ok := open.filler.(*pack.Stream); ok {
		open.put = p.send(s)
	}
	p.open = open
	return nil
}

// packOptions says how packs of a kind are made.
func (v *Vault) packOptions(kind ObjectKind, target int) pack.Options {
	o := pack.Options{Type: packType(kind), Target: target}
	switch {
	case !v.format.PackParity() || kind == ObjectCold:
	case kind == ObjectMeta || v.opts.DataParity:
		o.Parity = pack.FullParity
	default:
		o.Parity = pack.TrailerParity
	}
	return o
}

// make allocates a buffer for packs, or what takes its place.
func (p *packer) make() (filler, error) {
	o := p.w.v.packOptions(p.kind, p.target)
	if p.w.sends(p.kind, o.Parity) {
		return pack.NewStream(p.w.v.keys(), o, p.w.blocks)
	}
	return pack.NewWriter(p.w.v.keys(), o)
}

// upload stores and registers a full pack and gives its buffer back.
func (p *packer) upload(full *openPack) {
	defer func() { p.free <- full }()
	w := p.w
	if w.ctx.Err() != nil {
		return
	}
	object := Object{ID: ID(full.ID()), Kind: p.kind}
	packed, err := full.finish()
	if err == nil {
		err = w.admitted()
	}
	if err == nil {
		object.Size = packed.Size
		err = w.v.ledger.Reserve(w.ctx, w.s.row.ID, []Object{object})
	}
	if err == nil {
		object.Sum, err = w.putPack(full, packed)
	}
	if err == nil {
		err = w.v.ledger.Register(w.ctx, w.s.row.ID, []Object{object})
	}
	if err != nil {
		w.fail(fmt.Errorf("store %s: %w", packName(p.kind, object.ID), err))
		return
	}
	if err := w.registered(packed); err != nil {
		w.fail(err)
	}
}

// admitted asks whether a writer may store a pack now. A reclaim, which gives space back, always may.
func (w *Writer) admitted() error {
	if w.v.opts.Admit == nil || w.collects() {
		return nil
	}
	return w.v.opts.Admit()
}

// take ends the filling and returns the open pack, if it has anything. Full ones may still be on their way.
func (p *packer) take() *openPack {
	p.mu.Lock()
	defer p.mu.Unlock()
	open := p.open
	p.open = nil
	if open == nil {
		return nil
	}
	if _, slots := open.Len(); slots == 0 {
		open.abandon(errEmpty)
		return nil
	}
	return open
}
