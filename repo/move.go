package repo

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/index"
	"github.com/lockfast/lockfast/repo/pack"
	"github.com/lockfast/lockfast/repo/refset"
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
	r.report.BytesWritten = r.w.stats.stored.Load()
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

// retire publishes where the moved slots are, then retires the victims. The old index entries stay until the packs are
// retired, because until then refsets count as they are.
func (r *reclaim) retire(ctx context.Context, victims []victim, remaps map[ID][]byte) error {
	victims, err := r.rescue(ctx, victims)
	if err != nil || len(victims) == 0 {
		return err
	}
	r.w.segmentMu.Lock()
	err = r.w.publishSegment()
	r.w.segmentMu.Unlock()
	if err != nil {
		return err
	}
	out := make([]Retirement, len(victims))
	for i, x := range victims {
		out[i] = Retirement{ID: x.id, Remap: remaps[x.id]}
	}
	if err := r.v.ledger.Retire(ctx, r.s.row.ID, out); err != nil {
		return fmt.Errorf("retire packs: %w", err)
	}
	r.report.PacksRemoved += int64(len(victims))
	for _, x := range victims {
		r.report.BytesRemoved += x.size
	}
	return r.v.catalog.refresh(ctx)
}

// mergeIndex replaces all segments by one without entries of packs that are gone, unless there is one segment and nothing
// to drop.
func (r *reclaim) mergeIndex(ctx context.Context) error {
	old, segments, damaged := r.v.catalog.mergeable()
	if len(old) <= 1 && !damaged && !r.dropsAny(segments) {
		return nil
	}
	b := index.NewBuilder()
	for _, s := range segments {
		b.Merge(s, r.v.catalog.usable)
	}
	if b.Len() > 0 {
		built, err := b.Build()
		if err != nil {
			return err
		}
		if err := r.v.putSegment(ctx, r.s.row.ID, 1, built); err != nil {
			return err
		}
	}
	out := make([]Retirement, len(old))
	for i, id := range old {
		out[i] = Retirement{ID: id}
	}
	if err := r.v.ledger.Retire(ctx, r.s.row.ID, out); err != nil {
		return fmt.Errorf("retire index segments: %w", err)
	}
	return r.v.catalog.refresh(ctx)
}

// dropsAny reports whether a segment describes a pack that is gone.
func (r *reclaim) dropsAny(segments []*index.Segment) bool {
	for _, s := range segments {
		for i := range s.Packs() {
			if !r.v.catalog.usable(s.Pack(i).ID) {
				return true
			}
		}
	}
	return false
}

// usable reports whether a pack is registered and not retired.
func (c *catalog) usable(id pack.ID) bool {
	n, ok := c.known(id)
	if !ok {
		return false
	}
	return readable(c.row(n).state)
}

// readable reports whether the bytes of a pack in this state are there.
func readable(s ObjectState) bool { return s == ObjectLive || s == ObjectCondemned }

// mergeable returns the live segments of the ledger that are loaded or damaged, and what the index holds. A segment
// rebuilt in memory, because one is damaged, is among the latter only.
func (c *catalog) mergeable() (old []ID, segments []*index.Segment, damaged bool) {
	c.refreshing.Lock()
	defer c.refreshing.Unlock()
	for id := range c.segments {
		old = append(old, id)
	}
	for id := range c.damaged {
		old = append(old, id)
	}
	return old, c.set.Segments(), len(c.damaged) > 0
}

// rewriteRefsets writes a new generation of every refset that names a retired pack, then removes the older ones.
func (r *reclaim) rewriteRefsets(ctx context.Context) error {
	// Sessions first: what one of them commits later may name packs retired by now, and they keep these from being
	// forgotten. Refsets of points committed before are in the listing.
	snapshot, err := r.v.ledger.Snapshot(ctx)
	if err != nil {
		return fmt.Errorf("read ledger: %w", err)
	}
	r.before = snapshot
	generations, err := r.v.refsetGenerations(ctx, "f/")
	if err != nil {
		return err
	}
	need := snapshot.needed()
	for _, s := range snapshot.Sessions {
		if s.State == SessionActive {
			need[PointID(s.ID)] = true // prepared, perhaps
		}
	}
	for id := range need {
		if len(generations[id]) == 0 {
			continue
		}
		if err := r.rewriteRefset(ctx, id, generations[id]); err != nil && !errors.Is(err, blob.ErrNotExist) { // deleted meanwhile
			return err
		}
	}
	return nil
}

// rewriteRefset leaves one generation of a refset, a new one if the newest names a retired pack.
func (r *reclaim) rewriteRefset(ctx context.Context, id PointID, generations []int) error {
	records, keep, err := r.v.readNewest(ctx, id, generations)
	if err != nil {
		return err
	}
	if r.v.namesRetired(records) {
		set, err := r.v.current(records)
		if err != nil {
			return fmt.Errorf("refset of recovery point %s: %w", id, err)
		}
		keep = generations[len(generations)-1] + 1
		if err := r.v.putRefset(ctx, refsetName(id, keep), set); err != nil {
			return err
		}
	}
	var gone []blob.Name
	for _, n := range generations {
		if n != keep {
			gone = append(gone, refsetName(id, n))
		}
	}
	return r.v.deleteAll(ctx, gone)
}

func (v *Vault) namesRetired(records []refset.Record) bool {
	for i := range records {
		if n, ok := v.catalog.known(records[i].ID); ok && v.catalog.row(n).state == ObjectRetired {
			return true
		}
	}
	return false
}

// removeRetired removes the objects of retired rows once no session may still look for them, and forgets the rows that
// nothing can name any more.
func (r *reclaim) removeRetired(ctx context.Context) error {
	packs, segments := r.v.catalog.retired()
	if len(packs)+len(segments) == 0 {
		return nil
	}
	var epoch uint64
	for _, x := range packs {
		epoch = max(epoch, x.epoch)
	}
	for _, o := range segments {
		epoch = max(epoch, o.Epoch)
	}
	if err := r.await(ctx, epoch); err != nil {
		return err
	}
	var forget []ID
	for _, x := range packs {
		if err := r.v.store.Delete(ctx, packName(x.kind, x.id)); err != nil {
			return fmt.Errorf("remove %s: %w", packName(x.kind, x.id), err)
		}
		r.progress(x.size)
		if !r.outlived(x.epoch) {
			forget = append(forget, x.id)
		}
	}
	for _, o := range segments {
		for _, level := range segmentLevels {
			if err := r.v.store.Delete(ctx, segmentName(level, o.ID)); err != nil {
				return fmt.Errorf("remove %s: %w", segmentName(level, o.ID), err)
			}
		}
		forget = append(forget, o.ID)
	}
	if err := r.v.ledger.Forget(ctx, r.s.row.ID, forget, nil); err != nil {
		return fmt.Errorf("forget packs: %w", err)
	}
	r.v.catalog.forget(forget)
	return nil
}

// outlived reports whether a session that was opened before the epoch was active when refsets were rewritten: what it has
// prepared or will prepare may name packs retired then.
func (r *reclaim) outlived(epoch uint64) bool {
	for _, s := range r.before.Sessions {
		if s.State == SessionActive && s.ID != r.s.row.ID && s.Opened < epoch {
			return true
		}
	}
	return false
}

// retired returns the retired packs and segments that are not forgotten.
func (c *catalog) retired() ([]packRow, []Object) {
	c.refreshing.Lock()
	defer c.refreshing.Unlock()
	var packs []packRow
	for _, row := range c.packs() {
		if row.state == ObjectRetired && !row.forgotten {
			packs = append(packs, row)
		}
	}
	var segments []Object
	for _, o := range c.segmentRow {
		if o.State == ObjectRetired && !c.forgotten[o.ID] {
			segments = append(segments, o)
		}
	}
	return packs, segments
}

// forget drops what the ledger forgot.
func (c *catalog) forget(ids []ID) {
	c.refreshing.Lock()
	defer c.refreshing.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ids {
		if _, ok := c.segmentRow[id]; ok {
			c.forgotten[id] = true
			delete(c.damaged, id)
		}
		if n, ok := c.numbers[id]; ok {
			c.rows[n].forgotten = true
		}
	}
}
