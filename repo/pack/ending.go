package pack

import (
	"encoding/binary"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/seal"
)

// ending is everything of a pack behind its last slot: the trailer, padding, parity and the footer (docs/format.md sections 7.3 to 7.5).
type ending struct {
	packLayout
	plain []byte // of the trailer
}

// newEnding plans the ending of a pack whose slots end at end. comp compresses the trailer, which o may not want.
func newEnding(o Options, comp *Compressor, slots []Slot, end int64) ending {
	table := appendTable(nil, slots)
	stored, codec := table, chunk.Raw
	if !o.Raw {
		stored, codec = comp.Compress(nil, table)
	}
	l := o.Parity.layout(int(end), trailerHead+len(stored)+seal.Overhead)
	plain := make([]byte, trailerHead, l.trailerLen-seal.Overhead)
	plain[0] = byte(codec)
	binary.LittleEndian.PutUint32(plain[4:], uint32(len(table)))
	binary.LittleEndian.PutUint32(plain[8:], uint32(len(stored)))
	return ending{packLayout: l, plain: append(plain, stored...)[:l.trailerLen-seal.Overhead]}
}

// write writes the ending into b, which holds the pack and has room for all of it.
func (e ending) write(b []byte, key seal.PackKey) {
	e.writeBehind(b, e.footer.encode(), key)
}

// behind returns the ending of a pack that is not in memory, and whose parity covers header and trailer at most.
func (e ending) behind(header [HeaderSize]byte, key seal.PackKey) []byte {
	foot := e.footer.encode()
	gone := e.trailer - HeaderSize // the bytes of slots
	short := e
	short.trailer, short.length, short.total, short.covers = HeaderSize, e.length-gone, e.total-int64(gone), coversAll
	if e.parityLen > 0 {
		short.parity = e.parity - gone
	}
	b := make([]byte, short.total)
	copy(b, header[:])
	short.writeBehind(b, foot, key)
	return b[HeaderSize:]
}

// writeBehind writes the ending into b with the footer foot, which may be that of a longer pack.
func (e ending) writeBehind(b []byte, foot [FooterSize]byte, key seal.PackKey) {
	copy(b[e.total-FooterSize:], foot[:])
	nonce := slotNonce(trailerSlot)
	aad := append(append([]byte(nil), b[:HeaderSize]...), foot[:footerCRC]...)
	key.AEAD.Seal(b[e.trailer:e.trailer:e.total-FooterSize], nonce[:], e.plain, aad)
	if e.parityLen > 0 {
		e.protect(b[:e.total], foot)
	}
}
