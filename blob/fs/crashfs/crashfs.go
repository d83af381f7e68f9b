// Package crashfs is a file system in memory that can lose its power: a [fs.System] which records every call that
// changes something, knows which changes were synced, and gives the states in which a disk may be found after a power
// cut at any step.
//
// A crash test has three parts: do the work once and note after each piece of it the step by which it must be durable,
// then cut at every step, then look.
//
//	disk := crashfs.New()
//	store, err := fs.Open("", fs.Options{System: disk})
//	err = store.Put(ctx, "a", bytes.NewReader(data), size)
//	promised := disk.Len()                                 // from this step on "a" is there
//
//	for step := range disk.Len() + 1 {
//		for _, v := range crashfs.Variants(seed) {
//			after := disk.State(step, v)                   // a disk of its own, as found after the cut
//			store, err := fs.Open("", fs.Options{System: after})
//			...                                            // step >= promised: "a" must be there, whole
//		}
//	}
//
// # What a cut does
//
// Each file and directory is a node; a name in a directory is an entry that points to one.
//
//   - Bytes written before the last successful Sync of the file are there. Of later ones, [Variant.Data] decides.
//   - Entries made or removed before the last SyncDir of their directory are as they were then. Of later changes any
//     subset may have reached the disk, [Variant.Names] decides; of several changes to one entry the last that did holds.
//   - A name that is durable in a directory whose own name is not is lost with the directory.
//   - Locks end.
//
// That is less than ext4, XFS or Btrfs give, and as little as POSIX promises. A process that is killed while the machine
// runs on is another thing: nothing is lost, but nothing has become durable either; see [Disk.Kill].
package crashfs

import (
	"bytes"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path"
	"slices"
	"sync"
	"syscall"

	"github.com/lockfast/lockfast/blob/fs"
)

// Disk is a simulated disk. It is safe for concurrent use; its steps are then in the order in which they took effect.
type Disk struct {
	mu    sync.Mutex
	live  *state                      // guarded by mu; what programs see
	log   []change                    // guarded by mu; what has been done to start
	start *state                      // durable contents at step 0; never changes
	locks map[string]bool             // guarded by mu
	fault func(op, path string) error // guarded by mu
}

// New returns an empty disk.
func New() *Disk {
	return &Disk{live: newState(), start: newState(), locks: map[string]bool{}}
}

// Len returns the number of steps so far. What returned before this call was finished by that step.
func (d *Disk) Len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.log)
}

// Step describes step i, counted from 0, for messages of tests. A cut at step n is one after the first n steps.
func (d *Disk) Step(i int) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i < 0 || i >= len(d.log) {
		return "no step"
	}
	return fmt.Sprintf("%d: %s %s", i, d.log[i].op, d.log[i].path)
}

// State returns the disk as it may be found after a cut that comes when the first steps have been done. It is a disk of
// its own; everything in it is durable and its own steps begin at 0.
func (d *Disk) State(steps int, v Variant) *Disk {
	d.mu.Lock()
	log := d.log[:steps]
	d.mu.Unlock()
	s := d.start.clone()
	for _, c := range log {
		mustApply(s, c)
	}
	found := s.cut(v)
	return &Disk{live: found.clone(), start: found, locks: map[string]bool{}}
}

// Kill returns the disk as it is for the next process when this one was killed after the first steps and the machine runs
// on: all is visible, locks are gone, and what was volatile still is. Its steps continue those.
func (d *Disk) Kill(steps int) *Disk {
	d.mu.Lock()
	log := slices.Clone(d.log[:steps])
	d.mu.Unlock()
	s := d.start.clone()
	for _, c := range log {
		mustApply(s, c)
	}
	return &Disk{live: s, log: log, start: d.start, locks: map[string]bool{}}
}

// mustApply repeats a change that was possible before in the same state.
func mustApply(s *state, c change) {
	if err := s.apply(c); err != nil {
		panic(fmt.Sprintf("crashfs: repeating %s %s: %v", c.op, c.path, err))
	}
}

// Fail makes the disk ask fault before each call that writes, syncs or changes names; a non-nil error is the call's
// result, and the call has no other effect, except that a file whose Sync failed never becomes durable again: like a
// kernel, which drops the pages it could not write and reports the error once. The names of the operations are create,
// write, sync, link, mkdir, remove, syncdir and syncall; path is that of the file or directory, for link the new name.
func (d *Disk) Fail(fault func(op, path string) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = fault
}

// do performs a change on what programs see and records it.
func (d *Disk) do(c change) error {
	d.mu.Lock()
	fault := d.fault
	d.mu.Unlock()
	if fault != nil {
		if err := fault(c.op, c.path); err != nil {
			if c.op != "sync" {
				return &os.PathError{Op: c.op, Path: c.path, Err: err}
			}
			c.op = "lose"
			_ = d.perform(c) // cannot fail
			return &os.PathError{Op: "sync", Path: c.path, Err: err}
		}
	}
	if err := d.perform(c); err != nil {
		return &os.PathError{Op: c.op, Path: c.path, Err: err}
	}
	return nil
}

func (d *Disk) perform(c change) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.live.apply(c); err != nil {
		return err
	}
	d.log = append(d.log, c)
	return nil
}

// Create implements [fs.System].
func (d *Disk) Create(path string) (fs.Writer, error) {
	if err := d.do(change{op: "create", path: path}); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.live.find(path)
	if err != nil {
		return nil, &os.PathError{Op: "create", Path: path, Err: err}
	}
	return &writer{disk: d, path: path, id: n.id}, nil
}

type writer struct {
	disk *Disk
	path string // at creation, for messages
	id   int
}

func (w *writer) Write(p []byte) (int, error) {
	if err := w.disk.do(change{op: "write", path: w.path, id: w.id, data: slices.Clone(p)}); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (w *writer) Sync() error {
	return w.disk.do(change{op: "sync", path: w.path, id: w.id})
}

func (w *writer) Close() error { return nil }

// Open implements [fs.System].
func (d *Disk) Open(path string) (fs.Reader, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.live.find(path)
	if err == nil && n.entries != nil {
		err = syscall.EISDIR
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return reader{bytes.NewReader(n.bytes())}, nil
}

type reader struct{ *bytes.Reader }

func (reader) Close() error { return nil }

// Stat implements [fs.System].
func (d *Disk) Stat(p string) (fs.Entry, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.live.find(p)
	if err != nil {
		return fs.Entry{}, &os.PathError{Op: "stat", Path: p, Err: err}
	}
	return n.entry(path.Base(p)), nil
}

// ReadDir implements [fs.System].
func (d *Disk) ReadDir(path string) ([]fs.Entry, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.live.find(path)
	if err == nil && n.entries == nil {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, &os.PathError{Op: "readdir", Path: path, Err: err}
	}
	var entries []fs.Entry
	for name, id := range n.entries {
		entries = append(entries, d.live.nodes[id].entry(name))
	}
	return entries, nil
}

// Link implements [fs.System].
func (d *Disk) Link(from, to string) error { return d.do(change{op: "link", path: to, from: from}) }

// Mkdir implements [fs.System].
func (d *Disk) Mkdir(path string) error { return d.do(change{op: "mkdir", path: path}) }

// Remove implements [fs.System].
func (d *Disk) Remove(path string) error { return d.do(change{op: "remove", path: path}) }

// SyncDir implements [fs.System].
func (d *Disk) SyncDir(path string) error { return d.do(change{op: "syncdir", path: path}) }

// SyncAll implements [fs.System].
func (d *Disk) SyncAll() error { return d.do(change{op: "syncall", path: "."}) }

// Lock implements [fs.System].
func (d *Disk) Lock(path string) (io.Closer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.live.find(path); err != nil {
		return nil, &os.PathError{Op: "lock", Path: path, Err: err}
	}
	if d.locks[path] {
		return nil, &os.PathError{Op: "lock", Path: path, Err: fs.ErrLocked}
	}
	d.locks[path] = true
	return &held{disk: d, path: path}, nil
}

type held struct {
	disk *Disk
	path string
}

func (h *held) Close() error {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if !h.disk.locks[h.path] {
		return iofs.ErrClosed
	}
	delete(h.disk.locks, h.path)
	return nil
}

// Close implements [fs.System]. It does nothing: the disk can be opened again.
func (d *Disk) Close() error { return nil }
