package repo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

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
	if err := c.formats(ctx); err != nil || c.o.Level < CheckTrees {
		return err
	}
	if err := c.vaultState(ctx); err != nil {
		return err
	}
	copyMaps, err := c.copyMaps(ctx)
	if err != nil {
		return err
	}
	for _, m := range copyMaps {
		if err := c.copyMap(ctx, m.Name); err != nil {
			return err
		}
	}
	states, err := c.v.stateGenerations(ctx, "p/")
	if err != nil {
		return err
	}
	return c.pointStates(ctx, slices.Sorted(maps.Keys(states)), states)
}

// formats reads format objects, and looks again at what was damaged when the vault was opened.
func (c *check) formats(ctx context.Context) error {
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
	return nil
}

// vaultState reads the state of the vault.
func (c *check) vaultState(ctx context.Context) error {
	found, err := c.v.VaultState(ctx)
	if err != nil {
		return err
	}
	c.notedAll(found.Damage)
	return nil
}

// pointStates reads the states of some recovery points.
func (c *check) pointStates(ctx context.Context, ids []PointID, states map[PointID][]uint64) error {
	return inBatches(ids, func(id PointID) (Found[PointRecord], error) {
		return c.v.newestPointState(ctx, id, states[id])
	}, func(f Found[PointRecord]) error {
		c.notedAll(f.Damage)
		return nil
	})
}

// pair notes that there is only one format object. The first alone is what a vault has that was not opened for writing since two are
// usual.
func (c *check) pair(ctx context.Context, names []blob.Name) error {
	if len(names) != 1 {
		return nil // none at all is noted with the other roots
	}
	n := formatGeneration(names[0])
	if n == 1 && c.v.ledger == nil {
		return nil
	}
	alone, err := c.v.alone(ctx, n)
	if err != nil || !alone {
		return err
	}
	missing := seal.Format{Generation: uint32(n - 1)}
	if n == 1 {
		missing.Generation = 2
	}
	c.damaged(blob.Name(missing.Name()), chunk.Damaged(missing.Name(), "it is missing, and %s is the only one", names[0]))
	return nil
}

// copyMaps lists the copy maps.
func (c *check) copyMaps(ctx context.Context) (list []blob.Info, err error) {
	for info, err := range c.v.store.List(ctx, "t/") {
		if err != nil {
			return nil, fmt.Errorf("list copy maps: %w", err)
		}
		if isMapName(info.Name) {
			list = append(list, info)
		}
	}
	return list, nil
}

// copyMap reads a copy map.
func (c *check) copyMap(ctx context.Context, name blob.Name) error {
	pairs, err := c.v.getSealed(ctx, seal.TypeCopyMap, name, maxSmallObject)
	if err == nil {
		err = checkPairs(name, pairs)
	}
	return c.noted(name, err)
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

// unnamedError is an error whose text leaves out the object that the error is about.
type unnamedError struct {
	text string
	err  error
}

func (e *unnamedError) Error() string { return e.text }
func (e *unnamedError) Unwrap() error { return e.err }

// withoutName returns an error about an object without the object's name, for where that stands before it.
func withoutName(name blob.Name, err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if d, ok := errors.AsType[*chunk.Damage](err); ok && d.Object == string(name) {
		text = "damaged: " + d.What
	} else if errors.Is(err, blob.ErrNotExist) && strings.Contains(text, string(name)) {
		text = "damaged: it is missing"
	} else if rest, ok := strings.CutPrefix(text, string(name)); ok && strings.IndexAny(rest, ": ") == 0 {
		text = strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(rest, ":"), " "), "is ")
	}
	if text == err.Error() {
		return err
	}
	return &unnamedError{text, err}
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
