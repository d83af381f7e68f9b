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

// counter counts in an inventory, by brute force.
type counter struct{ repo.Inventory }

func take(ctx context.Context, v *repo.Vault) (counter, error) {
	in, err := repo.TakeInventory(ctx, v)
	return counter{in}, err
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
}

// step does one thing that changes what the vault holds.
func (h *changing) step(ctx context.Context) error {
	switch rapid.SampledFrom([]string{"backup", "backup", "backup", "delete", "delete", "copy", "reclaim"}).Draw(h.t, "step") {
	case "backup":
		_, err := h.backup(ctx, h.v, rapid.IntRange(0, 2).Draw(h.t, "resource"))
		return err
	case "delete":
		ids, err := h.some(ctx)
		if err != nil {
			return err
		}
		return h.remove(ctx, ids)
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
		for i, x := range h.lines {
			if x.id == id {
				h.lines[i] = line{have: x.have} // the next one has no parent, and finds what is still there
			}
		}
	}
	return nil
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
	for info, err := range h.s.List(ctx, "") {
		if err != nil {
			return err
		}
		want.PhysicalBytes += info.Size
	}
	for _, size := range c.Packs {
		want.LiveBytes += size
	}
	want.LiveBytes -= want.DeadBytes
	sizes := map[repo.PointID]repo.Sizes{}
	for id := range c.Needs {
		p, err := h.v.OpenPoint(ctx, id)
		if err != nil {
			return err
		}
		s := c.sizes(id)
		s.Logical = p.Stats().LogicalBytes
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
	if slots, parts := before.dead(); slots+parts != 0 {
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
	return freedAsSaid(before, after, gone, said, r)
}

// freedAsSaid compares the packs before and after a deletion and a reclaim with what was said about it
// (docs/format.md section 16.3).
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
	// Whatever is not a bundle is moved as it is, and bundles are, too, if none is split.
	split := bundles - freedBundles - bundlesNow
	if stored-storedNow != said.SlotBytes+split || r.BundlesSplit == 0 && split != 0 {
		return fmt.Errorf("slots took %d bytes and take %d, of which splitting %d bundles saved %d; said was %+v",
			stored, storedNow, r.BundlesSplit, split, said)
	}
	if plain-plainNow != freedPlain+said.PartBytes {
		return fmt.Errorf("slots held %d plain bytes and hold %d, %d were in slots that went; said was %+v",
			plain, plainNow, freedPlain, said)
	}
	if (r.BundlesSplit == 0) != (said.PartBytes == 0) {
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
// table with at most 12 bytes and an id for each slot, 3 bytes and an id for each part, and the frame of zstd; padding.
func (c counter) overhead() (least, most int64) {
	slots, table := map[pack.ID]int64{}, map[pack.ID]int64{}
	for at, s := range c.Slots {
		slots[at.Pack] += int64(s.Stored)
		table[at.Pack] += 12 + 16 + int64(len(s.Parts))*(3+16) + 3
	}
	for id := range c.Packs {
		least += 96 + 64
		used := slots[id] + 96 + 64 + 12 + 16 + table[id] + table[id]/128 + 64
		most += padded(used) - slots[id]
	}
	return least, most
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
		v, err := repo.Create(ctx, s, l, testKey, small())
		far, ferr := repo.Create(ctx, mem.New(), localledger.New(localledger.Options{}), testKey, other())
		if err := errors.Join(err, ferr); err != nil {
			rt.Fatal(err)
		}
		defer v.Close()
		defer far.Close()
		if rapid.Bool().Draw(rt, "bounded") {
			repo.BoundMeasures(v, 1, 10)
		}
		h := &changing{t: rt, v: v, far: far, s: s, l: l, lines: map[int]line{},
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
