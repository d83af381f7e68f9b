package pack

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/parity"
)

// footer is the fixed end of a pack (docs/format.md section 7.4).
type footer struct {
	length, trailer uint64
	trailerLen      uint32
	parityLen       uint32 // 0 = none, and all that follows
	parity          uint64 // where it begins
	covers          uint64 // from where on, behind the header
	layout          parity.Layout
}

func (f footer) encode() (b [FooterSize]byte) {
	le := binary.LittleEndian
	copy(b[:], footerMagic)
	le.PutUint64(b[8:], f.length)
	le.PutUint64(b[16:], f.trailer)
	le.PutUint32(b[24:], f.trailerLen)
	if f.parityLen > 0 {
		le.PutUint32(b[28:], f.parityLen)
		le.PutUint64(b[32:], f.parity)
		b[40], b[41] = byte(f.layout.Data), parity.Spare
		le.PutUint32(b[44:], uint32(f.layout.Length))
		le.PutUint64(b[48:], f.covers)
	}
	le.PutUint32(b[footerCRC:], crc32.Checksum(b[:footerCRC], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// parseFooter reads the footer at the end of tail.
func parseFooter(name string, tail []byte, size int64) ([]byte, footer, error) {
	if len(tail) < FooterSize {
		return nil, footer{}, chunk.Damaged(name, "%d bytes of footer", len(tail))
	}
	b := tail[len(tail)-FooterSize:]
	le := binary.LittleEndian
	if string(b[:8]) != footerMagic || crc32.Checksum(b[:footerCRC],
		crc32.MakeTable(crc32.Castagnoli)) != le.Uint32(b[footerCRC:]) {
		return nil, footer{}, chunk.Damaged(name, "no valid footer")
	}
	if len(bytes.Trim(b[56:footerCRC], "\x00"))+len(bytes.Trim(b[42:44], "\x00")) > 0 {
		return nil, footer{}, chunk.Damaged(name, "reserved bytes of the footer are not zero")
	}
	f := footer{length: le.Uint64(b[8:]), trailer: le.Uint64(b[16:]), trailerLen: le.Uint32(b[24:]),
		parityLen: le.Uint32(b[28:]), parity: le.Uint64(b[32:]), covers: le.Uint64(b[48:])}
	room := uint64(size - FooterSize)
	if f.length != uint64(size) || f.trailer < HeaderSize || f.trailer > room || f.trailerLen > maxTrailer ||
		f.trailer+uint64(f.trailerLen) > room || !f.fits(b, room) {
		return nil, footer{}, chunk.Damaged(name, "the footer does not fit the object of %d bytes", size)
	}
	if f.parityLen > 0 {
		f.layout = parity.For(f.covered())
	}
	return b, f, nil
}

// fits reports whether what the footer b says of trailer and parity adds up to room bytes.
func (f footer) fits(b []byte, room uint64) bool {
	end, length := f.trailer+uint64(f.trailerLen), binary.LittleEndian.Uint32(b[44:])
	if f.parityLen == 0 {
		return end == room && f.parity|f.covers == 0 && b[40]|b[41] == 0 && length == 0
	}
	if f.covers != coversAll && f.covers != f.trailer || f.parity < end || f.parity > room ||
		f.parity+uint64(f.parityLen) != room {
		return false
	}
	l := parity.For(f.covered())
	return int(b[40]) == l.Data && b[41] == parity.Spare && int(length) == l.Length &&
		int(f.parityLen) == FooterSize+l.Region() && f.parity-end >= uint64(l.Full()-l.Bytes)
}

// covered returns how many bytes the parity covers.
func (f footer) covered() int { return int(HeaderSize + f.trailer + uint64(f.trailerLen) - f.covers) }

// cover returns the covered bytes of a pack, in an array of their own if they do not stand together.
func (f footer) cover(b []byte) []byte {
	end := f.trailer + uint64(f.trailerLen)
	if f.covers == coversAll {
		return b[:end:end]
	}
	return append(append(make([]byte, 0, f.covered()), b[:HeaderSize]...), b[f.covers:end]...)
}

// packLayout is where everything behind the last slot stands.
type packLayout struct {
	footer
	total int64
}

// layout places a trailer of n bytes, with its tag and without padding, behind slots that end at end.
func (p Parity) layout(end, n int) packLayout {
	l := packLayout{footer: footer{trailer: uint64(end), trailerLen: uint32(n)}}
	if p == NoParity {
		l.total = padded(int64(end + n + FooterSize))
		l.trailerLen = uint32(l.total) - uint32(end) - FooterSize
	} else {
		l.covers = coversAll
		if p == TrailerParity {
			l.covers = uint64(end)
		}
		l.layout = parity.For(l.covered())
		l.parityLen = uint32(FooterSize + l.layout.Region())
		fill := l.layout.Full() - l.layout.Bytes
		l.total = padded(int64(end+n+fill) + int64(l.parityLen) + FooterSize)
		l.parity = uint64(l.total) - FooterSize - uint64(l.parityLen)
	}
	l.length = uint64(l.total)
	return l
}

// protect writes padding and parity into a pack of which everything else is there.
func (l packLayout) protect(b []byte, foot [FooterSize]byte) {
	clear(b[l.trailer+uint64(l.trailerLen) : l.parity])
	at := b[l.parity : l.parity : l.length-FooterSize]
	at = append(at, foot[:]...)
	l.layout.Append(at, l.cover(b))
}

// Repair returns a pack as it was written, from its bytes and their parity, and reports whether any of them were bad.
// What the parity does not cover stays as it is, and is not looked at. The error wraps [chunk.ErrDamaged] when there is
// no parity, or too much is damaged.
func Repair(name string, b []byte) (fixed []byte, changed bool, err error) {
	foot, f, err := findFooter(name, b)
	if err != nil {
		return nil, false, err
	}
	region := b[f.parity+FooterSize : len(b)-FooterSize]
	covered, _, err := f.layout.Repair(f.cover(b), region)
	if err != nil {
		return nil, false, chunk.Damaged(name, "%v", err)
	}
	fixed = bytes.Clone(b)
	copy(fixed, covered[:HeaderSize])
	copy(fixed[f.covers:], covered[HeaderSize:])
	l := packLayout{footer: f, total: int64(len(b))}
	l.protect(fixed, [FooterSize]byte(foot))
	copy(fixed[len(fixed)-FooterSize:], foot)
	return fixed, !bytes.Equal(fixed, b), nil
}

// findFooter returns the footer of a pack with parity, or the copy of it.
func findFooter(name string, b []byte) ([]byte, footer, error) {
	size := int64(len(b))
	if size < HeaderSize+2*FooterSize || size >= 1<<32 {
		return nil, footer{}, chunk.Damaged(name, "%d bytes cannot be a pack with parity", size)
	}
	foot, f, err := parseFooter(name, b, size)
	if err == nil && f.parityLen == 0 {
		return nil, footer{}, chunk.Damaged(name, "it has no parity")
	}
	if err == nil {
		return foot, f, nil
	}
	for length := parity.Unit; int64(parity.Spare*length) < size; length += parity.Unit {
		for data := 1; data <= parity.MaxData; data++ {
			at := size - 2*FooterSize - int64(parity.Layout{Data: data, Length: length}.Region())
			if at < HeaderSize || string(b[at:][:8]) != footerMagic {
				continue
			}
			if foot, f, err := parseFooter(name, b[:at+FooterSize], size); err == nil && f.parity == uint64(at) {
				return foot, f, nil
			}
		}
	}
	return nil, footer{}, err
}
