package tree

import (
	"bytes"
	"context"
	"iter"
	"slices"

	"github.com/lockfast/lockfast/repo/chunk"
)

// Change is a difference between two maps. The entries are valid until the next step of the iteration.
type Change struct {
	Before, After *Entry // nil when there is none
}

// Diff yields the differences between two maps in key order. Nodes that both share are skipped without being read.
func Diff(ctx context.Context, s Store, before, after chunk.ID, opts CursorOptions) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		a, b := NewCursor(ctx, s, before, opts), NewCursor(ctx, s, after, opts)
		a.begin()
		b.begin()
		for a.err == nil && b.err == nil && (a.state != atEnd || b.state != atEnd) {
			if a.state == atSubtree || b.state == atSubtree {
				approach(a, b)
				continue
			}
			c := compare(a, b)
			if (c.Before == nil || c.After == nil || !equal(c.Before, c.After)) && !yield(c, nil) {
				return
			}
			if c.Before != nil {
				a.step()
			}
			if c.After != nil {
				b.step()
			}
		}
		for _, c := range []*Cursor{a, b} {
			if c.err != nil {
				yield(Change{}, c.err)
				return
			}
		}
	}
}

// approach opens or skips nodes, at least one of the cursors being before a node.
func approach(a, b *Cursor) {
	if a.state == atSubtree && b.state == atSubtree {
		idA, levelA := a.subtree()
		idB, levelB := b.subtree()
		switch {
		case idA == idB:
			a.skip()
			b.skip()
		case levelA == levelB || levelA < 0 || levelB < 0:
			if levelA < 0 || levelA == levelB {
				a.open()
			}
			if levelB < 0 || levelA == levelB {
				b.open()
			}
		case levelA > levelB:
			a.open()
		default:
			b.open()
		}
		return
	}
	if a.state == atSubtree {
		a.open()
	} else {
		b.open()
	}
}

// compare returns the lower entry, or both when the keys are equal.
func compare(a, b *Cursor) Change {
	switch {
	case a.state == atEnd:
		return Change{After: &b.dec.entry}
	case b.state == atEnd:
		return Change{Before: &a.dec.entry}
	}
	switch c := bytes.Compare(a.dec.entry.Key, b.dec.entry.Key); {
	case c < 0:
		return Change{Before: &a.dec.entry}
	case c > 0:
		return Change{After: &b.dec.entry}
	}
	return Change{Before: &a.dec.entry, After: &b.dec.entry}
}

// step moves to the next entry of the leaf, or behind the leaf.
func (c *Cursor) step() {
	if !c.dec.next() {
		c.leaveLeaf()
	}
}

// equal compares everything but the key.
func equal(a, b *Entry) bool {
	return bytes.Equal(a.Meta, b.Meta) && SameContent(a.Content, b.Content) && slices.Equal(a.Refs, b.Refs)
}

// SameContent reports whether two contents are the same bytes in the same representation.
func SameContent(a, b Content) bool {
	return a.Size == b.Size && a.List == b.List && bytes.Equal(a.Inline, b.Inline) && slices.Equal(a.Extents, b.Extents)
}
