// Package field encodes records that grow over time as lists of tagged fields (docs/format.md section 10).
//
// A field is a uvarint tag, a uvarint length and that many bytes; tags ascend, and a tag may repeat. Readers skip
// tags they do not know. Manifests, state objects, key objects and the optional part of a directory entry are written
// this way.
package field

import (
	"encoding/binary"
	"errors"
	"time"
)

// ErrMalformed is returned for bytes that are not a list of fields.
var ErrMalformed = errors.New("malformed field")

// Append adds one field to dst. The caller keeps tags ascending.
func Append[T ~[]byte | ~string](dst []byte, tag uint64, value T) []byte {
	dst = binary.AppendUvarint(dst, tag)
	dst = binary.AppendUvarint(dst, uint64(len(value)))
	return append(dst, value...)
}

// AppendUint adds an integer field.
func AppendUint(dst []byte, tag, v uint64) []byte {
	var b [binary.MaxVarintLen64]byte
	return Append(dst, tag, b[:binary.PutUvarint(b[:], v)])
}

// AppendTime adds a time field; the zero time is not added at all.
func AppendTime(dst []byte, tag uint64, t time.Time) []byte {
	if t.IsZero() {
		return dst
	}
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(t.UnixNano()))
	return Append(dst, tag, b[:])
}

// AppendPair adds a field that holds two strings of bytes.
func AppendPair[K, V ~[]byte | ~string](dst []byte, tag uint64, key K, value V) []byte {
	n := uvarintLen(uint64(len(key))) + len(key) + uvarintLen(uint64(len(value))) + len(value)
	dst = binary.AppendUvarint(dst, tag)
	dst = binary.AppendUvarint(dst, uint64(n))
	dst = binary.AppendUvarint(dst, uint64(len(key)))
	dst = append(dst, key...)
	dst = binary.AppendUvarint(dst, uint64(len(value)))
	return append(dst, value...)
}

func uvarintLen(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

// Reader walks a list of fields without allocating. The zero Reader over Data is at the start.
type Reader struct {
	Data  []byte // what is left
	Tag   uint64 // of the current field
	Value []byte // of the current field; part of Data
	err   error
}

// Next moves to the next field and reports whether there is one; after false ask [Reader.Err].
func (r *Reader) Next() bool {
	if r.err != nil || len(r.Data) == 0 {
		return false
	}
	tag, rest, ok := Uvarint(r.Data)
	if !ok || tag < r.Tag {
		r.err = ErrMalformed
		return false
	}
	v, rest, ok := Bytes(rest)
	if !ok {
		r.err = ErrMalformed
		return false
	}
	r.Tag, r.Value, r.Data = tag, v, rest
	return true
}

// Err returns [ErrMalformed] if the list did not end properly, or if a value was not what a getter expected.
func (r *Reader) Err() error { return r.err }

// Uint returns the current value as an integer.
func (r *Reader) Uint() uint64 {
	v, rest, ok := Uvarint(r.Value)
	if !ok || len(rest) > 0 {
		r.err = ErrMalformed
		return 0
	}
	return v
}

// Time returns the current value as a time in UTC.
func (r *Reader) Time() time.Time {
	if len(r.Value) != 8 {
		r.err = ErrMalformed
		return time.Time{}
	}
	return time.Unix(0, int64(binary.LittleEndian.Uint64(r.Value))).UTC()
}

// ID returns the current value as 16 bytes.
func (r *Reader) ID() (id [16]byte) {
	if len(r.Value) != len(id) {
		r.err = ErrMalformed
		return id
	}
	copy(id[:], r.Value)
	return id
}

// Place returns the current value as 8 bytes of a number and 32 of a hash.
func (r *Reader) Place() (n uint64, hash [32]byte) {
	if len(r.Value) != 8+len(hash) {
		r.err = ErrMalformed
		return 0, hash
	}
	copy(hash[:], r.Value[8:])
	return binary.LittleEndian.Uint64(r.Value), hash
}

// Pair returns the current value as two strings of bytes, which are parts of it.
func (r *Reader) Pair() (key, value []byte) {
	key, rest, ok := Bytes(r.Value)
	if ok {
		value, rest, ok = Bytes(rest)
	}
	if !ok || len(rest) > 0 {
		r.err = ErrMalformed
		return nil, nil
	}
	return key, value
}

// Uvarint splits a uvarint in its shortest form off b.
func Uvarint(b []byte) (v uint64, rest []byte, ok bool) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), b[1:], true
	}
	v, n := binary.Uvarint(b)
	if n <= 0 || b[n-1] == 0 {
		return 0, nil, false
	}
	return v, b[n:], true
}

// Bytes splits a uvarint length and that many bytes off b.
func Bytes(b []byte) (v, rest []byte, ok bool) {
	n, rest, ok := Uvarint(b)
	if !ok || n > uint64(len(rest)) {
		return nil, nil, false
	}
	return rest[:n:n], rest[n:], true
}
