package repo

import (
	"context"
	"crypto/rand"
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
	// Rotated reports whether what a key object holds was wrapped before the wrapping key was rotated, so that what is stored from now
	// on gets a new vault key. It is not rotated when only the links to it change.
	Rotated(keyID string, wrapped []byte) bool
}

// RewrapOptions says how [Rewrap] works.
type RewrapOptions struct {
	Open  KeyWrapper // opens the key objects that there are
	To    Renewer    // wraps the keys anew
	Proof KeyWrapper // must open, alone, what was written before anything older goes
	// Still is asked after that whether the keys may stay: false if the wrapping key is destroyed. Then what was written is removed
	// again, and after an error what was wrapped anew. Nil says yes.
	Still func(ctx context.Context) (bool, error)
}

// RewrapReport is what a [Rewrap] did.
type RewrapReport struct {
	Wrapped int     // keys that were wrapped anew
	Epoch   uint32  // the one that was begun; 0 if none was
	Full    bool    // one was due, and the vault has as many as it may have
	Passed  []error // damage of key objects that were passed over
}

// Rewrap begins a new epoch if the wrapping key was rotated, and wraps the keys of the vault anew that are not current, in two
// objects each that say the same; then it removes what wraps them otherwise: afterwards no key but those of To is needed to open the
// vault. The vault may be in use, open or not; its keys stay. An open one seals under the new epoch when it next looks for one. A
// Rewrap that is cut leaves the vault readable, and the next one completes it. For a store that holds no vault the error wraps
// [ErrFormat], while another one is at work on the vault it wraps [ErrBusy], and [ErrDestroyed] if the wrapping key was destroyed.
func Rewrap(ctx context.Context, s blob.Store, o RewrapOptions) (report RewrapReport, err error) {
	ring, err := provenKeyring(ctx, s, o.Open)
	if err != nil {
		return report, fmt.Errorf("rewrap keys: %w", err)
	}
	report.Passed = ring.damage
	w := rewrap{RewrapOptions: o, store: s, ring: ring, highest: ring.Highest()}
	if newest := ring.records[slices.Max(slices.Collect(maps.Keys(ring.records)))]; o.To.Rotated(newest.KeyID, newest.Wrapped) {
		if report.Full = w.highest >= seal.MaxEpochs; !report.Full {
			if err := w.begin(ctx); err != nil {
				return report, fmt.Errorf("begin epoch %d: %w", w.highest+1, err)
			}
			w.highest++
			report.Epoch = w.highest
		}
	}
	all, err := listKeyObjects(ctx, s, 1)
	if err != nil {
		return report, fmt.Errorf("rewrap keys: %w", err)
	}
	for _, epoch := range slices.Sorted(maps.Keys(ring.records)) {
		w := w
		w.list = all[epoch]
		if err := w.run(ctx); err != nil {
			return report, fmt.Errorf("rewrap key of epoch %d: %w", epoch, err)
		}
		if w.wrapped {
			report.Wrapped++
		}
	}
	return report, nil
}

// provenKeyring opens the keys of a vault, and those of no other one: what opens might be of a creation that was begun again.
func provenKeyring(ctx context.Context, s blob.Store, k KeyWrapper) (ring *keyring, err error) {
	formats, _, err := readFormats(ctx, s)
	if err != nil {
		return nil, err
	}
	for _, c := range formats {
		if ring, err = readKeyring(ctx, s, k, c.format.UUID, nil, c.format.Epoch); err == nil {
			err = c.format.Verify(ring.Keys, c.raw)
		}
		if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrWrongKey) {
			break
		}
	}
	return ring, err
}

// rewrap is the work on one epoch.
type rewrap struct {
	RewrapOptions
	store   blob.Store
	ring    *keyring // as it was before
	highest uint32   // epoch
	list    []keyObject
	made    []blob.Name
	wrapped bool
}

// begin writes the key objects of a further epoch. Nobody seals anything under it before there are two, but others may read the first one
// and keep it in mind. So it goes again only if nobody can open it, or if the keys are destroyed: no two keys ever have the same epoch.
func (w rewrap) begin(ctx context.Context) error {
	r := seal.KeyRecord{Epoch: w.highest + 1, UUID: w.ring.UUID()}
	if there, err := probeKeyObjects(ctx, w.store, r.Epoch, nil); err != nil {
		return err
	} else if len(there) > 0 { // which a list did not show
		return fmt.Errorf("%w: %s is there already", ErrBusy, there[0].Name())
	}
	var secret seal.Secret
	if _, err := rand.Read(secret[:]); err != nil {
		return err
	}
	r, err := w.wrap(ctx, r, secret)
	if err != nil {
		return err
	}
	if r.Domain, err = seal.SealDomain(r.UUID, r.Epoch, secret, w.ring.domain); err != nil {
		return err
	}
	for r.Generation = 1; r.Generation <= copies; r.Generation++ {
		if err := w.write(ctx, r); err != nil {
			return err
		}
		err := w.prove(ctx, r.Epoch, r.Generation, secret)
		unreadable := errors.Is(err, ErrDamaged)
		if unreadable { // unless it was read wrongly
			err = w.prove(ctx, r.Epoch, r.Generation, secret)
			unreadable = errors.Is(err, ErrDamaged) && r.Generation == 1
		}
		if err == nil {
			err = w.still(ctx)
		}
		if unreadable || errors.Is(err, ErrDestroyed) {
			return w.undo(ctx, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// still returns nil if the keys may stay.
func (w *rewrap) still(ctx context.Context) error {
	if w.Still == nil {
		return nil
	}
	may, err := w.Still(ctx)
	if err == nil && !may {
		err = ErrDestroyed
	}
	return err
}

func (w *rewrap) run(ctx context.Context) error {
	best, secret, _, err := bestKeyObject(ctx, w.Open, w.ring.UUID(), w.list)
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
	if err == nil {
		err = w.still(ctx)
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
	if r.Highest = 0; w.highest > r.Epoch {
		r.Highest = w.highest
	}
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
	got, _, err := openKeyObject(ctx, w.Proof, w.ring.UUID(), o)
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
	highest, last := map[uint32]uint32{}, uint32(0)
	for info, err := range s.List(ctx, "k/") {
		if err != nil {
			return nil, fmt.Errorf("list keys: %w", err)
		}
		if epoch, generation, ok := parseKeyName(info.Name); ok {
			highest[epoch] = max(highest[epoch], generation)
			last = max(last, epoch)
		}
		names = append(names, info.Name)
	}
	if last < seal.MaxEpochs { // which a list may not show yet
		highest[last+1] = 0
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
