package repo

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/index"
)

// runs cuts sorted pieces into runs that are read at once.
func runs(pieces []piece) iter.Seq[[]piece] {
	return func(yield func([]piece) bool) {
		for start := 0; start < len(pieces); {
			first := pieces[start].loc
			end := start + 1
			for end < len(pieces) && joins(first, pieces[end-1].loc, pieces[end].loc) {
				end++
			}
			if !yield(pieces[start:end]) {
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

// errPostpone says that a run has to be looked up again.
var errPostpone = errors.New("look up again")

// readRun reads one range of a pack and delivers the pieces in it, or postpones those that are left.
func (f *fetch) readRun(ctx context.Context, run []piece) error {
	err := f.tryRun(ctx, run)
	if errors.Is(err, errPostpone) {
		f.postpone(run)
		return nil
	}
	return err
}

func (f *fetch) tryRun(ctx context.Context, run []piece) error {
	first, last := run[0].loc, run[len(run)-1].loc
	info, ok := f.v.catalog.set.Pack(first.Pack)
	if !ok {
		return errPostpone
	}
	n := int64(last.Offset) + int64(last.Stored) - int64(first.Offset)
	stored := f.stored.get(int(n))
	defer func() { f.stored.put(stored) }()
	stored, err := readRange(ctx, f.v.store, blob.Name(info.Name()), int64(first.Offset), n, stored)
	if err != nil {
		return elsewhere(ctx, err)
	}
	buf := f.plain.get(0)
	defer func() { f.plain.put(buf) }()
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
			return elsewhere(ctx, err)
		}
		if err := f.deliverSlot(ctx, run[:k], plain); err != nil {
			return err
		}
		run = run[k:]
	}
	return nil
}

// elsewhere turns errors that another place, or another look at the index, may avoid into errPostpone.
func elsewhere(ctx context.Context, err error) error {
	if ctx.Err() == nil && (errors.Is(err, blob.ErrNotExist) || errors.Is(err, ErrDamaged)) {
		return errPostpone
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
				return elsewhere(ctx, err)
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
