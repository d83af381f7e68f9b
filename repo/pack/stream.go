package pack

import (
	"errors"
	"io"
	"sync"

	"github.com/zeebo/blake3"

	"github.com/lockfast/lockfast/repo/seal"
)

// Stream makes the same packs as a [Writer], one at a time, and gives their bytes away while they fill: [Stream.Reader] has them as soon
// as all before them are there too. So a pack of any length takes a few blocks of memory, which are used again and again. Parity that
// covers slots would need all of them and is refused.
//
// The reader has to be read beside Add and Finish, which wait for room. Close ends both sides.
//
// turn is held while a slot gets its place, so that places follow each other; mu guards everything but the bytes of blocks. sealing counts
// the slots whose bytes are not in their blocks yet.
type Stream struct {
	keys    *seal.Keys
	opts    Options
	blocks  *Blocks
	sealing sync.WaitGroup
	comp    *Compressor // for trailers
	turn    sync.Mutex

	mu      sync.Mutex
	changed sync.Cond // of what follows
	id      ID
	front   seal.Header
	header  [HeaderSize]byte
	key     seal.PackKey
	slots   []Slot
	end     int64 // of the last slot
	parts   int   // in all bundles
	full    bool  // no more slots
	all     bool  // every byte of the pack is in a block
	queue   []*block
	room    int // bytes of the last block that nobody has
	hashed  int // blocks of queue, from the first on, that hash has
	hashing bool
	hash    *blake3.Hasher
	err     error // why there is no more to come: io.EOF after a pack that is wanted
}

// block is a part of a pack.
type block struct {
	buf  []byte
	left int // bytes that are not there yet
}

// Blocks are pieces of memory of one length for streams that share them.
type Blocks struct {
	size, most int

	mu   sync.Mutex
	used int      // guarded by mu
	free [][]byte // guarded by mu; what was used last goes first
	odd  []byte   // guarded by mu; for a slot that goes into several blocks; nil = in use
}

// NewBlocks returns blocks of size bytes, as which they are read. While most of them are in use, a stream takes a next one only if it has
// none but that, so that about so many are used at once.
func NewBlocks(size, most int) *Blocks { return &Blocks{size: size, most: most} }

// short reports whether blocks are to be waited for by who has any.
func (b *Blocks) short() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used >= b.most
}

func (b *Blocks) get() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used++
	if n := len(b.free); n > 0 {
		buf := b.free[n-1]
		b.free = b.free[:n-1]
		return buf
	}
	return make([]byte, b.size)
}

// between returns room for n bytes of a slot that goes into several blocks, for keep to take back.
func (b *Blocks) between(n int) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	odd := b.odd
	b.odd = nil
	if cap(odd) < n {
		odd = make([]byte, 0, n+n/4)
	}
	return odd[:0]
}

func (b *Blocks) keep(odd []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if cap(odd) > cap(b.odd) {
		b.odd = odd
	}
}

func (b *Blocks) put(buf []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used--
	b.free = append(b.free, buf[:b.size])
}

// NewStream returns a stream with an empty pack in it.
func NewStream(keys *seal.Keys, opts Options, blocks *Blocks) (*Stream, error) {
	if err := opts.complete(); err != nil {
		return nil, err
	}
	if opts.Parity == FullParity {
		return nil, errors.New("a pack that is not kept in memory cannot have parity of its slots")
	}
	s := &Stream{keys: keys, opts: opts, blocks: blocks, comp: NewCompressor(Fast), hash: blake3.New()}
	s.changed.L = &s.mu
	return s, s.Reset()
}

// Reset is [Writer.Reset]. The stream has not been used yet, or has been closed, and its reader is not read any more.
func (s *Stream) Reset() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	if s.id, s.key, s.front, err = s.opts.begin(s.keys); err != nil {
		return err
	}
	for _, b := range s.queue {
		s.blocks.put(b.buf)
	}
	s.queue, s.room, s.hashed, s.hashing = nil, 0, 0, false
	s.slots, s.end, s.parts, s.full, s.all, s.err = nil, 0, 0, false, false, nil
	s.hash.Reset()
	copy(s.header[:], append(s.front.Append(nil), s.id[:]...))
	s.append(s.header[:])
	return nil
}

// ID is [Writer.ID].
func (s *Stream) ID() ID { return s.id }

// Len is [Writer.Len].
func (s *Stream) Len() (size, slots int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(s.end), len(s.slots)
}

// Add is [Writer.Add]. After Close it returns the error of that.
func (s *Stream) Add(slot Slot, stored []byte) (int, Slot, error) {
	if err := slot.check(len(stored)); err != nil {
		return 0, Slot{}, err
	}
	no, slot, to, err := s.reserve(slot, len(stored))
	if err != nil {
		return 0, Slot{}, err
	}
	defer s.sealing.Done()
	nonce, aad := slotNonce(uint32(no)), slotAAD(s.id, uint32(no), &slot)
	if len(to) == 1 {
		s.key.AEAD.Seal(to[0].buf[:0], nonce[:], stored, aad[:])
	} else {
		sealed := s.key.AEAD.Seal(s.blocks.between(int(slot.Stored)), nonce[:], stored, aad[:])
		rest := sealed
		for _, p := range to {
			rest = rest[copy(p.buf, rest):]
		}
		s.blocks.keep(sealed)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.filled(to)
	return no, slot, nil
}

// piece is a part of a block. Its capacity is its length.
type piece struct {
	of  *block
	buf []byte
}

// reserve takes the next slot and its place; the caller has to fill it, say so to filled, and then call sealing.Done.
func (s *Stream) reserve(slot Slot, n int) (int, Slot, []piece, error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	size := n + seal.Overhead
	total := s.opts.Parity.layout(int(s.end)+size, tail(len(s.slots)+1, s.parts+len(slot.Parts))).total
	switch {
	case s.err != nil:
		return 0, Slot{}, nil, s.closed()
	case s.full || len(s.slots) == MaxSlots || total > int64(s.opts.Target):
		return 0, Slot{}, nil, ErrFull
	}
	for s.err == nil && len(s.queue) > 1 && s.blocks.short() {
		s.changed.Wait()
	}
	if s.err != nil {
		return 0, Slot{}, nil, s.closed()
	}
	slot.Offset, slot.Stored = uint32(s.end), uint32(size)
	no := len(s.slots)
	s.slots = append(s.slots, slot)
	s.parts += len(slot.Parts)
	s.sealing.Add(1)
	return no, slot, s.place(size), nil
}

// place returns the next n bytes of the pack. The caller holds mu.
func (s *Stream) place(n int) []piece {
	s.end += int64(n)
	var to []piece
	for n > 0 {
		if s.room == 0 {
			s.queue = append(s.queue, &block{buf: s.blocks.get(), left: s.blocks.size})
			s.room = s.blocks.size
		}
		last := s.queue[len(s.queue)-1]
		from := len(last.buf) - s.room
		k := min(n, s.room)
		to = append(to, piece{last, last.buf[from : from+k : from+k]})
		s.room, n = s.room-k, n-k
	}
	return to
}

// filled notes that the bytes are there, and hashes blocks that are whole by now, unless another does. The caller holds mu, which is
// given up meanwhile.
func (s *Stream) filled(to []piece) {
	for _, p := range to {
		p.of.left -= len(p.buf)
	}
	for !s.hashing && s.hashed < len(s.queue) && s.queue[s.hashed].left == 0 && s.err == nil {
		b := s.queue[s.hashed]
		s.hashing = true
		s.mu.Unlock()
		_, _ = s.hash.Write(b.buf) // never fails
		s.mu.Lock()
		s.hashing = false
		s.hashed++
		s.changed.Broadcast()
	}
}

// append adds bytes that follow the last slot, or are the first. The caller holds mu.
func (s *Stream) append(b []byte) {
	to := s.place(len(b))
	for _, p := range to {
		b = b[copy(p.buf, b):]
	}
	s.filled(to)
}

// Finish is [Writer.Finish]. It returns when all bytes but the last few blocks have been read; those can be. Packed has no Bytes. The
// pack counts when [Stream.Close] is called without an error.
func (s *Stream) Finish() (Packed, error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full {
		panic("pack: finished twice")
	}
	s.full = true
	s.mu.Unlock()
	s.sealing.Wait()
	s.mu.Lock()
	e := newEnding(s.opts, s.comp, s.slots, s.end)
	s.append(e.behind(s.header, s.key))
	if s.room > 0 { // the last block is shorter
		last := s.queue[len(s.queue)-1]
		last.buf = last.buf[:len(last.buf)-s.room]
		last.left, s.room = last.left-s.room, 0
		s.filled(nil)
	}
	for s.err == nil && s.hashed < len(s.queue) {
		s.changed.Wait()
	}
	if s.err != nil {
		return Packed{}, s.closed()
	}
	s.all = true
	p := Packed{ID: s.id, Type: s.opts.Type, Epoch: s.front.Epoch, Salt: s.front.Salt, Slots: s.slots, Size: s.end}
	s.hash.Sum(p.Digest[:0])
	return p, nil
}

// Close says what becomes of the pack: without an error the reader comes to its end, which is only right after Finish; with one, the reader
// and every other call end with it. The first call counts.
func (s *Stream) Close(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return
	}
	if err == nil && !s.all {
		panic("pack: stream closed before its pack is whole")
	}
	if s.err = err; err == nil {
		s.err = io.EOF
	}
	s.changed.Broadcast()
}

// closed is what calls return after Close. The caller holds mu.
func (s *Stream) closed() error {
	if s.err == io.EOF { //nolint:errorlint // Close has put it there
		return ErrFull
	}
	return s.err
}

// Reader returns the reader of the pack, for one goroutine. It saves copies to use its WriteTo.
func (s *Stream) Reader() io.Reader { return &streamReader{s: s} }

// streamReader reads a pack that is being made.
type streamReader struct {
	s    *Stream
	rest []byte // of the block
	buf  []byte // the block; nil = none
}

// Read implements [io.Reader].
func (r *streamReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// WriteTo implements [io.WriterTo], a block at a time.
func (r *streamReader) WriteTo(w io.Writer) (n int64, err error) {
	for {
		if len(r.rest) == 0 {
			if err := r.next(); err == io.EOF { //nolint:errorlint // see Close
				return n, nil
			} else if err != nil {
				return n, err
			}
		}
		k, err := w.Write(r.rest)
		n += int64(k)
		r.rest = r.rest[k:]
		if err != nil {
			return n, err
		}
	}
}

// next gives the block back that has been read, and waits for another one.
func (r *streamReader) next() error {
	s := r.s
	if r.buf != nil {
		s.blocks.put(r.buf)
		r.buf = nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.hashed == 0 && s.err == nil {
		s.changed.Wait()
	}
	if s.err != nil && (s.hashed == 0 || s.err != io.EOF) { //nolint:errorlint // see Close
		return s.err
	}
	r.buf = s.queue[0].buf
	r.rest = r.buf
	s.queue = s.queue[1:]
	s.hashed--
	s.changed.Broadcast()
	return nil
}
