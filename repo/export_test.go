package repo

import (
	"context"
	"time"

	"github.com/lockfast/lockfast/repo/chunk"
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
