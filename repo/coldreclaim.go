package repo

import "time"

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
	return r.w.dataPacker()
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
	x.dead = dead + x.parts
	goes := x.live.Total == 0 || leastCold*(x.size-x.dead) < x.size
	switch {
	case r.o.ColdMinimum > 0 && time.Since(x.since) < r.o.ColdMinimum:
		if goes {
			r.report.Next = earlier(r.report.Next, x.since.Add(r.o.ColdMinimum))
		}
		return coldStays
	case goes:
		return coldGoes
	case x.dead == 0 && x.size < r.packTarget(ObjectCold)/smallPack:
		return coldMerges
	}
	return coldStays
}
