package repo

import (
	"context"
	"errors"
	"fmt"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/seal"
)

// small removes damaged copy maps, and writes damaged states, format and key objects anew: states by what their keeper knows, else
// by what can still be read of them, the object itself by its parity or another generation. A claim that is missing is written again,
// one that is damaged is followed by another one.
func (r *repairing) small(ctx context.Context, damages []Damage) error {
	v, formats, keys := r.v, false, false
	if len(damages) > 0 {
		if err := v.mayWrite(ctx); err != nil {
			return err
		}
	}
	for _, d := range damages {
		name := blob.Name(d.Object)
		var mended bool
		var err error
		if point, n, ok := parseStateName(name); ok {
			if mended, err = r.rewritten(ctx, point, n); err == nil && !mended {
				mended, err = r.state(ctx, point, name)
			}
		} else if isMapName(name) {
			_, err = v.deleteUnlessRetained(ctx, []blob.Name{name}) // what it knew is read once more by the next copy
			mended = err == nil
		} else if formatGeneration(name) > 0 {
			if !formats {
				err = r.formats(ctx)
			}
			mended, formats = err == nil, true
			r.settled[d.Object] = mended
		} else if epoch, _, ok := parseKeyName(name); ok {
			if !keys {
				r.paired, err = r.keys(ctx)
			}
			mended, keys = err == nil && r.paired[epoch], true
			r.settled[d.Object] = mended
		} else if n, ok := parseClaimName(name); ok && n <= v.claim.Load() {
			mended, err = r.claim(ctx, n)
			r.settled[d.Object] = mended
		}
		if err != nil {
			return err
		}
		if mended {
			r.report.States++
		} else {
			r.report.Lost = append(r.report.Lost, d)
		}
	}
	return nil
}

// claim writes a claim again that is missing, or follows one that is damaged with another one. It is of the ledger, or older than one that is.
// It reports false if there is a newer one of another ledger by now.
func (r *repairing) claim(ctx context.Context, n uint64) (bool, error) {
	v, name, next := r.v, claimName(n), n
	if n == v.claim.Load() {
		identity, err := v.ledger.Identity(ctx)
		if err != nil {
			return false, fmt.Errorf("read identity of ledger: %w", err)
		}
		if _, err := v.store.Stat(ctx, name); err == nil {
			next = n + 1
		} else if !errors.Is(err, blob.ErrNotExist) {
			return false, fmt.Errorf("look for %s: %w", name, err)
		}
		err = v.putClaim(ctx, next, identity)
		if err != nil && !errors.Is(err, blob.ErrExist) {
			return false, err
		}
		made := err == nil
		err = v.checkClaim(ctx, next, identity) // another ledger may have been faster
		if made && unreadable(err) {
			err = errors.Join(err, v.store.Delete(context.WithoutCancel(ctx), claimName(next)))
		}
		if err != nil {
			return false, err
		}
		if err := v.stillClaimed(ctx); err != nil { // which notes the new number
			return false, err
		}
	}
	if n == v.claim.Load() {
		return true, nil
	}
	_, err := v.deleteUnlessRetained(ctx, []blob.Name{name})
	return err == nil, err
}

// state seals a state again as its next generation and removes the others. It reports false if no generation can be read.
func (r *repairing) state(ctx context.Context, point PointID, damaged blob.Name) (mended bool, err error) {
	v := r.v
	for {
		if _, err := v.store.Stat(ctx, damaged); errors.Is(err, blob.ErrNotExist) {
			return true, nil // a newer one was written, or the point was deleted
		} else if err != nil {
			return false, fmt.Errorf("look for %s: %w", damaged, err)
		}
		t, highest, encode, err := v.nextState(ctx, point)
		if err != nil || encode == nil {
			return false, err
		}
		if err := v.mayWrite(ctx); err != nil {
			return false, err
		}
		_, err = v.putSealed(ctx, t, stateName(point, highest+1), encode(highest+1))
		if errors.Is(err, blob.ErrExist) {
			continue // somebody has just written another one, which counts
		}
		if err != nil {
			return false, err
		}
		return true, v.removeStates(ctx, point, highest+1)
	}
}

// nextState returns what encodes the newest state that can be read as another generation, nil if there is none.
func (v *Vault) nextState(ctx context.Context, point PointID) (t seal.Type, highest uint64, encode func(uint64) []byte, err error) {
	if point == "" {
		f, err := v.VaultState(ctx)
		if err == nil && f.State != nil {
			encode = func(n uint64) []byte {
				f.State.Generation = n
				return f.State.encode(v.UUID())
			}
		}
		return seal.TypeVaultState, f.Highest, encode, err
	}
	f, err := v.PointState(ctx, point)
	if err == nil && f.State != nil {
		encode = func(n uint64) []byte {
			f.State.Generation = n
			return f.State.encode(v.UUID(), point)
		}
	}
	return seal.TypePointState, f.Highest, encode, err
}

// formats writes the newest format object that can be read as further generations until there are two, and then removes those
// that cannot.
func (r *repairing) formats(ctx context.Context) error {
	v := r.v
	stock, err := v.formats(ctx)
	if err != nil || len(stock.bad) == 0 && stock.sound >= copies {
		return err
	}
	if err := v.mayWrite(ctx); err != nil {
		return err
	}
	for n := stock.sound; n < copies; n++ {
		stock.last++
		if err := v.putCopy(ctx, stock.newest, stock.last); err != nil {
			return err
		}
	}
	_, err = v.deleteUnlessRetained(ctx, stock.bad)
	return err
}
