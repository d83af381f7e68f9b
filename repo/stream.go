package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/tree"
)

// Source is a content that may be read at any offset, several times. Its bytes should not change meanwhile; a source that
// ends before Size makes Stream return io.ErrUnexpectedEOF.
type Source interface {
	io.ReaderAt
	Size() int64
	// NextData returns the next run of bytes at or after off that is not a hole, as SEEK_DATA and SEEK_HOLE do:
	// off <= start <= end <= Size, and start = end = Size when only a hole is left. A source that does not know
	// answers (off, Size).
	NextData(off int64) (start, end int64, err error)
}

// Stream stores a content of any size. guide is the content that the same item had in the parent, or nothing: where the
// bytes are the same, boundaries need not be searched. Holes and zeros take no space. It may be called concurrently; each
// call uses a buffer of twice the largest chunk.
func (w *Writer) Stream(ctx context.Context, src Source, guide Content) (Content, error) {
	if err := w.usable(ctx); err != nil {
		return Content{}, err
	}
	size := src.Size()
	if size <= chunk.MaxPart {
		return w.streamSmall(ctx, src, size)
	}
	if guide.Size <= chunk.MaxPart {
		guide = Content{} // a part is no chunk
	}
	s := &stream{w: w, ctx: ctx, src: src, out: tree.NewContentWriter(listStore{w: w}), max: w.v.format.Chunk.Max}
	s.buf = w.streams.get(2 * s.max)[:2*s.max]
	defer w.streams.put(s.buf)
	next, stop := iter.Pull2(w.guideExtents(ctx, guide))
	defer stop()
	s.guide = guideReader{read: next}
	s.guide.next()
	s.guide.next()
	for off := int64(0); off < size; {
		start, end, err := src.NextData(off)
		if err != nil {
			return Content{}, fmt.Errorf("find data: %w", err)
		}
		if start < off || end < start || end > size || start == end && end < size {
			return Content{}, fmt.Errorf("find data: source answers %d to %d from %d of %d", start, end, off, size)
		}
		if start > off {
			if err := s.out.Add(ctx, Extent{Length: start - off}); err != nil {
				return Content{}, err
			}
		}
		if err := s.run(start, end); err != nil {
			return Content{}, err
		}
		off = end
	}
	return s.out.Finish(ctx)
}

func (w *Writer) streamSmall(ctx context.Context, src Source, size int64) (Content, error) {
	buf := make([]byte, size)
	if n, err := src.ReadAt(buf, 0); int64(n) < size {
		return Content{}, shortSource(err)
	}
	return w.Small(ctx, buf)
}

func shortSource(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// guideExtents yields the extents of the guide; damage to it only costs the guidance.
func (w *Writer) guideExtents(ctx context.Context, guide Content) iter.Seq2[tree.At, error] {
	if guide.Size == 0 {
		return func(func(tree.At, error) bool) {}
	}
	return tree.Extents(ctx, listStore{w: w}, guide, 0)
}

// stream is one call of Stream.
type stream struct {
	w     *Writer
	ctx   context.Context
	src   Source
	out   *tree.ContentWriter
	guide guideReader
	buf   []byte
	max   int
}

// guideReader walks the parent's extents beside the content.
type guideReader struct {
	read   func() (tree.At, error, bool)
	at     tree.At // under the reader
	ok     bool
	ahead  tree.At // the one behind it
	aheads bool
}

// next moves on by one extent.
func (g *guideReader) next() {
	g.at, g.ok = g.ahead, g.aheads
	at, err, more := g.read()
	g.ahead, g.aheads = at, more && err == nil
}

// advance moves to the first extent at or behind off.
func (g *guideReader) advance(off int64) {
	for g.ok && g.at.Offset < off {
		g.next()
	}
}

// last reports whether the extent may have ended where data ended, not where a scan would have ended it.
func (g *guideReader) last() bool { return !g.aheads || g.ahead.ID.IsZero() }

// run stores the bytes from start to end, which begin a chunk.
func (s *stream) run(start, end int64) error {
	have, pos := 0, 0 // s.buf[pos:have] are the bytes from start on
	for start < end {
		if have-pos < s.max && start+int64(have-pos) < end {
			copy(s.buf, s.buf[pos:have])
			have, pos = have-pos, 0
			n := min(int64(len(s.buf)-have), end-start-int64(have))
			got, err := s.src.ReadAt(s.buf[have:have+int(n)], start+int64(have))
			if int64(got) < n {
				return shortSource(err)
			}
			have += got
			s.w.stats.read.Add(n)
		}
		eof := start+int64(have-pos) == end
		n, err := s.chunk(s.buf[pos:have], start, eof)
		if err != nil {
			return err
		}
		pos += n
		start += int64(n)
	}
	return nil
}

// chunk stores the chunk at the beginning of data, which stands at off, and returns its length.
func (s *stream) chunk(data []byte, off int64, eof bool) (int, error) {
	if err := s.w.usable(s.ctx); err != nil {
		return 0, err
	}
	n, id := s.guided(data, off, eof)
	if n == 0 {
		n = s.w.v.chunker.Next(data, eof)
		if n == 0 {
			panic("repo: no chunk in a full buffer")
		}
		if isZero(data[:n]) {
			return n, s.out.Add(s.ctx, Extent{Length: int64(n)})
		}
		id = s.w.v.keys().ID(chunk.Data, data[:n])
	}
	if err := s.w.storeData(id, data[:n]); err != nil {
		return 0, err
	}
	return n, s.out.Add(s.ctx, Extent{ID: id, Length: int64(n)})
}

// guided returns the parent's chunk at off if the content has the same one there: its end then is what a scan would
// find, except that a chunk at the end of its data is only good at an end.
func (s *stream) guided(data []byte, off int64, eof bool) (int, ID) {
	g := &s.guide
	g.advance(off)
	if !g.ok || g.at.Offset != off || g.at.ID.IsZero() || g.at.Length > int64(len(data)) {
		return 0, ID{}
	}
	if g.last() && !(eof && g.at.Length == int64(len(data))) {
		return 0, ID{}
	}
	if s.w.v.keys().ID(chunk.Data, data[:g.at.Length]) != g.at.ID {
		return 0, ID{}
	}
	return int(g.at.Length), g.at.ID
}

// storeData stores a chunk of data unless the vault has it.
func (w *Writer) storeData(id ID, plain []byte) error {
	if w.has(id, int64(len(plain))) {
		return nil
	}
	w.stats.fresh.Add(int64(len(plain)))
	buf := append(w.buffers.get(len(plain)), plain...)
	return w.submit(task{kind: chunk.Data, id: id, plain: buf})
}

// isZero reports whether b is all zeros.
func isZero(b []byte) bool {
	const step = 4096
	for len(b) >= step {
		if b[0] != 0 || !bytes.Equal(b[:step], zeros[:]) {
			return false
		}
		b = b[step:]
	}
	return bytes.Equal(b, zeros[:len(b)])
}

var zeros [4096]byte
