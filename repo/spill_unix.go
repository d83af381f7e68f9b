//go:build unix

package repo

import (
	"errors"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/lockfast/lockfast/repo/index"
)

// openSegment opens the plain text of a segment. A large one is moved into a file of the directory for temporary ones, which has no name
// and is mapped, so that the kernel keeps in memory what is used of it; it goes with the segment. Without room for the file
// the segment stays in memory.
func (v *Vault) openSegment(name string, plain []byte) (*index.Segment, error) {
	if len(plain) < spillBytes {
		return index.Open(name, plain)
	}
	mapped, err := mapCopy(v.opts.TempDir, plain)
	if err != nil {
		v.log.Warn("index segment stays in memory", "object", name, "error", err)
		return index.Open(name, plain)
	}
	s, err := index.Open(name, mapped)
	if err != nil {
		return nil, errors.Join(err, unix.Munmap(mapped))
	}
	runtime.AddCleanup(s, func(b []byte) { _ = unix.Munmap(b) }, mapped)
	return s, nil
}

// mapCopy writes bytes to a file without a name and maps it.
func mapCopy(dir string, b []byte) ([]byte, error) {
	f, err := os.CreateTemp(dir, "segment-*")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return nil, err
	}
	if _, err := f.Write(b); err != nil {
		return nil, err
	}
	return unix.Mmap(int(f.Fd()), 0, len(b), unix.PROT_READ, unix.MAP_SHARED)
}
