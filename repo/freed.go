package repo

import (
	"context"

	"github.com/lockfast/lockfast/repo/index"
	"github.com/lockfast/lockfast/repo/refset"
)

// Freed is what becomes of the data of some points if they are deleted, all together (docs/format.md section 16.5).
type Freed struct {
	Epoch         uint64 // gc epoch of the ledger
	Points        int    // how many of them there are
	SlotBytes     int64  // stored bytes of slots that nothing else needs: a reclaim frees them, but ColdBytes when it suits
	PinnedBytes   int64  // stored bytes of slots that sessions need, and no other points: free when these have ended
	RetainedBytes int64  // of SlotBytes, those in packs that the store retains now: free when that has ended
	PartBytes     int64  // plain bytes of parts that nothing else needs, in bundles that stay: a reclaim of everything frees them
	SharedBytes   int64  // stored bytes of slots that other points need, too, and that stay
	BundleBytes   int64  // of SharedBytes, bundles with such parts

	ColdBytes     int64 // of SlotBytes, in cold packs: free when little of the pack is needed (docs/format.md section 16.4)
	ColdPartBytes int64 // of PartBytes, likewise
}

// WouldFree says what deleting points would free. Those that there are not are left out. Like [Vault.Measure], it may have
// to begin again.
func (v *Vault) WouldFree(ctx context.Context, points []PointID) (Freed, error) {
	goes := map[PointID]bool{}
	for _, id := range points {
		goes[id] = true
	}
	var out Freed
	err := v.accounted(ctx, func(id PointID) bool { return goes[id] }, func(a *account) error {
		f := whatIf{account: a}
		f.Epoch = a.snapshot.Epoch
		for _, goes := range a.held {
			if goes {
				f.Points++
			}
		}
		err := a.list(ctx)
		if err == nil {
			err = a.ranges(func(from, to uint32, window *lengthWindow) error { return f.between(ctx, from, to, window) })
		}
		if err == nil {
			err = f.parts(ctx)
		}
		out = f.Freed
		return err
	})
	if err != nil {
		return Freed{}, err
	}
	return out, nil
}

// whatIf is one calculation of what points would free. Those that account holds are the ones to go.
type whatIf struct {
	*account
	Freed
	shared refset.Set    // slots of points to go that others need, too
	window *lengthWindow // nil if there are no packs
}

// between adds up the slots of a range of packs.
func (f *whatIf) between(ctx context.Context, from, to uint32, window *lengthWindow) error {
	sets, err := f.refsets(ctx, f.points, from, to)
	if err != nil {
		return err
	}
	pinned, err := f.refsets(ctx, f.pinned, from, to)
	if err != nil {
		return err
	}
	whole := refset.UnionAll(append(pinned, within(f.pins, from, to))...)
	gone, stay := f.sides(sets)
	only, shared := refset.AndNot(gone, stay), refset.Intersect(gone, stay)
	free := refset.AndNot(only, whole)
	f.SlotBytes += free.Bytes(window.of)
	f.ColdBytes += refset.Only(free, f.v.catalog.isCold).Bytes(window.of)
	if err := f.retains(ctx, free, window); err != nil {
		return err
	}
	f.PinnedBytes += refset.Intersect(only, whole).Bytes(window.of)
	f.SharedBytes += shared.Bytes(window.of)
	f.live = refset.Union(f.live, stay)
	f.whole = refset.Union(f.whole, whole)
	f.shared = refset.Union(f.shared, shared)
	f.window = window
	return nil
}

// retains adds up what the store retains of slots.
func (f *whatIf) retains(ctx context.Context, free refset.Set, window *lengthWindow) error {
	var rows []packRow
	for s := range free.Packs() {
		rows = append(rows, f.v.catalog.row(s.Pack))
	}
	until, err := f.v.retainedUntil(ctx, rows)
	if len(until) > 0 {
		f.RetainedBytes += refset.Only(free, func(n uint32) bool {
			_, retained := until[f.v.catalog.row(n).id]
			return retained
		}).Bytes(window.of)
	}
	return err
}

// parts adds up the parts that only the points name which go, in bundles that stay. Bundles that sessions need stay whole
// until these have ended.
func (f *whatIf) parts(ctx context.Context) error {
	roots, unknown, err := f.roots(ctx)
	if err != nil {
		return err
	}
	fixed, err := f.fixed(ctx, unknown)
	if err != nil {
		return err
	}
	tally := f.v.catalog.set.Tally()
	for _, goes := range []bool{false, true} {
		tally.Begin()
		for i, root := range roots {
			if f.held[i] != goes {
				continue
			}
			if err := f.v.nameAll(ctx, tally, root); err != nil {
				return f.broken(ctx, err)
			}
		}
	}
	bundles := refset.NewBuilder()
	stays := func(loc index.Location) bool {
		no, slot := loc.Pack, int(loc.Slot)
		if !f.live.Has(no, slot) || f.whole.Has(no, slot) || fixed.Has(no, slot) {
			return false
		}
		if f.shared.Has(no, slot) {
			bundles.Add(no, slot)
		}
		return true
	}
	tally.Begin()
	var all, cold int64
	count := func(loc index.Location) {
		if !stays(loc) {
			return
		}
		all += int64(loc.PartLength)
		if f.v.catalog.isCold(loc.Pack) {
			cold += int64(loc.PartLength)
		}
	}
	for i, root := range roots {
		if !f.held[i] {
			continue
		}
		if err := f.v.soleParts(ctx, tally, root, count); err != nil {
			return f.broken(ctx, err)
		}
	}
	set, err := bundles.Set(f.v.catalog.slots)
	if err != nil {
		return err
	}
	f.PartBytes, f.ColdPartBytes, f.BundleBytes = all, cold, set.Bytes(f.window.of)
	return nil
}
