package repo

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/lockfast/lockfast/blob"
)

// sweep removes what sessions left that ended without a recovery point, and what is left of deleted points. Packs that
// such sessions registered are not its business: they leave as any pack does. If the store holds a recovery point that the
// ledger has never heard of, nothing is removed.
func (r *reclaim) sweep(ctx context.Context) error {
	states, err := r.v.stateGenerations(ctx, "p/") // they are written before their manifests
	if err != nil {
		return err
	}
	// The listing comes first: what it shows belongs to sessions that the snapshot shows, unless they became points.
	manifests, refsets, err := r.listPoints(ctx)
	if err != nil {
		return err
	}
	snapshot, err := r.v.ledger.Snapshot(ctx)
	if err != nil {
		return fmt.Errorf("read ledger: %w", err)
	}
	if err := r.v.catalog.refresh(ctx); err != nil {
		return err
	}
	need := snapshot.needed()
	ended := map[SessionID]bool{}
	known := snapshot.known()
	for _, s := range snapshot.Sessions {
		if s.State == SessionActive {
			need[PointID(s.ID)] = true
		} else {
			ended[s.ID] = true
		}
	}
	over, lost, err := r.v.unrecorded(ctx, slices.Collect(maps.Keys(manifests)), snapshot, 1)
	if err != nil {
		return err
	}
	if len(lost) > 0 {
		return outdatedBy(lost[0])
	}
	maps.Copy(known, over)
	if err := r.sweepReserved(ctx, ended); err != nil {
		return err
	}
	var gone []blob.Name
	foreign := map[PointID]bool{}
	for id, names := range manifests {
		switch {
		case known[id] && !need[id] || known[id] && deleting(snapshot, id):
			gone = append(gone, names...)
		case !known[id]:
			foreign[id] = true
		}
	}
	for id, names := range refsets {
		if !need[id] && !foreign[id] {
			gone = append(gone, names...)
		}
	}
	orphans, err := r.v.orphanedStates(ctx, states,
		func(id PointID) bool { return known[id] && (!need[id] || deleting(snapshot, id)) },
		func(id PointID) bool { return !need[id] && len(manifests[id]) == 0 })
	if err != nil {
		return err
	}
	gone = append(gone, orphans...)
	if err := r.v.stillClaimed(ctx); err != nil {
		return err
	}
	if err := r.v.deleteAll(ctx, gone); err != nil {
		return err
	}
	r.report.ObjectsSwept += int64(len(gone))
	r.report.ForeignObjects = int64(len(foreign))
	if err := r.v.deleteAll(ctx, unlisted(snapshot, need, manifests, refsets, states)); err != nil {
		return err
	}
	if len(ended) == 0 {
		return nil
	}
	sessions := make([]SessionID, 0, len(ended))
	for id := range ended {
		sessions = append(sessions, id)
	}
	if err := r.v.ledger.Forget(ctx, r.s.row.ID, nil, sessions); err != nil {
		return fmt.Errorf("forget sessions: %w", err)
	}
	r.v.catalog.forgetReserved(ended)
	return nil
}

// sweepReserved removes what ended sessions reserved and never registered. A session of which the store retains something
// is taken out of ended, for the next reclaim to come back to it.
func (r *reclaim) sweepReserved(ctx context.Context, ended map[SessionID]bool) error {
	for id := range ended {
		names := r.v.catalog.reservedBy(map[SessionID]bool{id: true})
		kept, err := r.v.deleteUnlessRetained(ctx, names)
		if err != nil {
			return err
		}
		if kept {
			delete(ended, id)
		}
		r.report.ObjectsSwept += int64(len(names))
	}
	return nil
}

// unlisted names what ended writers may have left that a list does not show yet. Nobody will know their ids again.
func unlisted(s Snapshot, need map[PointID]bool, manifests, refsets map[PointID][]blob.Name,
	states map[PointID][]uint64) (names []blob.Name) {
	for _, writer := range s.Sessions {
		id := PointID(writer.ID)
		if writer.State == SessionActive || writer.Kind != SessionWriter || need[id] {
			continue
		}
		if len(manifests[id]) == 0 {
			names = append(names, manifestName(id))
		}
		if len(refsets[id]) == 0 {
			names = append(names, refsetName(id, 1))
		}
		if len(states[id]) == 0 {
			names = append(names, stateName(id, 1))
		}
	}
	return names
}

// deleting reports whether the deletion of a point has begun.
func deleting(s Snapshot, id PointID) bool {
	for _, p := range s.Points {
		if p.ID == id {
			return p.Deleting
		}
	}
	return false
}

// listPoints lists manifests and refsets by point.
func (r *reclaim) listPoints(ctx context.Context) (manifests, refsets map[PointID][]blob.Name, err error) {
	manifests, refsets = map[PointID][]blob.Name{}, map[PointID][]blob.Name{}
	for info, err := range r.v.store.List(ctx, "r/") {
		if err != nil {
			return nil, nil, fmt.Errorf("list manifests: %w", err)
		}
		if id, _, ok := parseManifestName(info.Name); ok {
			manifests[id] = append(manifests[id], info.Name)
		}
	}
	for info, err := range r.v.store.List(ctx, "f/") {
		if err != nil {
			return nil, nil, fmt.Errorf("list refsets: %w", err)
		}
		if id, _, ok := parseRefsetName(info.Name); ok {
			refsets[id] = append(refsets[id], info.Name)
		}
	}
	return manifests, refsets, nil
}

// reservedBy returns the names that ended sessions reserved and never registered.
func (c *catalog) reservedBy(ended map[SessionID]bool) []blob.Name {
	c.indexed.Lock()
	defer c.indexed.Unlock()
	var out []blob.Name
	for _, row := range c.packs() {
		if row.state == ObjectReserved && ended[row.session] {
			out = append(out, packName(row.kind, row.id))
		}
	}
	for _, o := range c.segmentRow {
		if o.State == ObjectReserved && ended[o.Session] {
			for _, level := range segmentLevels {
				out = append(out, segmentName(level, o.ID))
			}
		}
	}
	return out
}

// forgetReserved drops what the ledger forgot of ended sessions.
func (c *catalog) forgetReserved(ended map[SessionID]bool) {
	c.indexed.Lock()
	defer c.indexed.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.rows {
		if c.rows[i].state == ObjectReserved && ended[c.rows[i].session] {
			c.rows[i].state, c.rows[i].forgotten = ObjectRetired, true
		}
	}
	for id, o := range c.segmentRow {
		if o.State == ObjectReserved && ended[o.Session] {
			delete(c.segmentRow, id)
		}
	}
	c.publish()
}
