package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/chunk"
)

// StateKeeper knows which states a vault should have, because it has what they say. The ledger does not: states are of
// whoever keeps the records of recovery points.
type StateKeeper interface {
	// WrittenStates returns the generations that are durable in the store, by recovery point; "" stands for the vault
	// itself. What is being deleted is not among them.
	WrittenStates(ctx context.Context) (map[PointID]uint64, error)
	// RewriteState makes a state durable anew, as a generation above one. It reports false for a state that there should
	// not be.
	RewriteState(ctx context.Context, point PointID, above uint64) (bool, error)
}

// missingStates returns damage for every state of which neither the generation that a keeper knows nor a higher one is
// there. k may be nil.
func (v *Vault) missingStates(ctx context.Context, k StateKeeper) (missing []Damage, err error) {
	if k == nil {
		return nil, nil
	}
	written, err := k.WrittenStates(ctx)
	if err != nil {
		return nil, fmt.Errorf("read which states were written: %w", err)
	}
	for _, prefix := range []string{"v/", "p/"} {
		there, err := v.stateGenerations(ctx, prefix)
		if err != nil {
			return nil, err
		}
		for point, generations := range there {
			if slices.Max(generations) >= written[point] {
				delete(written, point)
			}
		}
	}
	if len(written) == 0 {
		return nil, nil
	}
	now, err := k.WrittenStates(ctx) // without what was deleted meanwhile
	if err != nil {
		return nil, fmt.Errorf("read which states were written: %w", err)
	}
	for point := range written {
		n, ok := now[point]
		if !ok {
			continue
		}
		there, err := v.hasState(ctx, point, n)
		if err != nil {
			return nil, err
		}
		if name := string(stateName(point, n)); !there {
			missing = append(missing, Damage{Object: name, Err: chunk.Damaged(name, "it is missing")})
		}
	}
	return missing, nil
}

// hasState reports whether a generation of a state, or a higher one, is there.
func (v *Vault) hasState(ctx context.Context, point PointID, generation uint64) (bool, error) {
	there, err := v.stateGenerations(ctx, statePrefix(point))
	if err != nil {
		return false, err
	}
	if all := there[point]; len(all) > 0 && slices.Max(all) >= generation {
		return true, nil
	}
	for _, n := range []uint64{generation, generation + 1} { // a list may lack what is new
		_, err := v.store.Stat(ctx, stateName(point, n))
		if err == nil || !errors.Is(err, blob.ErrNotExist) {
			return err == nil, err
		}
	}
	return false, nil
}

// states notes the states that are missing.
func (c *check) states(ctx context.Context) error {
	missing, err := c.v.missingStates(ctx, c.o.States)
	for _, d := range missing {
		c.damaged(blob.Name(d.Object), d.Err)
	}
	return err
}

// rewritten has the keeper of states write a state anew that is damaged or missing. It reports false if nobody can.
func (r *repairing) rewritten(ctx context.Context, point PointID, generation uint64) (bool, error) {
	if r.o.States == nil {
		return false, nil
	}
	there, err := r.v.stateGenerations(ctx, statePrefix(point))
	if err != nil {
		return false, err
	}
	if all := there[point]; len(all) > 0 {
		generation = max(generation, slices.Max(all))
	}
	ok, err := r.o.States.RewriteState(ctx, point, generation)
	if err != nil {
		return false, fmt.Errorf("write %s anew: %w", stateName(point, generation), err)
	}
	return ok, nil
}
