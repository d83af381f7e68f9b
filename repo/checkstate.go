package repo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/seal"
)

// small reads format objects and, from [CheckTrees] on, copy maps and states: all generations of those, so that damage is known
// while there still is an older one that can be read.
func (c *check) small(ctx context.Context) error {
	if c.o.Level < CheckHeads {
		return nil
	}
	names, err := formatGenerations(ctx, c.v.store)
	if err != nil {
		return err
	}
	for _, name := range names {
		_, err := c.v.readFormat(ctx, name)
		if err := c.noted(name, err); err != nil {
			return err
		}
	}
	if err := c.pair(ctx, names); err != nil {
		return err
	}
	for _, d := range c.v.opening {
		if _, _, key := parseKeyName(objectOf(d)); key || formatGeneration(objectOf(d)) > 0 {
			continue // as it is now it was read above
		}
		_, err := c.v.store.Stat(ctx, objectOf(d))
		if errors.Is(err, blob.ErrNotExist) && objectOf(d) != unnamed {
			continue // it was repaired since
		}
		c.damaged(objectOf(d), d)
	}
	if c.o.Level < CheckTrees {
		return nil
	}
	vault, err := c.v.VaultState(ctx)
	if err != nil {
		return err
	}
	c.notedAll(vault.Damage)
	if err := c.maps(ctx); err != nil {
		return err
	}
	states, err := c.v.stateGenerations(ctx, "p/")
	if err != nil {
		return err
	}
	return inBatches(slices.Sorted(maps.Keys(states)), func(id PointID) (Found[PointRecord], error) {
		return c.v.newestPointState(ctx, id, states[id])
	}, func(f Found[PointRecord]) error {
		c.notedAll(f.Damage)
		return nil
	})
}

// pair notes that a format object is missing before the only one there is. The first alone is what a vault has whose creation was cut.
func (c *check) pair(ctx context.Context, names []blob.Name) error {
	if len(names) != 1 || formatGeneration(names[0]) == 1 {
		return nil // none at all is noted with the other roots
	}
	missing := seal.Format{Generation: uint32(formatGeneration(names[0]) - 1)}
	_, err := c.v.store.Stat(ctx, blob.Name(missing.Name())) // a list may lack what is new
	if errors.Is(err, blob.ErrNotExist) {
		c.damaged(blob.Name(missing.Name()), chunk.Damaged(missing.Name(), "it is missing, and %s is the only one", names[0]))
		return nil
	}
	return err
}

// maps reads copy maps.
func (c *check) maps(ctx context.Context) error {
	for info, err := range c.v.store.List(ctx, "t/") {
		if err != nil {
			return fmt.Errorf("list copy maps: %w", err)
		}
		if !isMapName(info.Name) {
			continue
		}
		pairs, err := c.v.getSealed(ctx, seal.TypeCopyMap, info.Name, maxSmallObject)
		if err == nil {
			err = checkPairs(info.Name, pairs)
		}
		if err := c.noted(info.Name, err); err != nil {
			return err
		}
	}
	return nil
}

func (c *check) notedAll(damage []error) {
	for _, d := range damage {
		c.damaged(objectOf(d), d)
	}
}

// unnamed stands for an object of which an error does not say the name.
const unnamed blob.Name = "an object"

// objectOf returns the name of the object that an error of damage is about.
func objectOf(err error) blob.Name {
	if d, ok := errors.AsType[*chunk.Damage](err); ok {
		return blob.Name(d.Object)
	}
	return unnamed
}

// noted notes damage of an object; what went away meanwhile is none.
func (c *check) noted(name blob.Name, err error) error {
	switch {
	case err == nil, errors.Is(err, blob.ErrNotExist):
		return nil
	case isDamage(err):
		c.damaged(name, err)
		return nil
	}
	return err
}
