package repo

import (
	"errors"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/seal"
	"github.com/lockfast/lockfast/repo/tree"
)

// Sentinel errors of this package, wrapped with the object or item they are about.
var (
	ErrDamaged    = chunk.ErrDamaged                 // bytes are missing or are not what was written
	ErrNotFound   = errors.New("not found")          // no such recovery point, entry or row
	ErrFenced     = errors.New("session is fenced")  // the session lost its lease or ended; its work is void
	ErrBusy       = errors.New("busy")               // another collector is at work
	ErrWrongKey   = seal.ErrWrongKey                 // the key given does not open the vault
	ErrFormat     = errors.New("unsupported format") // not a vault, or a version or feature this program does not know
	ErrStale      = errors.New("revision too old")   // a ledger does not remember what was forgotten since then
	ErrClaimed    = errors.New("claimed by another") // the vault belongs to another ledger
	ErrClosed     = errors.New("closed")             // used after Close, Commit or Abort
	ErrReadOnly   = errors.New("opened for reading") // the vault was opened without a ledger
	ErrDomain     = errors.New("other chunk domain") // the vaults give equal contents different ids
	ErrDestroyed  = errors.New("key was destroyed")  // the key that should wrap vault keys went meanwhile
	ErrCold       = errors.New("in cold storage")    // its contents cannot be relied on by a new recovery point
	ErrOutOfOrder = tree.ErrOrder                    // TreeWriter wants ascending keys

	// ErrOutdated says that the ledger has lost a recovery point, see [Vault.Current].
	ErrOutdated = errors.New("is in the store and not in the database, which is older than the store")
	// ErrJournal says that the journal of the ledger is not whole, or that a recovery point is not where it says, see [Points.Announce].
	ErrJournal = errors.New("rows of the database do not fit its journal of commits and deletions")
)
