package tree

import (
	"bytes"
	"context"
	"fmt"

	"github.com/lockfast/lockfast/repo/chunk"
)

// BuilderOptions tunes a builder; the zero value works.
type BuilderOptions struct {
	// Leaf, if not nil, is called once for every leaf of the new map, in order. kept says that the leaf was taken
	// over from an earlier map: then it was not given to Store.Put. The node is valid during the call.
	Leaf func(id chunk.ID, n Node, kept bool) error
}

// Builder writes a map in key order. It is for one goroutine.
//
// Entries that Keep takes over are only counted as long as they are the whole beginning of a leaf of the earlier map
// and the new map has a node boundary there; a leaf counted to its end is taken over by its id. Anything else that
// arrives in between makes the counted entries ordinary ones (settle).
type Builder struct {
	store     Store
	boundary  Boundary
	opts      BuilderOptions
	levels    []*encoder
	root      Root
	last      []byte // last key
	any       bool   // an entry was added
	kept      *leaf  // whose first entries are counted
	count     int    // entries of kept
	keptBytes int64  // their logical bytes
	keptKey   []byte // first key of kept
	dec       decoder
	buf       []byte
	done      bool
}

// NewBuilder returns a builder of an empty map.
func NewBuilder(s Store, boundary Boundary, opts BuilderOptions) *Builder {
	return &Builder{store: s, boundary: boundary, opts: opts, levels: []*encoder{{}}}
}

// Entries returns the number of entries so far, and Bytes the sum of their sizes.
func (b *Builder) Entries() int64 { return b.root.Entries }

// Bytes returns the logical bytes so far.
func (b *Builder) Bytes() int64 { return b.root.Bytes }

// Put adds an entry, which it copies. Keys have to ascend strictly ([ErrOrder]).
func (b *Builder) Put(ctx context.Context, e Entry) error {
	if err := e.check(); err != nil {
		return err
	}
	if err := b.advance(e.Key); err != nil {
		return err
	}
	if err := b.settle(ctx); err != nil {
		return err
	}
	b.tally(&e)
	return b.add(ctx, &e)
}

// Keep adds the entry under the cursor of an earlier map. A leaf of which every entry is kept is taken over without
// being encoded or stored again.
func (b *Builder) Keep(ctx context.Context, c *Cursor) error {
	if c.state != atEntry {
		panic("tree: cursor is not on an entry")
	}
	e := &c.dec.entry
	if err := b.advance(e.Key); err != nil {
		return err
	}
	i := c.dec.index - 1 // of the entry in its leaf
	if b.kept != nil && (b.kept != c.leaf || b.count != i) {
		if err := b.settle(ctx); err != nil {
			return err
		}
	}
	b.tally(e)
	switch {
	case b.kept == nil && (i > 0 || b.levels[0].count > 0):
		return b.add(ctx, e)
	case b.kept == nil:
		b.kept, b.count, b.keptBytes = c.leaf, 0, 0
		b.keptKey = append(b.keptKey[:0], e.Key...)
	}
	b.count++
	b.keptBytes += e.Content.Size
	if b.count == b.kept.node.Count && !b.kept.last {
		return b.takeOver(ctx)
	}
	return nil
}

// Finish writes what is left and returns the root. The builder cannot be used further.
func (b *Builder) Finish(ctx context.Context) (Root, error) {
	if b.done {
		panic("tree: finished twice")
	}
	b.done = true
	if b.kept != nil && b.count == b.kept.node.Count {
		if err := b.takeOver(ctx); err != nil {
			return Root{}, err
		}
	}
	if err := b.settle(ctx); err != nil {
		return Root{}, err
	}
	for level := 0; ; level++ {
		n := b.levels[level]
		top := level == len(b.levels)-1
		if top && level > 0 && n.count == 1 {
			copy(b.root.ID[:], n.ids) // one node is left below: it is the root
			return b.root, nil
		}
		if top && n.count == 0 {
			return b.root, nil
		}
		if n.count > 0 {
			if err := b.flush(ctx, level); err != nil {
				return Root{}, err
			}
		}
	}
}

// check refuses what the format cannot hold.
func (e *Entry) check() error {
	switch {
	case len(e.Key) > MaxKey:
		return fmt.Errorf("key of %d bytes: the limit is %d", len(e.Key), MaxKey)
	case len(e.Meta) > MaxMeta:
		return fmt.Errorf("entry %.80q: metadata of %d bytes, the limit is %d", e.Key, len(e.Meta), MaxMeta)
	case len(e.Refs) > MaxRefs:
		return fmt.Errorf("entry %.80q: %d references, the limit is %d", e.Key, len(e.Refs), MaxRefs)
	}
	for _, r := range e.Refs {
		if r.ID.IsZero() || r.Length <= 0 || r.Length > chunk.MaxPlain {
			return fmt.Errorf("entry %.80q: reference of %d bytes to %s", e.Key, r.Length, r.ID)
		}
	}
	if err := e.Content.check(); err != nil {
		return fmt.Errorf("entry %.80q: %w", e.Key, err)
	}
	return nil
}

// check refuses contents that are not in the only form the format has for them.
func (c *Content) check() error {
	var sum int64
	for _, x := range c.Extents {
		if x.Length <= 0 || x.Length > MaxSize || !x.ID.IsZero() && x.Length > chunk.MaxPlain {
			return fmt.Errorf("content has an extent of %d bytes", x.Length)
		}
		if sum += x.Length; sum > MaxSize {
			return fmt.Errorf("content of more than %d bytes", int64(MaxSize))
		}
	}
	switch {
	case len(c.Inline) > chunk.MaxInline:
		return fmt.Errorf("content has %d inline bytes, the limit is %d", len(c.Inline), chunk.MaxInline)
	case len(c.Extents) > MaxExtents:
		return fmt.Errorf("content has %d extents, the limit is %d", len(c.Extents), MaxExtents)
	case !c.List.IsZero():
		if c.Size <= 0 || c.Size > MaxSize || len(c.Extents)+len(c.Inline) > 0 {
			return fmt.Errorf("content of %d bytes with a list has other forms too", c.Size)
		}
	case len(c.Extents) > 0 && len(c.Inline) > 0 || c.Size != sum+int64(len(c.Inline)):
		return fmt.Errorf("content of %d bytes has %d bytes in extents and %d inline", c.Size, sum, len(c.Inline))
	}
	return nil
}

// advance checks the order of keys.
func (b *Builder) advance(key []byte) error {
	if b.any && bytes.Compare(key, b.last) <= 0 {
		return fmt.Errorf("%w: %.80q after %.80q", ErrOrder, key, b.last)
	}
	b.last, b.any = append(b.last[:0], key...), true
	return nil
}

func (b *Builder) tally(e *Entry) {
	b.root.Entries++
	b.root.Bytes += e.Content.Size
}

// add encodes an entry.
func (b *Builder) add(ctx context.Context, e *Entry) error {
	n := b.levels[0]
	n.add(e)
	if n.full(b.boundary) {
		return b.flush(ctx, 0)
	}
	return nil
}

// settle turns counted entries into ordinary ones.
func (b *Builder) settle(ctx context.Context) error {
	if b.kept == nil {
		return nil
	}
	l, n := b.kept, b.count
	b.kept = nil
	b.dec.open(l.id, l.node)
	for range n {
		if !b.dec.next() {
			return b.dec.err
		}
		if err := b.add(ctx, &b.dec.entry); err != nil {
			return err
		}
	}
	return nil
}

// takeOver adds the kept leaf by its id.
func (b *Builder) takeOver(ctx context.Context) error {
	l := b.kept
	b.kept = nil
	ch := child{key: b.keptKey, id: l.id, entries: int64(l.node.Count), bytes: b.keptBytes}
	if b.opts.Leaf != nil {
		if err := b.opts.Leaf(l.id, l.node, true); err != nil {
			return err
		}
	}
	return b.addChild(ctx, 1, ch)
}

// flush writes the open node of a level and adds it to the level above.
func (b *Builder) flush(ctx context.Context, level int) error {
	n := b.levels[level]
	b.buf = n.append(b.buf[:0])
	id, err := b.store.Put(ctx, chunk.Node, b.buf)
	if err != nil {
		return err
	}
	if level == 0 && b.opts.Leaf != nil {
		node, err := ParseNode(id, b.buf)
		if err != nil {
			return err
		}
		if err := b.opts.Leaf(id, node, false); err != nil {
			return err
		}
	}
	ch := child{key: n.first, id: id, entries: n.entries, bytes: n.bytes}
	err = b.addChild(ctx, level+1, ch)
	n.reset()
	return err
}

// addChild adds a node to a level that is made if it is not there.
func (b *Builder) addChild(ctx context.Context, level int, ch child) error {
	if level == len(b.levels) {
		b.levels = append(b.levels, &encoder{level: level})
	}
	n := b.levels[level]
	n.addChild(ch)
	if n.full(b.boundary) {
		return b.flush(ctx, level)
	}
	return nil
}
