package repo

import (
	"context"
	"io"
	"iter"
	"log/slog"
	"time"

	"github.com/lockfast/lockfast/blob"
)

// KeyWrapper wraps the vault's key under a key that is kept elsewhere. bind has to be authenticated with it. Unwrap
// returns an error that wraps [ErrWrongKey] when the wrapping key is another one. A wrapper may also have a method
// KeyID() string that names the wrapping key for the operator; it is noted in the key object.
type KeyWrapper interface {
	Wrap(ctx context.Context, key, bind []byte) ([]byte, error)
	Unwrap(ctx context.Context, wrapped, bind []byte) ([]byte, error)
}

// CreateOptions describes a new vault.
type CreateOptions struct {
	UUID      [16]byte
	DomainKey [32]byte // vaults with the same domain key give equal contents equal ids
	Options   Options
}

// Options tunes an open vault; the zero value works.
type Options struct {
	Workers     int          // compressing and sealing at once per writer; 0 = GOMAXPROCS
	MemoryLimit int64        // bytes of buffers of one writer; 0 = 128 MiB
	CacheDir    string       // may keep derived data; empty = none
	Log         *slog.Logger // nil = silent
}

// WriterOptions describes a recovery point to make.
type WriterOptions struct {
	Job    string  // opening fences the active writers of the same job
	Parent PointID // the resource's previous point; empty = none
}

// Source is a content that may be read at any offset, several times.
type Source interface {
	io.ReaderAt
	Size() int64
	// NextData returns the next run of bytes at or after off that is not a hole, as SEEK_DATA and SEEK_HOLE do:
	// off <= start <= end <= Size, and start = end = Size when only a hole is left. A source that does not know
	// answers (off, Size).
	NextData(off int64) (start, end int64, err error)
}

// Facts is what a manifest says about its recovery point.
type Facts struct {
	Created     time.Time
	Resource    string // in the caller's words
	Driver      string // says how Meta of entries is encoded
	Metadata    map[string]string
	Skipped     []Skip // at most 10,000
	SkippedMore int64  // how many there were beyond Skipped
}

// Skip is an item that could not be captured.
type Skip struct {
	Path   []byte
	Reason string
}

// PointStats counts what a recovery point holds; a manifest carries it.
type PointStats struct {
	Entries      int64
	LogicalBytes int64 // sum of the contents' sizes
	BytesRead    int64 // offered to Small and Stream when it was made
	BytesStored  int64 // written for it to data and meta packs
}

// WriterStats counts what a writer has done so far.
type WriterStats struct {
	Entries   int64 // put or kept
	BytesRead int64 // offered to Small and Stream, without holes
	BytesNew  int64 // of those, plain bytes that had to be stored
	Stored    int64 // bytes written to packs
}

// Prepared is a recovery point that is durable in the store and waits to be committed in the ledger.
type Prepared struct {
	Session SessionID
	Point   PointID // same digits as Session
	Packs   []ID    // every pack of its refset, ascending
	Facts   Facts
	Stats   PointStats
}

// Want is a content to fetch.
type Want struct {
	Content Content
	Tag     any // the caller's
}

// ReclaimOptions tunes a reclaim.
type ReclaimOptions struct {
	Threshold float64 // share of dead bytes of the vault that may stay; 0 = free everything
	Progress  func(ReclaimProgress)
}

// ReclaimProgress is how far a reclaim is.
type ReclaimProgress struct {
	Done, Total int64 // bytes of packs to remove
}

// ReclaimReport is what a reclaim did.
type ReclaimReport struct {
	PacksRemoved   int64
	PacksWritten   int64
	BytesFreed     int64 // removed from the store less what was written
	ObjectsSwept   int64 // leftovers of ended sessions
	ForeignObjects int64 // of unknown origin, left alone
}

// CheckOptions tunes a check.
type CheckOptions struct {
	// Level 0 compares names and sizes with the ledger, 1 has every pack's footer, 2 walks all trees and compares
	// them with refsets and index, 3 also reads and re-hashes every chunk in use.
	Level    int
	Progress func(done, total int64) // bytes of packs, or nil
}

// CheckReport is what a check found.
type CheckReport struct {
	Level   int
	Points  int64
	Packs   int64
	Bytes   int64
	Damages []Damage // empty = sound
}

// Damage is one damaged object and what it affects.
type Damage struct {
	Object string // name in the store
	Err    error
	Points []PointID // affected recovery points
	Paths  [][]byte  // keys of affected entries, at most 100
}

// Usage is what a vault takes and holds.
type Usage struct {
	PhysicalBytes int64 // all objects of the vault
	LiveBytes     int64 // stored bytes of slots in use
	DeadBytes     int64 // of packs, not in use, to be freed by reclaim
	Points        int64
	LogicalBytes  int64
}

// Sizes are the sizes of a recovery point.
type Sizes struct {
	Logical    int64
	Referenced int64 // stored bytes of all slots it uses
	Unique     int64 // of those, used by no other point: what deleting it frees
}

// Vault is an open vault. All methods may be called concurrently.
type Vault struct{}

// Writer makes one recovery point.
type Writer struct{}

// TreeWriter takes the entries of a new recovery point in ascending order.
type TreeWriter struct{}

// Point is an open recovery point.
type Point struct{}

// Cursor moves over the entries of a point.
type Cursor struct{}

// Create makes a new vault in an empty store. It returns blob.ErrExist when there is one.
func Create(ctx context.Context, s blob.Store, l Ledger, k KeyWrapper, o CreateOptions) (*Vault, error) {
	panic("repo: not built yet")
}

// Open opens a vault.
func Open(ctx context.Context, s blob.Store, l Ledger, k KeyWrapper, o Options) (*Vault, error) {
	panic("repo: not built yet")
}

// OpenReadOnly opens a vault from its objects alone.
func OpenReadOnly(ctx context.Context, s blob.Store, k KeyWrapper, o Options) (*Vault, error) {
	panic("repo: not built yet")
}

// Close ends the use of the vault.
func (v *Vault) Close() error { panic("repo: not built yet") }

// NewWriter opens a session that makes a recovery point.
func (v *Vault) NewWriter(ctx context.Context, o WriterOptions) (*Writer, error) {
	panic("repo: not built yet")
}

// OpenPoint opens a recovery point for reading.
func (v *Vault) OpenPoint(ctx context.Context, id PointID) (*Point, error) {
	panic("repo: not built yet")
}

// PointIDs lists the recovery points.
func (v *Vault) PointIDs(ctx context.Context) ([]PointID, error) { panic("repo: not built yet") }

// DeletePoint begins the deletion and removes the manifest durably; Ledger.Remove follows.
func (v *Vault) DeletePoint(ctx context.Context, id PointID) error { panic("repo: not built yet") }

// Reclaim frees what no recovery point needs.
func (v *Vault) Reclaim(ctx context.Context, o ReclaimOptions) (ReclaimReport, error) {
	panic("repo: not built yet")
}

// Check verifies the vault.
func (v *Vault) Check(ctx context.Context, o CheckOptions) (CheckReport, error) {
	panic("repo: not built yet")
}

// Usage adds up what the vault takes.
func (v *Vault) Usage(ctx context.Context) (Usage, error) { panic("repo: not built yet") }

// PointSizes computes the sizes of all points.
func (v *Vault) PointSizes(ctx context.Context) (map[PointID]Sizes, error) {
	panic("repo: not built yet")
}

// Small stores a content of up to 128 KiB. It copies data.
func (w *Writer) Small(ctx context.Context, data []byte) (Content, error) {
	panic("repo: not built yet")
}

// Stream stores a content of any size; guide is the parent's content of the same item.
func (w *Writer) Stream(ctx context.Context, src Source, guide Content) (Content, error) {
	panic("repo: not built yet")
}

// Parent returns the parent, nil without one. The writer closes it.
func (w *Writer) Parent() *Point { panic("repo: not built yet") }

// Tree returns the taker of entries.
func (w *Writer) Tree() *TreeWriter { panic("repo: not built yet") }

// Stats counts so far.
func (w *Writer) Stats() WriterStats { panic("repo: not built yet") }

// Prepare makes everything durable.
func (w *Writer) Prepare(ctx context.Context, f Facts) (Prepared, error) {
	panic("repo: not built yet")
}

// Commit prepares and commits in the ledger.
func (w *Writer) Commit(ctx context.Context, f Facts) (PointID, error) {
	panic("repo: not built yet")
}

// Abort gives up; after a commit it does nothing.
func (w *Writer) Abort(ctx context.Context) error { panic("repo: not built yet") }

// Put adds an entry.
func (t *TreeWriter) Put(ctx context.Context, e Entry) error { panic("repo: not built yet") }

// Keep adds the parent's entry under the cursor.
func (t *TreeWriter) Keep(ctx context.Context, c *Cursor) error { panic("repo: not built yet") }

// ID returns the point's id.
func (p *Point) ID() PointID { panic("repo: not built yet") }

// Facts returns what the manifest says.
func (p *Point) Facts() Facts { panic("repo: not built yet") }

// Stats returns the counts of the manifest.
func (p *Point) Stats() PointStats { panic("repo: not built yet") }

// Close ends the reader's session.
func (p *Point) Close() error { panic("repo: not built yet") }

// Cursor returns a cursor before the first entry.
func (p *Point) Cursor(ctx context.Context) *Cursor { panic("repo: not built yet") }

// Entries yields the entries from key from on. They are valid until the next step.
func (p *Point) Entries(ctx context.Context, from []byte) iter.Seq2[Entry, error] {
	panic("repo: not built yet")
}

// Lookup returns the entry with that key, or ErrNotFound.
func (p *Point) Lookup(ctx context.Context, key []byte) (Entry, error) {
	panic("repo: not built yet")
}

// Reader reads a content.
func (p *Point) Reader(ctx context.Context, c Content) *io.SectionReader {
	panic("repo: not built yet")
}

// Fetch reads many contents in the order in which they are stored and calls write with pieces of them, concurrently.
func (p *Point) Fetch(ctx context.Context, wants iter.Seq2[Want, error],
	write func(ctx context.Context, w Want, off int64, data []byte) error) error {
	panic("repo: not built yet")
}

// Diff yields the changes from older to p in key order.
func (p *Point) Diff(ctx context.Context, older *Point) iter.Seq2[Change, error] {
	panic("repo: not built yet")
}

// Next moves to the next entry.
func (c *Cursor) Next() bool { panic("repo: not built yet") }

// Seek moves to the first entry with a key of at least key.
func (c *Cursor) Seek(key []byte) bool { panic("repo: not built yet") }

// Entry returns the entry under the cursor, valid until it moves.
func (c *Cursor) Entry() Entry { panic("repo: not built yet") }

// Err returns what stopped the cursor.
func (c *Cursor) Err() error { panic("repo: not built yet") }
