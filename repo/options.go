package repo

import (
	"context"
	"log/slog"
	"runtime"

	"github.com/lockfast/lockfast/repo/chunk"
)

// KeyWrapper wraps the vault's key under a key that is kept elsewhere. bind has to be authenticated with it. Unwrap
// returns an error that wraps [ErrWrongKey] when the wrapping key is another one. A wrapper may also have a method
// KeyID() string that names the wrapping key for the operator; it is noted in the key object.
type KeyWrapper interface {
	Wrap(ctx context.Context, key, bind []byte) ([]byte, error)
	Unwrap(ctx context.Context, wrapped, bind []byte) ([]byte, error)
}

// ChainWrapper is a [KeyWrapper] whose own key is wrapped by others, up to a root. The links of that chain are kept in the
// key object (docs/format.md section 5.4), so that whoever has the root needs nothing but the objects. A KeyWrapper that
// does not implement it cannot open a vault whose key objects have links.
type ChainWrapper interface {
	KeyWrapper
	// Links returns the chain from the root to the key that Wrap uses, outermost first; empty if that is the root.
	Links() [][]byte
	// UnwrapLinked is Unwrap for what was wrapped at the end of the links of a key object, which may be none. keyID is
	// the name of the wrapping key in the key object.
	UnwrapLinked(ctx context.Context, keyID string, links [][]byte, wrapped, bind []byte) ([]byte, error)
}

// CreateOptions describes a new vault. Sizes are fixed for its life; zero means the default.
type CreateOptions struct {
	UUID      [16]byte
	DomainKey [32]byte // vaults with the same domain key give equal contents equal ids
	Options   Options
	Open      KeyWrapper // opens the vault that was made, and the keys of later epochs; nil is the one that wraps

	DataPack int          // target size of data packs in bytes, at least twice the largest chunk
	MetaPack int          // target size of meta packs in bytes, likewise
	ColdPack int          // target size of cold packs in bytes, likewise
	Chunk    chunk.Params // sizes of chunks of files
	NoParity bool         // leave out parity, as versions before it did
}

// Options tunes an open vault; the zero value works.
type Options struct {
	Workers     int          // goroutines of one writer that compress and seal; 0 = GOMAXPROCS, as memory allows
	Readers     int          // ranges of packs that a fetch or a copy reads at once, each of up to 4 MiB; 0 = up to 4, which does for a disk
	MemoryLimit int64        // bytes of buffers of one writer, roughly; 0 = 160 MiB
	TempDir     string       // takes cold packs while they are made, and files without names that hold the index; empty = the system's
	Log         *slog.Logger // nil = silent
	// Admit, if not nil, is called before a writer stores a pack; its error fails the writer. A reclaim does not ask.
	Admit func() error
	// DataParity protects whole data packs, not only their trailers, for about 6 % more space. It is worth that where one
	// disk holds the store. Vaults made without parity are not changed by it.
	DataParity bool
	// DataPacks is how many data packs a backup or a copy fills at once, 1 or 2; 0 = 1. With two, each content goes into
	// either of them at random, so that the ranges of packs that a restore reads tell less of the sizes of neighbouring
	// contents to who runs the store. It costs the memory of a further pack.
	DataPacks int
	// OnDamage, if not nil, is told once of each object that a read found damaged and got around: what was asked for was
	// served, and the object waits for [Vault.Repair]. It is called by the read, and has to return soon.
	OnDamage func(object string, err error)
}

const defaultMemory = 160 << 20

// localReaders is the default of Options.Readers. Of a store at the end of a network most of the time of a read is waiting.
const localReaders = 4

func (o Options) withDefaults() Options {
	if o.MemoryLimit <= 0 {
		o.MemoryLimit = defaultMemory
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.Readers <= 0 {
		o.Readers = min(localReaders, o.Workers+1)
	}
	if o.DataPacks <= 0 {
		o.DataPacks = 1
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}
