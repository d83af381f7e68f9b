package pack

import (
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"github.com/lockfast/lockfast/repo/chunk"
)

// maxWindow is the largest zstd window that a reader accepts.
const maxWindow = 8 << 20

// Compressor encodes chunks. It is for one goroutine at a time.
type Compressor struct {
	enc *zstd.Encoder
}

// NewCompressor returns a compressor of the given zstd level; [zstd.SpeedFastest] is the usual one.
func NewCompressor(level zstd.EncoderLevel) *Compressor {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderCRC(false),
		zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(false))
	if err != nil {
		panic("pack: " + err.Error()) // only for wrong options
	}
	return &Compressor{enc: enc}
}

// Compress returns the bytes to store for plain and their codec. The result is either plain itself or stands in dst's
// array, grown if needed. What gains less than 3 % stays raw.
func (c *Compressor) Compress(dst, plain []byte) ([]byte, chunk.Codec) {
	if len(plain) < 64 {
		return plain, chunk.Raw
	}
	out := c.enc.EncodeAll(plain, dst[:0])
	if len(out) > len(plain)-len(plain)/32 {
		return plain, chunk.Raw
	}
	return out, chunk.Zstd
}

// Decompressor decodes chunks. It may be used by several goroutines, up to the number given at once.
type Decompressor struct {
	dec *zstd.Decoder
}

// NewDecompressor returns a decompressor for n concurrent calls.
func NewDecompressor(n int) *Decompressor {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(n), zstd.WithDecoderMaxMemory(maxTrailer),
		zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		panic("pack: " + err.Error()) // only for wrong options
	}
	return &Decompressor{dec: dec}
}

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
		if cap(dst) < plain {
			dst = make([]byte, 0, plain)
		}
		out, err := d.dec.DecodeAll(stored, dst[:0:plain])
		if errors.Is(err, zstd.ErrDecoderSizeExceeded) || err == nil && len(out) != plain {
			return nil, chunk.Damaged("chunk", "it does not decompress to %d bytes", plain)
		}
		if err != nil {
			return nil, chunk.Damaged("chunk", "%v", err)
		}
		return out, nil
	}
	return nil, fmt.Errorf("chunk uses %s, which this version does not know", codec)
}

// Close releases the decoder's memory.
func (d *Decompressor) Close() { d.dec.Close() }
