package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/lockfast/lockfast/blob"
)

// DeletePoint begins the deletion of a recovery point and removes its manifest and then its states durably, and its refset
// unless a session still needs it. Open readers and writers keep what they have. The row in the ledger is removed afterwards by
// Ledger.Remove, together with rows of the caller's own. Repeating it is harmless until then; after it, the error wraps
// [ErrNotFound]. Space comes back by Reclaim.
func (v *Vault) DeletePoint(ctx context.Context, id PointID) error {
	if err := v.mayWrite(ctx); err != nil {
		return fmt.Errorf("delete recovery point %s: %w", id, err)
	}
	if err := id.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if err := v.ledger.Delete(ctx, id); err != nil {
		return fmt.Errorf("delete recovery point: %w", err)
	}
	if err := v.deleteGenerations(ctx, "r/", id); err != nil {
		return fmt.Errorf("delete recovery point %s: %w", id, err)
	}
	if err := v.removeStates(ctx, id, 0); err != nil {
		return fmt.Errorf("delete recovery point %s: %w", id, err)
	}
	// No session can pin the point from now on.
	snapshot, err := v.ledger.Snapshot(ctx)
	if err != nil {
		return fmt.Errorf("delete recovery point %s: %w", id, err)
	}
	for _, s := range snapshot.Sessions {
		if s.Pin == id && s.State == SessionActive {
			return nil
		}
	}
	if err := v.deleteGenerations(ctx, "f/", id); err != nil {
		return fmt.Errorf("delete recovery point %s: %w", id, err)
	}
	return nil
}

// deleteGenerations removes all generations of an object of a recovery point. The first one goes even if no listing shows
// it any more.
func (v *Vault) deleteGenerations(ctx context.Context, prefix string, id PointID) error {
	generations, err := v.generations(ctx, prefix, id)
	if err != nil {
		return err
	}
	all := generations[id]
	if !slices.Contains(all, 1) {
		all = append(all, 1)
	}
	for _, n := range all {
		if err := v.store.Delete(ctx, generationName(prefix, id, n)); err != nil {
			return err
		}
	}
	return nil
}

// deleteUnlessRetained removes objects. kept reports whether the store retains one of them, which is for a later time.
func (v *Vault) deleteUnlessRetained(ctx context.Context, names []blob.Name) (kept bool, err error) {
	for _, name := range names {
		err := v.store.Delete(ctx, name)
		if errors.Is(err, blob.ErrRetained) {
			kept = true
		} else if err != nil {
			return kept, fmt.Errorf("remove %s: %w", name, err)
		} else {
			v.observed.forget([]blob.Name{name})
		}
	}
	return kept, nil
}

// deleteAll removes objects, several at once where that helps.
func (v *Vault) deleteAll(ctx context.Context, names []blob.Name) error {
	for _, name := range names {
		if err := v.store.Delete(ctx, name); err != nil {
			return fmt.Errorf("remove %s: %w", name, err)
		}
	}
	v.observed.forget(append([]blob.Name{}, names...))
	return nil
}
