package repo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/pack"
)

// Levels of a check; each includes those before it.
const (
	CheckNames = 0 // every object that should be there is, with its size
	CheckHeads = 1 // header, footer and trailer of every pack; index segments; checksums that the store keeps of packs
	CheckTrees = 2 // manifests, trees and refsets: all that a point refers to is in the index and in its refset
	CheckBytes = 3 // every byte of every pack; every chunk is opened and its id compared
)

// CheckOptions tunes a check.
type CheckOptions struct {
	Level    int                     // 0 to 3, see [CheckNames] to [CheckBytes]
	Progress func(done, total int64) // bytes of packs; may be nil
	// Since lets a check go on that was interrupted: packs that the ledger says were found sound at this level since then,
	// by the ledger's clock, are not read again. Zero reads all.
	Since  time.Time
	States StateKeeper // tells of states that are missing, at every level; may be nil
}

// CheckReport is what a check found.
type CheckReport struct {
	Level   int
	Points  int64
	Packs   int64
	Bytes   int64    // of packs listed
	Damages []Damage // nil = sound; ascending by object

	PacksRead  int64 // of Packs, those of which every byte was checked; of a check that went on, before the interruption too
	BytesRead  int64 // of them
	PacksKnown int64 // of PacksRead, those that were checked before the interruption
	// PacksSummed are those of Packs of which not every byte was checked, but of which the store has the checksum that
	// they were put with ([blob.Summer]): all that a check of heads knows of what is between header and trailer.
	PacksSummed int64
	BytesSummed int64 // of them
	// Healed are damaged packs that no recovery point needs any more, because what they need of them stands elsewhere, or
	// never did. Reclaim removes them.
	Healed []Damage
	// Mended is how many recovery points had a part of their content in damaged slots and now name other copies.
	Mended int64
	// DamagedPoints are the recovery points that miss something, ascending.
	DamagedPoints []DamagedPoint
	Foreign       []string // objects that do not belong to the vault, at most 100; they are left alone
	ForeignCount  int64
}

// DamagedPoint says what of a recovery point cannot be restored.
type DamagedPoint struct {
	ID    PointID
	Paths [][]byte // keys of entries, in order, at most 1000, and less when all damaged points together have very many
	More  int64    // further ones
	// Unknown is set when a part of the tree cannot be read: entries that are not in Paths may be lost too.
	Unknown bool
}

// Damage is one damaged object and what it affects.
type Damage struct {
	Object string    // name in the store
	Err    error     // what is wrong with it; its text does not begin with the name again
	Points []PointID // that need what is damaged, ascending
	Paths  [][]byte  // keys of entries in the first of them that miss what is damaged, at most 100
}

const (
	maxDamagedPaths = 100 // of a damaged object that are named

	// Paths of damaged points that are named: of one, of all, and of one when those before it have used up what all may have.
	maxPointPaths = 1000
	maxAllPaths   = 10_000
	minPointPaths = 20
)

// Check verifies the vault. Damage is in the report, not in the error, which tells why the check could not be made.
// Backups and reclaim may run meanwhile; what they remove is not damage.
//
// With a ledger, what is found is recorded there: nothing new relies on a damaged pack, so that the next backup that
// reads its contents stores them again. A check that finds a recovery point in need of a damaged slot whose content also
// stands elsewhere has the point name that copy. Records of what a full check finds sound are dropped. A check below
// [CheckBytes] does not see what is recorded but repeats it.
func (v *Vault) Check(ctx context.Context, o CheckOptions) (CheckReport, error) {
	if o.Level < CheckNames || o.Level > CheckBytes {
		return CheckReport{}, fmt.Errorf("check level %d: want %d to %d", o.Level, CheckNames, CheckBytes)
	}
	v.observed.forget(nil)
	c := v.newCheck(o)
	for _, step := range []func(context.Context) error{
		c.known, c.names, c.foreign, c.journal, c.small, c.roots, c.states, c.segments, c.packs, c.record, c.points, c.record,
	} {
		if err := step(ctx); err != nil {
			return CheckReport{}, fmt.Errorf("check vault: %w", err)
		}
	}
	c.sort()
	return c.report, nil
}

func (v *Vault) newCheck(o CheckOptions) *check {
	workers := min(v.opts.Workers, 4)
	return &check{
		v: v, o: o, report: CheckReport{Level: o.Level}, workers: workers,
		buffers: newBuffers(int(max(v.format.DataPack, v.format.MetaPack))+1<<20, workers),
		damages: map[string]*Damage{}, slots: map[uint32]*badPack{}, records: map[DamageRecord]string{},
	}
}

// sort puts damages where they belong in the report.
func (c *check) sort() {
	known := true // all refsets could be read, so it is known what is needed
	for name := range c.damages {
		known = known && !strings.HasPrefix(name, "f/") && !strings.HasPrefix(name, "r/")
	}
	unneeded := map[string]bool{}
	for n := range c.slots {
		row := c.v.catalog.row(n)
		name := packName(row.kind, row.id)
		unneeded[string(name)] = known && len(c.damages[string(name)].Points) == 0 && !c.v.observed.has(name)
	}
	for _, name := range slices.Sorted(maps.Keys(c.damages)) {
		if unneeded[name] {
			c.report.Healed = append(c.report.Healed, *c.damages[name])
		} else {
			c.report.Damages = append(c.report.Damages, *c.damages[name])
		}
	}
}

// around takes over damage that reads of this check got around, by parity or from other objects.
func (c *check) around() {
	for _, d := range c.v.observed.all() {
		known := c.damaged(blob.Name(d.Object), d.Err)
		if len(known.Points) == 0 {
			known.Points = d.Points
		}
	}
}

// check is one run.
type check struct {
	v      *Vault
	o      CheckOptions
	report CheckReport

	workers int      // packs read at once
	buffers *buffers // for whole packs

	mu      sync.Mutex // guards what follows
	damages map[string]*Damage
	slots   map[uint32]*badPack     // by number of the pack
	records map[DamageRecord]string // reasons, by records without one
	sound   []ID                    // packs found sound and not recorded yet
	done    int64
	total   int64

	verified map[ID]bool    // packs that were found sound before
	old      []DamageRecord // what the ledger knew before
	named    int            // paths of damaged points
	scrub    bool           // it is a part of a check, so what it does not find may still be damaged
}

// damaged notes damage; the first error of an object is kept.
func (c *check) damaged(name blob.Name, err error) *Damage {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.damages[string(name)]
	if d == nil {
		d = &Damage{Object: string(name), Err: withoutName(name, err)}
		c.damages[string(name)] = d
	}
	return d
}

// badSlot notes a damaged slot of a pack, or with -1 the whole pack.
func (c *check) badSlot(n uint32, row packRow, slot int, err error) {
	name := packName(row.kind, row.id)
	c.damaged(name, err)
	c.v.catalog.suspect(n)
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.slots[n]
	if b == nil {
		b = &badPack{}
		c.slots[n] = b
	}
	b.add(slot)
	c.records[DamageRecord{Object: string(name), Pack: row.id, Slot: slot}] = withoutName(name, err).Error()
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
			c.badSlot(uint32(n), row, WholeObject, chunk.Damaged(string(name), "it is missing"))
		case size != row.size:
			c.badSlot(uint32(n), row, WholeObject, chunk.Damaged(string(name), "%d bytes instead of %d", size, row.size))
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

// segments looks at all index segments again.
func (c *check) segments(ctx context.Context) error {
	for _, o := range c.v.catalog.liveSegments() {
		if err := c.segment(ctx, o.ID); err != nil {
			return err
		}
	}
	return nil
}

// segment looks at an index segment and, from [CheckHeads] on, reads it.
func (c *check) segment(ctx context.Context, id ID) error {
	if c.o.Level < CheckHeads {
		return c.segmentName(ctx, id)
	}
	_, level, err := c.v.readSegment(ctx, id)
	if errors.Is(err, blob.ErrNotExist) {
		c.segmentMissing(ctx, id)
		return nil
	}
	if err != nil && !isDamage(err) {
		return err
	}
	if err != nil && !c.v.catalog.segmentGone(ctx, id) {
		c.damaged(segmentName(level, id), err)
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
	c.segmentMissing(ctx, id)
	return nil
}

// segmentMissing notes that a segment is not there, unless it was merged away.
func (c *check) segmentMissing(ctx context.Context, id ID) {
	if !c.v.catalog.segmentGone(ctx, id) {
		name := segmentName(c.v.catalog.segmentLevel(id), id)
		c.damaged(name, chunk.Damaged(string(name), "it is missing"))
	}
}

// segmentLevel returns the level of a segment that was read when it was there, else 0.
func (c *catalog) segmentLevel(id ID) int {
	c.indexed.Lock()
	defer c.indexed.Unlock()
	return c.segments[id]
}

// liveSegments returns the segments that should be there.
func (c *catalog) liveSegments() []Object {
	c.indexed.Lock()
	defer c.indexed.Unlock()
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
	c.indexed.Lock()
	defer c.indexed.Unlock()
	o, ok := c.segmentRow[id]
	return !ok || o.State != ObjectLive
}

// packs reads trailers, or whole packs.
func (c *check) packs(ctx context.Context) error {
	if c.o.Level < CheckHeads {
		return nil
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(c.workers)
	for n, row := range c.v.catalog.packs() {
		if row.state != ObjectLive && row.state != ObjectCondemned {
			continue
		}
		if c.verified[row.id] {
			c.report.PacksKnown++
			c.read(row)
			c.progress(row.size)
			continue
		}
		g.Go(func() error {
			err := c.checkPack(gctx, uint32(n), row)
			c.progress(row.size)
			return err
		})
	}
	return errors.Join(g.Wait(), c.noteSound(ctx, 1))
}

// read counts a pack of which every byte was checked.
func (c *check) read(row packRow) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.PacksRead++
	c.report.BytesRead += row.size
}

func (c *check) progress(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done += n
	if c.o.Progress != nil {
		c.o.Progress(c.done, c.total)
	}
}

// checkPack checks one pack and notes its damage.
func (c *check) checkPack(ctx context.Context, n uint32, row packRow) error {
	err := c.pack(ctx, n, row)
	if err == nil || !isDamage(err) {
		return err
	}
	if !c.removed(ctx, n) {
		c.badSlot(n, row, WholeObject, missingIsDamage(err))
	}
	return nil
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
		if other, err := c.otherSum(ctx, row); other == nil {
			return err
		}
		c.logOther(row)
	}
	if row.kind == ObjectCold {
		return c.coldPack(ctx, n, row, p)
	}
	return c.bytes(ctx, n, row, p)
}

// bytes checks every byte of a pack.
func (c *check) bytes(ctx context.Context, n uint32, row packRow, p *pack.Pack) error {
	whole := c.buffers.get(int(p.Size))
	b, err := readRange(ctx, c.v.store, blob.Name(p.Name()), 0, p.Size, whole)
	if err != nil {
		c.buffers.put(whole)
		return err
	}
	defer c.buffers.put(b)
	sound := true
	known, ok := c.v.catalog.set.Pack(n)
	differs := ok && known.Digest != [32]byte{} && known.Digest != digest(b)
	op, err := pack.NewOpener(c.v.keys(), p.Info)
	if err != nil {
		return err
	}
	var buf []byte
	for no, s := range p.Slots {
		if buf, err = c.slot(op, no, s, b[s.Offset:s.Offset+s.Stored], buf); err != nil {
			sound = false
			if name := fmt.Sprintf("%s slot %d", p.Name(), no); string(objectOf(err)) != name {
				err = fmt.Errorf("%s: %w", name, err)
			}
			c.badSlot(n, row, no, err)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	c.read(row)
	if differs && sound { // header, padding or parity: the contents are whole, but what is around them is not as it was
		return chunk.Damaged(p.Name(), "its digest differs")
	}
	if !sound || c.v.observed.has(blob.Name(p.Name())) { // or only its parity made it so
		return nil
	}
	return c.isSound(ctx, n, row)
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
	return buf, pack.Verify(c.v.keys(), s, plain)
}
