package repo

import (
	"context"
	"fmt"
	"sync"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/pack"
)

// bundleTarget is about how many plain bytes a bundle holds.
const bundleTarget = 1 << 20

// bundler collects small contents into bundles, in the order in which they come.
type bundler struct {
	mu     sync.Mutex
	target int
	plain  []byte
	parts  []pack.Part
}

// Small stores a content of up to 128 KiB, which it copies: up to 512 bytes stand in the content itself, more become part
// of a bundle unless the vault has the same bytes already. It may be called concurrently.
func (w *Writer) Small(ctx context.Context, data []byte) (Content, error) {
	if err := w.usable(ctx); err != nil {
		return Content{}, err
	}
	w.stats.read.Add(int64(len(data)))
	if len(data) == 0 {
		return Content{}, nil
	}
	if len(data) <= chunk.MaxInline {
		w.stats.fresh.Add(int64(len(data)))
		return Content{Size: int64(len(data)), Inline: append([]byte(nil), data...)}, nil
	}
	if len(data) > chunk.MaxPart {
		return Content{}, fmt.Errorf("store small content: %d bytes are more than %d", len(data), chunk.MaxPart)
	}
	x, err := w.part(data)
	return Content{Size: x.Length, Extents: []Extent{x}}, err
}

// part stores a small content as part of a bundle.
func (w *Writer) part(data []byte) (Extent, error) {
	id := w.v.keys().ID(chunk.Part, data)
	x := Extent{ID: id, Length: int64(len(data))}
	if w.has(id, x.Length) {
		return x, nil
	}
	return x, w.storePart(id, data)
}

// storePart copies a small content that this writer has claimed into the open bundle.
func (w *Writer) storePart(id ID, data []byte) error {
	w.stats.fresh.Add(int64(len(data)))
	b := &w.bundle
	b.mu.Lock()
	var full task
	if len(b.plain) > 0 && len(b.plain)+len(data) > b.target {
		full = b.take()
	}
	if b.plain == nil {
		b.plain = w.buffers.get(b.target)
	}
	b.plain = append(b.plain, data...)
	b.parts = append(b.parts, pack.Part{ID: id, Length: uint32(len(data))})
	b.mu.Unlock()
	if full.plain == nil {
		return nil
	}
	return w.submit(full)
}

// take returns the open bundle and begins a new one. The caller holds mu.
func (b *bundler) take() task {
	t := task{kind: chunk.Bundle, plain: b.plain, parts: b.parts}
	b.plain, b.parts = nil, nil
	return t
}

// flush stores what is in the open bundle.
func (w *Writer) flush() error {
	w.bundle.mu.Lock()
	t := w.bundle.take()
	w.bundle.mu.Unlock()
	if t.plain == nil {
		return nil
	}
	return w.submit(t)
}
