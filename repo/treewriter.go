package repo

import (
	"bytes"
	"context"
	"fmt"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/index"
	"github.com/lockfast/lockfast/repo/refset"
	"github.com/lockfast/lockfast/repo/tree"
)

// TreeWriter takes the entries of a new recovery point in strictly ascending order of keys. It is for one goroutine.
//
// It collects the exact refset on the way: every id that a finished leaf refers to is resolved to its slot. Ids that are
// still on their way into a pack wait in later.
type TreeWriter struct {
	w       *Writer
	builder *tree.Builder
	refs    *refset.Builder
	later   []ID
	lists   map[ID]bool // list chunks whose contents are in refs, or wait
	root    tree.Root
}

// maxLater is how many unresolved ids are kept before those that are stored by now are resolved.
const maxLater = 1 << 18

// Put adds an entry, which it copies. It returns [ErrOutOfOrder] when the key is not above the last one.
func (t *TreeWriter) Put(ctx context.Context, e Entry) error {
	if err := t.w.usable(ctx); err != nil {
		return err
	}
	if err := t.builder.Put(t.w.ctx, e); err != nil {
		return err
	}
	t.w.stats.entries.Add(1)
	return nil
}

// Keep adds the entry under a cursor of the parent. A leaf that is kept from its first entry to its last is taken over
// whole, without being encoded or stored.
func (t *TreeWriter) Keep(ctx context.Context, c *Cursor) error {
	if err := t.w.usable(ctx); err != nil {
		return err
	}
	if c.p != t.w.parent {
		return fmt.Errorf("keep entry of recovery point %s: it is not the parent", c.p.id)
	}
	if err := t.builder.Keep(t.w.ctx, c.c); err != nil {
		return err
	}
	t.w.stats.entries.Add(1)
	return nil
}

// leaf is called for every leaf of the new tree.
func (t *TreeWriter) leaf(id ID, n tree.Node, kept bool) error {
	if kept {
		t.reference(id)
	}
	for id := range ids(n.IDs) {
		t.reference(id)
	}
	for id := range ids(n.Lists) {
		if err := t.referenceList(id); err != nil {
			return err
		}
	}
	if len(t.later) < maxLater {
		return nil
	}
	return t.resolveLater(false)
}

// referenceList adds a list chunk and all contents below it.
func (t *TreeWriter) referenceList(id ID) error {
	if t.lists[id] {
		return nil
	}
	return tree.WalkList(t.w.ctx, listStore{w: t.w}, id, t)
}

// Node is called by tree.WalkList for list chunks.
func (t *TreeWriter) Node(_ chunk.Kind, id ID) (bool, error) {
	if t.lists[id] {
		return false, nil
	}
	t.lists[id] = true
	t.reference(id)
	return true, nil
}

// Contents is called by tree.WalkList with the ids of a list.
func (t *TreeWriter) Contents(b []byte) error {
	for id := range ids(b) {
		t.reference(id)
	}
	return nil
}

// reference adds one content to the refset.
func (t *TreeWriter) reference(id ID) {
	if !t.resolve(id) {
		t.later = append(t.later, id)
	}
}

// resolve finds the slot of a content: in what this session stores, among what may be relied on anew, or among what it
// relies on already, in condemned packs too, because what is pinned will be moved.
func (t *TreeWriter) resolve(id ID) bool {
	w := t.w
	state, _, loc := w.table.Lookup(id)
	if state == index.Pending {
		return false
	}
	if state == index.Stored {
		t.refs.Add(loc.Pack, int(loc.Slot))
		return true
	}
	w.gate.RLock()
	defer w.gate.RUnlock()
	loc, ok := w.find(id)
	if !ok {
		loc, ok = w.v.findWhere(id, w.pinned)
	}
	if ok {
		w.pin(loc)
		t.refs.Add(loc.Pack, int(loc.Slot))
	}
	return ok
}

// pinned reports whether a slot is among the pins of this session, or of its parent, or where those were moved.
func (w *Writer) pinned(loc index.Location) bool {
	w.pinsMu.Lock()
	defer w.pinsMu.Unlock()
	if w.pins.Has(loc.Pack, int(loc.Slot)) {
		return true
	}
	set, err := w.allPins()
	return err == nil && set.Has(loc.Pack, int(loc.Slot))
}

// allPins returns pins and the parent's refset as they are now. They are computed anew when packs have changed. The
// caller holds pinsMu.
func (w *Writer) allPins() (refset.Set, error) {
	changes := w.v.catalog.changes.Load()
	if w.pinView.changes == changes && changes > 0 {
		return w.pinView.set, nil
	}
	set, err := w.pins.Set(w.v.catalog.slots)
	if err == nil {
		set, err = w.v.moved(set)
	}
	if err == nil && w.parent != nil {
		var parent refset.Set
		parent, err = w.v.refset(w.ctx, w.parent.id)
		set = refset.Union(set, parent)
	}
	if err == nil {
		w.pinView.changes, w.pinView.set = changes, set
	}
	return set, err
}

// resolveLater resolves what was on its way; with all, nothing may be left.
func (t *TreeWriter) resolveLater(all bool) error {
	waiting := t.later[:0]
	for _, id := range t.later {
		if !t.resolve(id) {
			waiting = append(waiting, id)
		}
	}
	t.later = waiting
	if !all || len(waiting) == 0 {
		return nil
	}
	if err := t.w.v.catalog.refresh(t.w.ctx); err != nil {
		return err
	}
	for _, id := range waiting {
		if !t.resolve(id) {
			return chunk.Damaged(fmt.Sprintf("chunk %s", id), "the tree refers to it and it is in no pack")
		}
	}
	t.later = nil
	return nil
}

// treeStore stores the nodes of a new tree. All of them belong to it, so they go into the refset.
type treeStore struct{ t *TreeWriter }

// Get is not called by a builder.
func (s treeStore) Get(ctx context.Context, id ID) ([]byte, error) { return s.t.w.v.chunk(ctx, id) }

// Put stores a node.
func (s treeStore) Put(ctx context.Context, kind chunk.Kind, data []byte) (ID, error) {
	id, err := s.t.w.putMeta(kind, data)
	if err == nil {
		s.t.reference(id)
	}
	return id, err
}

// listStore stores the lists of contents, and reads those of the parent.
type listStore struct{ w *Writer }

// Get returns a list. One of this writer may not be readable yet, so they are kept until a leaf refers to them.
func (s listStore) Get(ctx context.Context, id ID) ([]byte, error) {
	s.w.listsMu.Lock()
	plain, ok := s.w.lists[id]
	s.w.listsMu.Unlock()
	if ok {
		return plain, nil
	}
	return s.w.v.chunk(ctx, id)
}

// Put stores a list.
func (s listStore) Put(ctx context.Context, kind chunk.Kind, data []byte) (ID, error) {
	id, err := s.w.putMeta(kind, data)
	if err == nil {
		s.w.listsMu.Lock()
		s.w.lists[id] = bytes.Clone(data)
		s.w.listsMu.Unlock()
	}
	return id, err
}

// putMeta stores a node or list unless the vault has it.
func (w *Writer) putMeta(kind chunk.Kind, data []byte) (ID, error) {
	if w.ctx.Err() != nil {
		return ID{}, w.err()
	}
	id := w.v.keys().ID(kind, data)
	if w.has(id, int64(len(data))) {
		return id, nil
	}
	buf := append(w.buffers.get(len(data)), data...)
	return id, w.submit(task{kind: kind, id: id, plain: buf})
}
