package repo

import (
	"cmp"
	"context"
	"fmt"
	"slices"

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
		out[i] = Retirement{ID: x.id, Remap: r.remapOf(x.id)}
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

// maxMerge bounds the entries of a segment that a reclaim makes, and so the memory that it takes, about 150 bytes for each.
const maxMerge = 1 << 20

// mergeIndex merges small segments, and leaves out entries of packs that are gone.
func (r *reclaim) mergeIndex(ctx context.Context) error {
	segments, useless, renew := r.v.catalog.mergeable()
	for _, group := range r.groups(segments, renew) {
		if err := r.mergeGroup(ctx, group); err != nil {
			return err
		}
	}
	if len(useless) == 0 {
		return nil
	}
	// What the damaged ones described was rebuilt in memory, and has been merged.
	if err := r.retireSegments(ctx, useless); err != nil {
		return err
	}
	return r.v.catalog.refresh(ctx)
}

// groups returns the segments to be replaced by one, each time. A segment that is large, and of whose packs all are there, is
// not among them; with everything, each is.
func (r *reclaim) groups(segments []*index.Segment, everything bool) (groups [][]*index.Segment) {
	slices.SortFunc(segments, func(a, b *index.Segment) int { return cmp.Compare(a.Len(), b.Len()) })
	var group []*index.Segment
	entries := 0
	flush := func() {
		if len(group) > 1 || everything || r.dropsAny(group) {
			groups = append(groups, group)
		}
		group, entries = nil, 0
	}
	for _, s := range segments {
		if len(group) > 0 && entries+s.Len() > r.v.merge {
			flush()
		}
		group, entries = append(group, s), entries+s.Len()
	}
	if len(group) > 0 {
		flush()
	}
	return groups
}

// mergeGroup replaces segments by one.
func (r *reclaim) mergeGroup(ctx context.Context, group []*index.Segment) error {
	b := index.NewBuilder()
	var old []ID
	for _, s := range group {
		b.Merge(s, r.v.catalog.usable)
		if r.v.catalog.loaded(ID(s.ID())) {
			old = append(old, ID(s.ID()))
		}
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
	if err := r.retireSegments(ctx, old); err != nil {
		return err
	}
	return r.v.catalog.refresh(ctx)
}

func (r *reclaim) retireSegments(ctx context.Context, ids []ID) error {
	out := make([]Retirement, len(ids))
	for i, id := range ids {
		out[i] = Retirement{ID: id}
	}
	if err := r.v.ledger.Retire(ctx, r.s.row.ID, out); err != nil {
		return fmt.Errorf("retire index segments: %w", err)
	}
	return nil
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

// mergeable returns what the index holds, and the live segments of the ledger that are not among it, because they are damaged
// or because a reclaim that did not end has replaced them. A segment rebuilt in memory, because one is damaged, is among the
// former. All of those are to be written anew if one is damaged, or was read only with its parity.
func (c *catalog) mergeable() (segments []*index.Segment, useless []ID, renew bool) {
	c.indexed.Lock()
	defer c.indexed.Unlock()
	segments = c.set.Segments()
	held := make(map[ID]bool, len(segments))
	for _, s := range segments {
		held[ID(s.ID())] = true
	}
	for id, level := range c.segments {
		renew = renew || c.v.observed.has(segmentName(level, id)) // only its parity made it readable
		if !held[id] {
			useless = append(useless, id)
		}
	}
	for id := range c.damaged {
		useless = append(useless, id)
	}
	return segments, useless, renew || len(c.damaged) > 0
}

// loaded reports whether a segment is one of the ledger, and not one that was rebuilt in memory.
func (c *catalog) loaded(id ID) bool {
	c.indexed.Lock()
	defer c.indexed.Unlock()
	_, ok := c.segments[id]
	return ok
}
