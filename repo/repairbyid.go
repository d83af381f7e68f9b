package repo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/index"
	"github.com/lockfast/lockfast/repo/pack"
	"github.com/lockfast/lockfast/repo/refset"
	"github.com/lockfast/lockfast/repo/tree"
)

// When a pack is lost together with the segment that describes it, nothing in the vault knows any more what its slots were:
// the refsets that name it give their numbers only. What recovery points need of it, their trees tell, by ids. So with
// another vault that has the contents, by docs/format.md section 16.2, rule 11:
//
//  1. The trees of the recovery points that such a pack may concern are walked. A node or list that cannot be read here is
//     read from the other vault, so that the walk goes on below it.
//  2. What stands in no pack of the index is taken from the other vaults by its id, which is checked, and goes to new packs,
//     which are published.
//  3. The trees are walked once more, and what they need is written as the next refsets, which name the lost packs no more.
//
// Then the lost pack is one of which nothing is needed, and goes like any other. A recovery point of which something is in
// no vault keeps what its refset named, and the places of what was found are added, so that reclaim leaves them.

// regain brings back the contents that stand in no pack of the index, as far as other vaults have them.
func (r *repairing) regain(ctx context.Context) error {
	if len(r.o.From) == 0 {
		return nil
	}
	points, err := r.undescribed(ctx)
	if err != nil || len(points) == 0 {
		return err
	}
	_, err = r.v.collect(ctx, ReclaimOptions{}, func(c *reclaim, ctx context.Context) error {
		g := &regainer{
			repairing: r, c: c, visited: map[tierID]bool{}, comp: map[ObjectKind]*pack.Compressor{},
			bundles: map[ObjectKind]*newBundle{}, pending: map[tierID]bool{},
		}
		defer func() {
			r.report.Refsets += c.refsets
			r.report.Bytes += c.w.stats.stored.Load()
		}()
		return g.run(ctx, points)
	})
	return err
}

// undescribed returns the points that may need contents of which no place is known: their refset cannot be read or does not fit
// the tree, their tree cannot be read, or they name a pack that no segment describes.
func (r *repairing) undescribed(ctx context.Context) ([]PointID, error) {
	snapshot, err := r.v.ledger.Snapshot(ctx)
	if err != nil {
		return nil, fmt.Errorf("read ledger: %w", err)
	}
	generations, err := r.v.refsetGenerations(ctx, "f/")
	if err != nil {
		return nil, err
	}
	var out []PointID
	for id := range snapshot.needed() {
		set, err := r.v.listedRefset(ctx, id, generations[id])
		if err != nil && !isDamage(err) {
			return nil, err
		}
		if err != nil || r.derive[id] || slices.Contains(r.manifests, id) || r.v.namesUndescribed(set) {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out, nil
}

// namesUndescribed reports whether a set has a pack that no segment describes.
func (v *Vault) namesUndescribed(set refset.Set) bool {
	for s := range set.Packs() {
		if _, ok := v.catalog.set.Pack(s.Pack); !ok {
			return true
		}
	}
	return false
}

// regainer takes contents from other vaults by their ids, in one session.
type regainer struct {
	*repairing
	c       *reclaim
	visited map[tierID]bool // nodes and lists, of all points

	mu      sync.Mutex // guards what follows
	comp    map[ObjectKind]*pack.Compressor
	bundles map[ObjectKind]*newBundle // open ones
	pending map[tierID]bool           // contents that were taken and are not published yet
}

func (g *regainer) run(ctx context.Context, points []PointID) error {
	for _, id := range points {
		if err := g.open(ctx, id, g.collect); err != nil {
			return err
		}
	}
	if err := g.publish(ctx); err != nil {
		return err
	}
	for _, id := range points {
		if err := g.open(ctx, id, g.refset); err != nil {
			return err
		}
	}
	return nil
}

// open has a point looked at, unless it is gone or its manifest is lost.
func (g *regainer) open(ctx context.Context, id PointID, look func(context.Context, *Point) error) error {
	p, err := g.v.OpenPoint(ctx, id)
	if errors.Is(err, ErrNotFound) || isDamage(err) {
		return nil // named in the end
	}
	if err != nil {
		return err
	}
	return errors.Join(look(ctx, p), p.Close())
}

// collect takes what a point needs and no pack has.
func (g *regainer) collect(ctx context.Context, p *Point) error {
	w := regainWalk{g: g, ctx: ctx, cold: p.Cold(), missing: map[ID]bool{}}
	if err := tree.Walk(ctx, &w, p.m.root, &w); err != nil && !isDamage(err) {
		return err
	}
	return w.flush()
}

// placed reports whether the index knows a place of a content in a pack of that tier; nodes and lists are in none.
func (g *regainer) placed(id ID, meta, cold bool) bool {
	_, ok := g.v.findWhere(id, func(loc index.Location) bool { return meta || g.v.catalog.isCold(loc.Pack) == cold })
	return ok
}

// place finds a content here or in another vault.
func (g *regainer) place(id ID) (index.Location, bool) {
	for _, v := range append([]*Vault{g.v}, g.o.From...) {
		if loc, ok := v.catalog.findReadable(id, nil); ok {
			return loc, true
		}
	}
	return index.Location{}, false
}

// take stores contents, which nothing but their ids is known of, in new packs. What is in no vault is left.
func (g *regainer) take(ctx context.Context, pieces []piece, cold bool) error {
	to := ObjectData
	if cold {
		to = ObjectCold
	}
	workers, wctx := errgroup.WithContext(ctx)
	workers.SetLimit(g.v.opts.Readers)
	for _, p := range pieces {
		workers.Go(func() error {
			plain, other, err := g.elsewhere(wctx, p.x.ID, anyLength, noPack)
			if err != nil || plain == nil {
				return err
			}
			kind := chunk.Data
			if p.loc.Part {
				kind = chunk.Part
			}
			return g.store(wctx, to, kind, p.x.ID, plain, other)
		})
	}
	if err := workers.Wait(); err != nil {
		return err
	}
	if len(g.pending) < checkpointEntries {
		return nil
	}
	return g.publish(ctx)
}

// store puts a content whose id was checked into a new pack of that kind, unless that was done.
func (g *regainer) store(ctx context.Context, to ObjectKind, kind chunk.Kind, id ID, plain []byte, other bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	key := tierID{id, to == ObjectCold}
	if g.pending[key] {
		return nil
	}
	g.pending[key] = true
	g.report.Slots++
	if other {
		g.report.FromOther++
	} else {
		g.report.FromVault++
	}
	if kind != chunk.Part {
		return g.add(ctx, to, pack.Slot{ID: id, Kind: kind}, plain)
	}
	b := g.bundles[to]
	if b != nil && (len(b.plain)+len(plain) > g.c.w.bundle.target || len(b.parts) == pack.MaxParts) {
		if err := g.bundle(ctx, to); err != nil {
			return err
		}
		b = nil
	}
	if b == nil {
		b = &newBundle{}
		g.bundles[to] = b
	}
	b.plain, b.parts = append(b.plain, plain...), append(b.parts, pack.Part{ID: id, Length: uint32(len(plain))})
	return nil
}

// bundle stores an open bundle. The caller holds mu.
func (g *regainer) bundle(ctx context.Context, to ObjectKind) error {
	b := g.bundles[to]
	delete(g.bundles, to)
	return g.add(ctx, to, pack.Slot{ID: pack.BundleID(g.v.keys(), b.parts), Kind: chunk.Bundle, Parts: b.parts}, b.plain)
}

// add compresses and stores a slot. The caller holds mu.
func (g *regainer) add(ctx context.Context, to ObjectKind, s pack.Slot, plain []byte) error {
	if g.comp[to] == nil {
		g.comp[to] = pack.NewCompressor(levelOf(to))
	}
	s.Plain = uint32(len(plain))
	stored, codec := g.comp[to].Compress(nil, plain)
	s.Codec = codec
	_, err := g.c.packer(to).add(ctx, s, stored)
	return err
}

// publish makes everything that was taken durable, and known to the index.
func (g *regainer) publish(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, to := range slices.Collect(maps.Keys(g.bundles)) {
		if err := g.bundle(ctx, to); err != nil {
			return err
		}
	}
	if err := g.c.w.storeLastPacks(); err != nil {
		return err
	}
	g.c.w.segmentMu.Lock()
	defer g.c.w.segmentMu.Unlock()
	clear(g.pending)
	return g.c.w.publishSegment()
}

// regainWalk collects what a tree refers to and no pack of the index has. It reads nodes and lists that are lost from other
// vaults, and passes over those that no vault has.
type regainWalk struct {
	nodeStore
	g       *regainer
	ctx     context.Context
	cold    bool
	missing map[ID]bool // contents to be taken; at most copyWindow
}

// Node implements [tree.Visitor].
func (w *regainWalk) Node(kind chunk.Kind, id ID) (bool, error) {
	if w.g.visited[tierID{id, w.cold}] {
		return false, nil
	}
	w.g.visited[tierID{id, w.cold}] = true
	found, other, err := w.read(w.ctx, w.g, id)
	if !found || err != nil {
		return false, err
	}
	if w.g.placed(id, true, false) {
		return true, nil
	}
	return true, w.g.store(w.ctx, ObjectMeta, kind, id, w.node, other)
}

// Contents implements [tree.Visitor].
func (w *regainWalk) Contents(b []byte) error {
	for id := range ids(b) {
		if w.g.placed(id, false, w.cold) || w.missing[id] {
			continue
		}
		if w.missing[id] = true; len(w.missing) < copyWindow {
			continue
		}
		if err := w.flush(); err != nil {
			return err
		}
	}
	return w.ctx.Err()
}

// flush takes what is missing, in the order in which the other vaults have it.
func (w *regainWalk) flush() error {
	pieces := make([]piece, 0, len(w.missing))
	for id := range w.missing {
		if loc, ok := w.g.place(id); ok && !w.g.pending[tierID{id, w.cold}] {
			pieces = append(pieces, piece{x: Extent{ID: id, Length: loc.Length()}, loc: loc})
		}
	}
	clear(w.missing)
	slices.SortFunc(pieces, byPlace)
	return w.g.take(w.ctx, pieces, w.cold)
}

// nodeStore gives a walk the node or list that its visitor has read: here, or in another vault.
type nodeStore struct {
	pointStore
	node []byte
}

// read reads a node or list, and reports whether any vault has it.
func (s *nodeStore) read(ctx context.Context, g *regainer, id ID) (found, other bool, err error) {
	s.node, other, err = g.elsewhere(ctx, id, anyLength, noPack)
	return s.node != nil, other, err
}

// Get implements [tree.Store].
func (s *nodeStore) Get(context.Context, ID) ([]byte, error) { return s.node, nil }

// refset has a point's refset name what its tree refers to, where that stands now, if it lacks something or names packs that
// no segment describes.
func (g *regainer) refset(ctx context.Context, p *Point) error {
	generations, err := g.v.refsetGenerations(ctx, "f/"+string(p.id))
	if err != nil {
		return err
	}
	now, lost := g.v.listedRefset(ctx, p.id, generations[p.id])
	if lost != nil && !isDamage(lost) {
		return lost
	}
	w := placeWalk{g: g, ctx: ctx, cold: p.Cold(), now: now, visited: map[ID]bool{}, set: refset.NewBuilder()}
	cut := tree.Walk(ctx, &w, p.m.root, &w)
	if cut != nil && !isDamage(cut) {
		return cut
	}
	whole := cut == nil && w.nowhere == 0
	g.left = g.left || !whole
	if lost != nil && !whole {
		return nil // nothing tells what else it needs; it is named in the end
	}
	if lost == nil && whole && w.outside == 0 && !g.v.namesUndescribed(now) {
		return nil // nothing of it was lost
	}
	next, err := w.set.Set(g.v.catalog.slots)
	if err != nil {
		return err
	}
	if whole {
		delete(g.derive, p.id)
	} else {
		next = refset.Union(now, next)
	}
	if lost == nil && equalSets(now, next) {
		return nil
	}
	all, err := g.v.withLaterRefsets(ctx, p.id, generations[p.id])
	if err != nil {
		return err
	}
	if err := g.v.stillClaimed(ctx); err != nil {
		return err
	}
	return g.c.nextRefset(ctx, p.id, 1, all, next)
}

// placeWalk collects the best places of everything that a tree refers to, in the tier of the recovery point. It goes on where
// something stands nowhere.
type placeWalk struct {
	nodeStore
	g       *regainer
	ctx     context.Context
	cold    bool
	now     refset.Set
	visited map[ID]bool // nodes and lists
	set     *refset.Builder
	outside int // contents of which now has none of these places
	nowhere int // contents of which no place is known, and nodes that no vault has
}

// Node implements [tree.Visitor].
func (w *placeWalk) Node(_ chunk.Kind, id ID) (bool, error) {
	if w.visited[id] {
		return false, nil
	}
	w.visited[id] = true
	w.use(id, true)
	found, _, err := w.read(w.ctx, w.g, id)
	if !found {
		w.nowhere++
	}
	return found, err
}

// Contents implements [tree.Visitor].
func (w *placeWalk) Contents(b []byte) error {
	for id := range ids(b) {
		w.use(id, false)
	}
	return w.ctx.Err()
}

// use adds the best places of a content.
func (w *placeWalk) use(id ID, meta bool) {
	inside, found := false, false
	for loc := range w.g.v.bestPlaces(id, func(n uint32) bool { return meta || w.g.v.catalog.isCold(n) == w.cold }) {
		w.set.Add(loc.Pack, int(loc.Slot))
		inside, found = inside || w.now.Has(loc.Pack, int(loc.Slot)), true
	}
	if !inside {
		w.outside++
	}
	if !found {
		w.nowhere++
	}
}
