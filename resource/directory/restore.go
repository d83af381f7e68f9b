package directory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/resource"
	"golang.org/x/sys/unix"
)

// Restore makes the tree, or some items of it, anew.
func (d *Driver) Restore(ctx context.Context, order resource.Restore) (resource.Outcome, error) {
	sel, err := newSelection(ctx, order.Point, order.Items, order.Intact)
	if err != nil {
		return resource.Outcome{}, err
	}
	private, err := d.private()
	if err != nil {
		return resource.Outcome{}, err
	}
	at, err := newTargetDir(order, private)
	if err != nil {
		return resource.Outcome{}, err
	}
	defer at.close()
	r := newRestoring(order.Point, sel, at.root)
	if order.Intact {
		r.intact = newIntact(&r.skips)
		sel.damaged = r.intact.node
	}
	for _, d := range sel.lost {
		r.skips.add(d.Path, d.Reason, false)
	}
	stopProgress := report(order.Progress, r.progress)
	err = r.run(ctx)
	stopProgress()
	if err == nil {
		err = at.commit(ctx)
	}
	if err != nil {
		err = fmt.Errorf("restore to %s: %w", Display([]byte(at.path)), err)
		if left := at.discard(); left != nil {
			err = errors.Join(err, fmt.Errorf("remove what was restored: %w", left))
		}
		return resource.Outcome{}, err
	}
	r.apply.report(&r.skips)
	logger(order.Log).DebugContext(ctx, "directory restored", "items", r.items.Load(), "skipped", len(r.skips.list))
	return resource.Outcome{
		Items: r.items.Load(), Bytes: r.logical.Load(), Path: at.path, Skipped: r.skips.list, SkippedMore: r.skips.more,
		Missing: sel.missing,
	}, nil
}

// restoring makes the entries of a selection below a directory, in two passes over the recovery point. The first makes
// directories and everything without content, and feeds the files to [repo.Point.Fetch], which calls write from several
// goroutines in the order in which the store holds the data. The second, when all data is there, makes hard links and
// completes the directories, from the inside out, because until then they still change. So the memory it takes does
// not grow with the number of directories.
type restoring struct {
	point  *repo.Point
	sel    *selection
	places places
	files  files
	apply  *applier
	skips  skips
	root   *place
	stack  []inside         // directories from the root to the current one
	groups map[inode]*maker // files with several names, by the first that is restored
	items  atomic.Int64
	bytes  atomic.Int64 // written
	dirty  atomic.Int64 // written to the page cache only
	// logical is the size of the files that are complete.
	logical  atomic.Int64
	total    int64   // of logical at the end; 0 when it is not known
	intact   *intact // nil when damage is an error
	early    earlySync
	uncached uncached
}

// inside is a directory that a pass is in. Only the second pass needs more than the place.
type inside struct {
	place *place
	meta  []byte
	refs  []repo.Extent
}

// maker is the first name of a file with several.
type maker struct {
	place *place
	name  []byte // with a terminating zero
	key   []byte
	made  bool
}

func newRestoring(p *repo.Point, sel *selection, root int) *restoring {
	r := &restoring{point: p, sel: sel, apply: newApplier(root), root: newRootPlace(root), groups: map[inode]*maker{}}
	r.uncached.pwritev2 = unix.Pwritev2
	r.uncached.refused.Store(!trusted())
	if len(sel.keys) == 1 && len(sel.keys[0]) == 0 {
		r.total = p.Stats().LogicalBytes
	}
	return r
}

func (r *restoring) progress() resource.Progress {
	return resource.Progress{Items: r.items.Load(), Bytes: max(r.bytes.Load(), r.logical.Load()), TotalBytes: r.total}
}

func (r *restoring) run(ctx context.Context) (err error) {
	defer r.places.close()
	defer func() { err = errors.Join(err, r.files.close(), r.early.wait()) }()
	stop := errors.New("stop")
	err = r.point.FetchIntact(ctx, func(yield func(repo.Want, error) bool) {
		err := r.sel.visit(ctx, func(e repo.Entry) error {
			w, ok, err := r.make(ctx, e)
			if r.intact.leavesOut(e.Key, err) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("%s: %w", r.display(e.Key), err)
			}
			if ok && !yield(w, nil) {
				return stop
			}
			return nil
		})
		if err != nil && !errors.Is(err, stop) {
			yield(repo.Want{}, err)
		}
	}, r.write, r.intact.fetched())
	if err == nil {
		err = r.files.close() // before the times are set
	}
	if err == nil {
		err = r.removeBroken()
	}
	if err == nil && len(r.stack) == 0 {
		err = fmt.Errorf("%w: it has no root directory", resource.ErrMalformed)
	}
	if err != nil {
		return full(r.named(err))
	}
	r.stack = r.stack[:0]
	err = r.sel.visit(ctx, func(e repo.Entry) error {
		if r.intact.left(e.Key) {
			return nil
		}
		if err := r.complete(ctx, e); err != nil && !r.intact.leavesOut(e.Key, err) {
			return fmt.Errorf("%s: %w", r.display(e.Key), err)
		}
		return nil
	})
	if err == nil {
		err = r.leave(ctx, 0)
	}
	return full(r.named(err))
}

func (r *restoring) display(key []byte) string {
	if len(key) == 0 {
		return "root directory"
	}
	return Display(Path(key))
}

// full marks the errors of a target that is full.
func full(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("%w: %w", resource.ErrNoSpace, err)
	}
	return err
}

// enter leaves the directories that the entry is not in, and returns the place it belongs to and its name there. It
// refuses an entry whose directory is not one that this restore made.
func (r *restoring) enter(ctx context.Context, e repo.Entry, leave func(context.Context, int) error) (*place, []byte, error) {
	parent, name := parentKey(e.Key)
	if len(r.stack) == 0 && r.intact != nil {
		r.intact.rootless()
		r.stack = append(r.stack, inside{place: r.root})
	}
	n := len(r.stack)
	for n > 0 && !below(parent, r.stack[n-1].place.key) {
		n--
	}
	if err := leave(ctx, n); err != nil {
		return nil, nil, err
	}
	if n == 0 || !bytes.Equal(r.stack[n-1].place.key, parent) || e.Key[0] == 0 {
		return nil, nil, errNoDirectory
	}
	if err := checkName(name); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", resource.ErrMalformed, err)
	}
	return r.stack[n-1].place, name, nil
}

// cut leaves directories in the first pass.
func (r *restoring) cut(_ context.Context, n int) error {
	r.stack = r.stack[:n]
	return nil
}

// make is the first pass over an entry. If the entry has data to fetch, it returns the want.
func (r *restoring) make(ctx context.Context, e repo.Entry) (w repo.Want, fetch bool, err error) {
	info, err := DecodeMeta(e.Meta)
	if err != nil {
		return w, false, fmt.Errorf("%w: %w", resource.ErrMalformed, err)
	}
	if len(e.Key) == 0 {
		if info.Type != Directory || len(r.stack) > 0 || r.intact.isRootless() {
			return w, false, fmt.Errorf("%w: the root is a %s", resource.ErrMalformed, info.Type)
		}
		r.stack = append(r.stack, inside{place: r.root})
		return w, false, nil
	}
	up, name, err := r.enter(ctx, e, r.cut)
	if err != nil {
		return w, false, err
	}
	if info.Type != File && e.Content.Size != 0 {
		return w, false, fmt.Errorf("%w: a %s with contents", resource.ErrMalformed, info.Type)
	}
	switch info.Type {
	case Directory:
		return w, false, r.makeDir(up, name, e)
	case Socket:
		r.skips.add(Path(e.Key), "sockets are not restored", false)
		return w, false, nil
	case File, Symlink, FIFO, CharDevice, BlockDevice:
	default:
		r.skips.add(Path(e.Key), fmt.Sprintf("of a type that this version does not know (%d)", info.Type), false)
		return w, false, nil
	}
	if info.Nlink > 1 {
		if r.groups[inode{info.Device, info.Inode}] != nil {
			return w, false, nil // the second pass links it
		}
	}
	key, cname, meta := own(e, len(name))
	first := &maker{place: up, name: cname, key: key, made: true}
	if info.Nlink > 1 {
		r.groups[inode{info.Device, info.Inode}] = first
	}
	if info.Type == File {
		return r.makeFile(ctx, first, meta, e)
	}
	return w, false, r.makeSpecial(ctx, first, &info, e.Refs)
}

// own returns copies of an entry's key and metadata, and of the last n bytes of the key with a terminating zero. They
// share one array, because a restore holds many.
func own(e repo.Entry, n int) (key, cname, meta []byte) {
	k := len(e.Key)
	all := make([]byte, 0, k+1+len(e.Meta))
	all = append(append(append(all, e.Key...), 0), e.Meta...)
	return all[:k:k], all[k-n : k+1 : k+1], all[k+1:]
}

func (r *restoring) makeDir(up *place, name []byte, e repo.Entry) error {
	err := r.places.with(up, func(fd int) error { return unix.Mkdirat(fd, string(name), 0o700) })
	if err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	r.stack = append(r.stack, inside{place: up.child(name, bytes.Clone(e.Key))})
	return nil
}

// makeSpecial makes what is neither a file nor a directory.
func (r *restoring) makeSpecial(ctx context.Context, m *maker, info *Info, refs []repo.Extent) error {
	if err := r.loadXattrs(ctx, info, refs); err != nil {
		return err
	}
	return r.places.with(m.place, func(dir int) error {
		err := makeNode(dir, string(m.name[:len(m.name)-1]), info)
		if err != nil && refused(err) {
			m.made = false
			r.skips.add(Path(m.key), fmt.Sprintf("%s not made: %v", info.Type, err), false)
			return nil
		}
		if err != nil {
			return fmt.Errorf("make %s: %w", info.Type, err)
		}
		t := &target{fd: -1, dir: dir, name: m.name, key: m.key}
		if len(info.Xattrs) > 0 {
			fd, err := openAt(dir, m.name, unix.O_PATH, 0)
			if err != nil {
				return err
			}
			defer closeFD(fd)
			t.x = xattrs{fd: -1, path: pinned(fd), pinned: true}
		}
		r.items.Add(1)
		return r.apply.apply(t, info)
	})
}

func makeNode(dir int, name string, info *Info) error {
	switch info.Type {
	case Symlink:
		return unix.Symlinkat(string(info.LinkTarget), dir, name)
	case FIFO:
		return unix.Mknodat(dir, name, unix.S_IFIFO|0o600, 0)
	case CharDevice:
		return unix.Mknodat(dir, name, unix.S_IFCHR|0o600, int(unix.Mkdev(info.Major, info.Minor)))
	default:
		return unix.Mknodat(dir, name, unix.S_IFBLK|0o600, int(unix.Mkdev(info.Major, info.Minor)))
	}
}

// complete is the second pass over an entry.
func (r *restoring) complete(ctx context.Context, e repo.Entry) error {
	info, err := DecodeMeta(e.Meta)
	if err != nil {
		return fmt.Errorf("%w: %w", resource.ErrMalformed, err)
	}
	if len(e.Key) == 0 {
		r.push(r.root, e)
		return nil
	}
	up, name, err := r.enter(ctx, e, r.leave)
	if err != nil {
		return err
	}
	if info.Type == Directory {
		r.push(up.child(name, bytes.Clone(e.Key)), e)
		return nil
	}
	if info.Nlink > 1 {
		if m := r.groups[inode{info.Device, info.Inode}]; m != nil && !bytes.Equal(m.key, e.Key) {
			return r.link(m, up, name, e)
		}
	}
	if c := e.Content; info.Type == File && c.Size != int64(len(c.Inline)) && !onePiece(c) {
		return r.completeFile(ctx, up, name, e)
	}
	return nil
}

func (r *restoring) push(p *place, e repo.Entry) {
	r.stack = append(r.stack, inside{place: p, meta: bytes.Clone(e.Meta), refs: append([]repo.Extent(nil), e.Refs...)})
}

// link makes a further name of a file.
func (r *restoring) link(m *maker, up *place, name []byte, e repo.Entry) error {
	if !m.made || r.intact.left(m.key) {
		r.skips.add(Path(e.Key), "its first name, "+Display(Path(m.key))+", was not restored", false)
		return nil
	}
	err := r.places.with(m.place, func(from int) error {
		return r.places.with(up, func(to int) error {
			return unix.Linkat(from, string(m.name[:len(m.name)-1]), to, string(name), 0)
		})
	})
	if err != nil && (refused(err) || errors.Is(err, unix.EMLINK)) {
		r.skips.add(Path(e.Key), fmt.Sprintf("not linked to %s: %v", Display(Path(m.key)), err), false)
		return nil
	}
	if err != nil {
		return fmt.Errorf("link to %s: %w", Display(Path(m.key)), err)
	}
	r.items.Add(1)
	r.logical.Add(e.Content.Size)
	return nil
}

// leave completes directories of the stack, the innermost first, until n are left.
func (r *restoring) leave(ctx context.Context, n int) error {
	for len(r.stack) > n {
		l := r.stack[len(r.stack)-1]
		r.stack = r.stack[:len(r.stack)-1]
		if l.meta == nil {
			continue // the root, whose entry is lost
		}
		info, err := DecodeMeta(l.meta)
		if err != nil {
			return err
		}
		err = r.loadXattrs(ctx, &info, l.refs)
		if r.intact.drops(l.place.key, err) {
			info.Xattrs, err = nil, nil
		}
		if err != nil {
			return fmt.Errorf("complete directory %s: %w", r.display(l.place.key), err)
		}
		err = r.places.with(l.place, func(fd int) error {
			return r.apply.apply(&target{fd: fd, key: l.place.key, x: xattrs{fd: fd}}, &info)
		})
		if err != nil {
			return fmt.Errorf("complete directory %s: %w", r.display(l.place.key), err)
		}
		r.places.forget(l.place)
		r.items.Add(1)
	}
	return nil
}

// loadXattrs reads the values of attributes that stand beside the entry.
func (r *restoring) loadXattrs(ctx context.Context, info *Info, refs []repo.Extent) error {
	for i, x := range info.Xattrs {
		if x.Ref == 0 {
			continue
		}
		value, err := readRef(ctx, r.point, refs, x.Ref)
		if err != nil {
			return fmt.Errorf("read extended attribute %s: %w", Display(x.Name), err)
		}
		info.Xattrs[i].Value = value
	}
	return nil
}
