package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/index"
	"github.com/lockfast/lockfast/repo/refset"
	"github.com/lockfast/lockfast/repo/tree"
)

// needsBad reports whether a refset names a damaged slot.
func (c *check) needsBad(set refset.Set) bool {
	for s := range set.Packs() {
		if c.isBad(s) {
			return true
		}
	}
	return false
}

func (c *check) isBad(s refset.Slots) bool { return c.slots[s.Pack].in(s) }

// mend looks at a point that names damaged slots. What stands elsewhere too is taken from there from now on; of the rest
// lost tells. It returns the refset that counts.
func (c *check) mend(ctx context.Context, p *Point, set refset.Set, lost *lostContents) (refset.Set, error) {
	var w mendWalk
	for try := 0; ; try++ {
		changes := c.v.catalog.changes.Load()
		w = mendWalk{c: c, ctx: ctx, set: set, used: refset.NewBuilder(), visited: map[ID]bool{}, lost: map[ID]uint32{}}
		if err := tree.Walk(ctx, pointStore{c.v}, p.m.root, &w); err != nil && !isDamage(err) {
			return set, err
		} else if err != nil {
			w.cut = true
		}
		if !w.cut && len(w.lost) == 0 || try == 5 || c.v.catalog.changes.Load() == changes {
			break
		}
		var err error
		if set, err = c.v.refset(ctx, p.id); err != nil { // packs were moved meanwhile
			return set, err
		}
	}
	set, err := c.use(ctx, p, set, &w)
	if err != nil {
		return set, err
	}
	for s := range set.Packs() {
		if c.isBad(s) {
			row := c.v.catalog.row(s.Pack)
			d := c.damages[string(packName(row.kind, row.id))]
			d.Points = append(d.Points, p.id)
		}
	}
	lost.ids, lost.cut = w.lost, w.cut
	return set, nil
}

// use has a point name the copies that a walk found, if it found any.
func (c *check) use(ctx context.Context, p *Point, set refset.Set, w *mendWalk) (refset.Set, error) {
	if w.cut || w.elsewhere == 0 || c.v.ledger == nil {
		return set, nil
	}
	next, err := w.used.Set(c.v.catalog.slots)
	if err != nil {
		return set, err
	}
	done, err := c.v.replaceRefset(ctx, p.id, set, next)
	if err != nil || !done {
		return set, err
	}
	c.report.Mended++
	return next, nil
}

// replaceRefset writes a new generation of a point's refset. It keeps reclaim away meanwhile, as a collector of its own, and
// does nothing when one is running, or has been since old was read.
func (v *Vault) replaceRefset(ctx context.Context, id PointID, old, next refset.Set) (done bool, err error) {
	if !v.reclaiming.TryLock() {
		return false, nil
	}
	defer v.reclaiming.Unlock()
	s, err := v.openSession(ctx, SessionOptions{Kind: SessionCollector})
	if errors.Is(err, ErrBusy) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("mend recovery point %s: %w", id, err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.lost = func(err error) { cancel(err) }
	if err := s.start(ctx); err != nil {
		return false, fmt.Errorf("mend recovery point %s: %w", id, err)
	}
	defer func() { err = errors.Join(err, s.close(ctx)) }()
	now, err := v.refset(ctx, id)
	if err != nil || !equalSets(now, old) {
		return false, err
	}
	for slots := range next.Packs() {
		if !readable(v.catalog.row(slots.Pack).state) {
			return false, nil
		}
	}
	generations, err := v.refsetGenerations(ctx, "f/"+string(id))
	if err != nil {
		return false, err
	}
	if len(generations[id]) == 0 {
		return false, nil // the list is stale
	}
	if err := v.stillClaimed(ctx); err != nil {
		return false, err
	}
	err = v.putRefset(ctx, refsetName(id, slices.Max(generations[id])+1), next)
	return err == nil, err
}

func equalSets(a, b refset.Set) bool {
	return refset.AndNot(a, b).Count() == 0 && refset.AndNot(b, a).Count() == 0
}

// mendWalk collects where the contents of a tree stand that can be read.
type mendWalk struct {
	c         *check
	ctx       context.Context
	set       refset.Set
	used      *refset.Builder
	visited   map[ID]bool
	lost      map[ID]uint32 // contents that stand nowhere, and the pack in which they should
	elsewhere int           // contents that stand outside of the refset only
	cut       bool          // damage ended the walk
}

// Node implements [tree.Visitor].
func (w *mendWalk) Node(_ chunk.Kind, id ID) (bool, error) {
	if w.visited[id] {
		return false, nil
	}
	w.visited[id] = true
	return true, w.use(id)
}

// Contents implements [tree.Visitor].
func (w *mendWalk) Contents(b []byte) error {
	for id := range ids(b) {
		if err := w.use(id); err != nil {
			return err
		}
	}
	return w.ctx.Err()
}

// use notes the places of a content: the good ones in the refset, else one outside, else those in the refset that a
// repair may bring back.
func (w *mendWalk) use(id ID) error {
	var good, bad, outside []index.Location
	w.c.v.findWhere(id, func(loc index.Location) bool {
		switch {
		case !w.set.Has(loc.Pack, int(loc.Slot)):
			outside = append(outside, loc)
		case w.c.slots[loc.Pack].has(int(loc.Slot)):
			bad = append(bad, loc)
		default:
			good = append(good, loc)
		}
		return false
	})
	if len(good) > 0 {
		w.add(good)
		return nil
	}
	for _, loc := range outside {
		ok, err := w.offers(id, loc, bad)
		if err != nil {
			return err
		}
		if ok {
			w.add([]index.Location{loc})
			w.elsewhere++
			return nil
		}
	}
	w.add(bad)
	for _, loc := range append(bad, outside...) {
		if ok, err := w.c.reads(w.ctx, id, loc); ok || err != nil {
			return err // its parity restores it, or the damage of the pack is not where it stands, or it is in the other tier
		}
	}
	w.lost[id] = index.NoPack
	if len(bad) > 0 {
		w.lost[id] = bad[0].Pack
	}
	return nil
}

func (w *mendWalk) add(places []index.Location) {
	for _, loc := range places {
		w.used.Add(loc.Pack, int(loc.Slot))
	}
}

// offers reports whether a place outside of the refset may be relied on, instead of those that are bad. A recovery point
// stays in its tier.
func (w *mendWalk) offers(id ID, loc index.Location, bad []index.Location) (bool, error) {
	catalog := w.c.v.catalog
	if (*catalog.states.Load())[loc.Pack] != ObjectLive || len(bad) == 0 || catalog.isCold(loc.Pack) != catalog.isCold(bad[0].Pack) {
		return false, nil
	}
	return w.c.reads(w.ctx, id, loc)
}

// reads reports whether a content can be read from a place.
func (c *check) reads(ctx context.Context, id ID, loc index.Location) (bool, error) {
	_, err := c.v.readContent(ctx, id, loc)
	if errors.Is(err, ErrDamaged) {
		_, err = c.v.mendContent(ctx, id, loc, err)
	}
	if err != nil && !isDamage(err) {
		return false, err
	}
	return err == nil, nil
}

// paths names the entries of a point that need lost contents.
func (c *check) paths(ctx context.Context, p *Point, lost *lostContents) error {
	d := DamagedPoint{ID: p.id}
	limit := max(minPointPaths, min(maxPointPaths, maxAllPaths-c.named))
	for e, err := range p.Entries(ctx, nil) {
		if err != nil {
			if !isDamage(err) {
				return err
			}
			d.Unknown = true
			break
		}
		bad, n, err := c.entry(ctx, e, lost.ids)
		if err != nil {
			return err
		}
		if !bad {
			continue
		}
		c.missing(p.id, n, e.Key)
		if len(d.Paths) < limit {
			d.Paths = append(d.Paths, slices.Clone(e.Key))
		} else {
			d.More++
		}
	}
	c.named += len(d.Paths)
	c.report.DamagedPoints = append(c.report.DamagedPoints, d)
	return nil
}

// missing notes an entry with the damaged pack that it misses.
func (c *check) missing(point PointID, n uint32, key []byte) {
	if n == index.NoPack {
		return
	}
	row := c.v.catalog.row(n)
	d := c.damages[string(packName(row.kind, row.id))]
	if d != nil && len(d.Points) > 0 && d.Points[0] == point && len(d.Paths) < maxDamagedPaths {
		d.Paths = append(d.Paths, slices.Clone(key))
	}
}

// entry reports whether an entry needs a lost content, and the pack in which that should be.
func (c *check) entry(ctx context.Context, e Entry, lost map[ID]uint32) (bad bool, n uint32, err error) {
	for _, x := range e.Refs {
		if n, bad := lost[x.ID]; bad {
			return true, n, nil
		}
	}
	for x, err := range tree.Extents(ctx, pointStore{c.v}, e.Content, 0) {
		if err != nil && !isDamage(err) {
			return false, 0, err
		}
		if err != nil {
			if n, bad := lost[e.Content.List]; bad {
				return true, n, nil
			}
			return true, index.NoPack, nil
		}
		if n, bad := lost[x.ID]; bad {
			return true, n, nil
		}
	}
	return false, 0, nil
}

// damagedPoint notes damage that makes a whole point unreadable, or its refset wrong.
func (c *check) damagedPoint(object string, id PointID, err error) {
	d := c.damaged(blob.Name(object), missingIsDamage(err))
	if !slices.Contains(d.Points, id) {
		d.Points = append(d.Points, id)
	}
}
