package repo

import (
	"context"
	"errors"
	"fmt"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/index"
	"github.com/lockfast/lockfast/repo/refset"
)

// Usage is what a vault takes and holds.
type Usage struct {
	PhysicalBytes int64 // of all objects of the vault
	LiveBytes     int64 // stored bytes of slots in use, by points, or by sessions that run
	DeadBytes     int64 // of packs, not in use. Parts of bundles do not count, which Reclaim may free too
	Points        int64
	LogicalBytes  int64 // sum over the points
}

// Sizes are the sizes of a recovery point in bytes.
type Sizes struct {
	Logical    int64
	Referenced int64 // stored bytes of all slots it uses
	Unique     int64 // of those, used by no other point: what deleting it frees
}

// Usage adds up what the vault takes.
func (v *Vault) Usage(ctx context.Context) (Usage, error) {
	if err := v.writable(); err != nil {
		return Usage{}, err
	}
	var u Usage
	for info, err := range v.store.List(ctx, "") {
		if err != nil {
			return Usage{}, fmt.Errorf("list vault: %w", err)
		}
		u.PhysicalBytes += info.Size
	}
	if err := v.catalog.refresh(ctx); err != nil {
		return Usage{}, err
	}
	m, err := v.mark(ctx, nil)
	if err != nil {
		return Usage{}, err
	}
	lengths := v.slotLengths()
	for n, row := range v.catalog.packs() {
		if row.state != ObjectLive && row.state != ObjectCondemned {
			continue
		}
		live, ok := m.live.Pack(uint32(n))
		switch dead := deadBytes(lengths[uint32(n)], live); {
		case m.owned[row.session]:
			u.LiveBytes += row.size
		case !ok:
			u.DeadBytes += row.size
		default:
			u.DeadBytes += dead
			u.LiveBytes += row.size - dead
		}
	}
	for _, p := range m.snapshot.Points {
		if p.Deleting {
			continue
		}
		manifest, err := v.readManifest(ctx, p.ID)
		if errors.Is(err, blob.ErrNotExist) && v.deleted(ctx, p.ID) {
			continue
		}
		if err != nil {
			return Usage{}, fmt.Errorf("recovery point %s: %w", p.ID, err)
		}
		u.Points++
		u.LogicalBytes += manifest.stats.LogicalBytes
	}
	return u, nil
}

// PointSizes computes the sizes of all points at once.
func (v *Vault) PointSizes(ctx context.Context) (map[PointID]Sizes, error) {
	for try := 0; ; try++ {
		out, err := v.pointSizes(ctx)
		// A point deleted meanwhile takes its refset along.
		if err == nil || !errors.Is(err, blob.ErrNotExist) || try == 5 {
			return out, err
		}
	}
}

func (v *Vault) pointSizes(ctx context.Context) (map[PointID]Sizes, error) {
	points, err := v.PointIDs(ctx)
	if err != nil {
		return nil, err
	}
	if err := v.catalog.refresh(ctx); err != nil {
		return nil, err
	}
	lengths := v.slotLengths()
	need := make(map[PointID]bool, len(points))
	for _, id := range points {
		need[id] = true
	}
	sets, err := v.refsetsOf(ctx, need)
	if err != nil {
		return nil, err
	}
	owners := countOwners(points, sets)
	out := make(map[PointID]Sizes, len(points))
	for i, id := range points {
		m, err := v.readManifest(ctx, id)
		if errors.Is(err, blob.ErrNotExist) && v.deleted(ctx, id) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("recovery point %s: %w", id, err)
		}
		s := Sizes{Logical: m.stats.LogicalBytes}
		for p := range sets[id].Packs() {
			if len(lengths[p.Pack]) < p.Total {
				row := v.catalog.row(p.Pack)
				return nil, chunk.Damaged(string(packName(row.kind, row.id)), "the index has %d of its %d slots",
					len(lengths[p.Pack]), p.Total)
			}
			for slot := range p.Each() {
				n := int64(lengths[p.Pack][slot])
				s.Referenced += n
				if owners[p.Pack][slot] == uint32(i+1) {
					s.Unique += n
				}
			}
		}
		out[id] = s
	}
	return out, nil
}

// shared marks a slot of several owners.
const shared = ^uint32(0)

// countOwners returns for every slot its only owner, as index into points + 1, or shared.
func countOwners(points []PointID, sets map[PointID]refset.Set) map[uint32][]uint32 {
	owners := map[uint32][]uint32{}
	for i, id := range points {
		for p := range sets[id].Packs() {
			if owners[p.Pack] == nil {
				owners[p.Pack] = make([]uint32, p.Total)
			}
			for slot := range p.Each() {
				owner := &owners[p.Pack][slot]
				if *owner == 0 {
					*owner = uint32(i + 1)
				} else {
					*owner = shared
				}
			}
		}
	}
	return owners
}

// slotLengths returns the stored length of every slot of every pack in the index.
func (v *Vault) slotLengths() map[uint32][]uint32 {
	c := v.catalog
	out := map[uint32][]uint32{}
	for _, s := range c.set.Segments() {
		numbers := make([]uint32, s.Packs())
		for i := range numbers {
			info := s.Pack(i)
			n, ok := c.known(info.ID)
			if !ok {
				n = index.NoPack
			} else if out[n] == nil {
				out[n] = make([]uint32, info.Slots)
			}
			numbers[i] = n
		}
		note := func(loc index.Location) {
			if int(loc.Pack) >= len(numbers) || numbers[loc.Pack] == index.NoPack {
				return
			}
			if l := out[numbers[loc.Pack]]; int(loc.Slot) < len(l) {
				l[loc.Slot] = loc.Stored
			}
		}
		for loc := range s.Bundles() {
			note(loc)
		}
		for _, loc := range s.All() {
			if !loc.Part {
				note(loc)
			}
		}
	}
	return out
}
