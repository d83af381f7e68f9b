package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/seal"
	"github.com/lockfast/lockfast/repo/tree"
)

// Point is an open recovery point. All methods may be called concurrently.
type Point struct {
	v  *Vault
	id PointID
	m  manifest
	s  *session // nil when a writer's session pins the point, or without a ledger

}

// OpenPoint opens a recovery point for reading: what it holds stays until Close, even if it is deleted meanwhile. The
// error wraps [ErrNotFound] when there is no such point.
func (v *Vault) OpenPoint(ctx context.Context, id PointID) (*Point, error) {
	if err := id.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if v.ledger == nil {
		return v.readPoint(ctx, id)
	}
	s, err := v.openSession(ctx, SessionOptions{Kind: SessionReader, Pin: id})
	if err != nil {
		return nil, fmt.Errorf("open recovery point: %w", err)
	}
	if err := s.start(ctx); err != nil {
		return nil, fmt.Errorf("open recovery point: %w", err)
	}
	p, err := v.readPoint(ctx, id)
	if err != nil {
		return nil, errors.Join(err, s.close(ctx))
	}
	p.s = s
	return p, nil
}

// readPoint reads the manifest of a point that something else pins.
func (v *Vault) readPoint(ctx context.Context, id PointID) (*Point, error) {
	m, err := v.readManifest(ctx, id)
	if errors.Is(err, blob.ErrNotExist) && v.deleted(ctx, id) {
		err = fmt.Errorf("recovery point %s: %w", id, ErrNotFound)
	} else if err != nil {
		err = fmt.Errorf("recovery point %s: %w", id, missingIsDamage(err))
	}
	if err != nil {
		return nil, err
	}
	return &Point{v: v, id: id, m: m}, nil
}

// deleted reports whether a manifest is absent because its point is being deleted, perhaps since it was opened.
func (v *Vault) deleted(ctx context.Context, id PointID) bool {
	if v.ledger == nil {
		return true
	}
	snapshot, err := v.ledger.Snapshot(ctx)
	if err != nil {
		return false
	}
	i := slices.IndexFunc(snapshot.Points, func(p PointState) bool { return p.ID == id })
	return i < 0 || snapshot.Points[i].Deleting
}

func (v *Vault) readManifest(ctx context.Context, id PointID) (manifest, error) {
	name := manifestName(id)
	plain, err := v.getSealed(ctx, seal.TypeManifest, name, maxSmallObject)
	if err != nil && (errors.Is(err, blob.ErrNotExist) || errors.Is(err, ErrDamaged)) {
		name, plain, err = v.repairedManifest(ctx, id, err)
	}
	if err != nil {
		return manifest{}, err
	}
	if v.observed.has(name) {
		v.observed.note(name, nil, id)
	}
	return decodeManifest(id, v.UUID(), plain)
}

// repairedManifest reads the highest later generation of a manifest that can be read; if there is none, the error is
// that of the first one.
func (v *Vault) repairedManifest(ctx context.Context, id PointID, first error) (blob.Name, []byte, error) {
	generations, err := v.generations(ctx, "r/", id)
	if err != nil {
		return "", nil, err
	}
	for _, n := range slices.Backward(generations[id]) {
		if n == 1 {
			break
		}
		name := generationName("r/", id, n)
		plain, err := v.getSealed(ctx, seal.TypeManifest, name, maxSmallObject)
		if err == nil {
			return name, plain, nil
		}
		if !errors.Is(err, ErrDamaged) {
			return name, nil, err
		}
		if errors.Is(first, blob.ErrNotExist) {
			first = err
		}
	}
	return "", nil, first
}

// PointIDs lists the recovery points, ascending. Without a ledger they are those whose manifest is there and whose packs
// all exist, or cannot be told because refset and tree are damaged. A manifest that is there may be damaged.
func (v *Vault) PointIDs(ctx context.Context) ([]PointID, error) {
	if v.ledger == nil {
		ids, _, err := v.listPoints(ctx)
		return ids, err
	}
	snapshot, err := v.ledger.Snapshot(ctx)
	if err != nil {
		return nil, fmt.Errorf("list recovery points: %w", err)
	}
	var out []PointID
	for _, p := range snapshot.Points {
		if !p.Deleting {
			out = append(out, p.ID)
		}
	}
	return out, nil
}

// IncompletePoints returns the recovery points that PointIDs leaves out of a vault without a ledger, because not all packs of
// them are there.
func (v *Vault) IncompletePoints(ctx context.Context) ([]PointID, error) {
	if v.ledger != nil {
		return nil, nil
	}
	_, incomplete, err := v.listPoints(ctx)
	return incomplete, err
}

// listPoints lists the manifests, and apart from them those of which something is missing.
func (v *Vault) listPoints(ctx context.Context) (whole, incomplete []PointID, err error) {
	if err := v.catalog.refresh(ctx); err != nil {
		return nil, nil, err
	}
	manifests, err := v.manifests(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, id := range manifests {
		switch _, err := v.refset(ctx, id); {
		case errors.Is(err, errAbsent):
			v.log.Warn("manifest is left out, its packs are not all there", "object", manifestName(id), "error", err)
			incomplete = append(incomplete, id)
		case isDamage(err):
			v.around(refsetName(id, 1), missingIsDamage(err), id)
			whole = append(whole, id)
		case err != nil:
			return nil, nil, err
		default:
			whole = append(whole, id)
		}
	}
	whole, err = v.withoutMoved(ctx, whole)
	return whole, incomplete, err
}

// withoutMoved leaves out what another point has taken the place of, in cold storage.
func (v *Vault) withoutMoved(ctx context.Context, ids []PointID) ([]PointID, error) {
	if v.format.Incompatible&seal.FeatureCold == 0 {
		return ids, nil
	}
	moved := map[PointID]bool{}
	for _, id := range ids {
		m, err := v.readManifest(ctx, id)
		if err != nil && !isDamage(err) {
			return nil, fmt.Errorf("list recovery points: %w", err)
		}
		moved[m.warm] = true
	}
	return slices.DeleteFunc(ids, func(id PointID) bool { return moved[id] }), nil
}

// manifests lists the points of which a manifest is there, ascending.
func (v *Vault) manifests(ctx context.Context) ([]PointID, error) {
	generations, err := v.generations(ctx, "r/", "")
	if err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(generations)), nil
}

// ID returns the point's id.
func (p *Point) ID() PointID { return p.id }

// Facts returns what the manifest says. The map and slices are shared.
func (p *Point) Facts() Facts { return p.m.facts }

// Stats returns the counts of the manifest.
func (p *Point) Stats() PointStats { return p.m.stats }

// Parent returns the point that this one was made against, which may be gone; empty = none.
func (p *Point) Parent() PointID { return p.m.parent }

// Close ends the reader's session. The point of a writer's parent needs no Close.
func (p *Point) Close() error {
	if p.s == nil {
		return nil
	}
	return p.s.close(context.Background())
}

// Get returns a node or list; Put is not used by readers.
type pointStore struct{ v *Vault }

func (s pointStore) Get(ctx context.Context, id ID) ([]byte, error) { return s.v.chunk(ctx, id) }

func (s pointStore) Put(context.Context, chunk.Kind, []byte) (ID, error) {
	return ID{}, fmt.Errorf("store chunk: %w", ErrReadOnly)
}

// Cursor moves over the entries of a point in key order. It is for one goroutine and does not allocate per entry.
type Cursor struct {
	p *Point
	c *tree.Cursor
}

// Cursor returns a cursor before the first entry. It keeps ctx.
func (p *Point) Cursor(ctx context.Context) *Cursor {
	return &Cursor{p: p, c: tree.NewCursor(ctx, pointStore{p.v}, p.m.root, tree.CursorOptions{})}
}

// NodeError is damage to a part of a tree, and says which entries are lost with it.
type NodeError = tree.NodeError

// IntactCursor is [Point.Cursor] for what is left of a damaged point: damaged is told of every part that cannot be read,
// and whether the cursor is to go on behind it is what it returns.
func (p *Point) IntactCursor(ctx context.Context, damaged func(*NodeError) bool) *Cursor {
	return &Cursor{p: p, c: tree.NewCursor(ctx, pointStore{p.v}, p.m.root, tree.CursorOptions{Damaged: damaged})}
}

// Next moves to the next entry, the first one at the beginning, and reports whether there is one.
func (c *Cursor) Next() bool { return c.c.Next() }

// Seek moves to the first entry with a key of at least key, forwards or backwards, and reports whether there is one.
func (c *Cursor) Seek(key []byte) bool { return c.c.Seek(key) }

// Entry returns the entry under the cursor, valid until it moves.
func (c *Cursor) Entry() Entry { return c.c.Entry() }

// Err returns what stopped the cursor, nil at the end.
func (c *Cursor) Err() error { return c.c.Err() }

// Entries yields the entries from key from on. Each is valid until the next step.
func (p *Point) Entries(ctx context.Context, from []byte) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		c := p.Cursor(ctx)
		for ok := c.Seek(from); ok; ok = c.Next() {
			if !yield(c.Entry(), nil) {
				return
			}
		}
		if err := c.Err(); err != nil {
			yield(Entry{}, err)
		}
	}
}

// Lookup returns the entry with that key; the error wraps [ErrNotFound] when there is none.
func (p *Point) Lookup(ctx context.Context, key []byte) (Entry, error) {
	c := p.Cursor(ctx)
	if c.Seek(key) && bytes.Equal(c.Entry().Key, key) {
		return c.Entry(), nil
	}
	if err := c.Err(); err != nil {
		return Entry{}, err
	}
	return Entry{}, fmt.Errorf("entry %.80q: %w", key, ErrNotFound)
}

// Diff yields the changes from older to p in key order; parts of the trees that are equal are not read.
func (p *Point) Diff(ctx context.Context, older *Point) iter.Seq2[Change, error] {
	return tree.Diff(ctx, pointStore{p.v}, older.m.root, p.m.root, tree.CursorOptions{})
}
