package directory

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Attributes are read and written as raw bytes: ACLs, capabilities and labels need no understanding.

// maxXattrs bounds the attributes of one inode in a recovery point; Linux allows much less on common file systems.
const maxXattrs = 900 << 10

var errXattrs = errors.New("too many extended attributes")

// xattrs is an inode whose attributes are read or written: an open file or, for what cannot be opened, a path. The path
// is not followed if it is a link; that of a pinned inode ends at the inode, even if that is a link.
type xattrs struct {
	fd     int
	path   string // used when fd is negative
	pinned bool
}

// xattrsAt addresses name, which ends with a zero, in the open directory dir. Before Linux 6.13 there was no way to
// reach the attributes of a link relative to a directory except through /proc.
func xattrsAt(dir int, name []byte) xattrs {
	return xattrs{fd: -1, path: fmt.Sprintf("/proc/self/fd/%d/%s", dir, name[:len(name)-1])}
}

func (x xattrs) list(buf []byte) (n int, err error) {
	for {
		if x.fd >= 0 {
			n, err = unix.Flistxattr(x.fd, buf)
		} else {
			n, err = unix.Llistxattr(x.path, buf)
		}
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

func (x xattrs) get(name string, buf []byte) (n int, err error) {
	for {
		if x.fd >= 0 {
			n, err = unix.Fgetxattr(x.fd, name, buf)
		} else {
			n, err = unix.Lgetxattr(x.path, name, buf)
		}
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

func (x xattrs) set(name string, value []byte) error {
	return again(func() error {
		switch {
		case x.fd >= 0:
			return unix.Fsetxattr(x.fd, name, value, 0)
		case x.pinned:
			return unix.Setxattr(x.path, name, value, 0)
		}
		return unix.Lsetxattr(x.path, name, value, 0)
	})
}

// read returns all attributes, sorted by name. A file system without attributes has none. buf is scratch space for the
// names; most files have none, and then nothing is allocated.
func (x xattrs) read(buf []byte) ([]Xattr, error) {
	n, err := x.list(buf)
	for errors.Is(err, unix.ERANGE) && len(buf) < maxXattrs {
		buf = make([]byte, max(4096, 4*len(buf)))
		n, err = x.list(buf)
	}
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENODATA) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list extended attributes: %w", err)
	}
	if n == 0 {
		return nil, nil
	}
	return x.values(buf[:n])
}

func (x xattrs) values(list []byte) ([]Xattr, error) {
	var found []Xattr
	total := 0
	for name := range bytes.SplitSeq(bytes.TrimSuffix(list, []byte{0}), []byte{0}) {
		value, err := x.value(string(name))
		if errors.Is(err, unix.ENODATA) {
			continue // removed since it was listed, or hidden from us
		}
		if err != nil {
			return nil, fmt.Errorf("read extended attribute %s: %w", Display(name), err)
		}
		if total += len(name) + len(value) + 16; total > maxXattrs || len(name) > maxXattrName {
			return nil, errXattrs
		}
		found = append(found, Xattr{Name: bytes.Clone(name), Value: value})
	}
	slices.SortFunc(found, func(a, b Xattr) int { return bytes.Compare(a.Name, b.Name) })
	return found, nil
}

func (x xattrs) value(name string) ([]byte, error) {
	buf := make([]byte, 256)
	for {
		n, err := x.get(name, buf)
		if err == nil {
			return buf[:n:n], nil
		}
		if !errors.Is(err, unix.ERANGE) || len(buf) > maxXattrs {
			return nil, err
		}
		buf = make([]byte, 8*len(buf))
	}
}
