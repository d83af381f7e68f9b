package repo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/chunk"
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
	fetchBatch   = 1 << 17   // extents planned at once; each takes about 100 bytes
	fetchGap     = 512 << 10 // unneeded bytes that are read rather than skipped
	fetchRun     = 8 << 20   // bytes read at once; at least one slot
	fetchWorkers = 4
)

// piece is an extent that is wanted, and where it is stored.
type piece struct {
	want *Want
	off  int64 // in the content
	x    Extent
	loc  index.Location
}

// Fetch reads many contents in the order in which they are stored, not in that of wants, and calls write with pieces of
// them, from several goroutines at once. data is valid during the call. Every byte that is not in a hole is written, some
// of them twice if a pack is moved or found damaged meanwhile; inline contents are written too. The first error ends the
// fetch.
func (p *Point) Fetch(ctx context.Context, wants iter.Seq2[Want, error],
	write func(ctx context.Context, w Want, off int64, data []byte) error) error {
	f := &fetch{v: p.v, write: write, stored: newBuffers(fetchRun, fetchWorkers), plain: newBuffers(chunk.MaxPlain, fetchWorkers)}
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

// fetch plans pieces and reads them in batches.
type fetch struct {
	v      *Vault
	write  func(ctx context.Context, w Want, off int64, data []byte) error
	pieces []piece
	stored *buffers
	plain  *buffers
}

// plan adds the extents of a content. Extents are copied, so the caller may reuse its entry.
func (f *fetch) plan(ctx context.Context, want Want) error {
	w := new(want)
	if len(want.Content.Inline) > 0 {
		return f.write(ctx, want, 0, want.Content.Inline)
	}
	w.Content.Extents = slices.Clone(want.Content.Extents)
	for x, err := range tree.Extents(ctx, pointStore{f.v}, w.Content, 0) {
		if err != nil {
			return err
		}
		if x.ID.IsZero() {
			continue
		}
		f.pieces = append(f.pieces, piece{want: w, off: x.Offset, x: x.Extent})
		if len(f.pieces) >= fetchBatch {
			if err := f.flush(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush reads what is planned.
func (f *fetch) flush(ctx context.Context) error {
	pieces := f.pieces
	f.pieces = nil
	for try := 0; len(pieces) > 0; try++ {
		later, err := f.read(ctx, pieces)
		if err != nil {
			return err
		}
		if len(later) > 0 && try >= 3 {
			return f.oneByOne(ctx, later)
		}
		if len(later) > 0 {
			if err := f.v.catalog.refresh(ctx); err != nil {
				return err
			}
		}
		pieces = later
	}
	return nil
}

// oneByOne reads pieces that no plan could get; it finds other places of their contents, and names what is damaged.
func (f *fetch) oneByOne(ctx context.Context, pieces []piece) error {
	for _, p := range pieces {
		plain, err := f.v.chunk(ctx, p.x.ID)
		if err != nil {
			return err
		}
		if err := f.deliver(ctx, p, plain); err != nil {
			return err
		}
	}
	return nil
}

// read reads pieces pack by pack and returns those whose pack is not there any more, or is damaged.
func (f *fetch) read(ctx context.Context, pieces []piece) ([]piece, error) {
	var later []piece
	for i := range pieces {
		loc, ok := f.v.catalog.findReadable(pieces[i].x.ID, nil)
		if !ok {
			loc.Pack = index.NoPack
			later = append(later, pieces[i])
		}
		pieces[i].loc = loc
	}
	slices.SortFunc(pieces, func(a, b piece) int {
		return cmp.Or(cmp.Compare(a.loc.Pack, b.loc.Pack), cmp.Compare(a.loc.Slot, b.loc.Slot), cmp.Compare(a.loc.PartOffset, b.loc.PartOffset))
	})
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(min(fetchWorkers, f.v.opts.Workers+1))
	failed := make(chan []piece, len(pieces)+1)
	for run := range runs(pieces) {
		if gctx.Err() != nil {
			break
		}
		g.Go(func() error {
			err := f.readRun(gctx, run)
			if errors.Is(err, errReadAgain) {
				failed <- run
				err = nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	close(failed)
	for run := range failed {
		later = append(later, run...)
	}
	return later, nil
}

// errReadAgain says that a run has to be looked up again. Nothing of it was written, or all of it may be written again.
var errReadAgain = errors.New("read again")

// runs cuts sorted pieces into runs that are read at once.
func runs(pieces []piece) iter.Seq[[]piece] {
	return func(yield func([]piece) bool) {
		for start := 0; start < len(pieces); {
			first := pieces[start].loc
			end := start + 1
			for end < len(pieces) && joins(first, pieces[end-1].loc, pieces[end].loc) {
				end++
			}
			if first.Pack != index.NoPack && !yield(pieces[start:end]) {
				return
			}
			start = end
		}
	}
}

// joins reports whether next belongs to the run from first to last.
func joins(first, last, next index.Location) bool {
	if next.Pack != first.Pack {
		return false
	}
	if next.Slot == last.Slot {
		return true
	}
	gap := int64(next.Offset) - int64(last.Offset) - int64(last.Stored)
	return gap <= fetchGap && int64(next.Offset)+int64(next.Stored)-int64(first.Offset) <= fetchRun
}

// readRun reads one range of a pack and delivers the pieces in it.
func (f *fetch) readRun(ctx context.Context, run []piece) error {
	first, last := run[0].loc, run[len(run)-1].loc
	info, ok := f.v.catalog.set.Pack(first.Pack)
	if !ok {
		return errReadAgain
	}
	n := int64(last.Offset) + int64(last.Stored) - int64(first.Offset)
	stored := f.stored.get(int(n))
	defer func() { f.stored.put(stored) }()
	buf := f.plain.get(chunk.MaxPlain)
	defer f.plain.put(buf)
	stored, err := readRange(ctx, f.v.store, blob.Name(info.Name()), int64(first.Offset), n, stored)
	if err != nil {
		return again(ctx, err)
	}
	for len(run) > 0 {
		k := 1
		for k < len(run) && run[k].loc.Slot == run[0].loc.Slot {
			k++
		}
		loc := run[0].loc
		at := loc.Offset - first.Offset
		plain, err := f.v.openSlot(info, loc, stored[at:at+loc.Stored], buf)
		if err == nil && !loc.Part {
			err = f.v.verify(loc, plain)
		}
		if err != nil {
			return again(ctx, err)
		}
		if err := f.deliverSlot(ctx, run[:k], plain); err != nil {
			return err
		}
		run = run[k:]
	}
	return nil
}

// again turns errors that another place, or another look at the index, may avoid into errReadAgain.
func again(ctx context.Context, err error) error {
	if ctx.Err() == nil && (errors.Is(err, blob.ErrNotExist) || errors.Is(err, ErrDamaged)) {
		return errReadAgain
	}
	return err
}

// deliverSlot writes the pieces that stand in one slot.
func (f *fetch) deliverSlot(ctx context.Context, pieces []piece, plain []byte) error {
	var checked ID
	for _, p := range pieces {
		data := plain
		if p.loc.Part {
			var err error
			if p.x.ID == checked {
				data = plain[p.loc.PartOffset : p.loc.PartOffset+p.loc.PartLength]
			} else if data, err = f.v.part(p.x.ID, p.loc, plain); err != nil {
				return again(ctx, err)
			}
			checked = p.x.ID
		}
		if err := f.deliver(ctx, p, data); err != nil {
			return err
		}
	}
	return nil
}

func (f *fetch) deliver(ctx context.Context, p piece, data []byte) error {
	if int64(len(data)) != p.x.Length {
		return chunk.Damaged(fmt.Sprintf("chunk %s", p.x.ID), "%d bytes instead of %d", len(data), p.x.Length)
	}
	return f.write(ctx, *p.want, p.off, data)
}
