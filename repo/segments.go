package repo

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"golang.org/x/sync/errgroup"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/index"
	"github.com/lockfast/lockfast/repo/pack"
	"github.com/lockfast/lockfast/repo/seal"
)

const (
	// spillBytes is from what size on a segment is kept in a file: below what a writer publishes on the way, so that what is in
	// memory is only what reclaim merges, but not so small that the maps of a large index become too many for the kernel.
	spillBytes = 256 << 10
	// loadAtOnce is how many segments are read at once; each is in memory then, sealed and plain.
	loadAtOnce = 2
)

// load reads segments and adds them to the index. A damaged one is replaced by what the trailers of the packs say that
// nothing else describes, so that the vault stays usable; Check reports it. The caller holds turn.
func (c *catalog) load(ctx context.Context, ids []ID, lost bool) error {
	if len(ids) == 0 {
		return nil
	}
	loaded := make([]*index.Segment, len(ids))
	levels := make([]int, len(ids))
	failed := make([]error, len(ids))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(loadAtOnce)
	for i, id := range ids {
		g.Go(func() error {
			var err error
			loaded[i], levels[i], err = c.v.readSegment(gctx, id)
			if errors.Is(err, ErrDamaged) || lost && errors.Is(err, blob.ErrNotExist) {
				failed[i], err = missingIsDamage(err), nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	damaged := map[ID]error{}
	for i, err := range failed {
		if err != nil {
			damaged[ids[i]] = err
			c.v.log.Warn("index segment is damaged, reading trailers instead", "object", segmentName(levels[i], ids[i]), "error", err)
		}
	}
	c.adoptAll(ids, levels, loaded)
	if len(damaged) > 0 {
		return c.rebuild(ctx, damaged)
	}
	return nil
}

// adoptAll adds those of the segments that were read and that this process has not added meanwhile, because it made them.
func (c *catalog) adoptAll(ids []ID, levels []int, read []*index.Segment) {
	c.indexed.Lock()
	defer c.indexed.Unlock()
	var added []*index.Segment
	for i, s := range read {
		if _, there := c.segments[ids[i]]; s != nil && !there {
			c.segments[ids[i]] = levels[i]
			added = append(added, s)
		}
	}
	c.add(added)
}

// add puts segments into the index and notes the sizes of their packs. The caller holds indexed.
func (c *catalog) add(segments []*index.Segment) {
	if len(segments) == 0 {
		return
	}
	c.set.Add(c.number, segments...)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range segments {
		for i := range s.Packs() {
			p := s.Pack(i)
			c.rows[c.assign(ID(p.ID))].slots = p.Slots
		}
	}
	c.publish()
}

// unload takes segments out of the index.
func (c *catalog) unload(ids []ID) {
	if len(ids) == 0 {
		return
	}
	c.indexed.Lock()
	defer c.indexed.Unlock()
	gone := make([]index.SegmentID, len(ids))
	for i, id := range ids {
		gone[i] = index.SegmentID(id)
		delete(c.segments, id)
	}
	c.set.Remove(c.number, gone...)
}

// readSegment reads a segment whose level is not known.
func (v *Vault) readSegment(ctx context.Context, id ID) (*index.Segment, int, error) {
	for _, level := range segmentLevels {
		name := segmentName(level, id)
		plain, err := v.getSealed(ctx, seal.TypeSegment, name, maxSegment)
		if errors.Is(err, blob.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, level, err
		}
		s, err := v.openSegment(string(name), plain)
		if err == nil {
			err = v.lookForKeysOf(ctx, s)
		}
		return s, level, err
	}
	return nil, 0, fmt.Errorf("read %s: %w", segmentName(0, id), blob.ErrNotExist)
}

// lookForKeysOf reads the vault keys again if a segment names a pack of an epoch above them: whoever merges segments need not seal the
// new one under the epoch of their packs.
func (v *Vault) lookForKeysOf(ctx context.Context, s *index.Segment) error {
	epoch := uint32(0)
	for i := range s.Packs() {
		epoch = max(epoch, s.Pack(i).Epoch)
	}
	if epoch <= v.keys().Highest() {
		return nil
	}
	return v.lookForKeys(ctx, epoch)
}

// rebuild reads the trailers of the packs that no segment describes into a segment in memory, which stands for damaged ones from
// then on. The caller holds turn.
func (c *catalog) rebuild(ctx context.Context, damaged map[ID]error) error {
	b := index.NewBuilder()
	for n, r := range c.packs() {
		if _, ok := c.set.Pack(uint32(n)); ok || r.state != ObjectLive && r.state != ObjectCondemned {
			continue
		}
		p, err := c.v.openPack(ctx, r)
		if errors.Is(err, ErrDamaged) || errors.Is(err, blob.ErrNotExist) {
			c.v.log.Warn("pack cannot be read", "object", packName(r.kind, r.id), "error", err)
			continue
		}
		if err != nil {
			return err
		}
		b.AddPack(index.PackInfo{Info: p.Info, Slots: len(p.Slots)}, p.Slots)
	}
	var rebuilt []*index.Segment
	if b.Len() > 0 {
		built, err := b.Build()
		if err != nil {
			return err
		}
		s, err := index.Open("rebuilt index", built.Plain)
		if err != nil {
			return err
		}
		rebuilt = append(rebuilt, s)
	}
	c.indexed.Lock()
	defer c.indexed.Unlock()
	maps.Copy(c.damaged, damaged) // no sooner: a reclaim replaces them by what the index holds
	c.rebuilt = c.rebuilt || len(rebuilt) > 0
	c.add(rebuilt)
	return nil
}

// openPack reads the trailer of a pack.
func (v *Vault) openPack(ctx context.Context, r packRow) (*pack.Pack, error) {
	name := packName(r.kind, r.id)
	info, err := v.store.Stat(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	fetch := func(ctx context.Context, off, n int64) ([]byte, error) {
		return readRange(ctx, v.store, name, off, n, nil)
	}
	p, err := v.openTrailer(ctx, r, info.Size, fetch)
	if err = objectError(name, err); err != nil && isDamage(err) && !errors.Is(err, blob.ErrNotExist) {
		return v.mendTrailer(ctx, r, err)
	}
	return p, err
}

// openTrailer opens the trailer of a pack of a size.
func (v *Vault) openTrailer(ctx context.Context, r packRow, size int64, fetch pack.Fetch) (*pack.Pack, error) {
	return withKeys(ctx, v, func(k *seal.Keys) (*pack.Pack, error) {
		return pack.Open(ctx, k, v.dec, packType(r.kind), pack.ID(r.id), size, fetch)
	})
}

// refreshByListing finds packs and segments without a ledger. The caller holds turn.
func (c *catalog) refreshByListing(ctx context.Context) error {
	rows := map[ID]Object{}
	for _, prefix := range packPrefixes {
		for info, err := range c.v.store.List(ctx, prefix) {
			if err != nil {
				return fmt.Errorf("list packs: %w", err)
			}
			if t, id, err := pack.ParseName(string(info.Name)); err == nil {
				rows[ID(id)] = Object{ID: ID(id), Kind: packKind(t), State: ObjectLive, Size: info.Size}
			}
		}
	}
	var changes []Object
	for _, r := range c.packs() {
		if _, ok := rows[r.id]; !ok && r.state == ObjectLive {
			changes = append(changes, Object{ID: r.id, Kind: r.kind, State: ObjectRetired})
		}
	}
	for _, o := range rows {
		changes = append(changes, o)
	}
	for info, err := range c.v.store.List(ctx, "x/") {
		if err != nil {
			return fmt.Errorf("list segments: %w", err)
		}
		if _, id, err := index.ParseSegmentName(string(info.Name)); err == nil {
			changes = append(changes, Object{ID: ID(id), Kind: ObjectSegment, State: ObjectLive})
		}
	}
	if err := c.apply(ctx, changes, true); err != nil {
		return err
	}
	return c.rebuild(ctx, nil) // of a segment that is missing nothing else tells
}
