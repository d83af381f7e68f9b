package repo

import (
	"context"
	"fmt"
	"slices"

	"github.com/zeebo/blake3"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/index"
	"github.com/lockfast/lockfast/repo/refset"
	"github.com/lockfast/lockfast/repo/tree"
)

func digest(b []byte) [32]byte { return blake3.Sum256(b) }

// points checks every recovery point.
func (c *check) points(ctx context.Context) error {
	ids, err := c.pointIDs(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		gone, err := c.point(ctx, id)
		if err != nil {
			return err
		}
		if !gone {
			c.report.Points++
		}
	}
	return nil
}

// pointIDs returns the points that should be whole. Without a ledger that is every manifest.
func (c *check) pointIDs(ctx context.Context) ([]PointID, error) {
	if c.v.ledger != nil {
		return c.v.PointIDs(ctx)
	}
	return c.v.manifests(ctx)
}

// point checks one recovery point and reports whether it was deleted meanwhile.
func (c *check) point(ctx context.Context, id PointID) (gone bool, err error) {
	p, release, err := c.hold(ctx, id)
	if err != nil {
		if ids, lerr := c.pointIDs(ctx); lerr == nil && !slices.Contains(ids, id) {
			return true, nil
		}
		if !isDamage(err) {
			return false, err
		}
		c.damagedPoint(string(manifestName(id)), id, err)
		c.report.DamagedPoints = append(c.report.DamagedPoints, DamagedPoint{ID: id, Unknown: true})
		return false, nil
	}
	defer release()
	if err := c.journaled(ctx, id, p.m.head); err != nil {
		return false, err
	}
	set, err := c.v.refset(ctx, p.id)
	if err != nil {
		if !isDamage(err) {
			return false, err
		}
		c.damagedPoint(string(refsetName(id, 1)), id, err)
		c.report.DamagedPoints = append(c.report.DamagedPoints, DamagedPoint{ID: id, Unknown: true})
		return false, nil
	}
	lost := &lostContents{ids: map[ID]uint32{}}
	if c.needsBad(set) {
		if set, err = c.mend(ctx, p, set, lost); err != nil {
			return false, err
		}
	}
	if c.o.Level >= CheckTrees {
		if err := c.tree(ctx, p, set, lost, 0); err != nil {
			return false, err
		}
	}
	if !lost.cut && len(lost.ids) == 0 {
		return false, nil
	}
	return false, c.paths(ctx, p, lost)
}

// lostContents are contents that a point needs and that cannot be read.
type lostContents struct {
	ids map[ID]uint32 // and the pack in which they should stand, or [index.NoPack]
	cut bool          // damage ended the walk of the tree
}

// hold opens a point, keeping it from being reclaimed.
func (c *check) hold(ctx context.Context, id PointID) (*Point, func(), error) {
	p, err := c.v.OpenPoint(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	return p, func() { _ = p.Close() }, nil
}

// tree walks a tree: nodes and lists have to be readable, and everything has to be in the refset, which may not have slots
// without anything that the tree refers to.
func (c *check) tree(ctx context.Context, p *Point, set refset.Set, lost *lostContents, try int) error {
	w := treeCheck{c: c, ctx: ctx, set: set, used: refset.NewBuilder(), visited: map[ID]bool{}, nowhere: map[ID]bool{}}
	changes := c.v.catalog.changes.Load()
	err := tree.Walk(ctx, pointStore{c.v}, p.m.root, &w)
	if err != nil && !isDamage(err) {
		return err
	}
	if err == nil && w.missing > 0 && try < 5 && c.v.ledger != nil {
		// Packs may have been moved since the refset was read.
		if err := c.v.catalog.refresh(ctx); err != nil {
			return err
		}
		if c.v.catalog.changes.Load() != changes {
			if set, err = c.v.refset(ctx, p.id); err != nil {
				return err
			}
			return c.tree(ctx, p, set, lost, try+1)
		}
	}
	for id := range w.nowhere {
		if _, known := lost.ids[id]; !known {
			lost.ids[id] = index.NoPack
		}
	}
	if err != nil {
		lost.cut = true
		c.damagedPoint(string(manifestName(p.id)), p.id, fmt.Errorf("tree of recovery point %s: %w", p.id, err))
		return nil
	}
	if w.missing > 0 {
		c.damagedPoint(string(refsetName(p.id, 1)), p.id,
			chunk.Damaged("refset of recovery point "+string(p.id), "%d contents are not in it, the first is %s", w.missing, w.first))
		return nil
	}
	used, err := w.used.Set(c.v.catalog.slots)
	if err != nil {
		return err
	}
	if more := refset.AndNot(set, used).Count(); more > 0 {
		c.damagedPoint(string(refsetName(p.id, 1)), p.id,
			chunk.Damaged("refset of recovery point "+string(p.id), "it names %d slots that nothing needs", more))
	}
	return nil
}

// treeCheck compares what a tree refers to with a refset.
type treeCheck struct {
	c       *check
	ctx     context.Context
	set     refset.Set
	used    *refset.Builder
	visited map[ID]bool // nodes and lists
	missing int         // contents that are not in the refset
	first   ID
	nowhere map[ID]bool // of them, those of which no place is known
}

// Node implements [tree.Visitor].
func (t *treeCheck) Node(_ chunk.Kind, id ID) (bool, error) {
	if t.visited[id] {
		return false, nil
	}
	t.visited[id] = true
	t.use(id)
	return true, nil
}

// Contents implements [tree.Visitor].
func (t *treeCheck) Contents(b []byte) error {
	for id := range ids(b) {
		t.use(id)
	}
	return t.ctx.Err()
}

// use notes the slots of the refset that hold a content: several, when other bundles of the refset hold it too.
func (t *treeCheck) use(id ID) {
	found := false
	t.c.v.findWhere(id, func(loc index.Location) bool {
		if t.set.Has(loc.Pack, int(loc.Slot)) {
			found = true
			t.used.Add(loc.Pack, int(loc.Slot))
		}
		return false
	})
	if !found {
		if t.missing++; t.missing == 1 {
			t.first = id
		}
		if _, ok := t.c.v.findWhere(id, func(index.Location) bool { return true }); !ok {
			t.nowhere[id] = true
		}
	}
}

// findWhere returns a readable place of a content that is accepted. Several may stand in one pack.
func (v *Vault) findWhere(id ID, accept func(index.Location) bool) (index.Location, bool) {
	states := *v.catalog.states.Load()
	for loc := range v.catalog.set.Places(id) {
		if int(loc.Pack) < len(states) && readable(states[loc.Pack]) && accept(loc) {
			return loc, true
		}
	}
	return index.Location{}, false
}
