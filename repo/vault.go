package repo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/pack"
	"github.com/lockfast/lockfast/repo/seal"
)

// Vault is an open vault. All methods may be called concurrently.
type Vault struct {
	store   blob.Store
	ledger  Ledger // nil when opened without
	wrapper KeyWrapper
	ring    atomic.Pointer[keyring]
	format  seal.Format
	chunker *chunk.Chunker
	opts    Options
	log     *slog.Logger
	catalog *catalog
	dec     *pack.Decompressor
	cache   *cache
	openers openers
	mended  mended

	merge  int // most entries of a segment that a reclaim makes
	settle int // packs that a reclaim removes at once, at least, before it ends; see settler

	observed observed
	claim    atomic.Uint64 // number of the newest claim that is known to be of the ledger; 0 without one

	opening []error // damage met when it was opened
	single  bool    // it was opened with the only format object that was listed

	reclaiming sync.Mutex    // one Reclaim at a time in this process
	scrubbing  sync.Mutex    // one Scrub or Round at a time in this process
	planned    plannedRound  // guarded by scrubbing
	odd        map[ID][]byte // checksums that the store tells of packs which were put with others and are sound; guarded by scrubbing
	measured   lastMeasure
	retentions retentions

	allowing    sync.Mutex
	coldAllowed bool // the format says so; guarded by allowing

	mu       sync.Mutex
	sessions map[*session]bool
	closed   bool
}

// Create makes a new vault in an empty store. It returns an error that wraps [blob.ErrExist] when there is one.
func Create(ctx context.Context, s blob.Store, l Ledger, k KeyWrapper, o CreateOptions) (*Vault, error) {
	now := time.Now().UTC()
	f := seal.DefaultFormat(o.UUID, now)
	if o.DataPack != 0 {
		f.DataPack = uint32(o.DataPack)
	}
	if o.MetaPack != 0 {
		f.MetaPack = uint32(o.MetaPack)
	}
	if o.ColdPack != 0 {
		f.ColdPack = uint32(o.ColdPack)
	}
	if o.Chunk != (chunk.Params{}) {
		f.Chunk = o.Chunk
	}
	if !o.NoParity {
		f.Protect()
	}
	if err := checkSizes(f); err != nil {
		return nil, fmt.Errorf("create vault: %w", err)
	}
	if there, err := Exists(ctx, s); err != nil {
		return nil, fmt.Errorf("create vault: %w", err)
	} else if there {
		return nil, fmt.Errorf("create vault: %s: %w", f.Name(), blob.ErrExist)
	}
	keys, err := createKeys(ctx, s, k, o, now)
	if err != nil {
		return nil, fmt.Errorf("create vault: %w", err)
	}
	f.Epoch = keys.Epoch()
	for range copies { // the second one is for the case that the first is damaged
		b, err := f.Encode(keys)
		if err != nil {
			return nil, fmt.Errorf("create vault: %w", err)
		}
		if err := putBytes(ctx, s, blob.Name(f.Name()), b); err != nil {
			return nil, fmt.Errorf("create vault: %w", err)
		}
		f.Generation++
	}
	if o.Open != nil {
		k = o.Open
	}
	return Open(ctx, s, l, k, o.Options)
}

// copies is how many generations that say the same are written of the format object and of key objects.
const copies = 2

// checkSizes reports sizes under which a chunk or a bundle would not fit a pack.
func checkSizes(f seal.Format) error {
	if err := f.Chunk.Check(); err != nil {
		return err
	}
	least := uint32(max(f.Chunk.Max, f.Chunk.Avg+chunk.MaxPart) + 128<<10)
	if f.PackParity() {
		least += least/8 + 32<<10
	}
	if f.DataPack < least || f.MetaPack < least || f.ColdPack < least {
		return fmt.Errorf("packs of %d, %d and %d bytes are too small: at least %d are needed", f.DataPack, f.MetaPack, f.ColdPack, least)
	}
	return nil
}

// createKeys draws the keys of a new vault and stores them wrapped. A crashed Create may have left key objects that
// nothing was sealed with; later generations then carry the keys.
func createKeys(ctx context.Context, s blob.Store, k KeyWrapper, o CreateOptions, now time.Time) (*seal.Keys, error) {
	var secret seal.Secret
	if _, err := rand.Read(secret[:]); err != nil {
		return nil, err
	}
	all, err := listKeyObjects(ctx, s, 1)
	if err != nil {
		return nil, err
	}
	r := seal.KeyRecord{Epoch: 1, Generation: 1, UUID: o.UUID, Created: now}
	for _, list := range all {
		r.Generation = max(r.Generation, list[0].Generation+1)
	}
	if named, ok := k.(interface{ KeyID() string }); ok {
		r.KeyID = named.KeyID()
	}
	if c, ok := k.(ChainWrapper); ok {
		r.Links = c.Links()
	}
	if r.Wrapped, err = k.Wrap(ctx, secret[:], r.Bind()); err != nil {
		return nil, fmt.Errorf("wrap vault key: %w", err)
	}
	domain := seal.Secret(o.DomainKey)
	if r.Domain, err = seal.SealDomain(o.UUID, r.Epoch, secret, domain); err != nil {
		return nil, err
	}
	for range copies {
		if err := putBytes(ctx, s, blob.Name(r.Name()), r.Encode()); err != nil {
			return nil, err
		}
		r.Generation++
	}
	return seal.New(o.UUID, domain, map[uint32]seal.Secret{r.Epoch: secret})
}

// Open opens a vault for reading and writing. The wrapper is kept: it opens the keys of epochs that begin later. Errors wrap [ErrFormat], [ErrWrongKey], [ErrClaimed] or [ErrDamaged].
// Close it when it is no longer used.
func Open(ctx context.Context, s blob.Store, l Ledger, k KeyWrapper, o Options) (*Vault, error) {
	v, err := openKeys(ctx, s, k, o)
	if err != nil {
		return nil, err
	}
	if err := v.format.Writable(); err != nil {
		return nil, fmt.Errorf("open vault: %w: %w", ErrFormat, err)
	}
	v.ledger = l
	v.catalog = newCatalog(v)
	if err := v.claimFor(ctx); err != nil {
		return nil, fmt.Errorf("open vault: %w", err)
	}
	if v.single {
		v.pair(ctx)
	}
	v.pairKeys(ctx)
	if err := v.catalog.refresh(ctx); err != nil {
		return nil, fmt.Errorf("open vault: %w", err)
	}
	return v, nil
}

// OpenReadOnly opens a vault from its objects alone, without a ledger. A manifest counts as a recovery point if every
// pack of its refset exists. Nothing is protected from a reclaim that runs meanwhile.
func OpenReadOnly(ctx context.Context, s blob.Store, k KeyWrapper, o Options) (*Vault, error) {
	v, err := openKeys(ctx, s, k, o)
	if err != nil {
		return nil, err
	}
	v.catalog = newCatalog(v)
	if err := v.catalog.refresh(ctx); err != nil {
		return nil, fmt.Errorf("open vault: %w", err)
	}
	return v, nil
}

// OpenBare opens a vault for its states alone, quickly and without its index, and refuses one that this program could not
// write to.
func OpenBare(ctx context.Context, s blob.Store, k KeyWrapper, o Options) (*Vault, error) {
	v, err := openKeys(ctx, s, k, o)
	if err != nil {
		return nil, err
	}
	if err := v.format.Writable(); err != nil {
		return nil, fmt.Errorf("open vault: %w: %w", ErrFormat, err)
	}
	return v, nil
}

// openKeys reads format and keys: the newest format object that can be read and has the right MAC counts.
func openKeys(ctx context.Context, s blob.Store, k KeyWrapper, o Options) (*Vault, error) {
	o = o.withDefaults()
	formats, damage, err := readFormats(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("open vault: %w", err)
	}
	v := &Vault{
		store: s, wrapper: k, opts: o, log: o.Log, dec: pack.NewDecompressor(o.Workers + 2), cache: newCache(cacheBytes),
		sessions: map[*session]bool{}, odd: map[ID][]byte{}, merge: maxMerge, settle: settlePacks, single: len(formats)+len(damage) == 1,
	}
	var failed []error
	for _, c := range formats {
		v.format, v.opening = c.format, slices.Clone(damage)
		var ring *keyring
		if ring, err = readKeyring(ctx, s, k, c.format.UUID, nil, c.format.Epoch); err == nil {
			v.ring.Store(ring)
			v.opening = append(v.opening, ring.damage...)
			err = objectError(c.name, c.format.Verify(ring.Keys, c.raw))
		}
		if err == nil {
			break
		}
		failed = append(failed, err)
		if errors.Is(err, ErrWrongKey) { // of a key object that an older one may fit
			err = chunk.Damaged(string(c.name), "it is of vault %x, which has other keys", c.format.UUID)
		} else if !errors.Is(err, ErrDamaged) {
			break
		}
		if objectOf(err) == c.name {
			damage = append(damage, err)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open vault: %w", unfit(failed, damage))
	}
	for _, d := range v.opening {
		v.log.Warn("object is damaged; an older one was taken for it", "vault", fmt.Sprintf("%x", v.format.UUID), "error", d)
	}
	if err := checkSizes(v.format); err != nil {
		return nil, fmt.Errorf("open vault: %w", chunk.Damaged(v.format.Name(), "%v", err))
	}
	v.chunker = chunk.New(v.keys().ChunkerKey(), v.format.Chunk)
	return v, nil
}

// unfit returns why none of the format objects that can be read opens the vault: each reason once, and what is damaged of the others.
func unfit(failed, damage []error) error {
	if !errors.Is(failed[len(failed)-1], ErrDamaged) {
		return failed[len(failed)-1]
	}
	var all []error
	for _, err := range slices.Concat(failed, damage) {
		if !slices.ContainsFunc(all, func(e error) bool { return e.Error() == err.Error() }) {
			all = append(all, err)
		}
	}
	return errors.Join(all...)
}

// UUID returns the vault's UUID.
func (v *Vault) UUID() [16]byte { return v.keys().UUID() }

// Close ends the use of the vault: points and writers still open lose their sessions.
func (v *Vault) Close() error {
	v.mu.Lock()
	v.closed = true
	var open []*session
	for s := range v.sessions {
		open = append(open, s)
	}
	v.mu.Unlock()
	var errs []error
	for _, s := range open {
		if s.row.Kind == SessionReader {
			errs = append(errs, s.close(context.Background()))
		} else {
			s.end() // its owner aborts it
		}
	}
	return errors.Join(errs...)
}

// writable returns [ErrReadOnly] for a vault without a ledger.
func (v *Vault) writable() error {
	if v.ledger == nil {
		return fmt.Errorf("vault %x: %w", v.UUID(), ErrReadOnly)
	}
	return nil
}
