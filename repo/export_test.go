package repo

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/index"
	"github.com/lockfast/lockfast/repo/pack"
	"github.com/lockfast/lockfast/repo/refset"
	"github.com/lockfast/lockfast/repo/seal"
	"github.com/lockfast/lockfast/repo/tree"
)

// Poke makes the sessions of a vault look for a new epoch now, as they do by themselves after some seconds.
func Poke(v *Vault) { v.pokeSessions() }

// LookAtEpoch pokes the sessions of a vault until a reclaim by another one is done, and returns its error.
func LookAtEpoch(v *Vault, reclaimed <-chan error) error {
	for {
		v.pokeSessions()
		select {
		case err := <-reclaimed:
			return err
		case <-time.After(time.Millisecond):
		}
	}
}

// DeadParts counts the parts in bundles of live packs, without cold ones, that no entry of a recovery point refers to, and all bundles. It
// reads trailers and entries, and shares nothing with what reclaim does.
func DeadParts(ctx context.Context, v *Vault) (dead, bundles int, err error) {
	needed := map[ID]bool{}
	points, err := v.PointIDs(ctx)
	if err != nil {
		return 0, 0, err
	}
	for _, id := range points {
		p, err := v.OpenPoint(ctx, id)
		if err != nil {
			return 0, 0, err
		}
		err = p.contents(ctx, needed)
		p.Close()
		if err != nil {
			return 0, 0, err
		}
	}
	for _, row := range v.catalog.packs() {
		if row.state != ObjectLive || row.kind == ObjectCold { // which keep what is dead for longer
			continue
		}
		p, err := v.openPack(ctx, row)
		if err != nil {
			return 0, 0, err
		}
		for _, s := range p.Slots {
			if s.Kind == chunk.Bundle {
				bundles++
			}
			for _, part := range s.Parts {
				if !needed[part.ID] {
					dead++
				}
			}
		}
	}
	return dead, bundles, nil
}

// contents adds the ids of what entries refer to.
func (p *Point) contents(ctx context.Context, to map[ID]bool) error {
	for e, err := range p.Entries(ctx, nil) {
		if err != nil {
			return err
		}
		for _, x := range e.Refs {
			to[x.ID] = true
		}
		for x, err := range tree.Extents(ctx, pointStore{p.v}, e.Content, 0) {
			if err != nil {
				return err
			}
			to[x.ID] = true
		}
	}
	return nil
}

// BoundMeasures sets how many bytes of refsets and how many slots a measure holds at once.
func BoundMeasures(v *Vault, refsets int64, slots int) {
	v.measured.refsets, v.measured.slots = refsets, slots
}

// Misplaced returns a recovery point whose refset names a pack of the wrong tier: a cold one a data pack, or a warm one a
// cold pack; empty if there is none.
func Misplaced(ctx context.Context, v *Vault) (PointID, error) {
	ids, err := v.PointIDs(ctx)
	if err != nil {
		return "", err
	}
	for _, id := range ids {
		set, err := v.refset(ctx, id)
		if err != nil {
			return "", err
		}
		m, err := v.readManifest(ctx, id)
		if err != nil {
			return "", err
		}
		wrong := ObjectCold
		if m.warm != "" {
			wrong = ObjectData
		}
		for p := range set.Packs() {
			if v.catalog.row(p.Pack).kind == wrong {
				return id, nil
			}
		}
	}
	return "", nil
}

// PrepareUnresolved prepares a recovery point as Prepare does, but for the contents that are in no pack, which it passes over.
func PrepareUnresolved(ctx context.Context, w *Writer, f Facts) (Prepared, error) {
	if err := w.drain(); err != nil {
		return Prepared{}, err
	}
	w.copied = true // its tree is finished
	if err := w.storeLastPacks(); err != nil {
		return Prepared{}, err
	}
	if err := w.tree.resolveLater(false); err != nil {
		return Prepared{}, err
	}
	w.tree.later = nil
	return w.Prepare(ctx, f)
}

// Unindex takes contents out of the only index segment of a vault, which is to be opened anew afterwards.
func Unindex(ctx context.Context, v *Vault, gone ...ID) error {
	segments := v.catalog.liveSegments()
	if len(segments) != 1 {
		return fmt.Errorf("%d segments", len(segments))
	}
	b := index.NewBuilder()
	for n, row := range v.catalog.packs() {
		p, err := v.openPack(ctx, row)
		if err != nil {
			return err
		}
		info := index.PackInfo{Info: p.Info, Slots: len(p.Slots)}
		for _, s := range p.Slots {
			all := []ID{s.ID}
			if s.Kind == chunk.Bundle {
				all = nil
			}
			for _, part := range s.Parts {
				all = append(all, part.ID)
			}
			for _, id := range all {
				for loc := range v.catalog.set.Places(id) {
					if loc.Pack == uint32(n) && !slices.Contains(gone, id) {
						b.Add(id, info, loc)
					}
				}
			}
		}
	}
	built, err := b.BuildID(index.SegmentID(segments[0].ID))
	if err != nil {
		return err
	}
	name := segmentName(0, segments[0].ID)
	if err := v.store.Delete(ctx, name); err != nil {
		return err
	}
	_, err = v.putSealed(ctx, seal.TypeSegment, name, built.Plain)
	return err
}

// RootOf returns the root of a recovery point's tree.
func RootOf(p *Point) ID { return p.m.root }

// PlaceOf returns the place of a content that stands in one pack.
func PlaceOf(v *Vault, id ID) (packID pack.ID, slot int) {
	for loc := range v.catalog.set.Places(id) {
		return pack.ID(v.catalog.row(loc.Pack).id), int(loc.Slot)
	}
	return pack.ID{}, -1
}

// ChangeRefset writes a further generation of a recovery point's refset, without a slot or with a further one.
func ChangeRefset(ctx context.Context, v *Vault, id PointID, in pack.ID, slot int, drop bool) error {
	set, err := v.refset(ctx, id)
	if err != nil {
		return err
	}
	n, _ := v.catalog.known(in)
	b := refset.NewBuilder()
	for s := range set.Packs() {
		for has := range s.Each() {
			if !drop || s.Pack != n || has != slot {
				b.Add(s.Pack, has)
			}
		}
	}
	if !drop {
		b.Add(n, slot)
	}
	if set, err = b.Set(v.catalog.slots); err != nil {
		return err
	}
	return v.putRefset(ctx, refsetName(id, 2), set)
}

// Refresh reads what is new in the ledger.
func (v *Vault) Refresh(ctx context.Context) error { return v.catalog.refresh(ctx) }

// Needs returns the names of the packs that a recovery point needs now, without asking the ledger what is new.
func (v *Vault) Needs(ctx context.Context, id PointID) (names []string, err error) {
	set, err := v.refset(ctx, id)
	if err != nil {
		return nil, err
	}
	for s := range set.Packs() {
		row := v.catalog.row(s.Pack)
		names = append(names, string(packName(row.kind, row.id)))
	}
	slices.Sort(names)
	return names, nil
}

// LiveSegments returns how many segments are known, loaded and not replaced.
func (v *Vault) LiveSegments() (n int) {
	live := v.catalog.liveSegments()
	for _, o := range live {
		if v.catalog.loaded(o.ID) {
			n++
		}
	}
	return n
}
