package directory

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/lockfast/lockfast/resource"
	"golang.org/x/sys/unix"
)

// targetDir is the directory that a restore fills. For a name in a directory it is made under another name and renamed
// at the end. The directory given as Into is filled where it is.
type targetDir struct {
	path   string // final
	parent int    // descriptor of the directory that holds it
	root   int    // descriptor of the directory to fill, locked
	name   string // final name in parent, empty for an Into that existed
	work   string // name in parent while it is filled; equal to name for Into
	mode   uint32 // of an Into that existed
}

// partial is the name under which name is made.
func partial(name string) string { return "." + name + ".partial" }

func newTargetDir(order resource.Restore, p private) (*targetDir, error) {
	if order.Into != "" {
		return intoTarget(filepath.Clean(order.Into), p)
	}
	if err := checkName([]byte(order.Name)); err != nil {
		return nil, fmt.Errorf("restore to %q: %w", order.Name, err)
	}
	t := &targetDir{path: filepath.Join(order.Directory, order.Name), name: order.Name, work: partial(order.Name), root: -1}
	var err error
	if t.parent, err = openTarget(order.Directory); err != nil {
		return nil, rootError("open", order.Directory, err)
	}
	if err := p.refuse(t.parent, order.Directory); err != nil {
		t.close()
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(t.parent, t.name, &st, unix.AT_SYMLINK_NOFOLLOW); err == nil {
		t.close()
		return nil, rootError("make", t.path, unix.EEXIST)
	}
	if err := removePartial(t.parent, t.work); err != nil {
		t.close()
		return nil, err
	}
	return t, t.mkdir()
}

func openTarget(path string) (int, error) {
	return unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

// intoTarget takes a directory that is absent or empty.
func intoTarget(path string, p private) (*targetDir, error) {
	t := &targetDir{path: path, root: -1}
	var err error
	if t.parent, err = openTarget(filepath.Dir(path)); err != nil {
		return nil, rootError("open", filepath.Dir(path), err)
	}
	if err := p.refuse(t.parent, path); err != nil {
		t.close()
		return nil, err
	}
	t.root, err = openTarget(path)
	if err == nil {
		if err := p.refuse(t.root, path); err != nil {
			t.close()
			return nil, err
		}
	}
	if errors.Is(err, unix.ENOENT) {
		t.name = filepath.Base(path)
		t.work = t.name
		return t, t.mkdir()
	}
	if err != nil {
		t.close()
		return nil, rootError("open", path, err)
	}
	var n names
	var st stat
	if err = n.read(t.root, make([]byte, 64<<10)); err == nil && n.len() > 0 {
		err = unix.ENOTEMPTY
	}
	if err == nil {
		err = statFD(t.root, &st)
	}
	if err == nil {
		err = t.lock()
	}
	if err == nil {
		t.mode = st.mode & 0o7777
		err = unix.Fchmod(t.root, 0o700) // nobody looks in before it is complete
	}
	if err != nil {
		t.close()
		return nil, rootError("restore into", path, err)
	}
	return t, nil
}

// mkdir makes the directory to fill. Until it is locked, another restore of the name may take it for a leftover.
func (t *targetDir) mkdir() error {
	err := unix.Mkdirat(t.parent, t.work, 0o700)
	if err == nil {
		if t.root, err = openDir(t.parent, cstr([]byte(t.work))); err == nil {
			err = t.lock()
		}
		if err == nil {
			err = stands(t.parent, t.work, t.root)
		}
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EWOULDBLOCK) {
			err = unix.EEXIST
		}
	}
	if err != nil {
		t.close()
		return rootError("make", t.path, err)
	}
	return nil
}

// lock keeps others from taking the directory for a leftover. Entries of the directory around it pass their default ACL
// on; what is restored has its own or none.
func (t *targetDir) lock() error {
	for _, acl := range []string{"system.posix_acl_default", "system.posix_acl_access"} {
		if err := unix.Fremovexattr(t.root, acl); err != nil && !errors.Is(err, unix.ENODATA) && !refused(err) {
			return err
		}
	}
	return unix.Flock(t.root, unix.LOCK_EX|unix.LOCK_NB)
}

// commit makes what was restored durable and gives it its name. One syncfs takes the place of an fsync for each file and
// directory: it writes the data and metadata of the whole file system, and since Linux 5.8 reports what could not be
// written. Nothing has to be durable in any order before, because all of it is unreachable until the rename.
func (t *targetDir) commit(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if err := unix.Syncfs(t.root); err != nil {
		return fmt.Errorf("write to disk: %w", full(err))
	}
	if t.name != "" && t.name != t.work {
		if err := unix.Renameat2(t.parent, t.work, t.parent, t.name, unix.RENAME_NOREPLACE); err != nil {
			if errors.Is(err, unix.EEXIST) {
				return fmt.Errorf("%w: %w", resource.ErrExist, err)
			}
			return fmt.Errorf("rename: %w", err)
		}
		t.work = t.name
	}
	if err := unix.Fsync(t.parent); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("write to disk: %w", err)
	}
	return nil
}

// discard removes what was restored.
func (t *targetDir) discard() error {
	_ = unix.Fchmod(t.root, 0o700)
	if t.name != "" {
		return removeAll(t.parent, cstr([]byte(t.work)))
	}
	if err := removeContents(t.root); err != nil {
		return err
	}
	return unix.Fchmod(t.root, t.mode)
}

func (t *targetDir) close() {
	closeFD(t.parent)
	if t.root >= 0 {
		closeFD(t.root)
	}
}

// stands is nil if an open directory still has its name, and else ENOENT. Once it is locked, that stays so.
func stands(parent int, name string, fd int) error {
	var named, open stat
	if err := statFD(fd, &open); err != nil {
		return err
	}
	if err := statAt(parent, cstr([]byte(name)), &named); err != nil {
		return err
	}
	if named.dev != open.dev || named.ino != open.ino {
		return unix.ENOENT
	}
	return nil
}

// removePartial removes a leftover, unless a living restore holds it. What is not a directory was not left by a restore.
func removePartial(parent int, work string) error {
	fd, err := openDir(parent, cstr([]byte(work)))
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err == nil {
		defer closeFD(fd)
		if err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("%w: %s is being restored by somebody else", resource.ErrExist, Display([]byte(work)))
		}
	}
	if err == nil {
		err = stands(parent, work, fd)
	}
	if errors.Is(err, unix.ENOENT) {
		return nil // somebody else has removed it
	}
	if err == nil {
		err = removeAll(parent, cstr([]byte(work)))
	}
	if err != nil {
		return fmt.Errorf("remove leftover %s: %w", Display([]byte(work)), err)
	}
	return nil
}

// Sweep removes from directory what restores that were killed have left behind. Only leftovers of these names are
// touched ([resource.Restore.Name]); nil means every name that starts with aws-backup-restore_. It returns how many it
// removed. A leftover that a living restore works in stays.
func Sweep(ctx context.Context, directory string, names []string) (removed int, err error) {
	parent, err := openTarget(directory)
	if errors.Is(err, unix.ENOENT) {
		return 0, nil
	}
	if err != nil {
		return 0, rootError("sweep", directory, err)
	}
	defer closeFD(parent)
	if names == nil {
		names, err = leftovers(parent)
	}
	var problems []error
	for _, name := range names {
		if ctx.Err() != nil {
			problems = append(problems, context.Cause(ctx))
			break
		}
		var st stat
		if checkName([]byte(name)) != nil || statAt(parent, cstr([]byte(partial(name))), &st) != nil || st.kind() != unix.S_IFDIR {
			continue
		}
		if err := removePartial(parent, partial(name)); err != nil {
			problems = append(problems, err)
			continue
		}
		removed++
	}
	return removed, errors.Join(append(problems, err)...)
}

// leftovers lists the names whose partial directories stand in parent.
func leftovers(parent int) ([]string, error) {
	fd, err := openDir(parent, dot)
	if err != nil {
		return nil, err
	}
	defer closeFD(fd)
	var n names
	if err := n.read(fd, make([]byte, 64<<10)); err != nil {
		return nil, err
	}
	var found []string
	for i := range n.len() {
		entry := n.at(i)
		name, ok := strings.CutSuffix(string(entry[:len(entry)-1]), ".partial")
		if ok && strings.HasPrefix(name, ".aws-backup-restore_") {
			found = append(found, name[1:])
		}
	}
	return found, nil
}
