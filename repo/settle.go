package repo

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"
)

// settler lets victims that have been moved go while others are still moved: so space comes back as the reclaim goes on, it needs little
// of its own, and removing, which waits for the disk, goes beside copying, which waits for the processor. What is done to them, and in
// which order, is the same as at the end of a reclaim that had no other victims.
type settler struct {
	r     *reclaim
	ctx   context.Context
	tasks *errgroup.Group // one at a time
	batch int64           // bytes of victims that are worth it

	mu    sync.Mutex
	begun []*victim // whose slots have been moved, or are on their way; guarded by mu
	fresh int64     // bytes of those that begun got since somebody looked for moved ones; guarded by mu
}

// settlePacks is how many packs of full size, at least, go at once before the end, and again as many for so many recovery points, because
// each of these may have a refset to be written anew.
const settlePacks = 4

// newSettler also returns a context that ends when settling failed.
func (r *reclaim) newSettler(ctx context.Context) (*settler, context.Context) {
	tasks, tctx := errgroup.WithContext(ctx)
	tasks.SetLimit(1)
	packs := r.v.settle * (1 + len(r.marks.snapshot.needed())/settlePacks)
	return &settler{r: r, ctx: ctx, tasks: tasks, batch: int64(packs) * r.packTarget(ObjectData)}, tctx
}

// add takes note that the slots of a victim have been moved, or are on their way.
func (s *settler) add(x *victim) {
	s.mu.Lock()
	s.begun = append(s.begun, x)
	s.fresh += x.size
	enough := s.fresh >= s.batch
	s.mu.Unlock()
	if enough {
		s.start()
	}
}

// start lets go, in the background, what has been moved, while that is worth it, unless this is under way.
func (s *settler) start() {
	s.tasks.TryGo(func() error {
		for {
			victims := s.take()
			if len(victims) == 0 {
				return nil
			}
			if err := s.r.settle(s.ctx, victims); err != nil {
				return err
			}
		}
	})
}

// take returns the victims that have been moved, if they are worth it.
func (s *settler) take() []victim {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fresh = 0
	var ready, left []*victim
	var bytes int64
	for _, x := range s.begun {
		if s.r.hasMoved(x) {
			ready = append(ready, x)
			bytes += x.size
		} else {
			left = append(left, x)
		}
	}
	if bytes < s.batch {
		return nil
	}
	s.begun = left
	victims := make([]victim, len(ready))
	for i, x := range ready {
		victims[i], x.settled = *x, true
	}
	return victims
}

// wait returns when nothing is going any more.
func (s *settler) wait() error { return s.tasks.Wait() }

// hasMoved reports whether everything that is needed of a victim is in packs that are durable, registered and in the index of this session.
func (r *reclaim) hasMoved(x *victim) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.moves[x.id]
	if x.keep || m == nil || m.slots < x.live.Count() {
		return false
	}
	for id := range m.into {
		if _, ok := r.w.indexedPacks.Load(id); !ok {
			return false
		}
	}
	return true
}

// settle retires victims that have been moved, and removes them once no refset names them.
func (r *reclaim) settle(ctx context.Context, victims []victim) error {
	if err := r.retire(ctx, victims); err != nil {
		return err
	}
	if err := r.rewriteRefsets(ctx); err != nil {
		return err
	}
	return r.removeRetired(ctx)
}
