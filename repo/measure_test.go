package repo_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/localledger"
	"github.com/lockfast/lockfast/repo/pack"
)

// counter counts what there is, by brute force.
type counter struct{ repo.Holdings }

func take(ctx context.Context, v *repo.Vault) (counter, error) {
	h, err := repo.TakeHoldings(ctx, v)
	return counter{h}, err
}

// uses returns how many of the points need a slot.
func (c counter) uses(at repo.SlotAt, points map[repo.PointID]bool) (n int) {
	for id := range points {
		if c.Needs[id][at] {
			n++
		}
	}
	return n
}

func (c counter) names(part repo.ID, points map[repo.PointID]bool) bool {
	for id := range points {
		if c.Names[id][part] {
			return true
		}
	}
	return false
}

// points returns all points, or those but some.
func (c counter) points(but map[repo.PointID]bool) map[repo.PointID]bool {
	out := map[repo.PointID]bool{}
	for id := range c.Needs {
		if !but[id] {
			out[id] = true
		}
	}
	return out
}

// freed counts what goes with some points.
func (c counter) freed(gone map[repo.PointID]bool) (f repo.Freed) {
	stay := c.points(gone)
	f.Points = len(gone)
	for at, s := range c.Slots {
		here, there := c.uses(at, gone), c.uses(at, stay)
		switch {
		case here > 0 && there == 0:
			f.SlotBytes += int64(s.Stored)
			if c.Cold[at.Pack] {
				f.ColdBytes += int64(s.Stored)
			}
		case here > 0:
			f.SharedBytes += int64(s.Stored)
		}
		if there == 0 {
			continue
		}
		bundle := false
		for _, p := range s.Parts {
			if c.names(p.ID, gone) && !c.names(p.ID, stay) {
				f.PartBytes += int64(p.Length)
				bundle = true
				if c.Cold[at.Pack] {
					f.ColdPartBytes += int64(p.Length)
				}
			}
		}
		if bundle && here > 0 {
			f.BundleBytes += int64(s.Stored)
		}
	}
	return f
}

// sizes counts what single points take. Logical comes from elsewhere.
func (c counter) sizes(id repo.PointID) (s repo.Sizes) {
	f := c.freed(map[repo.PointID]bool{id: true})
	return repo.Sizes{Referenced: f.SlotBytes + f.SharedBytes, Unique: f.SlotBytes, UniqueParts: f.PartBytes}
}

// in returns what is in cold packs, or in the others.
func (c counter) in(cold bool) counter {
	out := counter{repo.Holdings{Packs: maps.Clone(c.Packs), Cold: c.Cold, Slots: maps.Clone(c.Slots), Needs: c.Needs, Names: c.Names}}
	maps.DeleteFunc(out.Packs, func(id pack.ID, _ int64) bool { return c.Cold[id] != cold })
	maps.DeleteFunc(out.Slots, func(at repo.SlotAt, _ pack.Slot) bool { return c.Cold[at.Pack] != cold })
	return out
}

// dead counts what nothing needs.
func (c counter) dead() (slots, parts int64) {
	all := c.points(nil)
	live := map[pack.ID]bool{}
	for at := range c.Slots {
		live[at.Pack] = live[at.Pack] || c.uses(at, all) > 0
	}
	for id, size := range c.Packs {
		if !live[id] {
			slots += size
		}
	}
	for at, s := range c.Slots {
		if c.uses(at, all) == 0 {
			if live[at.Pack] {
				slots += int64(s.Stored)
			}
			continue
		}
		for _, p := range s.Parts {
			if !c.names(p.ID, all) {
				parts += int64(p.Length)
			}
		}
	}
	return slots, parts
}

// total adds up all slots, and of bundles the stored bytes apart.
func (c counter) total() (stored, plain, bundles int64) {
	for _, s := range c.Slots {
		stored += int64(s.Stored)
		plain += int64(s.Plain)
		if s.Kind == chunk.Bundle {
			bundles += int64(s.Stored)
		}
	}
	return stored, plain, bundles
}

// changing is a vault whose resources change.
type changing struct {
	t      *rapid.T
	v, far *repo.Vault // far is where copies come from
	s      blob.Store
	l      *localledger.Ledger
	g      generator
	lines  map[int]line
	cold   map[repo.PointID]bool
}

// step does one thing that changes what the vault holds.
func (h *changing) step(ctx context.Context) error {
	switch rapid.SampledFrom([]string{"backup", "backup", "backup", "delete", "delete", "copy", "cold", "reclaim"}).Draw(h.t, "step") {
	case "backup":
		_, err := h.backup(ctx, h.v, rapid.IntRange(0, 2).Draw(h.t, "resource"))
		return err
	case "delete":
		ids, err := h.some(ctx)
		if err != nil {
			return err
		}
		return h.remove(ctx, ids)
	case "cold":
		return h.freeze(ctx)
	case "copy":
		id, err := h.backup(ctx, h.far, rapid.IntRange(3, 4).Draw(h.t, "resource"))
		if err == nil {
			_, _, err = copyPoint(ctx, h.far, h.v, id)
		}
		return err
	}
	_, err := h.v.Reclaim(ctx, repo.ReclaimOptions{Threshold: rapid.SampledFrom([]float64{0, 0.1, 0.5}).Draw(h.t, "threshold")})
	return err
}

// freeze moves a warm point, if there is one, to cold storage.
func (h *changing) freeze(ctx context.Context) error {
	ids, err := h.v.PointIDs(ctx)
	ids = slices.DeleteFunc(ids, func(id repo.PointID) bool { return h.cold[id] })
	if err != nil || len(ids) == 0 {
		return err
	}
	id := rapid.SampledFrom(ids).Draw(h.t, "moved")
	cold, err := moveToCold(ctx, h.v, h.l, id)
	h.cold[cold] = true
	h.forget(id)
	return err
}

func (h *changing) backup(ctx context.Context, v *repo.Vault, resource int) (repo.PointID, error) {
	last := h.lines[resource]
	have := h.g.files(1 + h.g.IntN(30))
	if last.have != nil {
		have = h.g.change(last.have)
	}
	before := last.have
	if last.id == "" {
		before = nil
	}
	id, err := backup(ctx, v, last.id, have, before)
	h.lines[resource] = line{id, have}
	return id, err
}

// some draws points to delete.
func (h *changing) some(ctx context.Context) (out []repo.PointID, err error) {
	ids, err := h.v.PointIDs(ctx)
	for _, id := range ids {
		if rapid.Bool().Draw(h.t, "deleted") {
			out = append(out, id)
		}
	}
	return out, err
}

func (h *changing) remove(ctx context.Context, ids []repo.PointID) error {
	for _, id := range ids {
		if err := remove(ctx, h.v, h.l, id); err != nil {
			return err
		}
		h.forget(id)
	}
	return nil
}

// forget says that a point cannot be a parent: the next one has none, and finds what is still there.
func (h *changing) forget(id repo.PointID) {
	for i, x := range h.lines {
		if x.id == id {
			h.lines[i] = line{have: x.have}
		}
	}
}

// check compares a measure with what counting gives.
func (h *changing) check(ctx context.Context) error {
	c, err := take(ctx, h.v)
	if err != nil {
		return err
	}
	held := map[repo.PointID]bool{}
	for _, id := range slices.Sorted(maps.Keys(c.Needs)) {
		if rapid.Bool().Draw(h.t, "held") {
			held[id] = true
		}
	}
	m, err := h.v.Measure(ctx, func(id repo.PointID) bool { return held[id] })
	if err != nil {
		return err
	}
	want := repo.Usage{Points: int64(len(c.Needs)), LockedBytes: c.freed(held).SlotBytes}
	want.DeadBytes, want.DeadPartBytes = c.dead()
	frozen := c.in(true)
	want.Cold.DeadBytes, want.Cold.DeadPartBytes = frozen.dead()
	want.Cold.LiveBytes = frozen.physical() - want.Cold.DeadBytes
	for info, err := range h.s.List(ctx, "") {
		if err != nil {
			return err
		}
		want.PhysicalBytes += info.Size
	}
	want.LiveBytes = c.physical() - want.DeadBytes
	sizes := map[repo.PointID]repo.Sizes{}
	for id := range c.Needs {
		p, err := h.v.OpenPoint(ctx, id)
		if err != nil {
			return err
		}
		s := c.sizes(id)
		s.Logical = p.Stats().LogicalBytes
		if p.Cold() {
			want.Cold.Points++
		}
		p.Close()
		sizes[id] = s
		want.LogicalBytes += s.Logical
	}
	if diff := cmp.Diff(want, m.Usage) + cmp.Diff(sizes, m.Sizes); diff != "" {
		return fmt.Errorf("measure (-counted +got):\n%s", diff)
	}
	return nil
}

// free says what deleting points would free, does it, and compares.
func (h *changing) free(ctx context.Context) error {
	if _, err := h.v.Reclaim(ctx, repo.ReclaimOptions{}); err != nil {
		return err
	}
	ids, err := h.some(ctx)
	if err != nil {
		return err
	}
	before, err := take(ctx, h.v)
	if err != nil {
		return err
	}
	if slots, parts := before.in(false).dead(); slots+parts != 0 {
		return fmt.Errorf("%d bytes and %d bytes of parts are dead after a reclaim", slots, parts)
	}
	said, err := h.v.WouldFree(ctx, ids)
	if err != nil {
		return err
	}
	gone := map[repo.PointID]bool{}
	for _, id := range ids {
		gone[id] = true
	}
	want := before.freed(gone)
	want.Epoch = said.Epoch
	if diff := cmp.Diff(want, said); diff != "" {
		return fmt.Errorf("would free (-counted +said):\n%s", diff)
	}
	if err := h.remove(ctx, ids); err != nil {
		return err
	}
	r, err := h.v.Reclaim(ctx, repo.ReclaimOptions{})
	if err != nil {
		return err
	}
	after, err := take(ctx, h.v)
	if err != nil {
		return err
	}
	return errors.Join(freedAsSaid(before.in(false), after.in(false), gone, said, r), coldStays(before, after, gone))
}

// coldStays demands that of cold storage everything is there that is needed, and no pack of which nothing is.
func coldStays(before, after counter, gone map[repo.PointID]bool) error {
	plain := func(c counter, of map[repo.PointID]bool) (n int64) { // what is no bundle is moved as it is
		for at, s := range c.in(true).Slots {
			if s.Kind != chunk.Bundle && c.uses(at, of) > 0 {
				n += int64(s.Stored)
			}
		}
		return n
	}
	if was, is := plain(before, before.points(gone)), plain(after, after.points(nil)); was != is {
		return fmt.Errorf("cold slots that are needed took %d bytes, and take %d", was, is)
	}
	needed := map[pack.ID]bool{}
	for at := range after.Slots {
		needed[at.Pack] = needed[at.Pack] || after.uses(at, after.points(nil)) > 0
	}
	for id := range after.in(true).Packs {
		if !needed[id] {
			return fmt.Errorf("cold pack %s stays, of which nothing is needed", id)
		}
	}
	return nil
}

// freedAsSaid compares the packs, but cold ones, before and after a deletion and a reclaim with what was said about it
// (docs/format.md section 16.5).
func freedAsSaid(before, after counter, gone map[repo.PointID]bool, said repo.Freed, r repo.ReclaimReport) error {
	stored, plain, bundles := before.total()
	storedNow, plainNow, bundlesNow := after.total()
	stay := before.points(gone)
	var freedPlain, freedBundles int64
	for at, s := range before.Slots {
		if before.uses(at, stay) > 0 {
			continue
		}
		freedPlain += int64(s.Plain)
		if s.Kind == chunk.Bundle {
			freedBundles += int64(s.Stored)
		}
	}
	slots, parts := said.SlotBytes-said.ColdBytes, said.PartBytes-said.ColdPartBytes
	// Whatever is not a bundle is moved as it is, and bundles are, too, if none is split.
	split := bundles - freedBundles - bundlesNow
	if stored-storedNow != slots+split || r.BundlesSplit == 0 && split != 0 {
		return fmt.Errorf("slots took %d bytes and take %d, of which splitting %d bundles saved %d; said was %+v",
			stored, storedNow, r.BundlesSplit, split, said)
	}
	if plain-plainNow != freedPlain+parts {
		return fmt.Errorf("slots held %d plain bytes and hold %d, %d were in slots that went; said was %+v",
			plain, plainNow, freedPlain, said)
	}
	frozen := slices.Contains(slices.Collect(maps.Values(before.Cold)), true) // whose dead parts may be split off as well
	if r.BundlesSplit == 0 && parts != 0 || r.BundlesSplit != 0 && parts == 0 && !frozen {
		return fmt.Errorf("%d bundles were split; said was %+v", r.BundlesSplit, said)
	}
	// The object of a pack is larger than its slots by something that is known in advance, up to a bound.
	fixed, most := before.overhead()
	fixedNow, mostNow := after.overhead()
	freed := before.physical() - after.physical()
	if least, up := stored-storedNow+fixed-mostNow, stored-storedNow+most-fixedNow; freed < least || freed > up {
		return fmt.Errorf("packs are smaller by %d bytes, not between %d and %d", freed, least, up)
	}
	return nil
}

func (c counter) physical() (n int64) {
	for _, size := range c.Packs {
		n += size
	}
	return n
}

// overhead bounds what packs take beside their slots: header, footer and trailer with 12 bytes of head and two tags; the
// table with at most 12 bytes and an id for each slot, 3 bytes and an id for each part, and the frame of zstd; parity, of
// meta packs over everything; padding.
func (c counter) overhead() (least, most int64) {
	slots, table, whole := map[pack.ID]int64{}, map[pack.ID]int64{}, map[pack.ID]bool{}
	for at, s := range c.Slots {
		slots[at.Pack] += int64(s.Stored)
		table[at.Pack] += 12 + 16 + int64(len(s.Parts))*(3+16) + 3
		whole[at.Pack] = s.Kind == chunk.Node || s.Kind == chunk.List
	}
	for id := range c.Packs {
		least += 96 + 64
		used := slots[id] + 96 + 64 + 12 + 16 + table[id] + table[id]/128 + 64
		covered := used
		if !whole[id] {
			covered -= slots[id]
		}
		most += padded(used+parity(covered)) - slots[id]
	}
	return least, most
}

// parity is how much longer n covered bytes make a pack at most (docs/format.md sections 5.7 and 7.6): a copy of the
// footer, two shards, two tables, and less than a shard of padding.
func parity(n int64) int64 {
	shard := 4096 * (1 + n/131072)
	return 64 + 3*shard + 8*(32+3)
}

// padded is docs/format.md section 7.5.
func padded(n int64) int64 {
	unit := int64(64 << 10)
	if n < 4<<20 {
		e := bits.Len64(uint64(n)) - 1
		unit = 1 << max(0, e-bits.Len(uint(e)))
	}
	return (n + unit - 1) / unit * unit
}

func TestMeasure_IsWhatCountingGives(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		ctx := context.Background()
		s, l := mem.New(), localledger.New(localledger.Options{})
		v, err := repo.Create(ctx, s, l, testKey, coldOptions())
		far, ferr := repo.Create(ctx, mem.New(), localledger.New(localledger.Options{}), testKey, other())
		if err := errors.Join(err, ferr); err != nil {
			rt.Fatal(err)
		}
		defer v.Close()
		defer far.Close()
		if rapid.Bool().Draw(rt, "bounded") {
			repo.BoundMeasures(v, 1, 10)
		}
		h := &changing{t: rt, v: v, far: far, s: s, l: l, lines: map[int]line{}, cold: map[repo.PointID]bool{},
			g: newGenerator(rapid.Uint64().Draw(rt, "seed"))}
		for range rapid.IntRange(1, 8).Draw(rt, "steps") {
			if err := errors.Join(h.step(ctx), h.check(ctx)); err != nil {
				rt.Fatal(err)
			}
		}
		if err := errors.Join(h.free(ctx), h.check(ctx)); err != nil {
			rt.Fatal(err)
		}
	})
}
