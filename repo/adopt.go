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
	Left    []PointID // of manifests of which packs were never there: writers left them that did not come to an end
}

// Remains lists packs, segments and recovery points from the objects alone, for a vault opened by [OpenReadOnly]. A point
// counts if everything that it names is there or was: what is damaged in it is for a check to find.
func (v *Vault) Remains(ctx context.Context) (Remains, error) {
	if err := v.catalog.refresh(ctx); err != nil {
		return Remains{}, err
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

// TakeOver claims a vault for a ledger, whoever had claimed it: a service that works on it can write no more. It is for a
// vault whose own ledger is lost.
func TakeOver(ctx context.Context, s blob.Store, l Ledger, k KeyWrapper, o Options) error {
	v, err := openKeys(ctx, s, k, o)
	if err != nil {
		return err
	}
	identity, err := l.Identity(ctx)
	if err != nil {
		return fmt.Errorf("read identity of ledger: %w", err)
	}
	return v.Claim(ctx, identity)
}
