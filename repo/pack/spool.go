package pack

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/zeebo/blake3"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/seal"
)

// Spool assembles packs that are too large for memory, one at a time, in a temporary file that has no name where the
// system allows that. What stands in the file is sealed. It makes the same bytes as a [Writer]; an error of the file is
// final until Reset.
//
// mu guards everything; slots are sealed and written one after the other.
type Spool struct {
	keys *seal.Keys
	opts Options
	file *os.File

	mu     sync.Mutex
	id     ID
	header [HeaderSize]byte
	front  seal.Header
	key    seal.PackKey
	slots  []Slot
	end    int64
	parts  int
	hash   *blake3.Hasher // of what is written
	sealed []byte         // kept for the next slot
	err    error
	closed bool // no more slots
}

// NewSpool returns a spool with an empty pack in it. dir takes the file; empty is the system's place for such. Close it.
func NewSpool(keys *seal.Keys, opts Options, dir string) (*Spool, error) {
	if opts.Target < minTarget || int64(opts.Target) > maxTarget {
		return nil, fmt.Errorf("pack size %d: want %d to %d", opts.Target, minTarget, int64(maxTarget))
	}
	if opts.Rand == nil {
		opts.Rand = rand.Reader
	}
	file, err := os.CreateTemp(dir, "lockfast-pack-*")
	if err != nil {
		return nil, err
	}
	_ = os.Remove(file.Name()) // it lives on while it is open; where that is not possible, Close removes it
	s := &Spool{keys: keys, opts: opts, file: file, hash: blake3.New()}
	if err := s.Reset(); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// Close gives the file back. What [Spool.Finish] returned is no longer valid.
func (s *Spool) Close() error {
	err := s.file.Close()
	_ = os.Remove(s.file.Name())
	return err
}

// Reset is [Writer.Reset].
func (s *Spool) Reset() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var salt [32]byte
	if _, err := io.ReadFull(s.opts.Rand, s.id[:]); err != nil {
		return err
	}
	if _, err := io.ReadFull(s.opts.Rand, salt[:]); err != nil {
		return err
	}
	var err error
	if s.key, s.front, err = s.keys.NewPack(s.opts.Type, s.id, salt); err != nil {
		return err
	}
	copy(s.header[:], append(s.front.Append(nil), s.id[:]...))
	if err := s.file.Truncate(0); err != nil {
		return err
	}
	s.hash.Reset()
	s.slots, s.end, s.parts, s.err, s.closed = nil, 0, 0, nil, false
	return s.write(s.header[:])
}

// write appends to the file. The caller holds mu.
func (s *Spool) write(b []byte) error {
	if s.err == nil {
		_, s.err = s.file.WriteAt(b, s.end)
	}
	if s.err != nil {
		return s.err
	}
	_, _ = s.hash.Write(b) // never fails
	s.end += int64(len(b))
	return nil
}

// ID is [Writer.ID].
func (s *Spool) ID() ID { return s.id }

// Len is [Writer.Len].
func (s *Spool) Len() (size, slots int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(s.end), len(s.slots)
}

// Add is [Writer.Add].
func (s *Spool) Add(slot Slot, stored []byte) (int, Slot, error) {
	if err := slot.check(len(stored)); err != nil {
		return 0, Slot{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	size := len(stored) + seal.Overhead
	total := padded(s.end + int64(size+tail(len(s.slots)+1, s.parts+len(slot.Parts))))
	if s.closed || len(s.slots) == MaxSlots || total > int64(s.opts.Target) {
		return 0, Slot{}, ErrFull
	}
	slot.Offset, slot.Stored = uint32(s.end), uint32(size)
	no := len(s.slots)
	nonce, aad := slotNonce(uint32(no)), slotAAD(s.id, uint32(no), &slot)
	s.sealed = s.key.AEAD.Seal(s.sealed[:0], nonce[:], stored, aad[:])
	if err := s.write(s.sealed); err != nil {
		return 0, Slot{}, err
	}
	s.slots = append(s.slots, slot)
	s.parts += len(slot.Parts)
	return no, slot, nil
}

// Finish is [Writer.Finish]; the pack stands in File, and an error of the file is returned.
func (s *Spool) Finish() (Packed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		panic("pack: finished twice")
	}
	s.closed = true
	if err := s.write(s.trailer()); err != nil {
		return Packed{}, err
	}
	p := Packed{ID: s.id, Type: s.opts.Type, Epoch: s.front.Epoch, Salt: s.front.Salt, Slots: s.slots,
		File: io.NewSectionReader(s.file, 0, s.end)}
	s.hash.Sum(p.Digest[:0])
	return p, nil
}

// trailer returns everything behind the last slot (docs/format.md sections 7.3 to 7.5).
func (s *Spool) trailer() []byte {
	table := appendTable(nil, s.slots)
	stored, codec := table, chunk.Raw
	if !s.opts.Raw {
		stored, codec = NewCompressor(Fast).Compress(nil, table)
	}
	fixed := s.end + seal.Overhead + FooterSize
	total := padded(fixed + int64(trailerHead+len(stored)))
	plain := make([]byte, total-fixed)
	plain[0] = byte(codec)
	binary.LittleEndian.PutUint32(plain[4:], uint32(len(table)))
	binary.LittleEndian.PutUint32(plain[8:], uint32(len(stored)))
	copy(plain[trailerHead:], stored)

	foot := footer{length: uint64(total), trailer: uint64(s.end), trailerLen: uint32(len(plain) + seal.Overhead)}.encode()
	nonce := slotNonce(trailerSlot)
	aad := append(append([]byte(nil), s.header[:]...), foot[:footerCRC]...)
	return append(s.key.AEAD.Seal(nil, nonce[:], plain, aad), foot[:]...)
}
