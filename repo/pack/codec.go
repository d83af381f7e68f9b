package pack

import (
	"fmt"

	"github.com/lockfast/lockfast/repo/chunk"
)

// Level says how hard a [Compressor] tries. What is stored is read the same way, whatever its level.
type Level int

const (
	Fast  Level = iota // for backups: a core should keep up with a fast disk
	Small              // for cold storage: about a tenth less is stored, in two to six times the time
)

// A build uses one pair of a zstd encoder and decoder: that of codec_go.go, or with the tag libzstd that of
// codec_libzstd.go. What must not depend on the library stands in this file and in frame.go.
type (
	// An encoder is for one goroutine at a time.
	encoder interface {
		// encode returns one frame without checksum, in dst's array if it fits, or nil if that takes more memory
		// than there is.
		encode(dst, plain []byte) []byte
	}
	// A decoder may be used by as many goroutines at once as it was made for.
	decoder interface {
		// decode returns what a frame holds in dst[:0], and an error if that is more than dst's capacity. The frame
		// has passed checkFrame.
		decode(dst, frame []byte) ([]byte, error)
		close()
	}
)

// Compressor encodes chunks. It is for one goroutine at a time.
type Compressor struct {
	enc encoder
}

// NewCompressor returns a compressor; [Fast] is the usual level.
func NewCompressor(level Level) *Compressor { return &Compressor{enc: newEncoder(level)} }

// Compress returns the bytes to store for plain and their codec. The result is either plain itself or stands in dst's
// array, grown if needed. What gains less than 3 % stays raw.
func (c *Compressor) Compress(dst, plain []byte) ([]byte, chunk.Codec) {
	if len(plain) < 64 {
		return plain, chunk.Raw
	}
	out := c.enc.encode(dst[:0], plain)
	if out == nil || len(out) > len(plain)-len(plain)/32 {
		return plain, chunk.Raw
	}
	return out, chunk.Zstd
}

// Decompressor decodes chunks. It may be used by several goroutines, up to the number given at once.
type Decompressor struct {
	dec decoder
}

// NewDecompressor returns a decompressor for n concurrent calls.
func NewDecompressor(n int) *Decompressor { return &Decompressor{dec: newDecoder(n)} }

// Decompress appends the plain bytes of stored to dst[:0], which is grown to plain bytes if it is smaller, and
// returns them. It never writes or allocates more than plain bytes. For raw chunks the result is stored itself. The
// error wraps [chunk.ErrDamaged].
func (d *Decompressor) Decompress(dst []byte, codec chunk.Codec, stored []byte, plain int) ([]byte, error) {
	switch codec {
	case chunk.Raw:
		if len(stored) != plain {
			return nil, chunk.Damaged("chunk", "%d raw bytes instead of %d", len(stored), plain)
		}
		return stored, nil
	case chunk.Zstd:
		if err := checkFrame(stored, plain); err != nil {
			return nil, chunk.Damaged("chunk", "%v", err)
		}
		if cap(dst) < plain {
			dst = make([]byte, 0, plain)
		}
		out, err := d.dec.decode(dst[:0:plain], stored)
		if err != nil {
			return nil, chunk.Damaged("chunk", "it does not decompress to %d bytes: %v", plain, err)
		}
		if len(out) != plain {
			return nil, chunk.Damaged("chunk", "it decompresses to %d bytes, not to %d", len(out), plain)
		}
		if plain > 0 && &out[0] == &dst[:1][0] {
			return dst[:plain], nil // has the room that dst had, for a next chunk
		}
		return out, nil
	}
	return nil, fmt.Errorf("chunk uses %s, which this version does not know", codec)
}

// Close releases the decoder's memory. Nothing is decompressed after it.
func (d *Decompressor) Close() { d.dec.close() }
