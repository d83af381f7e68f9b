package repo

import (
	"context"
	"errors"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/index"
	"github.com/lockfast/lockfast/repo/pack"
	"github.com/lockfast/lockfast/repo/tree"
)

// markParts marks what the trees of points refer to (docs/format.md section 16.1). A point that a session pins, or whose
// manifest is gone, needs its bundles whole and joins pinned; nothing is known of what a session has read of them. A tree
// that cannot be read completely may hide the need of anything, so all bundles stay whole then.
func (v *Vault) markParts(ctx context.Context, m *marks, points, pinned map[PointID]bool) error {
	if m.parts == nil {
		return nil
	}
	var roots []ID
	for id := range points {
		if pinned[id] {
			continue
		}
		manifest, err := v.readManifest(ctx, id)
		switch {
		case errors.Is(err, blob.ErrNotExist), isDamage(err):
			pinned[id] = true
		case err != nil:
			return err
		default:
			roots = append(roots, manifest.root)
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, root := range roots {
		g.Go(func() error { return tree.Walk(gctx, pointStore{v}, root, partMarker{gctx, m.parts}) })
	}
	err := g.Wait()
	if isDamage(err) {
		v.log.Warn("bundles stay whole, because the tree of a recovery point cannot be read", "error", err)
		m.parts, err = nil, nil
	}
	return err
}

// partMarker marks everything a tree refers to. Nodes that are marked were visited before.
type partMarker struct {
	ctx   context.Context
	marks *index.Marks
}

// Node implements [tree.Visitor].
func (p partMarker) Node(_ chunk.Kind, id ID) (bool, error) { return p.marks.Mark(id), p.ctx.Err() }

// Contents implements [tree.Visitor].
func (p partMarker) Contents(b []byte) error {
	for id := range ids(b) {
		p.marks.Mark(id)
	}
	return p.ctx.Err()
}

// partly reports whether parts of a live bundle may be left out: some of them are needed, not all.
func (m *marks) partly(number uint32, slot int, parts []pack.Part) bool {
	if m.parts == nil || m.whole.Has(number, slot) {
		return false
	}
	needed := 0
	for _, p := range parts {
		if m.parts.Has(p.ID) {
			needed++
		}
	}
	return 0 < needed && needed < len(parts) // none: a refset says otherwise, and counts
}

// deadParts returns about how many stored bytes the parts take, by pack, that may be left out.
func (m *marks) deadParts() map[uint32]int64 {
	out := map[uint32]int64{}
	if m.parts == nil {
		return out
	}
	for loc := range m.parts.Missing() {
		if m.live.Has(loc.Pack, int(loc.Slot)) && !m.whole.Has(loc.Pack, int(loc.Slot)) {
			out[loc.Pack] += max(1, int64(loc.Stored)*int64(loc.PartLength)/int64(max(1, loc.Plain)))
		}
	}
	return out
}
