package blob

import (
	"context"
	"crypto/sha256"
	"io"
)

// Summer is a [Store] that keeps a checksum with a blob, from when it was put, and tells it without reading the blob. What
// that is worth is for the store to say: some compare it with their bytes now and then, others only tell what was sent.
// Find it with [AsSummer], which sees through wrappers.
type Summer interface {
	// Keeps reports whether a checksum is to be expected of a blob of this name that is put now. It asks nobody.
	Keeps(name Name) bool

	// Sum returns the SHA-256 (32 bytes) that is kept with a blob, and nil if there is none of the blob as a whole: it
	// was put by other means, or its checksum is of another kind. It returns ErrNotExist for a blob that is not there.
	Sum(ctx context.Context, name Name) ([]byte, error)
}

// AsSummer returns the power of a store, or of the one that it wraps, to tell checksums, and nil if there is none. A
// wrapper tells by a method Summer() (Summer, bool).
func AsSummer(s Store) (Summer, bool) {
	switch s := s.(type) {
	case Summer:
		return s, true
	case interface{ Summer() (Summer, bool) }:
		if in, ok := s.Summer(); ok { // else it may be a wrapper around nothing
			return in, true
		}
	}
	return nil, false
}

// Hashed is a reader for [Store.Put] that knows the SHA-256 of what it reads, which spares a [Summer] computing it.
type Hashed struct {
	*io.SectionReader
	sum [sha256.Size]byte
}

// NewHashed reads the first size bytes of r, and returns a reader of them. They must not change any more.
func NewHashed(r io.ReaderAt, size int64) (*Hashed, error) {
	h := &Hashed{SectionReader: io.NewSectionReader(r, 0, size)}
	hash := sha256.New()
	if _, err := io.Copy(hash, io.NewSectionReader(r, 0, size)); err != nil {
		return nil, err
	}
	hash.Sum(h.sum[:0])
	return h, nil
}

// Sum returns the SHA-256 of all bytes, wherever the reader stands.
func (h *Hashed) Sum() [sha256.Size]byte { return h.sum }
