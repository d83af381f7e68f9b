package pack

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/zeebo/blake3"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/seal"
)

// ErrFull is returned by [Writer.Add] when the chunk belongs to the next pack.
var ErrFull = errors.New("pack is full")

// Options say how packs are made. The zero value of each field but Target is useful.
type Options struct {
	Type   seal.Type // default [seal.TypeDataPack]
	Target int       // largest length of a pack, and size of the writer's buffer; at least 16 KiB
	Rand   io.Reader // source of ids and salts; default crypto/rand, anything else is for vectors
	Raw    bool      // do not compress the trailer; for vectors
	Parity Parity    // what is protected
}

// Parity says what of a pack its parity covers.
type Parity uint8

// What parity covers.
const (
	NoParity      Parity = iota
	TrailerParity        // header and trailer
	FullParity           // everything
)

// complete checks what was given and fills in what was not.
func (o *Options) complete() error {
	if o.Target < minTarget || o.Target > maxTarget {
		return fmt.Errorf("pack size %d: want %d to %d", o.Target, minTarget, maxTarget)
	}
	if o.Type == 0 {
		o.Type = seal.TypeDataPack
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	return nil
}

// begin returns what is new in every pack.
func (o *Options) begin(keys *seal.Keys) (id ID, key seal.PackKey, header seal.Header, err error) {
	var salt [32]byte
	if _, err = io.ReadFull(o.Rand, id[:]); err != nil {
		return id, key, header, err
	}
	if _, err = io.ReadFull(o.Rand, salt[:]); err != nil {
		return id, key, header, err
	}
	key, header, err = keys.NewPack(o.Type, id, salt)
	return id, key, header, err
}

// Writer assembles one pack at a time in a buffer that it keeps. The buffer never grows: memory is touched as the
// pack fills, so that a small pack costs little.
//
// mu guards everything but the bytes of the buffer. Add reserves a slot and its range of the buffer under mu and
// seals into the range outside of it; sealing counts the ranges still being filled.
type Writer struct {
	keys    *seal.Keys
	opts    Options
	buf     []byte
	sealing sync.WaitGroup
	comp    *Compressor // for trailers, made when needed

	mu     sync.Mutex
	id     ID
	header seal.Header
	key    seal.PackKey
	slots  []Slot
	end    int  // of the last slot in buf
	parts  int  // in all bundles
	closed bool // no more slots
}

// NewWriter returns a writer with an empty pack in it.
func NewWriter(keys *seal.Keys, opts Options) (*Writer, error) {
	if err := opts.complete(); err != nil {
		return nil, err
	}
	w := &Writer{keys: keys, opts: opts, buf: make([]byte, opts.Target)}
	return w, w.Reset()
}

// Reset throws the current pack away and begins a new one, with an id and a salt of its own. What [Writer.Finish]
// returned is no longer valid. It must not run beside Add or Finish.
func (w *Writer) Reset() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var err error
	if w.id, w.key, w.header, err = w.opts.begin(w.keys); err != nil {
		return err
	}
	b := w.header.Append(w.buf[:0])
	b = append(b, w.id[:]...)
	w.slots, w.end, w.parts, w.closed = nil, len(b), 0, false
	return nil
}

// ID returns the id of the current pack, and Type its type.
func (w *Writer) ID() ID { return w.id }

// Type returns the type of the packs.
func (w *Writer) Type() seal.Type { return w.opts.Type }

// Len returns the bytes and slots in the pack so far.
func (w *Writer) Len() (size, slots int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.end, len(w.slots)
}

// Add seals stored as the next slot. s says what it is: ID, Kind, Codec, Plain and, for a bundle, Parts, which the
// writer keeps; Offset and Stored are filled in, and the finished slot is returned with its number. It may be called
// concurrently and does not keep stored. [ErrFull] says that there is no room.
func (w *Writer) Add(s Slot, stored []byte) (int, Slot, error) {
	if err := s.check(len(stored)); err != nil {
		return 0, Slot{}, err
	}
	no, s, err := w.reserve(s, len(stored))
	if err != nil {
		return 0, Slot{}, err
	}
	defer w.sealing.Done()
	nonce, aad := slotNonce(uint32(no)), slotAAD(w.id, uint32(no), &s)
	out := w.buf[s.Offset : s.Offset : s.Offset+s.Stored]
	w.key.AEAD.Seal(out, nonce[:], stored, aad[:])
	return no, s, nil
}

// check refuses what the format cannot hold.
func (s *Slot) check(stored int) error {
	switch {
	case s.Kind < chunk.Data || s.Kind > chunk.List:
		return fmt.Errorf("%s cannot be a slot of a pack", s.Kind)
	case s.Plain > chunk.MaxPlain || stored > chunk.MaxPlain:
		return fmt.Errorf("%s %s of %d bytes: the limit is %d", s.Kind, s.ID, max(int(s.Plain), stored), chunk.MaxPlain)
	case s.Kind != chunk.Bundle && s.Parts != nil || len(s.Parts) > MaxParts:
		return fmt.Errorf("%s %s has %d parts", s.Kind, s.ID, len(s.Parts))
	}
	return nil
}

// reserve takes the next slot and its range of the buffer; the caller has to fill it and then call sealing.Done.
func (w *Writer) reserve(s Slot, n int) (int, Slot, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	size := n + seal.Overhead
	total := w.opts.Parity.layout(w.end+size, tail(len(w.slots)+1, w.parts+len(s.Parts))).total
	if w.closed || len(w.slots) == MaxSlots || total > int64(len(w.buf)) {
		return 0, Slot{}, ErrFull
	}
	s.Offset, s.Stored = uint32(w.end), uint32(size)
	no := len(w.slots)
	w.slots = append(w.slots, s)
	w.end += size
	w.parts += len(s.Parts)
	w.sealing.Add(1)
	return no, s, nil
}

// tail bounds the bytes that the trailer takes, before padding.
func tail(slots, parts int) int {
	table := 16 + slots*(16+2+4+4+3) + parts*(16+4)
	return trailerHead + table + table>>8 + 64 + seal.Overhead
}

// Packed is a finished pack.
type Packed struct {
	ID     ID
	Type   seal.Type
	Epoch  uint32
	Salt   [32]byte
	Slots  []Slot
	Size   int64    // length of the object
	Bytes  []byte   // the whole object, valid until the writer is reset; nil from a [Stream]
	Digest [32]byte // unkeyed BLAKE3 of the object
}

// Finish waits for slots that are being sealed, writes the trailer and returns the pack. From then on Add returns
// [ErrFull], until Reset. It panics when called twice.
func (w *Writer) Finish() Packed {
	w.mu.Lock()
	if w.closed {
		panic("pack: finished twice")
	}
	w.closed = true
	w.mu.Unlock()
	w.sealing.Wait()

	total := w.writeTrailer()
	p := Packed{ID: w.id, Type: w.opts.Type, Epoch: w.header.Epoch, Salt: w.header.Salt, Slots: w.slots,
		Size: int64(total), Bytes: w.buf[:total]}
	p.Digest = blake3.Sum256(p.Bytes)
	return p
}

// writeTrailer writes everything behind the last slot and returns the length of the pack.
func (w *Writer) writeTrailer() int {
	if w.comp == nil {
		w.comp = NewCompressor(Fast)
	}
	e := newEnding(w.opts, w.comp, w.slots, int64(w.end))
	e.write(w.buf, w.key)
	return int(e.total)
}
