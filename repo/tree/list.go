package tree

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/field"
)

// Rules of docs/format.md section 11.3.
const (
	listHead     = 8
	maxListLevel = 8
	minListItems = 256
	maxListItems = 4096
	listMask     = 0x3ff
)

// ContentWriter collects the extents of one content. Up to [MaxExtents] they become part of the entry, more go to
// list chunks. It is for one goroutine.
type ContentWriter struct {
	store  Store
	size   int64
	hole   int64 // length of a hole at the end that is not encoded yet
	head   []Extent
	levels []*listLevel // nil as long as head has room
	buf    []byte
}

// listLevel is an open list chunk.
type listLevel struct {
	items int
	body  []byte
	ids   []byte
	size  int64
}

// NewContentWriter returns a writer of an empty content.
func NewContentWriter(s Store) *ContentWriter { return &ContentWriter{store: s} }

// Add appends an extent. Holes that follow each other become one.
func (w *ContentWriter) Add(ctx context.Context, x Extent) error {
	if x.Length <= 0 || x.Length > MaxSize-w.size || !x.ID.IsZero() && x.Length > chunk.MaxPlain {
		return fmt.Errorf("content has an extent of %d bytes", x.Length)
	}
	w.size += x.Length
	if x.ID.IsZero() {
		w.hole += x.Length
		return nil
	}
	if err := w.addHole(ctx); err != nil {
		return err
	}
	return w.add(ctx, x)
}

// addHole encodes the hole at the end.
func (w *ContentWriter) addHole(ctx context.Context) error {
	n := w.hole
	w.hole = 0
	if n == 0 {
		return nil
	}
	return w.add(ctx, Extent{Length: n})
}

func (w *ContentWriter) add(ctx context.Context, x Extent) error {
	if w.levels == nil {
		if w.head = append(w.head, x); len(w.head) <= MaxExtents {
			return nil
		}
		w.levels = []*listLevel{{}}
		head := w.head
		w.head = nil
		for _, x := range head {
			if err := w.addItem(ctx, 0, x); err != nil {
				return err
			}
		}
		return nil
	}
	return w.addItem(ctx, 0, x)
}

// Finish writes what is left and returns the content.
func (w *ContentWriter) Finish(ctx context.Context) (Content, error) {
	if err := w.addHole(ctx); err != nil {
		return Content{}, err
	}
	c := Content{Size: w.size, Extents: w.head}
	for level := 0; level < len(w.levels); level++ {
		l := w.levels[level]
		if level > 0 && level == len(w.levels)-1 && l.items == 1 {
			copy(c.List[:], l.ids)
			return c, nil
		}
		if l.items > 0 {
			if err := w.flush(ctx, level); err != nil {
				return Content{}, err
			}
		}
	}
	return c, nil
}

// addItem adds an extent, or on upper levels a child with its logical length.
func (w *ContentWriter) addItem(ctx context.Context, level int, x Extent) error {
	if level > maxListLevel {
		return fmt.Errorf("content of %d bytes has too many extents", w.size)
	}
	if level == len(w.levels) {
		w.levels = append(w.levels, &listLevel{})
	}
	l := w.levels[level]
	if level == 0 {
		l.body, l.ids = appendExtent(l.body, l.ids, x)
	} else {
		l.body, l.ids = binary.AppendUvarint(l.body, uint64(x.Length)), append(l.ids, x.ID[:]...)
	}
	l.items++
	l.size += x.Length
	cut := !x.ID.IsZero() && binary.LittleEndian.Uint16(x.ID[:])&listMask == 0
	if l.items == maxListItems || l.items >= minListItems && cut {
		return w.flush(ctx, level)
	}
	return nil
}

// flush writes the open chunk of a level.
func (w *ContentWriter) flush(ctx context.Context, level int) error {
	l := w.levels[level]
	b := append(w.buf[:0], byte(level), 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(l.items))
	b = append(append(b, l.body...), l.ids...)
	w.buf = b
	id, err := w.store.Put(ctx, chunk.List, b)
	if err != nil {
		return err
	}
	size := l.size
	*l = listLevel{body: l.body[:0], ids: l.ids[:0]}
	return w.addItem(ctx, level+1, Extent{ID: id, Length: size})
}

// list is a parsed list chunk.
type list struct {
	level int
	items int
	body  []byte // lengths
	ids   []byte
}

// getList reads and parses a list chunk; level is what it has to be, or -1.
func getList(ctx context.Context, s Store, id chunk.ID, level int) (list, error) {
	data, err := s.Get(ctx, id)
	if err != nil {
		return list{}, err
	}
	object := fmt.Sprintf("list %s", id)
	l, err := parseList(object, data)
	if err == nil && level >= 0 && l.level != level {
		err = chunk.Damaged(object, "level %d instead of %d", l.level, level)
	}
	return l, err
}

// parseList checks a list chunk completely.
func parseList(object string, b []byte) (list, error) {
	if len(b) < listHead || b[0] > maxListLevel || b[1]|b[2]|b[3] != 0 {
		return list{}, chunk.Damaged(object, "not a list")
	}
	n := binary.LittleEndian.Uint32(b[4:])
	if n == 0 || n > maxListItems {
		return list{}, chunk.Damaged(object, "%d items", n)
	}
	l := list{level: int(b[0]), items: int(n), body: b[listHead:]}
	rest, ids := l.body, 0
	for range n {
		v, r, ok := field.Uvarint(rest)
		x, hole := l.length(v)
		if !ok || x <= 0 || x > MaxSize || l.level == 0 && !hole && x > chunk.MaxPlain {
			return list{}, chunk.Damaged(object, "a length is wrong")
		}
		if !hole {
			ids++
		}
		rest = r
	}
	if len(rest) != ids*idSize {
		return list{}, chunk.Damaged(object, "%d bytes for %d ids", len(rest), ids)
	}
	l.ids = rest
	return l, nil
}

// length splits a number of the body.
func (l *list) length(v uint64) (length int64, hole bool) {
	if l.level > 0 {
		return int64(v), false
	}
	return int64(v >> 1), v&1 == 1
}

// Extents yields the extents of a content that end behind offset from, with the offset at which each begins. List
// chunks that end before it are not read.
func Extents(ctx context.Context, s Store, c Content, from int64) iter.Seq2[At, error] {
	return func(yield func(At, error) bool) {
		if !c.List.IsZero() {
			r := listReader{ctx: ctx, store: s, from: from, yield: yield}
			if end, ok := r.read(c.List, -1, 0); ok && end != c.Size {
				yield(At{}, chunk.Damaged(fmt.Sprintf("list %s", c.List), "%d bytes instead of %d", end, c.Size))
			}
			return
		}
		off := int64(0)
		for _, x := range c.Extents {
			if off+x.Length > from && !yield(At{Offset: off, Extent: x}, nil) {
				return
			}
			off += x.Length
		}
	}
}

// At is an extent and where it begins in its content.
type At struct {
	Offset int64
	Extent
}

// listReader reads the extents below a list.
type listReader struct {
	ctx   context.Context
	store Store
	from  int64
	yield func(At, error) bool
}

// read yields the extents of a list that begins at offset off, and returns where it ends; false when the iteration is
// over.
func (r *listReader) read(id chunk.ID, level int, off int64) (int64, bool) {
	l, err := getList(r.ctx, r.store, id, level)
	if err != nil {
		r.yield(At{}, err)
		return 0, false
	}
	body, ids := l.body, l.ids
	for range l.items {
		v, rest, _ := field.Uvarint(body)
		body = rest
		n, hole := l.length(v)
		x := At{Offset: off, Extent: Extent{Length: n}}
		if !hole {
			copy(x.ID[:], ids)
			ids = ids[idSize:]
		}
		if n > MaxSize-off {
			r.yield(At{}, chunk.Damaged(fmt.Sprintf("list %s", id), "more than %d bytes", int64(MaxSize)))
			return 0, false
		}
		off += n
		if off <= r.from {
			continue
		}
		if l.level == 0 {
			if !r.yield(x, nil) {
				return 0, false
			}
			continue
		}
		end, ok := r.read(x.ID, l.level-1, x.Offset)
		if !ok {
			return 0, false
		}
		if end != off {
			r.yield(At{}, chunk.Damaged(fmt.Sprintf("list %s", x.ID), "%d bytes instead of %d", end-x.Offset, n))
			return 0, false
		}
	}
	return off, true
}
