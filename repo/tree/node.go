package tree

import (
	"encoding/binary"
	"fmt"

	"github.com/lockfast/lockfast/repo/chunk"
)

const nodeHead = 16

// Forms of the content byte of an entry.
const (
	formNone    = 0
	formInline  = 1
	formSingle  = 2
	formExtents = 3
	formList    = 4
	formRefs    = 0x80
)

// Node is a parsed node: where its sections are. It refers to the bytes it was parsed from.
type Node struct {
	Level   int
	Count   int    // entries
	IDs     []byte // 16 bytes each: contents of a leaf, children of an inner node
	Lists   []byte // 16 bytes each: list chunks of a leaf
	entries []byte
}

// ParseNode reads the sections of a node; entries are checked when they are read. id is for errors.
func ParseNode(id chunk.ID, b []byte) (Node, error) {
	if len(b) < nodeHead || len(b) > chunk.MaxPlain {
		return Node{}, chunk.Damaged(nodeName(id), "a node of %d bytes", len(b))
	}
	le := binary.LittleEndian
	n, ids, lists := le.Uint32(b[4:]), le.Uint32(b[8:]), le.Uint32(b[12:])
	if b[0] > maxLevel || b[1]|b[2]|b[3] != 0 || n == 0 || n > maxEntries ||
		(uint64(ids)+uint64(lists))*idSize > uint64(len(b)-nodeHead) {
		return Node{}, chunk.Damaged(nodeName(id), "%d entries, %d ids and %d lists in a node of %d bytes", n, ids,
			lists, len(b))
	}
	if b[0] > 0 && (ids != n || lists != 0) {
		return Node{}, chunk.Damaged(nodeName(id), "%d children for %d entries", ids, n)
	}
	rest := b[nodeHead:]
	return Node{Level: int(b[0]), Count: int(n), IDs: rest[:ids*idSize], Lists: rest[ids*idSize:][:lists*idSize],
		entries: rest[(ids+lists)*idSize:]}, nil
}

// nodeName is how a node is called in errors.
func nodeName(id chunk.ID) string { return fmt.Sprintf("node %s", id) }

// encoder collects the entries of one node.
type encoder struct {
	level    int
	count    int
	body     []byte // encoded entries
	ids      []byte
	lists    []byte
	firstLen int    // bytes of the first key
	first    []byte // first key
	key      []byte // last key
	meta     []byte // last Meta
	entries  int64  // leaf entries below
	bytes    int64  // logical bytes below
}

func (n *encoder) reset() {
	*n = encoder{level: n.level, body: n.body[:0], ids: n.ids[:0], lists: n.lists[:0], first: n.first[:0],
		key: n.key[:0], meta: n.meta[:0]}
}

// addKey encodes a key against the previous one.
func (n *encoder) addKey(key []byte) {
	s := 0
	if n.count == 0 {
		n.first = append(n.first[:0], key...)
		n.firstLen = len(key)
	} else {
		s = common(n.key, key)
	}
	n.body = appendSuffix(n.body, s, key)
	n.key = append(n.key[:s], key[s:]...)
	n.count++
}

// add encodes an entry of a leaf.
func (n *encoder) add(e *Entry) {
	n.addKey(e.Key)
	s := common(n.meta, e.Meta)
	n.body = appendSuffix(n.body, s, e.Meta)
	n.meta = append(n.meta[:s], e.Meta[s:]...)
	n.addContent(&e.Content, len(e.Refs) > 0)
	if len(e.Refs) > 0 {
		n.body = binary.AppendUvarint(n.body, uint64(len(e.Refs)))
		for _, r := range e.Refs {
			n.body = binary.AppendUvarint(n.body, uint64(r.Length))
			n.ids = append(n.ids, r.ID[:]...)
		}
	}
	n.entries++
	n.bytes += e.Content.Size
}

func (n *encoder) addContent(c *Content, refs bool) {
	var flag byte
	if refs {
		flag = formRefs
	}
	switch {
	case !c.List.IsZero():
		n.body = binary.AppendUvarint(append(n.body, formList|flag), uint64(c.Size))
		n.lists = append(n.lists, c.List[:]...)
	case len(c.Extents) == 1 && !c.Extents[0].ID.IsZero():
		n.body = binary.AppendUvarint(append(n.body, formSingle|flag), uint64(c.Size))
		n.ids = append(n.ids, c.Extents[0].ID[:]...)
	case len(c.Extents) > 0:
		n.body = binary.AppendUvarint(append(n.body, formExtents|flag), uint64(len(c.Extents)))
		for _, x := range c.Extents {
			n.body, n.ids = appendExtent(n.body, n.ids, x)
		}
	case len(c.Inline) > 0:
		n.body = binary.AppendUvarint(append(n.body, formInline|flag), uint64(len(c.Inline)))
		n.body = append(n.body, c.Inline...)
	default:
		n.body = append(n.body, formNone|flag)
	}
}

// appendExtent encodes an extent of form 3, and of a list.
func appendExtent(body, ids []byte, x Extent) (newBody, newIDs []byte) {
	if x.ID.IsZero() {
		return binary.AppendUvarint(body, uint64(x.Length)<<1|1), ids
	}
	return binary.AppendUvarint(body, uint64(x.Length)<<1), append(ids, x.ID[:]...)
}

// child is an entry of an inner node.
type child struct {
	key     []byte
	id      chunk.ID
	entries int64
	bytes   int64
}

// addChild encodes an entry of an inner node.
func (n *encoder) addChild(c child) {
	n.addKey(c.key)
	n.body = binary.AppendUvarint(n.body, uint64(c.entries))
	n.body = binary.AppendUvarint(n.body, uint64(c.bytes))
	n.ids = append(n.ids, c.id[:]...)
	n.entries += c.entries
	n.bytes += c.bytes
}

// full reports whether the node ends here.
func (n *encoder) full(boundary Boundary) bool {
	if n.count >= maxEntries {
		return true
	}
	size := len(n.body) - n.firstLen + len(n.ids) + len(n.lists)
	if size >= targetBytes && (n.level == 0 || n.count >= 2) {
		return true
	}
	return n.count >= minFanout && boundary(n.key) < cutBelow
}

// append adds the whole node to dst.
func (n *encoder) append(dst []byte) []byte {
	dst = append(dst, byte(n.level), 0, 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(n.count))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(n.ids)/idSize))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(n.lists)/idSize))
	dst = append(dst, n.ids...)
	dst = append(dst, n.lists...)
	return append(dst, n.body...)
}

func appendSuffix(dst []byte, s int, v []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(s))
	dst = binary.AppendUvarint(dst, uint64(len(v)-s))
	return append(dst, v[s:]...)
}

// common returns the length of the longest common prefix.
func common(a, b []byte) int {
	n := min(len(a), len(b))
	i := 0
	for ; i+8 <= n && binary.LittleEndian.Uint64(a[i:]) == binary.LittleEndian.Uint64(b[i:]); i += 8 {
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}
