package repo

import (
	"context"
	"fmt"

	"github.com/lockfast/lockfast/repo/index"
	"github.com/lockfast/lockfast/repo/pack"
)

// retire publishes where the moved slots are, then retires the victims. The old index entries stay until the packs are
// retired, because until then refsets count as they are.
func (r *reclaim) retire(ctx context.Context, victims []victim) error {
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
		out[i] = Retirement{ID: x.id, Remap: r.remaps[x.id]}
	}
	if err := r.v.ledger.Retire(ctx, r.s.row.ID, out); err != nil {
		return fmt.Errorf("retire packs: %w", err)
	}
	r.report.PacksRemoved += int64(len(victims))
	for _, x := range victims {
		r.report.BytesRemoved += x.size
		r.retiredNow[x.id] = true
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
	for id, level := range c.segments {
		old = append(old, id)
		damaged = damaged || c.v.observed.has(segmentName(level, id)) // only its parity made it readable
	}
	for id := range c.damaged {
		old = append(old, id)
	}
	return old, c.set.Segments(), damaged || len(c.damaged) > 0
}
