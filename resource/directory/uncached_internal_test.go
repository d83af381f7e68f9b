package directory

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// pwritev2 is a system call as a test's kernel does it. call counts from 1.
type pwritev2 func(call, fd int, p []byte, off int64) (int, error)

// takes writes what it is given, but at most limit bytes at once.
func takes(limit int) pwritev2 {
	return func(_, fd int, p []byte, off int64) (int, error) {
		return unix.Pwrite(fd, p[:min(len(p), limit)], off)
	}
}

// fails returns err for the call numbered n, or all calls from there, and is next for the others.
func fails(n int, always bool, err error, next pwritev2) pwritev2 {
	return func(call, fd int, p []byte, off int64) (int, error) {
		if call == n || always && call > n {
			return -1, err
		}
		return next(call, fd, p, off)
	}
}

// TestUncached_EveryByte writes pieces that share pages, out of order, beside holes.
func TestUncached_EveryByte(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		kernel pwritev2
		asked  int // calls; 0 = not looked at
	}{
		"this system": {kernel: func(_, fd int, p []byte, off int64) (int, error) {
			return unix.Pwritev2(fd, [][]byte{p}, off, unix.RWF_DONTCACHE)
		}},
		"takes all":             {kernel: takes(1 << 30), asked: pieces},
		"takes a little":        {kernel: takes(100_001)},
		"is interrupted":        {kernel: fails(2, false, unix.EINTR, takes(1<<30)), asked: pieces + 1},
		"knows no flag":         {kernel: fails(1, true, unix.EOPNOTSUPP, nil), asked: 1},
		"knows no call":         {kernel: fails(1, true, unix.ENOSYS, nil), asked: 1},
		"has the call filtered": {kernel: fails(1, true, unix.EPERM, nil), asked: 1},
		"refuses after a part":  {kernel: fails(3, true, unix.EINVAL, takes(65_537)), asked: 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testPieces(t, c.kernel, c.asked)
		})
	}
}

// pieces is how many pieces of testPieces are large enough for whole pages.
const pieces = 20

func testPieces(t *testing.T, kernel pwritev2, asked int) {
	page := int64(os.Getpagesize())
	const hole = 4 << 20
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	var ends []int64 // of pieces; the first begins after the hole
	end := int64(hole)
	for range pieces {
		end += minUncached + 2*page + rnd.Int64N(minUncached)
		ends = append(ends, end)
		if rnd.IntN(2) == 0 {
			end += rnd.Int64N(minUncached / 2) // a small one
			ends = append(ends, end)
		}
	}
	want := make([]byte, end)
	for i := hole; i < len(want); i++ {
		want[i] = byte(rnd.Uint32() | 1)
	}
	if err := f.Truncate(end); err != nil {
		t.Fatal(err)
	}
	calls := 0
	u := uncached{pwritev2: func(fd int, iovs [][]byte, off int64, flags int) (int, error) {
		calls++
		if flags != unix.RWF_DONTCACHE || off%page != 0 && calls == 1 {
			t.Errorf("pwritev2 at %d with flags %#x, want whole pages with RWF_DONTCACHE", off, flags)
		}
		return kernel(calls, fd, iovs[0], off)
	}}
	for _, i := range rnd.Perm(len(ends)) {
		from := int64(hole)
		if i > 0 {
			from = ends[i-1]
		}
		size := ends[i] - from
		dirty, err := u.write(int(f.Fd()), want[from:ends[i]], from)
		if err != nil {
			t.Errorf("write of %d bytes at %d: %v", size, from, err)
		}
		large := size >= minUncached+2*page
		switch {
		case asked == 1 || !large:
			if int64(dirty) != size {
				t.Errorf("write of %d bytes at %d left %d to be written to disk, want all", size, from, dirty)
			}
		case asked >= pieces:
			if int64(dirty) >= 2*page {
				t.Errorf("write of %d bytes at %d left %d to be written to disk, want those beside whole pages", size, from, dirty)
			}
		}
	}
	got, err := os.ReadFile(f.Name())
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("file of %d bytes differs from the %d bytes that were written (%v)", len(got), len(want), err)
	}
	if at, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_DATA); err != nil || at != hole {
		t.Errorf("data begins at %d, %v, want %d", at, err, hole)
	}
	if asked > 0 && calls != asked {
		t.Errorf("pwritev2 was called %d times, want %d", calls, asked)
	}
}

// TestUncached_Errors fails each call of a write. No other call may cover the error up.
func TestUncached_Errors(t *testing.T) {
	t.Parallel()
	for _, failure := range []unix.Errno{unix.EIO, unix.ENOSPC, unix.EDQUOT} {
		for n := 1; n <= 3; n++ {
			f, err := os.Create(filepath.Join(t.TempDir(), "file"))
			if err != nil {
				t.Fatal(err)
			}
			kernel, calls := fails(n, false, failure, takes(1<<20)), 0
			u := uncached{pwritev2: func(fd int, iovs [][]byte, off int64, _ int) (int, error) {
				calls++
				return kernel(calls, fd, iovs[0], off)
			}}
			if _, err := u.write(int(f.Fd()), make([]byte, 3<<20), 0); !errors.Is(err, failure) || u.refused.Load() {
				t.Errorf("write whose call %d fails = %v, refused: %t, want %v", n, err, u.refused.Load(), failure)
			}
			_ = f.Close()
		}
	}
}

// TestUncached_ErrorsAtEdges fails the writes into the cache, before and after whole pages.
func TestUncached_ErrorsAtEdges(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		off    int64
		length int
	}{
		"head": {off: 1, length: os.Getpagesize() - 1 + minUncached},
		"tail": {off: 0, length: minUncached + 1},
	} {
		u := uncached{pwritev2: func(_ int, iovs [][]byte, _ int64, _ int) (int, error) { return len(iovs[0]), nil }}
		if _, err := u.write(-1, make([]byte, c.length), c.off); !errors.Is(err, unix.EBADF) {
			t.Errorf("write whose %s fails = %v, want %v", name, err, unix.EBADF)
		}
	}
}

func TestUncached_TrustedReleases(t *testing.T) {
	for release, want := range map[string]bool{
		"6.16.0": true, "6.18.44-fc-v669": true, "7.0.0-rc1": true, "10.1": true,
		"6.14.11": false, "6.15.3-arch1": false, "6.1.0-44-amd64": false, "5.19": false, "": false, "6": false, "x.y": false,
	} {
		if got := trustedRelease(release); got != want {
			t.Errorf("trustedRelease(%q) = %v", release, got)
		}
	}
}
