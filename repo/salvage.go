package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/index"
	"github.com/lockfast/lockfast/repo/pack"
	"github.com/lockfast/lockfast/repo/parity"
	"github.com/lockfast/lockfast/repo/seal"
)

// observed is the damage that reads met and got around: by parity, or because what is damaged follows from other objects.
// Nobody was given wrong bytes; the objects wait for [Vault.Repair].
type observed struct {
	mu      sync.Mutex
	damages map[blob.Name]*Damage // guarded by mu
}

// note notes damage and reports whether it is new.
func (o *observed) note(name blob.Name, err error, points ...PointID) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	d, known := o.damages[name], true
	if d == nil {
		if o.damages == nil {
			o.damages = map[blob.Name]*Damage{}
		}
		d, known = &Damage{Object: string(name), Err: withoutName(name, err)}, false
		o.damages[name] = d
	}
	for _, id := range points {
		if !slices.Contains(d.Points, id) {
			d.Points = append(d.Points, id)
		}
	}
	return !known
}

func (o *observed) has(name blob.Name) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.damages[name] != nil
}

// forget drops objects that are gone; nil means all.
func (o *observed) forget(names []blob.Name) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if names == nil {
		o.damages = nil
	}
	for _, name := range names {
		delete(o.damages, name)
	}
}

func (o *observed) all() []Damage {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []Damage
	for _, name := range slices.Sorted(maps.Keys(o.damages)) {
		out = append(out, *o.damages[name])
	}
	return out
}

// Observed returns the damage that reads met and got around since the vault was opened or checked, ascending by object.
func (v *Vault) Observed() []Damage { return v.observed.all() }

// around notes damage that a read got around, also in the ledger, so that it is known after a restart and to others.
func (v *Vault) around(name blob.Name, err error, points ...PointID) {
	if v.observed.note(name, err, points...) {
		if v.ledger != nil {
			v.record(name, err)
		}
		v.log.Warn("damage was got around and has to be repaired", "object", name, "error", err)
		if v.opts.OnDamage != nil {
			v.opts.OnDamage(string(name), err)
		}
	}
}

// recordPatience is how long the ledger may take to note damage.
const recordPatience = 5 * time.Second

// record notes damage in the ledger. No read fails because that fails; what is not noted is met again.
func (v *Vault) record(name blob.Name, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), recordPatience)
	defer cancel()
	d := DamageRecord{Object: string(name), Slot: WholeObject, Reason: withoutName(name, err).Error()}
	if _, id, perr := pack.ParseName(d.Object); perr == nil {
		d.Pack = ID(id)
	}
	if rerr := v.ledger.RecordDamage(ctx, []DamageRecord{d}); rerr != nil {
		v.log.Warn("damage cannot be recorded", "object", name, "error", rerr)
	}
}

// openSealed opens a sealed object that was read as b. What its parity can restore is restored.
func (v *Vault) openSealed(ctx context.Context, t seal.Type, name blob.Name, b []byte) ([]byte, error) {
	plain, err := withKeys(ctx, v, func(k *seal.Keys) ([]byte, error) { return k.Open(t, string(name), b) })
	if err == nil && !v.format.ObjectParity() {
		return plain, nil
	}
	if err == nil {
		if _, perr := parity.CheckObject(b); perr != nil {
			v.around(name, fmt.Errorf("%s: %w", name, perr))
		}
		return plain, nil
	}
	err = objectError(name, err)
	if !v.format.ObjectParity() {
		return nil, err
	}
	fixed, perr := parity.RepairObject(b)
	if perr != nil {
		return nil, err
	}
	plain, perr = withKeys(ctx, v, func(k *seal.Keys) ([]byte, error) { return k.Open(t, string(name), fixed) })
	if perr != nil {
		return nil, err
	}
	v.around(name, err)
	return plain, nil
}

// mended is the last pack that its parity restored. Many slots of it may be wanted one after the other.
type mended struct {
	mu   sync.Mutex
	name blob.Name // guarded by mu
	b    []byte    // guarded by mu; not changed any more
}

// mend reads a whole pack and restores it from its parity. The result is shared.
func (v *Vault) mend(ctx context.Context, name blob.Name) ([]byte, error) {
	if !v.format.PackParity() {
		return nil, fmt.Errorf("%s: %w: it has no parity", name, ErrDamaged)
	}
	v.mended.mu.Lock()
	defer v.mended.mu.Unlock()
	if v.mended.name == name {
		return v.mended.b, nil
	}
	b, err := readWhole(ctx, v.store, name, 1<<32)
	if err != nil {
		return nil, err
	}
	fixed, changed, err := pack.Repair(string(name), b)
	if err == nil && !changed {
		err = fmt.Errorf("%s: %w: what its parity covers is as it was written", name, ErrDamaged)
	}
	if err != nil {
		return nil, err
	}
	v.mended.name, v.mended.b = name, fixed
	return fixed, nil
}

// mendTrailer opens the trailer of a pack with the help of its parity; cause says why that is needed.
func (v *Vault) mendTrailer(ctx context.Context, r packRow, cause error) (*pack.Pack, error) {
	name := packName(r.kind, r.id)
	b, err := v.mend(ctx, name)
	if err != nil {
		return nil, cause
	}
	fetch := func(_ context.Context, off, n int64) ([]byte, error) { return bytes.Clone(b[off : off+n]), nil }
	p, err := v.openTrailer(ctx, r, int64(len(b)), fetch)
	if err != nil {
		return nil, cause
	}
	v.around(name, cause)
	return p, nil
}

// mendSlot opens and decodes a slot with the help of its pack's parity; cause says why that is needed.
func (v *Vault) mendSlot(ctx context.Context, loc index.Location, cause error) ([]byte, error) {
	info, ok := v.catalog.set.Pack(loc.Pack)
	if !ok || errors.Is(cause, blob.ErrNotExist) {
		return nil, cause
	}
	b, err := v.mend(ctx, blob.Name(info.Name()))
	if err != nil || uint64(loc.Offset)+uint64(loc.Stored) > uint64(len(b)) {
		return nil, cause
	}
	plain, err := v.openSlot(info, loc, bytes.Clone(b[loc.Offset:loc.Offset+loc.Stored]), nil)
	if err != nil {
		return nil, cause
	}
	return plain, nil
}

// mendContent is readContent with the help of parity.
func (v *Vault) mendContent(ctx context.Context, id ID, loc index.Location, cause error) ([]byte, error) {
	plain, err := v.mendSlot(ctx, loc, cause)
	if err != nil {
		return nil, err
	}
	if loc.Part {
		whole := plain
		if plain, err = v.part(id, loc, whole); err == nil {
			v.cache.put(loc.Chunk, whole)
		}
	} else {
		err = v.verify(loc, plain)
	}
	if err != nil {
		return nil, cause
	}
	row := v.catalog.row(loc.Pack)
	v.around(packName(row.kind, row.id), cause)
	return plain, nil
}
