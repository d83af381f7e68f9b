package directory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/lockfast/lockfast/resource"
	"golang.org/x/sys/unix"
)

// Name is what recovery points of this driver carry as [repo.Facts.Driver].
const Name = "directory"

// PathKey is the key of [resource.Resource.Address] that holds the absolute path of the tree.
const PathKey = "path"

// Options tunes a driver; the zero value works.
type Options struct {
	// Readers is how many files are read at once by one capture; 0 = twice the number of CPUs, at most 16.
	Readers int
	// CrossMounts walks into other file systems that are mounted in the tree.
	CrossMounts bool
	// Private are the paths of files and directories that no capture reads and no restore writes into, wherever they are
	// mounted and whatever leads to them: what the service itself keeps. A tree may hold them; it may not be in one.
	Private []string
	// Now is the clock that change times of files are compared with; nil is time.Now. A file system on another host
	// whose clock is behind by more than a second or two needs the time of that host.
	Now func() time.Time
}

// Driver is the [resource.Driver] for directory trees.
type Driver struct{ options Options }

var _ resource.Driver = (*Driver)(nil)

// New returns a driver.
func New(o Options) *Driver {
	if o.Readers <= 0 {
		o.Readers = min(2*runtime.GOMAXPROCS(0), 16)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Driver{options: o}
}

// Probe reports the file system that the tree is on. [resource.Facts.Bytes] is what the whole file system uses, an
// upper bound.
func (d *Driver) Probe(_ context.Context, r resource.Resource) (resource.Facts, error) {
	fd, path, _, err := d.openRoot(r)
	if err != nil {
		return resource.Facts{}, err
	}
	defer closeFD(fd)
	buf := make([]byte, 32<<10)
	if _, err := getdents(fd, buf); err != nil {
		return resource.Facts{}, rootError("list", path, err)
	}
	var fs unix.Statfs_t
	if err := again(func() error { return unix.Fstatfs(fd, &fs) }); err != nil {
		return resource.Facts{}, rootError("probe", path, err)
	}
	used := int64(fs.Blocks-fs.Bfree) * fs.Bsize
	return resource.Facts{Bytes: used, Values: map[string]string{
		PathKey:             path,
		"file-system":       fileSystem(fs.Type),
		"file-system-bytes": strconv.FormatInt(int64(fs.Blocks)*fs.Bsize, 10),
		"used-bytes":        strconv.FormatInt(used, 10),
	}}, nil
}

// openRoot opens the resource's directory, and returns what is private in it. The path itself may lead through links; it is
// the operator's.
func (d *Driver) openRoot(r resource.Resource) (fd int, path string, p private, err error) {
	path = r.Address[PathKey]
	if !filepath.IsAbs(path) {
		return -1, path, nil, fmt.Errorf("directory %q: the path is not absolute: %w", path, resource.ErrNotFound)
	}
	err = again(func() error {
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return -1, path, nil, rootError("open", path, err)
	}
	if p, err = d.private(); err == nil {
		err = p.refuse(fd, path)
	}
	if err != nil {
		closeFD(fd)
		return -1, path, nil, err
	}
	return fd, path, p, nil
}

// rootError says in the terms of [resource.Driver] why a directory given by the operator cannot be used.
func rootError(act, path string, err error) error {
	kind := resource.ErrUnreachable
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENAMETOOLONG):
		kind = resource.ErrNotFound
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		kind = resource.ErrWrongKind
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM), errors.Is(err, unix.EROFS):
		kind = resource.ErrPermission
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		kind = resource.ErrNoSpace
	case errors.Is(err, unix.EEXIST), errors.Is(err, unix.ENOTEMPTY):
		kind = resource.ErrExist
	}
	return fmt.Errorf("%s directory %s: %w: %w", act, Display([]byte(path)), kind, err)
}

// fileSystem names a file system by its magic number.
func fileSystem(magic int64) string {
	switch magic {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4"
	case unix.XFS_SUPER_MAGIC:
		return "xfs"
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs"
	case unix.TMPFS_MAGIC:
		return "tmpfs"
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlay"
	case unix.NFS_SUPER_MAGIC:
		return "nfs"
	case unix.FUSE_SUPER_MAGIC:
		return "fuse"
	case 0x2fc12fc1:
		return "zfs"
	}
	return fmt.Sprintf("0x%x", uint64(magic)&0xffffffff)
}

func logger(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}
