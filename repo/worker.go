package repo

import (
	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/index"
	"github.com/lockfast/lockfast/repo/pack"
)

// task is a chunk to compress, seal and put into a pack.
type task struct {
	kind  chunk.Kind
	id    ID // zero for a bundle: its parts give it
	plain []byte
	parts []pack.Part
}

// work is one of the goroutines that compress and seal.
func (w *Writer) work() {
	compressor := pack.NewCompressor(w.level())
	var buf []byte
	for t := range w.tasks {
		if w.ctx.Err() == nil {
			var err error
			if buf, err = w.storeChunk(compressor, t, buf); err != nil {
				w.fail(err)
			}
		}
		w.buffers.put(t.plain)
		w.pending.Done()
	}
}

// submit hands a chunk to the workers. The plain bytes come from w.buffers and belong to the worker from now on.
func (w *Writer) submit(t task) error {
	w.pending.Add(1)
	select {
	case w.tasks <- t:
		return nil
	case <-w.ctx.Done():
		w.pending.Done()
		return w.err()
	}
}

// storeChunk compresses into buf, which it returns, perhaps grown.
func (w *Writer) storeChunk(c *pack.Compressor, t task, buf []byte) ([]byte, error) {
	stored, codec := c.Compress(buf, t.plain)
	if codec != chunk.Raw {
		buf = stored
	}
	slot := pack.Slot{ID: t.id, Kind: t.kind, Codec: codec, Plain: uint32(len(t.plain)), Parts: t.parts}
	to := w.contents()
	switch t.kind {
	case chunk.Bundle:
		slot.ID = pack.BundleID(w.v.keys(), t.parts)
	case chunk.Node, chunk.List:
		to = w.meta
	}
	loc, err := to.add(w.ctx, slot, stored)
	if err != nil {
		return buf, err
	}
	if t.kind != chunk.Bundle {
		w.table.Store(t.id, loc)
		return buf, nil
	}
	w.storeParts(loc, t.parts)
	return buf, nil
}

// storeParts notes where the parts of a bundle are.
func (w *Writer) storeParts(loc index.Location, parts []pack.Part) {
	loc.Part = true
	for _, p := range parts {
		loc.PartLength = p.Length
		w.table.Store(p.ID, loc)
		loc.PartOffset += p.Length
	}
}

// buffers keeps a few byte slices of one capacity for reuse. It never blocks: what it has not got is made.
type buffers struct {
	size int
	free chan []byte
}

func newBuffers(size, keep int) *buffers { return &buffers{size: size, free: make(chan []byte, keep)} }

// get returns an empty slice with room for n bytes.
func (b *buffers) get(n int) []byte {
	if n > b.size {
		return make([]byte, 0, n)
	}
	select {
	case s := <-b.free:
		return s[:0]
	default:
		return make([]byte, 0, b.size)
	}
}

func (b *buffers) put(s []byte) {
	if cap(s) != b.size {
		return
	}
	select {
	case b.free <- s:
	default:
	}
}
