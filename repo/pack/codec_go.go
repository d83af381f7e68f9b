package pack

import "github.com/klauspost/compress/zstd"

// The codec in Go is in every build: the tests of that with libzstd compare with it.

type goEncoder struct{ enc *zstd.Encoder }

func newGoEncoder(level Level) encoder {
	speed := zstd.SpeedFastest
	if level == Small {
		speed = zstd.SpeedBetterCompression
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(speed), zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderCRC(false),
		zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(false))
	if err != nil {
		panic("pack: " + err.Error()) // only for wrong options
	}
	return goEncoder{enc}
}

func (e goEncoder) encode(dst, plain []byte) []byte { return e.enc.EncodeAll(plain, dst) }

type goDecoder struct{ dec *zstd.Decoder }

func newGoDecoder(n int) decoder {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(n), zstd.WithDecoderMaxMemory(maxTrailer),
		zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		panic("pack: " + err.Error()) // only for wrong options
	}
	return goDecoder{dec}
}

func (d goDecoder) decode(dst, frame []byte) ([]byte, error) { return d.dec.DecodeAll(frame, dst) }
func (d goDecoder) close()                                   { d.dec.Close() }
