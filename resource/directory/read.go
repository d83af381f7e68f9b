package directory

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"github.com/lockfast/lockfast/repo"
	"golang.org/x/sys/unix"
)

const (
	smallFile = 128 << 10 // read in one go, holes and all
	retries   = 3         // for a file that changes while it is read
)

var (
	errReplaced = errors.New("replaced by something else while the tree was read")
	errChanged  = errors.New("changed while it was read; stored as last read")
)

// task is a file to read, and what came of it.
type task struct {
	key   []byte
	name  []byte // with a terminating zero
	dir   *handle
	st    stat
	guide repo.Content
	done  chan struct{} // holds one token once the fields below are set

	bytes   atomic.Int64 // read so far; may be asked for at any time
	info    Info
	content repo.Content
	refs    []repo.Extent
	warning error // stored, but not as it should be
	skip    error // not stored
	gone    bool  // not stored: it is not there any more
	err     error // of the store: the capture ends
}

// reader reads files. Its methods may be called concurrently.
type reader struct {
	writer  *repo.Writer
	racy    stamp        // what changed later is racy
	bytes   atomic.Int64 // read
	buffers sync.Pool    // *[]byte of smallFile+1
	uid     uint32
	ownOnly atomic.Bool // O_NOATIME is refused for files of others
}

func newReader(w *repo.Writer, racy stamp) *reader {
	r := &reader{writer: w, racy: racy, uid: uint32(os.Geteuid())}
	r.buffers.New = func() any {
		b := make([]byte, smallFile)
		return &b
	}
	return r
}

// run reads the task's file and leaves a token in t.done.
func (r *reader) run(ctx context.Context, t *task) {
	defer func() {
		t.dir.release()
		t.done <- struct{}{}
	}()
	for try := 0; ; try++ {
		if ctx.Err() != nil {
			t.err = context.Cause(ctx)
			return
		}
		moved, err := r.once(ctx, t)
		var bad *readError
		switch {
		case errors.Is(err, unix.ENOENT):
			t.gone = true
			return
		case errors.As(err, &bad):
			t.skip = err
			return
		case err != nil:
			t.err = err
			return
		case !moved:
			return
		case try == retries:
			t.info.Changed = true
			t.warning = errChanged
			return
		}
		t.guide = t.content
	}
}

// once reads the file and reports whether it changed meanwhile.
func (r *reader) once(ctx context.Context, t *task) (moved bool, err error) {
	fd, err := r.open(t)
	if err != nil {
		return false, err
	}
	defer closeFD(fd)
	var before, after stat
	if err := statFD(fd, &before); err != nil {
		return false, &readError{err}
	}
	if before.kind() != unix.S_IFREG {
		return false, &readError{errReplaced}
	}
	t.info = r.infoOf(&before)
	if t.content, err = r.content(ctx, fd, &before, t); err != nil {
		return false, err
	}
	t.refs, t.warning, err = r.attributes(ctx, &t.info, xattrs{fd: fd})
	if err != nil {
		return false, err
	}
	if err := statFD(fd, &after); err != nil {
		return false, &readError{err}
	}
	return before.moved(&after), nil
}

// open opens the file for reading without touching its access time, if that is allowed. O_NONBLOCK keeps it from
// waiting should a FIFO have taken the file's place.
func (r *reader) open(t *task) (int, error) {
	flags := unix.O_RDONLY | unix.O_NONBLOCK
	if !r.ownOnly.Load() || t.st.uid == r.uid {
		fd, err := openAt(t.dir.fd, t.name, flags|unix.O_NOATIME, 0)
		if !errors.Is(err, unix.EPERM) {
			return fd, openError(err)
		}
		r.ownOnly.Store(true)
	}
	fd, err := openAt(t.dir.fd, t.name, flags, 0)
	return fd, openError(err)
}

func openError(err error) error {
	switch {
	case err == nil, errors.Is(err, unix.ENOENT):
		return err
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENXIO):
		return &readError{errReplaced}
	}
	return &readError{err}
}

// infoOf fills what stat knows.
func (r *reader) infoOf(st *stat) Info {
	c := coreOf(st)
	i := c.info()
	i.Racy = st.ctime.after(r.racy)
	i.Flags = st.flags
	if i.Type == CharDevice || i.Type == BlockDevice {
		i.Major, i.Minor = unix.Major(st.rdev), unix.Minor(st.rdev)
	}
	return i
}

// content stores the bytes of an open file.
func (r *reader) content(ctx context.Context, fd int, st *stat, t *task) (repo.Content, error) {
	if st.size == 0 {
		return repo.Content{}, nil
	}
	count := func(n int) {
		r.bytes.Add(int64(n))
		t.bytes.Add(int64(n))
	}
	if st.size <= smallFile {
		buf := r.buffers.Get().(*[]byte)
		defer r.buffers.Put(buf)
		n, err := pread(fd, (*buf)[:st.size], 0)
		if err != nil {
			return repo.Content{}, &readError{err}
		}
		count(n)
		return r.writer.Small(ctx, (*buf)[:n])
	}
	src := newSource(fd, st, count)
	defer src.finish()
	return r.writer.Stream(ctx, src, t.guide)
}

// attributes reads the extended attributes into i. Large values are stored beside the entry. That they cannot be read
// does not keep the item out of the recovery point.
func (r *reader) attributes(ctx context.Context, i *Info, x xattrs) (refs []repo.Extent, warning, err error) {
	names := r.buffers.Get().(*[]byte)
	defer r.buffers.Put(names)
	i.Xattrs, warning = x.read(*names)
	for n := range i.Xattrs {
		value := i.Xattrs[n].Value
		if len(value) <= inlineXattr || len(refs) == maxRefs {
			continue
		}
		c, err := r.writer.Small(ctx, value)
		if err != nil {
			return nil, nil, fmt.Errorf("store extended attribute %s: %w", Display(i.Xattrs[n].Name), err)
		}
		if len(c.Extents) != 1 || c.Extents[0].Length != int64(len(value)) {
			continue
		}
		refs = append(refs, c.Extents[0])
		i.Xattrs[n] = Xattr{Name: i.Xattrs[n].Name, Ref: len(refs)}
	}
	return refs, warning, nil
}

// inlineXattr is the largest value of an attribute that stands in Meta.
const inlineXattr = 4 << 10
