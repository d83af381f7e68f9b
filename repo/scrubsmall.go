package repo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/lockfast/lockfast/blob"
)

// smallEvery is how long the small objects of a vault are left alone after a scrub of them began.
const smallEvery = 24 * time.Hour

// smallScrub is a scrub of all objects that are no packs, or the last one. The zero value is one that was never begun.
type smallScrub struct {
	began time.Time // by the ledger's clock
	left  []smallPart
	old   []DamageRecord  // that the ledger knew when it began
	found map[string]bool // damaged objects
}

// smallPart is a part of a scrub of small objects. What it was planned with may have changed since.
type smallPart struct {
	size int64 // bytes that it reads, as far as that is known before and matters
	read func(context.Context, *check) error
}

// scrubSmall goes on with the scrub of small objects, and begins one if it is time to.
func (c *check) scrubSmall(ctx context.Context, o ScrubOptions, now time.Time) error {
	s := &c.v.small
	if len(s.left) == 0 {
		if !s.began.IsZero() && now.Sub(s.began) < smallEvery {
			return nil
		}
		parts, err := c.smallParts(ctx)
		if err != nil {
			return err
		}
		*s = smallScrub{began: now, left: parts, old: slices.Clone(c.old), found: map[string]bool{}}
	}
	for len(s.left) > 0 && (o.Yield == nil || !o.Yield()) {
		began := time.Now()
		if err := s.left[0].read(ctx, c); err != nil {
			return err
		}
		size := s.left[0].size
		s.left = s.left[1:]
		if err := o.rest(ctx, size, began); err != nil {
			return err
		}
	}
	return nil
}

// smallParts plans a scrub of small objects. What may be away while all else is there, the cold packs, comes last.
func (c *check) smallParts(ctx context.Context) ([]smallPart, error) {
	var parts []smallPart
	add := func(size int64, read func(context.Context, *check) error) {
		parts = append(parts, smallPart{size, read})
	}
	add(0, func(ctx context.Context, c *check) error {
		return errors.Join(c.formats(ctx), c.roots(ctx), c.journal(ctx), c.vaultState(ctx), c.states(ctx))
	})
	states, err := c.v.stateGenerations(ctx, "p/")
	if err != nil {
		return nil, err
	}
	for ids := range slices.Chunk(slices.Sorted(maps.Keys(states)), surveyBatch) {
		add(0, func(ctx context.Context, c *check) error { return c.pointStates(ctx, ids, states) })
	}
	copyMaps, err := c.copyMaps(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range copyMaps {
		add(m.Size, func(ctx context.Context, c *check) error { return c.copyMap(ctx, m.Name) })
	}
	for _, o := range c.v.catalog.liveSegments() {
		add(o.Size, func(ctx context.Context, c *check) error { return c.segment(ctx, o.ID) })
	}
	if parts, err = c.rootParts(ctx, parts); err != nil {
		return nil, err
	}
	add(0, func(ctx context.Context, c *check) error { return c.names(ctx) })
	return parts, nil
}

// rootParts adds the reading of manifests and refsets.
func (c *check) rootParts(ctx context.Context, parts []smallPart) ([]smallPart, error) {
	points, err := c.pointIDs(ctx)
	if err != nil {
		return nil, err
	}
	refsets, sizes := map[PointID][]int{}, map[PointID]int64{}
	for info, err := range c.v.store.List(ctx, "f/") {
		if err != nil {
			return nil, fmt.Errorf("list refsets: %w", err)
		}
		if id, n, ok := parseRefsetName(info.Name); ok {
			refsets[id] = append(refsets[id], n)
			sizes[id] += info.Size
		}
	}
	for ids := range slices.Chunk(points, surveyBatch) {
		part := smallPart{read: func(ctx context.Context, c *check) error {
			return inBatches(ids, func(id PointID) (PointID, error) {
				return id, c.pointRoots(ctx, id, slices.Sorted(slices.Values(refsets[id])))
			}, func(PointID) error { return nil })
		}}
		for _, id := range ids {
			part.size += sizes[id]
		}
		parts = append(parts, part)
	}
	return parts, nil
}

// pointRoots reads the manifest and the refset of a recovery point, but not its tree.
func (c *check) pointRoots(ctx context.Context, id PointID, refsets []int) error {
	name := manifestName(id)
	m, err := c.v.readManifest(ctx, id)
	if err == nil {
		err = c.journaled(ctx, id, m.head)
	}
	if err == nil {
		name = refsetName(id, 1)
		err = c.v.takeRefset(ctx, id, refsets, func(_ PointID, n needs) error {
			_, err := c.v.currentOf(n)
			return err
		})
	}
	if err == nil || !isDamage(err) {
		return err
	}
	ids, lerr := c.pointIDs(ctx)
	if lerr != nil || !slices.Contains(ids, id) { // else it was deleted meanwhile
		return lerr
	}
	c.damaged(name, missingIsDamage(err))
	return nil
}

// finishSmall takes over what the scrub of small objects found, and drops records of what it found sound when it is through. Those
// about manifests and refsets may be about what they refer to, which it does not read: they go with their recovery point.
func (c *check) finishSmall(ctx context.Context) error {
	s := &c.v.small
	if s.found == nil {
		return nil
	}
	c.around()
	for name := range c.damages {
		s.found[name] = true
	}
	if len(s.left) > 0 {
		return nil
	}
	points, err := c.pointIDs(ctx)
	if err != nil {
		return err
	}
	gone := slices.DeleteFunc(s.old, func(d DamageRecord) bool {
		id, ofPoint := pointOf(blob.Name(d.Object))
		return !d.Pack.IsZero() || s.found[d.Object] || c.v.observed.has(blob.Name(d.Object)) || ofPoint && slices.Contains(points, id)
	})
	s.old, s.found = nil, nil
	if err := c.v.ledger.ClearDamage(ctx, gone); err != nil {
		return fmt.Errorf("record damage: %w", err)
	}
	return nil
}
