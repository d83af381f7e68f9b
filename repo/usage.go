package repo

import (
	"cmp"
	"context"

	"github.com/lockfast/lockfast/repo/index"
)

// Usage is what a vault takes and holds (docs/format.md section 16.5).
type Usage struct {
	PhysicalBytes int64 // of all objects of the vault
	LiveBytes     int64 // of packs that are needed by points, or by sessions that run, without dead slots
	DeadBytes     int64 // of slots and of whole packs that nothing needs: what waits for a reclaim
	DeadPartBytes int64 // plain bytes of parts that nothing needs in bundles that something needs: Reclaim frees them when asked to free everything
	RetainedBytes int64 // of DeadBytes, those of packs that the store retains now: no reclaim frees them before that ends
	LockedBytes   int64 // of LiveBytes, slots that only points need which are held
	Points        int64
	LogicalBytes  int64     // sum over the points
	Cold          ColdUsage // of all these, what is in cold storage
}

// ColdUsage is what cold storage takes of a vault, in bytes of cold packs. It is part of [Usage]. Reclaim leaves what is
// dead of a cold pack while much of the pack is needed, whatever it is asked for.
type ColdUsage struct {
	LiveBytes     int64 // in use, by points or by sessions that run
	DeadBytes     int64 // not in use
	DeadPartBytes int64
	Points        int64 // that are in cold storage
}

// Sizes are the sizes of a recovery point in bytes.
type Sizes struct {
	Logical     int64
	Referenced  int64 // stored bytes of all slots it uses
	Unique      int64 // of those, used by no other point: what deleting it frees
	UniqueParts int64 // plain bytes of parts that only it needs, in bundles that others need too
}

// Usage adds up what the vault takes.
func (v *Vault) Usage(ctx context.Context) (Usage, error) {
	m, err := v.Measure(ctx, nil)
	return m.Usage, err
}

// ColdUsage adds up what cold storage takes.
func (v *Vault) ColdUsage(ctx context.Context) (ColdUsage, error) {
	u, err := v.Usage(ctx)
	return u.Cold, err
}

// PointSizes computes the sizes of all points at once.
func (v *Vault) PointSizes(ctx context.Context) (map[PointID]Sizes, error) {
	m, err := v.Measure(ctx, nil)
	return m.Sizes, err
}

// eachSlot calls fn for every slot of the index in a pack that has a row: with the number of its pack, the slots that
// has, and where it is, of which Pack is not set. The same slot may come several times.
func (v *Vault) eachSlot(fn func(n uint32, slots int, loc index.Location)) {
	for _, s := range v.catalog.set.Segments() {
		numbers, slots := make([]uint32, s.Packs()), make([]int, s.Packs())
		for i := range numbers {
			info := s.Pack(i)
			n, ok := v.catalog.known(info.ID)
			if !ok {
				n = index.NoPack
			}
			numbers[i], slots[i] = n, info.Slots
		}
		for loc := range s.Slots() {
			if n := numbers[loc.Pack]; n != index.NoPack {
				fn(n, slots[loc.Pack], loc)
			}
		}
	}
}

// lengthWindow gives the lengths of slots of packs that are asked for in about ascending order. It holds a window of them,
// so that its memory does not grow with the vault, and goes through the index once for each window.
type lengthWindow struct {
	v        *Vault
	from, to uint32 // packs in the window
	lengths  [][]uint32
}

// windowSlots is how many slots are in a window, about: 4 bytes each.
const windowSlots = 8 << 20

// of returns the stored lengths of the slots of a pack; nil if it is not in the index.
func (w *lengthWindow) of(n uint32) []uint32 {
	if n < w.from || n >= w.to {
		w.move(n)
	}
	return w.lengths[n-w.from]
}

func (w *lengthWindow) move(n uint32) {
	set, count, limit := w.v.catalog.set, uint32(w.v.catalog.count()), cmp.Or(w.v.measured.slots, windowSlots)
	w.from, w.to = n, n
	w.lengths = w.lengths[:0]
	for slots := 0; w.to == n || w.to < count && slots < limit; w.to++ {
		info, _ := set.Pack(w.to)
		slots += info.Slots
		w.lengths = append(w.lengths, make([]uint32, info.Slots))
	}
	w.v.eachSlot(func(n uint32, _ int, loc index.Location) {
		if w.from <= n && n < w.to && int(loc.Slot) < len(w.lengths[n-w.from]) {
			w.lengths[n-w.from][loc.Slot] = loc.Stored
		}
	})
}

// count returns how many packs have numbers.
func (c *catalog) count() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.rows)
}
