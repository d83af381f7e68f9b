package tree

import (
	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/field"
)

// decoder reads the entries of one node, one after the other. It keeps its buffers from node to node.
type decoder struct {
	id    chunk.ID // of the node
	node  Node
	rest  []byte // entries not read yet
	ids   []byte // ids not used yet
	lists []byte
	index int // entries read
	entry Entry
	child child
	key   []byte
	meta  []byte
	ext   []Extent
	refs  []Extent
	err   error
}

// open starts at the first entry of a node.
func (d *decoder) open(id chunk.ID, n Node) {
	d.id, d.node, d.rest, d.ids, d.lists, d.index, d.err = id, n, n.entries, n.IDs, n.Lists, 0, nil
	d.key, d.meta = d.key[:0], d.meta[:0]
}

// damaged notes that the node is not well-formed.
func (d *decoder) damaged(what string) bool {
	if d.err == nil {
		d.err = chunk.Damaged(nodeName(d.id), "entry %d: %s", d.index, what)
	}
	return false
}

// next reads an entry of a leaf, or a child; false at the end or on damage.
func (d *decoder) next() bool {
	if d.err != nil {
		return false
	}
	if d.index == d.node.Count {
		if len(d.rest)|len(d.ids)|len(d.lists) != 0 {
			return d.damaged("bytes or ids are left over")
		}
		return false
	}
	if !d.nextKey() {
		return false
	}
	ok := false
	if d.node.Level == 0 {
		ok = d.nextEntry()
	} else {
		ok = d.nextChild()
	}
	d.index++
	return ok
}

// nextKey reads the key, and checks that it is above the previous one and coded against it as far as possible.
func (d *decoder) nextKey() bool {
	s, suffix, ok := d.suffix(len(d.key), MaxKey)
	if !ok {
		return d.damaged("key")
	}
	if d.index > 0 {
		switch {
		case len(suffix) == 0:
			return d.damaged("key is not above the previous one")
		case s < len(d.key) && suffix[0] <= d.key[s]:
			return d.damaged("key is not above the previous one")
		}
	}
	d.key = append(d.key[:s], suffix...)
	return true
}

// suffix reads a prefix length of at most have and a suffix; both together are at most limit.
func (d *decoder) suffix(have, limit int) (int, []byte, bool) {
	s, rest, ok := field.Uvarint(d.rest)
	if !ok || s > uint64(have) {
		return 0, nil, false
	}
	v, rest, ok := field.Bytes(rest)
	if !ok || int(s)+len(v) > limit {
		return 0, nil, false
	}
	d.rest = rest
	return int(s), v, true
}

func (d *decoder) nextEntry() bool {
	s, suffix, ok := d.suffix(len(d.meta), MaxMeta)
	if !ok {
		return d.damaged("meta")
	}
	d.meta = append(d.meta[:s], suffix...)
	d.entry.Key, d.entry.Meta, d.entry.Content, d.entry.Refs = d.key, d.meta, Content{}, nil
	if len(d.rest) == 0 {
		return d.damaged("content")
	}
	form := d.rest[0]
	d.rest = d.rest[1:]
	if !d.content(form &^ formRefs) {
		return d.damaged("content")
	}
	if form&formRefs != 0 && !d.nextRefs() {
		return d.damaged("references")
	}
	return true
}

func (d *decoder) content(form byte) bool {
	c := &d.entry.Content
	if form == formNone {
		return true
	}
	v, rest, ok := field.Uvarint(d.rest)
	if !ok || v == 0 || v > MaxSize {
		return false
	}
	d.rest = rest
	switch form {
	case formInline:
		if v > chunk.MaxInline || v > uint64(len(rest)) {
			return false
		}
		c.Size, c.Inline, d.rest = int64(v), rest[:v:v], rest[v:]
		return true
	case formSingle:
		c.Size = int64(v)
		id, ok := d.takeID()
		d.ext = append(d.ext[:0], Extent{ID: id, Length: int64(v)})
		c.Extents = d.ext
		return ok && v <= chunk.MaxPlain
	case formExtents:
		return v <= MaxExtents && d.extents(int(v))
	case formList:
		c.Size = int64(v)
		if len(d.lists) < idSize {
			return false
		}
		copy(c.List[:], d.lists)
		d.lists = d.lists[idSize:]
		return !c.List.IsZero()
	}
	return false
}

func (d *decoder) extents(n int) bool {
	c := &d.entry.Content
	d.ext = d.ext[:0]
	for range n {
		v, rest, ok := field.Uvarint(d.rest)
		if !ok || v>>1 == 0 || v>>1 > MaxSize {
			return false
		}
		d.rest = rest
		x := Extent{Length: int64(v >> 1)}
		if v&1 == 0 {
			if x.ID, ok = d.takeID(); !ok || x.Length > chunk.MaxPlain {
				return false
			}
		}
		if c.Size += x.Length; c.Size > MaxSize {
			return false
		}
		d.ext = append(d.ext, x)
	}
	c.Extents = d.ext
	return n > 1 || c.Extents[0].ID.IsZero()
}

func (d *decoder) nextRefs() bool {
	n, rest, ok := field.Uvarint(d.rest)
	if !ok || n == 0 || n > MaxRefs {
		return false
	}
	d.rest = rest
	d.refs = d.refs[:0]
	for range n {
		v, rest, ok := field.Uvarint(d.rest)
		if !ok || v == 0 || v > chunk.MaxPlain {
			return false
		}
		d.rest = rest
		id, ok := d.takeID()
		if !ok {
			return false
		}
		d.refs = append(d.refs, Extent{ID: id, Length: int64(v)})
	}
	d.entry.Refs = d.refs
	return true
}

func (d *decoder) nextChild() bool {
	n, rest, ok := field.Uvarint(d.rest)
	if !ok || n == 0 || n > MaxSize {
		return d.damaged("count")
	}
	size, rest, ok := field.Uvarint(rest)
	if !ok || size > MaxSize {
		return d.damaged("logical bytes")
	}
	d.rest = rest
	id, ok := d.takeID()
	if !ok {
		return d.damaged("child")
	}
	d.child = child{key: d.key, id: id, entries: int64(n), bytes: int64(size)}
	return true
}

// takeID takes the next id, which must not be the reserved one.
func (d *decoder) takeID() (id chunk.ID, ok bool) {
	if len(d.ids) < idSize {
		return id, false
	}
	copy(id[:], d.ids)
	d.ids = d.ids[idSize:]
	return id, !id.IsZero()
}
