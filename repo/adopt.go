package repo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/lockfast/lockfast/blob"
)

// Remains is what the objects of a vault tell of what its ledger knew.
type Remains struct {
	Objects []Object // packs and index segments, all live; also packs that are gone but that the index describes
	Points  []PointID
	Highest uint64    // number of the heads that manifests carry
	Left    []PointID // of manifests of which packs were never there: writers left them that did not come to an end
}

// Remains lists packs, segments and recovery points from the objects alone, for a vault opened by [OpenReadOnly] that has been
// claimed for the ledger that is to adopt them: whoever had the vault before can write no more. A point counts if everything
// that it names is there or was: what is damaged in it is for a check to find. If packs are in no segment that can be read, it
// publishes one that describes them, because a vault with a ledger looks into segments only.
func (v *Vault) Remains(ctx context.Context) (Remains, error) {
	if v.claim.Load() == 0 {
		return Remains{}, fmt.Errorf("list what remains: vault %x was not claimed: %w", v.UUID(), ErrReadOnly)
	}
	if err := v.catalog.refresh(ctx); err != nil {
		return Remains{}, err
	}
	published, err := v.describeAll(ctx)
	if err != nil {
		return Remains{}, fmt.Errorf("list what remains: %w", err)
	}
	known := map[ID]Object{}
	for n, row := range v.catalog.packs() {
		info, indexed := v.catalog.set.Pack(uint32(n))
		switch {
		case row.state == ObjectLive:
			known[row.id] = Object{ID: row.id, Kind: row.kind, State: ObjectLive, Size: row.size}
		case indexed:
			known[row.id] = Object{ID: row.id, Kind: packKind(info.Type), State: ObjectLive, Size: info.Size}
		}
	}
	out := Remains{Objects: slices.Collect(maps.Values(known))}
	if published != nil {
		out.Objects = append(out.Objects, *published) // the catalog was read before
	}
	for _, o := range v.catalog.liveSegments() {
		info, err := v.segmentSize(ctx, o.ID)
		if err != nil {
			return Remains{}, err
		}
		out.Objects = append(out.Objects, Object{ID: o.ID, Kind: ObjectSegment, State: ObjectLive, Size: info})
	}
	manifests, err := v.manifests(ctx)
	if err != nil {
		return Remains{}, err
	}
	for _, id := range manifests {
		if m, err := v.readManifest(ctx, id); err == nil {
			out.Highest = max(out.Highest, m.head.Number)
		} else if !isDamage(err) {
			return Remains{}, err
		}
		ok, err := v.plausible(ctx, id, known)
		if err != nil {
			return Remains{}, err
		}
		if ok {
			out.Points = append(out.Points, id)
		} else {
			out.Left = append(out.Left, id)
			v.log.Warn("manifest is left out, its packs were never there", "object", manifestName(id))
		}
	}
	return out, nil
}

func (v *Vault) segmentSize(ctx context.Context, id ID) (int64, error) {
	var err error
	for _, level := range segmentLevels {
		var info blob.Info
		if info, err = v.store.Stat(ctx, segmentName(level, id)); err == nil {
			return info.Size, nil
		}
	}
	return 0, fmt.Errorf("read segment %s: %w", segmentName(0, id), err)
}

// plausible reports whether all packs that a point's refset names are known. If no refset can be read, the point counts
// when its tree can be.
func (v *Vault) plausible(ctx context.Context, id PointID, known map[ID]Object) (bool, error) {
	generations, err := v.generations(ctx, "f/", id)
	if err != nil {
		return false, err
	}
	records, _, err := v.readNewest(ctx, id, generations[id])
	if errors.Is(err, ErrDamaged) || errors.Is(err, blob.ErrNotExist) {
		_, err = v.derived(ctx, id, generations[id], err)
		return err == nil, nil
	}
	if err != nil {
		return false, err
	}
	for i := range records {
		if _, ok := known[ID(records[i].ID)]; !ok {
			return false, nil
		}
	}
	return true, nil
}
