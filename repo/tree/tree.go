// Package tree keeps the entries of a recovery point as a sorted map that is cut into nodes (docs/format.md section
// 11).
//
// Where a node ends depends on the entries alone, not on the way the map came about: equal maps have equal nodes with
// equal ids, and two versions of a map share all nodes that no change touches. A [Builder] writes a map in key order
// and takes over whole leaves of an earlier map; a [Cursor] reads one; [Diff] compares two; [Walk] lists everything a
// map refers to.
//
// Nodes are chunks of kind node, extents of long contents are chunks of kind list. Both go through a [Store], which
// compresses, seals and deduplicates.
package tree

import (
	"context"
	"errors"

	"github.com/lockfast/lockfast/repo/chunk"
)

// Extent is a run of bytes of a content: a stored chunk or part, or a hole.
type Extent struct {
	ID     chunk.ID // zero: a hole of Length zeros
	Length int64    // in bytes
}

// Content is what the bytes of an entry are. At most one of Inline, Extents and List is set; a content of size 0 has
// none.
type Content struct {
	Size    int64    // logical size in bytes
	Inline  []byte   // up to 512 bytes, whole
	Extents []Extent // in order, up to [MaxExtents]; their lengths add up to Size
	List    chunk.ID // of the list chunk that holds the extents when there are more
}

// Entry is one item of the map.
type Entry struct {
	Key     []byte
	Meta    []byte // opaque here
	Content Content
	Refs    []Extent // contents that Meta speaks of by number, at most 4 MiB each, no holes
}

// Limits of docs/format.md section 19.
const (
	MaxExtents = 64
	MaxKey     = 1_310_720
	MaxMeta    = 1 << 20
	MaxRefs    = 1024
	MaxSize    = 1 << 62

	maxLevel   = 40
	maxEntries = 2048
)

// Root is a finished map.
type Root struct {
	ID      chunk.ID // zero: the empty map
	Entries int64
	Bytes   int64 // sum of the contents' sizes
}

// Store keeps nodes and lists as chunks.
type Store interface {
	// Get returns the plain bytes of a chunk that is a node or a list. They are shared: nobody changes them.
	Get(ctx context.Context, id chunk.ID) ([]byte, error)
	// Put stores a chunk, unless it is there already, and returns its id. data is valid only during the call.
	Put(ctx context.Context, kind chunk.Kind, data []byte) (chunk.ID, error)
}

// Boundary is the keyed hash that decides where nodes end; [seal.Keys.Boundary] is the one of a vault.
type Boundary func(key []byte) uint64

// ErrOrder is returned for keys that are not strictly ascending.
var ErrOrder = errors.New("keys are not strictly ascending")

// Rules of docs/format.md section 11.2 for the end of a node.
const (
	minFanout   = 128
	targetBytes = 128 << 10
	cutBelow    = ^uint64(0) / 384 // floor(2^64 / 384), because 384 does not divide 2^64
	idSize      = 16
)
