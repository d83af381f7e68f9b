package repo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/index"
	"github.com/lockfast/lockfast/repo/pack"
	"github.com/lockfast/lockfast/repo/refset"
	"github.com/lockfast/lockfast/repo/tree"
)

// WriterOptions describes a recovery point to make.
type WriterOptions struct {
	Job    string  // opening fences the active writers of the same job
	Parent PointID // the resource's previous point; empty = none. One in cold storage is refused with [ErrCold]
	// Cold, if not empty, is a recovery point that the writer moves to cold storage: it takes nothing but
	// [Writer.MoveToCold].
	Cold PointID
}

// WriterStats counts what a writer has done so far.
type WriterStats struct {
	Entries   int64 // put or kept
	BytesRead int64 // offered to Small and Stream, without holes
	BytesNew  int64 // of those, plain bytes that the vault did not have
	Stored    int64 // bytes of packs written
}

// Writer makes one recovery point. Small and Stream may be called concurrently, beside one goroutine that uses the tree.
// The first error is final: every later call returns it, and all that is left to do is Abort.
//
// What a content needs is looked up under gate, held to read, together with the note in pins that it is relied on;
// acknowledging an epoch holds gate to write. So a hit is either among the pins that are handed to the ledger, or found
// under the states of packs that the ledger reported afterwards.
type Writer struct {
	v      *Vault
	s      *session
	job    string
	parent *Point
	tree   TreeWriter

	ctx     context.Context // of everything done for this writer; its cause is the first error
	cancel  context.CancelCauseFunc
	workers sync.WaitGroup
	tasks   chan task
	pending sync.WaitGroup // tasks not done
	buffers *buffers
	streams *buffers
	bundle  bundler
	data    []*packer // filled side by side
	meta    *packer
	cold    *packer
	blocks  *pack.Blocks // of packs that are stored as they fill
	source  *Point       // to be moved to cold storage; nil for other writers
	table   *index.Table // what this session stores

	gate   sync.RWMutex
	pinsMu sync.Mutex
	pins   *refset.Builder // slots of others that contents rely on; guarded by pinsMu

	pinView struct { // pins and parent's refset, translated when the catalog had that many changes; guarded by pinsMu
		changes uint64
		set     refset.Set
	}

	segmentMu sync.Mutex
	segment   *index.Builder // of packs registered; guarded by segmentMu
	segments  []ID           // published; guarded by segmentMu
	indexed   int64          // bytes stored when a segment was published on the way; guarded by segmentMu

	indexedPacks sync.Map // of a collector: ids of packs that are registered, and in segment or published ones

	listsMu sync.Mutex
	lists   map[ID][]byte // list chunks of this writer; guarded by listsMu

	copied  bool // the tree is that of a recovery point of another vault, and takes no entries
	rebuilt bool // it is built anew from that one

	copies struct{ bytes, total, moved atomic.Int64 }
	stats  struct{ entries, read, fresh, stored, packs atomic.Int64 }

	mu    sync.Mutex
	state writerState
}

// writerState says what may be done with a writer.
type writerState uint8

const (
	writing writerState = iota
	prepared
	ended
)

// memoryPerWorker is about what a worker takes: a chunk, its compressed form, a chunk waiting, and encoder state.
const memoryPerWorker = 16 << 20

// NewWriter opens a session that makes a recovery point. It returns [ErrNotFound] when the parent is not there any more,
// and [ErrReadOnly] for a vault opened without a ledger. ctx bounds the writer's whole life.
func (v *Vault) NewWriter(ctx context.Context, o WriterOptions) (*Writer, error) {
	if err := v.writable(); err != nil {
		return nil, err
	}
	if err := v.lookForKeys(ctx, 0); err != nil {
		return nil, fmt.Errorf("open writer: %w", err)
	}
	if o.Cold != "" {
		if o.Parent != "" {
			return nil, errors.New("open writer: what is moved has no parent")
		}
		if err := v.allowCold(ctx); err != nil {
			return nil, fmt.Errorf("open writer: %w", err)
		}
	}
	s, err := v.openSession(ctx, SessionOptions{Kind: SessionWriter, Job: o.Job, Pin: cmp.Or(o.Parent, o.Cold)})
	if err != nil {
		return nil, fmt.Errorf("open writer: %w", err)
	}
	w := v.newWriter(ctx, s)
	w.job = o.Job
	s.acknowledge, s.lost = w.acknowledge, w.fail
	if err := s.start(ctx); err != nil {
		return nil, fmt.Errorf("open writer: %w", err)
	}
	if err := w.readPin(ctx, o); err != nil {
		w.fail(ErrClosed)
		return nil, errors.Join(err, s.close(ctx))
	}
	for range v.workers() {
		w.workers.Go(w.work)
	}
	return w, nil
}

// readPin reads the point that the writer's session pins.
func (w *Writer) readPin(ctx context.Context, o WriterOptions) (err error) {
	switch {
	case o.Cold != "":
		if w.source, err = w.v.readPoint(ctx, o.Cold); err == nil && w.source.Cold() {
			err = fmt.Errorf("recovery point %s: %w", o.Cold, ErrCold)
		}
	case o.Parent != "":
		if w.parent, err = w.v.readPoint(ctx, o.Parent); err == nil && w.parent.Cold() {
			err = fmt.Errorf("recovery point %s: %w", o.Parent, ErrCold)
		}
		if err != nil {
			err = fmt.Errorf("open parent: %w", err)
		}
	}
	return err
}

// workers returns how many goroutines of a writer compress and seal.
func (v *Vault) workers() int {
	packs := int64(v.opts.DataPacks+1)*int64(v.format.DataPack) + 2*int64(v.format.MetaPack)
	return max(1, min(v.opts.Workers, int((v.opts.MemoryLimit-packs)/memoryPerWorker)))
}

func (v *Vault) newWriter(ctx context.Context, s *session) *Writer {
	f := v.format
	w := &Writer{
		v: v, s: s, tasks: make(chan task, v.workers()), table: index.NewTable(), pins: refset.NewBuilder(), segment: index.NewBuilder(),
		lists: map[ID][]byte{},
	}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.bundle.target = min(bundleTarget, f.Chunk.Avg)
	w.buffers = newBuffers(max(f.Chunk.Max, w.bundle.target+chunk.MaxPart), 2*v.workers()+2)
	w.streams = newBuffers(2*f.Chunk.Max, 2)
	w.blocks = pack.NewBlocks(int(min(streamBlock, f.DataPack)), streamBlocks)
	free := packBuffers(v.opts.DataPacks + 1)
	for range v.opts.DataPacks {
		w.data = append(w.data, newPacker(w, ObjectData, f.DataPack, free))
	}
	w.meta = newPacker(w, ObjectMeta, f.MetaPack, packBuffers(2))
	w.cold = newPacker(w, ObjectCold, f.ColdPack, packBuffers(2))
	w.tree = TreeWriter{w: w, refs: refset.NewBuilder(), lists: map[ID]bool{}}
	w.tree.builder = tree.NewBuilder(treeStore{&w.tree}, v.keys().Boundary, tree.BuilderOptions{Leaf: w.tree.leaf})
	return w
}

// collects reports whether it writes what a reclaim or a repair moves.
func (w *Writer) collects() bool { return w.s.row.Kind == SessionCollector }

// Parent returns the parent's recovery point, nil without one. It is closed with the writer.
func (w *Writer) Parent() *Point { return w.parent }

// ParentDamaged reports whether damage is known in what the parent consists of. What is taken over from such a parent is damaged
// in the new recovery point as well; what is read and put anew is whole in it, and heals the older ones. False without a parent.
func (w *Writer) ParentDamaged(ctx context.Context) (bool, error) {
	if w.parent == nil {
		return false, nil
	}
	set, err := w.v.refset(ctx, w.parent.id)
	if err != nil {
		return false, err
	}
	return w.v.catalog.damagedIn(set), nil
}

// Tree returns the taker of entries.
func (w *Writer) Tree() *TreeWriter { return &w.tree }

// Stats counts so far. It may be called at any time.
func (w *Writer) Stats() WriterStats {
	return WriterStats{
		Entries: w.stats.entries.Load(), BytesRead: w.stats.read.Load(), BytesNew: w.stats.fresh.Load(), Stored: w.stats.stored.Load(),
	}
}

// fail makes err the writer's error, unless it has one.
func (w *Writer) fail(err error) { w.cancel(err) }

// err returns the writer's error.
func (w *Writer) err() error { return context.Cause(w.ctx) }

// usable returns the error that ends the use of the writer, or of this call.
func (w *Writer) usable(ctx context.Context) error {
	switch {
	case w.ctx.Err() != nil:
		return w.err()
	case w.copied:
		return fmt.Errorf("writer of a copy: %w", ErrClosed)
	case w.source != nil:
		return fmt.Errorf("writer of a move to cold storage: %w", ErrClosed)
	}
	return ctx.Err()
}

// has reports whether a content is stored or being stored by this writer. If not, the caller has claimed it and has to
// store it.
func (w *Writer) has(id ID, length int64) bool {
	w.gate.RLock()
	defer w.gate.RUnlock()
	if loc, ok := w.find(id); ok && loc.Length() == length {
		w.pin(loc)
		return true
	}
	state, _, _ := w.table.Claim(id, 0)
	return state != index.Absent
}

// pin notes that the recovery point relies on a slot of another session. The caller holds gate.
func (w *Writer) pin(loc index.Location) {
	w.pinsMu.Lock()
	defer w.pinsMu.Unlock()
	w.pins.Add(loc.Pack, int(loc.Slot))
}

// acknowledge hands the pins to the ledger and takes over which packs are condemned; lookups wait meanwhile.
func (w *Writer) acknowledge(ctx context.Context) (uint64, error) {
	// What can be read before is, so that lookups wait for little.
	if err := w.v.catalog.refresh(ctx); err != nil {
		return 0, err
	}
	w.gate.Lock()
	defer w.gate.Unlock()
	w.pinsMu.Lock()
	set, err := w.pins.Set(w.v.catalog.slots)
	w.pinsMu.Unlock()
	if err != nil {
		return 0, fmt.Errorf("collect pins: %w", err)
	}
	pins, err := refset.Encode(set, true, w.v.catalog.name)
	if err != nil {
		return 0, fmt.Errorf("encode pins: %w", err)
	}
	epoch, err := w.v.ledger.Acknowledge(ctx, w.s.row.ID, pins)
	if err != nil {
		return 0, err
	}
	if err := w.v.catalog.refresh(ctx); err != nil {
		// Acknowledged, but without knowing what is condemned: the writer must not go on.
		err = fmt.Errorf("acknowledge epoch %d: %w: %w", epoch, ErrFenced, err)
		w.fail(err)
		return 0, err
	}
	return epoch, nil
}

// Abort gives up: nothing of the writer becomes a recovery point. After the point was committed, by Commit or by somebody
// who gave what Prepare returned to the ledger, it only ends the writer. A second time it does nothing. No other call may
// be under way.
func (w *Writer) Abort(ctx context.Context) error {
	if !w.finish(ended) {
		return nil
	}
	w.fail(fmt.Errorf("writer: %w", ErrClosed))
	w.stop()
	return w.s.close(ctx)
}

// finish moves to a last state and reports whether this call did.
func (w *Writer) finish(to writerState) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state == ended {
		return false
	}
	w.state = to
	return true
}

// stop ends the goroutines. No call of Small, Stream or the tree is under way any more.
func (w *Writer) stop() {
	close(w.tasks)
	w.workers.Wait()
	for _, p := range w.packers() {
		p.uploads.Wait()
	}
}
