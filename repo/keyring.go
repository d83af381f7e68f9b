package repo

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/seal"
)

// keyring is the keys of a vault, and what they were opened from. It is not changed any more; keys of later epochs make a new one.
type keyring struct {
	*seal.Keys
	secrets map[uint32]seal.Secret // vault keys by epoch
	domain  seal.Secret
	records map[uint32]seal.KeyRecord // those that opened it, by epoch
	lone    []seal.KeyRecord          // those of them beside which there was no other one of their epoch
	damage  []error                   // of key objects, passed over
}

// readKeyring opens the keys of every epoch but those that are known already, from a keyring of the same vault or nil. An epoch of which
// all key objects are damaged is passed over, as one that has none. New objects are sealed under the highest epoch that has two key objects
// which say the same (docs/format.md section 5.4). named is an epoch that there should be, also if a list does not show it.
func readKeyring(ctx context.Context, s blob.Store, k KeyWrapper, uuid [16]byte, known *keyring, named uint32) (*keyring, error) {
	all, err := listKeyObjects(ctx, s, named)
	if err != nil {
		return nil, err
	}
	r := &keyring{secrets: map[uint32]seal.Secret{}, records: map[uint32]seal.KeyRecord{}}
	sealing, highest := uint32(0), uint32(0)
	if known != nil {
		r.secrets, r.records, r.domain = maps.Clone(known.secrets), maps.Clone(known.records), known.domain
		sealing, highest = known.Epoch(), known.Highest()
	}
	var failed error
	for _, epoch := range slices.Sorted(maps.Keys(all)) {
		highest = max(highest, epoch)
		if _, ok := r.secrets[epoch]; !ok {
			err := r.open(ctx, k, uuid, all[epoch])
			if errors.Is(err, ErrDamaged) {
				failed = cmp.Or(failed, err)
				continue
			} else if err != nil {
				return nil, err
			}
		}
		highest = max(highest, r.records[epoch].Highest)
		if paired(sameDomain(all[epoch], uuid, r.records[epoch].Domain)) {
			sealing = max(sealing, epoch)
		}
	}
	if len(r.secrets) == 0 {
		return nil, cmp.Or(failed, fmt.Errorf("no key object under k/: %w", ErrDamaged))
	}
	if r.Keys, err = seal.New(uuid, r.domain, r.secrets); err != nil {
		return nil, err
	}
	if sealing == 0 { // a vault of an earlier version, or what was damaged of a pair
		sealing = slices.Min(slices.Collect(maps.Keys(r.secrets)))
	}
	r.Keys = r.Sealing(sealing, highest)
	return r, nil
}

// open opens the key of one epoch and notes what is damaged of its key objects. The error wraps [ErrDamaged] if that is true of all of them.
func (r *keyring) open(ctx context.Context, k KeyWrapper, uuid [16]byte, list []keyObject) error {
	best, secret, domain, err := bestKeyObject(ctx, k, uuid, list)
	if err != nil && !errors.Is(err, ErrDamaged) {
		return err
	}
	for _, o := range list {
		if o.Generation <= best.Generation && o.err == nil {
			continue
		}
		if _, _, err := openKeyObject(ctx, k, uuid, o); errors.Is(err, ErrDamaged) {
			r.damage = append(r.damage, err)
		}
	}
	if err != nil {
		return err
	}
	if len(r.secrets) > 0 && domain != r.domain {
		err := chunk.Damaged(best.Name(), "it holds another domain key than those of other epochs")
		r.damage = append(r.damage, err)
		return err
	}
	r.secrets[best.Epoch], r.records[best.Epoch], r.domain = secret, best.KeyRecord, domain
	if len(list) == 1 {
		r.lone = append(r.lone, best.KeyRecord)
	}
	return nil
}

// sameDomain returns those key objects that are sound and hold the domain key in the same bytes, so that they are of one vault key.
func sameDomain(list []keyObject, uuid [16]byte, domain []byte) (same []keyObject) {
	for _, o := range list {
		if o.err == nil && o.UUID == uuid && bytes.Equal(o.Domain, domain) {
			same = append(same, o)
		}
	}
	return same
}

// keys returns the keys of the vault. Those of a later epoch are not among them until [Vault.lookForKeys] finds them.
func (v *Vault) keys() *seal.Keys { return v.ring.Load().Keys }

// lookForKeys reads the keys of epochs that others began since, if there are any. An epoch that an object names is looked for whatever a
// list shows; 0 stands for none. Several may look at a time, and none waits for another.
func (v *Vault) lookForKeys(ctx context.Context, named uint32) error {
	for {
		have := v.ring.Load()
		if named > seal.MaxEpochs || named > 0 && named <= have.Highest() {
			return nil
		}
		if named == 0 {
			if newer, err := v.newerEpoch(ctx, have); err != nil || !newer {
				return err
			}
		}
		ring, err := readKeyring(ctx, v.store, v.wrapper, v.format.UUID, have, max(named, 1))
		if err != nil {
			return keyError(err)
		}
		if v.ring.CompareAndSwap(have, ring) {
			return nil
		}
	}
}

// newerEpoch reports whether a list shows key objects of a later epoch than the one for new objects.
func (v *Vault) newerEpoch(ctx context.Context, have *keyring) (bool, error) {
	newer := false
	for info, err := range v.store.List(ctx, "k/") {
		if err != nil {
			return false, fmt.Errorf("list keys: %w", err)
		}
		epoch, _, ok := parseKeyName(info.Name)
		newer = newer || ok && epoch > have.Epoch()
	}
	return newer, nil
}

// keyError hides, from those who look for damage of an object, that it was a key object that is damaged, missing or wrapped by another key.
func keyError(err error) error {
	if isDamage(err) || errors.Is(err, ErrWrongKey) {
		return fmt.Errorf("read vault keys again: %v", err) //nolint:errorlint // on purpose
	}
	return fmt.Errorf("read vault keys again: %w", err)
}

// withKeys calls f with the keys of the vault and, if f meets an epoch that is above them, once more with those that there are now.
func withKeys[T any](ctx context.Context, v *Vault, f func(*seal.Keys) (T, error)) (T, error) {
	keys := v.keys()
	out, err := f(keys)
	unknown, ok := errors.AsType[*seal.EpochError](err)
	if !ok || unknown.Epoch <= keys.Highest() {
		return out, err
	}
	if err := v.lookForKeys(ctx, unknown.Epoch); err != nil {
		return out, err
	}
	if now := v.keys(); now != keys {
		return f(now)
	}
	return out, err
}
