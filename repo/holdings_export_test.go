package repo

import (
	"context"

	"github.com/lockfast/lockfast/repo/pack"
)

// SlotAt is a place in a pack.
type SlotAt struct {
	Pack pack.ID
	Slot int
}

// Holdings is everything that is in the packs of a vault, and what its points say they need.
type Holdings struct {
	Packs map[pack.ID]int64 // length of the object
	Cold  map[pack.ID]bool
	Slots map[SlotAt]pack.Slot
	Needs map[PointID]map[SlotAt]bool // by refsets
	Names map[PointID]map[ID]bool     // by entries: chunks and parts
}

// TakeHoldings reads trailers, refsets and entries. It shares nothing with what measures do, but for reading refsets.
func TakeHoldings(ctx context.Context, v *Vault) (Holdings, error) {
	in := Holdings{Packs: map[pack.ID]int64{}, Cold: map[pack.ID]bool{}, Slots: map[SlotAt]pack.Slot{}, Needs: map[PointID]map[SlotAt]bool{},
		Names: map[PointID]map[ID]bool{}}
	if err := v.catalog.refresh(ctx); err != nil {
		return in, err
	}
	for _, row := range v.catalog.packs() {
		if row.state != ObjectLive {
			continue
		}
		p, err := v.openPack(ctx, row)
		if err != nil {
			return in, err
		}
		in.Packs[p.ID] = p.Size
		in.Cold[p.ID] = row.kind == ObjectCold
		for i, s := range p.Slots {
			in.Slots[SlotAt{p.ID, i}] = s
		}
	}
	points, err := v.PointIDs(ctx)
	if err != nil {
		return in, err
	}
	for _, id := range points {
		if err := in.point(ctx, v, id); err != nil {
			return in, err
		}
	}
	return in, nil
}

func (in *Holdings) point(ctx context.Context, v *Vault, id PointID) error {
	p, err := v.OpenPoint(ctx, id)
	if err != nil {
		return err
	}
	defer p.Close()
	in.Names[id], in.Needs[id] = map[ID]bool{}, map[SlotAt]bool{}
	set, err := v.refset(ctx, id)
	if err != nil {
		return err
	}
	for s := range set.Packs() {
		for slot := range s.Each() {
			in.Needs[id][SlotAt{pack.ID(v.catalog.row(s.Pack).id), slot}] = true
		}
	}
	return p.contents(ctx, in.Names[id])
}
