package repo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/index"
	"github.com/lockfast/lockfast/repo/pack"
	"github.com/lockfast/lockfast/repo/tree"
)

// copyWindow is how many contents are looked up before those that are missing are read, in the order of their packs.
// Each takes about 100 bytes.
const copyWindow = 32 << 10

// copyCheckpoint returns after how many further bytes a copy that has stored so many publishes its index, so that one that
// starts again under the same job does not move them once more: two packs, later a sixteenth of what it has, at most 1 GiB. So
// a long copy makes about as many segments as with the highest alone.
func (w *Writer) copyCheckpoint(stored int64) int64 {
	return min(max(2*int64(w.v.format.DataPack), stored/16), 1<<30)
}

// CopyProgress is how far a copy has come.
type CopyProgress struct {
	Bytes int64 // plain bytes of contents that are in the vault now
	Total int64 // about the end value of Bytes: holes and inline contents count here only
	Moved int64 // bytes that were read of the other vault's packs, because this one lacked them
}

// Copy makes the writer's recovery point a copy of p, which is open in a vault of the same chunk-id domain: the error wraps
// [ErrDomain] otherwise. What this vault has already is relied on; what it lacks is opened with the keys of the other vault
// and sealed with its own, without being hashed, chunked or compressed again. Trees refer to contents by their ids alone,
// so they travel like any other chunk. Only of bundles of small contents that are needed for the lesser part the missing
// parts go into new bundles.
//
// The writer takes nothing before or after it; Prepare follows. p has to stay open until Copy returns, and counts no more
// after that.
func (w *Writer) Copy(ctx context.Context, p *Point) error {
	if err := w.usable(ctx); err != nil {
		return err
	}
	if err := w.copyable(p); err != nil {
		return fmt.Errorf("copy recovery point %s: %w", p.id, err)
	}
	if err := w.takeTree(ctx, p); err != nil {
		return fmt.Errorf("copy recovery point %s: %w", p.id, err)
	}
	return nil
}

// takeTree makes p's tree that of the writer, and sees to it that the vault has what it refers to.
func (w *Writer) takeTree(ctx context.Context, p *Point) error {
	w.copied = true
	defer context.AfterFunc(ctx, func() { w.fail(context.Cause(ctx)) })()
	w.copies.total.Store(p.m.stats.LogicalBytes)
	c := &copier{w: w, from: p.v, nodes: map[ID]bool{}}
	err := tree.Walk(w.ctx, pointStore{p.v}, p.m.root, c)
	if err == nil {
		err = c.flush()
	}
	if err != nil {
		w.fail(err)
		return w.err()
	}
	w.tree.root = tree.Root{ID: p.m.root, Entries: p.m.stats.Entries, Bytes: p.m.stats.LogicalBytes}
	w.stats.entries.Store(p.m.stats.Entries)
	return nil
}

// CopyProgress tells how far Copy has come. It may be called at any time.
func (w *Writer) CopyProgress() CopyProgress {
	return CopyProgress{Bytes: w.copies.bytes.Load(), Total: w.copies.total.Load(), Moved: w.copies.moved.Load()}
}

// copyable refuses what cannot be copied by ids.
func (w *Writer) copyable(p *Point) error {
	switch {
	case !w.v.keys().SameDomain(p.v.keys()):
		return ErrDomain
	case w.inUse():
		return errInUse
	}
	return nil
}

var errInUse = errors.New("the writer is in use")

// inUse reports whether the writer has taken something.
func (w *Writer) inUse() bool { return w.stats.entries.Load()+w.stats.read.Load() > 0 }

// copier visits the tree of a recovery point and sees to it that the writer's vault has what it refers to.
type copier struct {
	w      *Writer
	from   *Vault
	nodes  map[ID]bool // nodes and lists that were visited
	window []ID
}

// Node implements [tree.Visitor].
func (c *copier) Node(_ chunk.Kind, id ID) (bool, error) {
	if c.nodes[id] {
		return false, nil
	}
	c.nodes[id] = true
	return true, c.take(id)
}

// Contents implements [tree.Visitor].
func (c *copier) Contents(b []byte) error {
	for id := range ids(b) {
		if err := c.take(id); err != nil {
			return err
		}
	}
	return nil
}

func (c *copier) take(id ID) error {
	if c.window = append(c.window, id); len(c.window) < copyWindow {
		return nil
	}
	return c.flush()
}

// flush moves what is missing of the window, and adds all of it to the refset.
func (c *copier) flush() error {
	missing, err := c.missing()
	if err != nil {
		return err
	}
	if err := byPack(c.w.ctx, c.from.opts.Readers, missing, c.pack); err != nil {
		return err
	}
	t := &c.w.tree
	for _, id := range c.window {
		t.reference(id)
	}
	c.window = c.window[:0]
	if len(t.later) < maxLater {
		return nil
	}
	return t.resolveLater(false)
}

// copied counts contents that are in the vault now.
func (c *copier) copied(pieces ...piece) {
	for _, p := range pieces {
		if p.loc.Kind != chunk.Node && p.loc.Kind != chunk.List {
			c.w.copies.bytes.Add(p.x.Length)
		}
	}
}

// missing claims what the writer's vault lacks, sorted by the places where the other vault has it.
func (c *copier) missing() ([]piece, error) {
	var missing []piece
	for _, id := range c.window {
		loc, err := c.locate(id)
		if err != nil {
			return nil, err
		}
		p := piece{x: Extent{ID: id, Length: loc.Length()}, loc: loc}
		if c.w.has(id, loc.Length()) {
			c.copied(p)
		} else {
			missing = append(missing, p)
		}
	}
	slices.SortFunc(missing, byPlace)
	return missing, nil
}

// locate finds a content in the other vault.
func (c *copier) locate(id ID) (index.Location, error) {
	loc, ok := c.from.catalog.findReadable(id, nil)
	if ok {
		return loc, nil
	}
	if err := c.from.catalog.refresh(c.w.ctx); err != nil {
		return loc, err
	}
	if loc, ok = c.from.catalog.findReadable(id, nil); !ok {
		return loc, chunk.Damaged(fmt.Sprintf("chunk %s", id), "it is in no pack of the index")
	}
	return loc, nil
}

// byPack calls copyPack with the pieces of each pack, for several packs at once. Pieces are sorted by their places.
func byPack(ctx context.Context, limit int, pieces []piece, copyPack func(context.Context, []piece) error) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(limit)
	for len(pieces) > 0 && gctx.Err() == nil {
		n := 1
		for n < len(pieces) && pieces[n].loc.Pack == pieces[0].loc.Pack {
			n++
		}
		of := pieces[:n]
		pieces = pieces[n:]
		g.Go(func() error { return copyPack(gctx, of) })
	}
	return cmp.Or(g.Wait(), ctx.Err())
}

// pack copies pieces that stand in one pack. What cannot be read there, because the pack was reclaimed meanwhile or is
// damaged, is sought elsewhere.
func (c *copier) pack(ctx context.Context, pieces []piece) error {
	s := packCopier{copier: c}
	opened := s.open(pieces[0].loc.Pack)
	for run := range runs(pieces) {
		err := opened
		if err == nil {
			err = s.run(ctx, run)
		}
		if err = elsewhere(ctx, err); errors.Is(err, errPostpone) {
			err = c.alone(ctx, run)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// alone copies pieces one by one from wherever they can be read; it names what is damaged everywhere.
func (c *copier) alone(ctx context.Context, pieces []piece) error {
	for _, p := range pieces {
		if state, _, _ := c.w.table.Lookup(p.x.ID); state != index.Pending {
			continue // stored before the trouble began
		}
		plain, err := c.from.chunk(ctx, p.x.ID)
		if err != nil {
			return err
		}
		c.w.copies.moved.Add(int64(len(plain)))
		if p.loc.Part {
			err = c.w.storePart(p.x.ID, plain)
		} else {
			err = c.w.submit(task{kind: p.loc.Kind, id: p.x.ID, plain: append(c.w.buffers.get(len(plain)), plain...)})
		}
		if err != nil {
			return err
		}
		c.copied(p)
	}
	return nil
}

// packCopier copies slots of one pack of the other vault.
type packCopier struct {
	*copier
	info    index.PackInfo
	opener  pack.Opener
	trailer *pack.Pack // read when the first bundle is met
	stored  []byte
	plain   []byte
}

func (s *packCopier) open(number uint32) error {
	info, ok := s.from.catalog.set.Pack(number)
	if !ok {
		return blob.ErrNotExist
	}
	var err error
	s.info = info
	s.opener, err = s.from.openers.of(s.from, number, info.Info)
	return err
}

// run copies the slots of a run, which are read at once.
func (s *packCopier) run(ctx context.Context, run []piece) error {
	first, last := run[0].loc, run[len(run)-1].loc
	n := int64(last.Offset) + int64(last.Stored) - int64(first.Offset)
	var err error
	if s.stored, err = readRange(ctx, s.from.store, blob.Name(s.info.Name()), int64(first.Offset), n, s.stored); err != nil {
		return err
	}
	for len(run) > 0 {
		k := 1
		for k < len(run) && run[k].loc.Slot == run[0].loc.Slot {
			k++
		}
		loc := run[0].loc
		at := loc.Offset - first.Offset
		encoded, err := s.opener.Open(int(loc.Slot), loc.PackSlot(), s.stored[at:at+loc.Stored])
		if err == nil {
			s.w.copies.moved.Add(int64(loc.Stored))
			err = s.slot(ctx, run[:k], encoded)
		}
		if err != nil {
			return err
		}
		s.copied(run[:k]...)
		run = run[k:]
	}
	return nil
}

// slot copies a slot for the pieces that stand in it.
func (s *packCopier) slot(ctx context.Context, pieces []piece, encoded []byte) error {
	loc := pieces[0].loc
	if loc.Part {
		return s.bundle(ctx, pieces, encoded)
	}
	meta := loc.Kind == chunk.Node || loc.Kind == chunk.List
	if s.w.source != nil && !meta {
		return s.recompress(pack.Slot{ID: loc.Chunk, Kind: loc.Kind, Codec: loc.Codec, Plain: loc.Plain}, encoded)
	}
	to := s.w.dataPacker()
	if meta {
		to = s.w.meta
	}
	stored, err := to.add(ctx, loc.PackSlot(), encoded)
	if err == nil {
		s.w.table.Store(loc.Chunk, stored)
	}
	return err
}

// bundle copies a bundle as it is if at least half of it is wanted, and the wanted parts otherwise.
func (s *packCopier) bundle(ctx context.Context, pieces []piece, encoded []byte) error {
	loc := pieces[0].loc
	var wanted int64
	for _, p := range pieces {
		wanted += p.x.Length
	}
	if 2*wanted < int64(loc.Plain) || s.w.source != nil && wanted < int64(loc.Plain) {
		return s.split(pieces, encoded)
	}
	if s.trailer == nil {
		var err error
		if s.trailer, err = s.from.openPack(ctx, s.from.catalog.row(loc.Pack)); err != nil {
			return err
		}
	}
	if int(loc.Slot) >= len(s.trailer.Slots) || s.trailer.Slots[loc.Slot].ID != loc.Chunk {
		return chunk.Damaged(s.info.Name(), "slot %d is not the bundle %s", loc.Slot, loc.Chunk)
	}
	slot := s.trailer.Slots[loc.Slot]
	if s.w.source != nil {
		return s.recompress(slot, encoded)
	}
	stored, err := s.w.dataPacker().add(ctx, slot, encoded)
	if err == nil {
		s.w.storeParts(stored, slot.Parts)
	}
	return err
}

// split puts the wanted parts of a bundle into the writer's open one. Every one is checked, since it gets a new
// neighbourhood that vouches for it.
func (s *packCopier) split(pieces []piece, encoded []byte) error {
	loc := pieces[0].loc
	plain, err := s.from.dec.Decompress(s.plain, loc.Codec, encoded, int(loc.Plain))
	if err != nil {
		return err
	}
	if loc.Codec != chunk.Raw {
		s.plain = plain
	}
	for _, p := range pieces {
		data, err := s.from.part(p.x.ID, p.loc, plain)
		if err != nil {
			return err
		}
		if err := s.w.storePart(p.x.ID, data); err != nil {
			return err
		}
	}
	return nil
}
