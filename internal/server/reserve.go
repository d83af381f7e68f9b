package server

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/lockfast/lockfast/blob"
)

const (
	// reserveBytes is what the database may need to delete and reclaim until space has come back.
	reserveBytes = 16 << 20
	// reserveShare is how many times as much has to be free before space is set aside.
	reserveShare = 2
)

// reserve is a file beside the database that takes space as long as there is enough. On a full disk it is emptied: the
// records of a deletion and of a reclaim need some, before these can give back any. Until it is full again, backups and
// copies are refused, which would use the space up.
type reserve struct {
	path string
	size int64
	log  *slog.Logger

	mu    sync.Mutex
	spent bool // released and not kept again; guarded by mu
}

// keep sets the space aside, unless that is done, or the disk is nearly full, or its file system cannot.
func (r *reserve) keep() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	f, err := os.OpenFile(r.path, os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, unix.ENOSPC) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("keep a reserve of space: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() >= r.size {
		r.spent = r.spent && err != nil
		return err
	}
	var disk unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &disk); err != nil {
		return fmt.Errorf("keep a reserve of space: %w", err)
	}
	if int64(disk.Bavail)*disk.Bsize < reserveShare*r.size {
		return nil
	}
	err = unix.Fallocate(int(f.Fd()), 0, 0, r.size)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		r.log.Debug("no reserve of space", "file", r.path, "error", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("keep a reserve of space in %s: %w", r.path, err)
	}
	if r.spent {
		r.spent = false
		r.log.Info("disk has room again", "file", r.path)
	}
	return nil
}

// admit refuses to store anything new while the reserve is in use.
func (r *reserve) admit() error {
	r.mu.Lock()
	spent := r.spent
	r.mu.Unlock()
	if !spent {
		return nil
	}
	if err := r.keep(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.spent {
		return fmt.Errorf("the disk of the database is full, and what is left is for deletions: %w", blob.ErrNoSpace)
	}
	return nil
}

// release gives the space back and reports whether there was any.
func (r *reserve) release() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	info, err := os.Stat(r.path)
	if err != nil || info.Size() == 0 {
		return false
	}
	if err := os.Truncate(r.path, 0); err != nil {
		r.log.Error("reserve of space cannot be released", "file", r.path, "error", err)
		return false
	}
	r.spent = true
	r.log.Warn("disk is full; the reserve of space is in use, delete recovery points or make room", "file", r.path)
	return true
}
