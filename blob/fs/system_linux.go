package fs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// control runs call with the descriptor of f, again while it is interrupted by a signal.
func control(f *os.File, call func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(fd uintptr) {
		for failed = call(int(fd)); errors.Is(failed, unix.EINTR); {
			failed = call(int(fd))
		}
	})
	if err != nil {
		return err
	}
	return failed
}

func datasync(f *os.File) error { return control(f, unix.Fdatasync) }

func syncAll(dir *os.File) error { return control(dir, unix.Syncfs) }

func lock(dir *os.File) error {
	err := control(dir, func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrLocked
	}
	return err
}

func renameNoReplace(from *os.File, oldName string, to *os.File, newName string) error {
	return control(from, func(a int) error {
		return control(to, func(b int) error {
			return unix.Renameat2(a, oldName, b, newName, unix.RENAME_NOREPLACE)
		})
	})
}
