package repo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/seal"
)

// keyObject is a key object, or what is wrong with it.
type keyObject struct {
	seal.KeyRecord       // of a bad one only epoch and generation
	err            error // wraps ErrDamaged, or blob.ErrNotExist for one that was gone when it was read
}

// keyProbes is how many generations are looked for beyond those that a list shows.
const keyProbes = 8

// listKeyObjects reads all key objects: those of each epoch, the highest generation first. A list may show objects that
// are gone and lack new ones, so what it suggests is missing is looked for by name, as are those of the epoch named.
func listKeyObjects(ctx context.Context, s blob.Store, named uint32) (map[uint32][]keyObject, error) {
	all := map[uint32][]keyObject{}
	for info, err := range s.List(ctx, "k/") {
		if err != nil {
			return nil, fmt.Errorf("list keys: %w", err)
		}
		epoch, generation, ok := parseKeyName(info.Name)
		if !ok {
			continue // docs/format.md section 2: names that nobody knows are ignored
		}
		o, err := readKeyObject(ctx, s, epoch, generation)
		if err != nil {
			return nil, err
		}
		all[epoch] = append(all[epoch], o)
	}
	if _, ok := all[named]; !ok && named <= seal.MaxEpochs {
		all[named] = nil
	}
	for epoch, list := range all {
		slices.SortFunc(list, func(a, b keyObject) int { return cmp.Compare(b.Generation, a.Generation) })
		list, err := probeKeyObjects(ctx, s, epoch, list)
		if err != nil {
			return nil, err
		}
		if all[epoch] = list; len(list) == 0 {
			delete(all, epoch)
		}
	}
	return all, nil
}

// probeKeyObjects looks for generations that a list does not show when the highest one that it shows is gone, or is alone, and
// drops what is gone.
func probeKeyObjects(ctx context.Context, s blob.Store, epoch uint32, list []keyObject) ([]keyObject, error) {
	gone := func(o keyObject) bool { return errors.Is(o.err, blob.ErrNotExist) }
	highest := uint32(0)
	if len(list) > 0 {
		highest = list[0].Generation
	}
	probes := uint32(0)
	if len(list) == 0 || gone(list[0]) {
		probes = keyProbes
	}
	list = slices.DeleteFunc(list, gone)
	if len(list) < copies {
		probes = max(probes, 1)
	}
	for g := highest + 1; g <= highest+probes; g++ {
		o, err := readKeyObject(ctx, s, epoch, g)
		if err != nil {
			return nil, err
		}
		if !gone(o) {
			list = slices.Insert(list, 0, o)
		}
	}
	return list, nil
}

func parseKeyName(name blob.Name) (epoch, generation uint32, ok bool) {
	e, g, _ := strings.Cut(strings.TrimPrefix(string(name), "k/"), "-")
	a, err1 := strconv.ParseUint(e, 10, 32)
	b, err2 := strconv.ParseUint(g, 10, 32)
	r := seal.KeyRecord{Epoch: uint32(a), Generation: uint32(b)}
	known := r.Epoch > 0 && r.Epoch <= seal.MaxEpochs && r.Generation > 0
	return r.Epoch, r.Generation, known && err1 == nil && err2 == nil && r.Name() == string(name)
}

// readKeyObject reads a key object. What is only its own affair is no error of the function.
func readKeyObject(ctx context.Context, s blob.Store, epoch, generation uint32) (keyObject, error) {
	o := keyObject{KeyRecord: seal.KeyRecord{Epoch: epoch, Generation: generation}}
	name := blob.Name(o.Name())
	raw, err := readWhole(ctx, s, name, maxSmallObject)
	if err == nil {
		var r seal.KeyRecord
		r, err = seal.DecodeKeyRecord(string(name), raw)
		switch {
		case err != nil:
			err = objectError(name, err)
		case r.Epoch != epoch || r.Generation != generation:
			err = chunk.Damaged(string(name), "it was written as %s", r.Name())
		default:
			o.KeyRecord = r
		}
	}
	if errors.Is(err, ErrDamaged) || errors.Is(err, blob.ErrNotExist) {
		o.err, err = err, nil
	}
	return o, err
}

// openKeyObject opens the vault key of a key object, and with it the domain key.
func openKeyObject(ctx context.Context, k KeyWrapper, uuid [16]byte, o keyObject) (secret, domain seal.Secret, err error) {
	if o.err != nil {
		return secret, domain, o.err
	}
	plain, err := unwrap(ctx, k, o.KeyRecord)
	if err != nil {
		return secret, domain, fmt.Errorf("open %s: %w", o.Name(), err)
	}
	if len(plain) != len(secret) {
		return secret, domain, fmt.Errorf("open %s: a key of %d bytes: %w", o.Name(), len(plain), ErrWrongKey)
	}
	secret = seal.Secret(plain)
	if domain, err = seal.OpenDomain(uuid, o.Epoch, secret, o.Domain); err != nil {
		return secret, domain, fmt.Errorf("open %s: %w", o.Name(), err)
	}
	return secret, domain, nil
}

// bestKeyObject opens the highest generation of an epoch that is not damaged. Of more than one bad one the error is that
// of the highest.
func bestKeyObject(ctx context.Context, k KeyWrapper, uuid [16]byte, list []keyObject) (o keyObject, secret, domain seal.Secret, err error) {
	for _, next := range list {
		var failed error
		if secret, domain, failed = openKeyObject(ctx, k, uuid, next); failed == nil {
			return next, secret, domain, nil
		}
		if err = cmp.Or(err, failed); !errors.Is(failed, ErrDamaged) {
			break
		}
	}
	return keyObject{}, secret, domain, err
}

// unwrap opens the vault key of a key object.
func unwrap(ctx context.Context, k KeyWrapper, r seal.KeyRecord) ([]byte, error) {
	if c, ok := k.(ChainWrapper); ok {
		return c.UnwrapLinked(ctx, r.KeyID, r.Links, r.Wrapped, r.Bind())
	}
	if len(r.Links) > 0 {
		return nil, fmt.Errorf("its key %s is itself wrapped: %w", r.KeyID, ErrWrongKey)
	}
	return k.Unwrap(ctx, r.Wrapped, r.Bind())
}
