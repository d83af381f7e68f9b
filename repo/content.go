package repo

import (
	"encoding/hex"
	"fmt"

	"github.com/lockfast/lockfast/repo/chunk"
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
type Extent struct {
	ID     ID    // zero: a hole of Length zeros
	Length int64 // in bytes
}

// Content is what the bytes of an entry are. At most one of Inline, Extents and List is set; a content of size 0 has
// none.
type Content struct {
	Size    int64    // logical size in bytes
	Inline  []byte   // up to 512 bytes, whole
	Extents []Extent // in order, up to 64; their lengths add up to Size
	List    ID       // of the chunk that holds the extents when there are more
}

// Entry is one item of a recovery point.
type Entry struct {
	// Key is unique and gives the order: for files, the components of the path joined by 0x00; the root has the empty
	// key. So byte order is the order of a walk that visits a directory before what is in it.
	Key []byte
	// Meta is opaque to the store; docs/format.md specifies what each driver keeps in it.
	Meta []byte
	// Content is the entry's bytes.
	Content Content
	// Refs are contents that Meta speaks of by number, of at most 4 MiB each; see [Writer.Small].
	Refs []Extent
}
