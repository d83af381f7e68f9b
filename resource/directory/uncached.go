package directory

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// uncached writes large pieces of files past the page cache, where the system can (RWF_DONTCACHE: Linux 6.16, some file
// systems). The kernel then begins to write them to disk at once and frees their pages when they are there. So a large
// file goes through few pages again and again, instead of filling all of memory and driving out what the machine works
// with, and the disk does not wait for the final sync.
//
// It promises as little as a write into the cache does: what could not be written to disk is reported by syncfs, whether
// the kernel wrote it of its own accord or was asked to.
//
// Only whole pages go that way. A page that two pieces share stays in the cache, or the second piece would have to read
// back from disk what the first one wrote.
type uncached struct {
	pwritev2 func(fd int, iovs [][]byte, off int64, flags int) (int, error)
	refused  atomic.Bool // the system cannot: do not ask again
}

// minUncached is the length of pieces that are worth the writes to disk of their own. A tree of small files is better
// written in one go.
const minUncached = 256 << 10

// write writes p to fd at off, and returns how many of its bytes nobody writes to disk yet.
func (u *uncached) write(fd int, p []byte, off int64) (dirty int, err error) {
	page := int64(os.Getpagesize())
	head := min((page-off%page)%page, int64(len(p)))
	tail := max(head, int64(len(p))-(off+int64(len(p)))%page)
	if tail-head < minUncached || u.refused.Load() {
		return len(p), pwrite(fd, p, off)
	}
	n, err := u.pages(fd, p[head:tail], off+head)
	if err == nil {
		err = pwrite(fd, p[:head], off)
	}
	if err == nil {
		err = pwrite(fd, p[head+int64(n):], off+head+int64(n))
	}
	return len(p) - n, err
}

// pages writes whole pages until the system refuses, and returns how many bytes it wrote.
func (u *uncached) pages(fd int, p []byte, off int64) (done int, err error) {
	for done < len(p) {
		n, err := u.pwritev2(fd, [][]byte{p[done:]}, off+int64(done), unix.RWF_DONTCACHE)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil && refused(err):
			u.refused.Store(true)
			return done, nil
		case err != nil || n <= 0: // nothing written without an error is for a plain write to explain
			return done, err
		}
		done += n
	}
	return done, nil
}

// trusted reports whether the running kernel may be asked.
var trusted = sync.OnceValue(func() bool {
	var u unix.Utsname
	return unix.Uname(&u) == nil && trustedRelease(unix.ByteSliceToString(u.Release[:]))
})

// trustedRelease reports whether a release of the kernel is 6.16 or later. 6.14 and the first of 6.15 know the flag, but may drop a page that
// is written once more while it goes to disk, as happens to a piece that is written twice.
func trustedRelease(release string) bool {
	var major, minor int
	n, _ := fmt.Sscanf(release, "%d.%d", &major, &minor)
	return n == 2 && (major > 6 || major == 6 && minor >= 16)
}
