package repo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/seal"
)

// Renewer is a [ChainWrapper] that knows its own work.
type Renewer interface {
	ChainWrapper
	// KeyID names the wrapping key.
	KeyID() string
	// Current reports whether what a key object holds is what the wrapper would write now: wrapped by the same version
	// of the same key, at the end of the same links.
	Current(keyID string, links [][]byte, wrapped []byte) bool
}

// RewrapOptions says how [Rewrap] works.
type RewrapOptions struct {
	Open  KeyWrapper // opens the key objects that there are
	To    Renewer    // wraps the keys anew
	Proof KeyWrapper // must open, alone, what was written before anything older goes
	// Still is asked after that whether the keys may stay; after an error what was written is removed again. Nil says yes.
	Still func(ctx context.Context) error
}

// Rewrap wraps the keys of a vault anew unless they are current, in two objects that say the same, and removes what wraps them
// otherwise: afterwards no key but those of To is needed to open the vault. The vault may be in use, open or not; its keys stay the same. A Rewrap that
// is cut leaves the vault readable, and the next one completes it. It returns how many keys it wrapped. For a store that
// holds no vault the error wraps [ErrFormat], while another one is at work on the vault it wraps [ErrBusy].
func Rewrap(ctx context.Context, s blob.Store, o RewrapOptions) (wrapped int, err error) {
	f, raw, err := readFormat(ctx, s)
	if err != nil {
		return 0, fmt.Errorf("rewrap keys: %w", err)
	}
	keys, err := readKeys(ctx, s, o.Open, f.UUID)
	if err == nil {
		err = f.Verify(keys, raw) // what opens might be of a creation that was begun again
	}
	if err != nil {
		return 0, fmt.Errorf("rewrap keys: %w", err)
	}
	all, err := listKeyObjects(ctx, s)
	if err != nil {
		return 0, fmt.Errorf("rewrap keys: %w", err)
	}
	for _, epoch := range slices.Sorted(maps.Keys(all)) {
		w := rewrap{RewrapOptions: o, store: s, uuid: f.UUID, list: all[epoch]}
		if err := w.run(ctx); err != nil {
			return wrapped, fmt.Errorf("rewrap key of epoch %d: %w", epoch, err)
		}
		if w.wrapped {
			wrapped++
		}
	}
	return wrapped, nil
}

// rewrap is the work on one epoch.
type rewrap struct {
	RewrapOptions
	store   blob.Store
	uuid    [16]byte
	list    []keyObject
	made    []blob.Name
	wrapped bool
}

func (w *rewrap) run(ctx context.Context) error {
	best, secret, _, err := bestKeyObject(ctx, w.Open, w.uuid, w.list)
	if err != nil {
		return err
	}
	r, keep := best.KeyRecord, map[uint32]bool{}
	if w.To.Current(r.KeyID, r.Links, r.Wrapped) {
		for _, o := range w.list {
			if o.err == nil && len(keep) < copies && sameKeys(o.KeyRecord, r) {
				keep[o.Generation] = true
			}
		}
	} else if r, err = w.wrap(ctx, r, secret); err != nil {
		return err
	}
	err = w.pair(ctx, r, keep, secret)
	if err == nil && w.Still != nil {
		err = w.Still(ctx)
	}
	if err != nil {
		return w.undo(ctx, err)
	}
	for _, o := range w.list {
		if keep[o.Generation] {
			continue
		}
		if err := w.store.Delete(ctx, blob.Name(o.Name())); err != nil && !errors.Is(err, blob.ErrRetained) {
			return fmt.Errorf("remove %s: %w", o.Name(), err)
		}
	}
	return nil
}

// wrap wraps the vault key. The domain key goes along as it is, for it is sealed under the vault key.
func (w *rewrap) wrap(ctx context.Context, r seal.KeyRecord, secret seal.Secret) (_ seal.KeyRecord, err error) {
	r.KeyID, r.Links, r.Created = w.To.KeyID(), w.To.Links(), time.Now().UTC()
	if r.Wrapped, err = w.To.Wrap(ctx, secret[:], r.Bind()); err != nil {
		return r, fmt.Errorf("wrap vault key: %w", err)
	}
	w.wrapped = true
	return r, nil
}

// pair proves the generations that are kept of what says r, and those that it puts until there are two.
func (w *rewrap) pair(ctx context.Context, r seal.KeyRecord, keep map[uint32]bool, secret seal.Secret) error {
	for generation := range keep {
		if err := w.prove(ctx, r.Epoch, generation, secret); err != nil {
			return err
		}
	}
	for r.Generation = w.list[0].Generation; len(keep) < copies; {
		r.Generation++
		if err := w.write(ctx, r); err != nil {
			return err
		}
		if err := w.prove(ctx, r.Epoch, r.Generation, secret); err != nil {
			return err
		}
		keep[r.Generation] = true
	}
	return nil
}

func (w *rewrap) write(ctx context.Context, r seal.KeyRecord) error {
	name := blob.Name(r.Name())
	err := putBytes(ctx, w.store, name, r.Encode())
	if errors.Is(err, blob.ErrExist) {
		return fmt.Errorf("%w: %w", ErrBusy, err)
	}
	if err == nil {
		w.made = append(w.made, name)
	}
	return err
}

// prove reads a key object back and opens it.
func (w *rewrap) prove(ctx context.Context, epoch, generation uint32, secret seal.Secret) error {
	o, err := readKeyObject(ctx, w.store, epoch, generation)
	if err != nil {
		return err
	}
	got, _, err := openKeyObject(ctx, w.Proof, w.uuid, o)
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	if got != secret {
		return chunk.Damaged(o.Name(), "it holds another key than the one that was written")
	}
	return nil
}

// undo removes what was written, also when the context has ended.
func (w *rewrap) undo(ctx context.Context, cause error) error {
	all := []error{cause}
	for _, name := range w.made {
		all = append(all, w.store.Delete(context.WithoutCancel(ctx), name))
	}
	return errors.Join(all...)
}

// Shred removes every key object of a vault, so that nobody can read its data any more, with whatever key. It may be
// repeated. removed, if not nil, is told of each attempt.
func Shred(ctx context.Context, s blob.Store, removed func(name blob.Name, err error)) error {
	for range 4 { // the last one sees that nothing is left
		names, err := keyNames(ctx, s)
		if err != nil {
			return err
		}
		if len(names) == 0 {
			return nil
		}
		for _, name := range names {
			err := s.Delete(ctx, name)
			if removed != nil {
				removed(name, err)
			}
			if err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("remove key objects: %w: there are new ones again and again", ErrBusy)
}

// keyNames returns the names of the key objects that are surely there: a list may show too many, or lack new ones.
func keyNames(ctx context.Context, s blob.Store) (names []blob.Name, err error) {
	highest := map[uint32]uint32{1: 0}
	for info, err := range s.List(ctx, "k/") {
		if err != nil {
			return nil, fmt.Errorf("list keys: %w", err)
		}
		if epoch, generation, ok := parseKeyName(info.Name); ok {
			highest[epoch] = max(highest[epoch], generation)
		}
		names = append(names, info.Name)
	}
	for epoch, g := range highest {
		for n := range uint32(keyProbes) {
			names = append(names, blob.Name(seal.KeyRecord{Epoch: epoch, Generation: g + 1 + n}.Name()))
		}
	}
	there := names[:0]
	for _, name := range names {
		_, err := s.Stat(ctx, name)
		if errors.Is(err, blob.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		there = append(there, name)
	}
	return there, nil
}
