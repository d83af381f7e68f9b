package blob

import (
	"context"
	"io"
)

// Streamer is a [Store] that takes a blob whose length nobody knows before its last byte, as it is made. Find it with [AsStreamer], which
// sees through wrappers.
type Streamer interface {
	// PutStream is [Store.Put] of all bytes that r has until it ends with io.EOF. It reads them as fast as it can store them, and
	// until r has ended nothing is visible: with another error of r, which it returns, nothing ever is. It may return before r has
	// ended only with an error.
	PutStream(ctx context.Context, name Name, r io.Reader) error
}

// AsStreamer returns the power of a store, or of the one that it wraps, to take streams, and nil if there is none. A wrapper tells by a
// method Streamer() (Streamer, bool).
func AsStreamer(s Store) (Streamer, bool) {
	switch s := s.(type) {
	case Streamer:
		return s, true
	case interface{ Streamer() (Streamer, bool) }:
		if in, ok := s.Streamer(); ok { // else it may be a wrapper around nothing
			return in, true
		}
	}
	return nil, false
}
