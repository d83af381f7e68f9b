package directory

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// errMoved says that a directory was not found again where it had been.
var errMoved = errors.New("the directory was moved while it was read")

// handle is an open directory. The walk holds one reference while it is in the directory, and every file that waits to
// be read holds another, because files are opened relative to their directory.
type handle struct {
	fd   int
	refs atomic.Int32
}

func newHandle(fd int) *handle {
	h := &handle{fd: fd}
	h.refs.Store(1)
	return h
}

func (h *handle) hold() *handle {
	h.refs.Add(1)
	return h
}

func (h *handle) release() {
	if h != nil && h.refs.Add(-1) == 0 {
		closeFD(h.fd)
	}
}

// node is what a walk shows to its visitor. Everything in it is valid only during the call.
type node struct {
	key  []byte
	name []byte  // last component, with a terminating zero; of the root, "."
	dir  *handle // the directory that holds it; for the root, itself
	self *handle // the directory itself, if the node is one and could be opened
	st   stat
}

// visitor is told what a walk finds, in ascending order of keys.
type visitor interface {
	// visit takes one item. An error ends the walk.
	visit(ctx context.Context, n *node) error
	// skip takes an item that could not be looked at, or a directory whose contents could not be listed (partial).
	skip(key []byte, reason error, partial bool)
	// vanish counts an item that was listed and is not there any more.
	vanish()
}

// walker visits a tree, directories before their contents, names in byte order. It works with directory descriptors
// throughout: nobody can lead it elsewhere by replacing a directory with a link, and paths may be of any length.
//
// At most openFrames directories of the chain from the root to the current one are kept open. One that was closed is
// opened again when the walk returns to it, by "..", and recognised by device and inode.
type walker struct {
	visitor visitor
	cross   bool // walk into other file systems
	private private
	frames  []frame
	depth   int // of the current directory; frames[:depth+1] are in use
	opened  int // frames[opened:depth+1] are open, and so is frames[0]
	key     []byte
	buf     []byte
	node    node
	steps   int
}

// frame is a directory that the walk is in.
type frame struct {
	dir      *handle // nil while closed
	dev, ino uint64
	names    names
	next     int
	keyLen   int // of the directory's key, a prefix of walker.key
}

const openFrames = 64

// walk visits the open directory root and what is below it. It closes root.
func walk(ctx context.Context, root int, cross bool, p private, v visitor) error {
	w := &walker{visitor: v, cross: cross, private: p, buf: make([]byte, 64<<10), depth: -1}
	defer w.close()
	h := newHandle(root)
	w.node = node{name: dot, dir: h, self: h}
	if err := statFD(root, &w.node.st); err != nil {
		h.release()
		return err
	}
	w.push(h)
	if err := v.visit(ctx, &w.node); err != nil {
		return err
	}
	if err := w.frames[0].names.read(root, w.buf); err != nil {
		return err
	}
	w.reportOdd()
	for w.depth >= 0 {
		if err := w.step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// step visits the next name of the current directory, or leaves it.
func (w *walker) step(ctx context.Context) error {
	if w.steps++; w.steps%256 == 0 && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	f := &w.frames[w.depth]
	w.key = w.key[:f.keyLen]
	if f.next == f.names.len() {
		w.pop()
		return nil
	}
	n := &w.node
	n.name, n.dir, n.self = f.names.at(f.next), f.dir, nil
	f.next++
	w.key = childKey(w.key, n.name[:len(n.name)-1])
	n.key = w.key
	if err := statAt(f.dir.fd, n.name, &n.st); err != nil {
		w.lost(err)
		return nil
	}
	if w.private.has(&n.st) {
		w.visitor.skip(n.key, errPrivate, false)
		return nil
	}
	if n.st.kind() == unix.S_IFDIR {
		return w.enter(ctx)
	}
	if n.st.mount && !w.cross {
		w.visitor.skip(n.key, errMount, false)
		return nil
	}
	return w.visitor.visit(ctx, n)
}

// lost accounts for an item that was listed and could not be looked at.
func (w *walker) lost(err error) {
	if errors.Is(err, unix.ENOENT) {
		w.visitor.vanish()
		return
	}
	w.visitor.skip(w.key, err, false)
}

// errMount says why a directory is empty in the recovery point.
var errMount = errors.New("mount point of another file system, not crossed")

// enter visits the directory in w.node and makes it the current one.
func (w *walker) enter(ctx context.Context) error {
	n := &w.node
	if w.foreign(&n.st) {
		w.visitor.skip(n.key, errMount, true)
		return w.visitor.visit(ctx, n)
	}
	fd, err := openDir(n.dir.fd, n.name)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		w.visitor.vanish() // what has taken its place is found by the next capture
		return nil
	case err != nil:
		w.visitor.skip(n.key, fmt.Errorf("contents not listed: %w", err), true)
		return w.visitor.visit(ctx, n)
	}
	h := newHandle(fd)
	n.self = h
	if err := statFD(fd, &n.st); err != nil {
		h.release()
		w.visitor.skip(n.key, err, false)
		return nil
	}
	if w.private.has(&n.st) { // it has just taken another one's place
		h.release()
		w.visitor.skip(n.key, errPrivate, false)
		return nil
	}
	if w.foreign(&n.st) {
		h.release()
		n.self = nil
		w.visitor.skip(n.key, errMount, true)
		return w.visitor.visit(ctx, n)
	}
	w.push(h)
	if err := w.visitor.visit(ctx, n); err != nil {
		return err
	}
	f := &w.frames[w.depth]
	if err := f.names.read(fd, w.buf); err != nil {
		w.visitor.skip(n.key, fmt.Errorf("contents not listed: %w", err), true)
	}
	w.reportOdd()
	return nil
}

// foreign reports whether the directory is on another file system than the root of the walk, or mounted here.
func (w *walker) foreign(st *stat) bool {
	return !w.cross && (st.mount || st.dev != w.frames[0].dev)
}

// reportOdd reports names that are none. Only a faulty file system has them.
func (w *walker) reportOdd() {
	if n := w.frames[w.depth].names.odd; n > 0 {
		w.visitor.skip(w.key, fmt.Errorf("%d names that the file system returned are not file names", n), true)
	}
}

func (w *walker) push(h *handle) {
	w.depth++
	if w.depth == len(w.frames) {
		w.frames = append(w.frames, frame{})
	}
	f := &w.frames[w.depth]
	f.names.reset()
	f.dir, f.dev, f.ino = h, w.node.st.dev, w.node.st.ino
	f.next, f.keyLen = 0, len(w.key)
	if w.depth == 0 {
		w.opened = 1
	} else if w.depth-w.opened >= openFrames {
		w.frames[w.opened].dir.release()
		w.frames[w.opened].dir = nil
		w.opened++
	}
}

// pop leaves the current directory for the one above, which may have to be opened again.
func (w *walker) pop() {
	f := &w.frames[w.depth]
	child := f.dir
	f.dir = nil
	w.depth--
	defer child.release()
	if w.depth < 1 || w.depth >= w.opened {
		w.opened = max(1, min(w.opened, w.depth+1))
		return
	}
	up := &w.frames[w.depth]
	w.opened = w.depth
	fd, err := openDir(child.fd, dotDot)
	if err == nil && !up.is(fd) {
		closeFD(fd)
		err = errMoved
	}
	if err != nil {
		fd, err = w.descend(up.keyLen)
	}
	if err != nil {
		up.next = up.names.len()
		w.visitor.skip(w.key[:up.keyLen], fmt.Errorf("contents not listed to the end: %w", err), true)
		fd = -1
	}
	up.dir = newHandle(fd)
}

// is reports whether fd is the directory of the frame.
func (f *frame) is(fd int) bool {
	var st stat
	return statFD(fd, &st) == nil && st.dev == f.dev && st.ino == f.ino
}

// descend opens the current directory again from the root, and accepts no other directories than those the walk went
// through.
func (w *walker) descend(keyLen int) (int, error) {
	fd := w.frames[0].dir.fd
	for d := 1; d <= w.depth; d++ {
		f := &w.frames[d]
		from := w.frames[d-1].keyLen
		if from > 0 {
			from++ // the separator
		}
		next, err := openDir(fd, cstr(w.key[from:f.keyLen]))
		if d > 1 {
			closeFD(fd)
		}
		if err != nil {
			return -1, err
		}
		if !f.is(next) {
			closeFD(next)
			return -1, errMoved
		}
		fd = next
	}
	return fd, nil
}

func (w *walker) close() {
	for i := range w.frames {
		w.frames[i].dir.release()
		w.frames[i].dir = nil
	}
}
