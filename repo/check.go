package repo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/pack"
	"github.com/lockfast/lockfast/repo/refset"
)

// Levels of a check; each includes those before it.
const (
	CheckNames = 0 // every object that should be there is, with its size
	CheckHeads = 1 // header, footer and trailer of every pack; index segments
	CheckTrees = 2 // manifests, trees and refsets: all that a point refers to is in the index and in its refset
	CheckBytes = 3 // every byte of every pack; every chunk is opened and its id compared
)

// CheckOptions tunes a check.
type CheckOptions struct {
	Level    int                     // 0 to 3, see [CheckNames] to [CheckBytes]
	Progress func(done, total int64) // bytes of packs; may be nil
}

// CheckReport is what a check found.
type CheckReport struct {
	Level   int
	Points  int64
	Packs   int64
	Bytes   int64    // of packs read, or listed
	Damages []Damage // nil = sound; ascending by object
}

// Damage is one damaged object and what it affects.
type Damage struct {
	Object string // name in the store
	Err    error
	Points []PointID // that need what is damaged, ascending
	Paths  [][]byte  // keys of entries in the first of them that need it, at most 100
}

// maxDamagedPaths bounds Damage.Paths.
const maxDamagedPaths = 100

// Check verifies the vault. Damage is in the report, not in the error, which tells why the check could not be made.
// Backups and reclaim may run meanwhile; what they remove is not damage.
func (v *Vault) Check(ctx context.Context, o CheckOptions) (CheckReport, error) {
	if o.Level < CheckNames || o.Level > CheckBytes {
		return CheckReport{}, fmt.Errorf("check level %d: want %d to %d", o.Level, CheckNames, CheckBytes)
	}
	v.observed.forget(nil)
	c := &check{v: v, o: o, damages: map[string]*Damage{}, slots: map[uint32]*badPack{}}
	c.report.Level = o.Level
	for _, step := range []func(context.Context) error{c.names, c.small, c.segments, c.packs, c.points} {
		if err := step(ctx); err != nil {
			return CheckReport{}, fmt.Errorf("check vault: %w", err)
		}
	}
	for _, d := range v.observed.all() { // read all the same, by parity or from other objects
		known := c.damaged(blob.Name(d.Object), d.Err)
		if len(known.Points) == 0 {
			known.Points = d.Points
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.damages)) {
		c.report.Damages = append(c.report.Damages, *c.damages[name])
	}
	return c.report, nil
}

// check is one run.
type check struct {
	v      *Vault
	o      CheckOptions
	report CheckReport

	mu      sync.Mutex // guards what follows
	damages map[string]*Damage
	slots   map[uint32]*badPack // by number of the pack
	done    int64
	total   int64
}

// badPack says what of a pack is damaged.
type badPack struct {
	all   bool
	slots map[int]bool
}

func (b *badPack) has(slot int) bool { return b.all || b.slots[slot] }

// damaged notes damage; the first error of an object is kept.
func (c *check) damaged(name blob.Name, err error) *Damage {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.damages[string(name)]
	if d == nil {
		d = &Damage{Object: string(name), Err: err}
		c.damages[string(name)] = d
	}
	return d
}

// badSlot notes a damaged slot of a pack, or with -1 the whole pack.
func (c *check) badSlot(n uint32, row packRow, slot int, err error) {
	c.damaged(packName(row.kind, row.id), err)
	c.v.catalog.suspect(n)
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.slots[n]
	if b == nil {
		b = &badPack{slots: map[int]bool{}}
		c.slots[n] = b
	}
	if slot < 0 {
		b.all = true
	} else {
		b.slots[slot] = true
	}
}

// isDamage reports whether err is about the vault, not about reaching it.
func isDamage(err error) bool {
	for _, about := range []error{ErrDamaged, ErrFormat, blob.ErrNotExist, blob.ErrRange} {
		if errors.Is(err, about) {
			return true
		}
	}
	return false
}

// names compares the rows of packs with the objects that are there.
func (c *check) names(ctx context.Context) error {
	if err := c.v.catalog.refresh(ctx); err != nil {
		return err
	}
	sizes := map[string]int64{}
	for _, prefix := range packPrefixes {
		for info, err := range c.v.store.List(ctx, prefix) {
			if err != nil {
				return fmt.Errorf("list packs: %w", err)
			}
			sizes[string(info.Name)] = info.Size
		}
	}
	for n, row := range c.v.catalog.packs() {
		if row.state != ObjectLive && row.state != ObjectCondemned {
			continue
		}
		name := packName(row.kind, row.id)
		size, ok := sizes[string(name)]
		if !ok { // a list may lack what is new
			if info, err := c.v.store.Stat(ctx, name); err == nil {
				size, ok = info.Size, true
			}
		}
		c.report.Packs++
		c.report.Bytes += size
		switch {
		case !ok && c.removed(ctx, uint32(n)):
		case !ok:
			c.badSlot(uint32(n), row, -1, chunk.Damaged(string(name), "it is missing"))
		case size != row.size:
			c.badSlot(uint32(n), row, -1, chunk.Damaged(string(name), "%d bytes instead of %d", size, row.size))
		}
	}
	c.total = c.report.Bytes
	return nil
}

// removed reports whether a pack was reclaimed since the catalog was read.
func (c *check) removed(ctx context.Context, n uint32) bool {
	if c.v.ledger == nil || c.v.catalog.refresh(ctx) != nil {
		return false
	}
	state := c.v.catalog.row(n).state
	return state != ObjectLive && state != ObjectCondemned
}

// segments reads all index segments again.
func (c *check) segments(ctx context.Context) error {
	for _, o := range c.v.catalog.liveSegments() {
		if c.o.Level < CheckHeads {
			if err := c.segmentName(ctx, o.ID); err != nil {
				return err
			}
			continue
		}
		_, level, err := c.v.readSegment(ctx, o.ID)
		if err != nil && !isDamage(err) {
			return err
		}
		if err != nil && !c.v.catalog.segmentGone(ctx, o.ID) {
			c.damaged(segmentName(level, o.ID), missingIsDamage(err))
		}
	}
	return nil
}

// segmentName checks that a segment is there at all.
func (c *check) segmentName(ctx context.Context, id ID) error {
	for _, level := range segmentLevels {
		if _, err := c.v.store.Stat(ctx, segmentName(level, id)); err == nil {
			return nil
		} else if !errors.Is(err, blob.ErrNotExist) {
			return err
		}
	}
	if !c.v.catalog.segmentGone(ctx, id) {
		c.damaged(segmentName(0, id), chunk.Damaged(string(segmentName(0, id)), "it is missing"))
	}
	return nil
}

// liveSegments returns the segments that should be there.
func (c *catalog) liveSegments() []Object {
	c.refreshing.Lock()
	defer c.refreshing.Unlock()
	var out []Object
	for _, o := range c.segmentRow {
		if o.State == ObjectLive {
			out = append(out, o)
		}
	}
	return out
}

// segmentGone reports whether a segment was merged away since it was listed.
func (c *catalog) segmentGone(ctx context.Context, id ID) bool {
	if c.v.ledger == nil || c.refresh(ctx) != nil {
		return false
	}
	c.refreshing.Lock()
	defer c.refreshing.Unlock()
	o, ok := c.segmentRow[id]
	return !ok || o.State != ObjectLive
}

// packs reads trailers, or whole packs.
func (c *check) packs(ctx context.Context) error {
	if c.o.Level < CheckHeads {
		return nil
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(min(c.v.opts.Workers, 4))
	for n, row := range c.v.catalog.packs() {
		if row.state != ObjectLive && row.state != ObjectCondemned {
			continue
		}
		g.Go(func() error {
			err := c.pack(gctx, uint32(n), row)
			if err != nil && isDamage(err) {
				if !c.removed(gctx, uint32(n)) {
					c.badSlot(uint32(n), row, -1, missingIsDamage(err))
				}
				err = nil
			}
			c.progress(row.size)
			return err
		})
	}
	return g.Wait()
}

func (c *check) progress(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done += n
	if c.o.Progress != nil {
		c.o.Progress(c.done, c.total)
	}
}

// pack checks one pack; the error is damage of the whole.
func (c *check) pack(ctx context.Context, n uint32, row packRow) error {
	p, err := c.v.openPack(ctx, row)
	if err != nil {
		return err
	}
	if known, ok := c.v.catalog.set.Pack(n); ok && known.Slots != len(p.Slots) {
		return chunk.Damaged(p.Name(), "%d slots instead of %d", len(p.Slots), known.Slots)
	}
	if c.o.Level < CheckBytes {
		return nil
	}
	if row.kind == ObjectCold {
		return c.coldPack(ctx, n, row, p)
	}
	b, err := readRange(ctx, c.v.store, blob.Name(p.Name()), 0, p.Size, nil)
	if err != nil {
		return err
	}
	if known, ok := c.v.catalog.set.Pack(n); ok && known.Digest != [32]byte{} && known.Digest != digest(b) {
		c.damaged(blob.Name(p.Name()), chunk.Damaged(p.Name(), "its digest differs"))
	}
	op, err := pack.NewOpener(c.v.keys, p.Info)
	if err != nil {
		return err
	}
	var buf []byte
	for no, s := range p.Slots {
		if buf, err = c.slot(op, no, s, b[s.Offset:s.Offset+s.Stored], buf); err != nil {
			c.badSlot(n, row, no, fmt.Errorf("%s slot %d: %w", p.Name(), no, err))
		}
	}
	return ctx.Err()
}

// slot checks the bytes of one slot and returns the buffer that it decoded into.
func (c *check) slot(op pack.Opener, no int, s pack.Slot, stored, buf []byte) ([]byte, error) {
	encoded, err := op.Open(no, s, stored)
	if err != nil {
		return buf, err
	}
	plain, err := c.v.dec.Decompress(buf, s.Codec, encoded, int(s.Plain))
	if err != nil {
		return buf, err
	}
	if s.Codec == chunk.Zstd {
		buf = plain
	}
	return buf, pack.Verify(c.v.keys, s, plain)
}

// affected notes which points need what is damaged.
func (c *check) affected(id PointID, set refset.Set) bool {
	hit := false
	for n, bad := range c.slots {
		slots, ok := set.Pack(n)
		if !ok {
			continue
		}
		for slot := range slots.Each() {
			if bad.has(slot) {
				row := c.v.catalog.row(n)
				d := c.damages[string(packName(row.kind, row.id))]
				d.Points = append(d.Points, id)
				hit = true
				break
			}
		}
	}
	return hit
}
