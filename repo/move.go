package repo

import (
	"cmp"
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
// that are needed in part only the needed parts are copied. Where everything went is noted in moves. A victim that cannot
// be read is marked to be kept, and stays. Runs of slots are copied side by side, one more than there are processors,
// since some wait to be read. Victims that have been moved go meanwhile, see settler; the others are returned.
func (r *reclaim) move(ctx context.Context, victims []victim) (rest []victim, err error) {
	defer func() {
		r.report.PacksWritten, r.report.BytesWritten = r.w.stats.packs.Load(), r.w.stats.stored.Load()
	}()
	s, sctx := r.newSettler(ctx)
	err = r.moveAll(sctx, victims, s)
	if err = cmp.Or(s.wait(), err); err != nil {
		return nil, err
	}
	for _, x := range victims {
		if x.keep {
			r.report.DamagedPacks++
		}
		if !x.settled {
			rest = append(rest, x)
		}
	}
	return rest, nil
}

// moveAll returns when everything that is needed of the victims is in packs that are registered.
func (r *reclaim) moveAll(ctx context.Context, victims []victim, s *settler) error {
	g, gctx := errgroup.WithContext(ctx)
	movers := runtime.GOMAXPROCS(0) + 1
	g.SetLimit(movers)
	bufs := newBuffers(moveRun, movers)
	var err error
	for i := range victims {
		if gctx.Err() != nil {
			break
		}
		x := &victims[i]
		if err = r.keepDamaged(x, r.movePack(gctx, g, x, bufs)); err != nil {
			break
		}
		s.add(x)
	}
	if err := cmp.Or(g.Wait(), err, context.Cause(ctx)); err != nil {
		return err
	}
	s.start()
	if err := r.flushBundles(ctx); err != nil {
		return err
	}
	return r.w.storeLastPacks()
}

// keepDamaged marks a victim to be kept if the error says that it is damaged, and returns other errors. What comes of a writer that has
// failed says nothing of the victim.
func (r *reclaim) keepDamaged(x *victim, err error) error {
	if r.w.ctx.Err() != nil || !errors.Is(err, ErrDamaged) && !errors.Is(err, blob.ErrNotExist) {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !x.keep {
		r.v.log.Error("pack is damaged and stays", "object", packName(x.kind, x.id), "error", err)
		x.keep = true
	}
	return nil
}

// movePack copies the live slots of one pack in g, which may go on when it returns.
func (r *reclaim) movePack(ctx context.Context, g *errgroup.Group, x *victim, bufs *buffers) error {
	p, err := r.v.openPack(ctx, x.packRow)
	if err != nil {
		return err
	}
	if len(p.Slots) != x.live.Total {
		return fmt.Errorf("%s has %d slots, refsets say %d: %w", p.Name(), len(p.Slots), x.live.Total, ErrDamaged)
	}
	op, err := pack.NewOpener(r.v.keys(), p.Info)
	if err != nil {
		return err
	}
	m := mover{r: r, x: x, p: p, op: op, bufs: bufs}
	var run []int
	for slot := range x.live.Each() {
		if len(run) > 0 && !m.joins(run, slot) {
			m.start(ctx, g, run)
			run = nil
		}
		run = append(run, slot)
	}
	m.start(ctx, g, run)
	return nil
}

// mover copies slots of one pack. It may be used by several goroutines.
type mover struct {
	r    *reclaim
	x    *victim
	p    *pack.Pack
	op   pack.Opener
	bufs *buffers
}

// start copies a run of slots in g. Of a pack that was found damaged no more is copied.
func (m *mover) start(ctx context.Context, g *errgroup.Group, run []int) {
	g.Go(func() error {
		m.r.mu.Lock()
		damaged := m.x.keep
		m.r.mu.Unlock()
		if damaged || ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return m.r.keepDamaged(m.x, m.copy(ctx, run))
	})
}

// joins reports whether slot follows the run closely.
func (m *mover) joins(run []int, slot int) bool {
	first, last, next := m.p.Slots[run[0]], m.p.Slots[run[len(run)-1]], m.p.Slots[slot]
	gap := int64(next.Offset) - int64(last.Offset) - int64(last.Stored)
	return gap <= fetchGap && int64(next.Offset)+int64(next.Stored)-int64(first.Offset) <= moveRun
}

// copy copies a run of slots, at least one.
func (m *mover) copy(ctx context.Context, run []int) error {
	first, last := m.p.Slots[run[0]], m.p.Slots[run[len(run)-1]]
	n := int64(last.Offset) + int64(last.Stored) - int64(first.Offset)
	buf := m.bufs.get(int(n))
	defer m.bufs.put(buf)
	buf, err := readRange(ctx, m.r.v.store, blob.Name(m.p.Name()), int64(first.Offset), n, buf)
	if err != nil {
		return err
	}
	bundles := m.r.bundler(m.x.kind)
	defer m.r.release(bundles)
	for _, slot := range run {
		at := m.p.Slots[slot].Offset - first.Offset
		if err := m.slot(ctx, slot, buf[at:at+m.p.Slots[slot].Stored], bundles); err != nil {
			return err
		}
	}
	return nil
}

// slot copies one slot, or what is needed of it.
func (m *mover) slot(ctx context.Context, slot int, stored []byte, bundles *bundleMover) error {
	s, from := m.p.Slots[slot], place{pack: m.p.ID, slot: slot}
	if m.r.movedBefore(m.key(s.ID), from) {
		return nil
	}
	encoded, err := m.op.Open(slot, s, stored)
	if err != nil {
		return err
	}
	if s.Kind == chunk.Bundle && m.r.marks.partly(m.x.number, slot, s.Parts) {
		return bundles.take(ctx, from, s, encoded)
	}
	loc, err := m.r.packer(m.x.kind).add(ctx, s, encoded)
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

// moves is where the slots of a victim went.
type moves struct {
	remap []byte // as the ledger keeps it
	slots int
	into  map[pack.ID]bool
}

// remap notes where a slot went. The caller holds mu.
func (r *reclaim) remap(from, to place) {
	m := r.moves[ID(from.pack)]
	if m == nil {
		m = &moves{into: map[pack.ID]bool{}}
		r.moves[ID(from.pack)] = m
	}
	m.remap = appendRemap(m.remap, from.slot, to)
	m.slots++
	m.into[to.pack] = true
}

// remapOf returns where the slots of a victim went, as the ledger keeps it.
func (r *reclaim) remapOf(id ID) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := r.moves[id]; m != nil {
		return m.remap
	}
	return nil
}
