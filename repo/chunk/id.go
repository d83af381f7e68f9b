package chunk

import (
	"encoding/hex"
	"fmt"
)

// ID names a content: the first 128 bits of a keyed hash of its bytes. The zero ID means a hole or "none".
type ID [16]byte

// IsZero reports whether the id is the reserved one.
func (id ID) IsZero() bool { return id == ID{} }

// String returns 32 lower-case hex digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// ParseID is the inverse of [ID.String].
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 2*len(id) {
		return ID{}, fmt.Errorf("id %q: want 32 hex digits", s)
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return ID{}, fmt.Errorf("id %q: %w", s, err)
	}
	return id, nil
}

// Kind says what a chunk holds.
type Kind uint8

// The kinds of docs/format.md section 4.2. A Part lives inside a Bundle and never has a slot of its own.
const (
	Data   Kind = 1
	Bundle Kind = 2
	Node   Kind = 3
	List   Kind = 4
	Part   Kind = 5
)

func (k Kind) String() string {
	switch k {
	case Data:
		return "data"
	case Bundle:
		return "bundle"
	case Node:
		return "node"
	case List:
		return "list"
	case Part:
		return "part"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Codec says how plain bytes became stored bytes.
type Codec uint8

// The codecs of docs/format.md section 4.3.
const (
	Raw  Codec = 0
	Zstd Codec = 1
)

func (c Codec) String() string {
	switch c {
	case Raw:
		return "raw"
	case Zstd:
		return "zstd"
	}
	return fmt.Sprintf("codec %d", uint8(c))
}

// Limits of docs/format.md section 19, in bytes.
const (
	MaxPlain  = 4 << 20   // plain bytes of a chunk
	MaxInline = 512       // content kept in the tree itself
	MaxPart   = 128 << 10 // content kept in a bundle
)
