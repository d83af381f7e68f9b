package repo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"sync"

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
		if err == nil || !errors.Is(err, blob.ErrNotExist) {
			return m, err
		}
		// A point deleted between the two steps takes its refset along; then the ledger says so when asked again.
		now, lerr := v.ledger.Snapshot(ctx)
		if lerr != nil || try >= 5 && maps.Equal(now.needed(), m.snapshot.needed()) {
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
	whole, rest := refset.NewSum(), refset.NewSum()
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
		whole.AddSet(set)
	}
	need := m.snapshot.needed()
	if err := v.markParts(ctx, &m, need, pinned); err != nil {
		return m, err
	}
	err = v.sumRefsets(ctx, need, func(id PointID) *refset.Sum {
		if pinned[id] {
			return whole
		}
		return rest
	})
	if err != nil {
		return m, err
	}
	m.whole = whole.Set()
	rest.AddSet(m.whole)
	m.live = rest.Set()
	return m, nil
}

// sumRefsets adds the refset of each point to a sum. However many there are, only those that are being read are in memory.
func (v *Vault) sumRefsets(ctx context.Context, need map[PointID]bool, to func(PointID) *refset.Sum) error {
	var mu sync.Mutex // guards the sums
	return v.eachRefset(ctx, need, func(id PointID, n needs) error {
		records := n.records
		numbers, retired, err := v.numbers(records)
		if err != nil {
			return err
		}
		if retired || n.derived != nil {
			set, err := v.currentOf(n)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			to(id).AddSet(set)
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		sum := to(id)
		for i := range records {
			s := records[i].Slots
			s.Pack = numbers[i]
			sum.Add(s)
		}
		return nil
	})
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

// eachRefset reads the refsets of points, several at once, and gives each to take, once more if it was rewritten meanwhile
// and take says that what it names is not there.
func (v *Vault) eachRefset(ctx context.Context, need map[PointID]bool, take func(PointID, needs) error) error {
	generations, err := v.refsetGenerations(ctx, "f/")
	if err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for id := range need {
		g.Go(func() error {
			if gctx.Err() != nil {
				return gctx.Err()
			}
			err := v.takeRefset(gctx, id, generations[id], take)
			if err != nil {
				return fmt.Errorf("refset of recovery point %s: %w", id, missingIsDamage(err))
			}
			return nil
		})
	}
	return g.Wait()
}
