package repo

import (
	"context"
	"encoding/binary"
	"math/rand/v2"

	"github.com/lockfast/lockfast/repo/index"
	"github.com/lockfast/lockfast/repo/pack"
	"github.com/lockfast/lockfast/repo/refset"
	"github.com/lockfast/lockfast/repo/seal"
)

// Generated is a vault that has an index and refsets, but neither packs nor trees.
type Generated struct {
	Packs, Slots int // slots of each pack
	Segments     int // that describe the packs
	Points       int
	Needs        int // packs that each point needs; those of neighbours overlap, and every eighth is needed in part
}

// Generate fills an empty vault and returns the points, from the one that needs the first packs on.
func Generate(ctx context.Context, v *Vault, g Generated) ([]PointID, error) {
	points := make([]PointID, g.Points)
	for i := range points {
		s, err := v.ledger.Open(ctx, SessionOptions{Kind: SessionWriter})
		if err != nil {
			return nil, err
		}
		points[i] = PointID(s.ID)
		if err := v.ledger.(interface {
			Commit(ctx context.Context, p Prepared) error
		}).Commit(ctx, Prepared{Session: s.ID, Point: points[i]}); err != nil {
			return nil, err
		}
	}
	s, err := v.openSession(ctx, SessionOptions{Kind: SessionWriter})
	if err != nil {
		return nil, err
	}
	defer v.ledger.Close(ctx, s.row.ID)
	for i := range g.Segments {
		if err := g.segment(ctx, v, s.row.ID, (i+1)*g.Packs/g.Segments-i*g.Packs/g.Segments, uint64(i)); err != nil {
			return nil, err
		}
	}
	if err := v.catalog.refresh(ctx); err != nil {
		return nil, err
	}
	for i, id := range points {
		if err := g.refset(ctx, v, id, i); err != nil {
			return nil, err
		}
	}
	return points, nil
}

// segment publishes packs that there are not.
func (g Generated) segment(ctx context.Context, v *Vault, s SessionID, packs int, seed uint64) error {
	r := rand.New(rand.NewPCG(seed, 1))
	id := func() (id ID) {
		binary.LittleEndian.PutUint64(id[:], r.Uint64())
		binary.LittleEndian.PutUint64(id[8:], r.Uint64())
		return id
	}
	const stored = 32 << 10
	b := index.NewBuilder()
	slots := make([]pack.Slot, g.Slots)
	objects := make([]Object, packs)
	for i := range objects {
		objects[i] = Object{ID: id(), Kind: ObjectData, Size: int64(g.Slots) * stored}
		for no := range slots {
			slots[no] = pack.Slot{ID: id(), Offset: uint32(64 + no*stored), Stored: stored, Plain: stored - 16}
		}
		b.AddPack(index.PackInfo{Info: pack.Info{ID: pack.ID(objects[i].ID), Type: seal.TypeDataPack, Size: objects[i].Size}, Slots: g.Slots}, slots)
	}
	if err := v.ledger.Reserve(ctx, s, objects); err != nil {
		return err
	}
	if err := v.ledger.Register(ctx, s, objects); err != nil {
		return err
	}
	if err := v.catalog.refresh(ctx); err != nil {
		return err
	}
	built, err := b.Build()
	if err != nil {
		return err
	}
	return v.putSegment(ctx, s, 0, built)
}

// refset writes what point i needs.
func (g Generated) refset(ctx context.Context, v *Vault, id PointID, i int) error {
	b := refset.NewBuilder()
	first := i * (g.Packs - g.Needs) / max(1, g.Points-1)
	for n := first; n < first+g.Needs; n++ {
		if n%8 != 0 {
			b.AddAll(uint32(n))
			continue
		}
		for slot := n / 8 % 3; slot < g.Slots; slot += 3 {
			b.Add(uint32(n), slot)
		}
	}
	set, err := b.Set(v.catalog.slots)
	if err != nil {
		return err
	}
	return v.putRefset(ctx, refsetName(id, 1), set)
}

// Mark does what a reclaim does first: it adds up what all points need, and weighs what is dead. It returns how many slots
// are needed and how many bytes are not.
func Mark(ctx context.Context, v *Vault) (needed int, dead int64, err error) {
	m, err := v.mark(ctx, nil)
	if err != nil {
		return 0, 0, err
	}
	for _, n := range v.deadStored(m.live, len(v.catalog.packs())) {
		dead += n
	}
	return m.live.Count(), dead, nil
}

// Entries returns the numbers of entries of the segments of the index.
func Entries(v *Vault) (all []int) {
	for _, s := range v.catalog.set.Segments() {
		all = append(all, s.Len())
	}
	return all
}

// SettleEach lets a reclaim remove each pack as soon as it has been moved.
func SettleEach(v *Vault) { v.settle = 0 }

// MergeAtMost bounds the entries of segments that a reclaim makes.
func MergeAtMost(v *Vault, entries int) { v.merge = entries }
