package tree

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/lockfast/lockfast/repo/chunk"
)

// CursorOptions tunes a cursor; the zero value works.
type CursorOptions struct {
	// Prefetch, if not nil, is told the ids of leaves that will be needed next, whenever the cursor enters a leaf. It
	// must not block; the slice is valid during the call.
	Prefetch func(ids []chunk.ID)
	// Ahead is how many leaves Prefetch is told about; 0 means 4.
	Ahead int
	// Damaged, if not nil, is told of nodes that are damaged: true lets the cursor go on behind the node. Whatever is
	// below it is left out. The root can never be left out.
	Damaged func(d *NodeError) bool
}

// NodeError is damage to a node of a map, and says which entries are lost with it. It wraps the cause.
type NodeError struct {
	From    []byte // key of the first of them
	Entries int64  // how many
	Root    bool   // all of them, From and Entries are not known
	Err     error
}

// Error implements error. The separators of a key of files are shown as slashes.
func (e *NodeError) Error() string {
	if e.Root {
		return fmt.Sprintf("all entries: %v", e.Err)
	}
	return fmt.Sprintf("%d entries from %q on: %v", e.Entries, bytes.ReplaceAll(e.From, []byte{0}, []byte("/")), e.Err)
}

// Unwrap returns the cause.
func (e *NodeError) Unwrap() error { return e.Err }

// Cursor moves over the entries of a map in key order. It is for one goroutine. It keeps the context it was made
// with, as an iterator does. Moving over the entries of a leaf does not allocate.
type Cursor struct {
	ctx    context.Context
	store  Store
	opts   CursorOptions
	root   chunk.ID
	frames []*frame // open inner nodes, root first
	leaf   *leaf    // under the cursor; nil before it is opened
	dec    decoder
	state  cursorState
	passed bool // a damaged node was left out: what follows is behind the key that was sought
	ahead  []chunk.ID
	err    error
}

// cursorState says where a cursor is.
type cursorState uint8

const (
	atStart   cursorState = iota // before the first entry, nothing is open
	atSubtree                    // before the node that the last frame points to, or the root when there is none
	atEntry                      // on an entry of the open leaf
	atEnd
)

// leaf is an open leaf. Its bytes are shared with the store and never change.
type leaf struct {
	id   chunk.ID
	node Node
	last bool // no leaf follows in the map
}

// frame is an open inner node. The keys of its children stay encoded: they may share a very long prefix.
type frame struct {
	id    chunk.ID
	node  Node
	index int // of the child under the cursor
}

// child returns the id of child i.
func (f *frame) child(i int) chunk.ID { return chunk.ID(f.node.IDs[i*idSize:][:idSize]) }

// NewCursor returns a cursor before the first entry of the map with the given root, which may be zero.
func NewCursor(ctx context.Context, s Store, root chunk.ID, opts CursorOptions) *Cursor {
	if opts.Ahead == 0 {
		opts.Ahead = 4
	}
	return &Cursor{ctx: ctx, store: s, root: root, opts: opts}
}

// Entry returns the entry under the cursor. It is valid until the cursor moves.
func (c *Cursor) Entry() Entry { return c.dec.entry }

// Err returns what stopped the cursor, nil at the end of the map.
func (c *Cursor) Err() error { return c.err }

// Next moves to the next entry, the first one at the beginning, and reports whether there is one.
func (c *Cursor) Next() bool {
	if c.state == atEntry {
		if c.dec.next() {
			return true
		}
		if !c.leaveLeaf() {
			return false
		}
	}
	if c.state == atStart {
		c.begin()
	}
	for c.state == atSubtree {
		if !c.open() {
			return false
		}
	}
	return c.state == atEntry
}

// Seek moves to the first entry whose key is key or above, and reports whether there is one. It may move in either
// direction.
func (c *Cursor) Seek(key []byte) bool {
	if c.err != nil {
		return false
	}
	c.frames, c.leaf, c.passed = c.frames[:0], nil, false
	c.begin()
	for c.state == atSubtree {
		if !c.open() {
			return false
		}
		if c.state == atSubtree && !c.passed && !c.seekChild(c.frames[len(c.frames)-1], key) {
			return false
		}
	}
	for c.state == atEntry && bytes.Compare(c.dec.entry.Key, key) < 0 {
		if !c.Next() {
			return false
		}
	}
	return c.state == atEntry
}

// seekChild points a frame to the last child that begins at key or below.
func (c *Cursor) seekChild(f *frame, key []byte) bool {
	c.dec.open(f.id, f.node)
	f.index = 0
	for i := 0; c.dec.next() && bytes.Compare(c.dec.key, key) <= 0; i++ {
		f.index = i
	}
	if c.dec.err != nil {
		return c.fail(c.dec.err)
	}
	return true
}

// begin goes before the root.
func (c *Cursor) begin() {
	c.state = atSubtree
	if c.root.IsZero() {
		c.state = atEnd
	}
}

// subtree returns the id and the level of the node that the cursor is before; the level of the root is not known (-1).
func (c *Cursor) subtree() (id chunk.ID, level int) {
	if len(c.frames) == 0 {
		return c.root, -1
	}
	f := c.frames[len(c.frames)-1]
	return f.child(f.index), f.node.Level - 1
}

// open opens the node that the cursor is before: it is then before that node's first child, or on its first entry. If the
// node is damaged and may be left out, it is behind the node.
func (c *Cursor) open() bool {
	id, level := c.subtree()
	n, err := c.read(id, level)
	if errors.Is(err, chunk.ErrDamaged) {
		return c.damaged(err)
	}
	if err != nil {
		return c.fail(err)
	}
	if n.Level == 0 {
		return c.openLeaf(id, n)
	}
	c.frames = append(c.frames, &frame{id: id, node: n})
	return true
}

func (c *Cursor) read(id chunk.ID, level int) (Node, error) {
	data, err := c.store.Get(c.ctx, id)
	if err != nil {
		return Node{}, err
	}
	n, err := ParseNode(id, data)
	if err == nil && level >= 0 && n.Level != level {
		err = chunk.Damaged(nodeName(id), "level %d instead of %d", n.Level, level)
	}
	return n, err
}

// damaged leaves out the node that the cursor is before, if that is allowed.
func (c *Cursor) damaged(err error) bool {
	if len(c.frames) == 0 {
		return c.fail(&NodeError{Root: true, Err: err})
	}
	f := c.frames[len(c.frames)-1]
	c.dec.open(f.id, f.node)
	for range f.index + 1 {
		if !c.dec.next() {
			return c.fail(errors.Join(c.dec.err, err))
		}
	}
	d := &NodeError{From: bytes.Clone(c.dec.key), Entries: c.dec.child.entries, Err: err}
	if c.opts.Damaged == nil || !c.opts.Damaged(d) {
		return c.fail(d)
	}
	c.passed = true
	c.skip()
	return true
}

func (c *Cursor) openLeaf(id chunk.ID, n Node) bool {
	c.leaf = &leaf{id: id, node: n, last: c.lastSubtree()}
	c.prefetch()
	c.dec.open(id, n)
	if !c.dec.next() {
		return c.fail(c.dec.err)
	}
	c.state = atEntry
	return true
}

// lastSubtree reports whether nothing follows the node under the cursor.
func (c *Cursor) lastSubtree() bool {
	for _, f := range c.frames {
		if f.index < f.node.Count-1 {
			return false
		}
	}
	return true
}

// prefetch tells about the leaves that follow in the same parent.
func (c *Cursor) prefetch() {
	if c.opts.Prefetch == nil || len(c.frames) == 0 {
		return
	}
	f := c.frames[len(c.frames)-1]
	c.ahead = c.ahead[:0]
	for i := f.index + 1; i < f.node.Count && len(c.ahead) < c.opts.Ahead; i++ {
		c.ahead = append(c.ahead, f.child(i))
	}
	if len(c.ahead) > 0 {
		c.opts.Prefetch(c.ahead)
	}
}

// leaveLeaf goes behind the open leaf.
func (c *Cursor) leaveLeaf() bool {
	if c.dec.err != nil {
		return c.fail(c.dec.err)
	}
	c.leaf = nil
	c.skip()
	return c.state == atSubtree
}

// skip goes behind the node that the cursor is before.
func (c *Cursor) skip() {
	for len(c.frames) > 0 {
		f := c.frames[len(c.frames)-1]
		if f.index++; f.index < f.node.Count {
			c.state = atSubtree
			return
		}
		c.frames[len(c.frames)-1] = nil
		c.frames = c.frames[:len(c.frames)-1]
	}
	c.state = atEnd
}

func (c *Cursor) fail(err error) bool {
	c.err, c.state = err, atEnd
	return false
}
