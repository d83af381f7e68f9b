package repo

import (
	"encoding/hex"
	"fmt"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/tree"
)

// ID names a content by a keyed hash of its bytes; the zero ID is a hole, or none.
type ID = chunk.ID

// PointID names a recovery point: 32 lower-case hexadecimal digits. Its manifest is the object r/<PointID>.
type PointID string

// Check returns an error for what cannot be the id of a recovery point.
func (id PointID) Check() error {
	if parsed, err := chunk.ParseID(string(id)); err != nil || hex.EncodeToString(parsed[:]) != string(id) {
		return fmt.Errorf("recovery point id %q: want 32 lower-case hex digits", string(id))
	}
	return nil
}

// Extent is a run of bytes of a content: a stored chunk or part, or a hole.
type Extent = tree.Extent

// Content is what the bytes of an entry are: inline, or extents in order, or the list that holds many of them.
type Content = tree.Content

// Entry is one item of a recovery point. Its Key is unique and gives the order: for files, the components of the path
// joined by 0x00; the root has the empty key. So byte order is the order of a walk that visits a directory before what is
// in it. Meta is opaque to the store; docs/format.md specifies what each driver keeps in it.
type Entry = tree.Entry

// Change is a difference between two points; the entries are valid until the next step of the iteration.
type Change = tree.Change
