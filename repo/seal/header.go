package seal

import (
	"crypto/subtle"
	"encoding/binary"

	"github.com/lockfast/lockfast/repo/chunk"
)

// Type is the kind of an object on the store (docs/format.md section 2).
type Type uint8

// The types of objects.
const (
	TypeFormat       Type = 1
	TypeKey          Type = 2
	TypeDataPack     Type = 3
	TypeMetaPack     Type = 4
	TypeColdPack     Type = 5
	TypeSegment      Type = 6
	TypeManifest     Type = 7
	TypeRefset       Type = 8
	TypeStreamExtent Type = 9
	TypeJournalHead  Type = 10
	TypeVaultState   Type = 11
	TypePointState   Type = 12
	TypeClaim        Type = 13
	TypeCopyMap      Type = 14
)

var typeNames = [...]string{"unknown", "format", "key", "data pack", "meta pack", "cold pack", "index segment",
	"manifest",
	"refset", "stream extent", "journal head", "vault state", "recovery-point state", "claim", "copy map"}

func (t Type) String() string {
	if int(t) >= len(typeNames) {
		t = 0
	}
	return typeNames[t]
}

// Constants of format version 1.
const (
	magic   = "lockfast"
	version = 1

	// Suite is the only known suite: keyed BLAKE3 ids, AES-256-GCM, HKDF-SHA256.
	Suite = 1
	// Overhead is the length of the tag that sealing adds to a message.
	Overhead = 16
	// HeaderSize is the length of the header of a sealed object, and of the part of a pack's header that equals it.
	HeaderSize = 80

	flagParity = 1 // of a header
)

// Header is the beginning of every pack and sealed object (docs/format.md section 5.3).
type Header struct {
	Type       Type
	Parity     bool // a parity region follows what is sealed; never in packs
	Epoch      uint32
	Salt       [32]byte
	Commitment [32]byte
}

// Append adds the 80 bytes of h to dst.
func (h Header) Append(dst []byte) []byte {
	dst = append(dst, magic...)
	var flags byte
	if h.Parity {
		flags = flagParity
	}
	dst = append(dst, byte(h.Type), version, Suite, flags)
	dst = binary.LittleEndian.AppendUint32(dst, h.Epoch)
	dst = append(dst, h.Salt[:]...)
	return append(dst, h.Commitment[:]...)
}

// ParseHeader reads the first 80 bytes of an object; name is for errors.
func ParseHeader(name string, b []byte) (Header, error) {
	if len(b) < HeaderSize {
		return Header{}, chunk.Damaged(name, "%d bytes are too short for a header", len(b))
	}
	if err := checkPreamble(name, b); err != nil {
		return Header{}, err
	}
	if b[11]&^flagParity != 0 {
		return Header{}, chunk.Damaged(name, "unknown header flags %#x", b[11])
	}
	h := Header{Type: Type(b[8]), Parity: b[11]&flagParity != 0, Epoch: binary.LittleEndian.Uint32(b[12:])}
	copy(h.Salt[:], b[16:])
	copy(h.Commitment[:], b[48:])
	return h, nil
}

// checkPreamble checks magic, version and suite.
func checkPreamble(name string, b []byte) error {
	switch {
	case string(b[:8]) != magic:
		return chunk.Damaged(name, "not an object of a vault")
	case b[9] != version:
		return &UnsupportedError{Object: name, Feature: "format version", Value: int(b[9])}
	case b[10] != Suite:
		return &UnsupportedError{Object: name, Feature: "suite", Value: int(b[10])}
	}
	return nil
}

// committed compares a commitment in constant time.
func (h Header) committed(want [32]byte) bool {
	return subtle.ConstantTimeCompare(h.Commitment[:], want[:]) == 1
}
