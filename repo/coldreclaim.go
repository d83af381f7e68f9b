package repo

import (
	"context"
	"fmt"
	"time"
)

// tierID is a chunk in cold storage or out of it, between which reclaim moves nothing.
type tierID struct {
	id   ID
	cold bool
}

func (m *mover) key(id ID) tierID { return tierID{id, m.x.kind == ObjectCold} }

func (b *bundleMover) key(id ID) tierID { return tierID{id, b.kind == ObjectCold} }

// packer returns what takes the slots of a pack that goes.
func (r *reclaim) packer(kind ObjectKind) *packer {
	switch kind {
	case ObjectMeta:
		return r.w.meta
	case ObjectCold:
		return r.w.cold
	}
	return r.w.data
}

// coldFate is what becomes of a cold pack.
type coldFate int

const (
	coldStays  coldFate = iota
	coldGoes            // nothing or little of it is needed
	coldMerges          // it is small and all of it is needed
)

// leastCold is the share of a cold pack, one in so many, below which what is needed of it is moved.
const leastCold = 5

// weighCold decides about a live cold pack, of whose slots so many bytes are dead, and notes what of it is.
func (r *reclaim) weighCold(x *victim, dead int64) coldFate {
	now := r.o.Now
	if now.IsZero() {
		now = time.Now()
	}
	x.dead = dead + x.parts
	switch {
	case now.Sub(x.since) < r.o.ColdMinimum:
		return coldStays
	case x.live.Total == 0:
		return coldGoes
	case leastCold*(x.size-x.dead) < x.size:
		return coldGoes
	case x.dead == 0 && x.size < r.packTarget(ObjectCold)/smallPack:
		return coldMerges
	}
	return coldStays
}

// ColdUsage is what cold storage takes of a vault, in bytes of cold packs. It is part of [Usage].
type ColdUsage struct {
	LiveBytes int64 // in use, by points or by sessions that run
	DeadBytes int64 // not in use
	Points    int64 // that are in cold storage
}

// ColdUsage adds up what cold storage takes.
func (v *Vault) ColdUsage(ctx context.Context) (ColdUsage, error) {
	if err := v.writable(); err != nil {
		return ColdUsage{}, err
	}
	if err := v.catalog.refresh(ctx); err != nil {
		return ColdUsage{}, err
	}
	m, err := v.mark(ctx, nil)
	if err != nil {
		return ColdUsage{}, err
	}
	var u ColdUsage
	lengths := v.slotLengths()
	for n, row := range v.catalog.packs() {
		if row.kind != ObjectCold || !readable(row.state) {
			continue
		}
		live, ok := m.live.Pack(uint32(n))
		dead := deadBytes(lengths[uint32(n)], live)
		switch {
		case m.owned[row.session]:
			dead = 0
		case !ok:
			dead = row.size
		}
		u.DeadBytes += dead
		u.LiveBytes += row.size - dead
	}
	for _, p := range m.snapshot.Points {
		if p.Deleting {
			continue
		}
		manifest, err := v.readManifest(ctx, p.ID)
		if err != nil && v.deleted(ctx, p.ID) {
			continue
		}
		if err != nil {
			return ColdUsage{}, fmt.Errorf("recovery point %s: %w", p.ID, err)
		}
		if manifest.warm != "" {
			u.Points++
		}
	}
	return u, nil
}
