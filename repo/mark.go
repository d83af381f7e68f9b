package repo

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/index"
	"github.com/lockfast/lockfast/repo/refset"
)

// marks says which slots are needed, and which parts of bundles.
type marks struct {
	snapshot Snapshot
	live     refset.Set
	owned    map[SessionID]bool // active sessions: all packs they registered are needed
	whole    refset.Set         // of live, those of which every part is needed
	parts    *index.Marks       // ids of the parts that are needed of other bundles; nil = every part of every bundle is
}

// mark reads points and sessions and adds up what they need. The catalog has been refreshed before, so that a pack it
// knows belongs to a session that the snapshot shows, or to a point. parts, if not nil, takes the ids of all that points
// need; those of an earlier mark may be in it already.
func (v *Vault) mark(ctx context.Context, parts *index.Marks) (marks, error) {
	for try := 0; ; try++ {
		m, err := v.markOnce(ctx, parts)
		// A point deleted between the two steps takes its refset along; then the ledger says so when asked again.
		if err == nil || !errors.Is(err, blob.ErrNotExist) || try == 5 {
			return m, err
		}
	}
}

func (v *Vault) markOnce(ctx context.Context, parts *index.Marks) (marks, error) {
	m := marks{owned: map[SessionID]bool{}, parts: parts}
	var err error
	if m.snapshot, err = v.ledger.Snapshot(ctx); err != nil {
		return m, fmt.Errorf("read ledger: %w", err)
	}
	// Refsets of points committed meanwhile may name packs that the catalog has not met.
	if err := v.catalog.refresh(ctx); err != nil {
		return m, err
	}
	var whole, sets []refset.Set
	pinned := map[PointID]bool{}
	for _, s := range m.snapshot.Sessions {
		if s.State != SessionActive {
			continue
		}
		m.owned[s.ID], pinned[s.Pin] = true, true
		set, err := v.pinned(s)
		if err != nil {
			return m, err
		}
		whole = append(whole, set)
	}
	points, err := v.refsetsOf(ctx, m.snapshot.needed())
	if err != nil {
		return m, err
	}
	if err := v.markParts(ctx, &m, points, pinned); err != nil {
		return m, err
	}
	for id, set := range points {
		if pinned[id] {
			whole = append(whole, set)
		} else {
			sets = append(sets, set)
		}
	}
	m.whole = unionAll(whole)
	m.live = refset.Union(m.whole, unionAll(sets))
	return m, nil
}

// needed returns the points whose refsets count: committed ones, and those that sessions pin.
func (s *Snapshot) needed() map[PointID]bool {
	need := map[PointID]bool{}
	for _, p := range s.Points {
		if !p.Deleting {
			need[p.ID] = true
		}
	}
	for _, x := range s.Sessions {
		if x.State == SessionActive && x.Pin != "" {
			need[x.Pin] = true
		}
	}
	return need
}

// pinned returns what a session said it relies on.
func (v *Vault) pinned(s Session) (refset.Set, error) {
	if len(s.Pins) == 0 {
		return refset.Set{}, nil
	}
	records, _, err := refset.Parse("pins of session "+string(s.ID), s.Pins)
	if err != nil {
		return refset.Set{}, err
	}
	set, err := v.current(records)
	if err != nil {
		return refset.Set{}, fmt.Errorf("pins of session %s: %w", s.ID, err)
	}
	return set, nil
}

// refsetsOf reads the refsets of points, several at once.
func (v *Vault) refsetsOf(ctx context.Context, need map[PointID]bool) (map[PointID]refset.Set, error) {
	generations, err := v.refsetGenerations(ctx, "f/")
	if err != nil {
		return nil, err
	}
	order := make([]PointID, 0, len(need))
	for id := range need {
		order = append(order, id)
	}
	sets := make([]refset.Set, len(order))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, id := range order {
		g.Go(func() error {
			var err error
			if sets[i], err = v.currentOf(gctx, id, generations[id]); err != nil {
				sets[i], err = v.refset(gctx, id)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	out := make(map[PointID]refset.Set, len(order))
	for i, id := range order {
		out[id] = sets[i]
	}
	return out, nil
}

// unionAll returns the union of many sets, pairing them so that each is copied only a few times.
func unionAll(sets []refset.Set) refset.Set {
	for len(sets) > 1 {
		half := sets[:0]
		for i := 0; i < len(sets); i += 2 {
			if i+1 < len(sets) {
				half = append(half, refset.Union(sets[i], sets[i+1]))
			} else {
				half = append(half, sets[i])
			}
		}
		sets = half
	}
	if len(sets) == 0 {
		return refset.Set{}
	}
	return sets[0]
}
