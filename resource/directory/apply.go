package directory

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// applier sets owner, mode, attributes and times, in this order: chown drops capabilities, and chmod after an ACL would
// rewrite its mask. What the process or the file system does not allow is counted by kind, not an error.
type applier struct {
	uid, gid uint32
	plain    bool        // files are made with uid and gid
	ownOnly  atomic.Bool // the process may not give files away
	umask    uint32      // bits of a mode that files are not made with

	mu     sync.Mutex
	missed map[string]*missed
}

// missed counts items that lack something. The first is named.
type missed struct {
	count int64
	first []byte
	err   error
}

// newApplier returns an applier for what is made below the open directory root.
func newApplier(root int) *applier {
	a := &applier{uid: uint32(os.Geteuid()), gid: uint32(os.Getegid()), umask: umask(), missed: map[string]*missed{}}
	var st stat
	a.plain = statFD(root, &st) == nil && st.uid == a.uid && st.gid == a.gid
	return a
}

// createMode returns the mode to make a file with that is filled and completed at once, and whether this is its final
// mode already. Nobody else can look at the file meanwhile, because the root of a restore is closed to others.
func (a *applier) createMode(mode uint32) (create uint32, final bool) {
	if mode&(a.umask|^uint32(0o777)) != 0 {
		return 0o600, false
	}
	return mode, true
}

// umask returns the bits that the process takes from the modes of new files; all of them when it cannot be known.
func umask() uint32 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0o777
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "Umask:"); ok {
			if mask, err := strconv.ParseUint(strings.TrimSpace(value), 8, 32); err == nil {
				return uint32(mask)
			}
		}
	}
	return 0o777
}

// miss counts an item that could not be given what.
func (a *applier) miss(what string, key []byte, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.missed[what]
	if m == nil {
		m = &missed{first: Path(key), err: err}
		a.missed[what] = m
	}
	m.count++
}

// report lists what was missed, one line for each kind.
func (a *applier) report(s *skips) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, what := range slices.Sorted(maps.Keys(a.missed)) {
		m := a.missed[what]
		s.add(m.first, fmt.Sprintf("%s not restored here and on %d more items: %v", what, m.count-1, m.err), true)
	}
}

// refused reports whether an error means that something is not allowed or not possible here, as opposed to a target
// that fails or is full.
func refused(err error) bool {
	for _, e := range []unix.Errno{
		unix.EPERM, unix.EACCES, unix.ENOTSUP, unix.EINVAL, unix.ENOSYS, unix.ERANGE, unix.E2BIG, unix.ENOTTY, unix.EOVERFLOW,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// target is an inode that was just made.
type target struct {
	fd  int // for files and directories
	key []byte
	// For everything else fd is negative, and the inode is name in the directory dir.
	dir  int
	name []byte
	x    xattrs // how attributes are reached
	// moded says that it was made with its mode.
	moded bool
}

// apply sets all metadata of the inode.
func (a *applier) apply(t *target, i *Info) error {
	owned, err := a.chown(t, i)
	if err != nil {
		return err
	}
	mode := i.Mode
	if !owned && mode&0o6000 != 0 {
		mode &^= 0o6000
		a.miss("set-id bits", t.key, errOwner)
	}
	if i.Type != Symlink && !t.moded {
		if err := a.chmod(t, mode); err != nil {
			return fmt.Errorf("set mode: %w", err)
		}
	}
	for _, x := range i.Xattrs {
		err := t.x.set(string(x.Name), x.Value)
		if err != nil && !refused(err) {
			return fmt.Errorf("set extended attribute %s: %w", Display(x.Name), err)
		}
		if err != nil {
			a.miss("extended attribute "+Display(x.Name), t.key, err)
		}
	}
	if i.Flags != 0 {
		a.miss("inode flags", t.key, errFlags)
	}
	return t.setTimes(i)
}

var (
	errOwner = errors.New("the owner differs")
	errFlags = errors.New("immutable, append-only and no-dump are recorded and left to the operator")
)

// chown reports whether the inode has its owner now.
func (a *applier) chown(t *target, i *Info) (bool, error) {
	if a.plain && i.UID == a.uid && i.GID == a.gid && i.Type == File {
		return true, nil // made so: no directory of a restore is set-group-id before its end
	}
	if !a.ownOnly.Load() || i.UID == a.uid {
		err := t.chown(int(i.UID), int(i.GID))
		if err == nil || !refused(err) {
			return true, err
		}
		if a.uid != 0 && i.UID != a.uid {
			a.ownOnly.Store(true)
		}
		a.miss("owner", t.key, err)
	} else {
		a.miss("owner", t.key, unix.EPERM)
	}
	if err := t.chown(-1, int(i.GID)); err != nil && !refused(err) {
		return false, err
	}
	return false, nil
}

func (t *target) chown(uid, gid int) error {
	if t.fd >= 0 {
		return unix.Fchown(t.fd, uid, gid)
	}
	return unix.Fchownat(t.dir, string(t.name[:len(t.name)-1]), uid, gid, unix.AT_SYMLINK_NOFOLLOW)
}

func (a *applier) chmod(t *target, mode uint32) error {
	var err error
	if t.fd >= 0 {
		err = unix.Fchmod(t.fd, mode)
	} else {
		err = chmodAt(t.dir, t.name, mode)
	}
	if err != nil && refused(err) {
		a.miss("mode", t.key, err)
		return nil
	}
	return err
}

// setTimes sets the modification time. The access time is not kept; it becomes the same.
func (t *target) setTimes(i *Info) error {
	m := stampOf(i.ModTime)
	ts := [2]unix.Timespec{{Sec: m.sec, Nsec: int64(m.nsec)}, {Sec: m.sec, Nsec: int64(m.nsec)}}
	if t.fd < 0 {
		_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(t.dir), uintptr(unsafe.Pointer(unsafe.SliceData(t.name))),
			uintptr(unsafe.Pointer(&ts)), unix.AT_SYMLINK_NOFOLLOW, 0, 0)
		return timesError(errno)
	}
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(t.fd), 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
	return timesError(errno)
}

func timesError(errno unix.Errno) error {
	if errno == 0 {
		return nil
	}
	return fmt.Errorf("set times: %w", errno)
}
