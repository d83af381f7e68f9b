package repo

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/tree"
)

// acrossBytes is about how many bytes of entries wait until their contents have been copied.
const acrossBytes = 8 << 20

// CopyAcross makes the writer's recovery point a copy of p, which is open in a vault of another chunk-id domain. Contents
// keep the places where they were cut, and get new ids: what this vault lacks is read, checked, hashed under its keys,
// compressed and sealed. The tree is built anew. Under which ids contents stand here is kept in the vault, sealed, so that
// later copies read only what is new.
//
// In everything else it is as [Writer.Copy], which it is for a vault of the same domain.
func (w *Writer) CopyAcross(ctx context.Context, p *Point) error {
	if w.v.keys().SameDomain(p.v.keys()) {
		return w.Copy(ctx, p)
	}
	if err := w.usable(ctx); err != nil {
		return err
	}
	if w.inUse() {
		return fmt.Errorf("copy recovery point %s: %w", p.id, errInUse)
	}
	w.copied, w.rebuilt = true, true
	defer context.AfterFunc(ctx, func() { w.fail(context.Cause(ctx)) })()
	w.copies.total.Store(p.m.stats.LogicalBytes)
	if err := w.copyAcross(p); err != nil {
		w.fail(err)
		return fmt.Errorf("copy recovery point %s: %w", p.id, w.err())
	}
	return nil
}

func (w *Writer) copyAcross(p *Point) error {
	m, err := w.v.openCopyMap(w.ctx, p.v)
	if err != nil {
		return err
	}
	c := &crosser{copier: copier{w: w, from: p.v}, ids: m}
	cursor := p.Cursor(w.ctx)
	for cursor.Next() {
		if err := c.entry(cursor.Entry()); err != nil {
			return err
		}
	}
	if err := cursor.Err(); err != nil {
		return err
	}
	if err := c.flush(); err != nil {
		return err
	}
	return m.save(w.ctx)
}

// crosser copies entries in windows: the contents of a window are looked up and copied at once, in the order of their
// packs, then its entries are put.
type crosser struct {
	copier
	ids     *copyMap
	entries []Entry
	extents int // of entries
	bytes   int // about what entries take

	saving sync.Mutex // one save at a time, between lookups
	saved  int64      // bytes moved when the map was saved; guarded by saving

	claimed map[ID]bool // ids of contents of the window that nobody else stores

	mu  sync.Mutex
	now map[ID]ID // contents of the window that are in the vault; guarded by mu
}

// entry takes an entry, which it copies.
func (c *crosser) entry(e Entry) error {
	e.Key, e.Meta, e.Refs = bytes.Clone(e.Key), bytes.Clone(e.Meta), slices.Clone(e.Refs)
	e.Content.Inline, e.Content.Extents = bytes.Clone(e.Content.Inline), slices.Clone(e.Content.Extents)
	if !e.Content.List.IsZero() {
		var err error
		if e.Content, err = c.long(e.Content); err != nil {
			return err
		}
		if err := c.resolve(e.Refs); err != nil {
			return err
		}
		return c.put(e)
	}
	c.entries = append(c.entries, e)
	c.extents += len(e.Content.Extents) + len(e.Refs)
	c.bytes += len(e.Key) + len(e.Meta) + len(e.Content.Inline) + 200
	if c.extents < copyWindow && c.bytes < acrossBytes {
		return nil
	}
	return c.flush()
}

// long copies a content of many extents, of which a window at a time is in memory. Entries that wait come first.
func (c *crosser) long(from Content) (Content, error) {
	if err := c.flush(); err != nil {
		return Content{}, err
	}
	to := tree.NewContentWriter(listStore{c.w})
	var window []Extent
	add := func() error {
		if err := c.resolve(window); err != nil {
			return err
		}
		for _, x := range window {
			if err := to.Add(c.w.ctx, x); err != nil {
				return err
			}
		}
		window = window[:0]
		return nil
	}
	for x, err := range tree.Extents(c.w.ctx, pointStore{c.from}, from, 0) {
		if err != nil {
			return Content{}, err
		}
		if window = append(window, x.Extent); len(window) < copyWindow {
			continue
		}
		if err := add(); err != nil {
			return Content{}, err
		}
	}
	if err := add(); err != nil {
		return Content{}, err
	}
	return to.Finish(c.w.ctx)
}

// flush copies the contents of the entries that wait, and puts them.
func (c *crosser) flush() error {
	lists := make([][]Extent, 0, 2*len(c.entries))
	for _, e := range c.entries {
		lists = append(lists, e.Content.Extents, e.Refs)
	}
	if err := c.resolve(lists...); err != nil {
		return err
	}
	for _, e := range c.entries {
		if err := c.put(e); err != nil {
			return err
		}
	}
	c.entries, c.extents, c.bytes = c.entries[:0], 0, 0
	return nil
}

func (c *crosser) put(e Entry) error {
	if err := c.w.tree.builder.Put(c.w.ctx, e); err != nil {
		return err
	}
	c.w.stats.entries.Add(1)
	return nil
}

// resolve sees to it that contents are in the vault, and replaces their ids by those that they have there.
func (c *crosser) resolve(lists ...[]Extent) error {
	wanted := map[ID]int64{}
	for _, list := range lists {
		for _, x := range list {
			if !x.ID.IsZero() {
				wanted[x.ID] = x.Length
			}
		}
	}
	missing, err := c.missing(wanted)
	if err == nil {
		err = byPack(c.w.ctx, c.from.opts.Readers, missing, c.pack)
	}
	if err != nil {
		return err
	}
	for _, list := range lists {
		for i, x := range list {
			if !x.ID.IsZero() {
				list[i].ID = c.now[x.ID]
			}
		}
	}
	return c.checkpoint()
}

// checkpoint saves the map when enough was moved since the last time.
func (c *crosser) checkpoint() error {
	c.saving.Lock()
	defer c.saving.Unlock()
	moved := c.w.copies.moved.Load()
	if !c.ids.full() && moved-c.saved < c.w.copyCheckpoint(c.saved) {
		return nil
	}
	c.saved = moved
	return c.ids.save(c.w.ctx)
}

// missing returns what the vault is not known to have, sorted by the places where the other vault has it. What the map
// knows and the vault lacks is claimed.
func (c *crosser) missing(wanted map[ID]int64) ([]piece, error) {
	sorted := make([]ID, 0, len(wanted))
	for id := range wanted {
		sorted = append(sorted, id)
	}
	slices.SortFunc(sorted, compareIDs)
	known, err := c.ids.lookup(c.w.ctx, sorted)
	if err != nil {
		return nil, err
	}
	c.now, c.claimed = make(map[ID]ID, len(sorted)), map[ID]bool{}
	var missing []piece
	for _, id := range sorted {
		loc, err := c.locate(id)
		if err != nil {
			return nil, err
		}
		p := piece{x: Extent{ID: id, Length: wanted[id]}, loc: loc}
		to, ok := known[id]
		if ok && c.w.has(to, p.x.Length) {
			c.now[id] = to
			c.copied(p)
			continue
		}
		if ok {
			c.claimed[to] = true
		}
		missing = append(missing, p)
	}
	slices.SortFunc(missing, byPlace)
	return missing, nil
}

// pack copies pieces that stand in one pack, see [copier.pack].
func (c *crosser) pack(ctx context.Context, pieces []piece) error {
	for run := range runs(pieces) {
		err := elsewhere(ctx, c.run(ctx, run))
		if errors.Is(err, errPostpone) {
			err = c.alone(ctx, run)
		}
		if err != nil {
			return err
		}
	}
	return c.checkpoint()
}

// run copies pieces that are read at once.
func (c *crosser) run(ctx context.Context, run []piece) error {
	first, last := run[0].loc, run[len(run)-1].loc
	info, ok := c.from.catalog.set.Pack(first.Pack)
	if !ok {
		return blob.ErrNotExist
	}
	n := int64(last.Offset) + int64(last.Stored) - int64(first.Offset)
	stored, err := readRange(ctx, c.from.store, blob.Name(info.Name()), int64(first.Offset), n, nil)
	if err != nil {
		return err
	}
	for len(run) > 0 {
		k := 1
		for k < len(run) && run[k].loc.Slot == run[0].loc.Slot {
			k++
		}
		loc := run[0].loc
		at := loc.Offset - first.Offset
		plain, err := c.from.openSlot(info, loc, stored[at:at+loc.Stored], nil)
		if err == nil && !loc.Part {
			err = c.from.verify(loc, plain)
		}
		if err != nil {
			return err
		}
		c.w.copies.moved.Add(int64(loc.Stored))
		if err := c.slot(run[:k], plain); err != nil {
			return err
		}
		run = run[k:]
	}
	return nil
}

// slot stores the pieces that stand in one slot.
func (c *crosser) slot(pieces []piece, plain []byte) error {
	for _, p := range pieces {
		data := plain
		if p.loc.Part {
			var err error
			if data, err = c.from.part(p.x.ID, p.loc, plain); err != nil {
				return err
			}
		}
		if err := c.store(p, data); err != nil {
			return err
		}
	}
	return nil
}

// alone copies pieces one by one from wherever they can be read; it names what is damaged everywhere.
func (c *crosser) alone(ctx context.Context, pieces []piece) error {
	for _, p := range pieces {
		c.mu.Lock()
		_, done := c.now[p.x.ID]
		c.mu.Unlock()
		if done {
			continue // stored before the trouble began
		}
		plain, err := c.from.chunk(ctx, p.x.ID)
		if err != nil {
			return err
		}
		c.w.copies.moved.Add(int64(len(plain)))
		if err := c.store(p, plain); err != nil {
			return err
		}
	}
	return nil
}

// store stores a content, which has been checked, under the id that it has in the vault.
func (c *crosser) store(p piece, data []byte) error {
	kind := p.loc.Kind
	if p.loc.Part {
		kind = chunk.Part
	}
	if int64(len(data)) != p.x.Length || kind != chunk.Part && kind != chunk.Data {
		return chunk.Damaged(fmt.Sprintf("chunk %s", p.x.ID), "%s of %d bytes instead of %d", kind, len(data), p.x.Length)
	}
	to := c.w.v.keys().ID(kind, data)
	var err error
	switch {
	case !c.claimed[to] && c.w.has(to, p.x.Length):
	case p.loc.Part:
		err = c.w.storePart(to, data)
	default:
		c.w.stats.fresh.Add(int64(len(data)))
		err = c.w.submit(task{kind: kind, id: to, plain: append(c.w.buffers.get(len(data)), data...)})
	}
	if err != nil {
		return err
	}
	c.ids.add(p.x.ID, to)
	c.copied(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now[p.x.ID] = to
	return nil
}

// byPlace orders pieces by the places where they are stored.
func byPlace(a, b piece) int {
	return cmp.Or(cmp.Compare(a.loc.Pack, b.loc.Pack), cmp.Compare(a.loc.Slot, b.loc.Slot), cmp.Compare(a.loc.PartOffset, b.loc.PartOffset))
}
