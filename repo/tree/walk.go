package tree

import (
	"context"

	"github.com/lockfast/lockfast/repo/chunk"
)

// Visitor is told what a map refers to. Ids are as in the nodes: the same one may come many times.
type Visitor interface {
	// Node is called for every node and list chunk before it is read; false leaves it and what is below it out, for
	// instance because it was visited before.
	Node(kind chunk.Kind, id chunk.ID) (descend bool, err error)
	// Contents is called with the ids of chunks and parts that a leaf or list refers to: 16 bytes each, valid during
	// the call.
	Contents(ids []byte) error
}

// Walk visits everything that the map with the given root needs, from the nodes and lists alone: entries are not
// decoded.
func Walk(ctx context.Context, s Store, root chunk.ID, v Visitor) error {
	if root.IsZero() {
		return nil
	}
	return walkNode(ctx, s, root, -1, v)
}

func walkNode(ctx context.Context, s Store, id chunk.ID, level int, v Visitor) error {
	if ok, err := v.Node(chunk.Node, id); !ok || err != nil {
		return err
	}
	data, err := s.Get(ctx, id)
	if err != nil {
		return err
	}
	n, err := ParseNode(id, data)
	if err != nil {
		return err
	}
	if level >= 0 && n.Level != level {
		return chunk.Damaged(nodeName(id), "level %d instead of %d", n.Level, level)
	}
	if n.Level == 0 {
		if err := v.Contents(n.IDs); err != nil {
			return err
		}
		return walkLists(ctx, s, n.Lists, -1, v)
	}
	for i := 0; i < len(n.IDs); i += idSize {
		if err := walkNode(ctx, s, chunk.ID(n.IDs[i:i+idSize]), n.Level-1, v); err != nil {
			return err
		}
	}
	return nil
}

// WalkList visits the lists below a content's list, which is visited itself, and their contents.
func WalkList(ctx context.Context, s Store, id chunk.ID, v Visitor) error {
	return walkLists(ctx, s, id[:], -1, v)
}

func walkLists(ctx context.Context, s Store, ids []byte, level int, v Visitor) error {
	for ; len(ids) >= idSize; ids = ids[idSize:] {
		id := chunk.ID(ids[:idSize])
		ok, err := v.Node(chunk.List, id)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		l, err := getList(ctx, s, id, level)
		if err != nil {
			return err
		}
		if l.level == 0 {
			err = v.Contents(l.ids)
		} else {
			err = walkLists(ctx, s, l.ids, l.level-1, v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
