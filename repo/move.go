package repo

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/pack"
)

// moveRun is how many bytes of a pack are read at once; at least one slot.
const moveRun = 4 << 20

// move copies the live slots of victims to new packs, as they are: opened and sealed again, not decompressed. It returns
// the remap of each victim. One that cannot be read is marked to be kept, and stays.
func (r *reclaim) move(ctx context.Context, victims []victim) (map[ID][]byte, error) {
	remaps := map[ID][]byte{}
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range victims {
		x := &victims[i]
		if x.live.Total == 0 {
			continue
		}
		g.Go(func() error {
			remap, err := r.movePack(gctx, x)
			if errors.Is(err, ErrDamaged) || errors.Is(err, blob.ErrNotExist) {
				r.v.log.Error("pack is damaged and stays", "object", packName(x.kind, x.id), "error", err)
				x.keep, err = true, nil
			}
			mu.Lock()
			defer mu.Unlock()
			if x.keep {
				r.report.DamagedPacks++
			}
			remaps[x.id] = remap
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if err := r.w.storeLastPacks(); err != nil {
		return nil, err
	}
	r.report.PacksWritten, r.report.BytesWritten = r.w.stats.packs.Load(), r.w.stats.stored.Load()
	return remaps, nil
}

// movePack copies the live slots of one pack and returns where they went.
func (r *reclaim) movePack(ctx context.Context, x *victim) ([]byte, error) {
	p, err := r.v.openPack(ctx, x.packRow)
	if err != nil {
		return nil, err
	}
	if len(p.Slots) != x.live.Total {
		return nil, fmt.Errorf("%s has %d slots, refsets say %d: %w", p.Name(), len(p.Slots), x.live.Total, ErrDamaged)
	}
	op, err := pack.NewOpener(r.v.keys, p.Info)
	if err != nil {
		return nil, err
	}
	m := mover{r: r, p: p, op: op}
	var run []int
	for slot := range x.live.Each() {
		if len(run) > 0 && !m.joins(run, slot) {
			if err := m.copy(ctx, run); err != nil {
				return nil, err
			}
			run = run[:0]
		}
		run = append(run, slot)
	}
	return m.remap, m.copy(ctx, run)
}

// mover copies slots of one pack.
type mover struct {
	r     *reclaim
	p     *pack.Pack
	op    pack.Opener
	buf   []byte
	remap []byte
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
	to := m.r.w.data
	if packKind(m.p.Type) == ObjectMeta {
		to = m.r.w.meta
	}
	for _, slot := range run {
		s := m.p.Slots[slot]
		if to, ok := m.r.movedTo(s.ID); ok {
			m.remap = appendRemap(m.remap, slot, to)
			continue
		}
		at := s.Offset - first.Offset
		encoded, err := m.op.Open(slot, s, m.buf[at:at+s.Stored])
		if err != nil {
			return err
		}
		loc, err := to.add(ctx, s, encoded)
		if err != nil {
			return err
		}
		there := place{pack: pack.ID(m.r.v.catalog.row(loc.Pack).id), slot: int(loc.Slot)}
		m.remap = appendRemap(m.remap, slot, there)
		m.r.noteMoved(s.ID, there)
	}
	return nil
}

// movedTo returns where a chunk has been moved already: of two copies one is enough.
func (r *reclaim) movedTo(id ID) (place, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	to, ok := r.moved[id]
	return to, ok
}

func (r *reclaim) noteMoved(id ID, to place) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.moved[id] = to
}
