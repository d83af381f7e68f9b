package directory

import (
	"errors"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls below are made without x/sys's wrappers because those turn every name into a new string and back. Names
// come from getdents with their terminating zero, and stay in the buffer they were read into.

// stamp is a time of a file. A [time.Time] is larger and slower to compare.
type stamp struct {
	sec  int64
	nsec uint32
}

func (s stamp) time() time.Time { return time.Unix(s.sec, int64(s.nsec)).UTC() }

func (s stamp) after(t stamp) bool { return s.sec > t.sec || s.sec == t.sec && s.nsec > t.nsec }

func stampOf(t time.Time) stamp { return stamp{sec: t.Unix(), nsec: uint32(t.Nanosecond())} }

// stat is what the driver needs to know of an inode.
type stat struct {
	mode  uint32 // as in st_mode: type and 12 bits
	nlink uint32
	uid   uint32
	gid   uint32
	ino   uint64
	dev   uint64
	rdev  uint64 // unix.Mkdev of a device
	size  int64
	alloc int64  // bytes allocated
	flags uint64 // inode flags that statx knows, as FS_IOC_GETFLAGS numbers them
	mtime stamp
	ctime stamp
	mount bool // the inode is the root of a mount
}

// solid reports whether a file certainly has no holes.
func (s *stat) solid() bool { return s.alloc >= s.size }

func (s *stat) kind() uint32 { return s.mode & unix.S_IFMT }

// moved reports whether the inode was changed between two looks at it.
func (s *stat) moved(t *stat) bool {
	return s.ino != t.ino || s.dev != t.dev || s.size != t.size || s.mtime != t.mtime || s.ctime != t.ctime || s.mode != t.mode
}

// wanted are the fields of statx that fill a stat.
const wanted = unix.STATX_TYPE | unix.STATX_MODE | unix.STATX_NLINK | unix.STATX_UID | unix.STATX_GID |
	unix.STATX_MTIME | unix.STATX_CTIME | unix.STATX_INO | unix.STATX_SIZE | unix.STATX_BLOCKS

// keptFlags are the inode flags that are kept: immutable, append-only, no dump.
const keptFlags = unix.STATX_ATTR_IMMUTABLE | unix.STATX_ATTR_APPEND | unix.STATX_ATTR_NODUMP

// statAt looks at name, which ends with a zero, in the directory dir. It does not follow links.
func statAt(dir int, name []byte, st *stat) error {
	return statx(dir, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, st)
}

// statFD looks at an open file.
func statFD(fd int, st *stat) error {
	return statx(fd, []byte{0}, unix.AT_EMPTY_PATH, st)
}

func statx(dir int, name []byte, flags int, st *stat) error {
	var x unix.Statx_t
	for {
		_, _, errno := unix.Syscall6(unix.SYS_STATX, uintptr(dir), uintptr(unsafe.Pointer(unsafe.SliceData(name))),
			uintptr(flags), wanted, uintptr(unsafe.Pointer(&x)), 0)
		if errno == 0 {
			break
		}
		if errno != unix.EINTR {
			return errno
		}
	}
	st.mode, st.nlink, st.uid, st.gid = uint32(x.Mode), x.Nlink, x.Uid, x.Gid
	st.ino, st.size = x.Ino, int64(x.Size)
	st.dev = unix.Mkdev(x.Dev_major, x.Dev_minor)
	st.rdev = unix.Mkdev(x.Rdev_major, x.Rdev_minor)
	st.mtime = stamp{x.Mtime.Sec, x.Mtime.Nsec}
	st.ctime = stamp{x.Ctime.Sec, x.Ctime.Nsec}
	st.alloc = int64(x.Blocks) * 512
	st.flags = x.Attributes & x.Attributes_mask & keptFlags // the bits of statx are those of the ioctl
	st.mount = x.Attributes&x.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0
	return nil
}

// openAt opens name, which ends with a zero, in the directory dir, never through a link.
func openAt(dir int, name []byte, flags int, mode uint32) (int, error) {
	flags |= unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_LARGEFILE
	for {
		fd, _, errno := unix.Syscall6(unix.SYS_OPENAT, uintptr(dir), uintptr(unsafe.Pointer(unsafe.SliceData(name))),
			uintptr(flags), uintptr(mode), 0, 0)
		if errno == 0 {
			return int(fd), nil
		}
		if errno != unix.EINTR {
			return -1, errno
		}
	}
}

// dotDot and dot are names as statAt and openAt take them.
var dotDot, dot = []byte("..\x00"), []byte(".\x00")

// openDir opens a directory for listing, without touching its access time if that is allowed. A link in its place is
// refused, as is anything else.
func openDir(dir int, name []byte) (int, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NONBLOCK
	fd, err := openAt(dir, name, flags|unix.O_NOATIME, 0)
	if errors.Is(err, unix.EPERM) {
		return openAt(dir, name, flags, 0)
	}
	return fd, err
}

// readLinkAt returns the target of the link name, which ends with a zero, in the directory dir.
func readLinkAt(dir int, name []byte) ([]byte, error) {
	buf := make([]byte, 256)
	for {
		n, _, errno := unix.Syscall6(unix.SYS_READLINKAT, uintptr(dir), uintptr(unsafe.Pointer(unsafe.SliceData(name))),
			uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)), 0, 0)
		if errno != 0 {
			return nil, errno
		}
		if int(n) < len(buf) {
			return buf[:n], nil
		}
		buf = make([]byte, 4*len(buf))
	}
}

// again calls f until it is not interrupted by a signal.
func again(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// closeFD closes a descriptor that was only read, or whose data need not be durable: nothing can be done about an error.
func closeFD(fd int) { _ = unix.Close(fd) }

// cstr returns name with a terminating zero.
func cstr(name []byte) []byte {
	return append(append(make([]byte, 0, len(name)+1), name...), 0)
}
