package repo

import (
	"context"
	"errors"
	"fmt"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/index"
	"github.com/lockfast/lockfast/repo/refset"
	"github.com/lockfast/lockfast/repo/tree"
)

// allPacks is the end of the range of all packs.
const allPacks = ^uint32(0)

// parts adds what trees say to what refsets say: the sizes of files, and the parts of bundles. Slots have been added up.
func (a *account) parts(ctx context.Context) error {
	roots, unknown, err := a.roots(ctx)
	if err != nil {
		return err
	}
	tally := a.v.catalog.set.Tally()
	for _, root := range roots {
		tally.Begin()
		if err := a.v.nameAll(ctx, tally, root); err != nil {
			return a.broken(ctx, err)
		}
	}
	fixed, err := a.fixed(ctx, unknown)
	if err != nil {
		return err
	}
	for i, root := range roots {
		if a.sizes[i].UniqueParts, err = a.sole(ctx, tally, a.points[i], root, fixed); err != nil {
			return a.broken(ctx, err)
		}
	}
	for loc := range tally.Unnamed() {
		if a.live.Has(loc.Pack, int(loc.Slot)) && !a.whole.Has(loc.Pack, int(loc.Slot)) && !fixed.Has(loc.Pack, int(loc.Slot)) {
			a.usage.DeadPartBytes += int64(loc.PartLength)
			if a.v.catalog.isCold(loc.Pack) {
				a.usage.Cold.DeadPartBytes += int64(loc.PartLength)
			}
		}
	}
	return nil
}

// roots reads the manifests. unknown are points whose manifest is damaged; they have no root.
func (a *account) roots(ctx context.Context) (roots []ID, unknown []PointID, err error) {
	roots = make([]ID, len(a.points))
	for i, id := range a.points {
		m, err := a.v.readManifest(ctx, id)
		if err = missingIsDamage(err); isDamage(err) {
			if moved, merr := a.moved(ctx); moved || merr != nil {
				return nil, nil, fmt.Errorf("recovery point %s: %w", id, errors.Join(err, merr))
			}
			a.v.log.Warn("recovery point is measured without its manifest", "object", manifestName(id), "error", err)
			unknown = append(unknown, id)
			continue
		}
		if err != nil {
			return nil, nil, fmt.Errorf("recovery point %s: %w", id, err)
		}
		roots[i] = m.root
		a.sizes[i].Logical = m.stats.LogicalBytes
		a.usage.LogicalBytes += m.stats.LogicalBytes
		if m.warm != "" {
			a.usage.Cold.Points++
		}
	}
	return roots, unknown, nil
}

// fixed returns the slots of points whose trees are not known. Their bundles stay whole.
func (a *account) fixed(ctx context.Context, unknown []PointID) (refset.Set, error) {
	sets, err := a.refsets(ctx, unknown, 0, allPacks)
	return refset.UnionAll(sets...), err
}

// broken decides about a tree that cannot be read. If something moved meanwhile, the measure begins again. Else all bundles
// stay whole as long as that is so, as they do in a reclaim, and no part is dead.
func (a *account) broken(ctx context.Context, err error) error {
	if !isDamage(err) {
		return err
	}
	if moved, merr := a.moved(ctx); moved || merr != nil {
		return errors.Join(err, merr)
	}
	a.v.log.Warn("parts of bundles are not measured, because the tree of a recovery point cannot be read", "error", err)
	a.usage.DeadPartBytes, a.usage.Cold.DeadPartBytes = 0, 0
	for i := range a.sizes {
		a.sizes[i].UniqueParts = 0
	}
	return nil
}

// nameAll names everything that a tree refers to.
func (v *Vault) nameAll(ctx context.Context, t *index.Tally, root ID) error {
	return tree.Walk(ctx, pointStore{v}, root, namer{ctx, t.Name})
}

// namer is a visitor that hands every id to a function, and goes on below those for which that is true.
type namer struct {
	ctx  context.Context
	name func(ID) bool
}

// Node implements [tree.Visitor].
func (n namer) Node(_ chunk.Kind, id ID) (bool, error) { return n.name(id), n.ctx.Err() }

// Contents implements [tree.Visitor].
func (n namer) Contents(b []byte) error {
	for id := range ids(b) {
		n.name(id)
	}
	return n.ctx.Err()
}

// sole adds up the parts that only one point names, in bundles that stay without it.
func (a *account) sole(ctx context.Context, t *index.Tally, id PointID, root ID, fixed refset.Set) (n int64, err error) {
	sets, err := a.refsets(ctx, []PointID{id}, 0, allPacks)
	if err != nil {
		return 0, err
	}
	stays := func(loc index.Location) bool {
		no, slot := loc.Pack, int(loc.Slot)
		return a.live.Has(no, slot) && !fixed.Has(no, slot) && !(a.single.Has(no, slot) && sets[0].Has(no, slot))
	}
	t.Begin()
	err = a.v.soleParts(ctx, t, root, func(loc index.Location) {
		if stays(loc) {
			n += int64(loc.PartLength)
		}
	})
	return n, err
}

// soleParts calls found for every copy of the parts in a tree that no other owner of the tally names.
func (v *Vault) soleParts(ctx context.Context, t *index.Tally, root ID, found func(index.Location)) error {
	return tree.Walk(ctx, pointStore{v}, root, namer{ctx, func(id ID) bool {
		if !t.Sole(id) {
			return false
		}
		v.eachCopy(id, found)
		return true
	}})
}

// eachCopy calls found for every copy of a part, each once, however many segments describe it.
func (v *Vault) eachCopy(id ID, found func(index.Location)) {
	var seen []index.Location
	for loc := range v.catalog.set.Places(id) {
		if !loc.Part || !readable(v.catalog.row(loc.Pack).state) || known(seen, loc) {
			continue
		}
		seen = append(seen, loc)
		found(loc)
	}
}

// known reports whether another segment has described the same part.
func known(seen []index.Location, loc index.Location) bool {
	for _, x := range seen {
		if x.Pack == loc.Pack && x.Slot == loc.Slot && x.PartOffset == loc.PartOffset {
			return true
		}
	}
	return false
}
