package repo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
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
	keys    *seal.Keys
	format  seal.Format
	chunker *chunk.Chunker
	opts    Options
	log     *slog.Logger
	catalog *catalog
	dec     *pack.Decompressor
	cache   *cache
	openers openers
	merge   int    // most entries of a segment that a reclaim makes
	claim   uint64 // highest claim at opening; 0 without a ledger

	reclaiming sync.Mutex // one Reclaim at a time in this process

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
	if o.Chunk != (chunk.Params{}) {
		f.Chunk = o.Chunk
	}
	if err := checkSizes(f); err != nil {
		return nil, fmt.Errorf("create vault: %w", err)
	}
	if _, err := s.Stat(ctx, blob.Name(f.Name())); err == nil {
		return nil, fmt.Errorf("create vault: %s: %w", f.Name(), blob.ErrExist)
	} else if !errors.Is(err, blob.ErrNotExist) {
		return nil, fmt.Errorf("create vault: %w", err)
	}
	keys, err := createKeys(ctx, s, k, o, now)
	if err != nil {
		return nil, fmt.Errorf("create vault: %w", err)
	}
	f.Epoch = keys.Epoch()
	b, err := f.Encode(keys)
	if err != nil {
		return nil, fmt.Errorf("create vault: %w", err)
	}
	if err := putBytes(ctx, s, blob.Name(f.Name()), b); err != nil {
		return nil, fmt.Errorf("create vault: %w", err)
	}
	return Open(ctx, s, l, k, o.Options)
}

// checkSizes reports sizes under which a chunk or a bundle would not fit a pack.
func checkSizes(f seal.Format) error {
	if err := f.Chunk.Check(); err != nil {
		return err
	}
	least := uint32(max(f.Chunk.Max, f.Chunk.Avg+chunk.MaxPart) + 128<<10)
	if f.DataPack < least || f.MetaPack < least {
		return fmt.Errorf("packs of %d and %d bytes are too small: at least %d are needed", f.DataPack, f.MetaPack, least)
	}
	return nil
}

// createKeys draws the keys of a new vault and stores them wrapped. A crashed Create may have left a key object that
// nothing was sealed with; a later generation then carries the keys.
func createKeys(ctx context.Context, s blob.Store, k KeyWrapper, o CreateOptions, now time.Time) (*seal.Keys, error) {
	var secret seal.Secret
	if _, err := rand.Read(secret[:]); err != nil {
		return nil, err
	}
	records, err := listKeyRecords(ctx, s)
	if err != nil {
		return nil, err
	}
	r := seal.KeyRecord{Epoch: 1, Generation: 1, UUID: o.UUID, Created: now}
	for _, old := range records {
		r.Generation = max(r.Generation, old.Generation+1)
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
	if err := putBytes(ctx, s, blob.Name(r.Name()), r.Encode()); err != nil {
		return nil, err
	}
	return seal.New(o.UUID, domain, map[uint32]seal.Secret{r.Epoch: secret})
}

// Open opens a vault for reading and writing. Errors wrap [ErrFormat], [ErrWrongKey], [ErrClaimed] or [ErrDamaged].
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

// openKeys reads format and keys.
func openKeys(ctx context.Context, s blob.Store, k KeyWrapper, o Options) (*Vault, error) {
	o = o.withDefaults()
	f, raw, err := readFormat(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("open vault: %w", err)
	}
	keys, err := readKeys(ctx, s, k, f.UUID)
	if err != nil {
		return nil, fmt.Errorf("open vault: %w", err)
	}
	if err := f.Verify(keys, raw); err != nil {
		return nil, fmt.Errorf("open vault: %w", err)
	}
	if err := checkSizes(f); err != nil {
		return nil, fmt.Errorf("open vault: %w", chunk.Damaged(f.Name(), "%v", err))
	}
	return &Vault{
		store: s, keys: keys, format: f, opts: o, log: o.Log, chunker: chunk.New(keys.ChunkerKey(), f.Chunk),
		dec: pack.NewDecompressor(o.Workers + 2), cache: newCache(cacheBytes), sessions: map[*session]bool{},
		merge: maxMerge,
	}, nil
}

// UUID returns the vault's UUID.
func (v *Vault) UUID() [16]byte { return v.keys.UUID() }

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
