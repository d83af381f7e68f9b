package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/internal/kms"
	"github.com/lockfast/lockfast/internal/ledger"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/seal"
)

// Store opens the vaults of the store of recovery points: each is the prefix of its UUID. Open vaults are kept until
// they are erased or the store is closed. Its methods may be called concurrently.
type Store struct {
	o StoreOptions

	keysMu sync.Mutex // held while keys of vaults are written or removed, so that none comes back

	rootMu sync.Mutex
	root   blob.Store // guarded by rootMu; nil until it was opened with success

	mu     sync.Mutex
	vaults map[string]*openVault // guarded by mu
	// unsure are names whose removal failed, by vault; guarded by mu. They may be out of sight and still not be gone.
	unsure map[string]map[blob.Name]bool
}

// StoreOptions says what a [Store] works with.
type StoreOptions struct {
	// Blobs opens the store's root. It is called when the first vault is needed, and again only after an error.
	Blobs   func() (blob.Store, error)
	DB      *meta.DB
	Ledgers *ledger.DB
	Keys    repo.KeyWrapper // opens every vault, also those whose keys hang on other keys
	// VaultKeys knows which keys those are; nil if all hang on Keys itself.
	VaultKeys VaultKeys
	// Domain returns the key of an account under which equal contents of its vaults get equal ids.
	Domain func(ctx context.Context, account string) ([32]byte, error)
	Repo   repo.Options
	Log    *slog.Logger
}

// VaultKeys knows on which keys the keys of vaults hang. The error for a key that may not be used is a [*kms.Unusable].
type VaultKeys interface {
	// CheckVaultKey is nil if a vault may be opened now.
	CheckVaultKey(ctx context.Context, vaultUUID string) error
	// VaultWrapper returns what wraps the key of a vault that is made in the store; nil stands for the root key.
	VaultWrapper(ctx context.Context, vaultUUID string) (repo.KeyWrapper, error)
}

// openVault is a vault that is open, or being opened.
type openVault struct {
	mu     sync.Mutex
	vault  *repo.Vault // guarded by mu; nil until it was opened with success
	erased bool        // it is being erased, or has been: it is not opened any more, which would leave a claim; guarded by mu
}

// errErased is the error for a vault that was deleted.
var errErased = errors.New("it was deleted")

// NewStore returns a store of which nothing is open.
func NewStore(o StoreOptions) *Store {
	return &Store{o: o, vaults: map[string]*openVault{}, unsure: map[string]map[blob.Name]bool{}}
}

// blobs returns the store's root. Its errors wrap [blob.ErrUnavailable].
func (s *Store) blobs() (blob.Store, error) {
	s.rootMu.Lock()
	defer s.rootMu.Unlock()
	if s.root == nil {
		root, err := s.o.Blobs()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", blob.ErrUnavailable, err)
		}
		s.root = root
	}
	return s.root, nil
}

// answerPatience is how long a store that does not answer is waited for where someone waits for the answer. Jobs wait longer.
const answerPatience = 5 * time.Second

// Ready reports whether the store can be reached.
func (s *Store) Ready(ctx context.Context) error {
	blobs, err := s.blobs()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	for _, err := range blobs.List(ctx, "ready/") { // nothing is there; what counts is an answer
		return err
	}
	return nil
}

// Vault opens a vault of an account, and makes its part of the store when it is used for the first time.
func (s *Store) Vault(ctx context.Context, vaultUUID, account string) (*repo.Vault, error) {
	return s.vault(ctx, vaultUUID, func(sub blob.Store) (*repo.Vault, error) {
		if err := s.ready(ctx, s.o.Ledgers.Vault(vaultUUID)); err != nil {
			return nil, err
		}
		id, err := uuid.Parse(vaultUUID)
		if err != nil {
			return nil, err
		}
		wrapper, err := s.wrapper(ctx, vaultUUID)
		if err != nil {
			return nil, err
		}
		domain, err := s.o.Domain(ctx, account)
		if err != nil {
			return nil, err
		}
		s.o.Log.InfoContext(ctx, "vault made in the store", "vault", vaultUUID)
		return repo.Create(ctx, sub, s.o.Ledgers.Vault(vaultUUID), wrapper,
			repo.CreateOptions{UUID: id, DomainKey: domain, Options: s.o.Repo, Open: s.o.Keys})
	})
}

// wrapper returns what wraps the key of a new vault.
func (s *Store) wrapper(ctx context.Context, vaultUUID string) (repo.KeyWrapper, error) {
	if s.o.VaultKeys == nil {
		return s.o.Keys, nil
	}
	w, err := s.o.VaultKeys.VaultWrapper(ctx, vaultUUID)
	if w == nil {
		w = s.o.Keys
	}
	return w, err
}

// Existing opens a vault that has been written to; it returns nil for one that has nothing in the store.
func (s *Store) Existing(ctx context.Context, vaultUUID string) (*repo.Vault, error) {
	v, err := s.vault(ctx, vaultUUID, func(blob.Store) (*repo.Vault, error) {
		_, err := s.unused(ctx, s.o.Ledgers.Vault(vaultUUID))
		return nil, err
	})
	if errors.Is(err, errErased) {
		return nil, nil
	}
	return v, err
}

// vault opens a vault once; absent says what to do with one that the store does not hold.
func (s *Store) vault(ctx context.Context, vaultUUID string, absent func(blob.Store) (*repo.Vault, error),
) (*repo.Vault, error) {
	if err := s.usable(ctx, vaultUUID); err != nil {
		return nil, err
	}
	e := s.entry(vaultUUID)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.erased {
		return nil, fmt.Errorf("open vault %s: %w", vaultUUID, errErased)
	}
	if e.vault != nil {
		if err := s.Reachable(ctx, vaultUUID); err != nil {
			return nil, err
		}
		return e.vault, nil
	}
	v, err := s.open(ctx, vaultUUID, absent)
	if err != nil {
		return nil, fmt.Errorf("open vault %s: %w", vaultUUID, err)
	}
	e.vault = v
	return v, nil
}

func (s *Store) entry(vaultUUID string) *openVault {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.vaults[vaultUUID]
	if e == nil {
		e = &openVault{}
		s.vaults[vaultUUID] = e
	}
	return e
}

func (s *Store) open(ctx context.Context, vaultUUID string, absent func(blob.Store) (*repo.Vault, error),
) (*repo.Vault, error) {
	blobs, err := s.blobs()
	if err != nil {
		return nil, err
	}
	sub := blob.Prefix(blobs, vaultUUID)
	there, err := repo.Exists(ctx, sub)
	if err != nil {
		return nil, err
	}
	if !there {
		return absent(sub)
	}
	return repo.Open(ctx, sub, s.o.Ledgers.Vault(vaultUUID), s.o.Keys, s.o.Repo)
}

// usable refuses a vault whose key may not be used, and drops its keys if it is open.
func (s *Store) usable(ctx context.Context, vaultUUID string) error {
	if s.o.VaultKeys == nil {
		return nil
	}
	err := s.o.VaultKeys.CheckVaultKey(ctx, vaultUUID)
	if _, refused := errors.AsType[*kms.Unusable](err); refused {
		s.drop(vaultUUID)
	}
	return err
}

// drop forgets a vault without closing it: who is at work on it may finish, and its keys go with the last one.
func (s *Store) drop(vaultUUID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.vaults, vaultUUID)
}

// DropUnusable drops the keys of all open vaults whose key may no longer be used.
func (s *Store) DropUnusable(ctx context.Context) error {
	s.mu.Lock()
	open := slices.Collect(maps.Keys(s.vaults))
	s.mu.Unlock()
	for _, id := range open {
		err := s.usable(ctx, id)
		if _, refused := errors.AsType[*kms.Unusable](err); err != nil && !refused {
			return err
		}
	}
	return nil
}

// Shred removes every key object of a vault, so that nobody can read its data any more, with whatever key. It leaves a vault alone
// that another server has taken over.
func (s *Store) Shred(ctx context.Context, vaultUUID string) error {
	blobs, err := s.blobs()
	if err != nil {
		return err
	}
	sub := blob.Prefix(blobs, vaultUUID)
	// Whether or not its key may be used here.
	if err := repo.CheckClaim(ctx, sub, s.o.Ledgers.Vault(vaultUUID), s.o.Keys, s.o.Repo); errors.Is(err, repo.ErrClaimed) {
		s.o.Log.ErrorContext(ctx, "vault keeps its keys: another server has taken it over", "vault", vaultUUID)
		return nil
	}
	s.drop(vaultUUID)
	s.keysMu.Lock()
	defer s.keysMu.Unlock()
	err = s.removeAll(ctx, blobs, vaultUUID, "k/")
	if err == nil {
		err = repo.Shred(ctx, sub, func(name blob.Name, err error) { s.noteRemoval(vaultUUID, name, err) })
	}
	if err != nil {
		return fmt.Errorf("shred vault %s: %w", vaultUUID, err)
	}
	return nil
}

// Rewrap wraps the keys of a vault anew, see [repo.Rewrap]. found is false for a vault that has nothing in the store,
// and for one that another server has taken over.
func (s *Store) Rewrap(ctx context.Context, vaultUUID string, o repo.RewrapOptions) (found bool, err error) {
	blobs, err := s.blobs()
	if err != nil {
		return false, err
	}
	sub := blob.Prefix(blobs, vaultUUID)
	s.keysMu.Lock()
	defer s.keysMu.Unlock()
	there, err := repo.Exists(ctx, sub)
	if err != nil {
		return false, err
	}
	if !there {
		_, err = s.unused(ctx, s.o.Ledgers.Vault(vaultUUID))
		return false, err
	}
	if err := repo.CheckClaim(ctx, sub, s.o.Ledgers.Vault(vaultUUID), s.o.Keys, s.o.Repo); errors.Is(err, repo.ErrClaimed) {
		s.o.Log.WarnContext(ctx, "keys of vault are left as they are: another server has taken it over", "vault", vaultUUID)
		return false, nil
	}
	r, err := repo.Rewrap(ctx, sub, o)
	log := s.o.Log.With("vault", vaultUUID, "key", o.To.KeyID())
	if r.Epoch > 0 {
		log.InfoContext(ctx, "vault has a new key for what is stored from now on", "epoch", int64(r.Epoch))
	}
	if r.Full {
		log.WarnContext(ctx, "vault has as many keys as it may have: what is stored from now on gets no new one", "most", int64(seal.MaxEpochs))
	}
	for _, d := range r.Passed {
		log.WarnContext(ctx, "key object is damaged and was passed over", "error", d)
	}
	if r.Wrapped > 0 {
		log.InfoContext(ctx, "keys of vault wrapped anew", "keys", int64(r.Wrapped))
	}
	return err == nil, err
}

// removeAll removes the objects of a vault whose names begin with a prefix.
func (s *Store) removeAll(ctx context.Context, blobs blob.Store, vaultUUID, prefix string) error {
	sub := blob.Prefix(blobs, vaultUUID)
	var names []blob.Name
	s.mu.Lock()
	for name := range s.unsure[vaultUUID] {
		if strings.HasPrefix(string(name), prefix) {
			names = append(names, name)
		}
	}
	s.mu.Unlock()
	for info, err := range sub.List(ctx, prefix) {
		if err != nil {
			return err
		}
		names = append(names, info.Name)
	}
	repo.EraseOrder(names)
	var retained error
	for _, name := range names {
		err := sub.Delete(ctx, name)
		if errors.Is(err, blob.ErrRetained) { // the others go all the same
			retained = err
			continue
		}
		s.noteRemoval(vaultUUID, name, err)
		if err != nil {
			return err
		}
	}
	return retained
}

// Reachable is nil if a vault can be read and changed now, and for a vault that has nothing in the store yet. Its errors
// wrap [blob.ErrUnavailable], unless the database is at fault.
func (s *Store) Reachable(ctx context.Context, vaultUUID string) error {
	blobs, err := s.blobs()
	if err != nil {
		return err
	}
	short, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	there, err := repo.Exists(short, blob.Prefix(blobs, vaultUUID))
	if err != nil {
		return fmt.Errorf("%w: vault %s: %w", blob.ErrUnavailable, vaultUUID, err)
	}
	if !there {
		_, err = s.unused(ctx, s.o.Ledgers.Vault(vaultUUID))
	}
	return err
}

// ready makes the ledger of a vault that the store does not hold.
func (s *Store) ready(ctx context.Context, records *ledger.Vault) error {
	recorded, err := s.unused(ctx, records)
	if err != nil || recorded {
		return err
	}
	if err = records.Create(ctx); s.o.DB.IsDuplicate(err) {
		err = nil // another process was faster
	}
	return err
}

// unused refuses a vault that the store does not hold although it has been written to: the store's disk may not be
// mounted. recorded reports whether the vault has a ledger.
func (s *Store) unused(ctx context.Context, records *ledger.Vault) (recorded bool, err error) {
	objects, _, err := records.Changes(ctx, 0)
	switch {
	case errors.Is(err, repo.ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	case len(objects) > 0:
		return true, fmt.Errorf("%w: it does not hold the vault, although there are records of its content; is the disk mounted?",
			blob.ErrUnavailable)
	}
	return true, nil
}

// Erase removes a deleted vault from the store, and its ledger.
func (s *Store) Erase(ctx context.Context, vaultUUID string) error {
	if uuid.Validate(vaultUUID) != nil {
		return fmt.Errorf("erase vault: %q is not a UUID", vaultUUID)
	}
	if errors.Is(s.Changeable(ctx, vaultUUID), repo.ErrClaimed) {
		s.o.Log.ErrorContext(ctx, "vault is left in the store: another server has taken it over", "vault", vaultUUID)
		return nil
	}
	if err := s.current(ctx, vaultUUID); errors.Is(err, repo.ErrOutdated) {
		s.o.Log.ErrorContext(ctx, "vault is left in the store", "vault", vaultUUID, "error", err)
		return nil
	} else if err != nil {
		return err
	}
	if err := s.entry(vaultUUID).erase(); err != nil {
		return err
	}
	blobs, err := s.blobs()
	if err != nil {
		return err
	}
	s.keysMu.Lock()
	err = s.removeAll(ctx, blobs, vaultUUID, "")
	s.keysMu.Unlock()
	if err != nil {
		return fmt.Errorf("erase vault %s: %w", vaultUUID, err)
	}
	return s.o.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		return s.o.Ledgers.DropTx(ctx, tx, vaultUUID)
	})
}

// current is [repo.Vault.Current] of a vault; nil for one that has nothing in the store, or cannot be opened, such as one
// whose keys were destroyed.
func (s *Store) current(ctx context.Context, vaultUUID string) error {
	if v, err := s.Existing(ctx, vaultUUID); err == nil && v != nil {
		return v.Current(ctx)
	}
	return nil
}

// Changeable returns why a vault cannot be changed now, see [repo.Vault.Changeable]; nil for one that has nothing in the store.
func (s *Store) Changeable(ctx context.Context, vaultUUID string) error {
	v, err := s.Existing(ctx, vaultUUID)
	if err != nil || v == nil {
		return err
	}
	return v.Changeable(ctx)
}

// noteRemoval notes whether a name of a vault is surely gone.
func (s *Store) noteRemoval(vaultUUID string, name blob.Name, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		delete(s.unsure[vaultUUID], name)
	case s.unsure[vaultUUID] == nil:
		s.unsure[vaultUUID] = map[blob.Name]bool{name: true}
	default:
		s.unsure[vaultUUID][name] = true
	}
}

// erase closes a vault that is open, for the last time.
func (e *openVault) erase() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	v := e.vault
	if e.vault, e.erased = nil, true; v == nil {
		return nil
	}
	return v.Close()
}

// Close closes all vaults. Nothing may use them any more.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all error
	for _, e := range s.vaults {
		if e.vault != nil {
			all = errors.Join(all, e.vault.Close())
		}
	}
	clear(s.vaults)
	return all
}
