//go:build libzstd && cgo

package pack

import (
	"errors"
	"runtime"
	"sync"

	"github.com/DataDog/zstd"
)

// ZstdModule is the Go module that compresses and decompresses in this build: here libzstd, through cgo.
const ZstdModule = "github.com/DataDog/zstd"

// Levels of libzstd. The fast one stores less than the Go encoder in less time; level 1 would store as much as that in
// even less time, level 3 the least in about the same time (docs/performance.md).
const (
	libFast  = 2
	libSmall = 9
)

// libEncoder has tables outside of Go's memory. The context frees them when it is collected; it has no other way.
type libEncoder struct {
	ctx   zstd.Ctx
	level int
}

func newEncoder(level Level) encoder {
	e := &libEncoder{ctx: zstd.NewCtx(), level: libFast}
	if level == Small {
		e.level = libSmall
	}
	return e
}

func (e *libEncoder) encode(dst, plain []byte) []byte {
	out, err := e.ctx.CompressLevel(dst, plain, e.level)
	runtime.KeepAlive(e) // else the context could be freed while C uses it
	if err != nil {
		return nil // with room for the worst case only memory can be lacking
	}
	return out
}

// libDecoder has a context for each concurrent call; nil are those not yet needed. A frame is decoded into a buffer of
// its whole size, so there is no window to allocate.
type libDecoder struct {
	idle   chan zstd.Ctx
	closed sync.Once
}

func newDecoder(n int) decoder {
	d := &libDecoder{idle: make(chan zstd.Ctx, n)}
	for range n {
		d.idle <- nil
	}
	return d
}

func (d *libDecoder) decode(dst, frame []byte) ([]byte, error) {
	ctx, ok := <-d.idle
	if !ok {
		return nil, errors.New("the decompressor is closed")
	}
	if ctx == nil {
		ctx = zstd.NewCtx()
	}
	defer func() { d.idle <- ctx }()

	room := dst[:cap(dst)]
	if len(room) == 0 {
		room = make([]byte, 1) // the library takes no empty slice
	}
	n, err := ctx.DecompressInto(room, frame)
	if err != nil {
		return nil, err
	}
	if n > cap(dst) {
		return nil, errors.New("it is longer")
	}
	return dst[:n], nil
}

func (d *libDecoder) close() {
	d.closed.Do(func() {
		for range cap(d.idle) {
			<-d.idle
		}
		close(d.idle)
	})
}
