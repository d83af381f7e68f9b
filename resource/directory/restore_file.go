package directory

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/resource"
	"golang.org/x/sys/unix"
)

// output is a file whose data is being fetched. Pieces come in any order, from several goroutines, and some of them
// twice.
type output struct {
	place *place
	name  []byte // with a terminating zero
	key   []byte
	meta  []byte
	refs  []repo.Extent
	size  int64
	// whole says that all of the file comes as one piece: it is made, filled and completed then. Other files are made
	// before their first piece comes and completed by the second pass, when it is sure that all have come.
	whole bool
	done  atomic.Bool // a whole file was made

	// Guarded by files.mu.
	fd   int // -1 while closed
	uses int
	elem *list.Element
}

// makeFile makes a file that needs no data from packs, and prepares the others. It keeps meta.
func (r *restoring) makeFile(ctx context.Context, m *maker, meta []byte, e repo.Entry) (w repo.Want, fetch bool, err error) {
	c := e.Content
	o := &output{
		place: m.place, name: m.name, key: m.key, meta: meta, refs: slices.Clone(e.Refs), size: c.Size, fd: -1,
	}
	w = repo.Want{Content: c, Tag: o}
	switch {
	case c.Size == int64(len(c.Inline)):
		return w, false, r.writeWhole(ctx, o, c.Inline)
	case onePiece(c):
		o.whole = true
		return w, true, nil
	}
	return w, true, r.files.start(&r.places, o)
}

// onePiece reports whether a content is a single extent with data.
func onePiece(c repo.Content) bool { return len(c.Extents) == 1 && c.Extents[0].ID != (repo.ID{}) }

// write takes a piece of a file. It is called from several goroutines, also for one file.
func (r *restoring) write(ctx context.Context, w repo.Want, off int64, data []byte) error {
	o := w.Tag.(*output)
	if err := r.writePiece(ctx, o, off, data); err != nil && !r.intact.breaks(o, err) {
		return fmt.Errorf("%s: %w", Display(Path(o.key)), err)
	}
	return nil
}

func (r *restoring) writePiece(ctx context.Context, o *output, off int64, data []byte) error {
	if off < 0 || off+int64(len(data)) > o.size || o.whole && int64(len(data)) != o.size {
		return fmt.Errorf("%w: data at %d does not fit a file of %d bytes", resource.ErrMalformed, off, o.size)
	}
	if o.whole {
		if o.done.Swap(true) {
			return nil
		}
		return r.writeWhole(ctx, o, data)
	}
	return r.files.with(&r.places, o, func(fd int) error {
		dirty, err := r.uncached.write(fd, data, off)
		if err != nil {
			return fmt.Errorf("write: %w", err)
		}
		r.wrote(len(data), dirty)
		return nil
	})
}

// writeWhole makes a file, fills it and completes it in one go.
func (r *restoring) writeWhole(ctx context.Context, o *output, data []byte) error {
	info, err := r.fileInfo(ctx, o)
	if err != nil {
		return err
	}
	return r.places.with(o.place, func(dir int) (err error) {
		mode, made := r.apply.createMode(info.Mode)
		fd, err := openAt(dir, o.name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, mode)
		if err != nil {
			return fmt.Errorf("create: %w", err)
		}
		defer func() { err = errors.Join(err, unix.Close(fd)) }()
		if err := pwrite(fd, data, 0); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		r.wrote(len(data), len(data))
		return r.applyFile(&target{fd: fd, key: o.key, x: xattrs{fd: fd}, moded: made}, o.size, &info)
	})
}

// wrote counts bytes, and those of them that nobody writes to disk yet. It has the disk work while the store is read.
func (r *restoring) wrote(n, dirty int) {
	r.bytes.Add(int64(n))
	now := r.dirty.Add(int64(dirty))
	if now/earlyStep != (now-int64(dirty))/earlyStep {
		r.early.start(r.root.fd)
	}
}

// fileInfo decodes the metadata of a file.
func (r *restoring) fileInfo(ctx context.Context, o *output) (Info, error) {
	info, err := DecodeMeta(o.meta)
	if err != nil {
		return info, err
	}
	return info, r.loadXattrs(ctx, &info, o.refs)
}

// applyFile gives a file whose data is complete its metadata.
func (r *restoring) applyFile(t *target, size int64, info *Info) error {
	r.items.Add(1)
	r.logical.Add(size)
	return r.apply.apply(t, info)
}

// completeFile gives a file that came in pieces its metadata.
func (r *restoring) completeFile(ctx context.Context, up *place, name []byte, e repo.Entry) error {
	o := &output{place: up, name: cstr(name), key: e.Key, meta: e.Meta, refs: e.Refs, size: e.Content.Size, fd: -1}
	info, err := r.fileInfo(ctx, o)
	if err != nil && r.intact != nil && errors.Is(err, repo.ErrDamaged) {
		return errors.Join(err, r.removeFile(up, o.name, o.key))
	}
	if err != nil {
		return err
	}
	return r.files.with(&r.places, o, func(fd int) error {
		return r.applyFile(&target{fd: fd, key: o.key, x: xattrs{fd: fd}}, o.size, &info)
	})
}

func pwrite(fd int, p []byte, off int64) error {
	for len(p) > 0 {
		n, err := unix.Pwrite(fd, p, off)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// files keeps those files open that were written last, at most openFiles besides those in use.
type files struct {
	mu    sync.Mutex
	order list.List // of *output that are open, used last first
	err   error     // of closing
}

const openFiles = 64

// start makes the file with its full size, all of it a hole. Nobody else has o yet.
func (f *files) start(ps *places, o *output) error {
	err := ps.with(o.place, func(dir int) error {
		fd, err := openAt(dir, o.name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
		if err != nil {
			return fmt.Errorf("create: %w", err)
		}
		f.mu.Lock()
		o.fd, o.elem = fd, f.order.PushFront(o)
		f.evict()
		f.mu.Unlock()
		return nil
	})
	if err != nil {
		return err
	}
	return f.with(ps, o, func(fd int) error {
		if err := unix.Ftruncate(fd, o.size); err != nil {
			return fmt.Errorf("set size: %w", err)
		}
		return nil
	})
}

// with calls g with the descriptor of the file, which stays open during the call.
func (f *files) with(ps *places, o *output, g func(fd int) error) error {
	fd, err := f.acquire(ps, o)
	if err != nil {
		return err
	}
	defer func() {
		f.mu.Lock()
		o.uses--
		f.mu.Unlock()
	}()
	return g(fd)
}

func (f *files) acquire(ps *places, o *output) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if o.fd < 0 {
		err := ps.with(o.place, func(dir int) (err error) {
			o.fd, err = openAt(dir, o.name, unix.O_WRONLY, 0)
			return err
		})
		if err != nil {
			return -1, fmt.Errorf("open: %w", err)
		}
		o.elem = f.order.PushFront(o)
	}
	f.order.MoveToFront(o.elem)
	o.uses++
	f.evict()
	return o.fd, nil
}

func (f *files) evict() {
	for e := f.order.Back(); e != nil && f.order.Len() > openFiles; {
		o, before := e.Value.(*output), e.Prev()
		if o.uses == 0 {
			f.shut(o)
		}
		e = before
	}
}

func (f *files) shut(o *output) {
	f.err = errors.Join(f.err, unix.Close(o.fd))
	f.order.Remove(o.elem)
	o.fd, o.elem = -1, nil
}

// close closes all files and returns what went wrong in closing any.
func (f *files) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for e := f.order.Front(); e != nil; e = f.order.Front() {
		f.shut(e.Value.(*output))
	}
	if f.err != nil {
		return fmt.Errorf("close a restored file: %w", full(f.err))
	}
	return nil
}

// readRef reads the value that Meta speaks of as reference ref (see [Xattr]).
func readRef(ctx context.Context, p *repo.Point, refs []repo.Extent, ref int) ([]byte, error) {
	if ref > len(refs) || refs[ref-1].Length > maxXattrs {
		return nil, fmt.Errorf("%w: there is no reference %d", resource.ErrMalformed, ref)
	}
	x := refs[ref-1]
	return io.ReadAll(p.Reader(ctx, repo.Content{Size: x.Length, Extents: []repo.Extent{x}}))
}
