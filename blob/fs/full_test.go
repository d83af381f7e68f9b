package fs_test

import (
	"bytes"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/fs"
	"github.com/lockfast/lockfast/blob/fs/crashfs"
)

// TestPut_FullAtEveryCall lets the disk be full at each call of a Put that may need space, for that one or for all from there on.
// The Put says so and leaves nothing, and with space the same store takes the blob.
func TestPut_FullAtEveryCall(t *testing.T) {
	t.Parallel()
	grows := map[string]bool{"create": true, "write": true, "sync": true, "link": true, "mkdir": true, "syncdir": true}
	for _, stays := range []bool{false, true} {
		for at := 1; ; at++ {
			disk := crashfs.New()
			s := open(t, disk)
			h := &history{t: t, disk: disk, s: s}
			h.put("d/00/kept", "safe")
			h.put("d/00/old", "to be deleted")
			calls, what := 0, ""
			disk.Fail(func(op, path string) error {
				if !grows[op] {
					return nil
				}
				if calls++; calls == at {
					what = op
				}
				if calls == at || calls > at && stays {
					return syscall.ENOSPC
				}
				return nil
			})
			name, data := blob.Name("d/01/new"), []byte("whole") // its directory is new, too
			put := func() error { return s.Put(t.Context(), name, bytes.NewReader(data), int64(len(data))) }
			err := put()
			if what == "" {
				if err != nil || at < 6 {
					t.Errorf("Put with space = %v after %d calls", err, at)
				}
				break
			}
			when := fmt.Sprintf("full at call %d, a %s, stays %t", at, what, stays)
			if !errors.Is(err, blob.ErrNoSpace) {
				t.Errorf("%s: Put = %v, want ErrNoSpace", when, err)
			}
			if _, err := s.Stat(t.Context(), name); !errors.Is(err, blob.ErrNotExist) {
				t.Errorf("%s: Stat = %v, want ErrNotExist", when, err)
			}
			disk.Fail(nil)
			h.delete("d/00/old")
			if what == "syncdir" { // which is final for a store that is open
				s = reopened(t, disk, s)
			}
			if err := put(); err != nil {
				t.Errorf("%s: Put with space again = %v", when, err)
			}
			h.add(act{name, data, 0, disk.Len()})
			sessions, err := disk.ReadDir(".tmp")
			if err != nil {
				t.Fatal(err)
			}
			for _, session := range sessions {
				if left, err := disk.ReadDir(".tmp/" + session.Name); session.Kind == fs.Directory && (err != nil || len(left) > 0) {
					t.Errorf("%s: left %v, %v", when, left, err)
				}
			}
			for _, v := range crashfs.Variants(4) {
				if err := verify(t.Context(), open(t, disk.State(disk.Len(), v)), h.acts, disk.Len()); err != nil {
					t.Errorf("%s: after a cut, variant %+v: %v", when, v, err)
				}
			}
		}
	}
}

// reopened closes a store and opens it again.
func reopened(t *testing.T, disk *crashfs.Disk, s *fs.Store) *fs.Store {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, disk)
}
