package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/seal"
)

// sameKeys reports whether two key objects say the same: they differ in their generation at most.
func sameKeys(a, b seal.KeyRecord) bool {
	b.Generation = a.Generation
	return bytes.Equal(a.Encode(), b.Encode())
}

// copyKeyObject writes a key object once more, as a further generation, which no wrapper binds. When the one that it was made of
// is gone afterwards, somebody wraps or shreds the keys, and has not seen the new one: then that goes too, and the error wraps
// [ErrBusy].
func copyKeyObject(ctx context.Context, s blob.Store, r seal.KeyRecord, generation uint32) error {
	from := blob.Name(r.Name())
	r.Generation = generation
	name := blob.Name(r.Name())
	if err := putBytes(ctx, s, name, r.Encode()); err != nil {
		return err
	}
	_, err := s.Stat(ctx, from)
	if err == nil {
		return nil
	}
	if errors.Is(err, blob.ErrNotExist) {
		err = fmt.Errorf("%w: %s was removed meanwhile", ErrBusy, from)
	}
	return errors.Join(fmt.Errorf("write %s: %w", name, err), s.Delete(context.WithoutCancel(ctx), name))
}

// pairKeys writes a second copy of key objects that are the only ones of their epoch, as they were in vaults made by earlier
// versions. The vault can be used without.
func (v *Vault) pairKeys(ctx context.Context) {
	for _, r := range v.ring.Load().lone {
		err := copyKeyObject(ctx, v.store, r, r.Generation+1)
		if err != nil && !errors.Is(err, blob.ErrExist) {
			v.log.Warn("key object has no second copy", "vault", fmt.Sprintf("%x", v.format.UUID), "object", r.Name(), "error", err)
		}
	}
}

// partner is the generation that is written together with another one, if none was ever written for a repair.
func partner(generation uint32) uint32 {
	if generation%2 == 1 {
		return generation + 1
	}
	return generation - 1
}

// ownKeys returns those key objects that are sound and hold the keys with which the vault was opened, the highest generation first.
func (v *Vault) ownKeys(epoch uint32, list []keyObject) []keyObject {
	return sameDomain(list, v.format.UUID, v.ring.Load().records[epoch].Domain)
}

// paired reports whether any two of a list say the same.
func paired(list []keyObject) bool {
	for i, a := range list {
		if slices.ContainsFunc(list[i+1:], func(b keyObject) bool { return sameKeys(a.KeyRecord, b.KeyRecord) }) {
			return true
		}
	}
	return false
}

// keys looks for the key objects and, from [CheckHeads] on, at them. Of a vault that is open for writing it notes also what there is no
// second copy of: another vault may be of an earlier version.
func (c *check) keys(ctx context.Context) error {
	if err := c.v.lookForKeys(ctx, 0); err != nil {
		return err
	}
	all, err := listKeyObjects(ctx, c.v.store, c.v.keys().Highest())
	if err != nil {
		return err
	}
	for epoch := uint32(1); epoch <= c.v.keys().Highest(); epoch++ {
		list, damaged := all[epoch], false
		for _, o := range list {
			damaged = damaged || o.err != nil
			if o.err != nil && c.o.Level >= CheckHeads {
				c.damaged(blob.Name(o.Name()), o.err)
			}
		}
		if len(list) == 0 {
			name := seal.KeyRecord{Epoch: epoch, Generation: 1}.Name()
			c.damaged(blob.Name(name), chunk.Damaged(name, "it is missing"))
		}
		own := c.v.ownKeys(epoch, list)
		if damaged || len(own) == 0 || paired(own) || c.v.ledger == nil {
			continue
		}
		missing := seal.KeyRecord{Epoch: own[0].Epoch, Generation: partner(own[0].Generation)}.Name()
		c.damaged(blob.Name(missing), chunk.Damaged(missing, "it is missing, and %s is the only one", own[0].Name()))
	}
	return nil
}

// keys writes key objects as further generations until there are two of each epoch that say the same, and then removes those that
// cannot be read. An epoch of which nothing is left is not among those that are mended.
func (r *repairing) keys(ctx context.Context) (mended map[uint32]bool, err error) {
	for range 3 {
		mended, err = r.pairs(ctx)
		if !errors.Is(err, blob.ErrExist) && !errors.Is(err, ErrBusy) {
			return mended, err
		}
	}
	return mended, err
}

func (r *repairing) pairs(ctx context.Context) (mended map[uint32]bool, err error) {
	all, err := listKeyObjects(ctx, r.v.store, r.v.keys().Highest())
	if err != nil {
		return nil, err
	}
	mended = map[uint32]bool{}
	for _, epoch := range slices.Sorted(maps.Keys(r.v.ring.Load().records)) {
		if mended[epoch], err = r.pair(ctx, epoch, all[epoch]); err != nil {
			return nil, err
		}
	}
	return mended, nil
}

// pair looks after the key objects of one epoch.
func (r *repairing) pair(ctx context.Context, epoch uint32, list []keyObject) (mended bool, err error) {
	v := r.v
	from, sound := v.ring.Load().records[epoch], 0
	if own := v.ownKeys(epoch, list); len(own) > 0 {
		from = own[0].KeyRecord
		for _, o := range own {
			if sameKeys(o.KeyRecord, from) {
				sound++
			}
		}
	} else if !slices.ContainsFunc(list, func(o keyObject) bool { return o.Generation == from.Generation }) {
		return false, nil // what opened the vault was removed: its keys were wrapped anew, or destroyed
	}
	if err := v.mayWrite(ctx); err != nil {
		return false, err
	}
	highest := list[0].Generation
	for ; sound < copies; sound++ {
		highest++
		if err := copyKeyObject(ctx, v.store, from, highest); err != nil {
			return false, err
		}
		o, err := readKeyObject(ctx, v.store, epoch, highest)
		if err == nil && o.err == nil && !sameKeys(o.KeyRecord, from) {
			err = chunk.Damaged(o.Name(), "it is not what was written")
		}
		if err := errors.Join(err, o.err); err != nil {
			return false, fmt.Errorf("read back: %w", err)
		}
	}
	var bad []blob.Name
	for _, o := range list {
		if errors.Is(o.err, ErrDamaged) {
			bad = append(bad, blob.Name(o.Name()))
		}
	}
	_, err = v.deleteUnlessRetained(ctx, bad)
	return err == nil, err
}
