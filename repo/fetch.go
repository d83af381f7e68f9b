package repo

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/lockfast/lockfast/repo/index"
	"github.com/lockfast/lockfast/repo/tree"
)

// Want is a content to fetch.
type Want struct {
	Content Content
	Tag     any // the caller's
}

// Limits of a fetch.
const (
	fetchFirst  = 2 << 10        // extents of the first window; each further one is four times as long
	fetchWindow = 32 << 10       // extents planned at once; each takes about 100 bytes
	fetchGap    = 512 << 10      // unneeded bytes that are read rather than skipped
	fetchRun    = 4<<20 + 64<<10 // bytes read at once; room for the largest slot
	fetchPlain  = 4 << 20        // bytes of a decoded slot whose memory is kept for the next one
	fetchTries  = 4              // how often a piece is looked up and read before it is sought by itself
)

// piece is an extent that is wanted, and where it is stored.
type piece struct {
	want  *Want
	off   int64 // in the content
	tries int
	x     Extent
	loc   index.Location
}

// Fetch reads many contents in the order in which they are stored, not in that of wants, and calls write with pieces of
// them, from several goroutines at once, while it goes on taking wants in the caller's. data is valid during the call.
// Every byte that is not in a hole is written, some of them twice if a pack is moved or found damaged meanwhile; inline
// contents are written too. The first error ends the fetch; no call of write is under way when it returns.
func (p *Point) Fetch(ctx context.Context, wants iter.Seq2[Want, error],
	write func(ctx context.Context, w Want, off int64, data []byte) error) error {
	return p.FetchIntact(ctx, wants, write, nil)
}

// WantError is the error of a fetch for damage to one content. It wraps the cause.
type WantError struct {
	Want Want
	Err  error
}

// Error implements error.
func (e *WantError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *WantError) Unwrap() error { return e.Err }

// FetchIntact is [Point.Fetch] that goes on when a content is damaged: damaged is told of it, from several goroutines,
// perhaps several times, and perhaps after some of it was written. With nil, damage is an error, which wraps a [*WantError].
func (p *Point) FetchIntact(ctx context.Context, wants iter.Seq2[Want, error],
	write func(ctx context.Context, w Want, off int64, data []byte) error, damaged func(w Want, err error)) error {
	f := &fetch{
		v: p.v, write: write, damaged: damaged, windows: make(chan []piece), limit: fetchFirst,
		stored: newBuffers(fetchRun, p.v.opts.Readers), plain: newBuffers(fetchPlain, p.v.opts.Readers),
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return f.readWindows(gctx) })
	err := f.planWindows(gctx, wants)
	if err != nil && gctx.Err() == nil {
		cancel()
		_ = g.Wait() // err came first
		return err
	}
	close(f.windows)
	return cmp.Or(g.Wait(), err)
}

// fetch plans pieces in windows, so that its memory is bounded, and reads a window in the order of the packs while it
// plans the next one.
type fetch struct {
	v       *Vault
	write   func(ctx context.Context, w Want, off int64, data []byte) error
	damaged func(w Want, err error) // nil = damage is an error
	windows chan []piece
	stored  *buffers // for runs
	plain   *buffers // for slots

	pieces []piece // of the window that is planned
	limit  int     // of pieces in it

	mu    sync.Mutex
	later []piece // to be looked up again; guarded by mu
}

// planWindows plans all wants and hands the windows over.
func (f *fetch) planWindows(ctx context.Context, wants iter.Seq2[Want, error]) error {
	for want, err := range wants {
		if err == nil {
			err = f.plan(ctx, want)
		}
		if err != nil {
			return err
		}
	}
	return f.flush(ctx)
}

// plan adds the extents of a content. Extents are copied, so the caller may reuse its entry.
func (f *fetch) plan(ctx context.Context, want Want) error {
	if len(want.Content.Inline) > 0 {
		return f.write(ctx, want, 0, want.Content.Inline)
	}
	w := new(want)
	w.Content.Extents = slices.Clone(want.Content.Extents)
	for x, err := range tree.Extents(ctx, pointStore{f.v}, w.Content, 0) {
		if err != nil {
			return f.lose(w, err)
		}
		if x.ID.IsZero() {
			continue
		}
		f.pieces = append(f.pieces, piece{want: w, off: x.Offset, x: x.Extent})
		if len(f.pieces) >= f.limit {
			if err := f.flush(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush hands the window over that is planned. The first ones are short, for the readers to begin early.
func (f *fetch) flush(ctx context.Context) error {
	if len(f.pieces) == 0 {
		return nil
	}
	select {
	case f.windows <- f.pieces:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	f.limit = min(4*f.limit, fetchWindow)
	f.pieces = make([]piece, 0, f.limit)
	return nil
}

// readWindows reads all windows. What has to be looked up again goes with the next one, or comes at the end.
func (f *fetch) readWindows(ctx context.Context) error {
	g, gctx := f.workers(ctx)
	for window := range f.next(gctx) {
		if err := f.start(gctx, g, window); err != nil {
			return cmp.Or(g.Wait(), err)
		}
	}
	for {
		if err := g.Wait(); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if len(f.later) == 0 {
			return nil
		}
		g, gctx = f.workers(ctx)
		if err := f.start(gctx, g, nil); err != nil {
			return cmp.Or(g.Wait(), err)
		}
	}
}

// next yields the windows until there are no more, or ctx ends.
func (f *fetch) next(ctx context.Context) iter.Seq[[]piece] {
	return func(yield func([]piece) bool) {
		for {
			select {
			case window, ok := <-f.windows:
				if !ok || !yield(window) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

func (f *fetch) workers(ctx context.Context) (*errgroup.Group, context.Context) {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(f.v.opts.Readers)
	return g, gctx
}

// start finds pieces and those of before that were not found, and has the group read them pack by pack. It waits for
// room in the group.
func (f *fetch) start(ctx context.Context, g *errgroup.Group, pieces []piece) error {
	f.mu.Lock()
	again := f.later
	f.later = nil
	f.mu.Unlock()
	if len(again) > 0 {
		if err := f.v.catalog.refresh(ctx); err != nil {
			return err
		}
		lost := func(p piece) bool { return p.tries >= fetchTries }
		for _, p := range again {
			if lost(p) {
				g.Go(func() error { return f.alone(ctx, p) })
			}
		}
		pieces = append(pieces, slices.DeleteFunc(again, lost)...)
	}
	for run := range runs(f.locate(pieces)) {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error { return f.readRun(ctx, run) })
	}
	return nil
}

// locate sorts pieces by the places where they are stored. Those with no place come later.
func (f *fetch) locate(pieces []piece) []piece {
	found := pieces[:0]
	for _, p := range pieces {
		loc, ok := f.v.catalog.findReadable(p.x.ID, nil)
		if !ok {
			f.postpone([]piece{p})
			continue
		}
		p.loc = loc
		found = append(found, p)
	}
	slices.SortFunc(found, func(a, b piece) int {
		return cmp.Or(cmp.Compare(a.loc.Pack, b.loc.Pack), cmp.Compare(a.loc.Slot, b.loc.Slot), cmp.Compare(a.loc.PartOffset, b.loc.PartOffset))
	})
	return found
}

// postpone notes pieces whose pack is not there any more, or is damaged. Nothing of them was written, or all of it may be
// written again.
func (f *fetch) postpone(pieces []piece) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range pieces {
		p.tries++
		f.later = append(f.later, p)
	}
}

// alone reads a piece that no plan could get; it finds other places of its content, and names what is damaged.
func (f *fetch) alone(ctx context.Context, p piece) error {
	plain, err := f.v.chunk(ctx, p.x.ID)
	if err != nil {
		return f.lose(p.want, err)
	}
	return f.deliver(ctx, p, plain)
}

// lose tells of a content that is damaged. Other errors are returned as they are.
func (f *fetch) lose(w *Want, err error) error {
	if !errors.Is(err, ErrDamaged) {
		return err
	}
	if f.damaged == nil {
		return &WantError{Want: *w, Err: err}
	}
	f.damaged(*w, err)
	return nil
}
