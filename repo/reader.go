package repo

import (
	"context"
	"fmt"
	"io"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/tree"
)

// Reader reads a content at any offset. It keeps ctx; several goroutines may use ReadAt.
func (p *Point) Reader(ctx context.Context, c Content) *io.SectionReader {
	return io.NewSectionReader(&contentReader{ctx: ctx, v: p.v, c: c}, 0, c.Size)
}

// contentReader reads a content through the vault's cache.
type contentReader struct {
	ctx context.Context
	v   *Vault
	c   Content
}

// ReadAt implements [io.ReaderAt].
func (r *contentReader) ReadAt(b []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read content: negative offset %d", off)
	}
	if off >= r.c.Size {
		return 0, io.EOF
	}
	want := b[:min(int64(len(b)), r.c.Size-off)]
	n, err := r.fill(want, off)
	if err == nil && n < len(b) {
		err = io.EOF
	}
	return n, err
}

// fill reads all of b, which lies inside the content.
func (r *contentReader) fill(b []byte, off int64) (int, error) {
	if r.c.Inline != nil {
		return copy(b, r.c.Inline[off:]), nil
	}
	n := 0
	for x, err := range tree.Extents(r.ctx, pointStore{r.v}, r.c, off) {
		if err != nil {
			return n, err
		}
		if n == len(b) {
			break
		}
		plain, err := r.extent(x.Extent)
		if err != nil {
			return n, err
		}
		skip := off + int64(n) - x.Offset
		rest := min(x.Length-skip, int64(len(b)-n))
		if plain == nil {
			clear(b[n : n+int(rest)])
		} else {
			copy(b[n:n+int(rest)], plain[skip:])
		}
		n += int(rest)
	}
	if n < len(b) {
		return n, chunk.Damaged("content", "its extents end after %d bytes", off+int64(n))
	}
	return n, nil
}

// extent returns the bytes of an extent, nil for a hole.
func (r *contentReader) extent(x Extent) ([]byte, error) {
	if x.ID.IsZero() {
		return nil, nil
	}
	plain, err := r.v.chunk(r.ctx, x.ID)
	if err != nil {
		return nil, err
	}
	if int64(len(plain)) != x.Length {
		return nil, chunk.Damaged(fmt.Sprintf("chunk %s", x.ID), "%d bytes instead of %d", len(plain), x.Length)
	}
	return plain, nil
}
