package directory

import (
	"errors"
	"fmt"

	"github.com/lockfast/lockfast/resource"
	"golang.org/x/sys/unix"
)

// identity tells files apart, whatever their names and wherever they are mounted.
type identity struct{ dev, ino uint64 }

func (s *stat) identity() identity { return identity{s.dev, s.ino} }

// private are the files and directories that [Options.Private] names.
type private []identity

// errPrivate says why something is not in a recovery point.
var errPrivate = errors.New("belongs to the backup service itself")

// private finds out what is private now. What does not exist is not.
func (d *Driver) private() (private, error) {
	var p private
	for _, path := range d.options.Private {
		id, err := identityAt(unix.AT_FDCWD, path)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look at %s: %w", Display([]byte(path)), err)
		}
		p = append(p, id)
	}
	return p, nil
}

// identityAt follows links. It takes no right to read what it looks at.
func identityAt(dir int, path string) (identity, error) {
	fd, err := unix.Openat(dir, path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return identity{}, err
	}
	defer closeFD(fd)
	var st stat
	err = statFD(fd, &st)
	return st.identity(), err
}

func (p private) has(st *stat) bool {
	for _, id := range p {
		if id.ino == st.ino && id.dev == st.dev {
			return true
		}
	}
	return false
}

// refuse is an error for an open directory that is private, or is in one that is.
func (p private) refuse(fd int, path string) error {
	if len(p) == 0 {
		return nil
	}
	fd, err := unix.Openat(fd, ".", unix.O_PATH|unix.O_CLOEXEC, 0)
	for below := (identity{}); err == nil; {
		var st stat
		if err = statFD(fd, &st); err != nil || st.identity() == below { // the root is its own parent
			break
		}
		if p.has(&st) {
			err = fmt.Errorf("%w: %w", resource.ErrPermission, errPrivate)
			break
		}
		below = st.identity()
		var up int
		if up, err = unix.Openat(fd, "..", unix.O_PATH|unix.O_CLOEXEC, 0); err == nil {
			closeFD(fd)
			fd = up
		}
	}
	if fd >= 0 {
		closeFD(fd)
	}
	if err != nil {
		return fmt.Errorf("directory %s: %w", Display([]byte(path)), err)
	}
	return nil
}
