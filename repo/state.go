package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/seal"
)

// Found is what the state objects of a vault or a recovery point say. It is the highest generation that can be read.
type Found[S any] struct {
	State   *S      // nil if there is none, or none can be read
	Highest uint64  // generation of all, readable or not: the next one is higher
	Damage  []error // of generations above that of State, each wraps [ErrDamaged]
}

// stateName returns the name of a generation of a vault's state, or with a point of that point's state.
func stateName(point PointID, generation uint64) blob.Name {
	if point == "" {
		return blob.Name(fmt.Sprintf("v/%d", generation))
	}
	return blob.Name(fmt.Sprintf("p/%s-%d", point, generation))
}

// parseStateName is the inverse of stateName.
func parseStateName(name blob.Name) (point PointID, generation uint64, ok bool) {
	number, ofVault := strings.CutPrefix(string(name), "v/")
	if !ofVault {
		rest, ofPoint := strings.CutPrefix(string(name), "p/")
		id, digits, dashed := strings.Cut(rest, "-")
		if point, number = PointID(id), digits; !ofPoint || !dashed || point.Check() != nil {
			return "", 0, false
		}
	}
	generation, err := strconv.ParseUint(number, 10, 63)
	return point, generation, err == nil && generation > 0 && strconv.FormatUint(generation, 10) == number
}

// stateGenerations lists the generations of states whose names begin with a prefix, ascending, by point.
func (v *Vault) stateGenerations(ctx context.Context, prefix string) (map[PointID][]uint64, error) {
	out := map[PointID][]uint64{}
	for info, err := range v.store.List(ctx, prefix) {
		if err != nil {
			return nil, fmt.Errorf("list states: %w", err)
		}
		if point, n, ok := parseStateName(info.Name); ok {
			out[point] = append(out[point], n)
		}
	}
	for _, generations := range out {
		slices.Sort(generations)
	}
	return out, nil
}

// probeStates adds generations that a list does not show yet: those that follow the highest one that it shows.
func (v *Vault) probeStates(ctx context.Context, point PointID, generations map[PointID][]uint64) error {
	list := generations[point]
	next := uint64(1)
	if len(list) > 0 {
		next = list[len(list)-1] + 1
	}
	for ; ; next++ {
		_, err := v.store.Stat(ctx, stateName(point, next))
		if errors.Is(err, blob.ErrNotExist) {
			generations[point] = list
			return nil
		}
		if err != nil {
			return fmt.Errorf("look for states: %w", err)
		}
		list = append(list, next)
	}
}

// newestState reads the highest generation that can be read.
func newestState[S any](generations []uint64, read func(generation uint64) (S, error)) (f Found[S], err error) {
	for _, n := range slices.Backward(generations) {
		f.Highest = max(f.Highest, n)
		s, err := read(n)
		switch {
		case err == nil:
			f.State = &s
			return f, nil
		case errors.Is(err, blob.ErrNotExist): // removed meanwhile: a higher one is there, or the point is gone
		case errors.Is(err, ErrDamaged):
			f.Damage = append(f.Damage, err)
		default:
			return f, err
		}
	}
	return f, nil
}

// VaultState reads what the state objects say of the vault.
func (v *Vault) VaultState(ctx context.Context) (Found[VaultRecord], error) {
	generations, err := v.stateGenerations(ctx, "v/")
	if err == nil {
		err = v.probeStates(ctx, "", generations)
	}
	if err != nil {
		return Found[VaultRecord]{}, err
	}
	return newestState(generations[""], func(n uint64) (VaultRecord, error) {
		name := stateName("", n)
		plain, err := v.getSealed(ctx, seal.TypeVaultState, name, maxSmallObject)
		if err != nil {
			return VaultRecord{}, err
		}
		return decodeVaultRecord(name, v.UUID(), n, plain)
	})
}

// PointState reads what the state objects say of a recovery point.
func (v *Vault) PointState(ctx context.Context, id PointID) (Found[PointRecord], error) {
	generations, err := v.stateGenerations(ctx, statePrefix(id))
	if err == nil {
		err = v.probeStates(ctx, id, generations)
	}
	if err != nil {
		return Found[PointRecord]{}, err
	}
	return v.newestPointState(ctx, id, generations[id])
}

func (v *Vault) newestPointState(ctx context.Context, id PointID, generations []uint64) (Found[PointRecord], error) {
	return newestState(generations, func(n uint64) (PointRecord, error) {
		name := stateName(id, n)
		plain, err := v.getSealed(ctx, seal.TypePointState, name, maxSmallObject)
		if err != nil {
			return PointRecord{}, err
		}
		return decodePointRecord(name, v.UUID(), id, n, plain)
	})
}

// PutVaultState makes a state of the vault durable as generation s.Generation or, if that is taken by something else, as a
// higher one, which it returns; then it removes the lower ones. The error wraps [ErrClaimed] when the vault has been
// claimed by another ledger.
func (v *Vault) PutVaultState(ctx context.Context, s VaultRecord) (generation uint64, err error) {
	return v.putState(ctx, seal.TypeVaultState, "", s.Generation, func(n uint64) []byte {
		s.Generation = n
		return s.encode(v.UUID())
	})
}

// PutPointState is [Vault.PutVaultState] for a recovery point. A point that is a parent has a random id.
func (v *Vault) PutPointState(ctx context.Context, id PointID, s PointRecord) (generation uint64, err error) {
	if err := id.Check(); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return v.putState(ctx, seal.TypePointState, id, s.Generation, func(n uint64) []byte {
		s.Generation = n
		return s.encode(v.UUID(), id)
	})
}

func (v *Vault) putState(ctx context.Context, t seal.Type, point PointID, n uint64, encode func(n uint64) []byte) (uint64, error) {
	if err := v.mayWrite(ctx); err != nil {
		return 0, fmt.Errorf("write %s: %w", stateName(point, n), err)
	}
	for {
		name := stateName(point, n)
		_, err := v.putSealed(ctx, t, name, encode(n))
		if err == nil {
			break
		}
		if !errors.Is(err, blob.ErrExist) {
			return 0, err
		}
		if plain, err := v.getSealed(ctx, t, name, maxSmallObject); err == nil && bytes.Equal(plain, encode(n)) {
			break // an earlier answer was lost
		} else if err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, blob.ErrNotExist) {
			return 0, err
		}
		generations, err := v.stateGenerations(ctx, statePrefix(point))
		if err != nil {
			return 0, err
		}
		n++
		if all := generations[point]; len(all) > 0 {
			n = max(n, all[len(all)-1]+1)
		}
	}
	return n, v.removeStates(ctx, point, n)
}

func statePrefix(point PointID) string {
	if point == "" {
		return "v/"
	}
	return "p/" + string(point) + "-"
}

// removeStates removes the generations of a state below one, all if that is 0.
func (v *Vault) removeStates(ctx context.Context, point PointID, below uint64) error {
	generations, err := v.stateGenerations(ctx, statePrefix(point))
	if err != nil {
		return err
	}
	var gone []blob.Name
	for _, n := range generations[point] {
		if n < below || below == 0 {
			gone = append(gone, stateName(point, n))
		}
	}
	if below == 0 { // a list may not show the newest yet, and nobody will know the id again
		highest := uint64(0)
		if all := generations[point]; len(all) > 0 {
			highest = all[len(all)-1]
		}
		for n := range uint64(2) {
			gone = append(gone, stateName(point, highest+1+n))
		}
	}
	return v.deleteAll(ctx, gone)
}

// DropPointState removes all states of a point that has no manifest, durably. Of others they go with the manifest.
func (v *Vault) DropPointState(ctx context.Context, id PointID) error {
	if err := v.mayWrite(ctx); err != nil {
		return fmt.Errorf("remove state of %s: %w", id, err)
	}
	return v.removeStates(ctx, id, 0)
}

// Changeable is nil if the vault can be changed now. Its error wraps [ErrClaimed] if another ledger has claimed it since it was
// opened; who changes it later than now may still get that error.
func (v *Vault) Changeable(ctx context.Context) error { return v.mayWrite(ctx) }

// mayWrite refuses to change a vault that was opened for reading, or that another ledger has claimed since.
func (v *Vault) mayWrite(ctx context.Context) error {
	if err := v.writable(); err != nil {
		return err
	}
	if err := v.stillClaimed(ctx); err != nil {
		return err
	}
	return v.lookForKeys(ctx, 0)
}

// orphanedStates returns the names of states that belong to no recovery point: of ids that are over, and of those that have
// no manifest although they are no parents. What cannot be read is left alone.
func (v *Vault) orphanedStates(ctx context.Context, states map[PointID][]uint64, over, bare func(PointID) bool) ([]blob.Name, error) {
	var names []blob.Name
	for id, generations := range states {
		if !over(id) {
			if !bare(id) {
				continue
			}
			found, err := v.newestPointState(ctx, id, generations)
			if err != nil {
				return nil, err
			}
			if found.State == nil || found.State.Parent {
				continue
			}
		}
		for _, n := range generations {
			names = append(names, stateName(id, n))
		}
	}
	return names, nil
}

// surveyBatch is how many points are read ahead of whoever is told of them, surveyReaders how many at once.
const (
	surveyBatch   = 128
	surveyReaders = 8
)

// inBatches calls read for every item, several at once, and then told, in their order.
func inBatches[T, R any](items []T, read func(T) (R, error), told func(R) error) error {
	for some := range slices.Chunk(items, surveyBatch) {
		results := make([]R, len(some))
		var g errgroup.Group
		g.SetLimit(surveyReaders)
		for i, item := range some {
			g.Go(func() (err error) {
				results[i], err = read(item)
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		for _, r := range results {
			if err := told(r); err != nil {
				return err
			}
		}
	}
	return nil
}
