package directory

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// readError is a failure to read the source, as opposed to one of the store: the file is skipped, the capture goes on.
type readError struct{ err error }

func (e *readError) Error() string { return "read: " + e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

// dropStep is how much of a large file is read before its pages are given back.
const dropStep = 32 << 20

// source is an open file that is read into the store. It implements [repo.Source].
type source struct {
	fd      int
	size    int64 // when it was opened; a file that became shorter reads as zeros to there
	solid   bool  // no holes
	drop    bool  // give pages back to the system after reading
	dropped atomic.Int64
	count   func(n int) // takes the number of bytes that were read
}

// newSource looks at a file before it is read. Large files that were not in the page cache do not stay there.
func newSource(fd int, st *stat, count func(int)) *source {
	s := &source{fd: fd, size: st.size, solid: st.solid(), count: count}
	if st.size > dropStep {
		_ = unix.Fadvise(fd, 0, 0, unix.FADV_SEQUENTIAL)
		s.drop = !cached(fd, st.size)
	}
	return s
}

func (s *source) Size() int64 { return s.size }

// ReadAt reads what is there and gives zeros for what was there when the file was opened. That the file shrank shows in
// its size afterwards, so it is read again or marked as changed.
func (s *source) ReadAt(p []byte, off int64) (int, error) {
	want := int(max(0, min(int64(len(p)), s.size-off)))
	n, err := pread(s.fd, p[:want], off)
	s.count(n)
	if err != nil {
		return n, &readError{err}
	}
	clear(p[n:want])
	s.giveBack(off + int64(n))
	if want < len(p) {
		return want, io.EOF
	}
	return want, nil
}

// giveBack drops pages that lie a whole step behind.
func (s *source) giveBack(end int64) {
	if !s.drop {
		return
	}
	from := s.dropped.Load()
	if end-from >= 2*dropStep && s.dropped.CompareAndSwap(from, from+dropStep) {
		_ = unix.Fadvise(s.fd, from, dropStep, unix.FADV_DONTNEED)
	}
}

// finish drops the pages that are left.
func (s *source) finish() {
	if s.drop {
		_ = unix.Fadvise(s.fd, s.dropped.Load(), 0, unix.FADV_DONTNEED)
	}
}

// NextData finds the next run that is not a hole.
func (s *source) NextData(off int64) (start, end int64, err error) {
	if s.solid || off >= s.size {
		return min(off, s.size), s.size, nil
	}
	start, err = unix.Seek(s.fd, off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return s.size, s.size, nil
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOTSUP):
		return off, s.size, nil // the file system does not know
	case err != nil:
		return 0, 0, &readError{fmt.Errorf("find data: %w", err)}
	}
	end, err = unix.Seek(s.fd, start, unix.SEEK_HOLE)
	if err != nil {
		end = s.size // shrank meanwhile
	}
	start = min(start, s.size)
	return start, max(start, min(end, s.size)), nil
}

// pread fills p from off as far as the file goes.
func pread(fd int, p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		got, err := unix.Pread(fd, p[n:], off+int64(n))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return n, err
		case got == 0:
			return n, nil
		default:
			n += got
		}
	}
	return n, nil
}

// cached reports whether most of a file is in the page cache, or that it is not known.
func cached(fd int, size int64) bool {
	span := [2]uint64{0, uint64(size)}
	var stat [5]uint64 // cached, dirty, writeback, evicted, recently evicted pages
	_, _, errno := unix.Syscall6(unix.SYS_CACHESTAT, uintptr(fd), uintptr(unsafe.Pointer(&span)),
		uintptr(unsafe.Pointer(&stat)), 0, 0, 0)
	return errno != 0 || int64(stat[0])*int64(unix.Getpagesize()) > size/2
}
