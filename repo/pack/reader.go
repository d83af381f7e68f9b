package pack

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/seal"
)

// Fetch returns n bytes of an object from offset off on. The result may be kept by the caller. Fewer bytes are an
// error.
type Fetch func(ctx context.Context, off, n int64) ([]byte, error)

// Info is what has to be known to open slots of a pack.
type Info struct {
	ID    ID
	Type  seal.Type
	Epoch uint32
	Salt  [32]byte
	Size  int64 // of the object
}

// Name returns the name of the pack's object.
func (i Info) Name() string { return Name(i.Type, i.ID) }

// Pack is the opened trailer of a pack.
type Pack struct {
	Info
	Slots []Slot
}

// tailRead is how much is read first: usually enough for trailer and footer.
const tailRead = 160 << 10

// Open reads header, footer and trailer of a pack of the given type, id and size: two or three fetches. The error
// wraps [chunk.ErrDamaged], [seal.ErrWrongKey], or what fetch returned.
func Open(ctx context.Context, keys *seal.Keys, dec *Decompressor, t seal.Type, id ID, size int64,
	fetch Fetch) (*Pack, error) {
	name := Name(t, id)
	if size < HeaderSize+FooterSize || size >= 1<<32 {
		return nil, chunk.Damaged(name, "%d bytes cannot be a pack", size)
	}
	head, err := fetch(ctx, 0, HeaderSize)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	h, err := parseHeader(name, head, t, id)
	if err != nil {
		return nil, err
	}
	key, err := keys.OpenPack(h, id)
	if err != nil {
		return nil, err
	}
	n := min(size, tailRead)
	tail, err := fetch(ctx, size-n, n)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	p := &Pack{Info: Info{ID: id, Type: t, Epoch: h.Epoch, Salt: h.Salt, Size: size}}
	foot, f, err := parseFooter(name, tail, size)
	if err != nil {
		return nil, err
	}
	sealed, err := trailerBytes(ctx, name, f, tail, size, fetch)
	if err != nil {
		return nil, err
	}
	aad := append(append([]byte(nil), head...), foot[:footerCRC]...)
	p.Slots, err = openTrailer(name, key, dec, sealed, aad, f)
	return p, err
}

func parseHeader(name string, b []byte, t seal.Type, id ID) (seal.Header, error) {
	if len(b) != HeaderSize {
		return seal.Header{}, chunk.Damaged(name, "%d bytes of header", len(b))
	}
	h, err := seal.ParseHeader(name, b)
	if err != nil {
		return seal.Header{}, err
	}
	if h.Parity || h.Type != t || ID(b[seal.HeaderSize:]) != id {
		return seal.Header{}, chunk.Damaged(name, "it holds %s %x", h.Type, b[seal.HeaderSize:])
	}
	return h, nil
}

// trailerBytes returns the sealed trailer, from tail if it is there.
func trailerBytes(ctx context.Context, name string, f footer, tail []byte, size int64, fetch Fetch) ([]byte, error) {
	if start := int64(f.trailer) - (size - int64(len(tail))); start >= 0 {
		return tail[start : start+int64(f.trailerLen)], nil
	}
	b, err := fetch(ctx, int64(f.trailer), int64(f.trailerLen))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return b, nil
}

// openTrailer decrypts and decodes a trailer.
func openTrailer(name string, key seal.PackKey, dec *Decompressor, sealed, aad []byte, f footer) ([]Slot, error) {
	nonce := slotNonce(trailerSlot)
	plain, err := key.AEAD.Open(nil, nonce[:], sealed, aad)
	if err != nil || len(plain) < trailerHead {
		return nil, chunk.Damaged(name, "the trailer does not authenticate")
	}
	length, stored := binary.LittleEndian.Uint32(plain[4:]), binary.LittleEndian.Uint32(plain[8:])
	if length > maxTrailer || uint64(stored) > uint64(len(plain)-trailerHead) {
		return nil, chunk.Damaged(name, "a trailer of %d bytes in %d", length, len(plain))
	}
	table, err := dec.Decompress(nil, chunk.Codec(plain[0]), plain[trailerHead:][:stored], int(length))
	if err != nil {
		return nil, fmt.Errorf("trailer of %s: %w", name, err)
	}
	return parseTable(name, table, f.trailer)
}

// Opener opens slots of one pack. It is a value made of the derived key and may be used by several goroutines.
type Opener struct {
	id   ID
	name string
	key  seal.PackKey
}

// NewOpener derives the key of a pack.
func NewOpener(keys *seal.Keys, info Info) (Opener, error) {
	key, err := keys.PackKey(info.Type, info.Epoch, info.ID, info.Salt)
	return Opener{id: info.ID, name: info.Name(), key: key}, err
}

// Open decrypts the stored bytes of slot no in place and returns what they hold, still encoded with the slot's codec.
func (o Opener) Open(no int, s Slot, stored []byte) ([]byte, error) {
	if len(stored) != int(s.Stored) {
		return nil, chunk.Damaged(fmt.Sprintf("%s slot %d", o.name, no), "%d bytes instead of %d", len(stored),
			s.Stored)
	}
	nonce, aad := slotNonce(uint32(no)), slotAAD(o.id, uint32(no), &s)
	plain, err := o.key.AEAD.Open(stored[:0], nonce[:], stored, aad[:])
	if err != nil {
		return nil, chunk.Damaged(fmt.Sprintf("%s slot %d", o.name, no), "it does not authenticate")
	}
	return plain, nil
}

// Verify checks the plain bytes of a slot against its id, and a bundle's against the ids of its parts. With parts
// nil, a bundle is not checked: use [VerifyPart] for what is taken out of it.
func Verify(keys *seal.Keys, s Slot, plain []byte) error {
	if s.Kind != chunk.Bundle {
		if keys.ID(s.Kind, plain) != s.ID {
			return chunk.Damaged(fmt.Sprintf("%s %s", s.Kind, s.ID), "its content has another id")
		}
		return nil
	}
	if s.Parts == nil {
		return nil
	}
	if BundleID(keys, s.Parts) != s.ID {
		return chunk.Damaged(fmt.Sprintf("bundle %s", s.ID), "its parts give another id")
	}
	for _, p := range s.Parts {
		if int(p.Length) > len(plain) {
			return chunk.Damaged(fmt.Sprintf("bundle %s", s.ID), "it is shorter than its parts")
		}
		if err := VerifyPart(keys, p.ID, plain[:p.Length]); err != nil {
			return err
		}
		plain = plain[p.Length:]
	}
	return nil
}

// VerifyPart checks the bytes of a part against its id.
func VerifyPart(keys *seal.Keys, id chunk.ID, plain []byte) error {
	if keys.ID(chunk.Part, plain) != id {
		return chunk.Damaged(fmt.Sprintf("part %s", id), "its content has another id")
	}
	return nil
}
