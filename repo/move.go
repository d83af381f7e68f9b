package repo

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/pack"
)

// moveRun is how many bytes of a pack are read at once; at least one slot.
const moveRun = 4 << 20

// move copies the live slots of victims to new packs, as they are: opened and sealed again, not decompressed. Of bundles
// that are needed in part only the needed parts are copied. Where everything went is noted in remaps. A victim that cannot
// be read is marked to be kept, and stays.
func (r *reclaim) move(ctx context.Context, victims []victim) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range victims {
		x := &victims[i]
		if x.live.Total == 0 {
			continue
		}
		g.Go(func() error {
			err := r.movePack(gctx, x)
			if errors.Is(err, ErrDamaged) || errors.Is(err, blob.ErrNotExist) {
				r.v.log.Error("pack is damaged and stays", "object", packName(x.kind, x.id), "error", err)
				x.keep, err = true, nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, x := range victims {
		if x.keep {
			r.report.DamagedPacks++
		}
	}
	for _, b := range r.bundlers {
		if err := b.flush(ctx); err != nil {
			return err
		}
	}
	if err := r.w.storeLastPacks(); err != nil {
		return err
	}
	r.report.PacksWritten, r.report.BytesWritten = r.w.stats.packs.Load(), r.w.stats.stored.Load()
	return nil
}

// movePack copies the live slots of one pack.
func (r *reclaim) movePack(ctx context.Context, x *victim) error {
	p, err := r.v.openPack(ctx, x.packRow)
	if err != nil {
		return err
	}
	if len(p.Slots) != x.live.Total {
		return fmt.Errorf("%s has %d slots, refsets say %d: %w", p.Name(), len(p.Slots), x.live.Total, ErrDamaged)
	}
	op, err := pack.NewOpener(r.v.keys, p.Info)
	if err != nil {
		return err
	}
	m := mover{r: r, x: x, p: p, op: op, bundles: r.bundler(x.kind)}
	defer r.release(m.bundles)
	var run []int
	for slot := range x.live.Each() {
		if len(run) > 0 && !m.joins(run, slot) {
			if err := m.copy(ctx, run); err != nil {
				return err
			}
			run = run[:0]
		}
		run = append(run, slot)
	}
	return m.copy(ctx, run)
}

// mover copies slots of one pack.
type mover struct {
	r       *reclaim
	x       *victim
	p       *pack.Pack
	op      pack.Opener
	bundles *bundleMover
	buf     []byte
}

// joins reports whether slot follows the run closely.
func (m *mover) joins(run []int, slot int) bool {
	first, last, next := m.p.Slots[run[0]], m.p.Slots[run[len(run)-1]], m.p.Slots[slot]
	gap := int64(next.Offset) - int64(last.Offset) - int64(last.Stored)
	return gap <= fetchGap && int64(next.Offset)+int64(next.Stored)-int64(first.Offset) <= moveRun
}

// copy copies a run of slots.
func (m *mover) copy(ctx context.Context, run []int) error {
	if len(run) == 0 {
		return nil
	}
	first, last := m.p.Slots[run[0]], m.p.Slots[run[len(run)-1]]
	n := int64(last.Offset) + int64(last.Stored) - int64(first.Offset)
	var err error
	if m.buf, err = readRange(ctx, m.r.v.store, blob.Name(m.p.Name()), int64(first.Offset), n, m.buf); err != nil {
		return err
	}
	to := m.r.packer(m.x.kind)
	for _, slot := range run {
		at := m.p.Slots[slot].Offset - first.Offset
		if err := m.slot(ctx, slot, m.buf[at:at+m.p.Slots[slot].Stored], to); err != nil {
			return err
		}
	}
	return nil
}

// slot copies one slot, or what is needed of it.
func (m *mover) slot(ctx context.Context, slot int, stored []byte, to *packer) error {
	s, from := m.p.Slots[slot], place{pack: m.p.ID, slot: slot}
	if m.r.movedBefore(m.key(s.ID), from) {
		return nil
	}
	encoded, err := m.op.Open(slot, s, stored)
	if err != nil {
		return err
	}
	if s.Kind == chunk.Bundle && m.r.marks.partly(m.x.number, slot, s.Parts) {
		return m.bundles.take(ctx, from, s, encoded)
	}
	loc, err := to.add(ctx, s, encoded)
	if err != nil {
		return err
	}
	m.r.noteMoved(m.key(s.ID), from, place{pack: pack.ID(m.r.v.catalog.row(loc.Pack).id), slot: int(loc.Slot)})
	return nil
}

// movedBefore reports whether the same chunk has been moved already: of two copies one is enough.
func (r *reclaim) movedBefore(id tierID, from place) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	to, ok := r.moved[id]
	if ok {
		r.remap(from, to)
	}
	return ok
}

// noteMoved notes where a chunk went.
func (r *reclaim) noteMoved(id tierID, from, to place) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.moved[id] = to
	r.remap(from, to)
}

// remap notes where a slot went. The caller holds mu.
func (r *reclaim) remap(from, to place) {
	r.remaps[ID(from.pack)] = appendRemap(r.remaps[ID(from.pack)], from.slot, to)
}
