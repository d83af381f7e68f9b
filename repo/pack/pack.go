// Package pack writes and reads packs, the immutable objects that hold sealed chunks (docs/format.md section 7).
//
// A pack is a header, numbered slots back to back, a sealed trailer that says what the slots are, and a footer that
// says where the trailer is. A slot holds one chunk, which may be a bundle of many small parts. Trailers alone are
// enough to rebuild the index.
//
// The package knows pack bytes, not where they go: reading takes a [Fetch] function, writing ends in a byte slice.
package pack

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/seal"
)

// ID is the random name of a pack.
type ID [16]byte

// String returns 32 lower-case hex digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// ParseID is the inverse of [ID.String].
func ParseID(s string) (ID, error) {
	id, err := chunk.ParseID(s)
	return ID(id), err
}

// Name returns the name of a pack's object in the vault, such as d/4f/4f0c.. for a data pack.
func Name(t seal.Type, id ID) string {
	s := id.String()
	return prefix(t) + s[:2] + "/" + s
}

// ParseName splits the name of a pack's object.
func ParseName(name string) (seal.Type, ID, error) {
	for _, t := range []seal.Type{seal.TypeDataPack, seal.TypeMetaPack, seal.TypeColdPack} {
		if len(name) == 37 && name[:2] == prefix(t) && name[4] == '/' && name[2:4] == name[5:7] {
			id, err := ParseID(name[5:])
			if err == nil && id.String() == name[5:] {
				return t, id, nil
			}
		}
	}
	return 0, ID{}, fmt.Errorf("%q is not the name of a pack", name)
}

func prefix(t seal.Type) string {
	switch t {
	case seal.TypeMetaPack:
		return "m/"
	case seal.TypeColdPack:
		return "a/"
	}
	return "d/"
}

// Sizes and limits of docs/format.md sections 7 and 19.
const (
	HeaderSize = seal.HeaderSize + 16
	FooterSize = 64
	MaxSlots   = 65535
	MaxParts   = 65535 // of a bundle

	trailerHead  = 12
	trailerSlot  = 0xffffffff
	maxTrailer   = 64 << 20
	minTarget    = 16 << 10
	maxTarget    = 1<<32 - 1
	footerMagic  = "lockfend"
	footerCRC    = 60
	coversAll    = HeaderSize // where the parity of a whole pack begins, behind the header
	paddingUnit  = 64 << 10
	paddingPadme = 4 << 20
)

// Part is one content of a bundle. Parts stand in the bundle in the order of the list, without gaps.
type Part struct {
	ID     chunk.ID
	Length uint32
}

// Slot describes a stored chunk.
type Slot struct {
	ID     chunk.ID
	Kind   chunk.Kind
	Codec  chunk.Codec
	Offset uint32 // in the pack
	Stored uint32 // length in the pack, with the tag
	Plain  uint32 // length of the plain bytes
	Parts  []Part // of a bundle
}

// AppendParts adds the encoding of a bundle's table of parts, whose hash is the bundle's id, to dst.
func AppendParts(dst []byte, parts []Part) []byte {
	for _, p := range parts {
		dst = append(dst, p.ID[:]...)
		dst = binary.LittleEndian.AppendUint32(dst, p.Length)
	}
	return dst
}

// BundleID returns the id of a bundle.
func BundleID(k *seal.Keys, parts []Part) chunk.ID {
	return k.ID(chunk.Bundle, AppendParts(make([]byte, 0, 20*len(parts)), parts))
}

// slotAAD returns what is authenticated with a slot.
func slotAAD(id ID, slot uint32, s *Slot) (b [48]byte) {
	copy(b[:], id[:])
	binary.LittleEndian.PutUint32(b[16:], slot)
	b[20], b[21] = byte(s.Kind), byte(s.Codec)
	binary.LittleEndian.PutUint32(b[24:], s.Stored)
	binary.LittleEndian.PutUint32(b[28:], s.Plain)
	copy(b[32:], s.ID[:])
	return b
}

func slotNonce(slot uint32) (n [12]byte) {
	binary.LittleEndian.PutUint32(n[:], slot)
	return n
}

// padded returns the length to which an object of n bytes is padded.
func padded(n int64) int64 {
	unit := int64(paddingUnit)
	if n < paddingPadme {
		e := bits.Len64(uint64(n)) - 1
		s := bits.Len(uint(e))
		unit = 1 << max(0, e-s)
	}
	return (n + unit - 1) / unit * unit
}
