package repo

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/lockfast/lockfast/repo/index"
	"github.com/lockfast/lockfast/repo/pack"
	"github.com/lockfast/lockfast/repo/refset"
	"github.com/lockfast/lockfast/repo/seal"
)

// Prepared is a recovery point that is durable in the store and waits to be committed in the ledger.
type Prepared struct {
	Session SessionID
	Point   PointID // same digits as Session
	Packs   []ID    // every pack of its refset, ascending
	Facts   Facts
	Stats   PointStats
}

// checkpointEntries is how many index entries a session collects before it publishes a segment on the way. It bounds the
// memory of a session: about 100 bytes for each.
const checkpointEntries = 1 << 17

// Prepare makes the recovery point durable: packs, then index segment, then refset, then its state, then manifest, before
// which it is announced in the ledger. The writer takes no more after it. The caller gives the result to the ledger, together
// with rows of its own, and then calls Abort; or it uses Commit. A prepared point that is never committed is swept by Reclaim.
func (w *Writer) Prepare(ctx context.Context, f Facts) (Prepared, error) {
	w.mu.Lock()
	if w.state != writing {
		w.mu.Unlock()
		return Prepared{}, fmt.Errorf("prepare recovery point: %w", ErrClosed)
	}
	w.state = prepared
	w.mu.Unlock()
	defer context.AfterFunc(ctx, func() { w.fail(context.Cause(ctx)) })()
	p, err := w.prepare(f)
	if err != nil {
		w.fail(err)
		return Prepared{}, fmt.Errorf("prepare recovery point: %w", w.err())
	}
	return p, nil
}

// Commit prepares the recovery point and commits it in the ledger.
func (w *Writer) Commit(ctx context.Context, f Facts) (PointID, error) {
	p, err := w.Prepare(ctx, f)
	if err != nil {
		return "", err
	}
	if err := w.v.ledger.Commit(ctx, p); err != nil {
		return "", fmt.Errorf("commit recovery point: %w", err)
	}
	if err := w.Abort(ctx); err != nil {
		w.v.log.Warn("session of a committed recovery point cannot be closed", "session", p.Session, "error", err)
	}
	return p.Point, nil
}

func (w *Writer) prepare(f Facts) (Prepared, error) {
	if w.source != nil && !w.copied {
		return Prepared{}, errors.New("nothing was moved to cold storage")
	}
	if err := w.drain(); err != nil {
		return Prepared{}, err
	}
	if err := w.storeLastPacks(); err != nil {
		return Prepared{}, err
	}
	w.segmentMu.Lock()
	err := w.publishSegment()
	w.segmentMu.Unlock()
	if err != nil {
		return Prepared{}, err
	}
	if err := w.tree.resolveLater(true); err != nil {
		return Prepared{}, err
	}
	set, err := w.tree.refs.Set(w.v.catalog.slots)
	if err == nil {
		set, err = w.v.moved(set)
	}
	if err != nil {
		return Prepared{}, fmt.Errorf("collect refset: %w", err)
	}
	p := Prepared{
		Session: w.s.row.ID, Point: PointID(w.s.row.ID), Packs: w.v.packIDs(set), Facts: f,
		Stats: PointStats{
			Entries: w.tree.root.Entries, LogicalBytes: w.tree.root.Bytes,
			BytesRead: w.stats.read.Load(), BytesStored: w.stats.stored.Load(),
		},
	}
	slices.SortFunc(p.Packs, func(a, b ID) int { return bytes.Compare(a[:], b[:]) })
	return p, w.publishPoint(p, set)
}

// drain finishes the tree and waits until every chunk has a slot.
func (w *Writer) drain() error {
	if err := w.flush(); err != nil {
		return err
	}
	if !w.copied || w.rebuilt {
		var err error
		if w.tree.root, err = w.tree.builder.Finish(w.ctx); err != nil {
			return err
		}
	}
	w.pending.Wait()
	return w.err()
}

// publishPoint writes refset and state, announces the recovery point and writes the manifest.
func (w *Writer) publishPoint(p Prepared, set refset.Set) error {
	if err := w.v.stillClaimed(w.ctx); err != nil {
		return err
	}
	if err := w.v.putRefset(w.ctx, refsetName(p.Point, 1), set); err != nil {
		return err
	}
	if p.Facts.Record != nil {
		first := *p.Facts.Record
		first.Generation = 1
		_, err := w.v.putSealed(w.ctx, seal.TypePointState, stateName(p.Point, 1), first.encode(w.v.UUID(), p.Point))
		if err != nil {
			return err
		}
	}
	head, err := w.v.ledger.Announce(w.ctx, w.s.row.ID)
	if err != nil {
		return fmt.Errorf("announce recovery point: %w", err)
	}
	m := manifest{
		id: p.Point, head: head, facts: p.Facts, stats: p.Stats, root: w.tree.root.ID, segments: w.segments, job: w.job,
		packs: set.Len(),
	}
	switch {
	case w.source != nil:
		m.parent, m.warm, m.stats.BytesRead = w.source.m.parent, w.source.id, w.source.m.stats.BytesRead
	case w.parent != nil:
		m.parent = w.parent.id
	}
	_, err = w.v.putSealed(w.ctx, seal.TypeManifest, manifestName(p.Point), m.encode(w.v.UUID()))
	return err
}

// lastPack is a pack that is still open at the end.
type lastPack struct {
	from   *packer
	open   *openPack
	packed pack.Packed
}

// storeLastPacks stores the packs that are not full, with one reservation and one registration for all, beside full ones that
// are still on their way. When it returns, all are registered.
func (w *Writer) storeLastPacks() error {
	err := w.storeLast()
	if err != nil {
		w.fail(err) // which ends packs that are on their way while they fill
	}
	for _, p := range w.packers() {
		p.uploads.Wait()
	}
	return cmp.Or(err, w.err())
}

// finishLast ends the packs that are still open.
func (w *Writer) finishLast() ([]lastPack, error) {
	var last []lastPack
	for _, p := range w.packers() {
		if open := p.take(); open != nil {
			last = append(last, lastPack{from: p, open: open})
		}
	}
	var g errgroup.Group
	for i := range last {
		g.Go(func() (err error) {
			l := &last[i]
			if l.packed, err = l.open.finish(); err != nil {
				return fmt.Errorf("finish %s: %w", packName(l.from.kind, ID(l.open.ID())), err)
			}
			return nil
		})
	}
	return last, g.Wait()
}

func (w *Writer) storeLast() error {
	last, err := w.finishLast()
	if err = cmp.Or(err, w.err()); err != nil || len(last) == 0 {
		return err
	}
	objects := make([]Object, len(last))
	for i, l := range last {
		objects[i] = Object{ID: ID(l.packed.ID), Kind: l.from.kind, Size: l.packed.Size}
	}
	if err := w.admitted(); err != nil {
		return err
	}
	if err := w.v.ledger.Reserve(w.ctx, w.s.row.ID, objects); err != nil {
		return fmt.Errorf("reserve packs: %w", err)
	}
	var g errgroup.Group
	for i, l := range last {
		g.Go(func() (err error) {
			if objects[i].Sum, err = w.putPack(l.open, l.packed); err != nil {
				return fmt.Errorf("store %s: %w", packName(objects[i].Kind, objects[i].ID), err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := w.v.ledger.Register(w.ctx, w.s.row.ID, objects); err != nil {
		return fmt.Errorf("register packs: %w", err)
	}
	for _, l := range last {
		if err := w.registered(l.packed); err != nil {
			return err
		}
		l.from.free <- l.open // more may follow
	}
	return nil
}

// publishSegment stores the index of the packs registered so far. The caller holds segmentMu.
func (w *Writer) publishSegment() error {
	if w.segment.Len() == 0 {
		return nil
	}
	var id ID
	if _, err := rand.Read(id[:]); err != nil {
		return err
	}
	built, err := w.segment.BuildID(index.SegmentID(id))
	if err != nil {
		return err
	}
	if err := w.v.putSegment(w.ctx, w.s.row.ID, 0, built); err != nil {
		return err
	}
	w.segments = append(w.segments, id)
	done := map[uint32]bool{}
	for _, p := range built.Packs {
		done[w.v.catalog.number(p.ID)] = true
	}
	w.table.Forget(func(n uint32) bool { return done[n] }, nil)
	return nil
}

// putSegment stores and registers a segment and makes it part of the index.
func (v *Vault) putSegment(ctx context.Context, s SessionID, level int, built index.Built) error {
	id := ID(built.ID)
	name := segmentName(level, id)
	object := Object{ID: id, Kind: ObjectSegment}
	if err := v.ledger.Reserve(ctx, s, []Object{object}); err != nil {
		return fmt.Errorf("reserve %s: %w", name, err)
	}
	var err error
	if object.Size, err = v.putSealed(ctx, seal.TypeSegment, name, built.Plain); err != nil {
		return err
	}
	if err := v.ledger.Register(ctx, s, []Object{object}); err != nil {
		return fmt.Errorf("register %s: %w", name, err)
	}
	segment, err := v.openSegment(string(name), built.Plain)
	if err != nil {
		return err
	}
	v.catalog.adopt(id, level, segment)
	return nil
}

// adopt adds a segment that this process has just registered.
func (c *catalog) adopt(id ID, level int, s *index.Segment) {
	c.indexed.Lock()
	defer c.indexed.Unlock()
	_, loaded := c.segments[id]
	if merged := c.segmentRow[id].State == ObjectRetired; !loaded && !merged {
		c.segments[id] = level
		c.add([]*index.Segment{s})
	}
}

// moved replaces slots of retired packs by where they went.
func (v *Vault) moved(set refset.Set) (refset.Set, error) {
	retired := false
	for s := range set.Packs() {
		retired = retired || v.catalog.row(s.Pack).state == ObjectRetired
	}
	if !retired {
		return set, nil
	}
	b := refset.NewBuilder()
	for s := range set.Packs() {
		if err := v.addCurrent(b, s.Pack, s, 0); err != nil {
			return refset.Set{}, err
		}
	}
	return b.Set(v.catalog.slots)
}

// registered notes a pack that is durable and known to the ledger.
func (w *Writer) registered(packed pack.Packed) error {
	w.v.catalog.registered(ID(packed.ID))
	w.stats.stored.Add(packed.Size)
	w.stats.packs.Add(1)
	w.segmentMu.Lock()
	defer w.segmentMu.Unlock()
	w.segment.AddPack(index.InfoOf(packed), packed.Slots)
	if w.collects() {
		w.indexedPacks.Store(packed.ID, true)
	}
	fresh := w.stats.stored.Load() - w.indexed
	if w.segment.Len() < checkpointEntries && (!w.copied || fresh < w.copyCheckpoint(w.indexed)) {
		return nil
	}
	w.indexed += fresh
	return w.publishSegment()
}
