package directory

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// removeAll removes what is in the open directory dir under name, which ends with a zero, however deep it is. It never
// follows a link. What is not there is removed already.
func removeAll(dir int, name []byte) error {
	fd, err := openDir(dir, name)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return unlinkAt(dir, name, 0)
	}
	defer closeFD(fd)
	if err := removeContents(fd); err != nil {
		return err
	}
	return unlinkAt(dir, name, unix.AT_REMOVEDIR)
}

// remover removes the contents of a directory, with one descriptor at any depth: it goes up by "..".
type remover struct {
	fd     int
	levels []level
	buf    []byte
}

type level struct {
	names    names
	next     int
	name     []byte // of the directory in the level above
	dev, ino uint64
}

// removeContents empties the open directory, which stays open.
func removeContents(dir int) error {
	fd, err := openDir(dir, dot)
	if err != nil {
		return err
	}
	r := &remover{fd: fd, buf: make([]byte, 64<<10)}
	defer func() { closeFD(r.fd) }()
	if err := r.enter(fd, nil); err != nil {
		return err
	}
	for {
		l := &r.levels[len(r.levels)-1]
		if l.next == l.names.len() {
			if len(r.levels) == 1 {
				return nil
			}
			if err := r.leave(l.name); err != nil {
				return err
			}
			continue
		}
		name := l.names.at(l.next)
		l.next++
		err := unlinkAt(r.fd, name, 0)
		if errors.Is(err, unix.EISDIR) {
			err = r.descend(name)
		}
		if err != nil {
			return fmt.Errorf("remove %s: %w", Display(name[:len(name)-1]), err)
		}
	}
}

func (r *remover) descend(name []byte) error {
	fd, err := openDir(r.fd, name)
	if errors.Is(err, unix.EACCES) { // its final mode was set already
		if err := chmodAt(r.fd, name, 0o700); err != nil {
			return err
		}
		fd, err = openDir(r.fd, name)
	}
	if err != nil {
		return err
	}
	closeFD(r.fd)
	r.fd = fd
	return r.enter(fd, name)
}

func (r *remover) enter(fd int, name []byte) error {
	var st stat
	if err := statFD(fd, &st); err != nil {
		return err
	}
	if name != nil && st.mode&0o700 != 0o700 {
		if err := unix.Fchmod(fd, 0o700); err != nil {
			return err
		}
	}
	l := level{name: name, dev: st.dev, ino: st.ino}
	if err := l.names.read(fd, r.buf); err != nil {
		return err
	}
	r.levels = append(r.levels, l)
	return nil
}

// leave goes up and removes the directory it was in.
func (r *remover) leave(name []byte) error {
	up, err := openDir(r.fd, dotDot)
	if err != nil {
		return err
	}
	closeFD(r.fd)
	r.fd = up
	r.levels = r.levels[:len(r.levels)-1]
	l := &r.levels[len(r.levels)-1]
	var st stat
	if err := statFD(up, &st); err != nil {
		return err
	}
	if st.dev != l.dev || st.ino != l.ino {
		return errMoved
	}
	return unlinkAt(up, name, unix.AT_REMOVEDIR)
}

// unlinkAt removes one name. That it is gone already is no error.
func unlinkAt(dir int, name []byte, flags int) error {
	_, _, errno := unix.Syscall(unix.SYS_UNLINKAT, uintptr(dir), uintptr(unsafe.Pointer(unsafe.SliceData(name))), uintptr(flags))
	if errno != 0 && errno != unix.ENOENT {
		return errno
	}
	return nil
}

// chmodAt sets the mode of what is not a link. The inode is pinned first, so that nothing else is changed should the
// name come to mean something else.
func chmodAt(dir int, name []byte, mode uint32) error {
	fd, err := openAt(dir, name, unix.O_PATH, 0)
	if err != nil {
		return err
	}
	defer closeFD(fd)
	return unix.Chmod(pinned(fd), mode)
}

// pinned is a path to the inode of a descriptor that was opened with O_PATH, on which few calls work by descriptor.
func pinned(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }
