package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/refset"
)

// rewriteRefsets writes a new generation of every refset that names a retired pack, then removes the older ones.
func (r *reclaim) rewriteRefsets(ctx context.Context) error {
	// Sessions first: what one of them commits later may name packs retired by now, and they keep these from being
	// forgotten. Refsets of points committed before are in the listing.
	snapshot, err := r.v.ledger.Snapshot(ctx)
	if err != nil {
		return fmt.Errorf("read ledger: %w", err)
	}
	r.before = snapshot
	generations, err := r.v.refsetGenerations(ctx, "f/")
	if err != nil {
		return err
	}
	for id := range snapshot.needed() {
		err := r.rewriteRefset(ctx, id, generations[id])
		if errors.Is(err, blob.ErrNotExist) && r.v.deleted(ctx, id) {
			continue
		}
		if r.relocated != nil && isDamage(err) {
			r.unreadable = true // a repair names it, and goes on with the others
			continue
		}
		if err != nil { // it might name a pack that is about to be forgotten, which would damage it
			return err
		}
	}
	for _, s := range snapshot.Sessions {
		id := PointID(s.ID)
		if s.State != SessionActive || len(generations[id]) == 0 {
			continue
		}
		if err := r.rewriteRefset(ctx, id, generations[id]); err != nil && !errors.Is(err, blob.ErrNotExist) { // given up meanwhile
			return err
		}
	}
	return nil
}

// rewriteRefset leaves one generation of a refset, a new one if the newest names a retired pack.
func (r *reclaim) rewriteRefset(ctx context.Context, id PointID, generations []int) error {
	records, keep, err := r.v.readNewest(ctx, id, generations)
	damaged := errors.Is(err, ErrDamaged) || err != nil && len(generations) == 0 || r.derive[id]
	if err != nil && !damaged {
		return err
	}
	if damaged || r.v.observed.has(refsetName(id, keep)) || r.v.namesRetired(records) || r.namesRelocated(records) {
		all, err := r.v.withLaterRefsets(ctx, id, generations)
		if err != nil {
			return err
		}
		if len(all) > len(generations) { // the list lacked what is new
			return r.rewriteRefset(ctx, id, all)
		}
		set, err := r.rewritten(ctx, id, generations)
		if r.derive[id] && len(records) > 0 && isDamage(err) {
			return nil // its tree lacks something; Repair names it
		}
		if err != nil {
			return fmt.Errorf("refset of recovery point %s: %w", id, err)
		}
		return r.nextRefset(ctx, id, max(1, keep), generations, set)
	}
	return r.removeRefsets(ctx, id, keep, generations)
}

// nextRefset writes the generation of a refset that follows newest and all that there are, and removes these. Without any, newest is 1: a
// first one that is gone had its name.
func (r *reclaim) nextRefset(ctx context.Context, id PointID, newest int, generations []int, set refset.Set) error {
	next := slices.Max(append([]int{newest}, generations...)) + 1
	if err := r.v.putRefset(ctx, refsetName(id, next), set); err != nil {
		return err
	}
	r.refsets++
	return r.removeRefsets(ctx, id, next, generations)
}

// removeRefsets removes all generations of a refset but one.
func (r *reclaim) removeRefsets(ctx context.Context, id PointID, keep int, generations []int) error {
	var gone []blob.Name
	for _, n := range generations {
		if n != keep {
			gone = append(gone, refsetName(id, n))
		}
	}
	return r.v.deleteAll(ctx, gone)
}

// rewritten returns what a point needs, where it is now.
func (r *reclaim) rewritten(ctx context.Context, id PointID, generations []int) (refset.Set, error) {
	var set refset.Set
	var err error
	if r.derive[id] {
		set, err = r.v.derived(ctx, id, generations, chunk.Damaged(string(refsetName(id, 1)), "it does not fit the tree"))
	} else {
		set, err = r.v.readCurrent(ctx, id, generations)
	}
	if err != nil || len(r.relocated) == 0 {
		return set, err
	}
	b := refset.NewBuilder()
	for s := range set.Packs() {
		for slot := range s.Each() {
			to, ok := r.relocated[s.Pack][slot]
			if !ok {
				b.Add(s.Pack, slot)
			} else if n, known := r.v.catalog.known(to.pack); known {
				b.Add(n, to.slot)
			}
		}
	}
	return b.Set(r.v.catalog.slots)
}

// namesRelocated reports whether a refset names slots of damaged packs whose contents stand elsewhere now.
func (r *reclaim) namesRelocated(records []refset.Record) bool {
	for i := range records {
		if n, ok := r.v.catalog.known(records[i].ID); ok && len(r.relocated[n]) > 0 {
			return true
		}
	}
	return false
}

func (v *Vault) namesRetired(records []refset.Record) bool {
	for i := range records {
		if n, ok := v.catalog.known(records[i].ID); ok && v.catalog.row(n).state == ObjectRetired {
			return true
		}
	}
	return false
}

// removeRetired removes the objects of retired rows once no session may still look for them, and forgets the rows that
// nothing can name any more.
func (r *reclaim) removeRetired(ctx context.Context) error {
	packs, segments := r.v.catalog.retired()
	if len(packs)+len(segments) == 0 {
		return nil
	}
	return r.remove(ctx, packs, segments)
}

// remove removes retired objects once no session may still look for them.
func (r *reclaim) remove(ctx context.Context, packs []packRow, segments []Object) error {
	var epoch uint64
	for _, x := range packs {
		epoch = max(epoch, x.epoch)
	}
	for _, o := range segments {
		epoch = max(epoch, o.Epoch)
	}
	if err := r.await(ctx, epoch); err != nil {
		return err
	}
	if err := r.removePacks(ctx, packs); err != nil {
		return err
	}
	var forget []ID
	for _, x := range packs {
		if !r.outlived(x.epoch) && r.removed[x.id] {
			forget = append(forget, x.id)
		}
	}
	for _, o := range segments {
		names := make([]blob.Name, 0, len(segmentLevels))
		for _, level := range segmentLevels {
			names = append(names, segmentName(level, o.ID))
		}
		kept, err := r.v.deleteUnlessRetained(ctx, names)
		if err != nil {
			return err
		}
		if !kept {
			forget = append(forget, o.ID)
		}
	}
	if err := r.v.ledger.Forget(ctx, r.s.row.ID, forget, nil); err != nil {
		return fmt.Errorf("forget packs: %w", err)
	}
	r.v.catalog.forget(forget)
	return nil
}

// removePacks removes several objects at once, because each removal waits for the disk. Those that the store retains stay for a
// later reclaim.
func (r *reclaim) removePacks(ctx context.Context, packs []packRow) error {
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, x := range packs {
		mu.Lock()
		_, done := r.removed[x.id]
		mu.Unlock()
		if done {
			continue
		}
		g.Go(func() error {
			err := r.v.store.Delete(gctx, packName(x.kind, x.id))
			if err != nil && !errors.Is(err, blob.ErrRetained) {
				return fmt.Errorf("remove %s: %w", packName(x.kind, x.id), err)
			}
			r.v.observed.forget([]blob.Name{packName(x.kind, x.id)})
			mu.Lock()
			defer mu.Unlock()
			r.removed[x.id] = err == nil
			if err != nil {
				r.report.PacksRetained++
				r.report.BytesRetained += x.size
				r.kept = append(r.kept, x)
				if r.retiredNow[x.id] {
					r.report.PacksRemoved--
					r.report.BytesRemoved -= x.size
				}
			}
			r.progress(x.size)
			return nil
		})
	}
	return g.Wait()
}

// retainedAgain is how long to wait for the end of a retention of which the store does not tell.
const retainedAgain = 24 * time.Hour

// due finds out when the first of the packs can be removed that the store retains.
func (r *reclaim) due(ctx context.Context) error {
	until, err := r.v.retainedUntil(ctx, r.kept)
	for _, x := range r.kept {
		end, ok := until[x.id]
		if !ok {
			end = time.Now().Add(retainedAgain)
		}
		r.report.Next = earlier(r.report.Next, end)
	}
	return err
}

// outlived reports whether a session that was opened before the epoch was active when refsets were rewritten: what it has
// prepared or will prepare may name packs retired then.
func (r *reclaim) outlived(epoch uint64) bool {
	for _, s := range r.before.Sessions {
		if s.State == SessionActive && s.ID != r.s.row.ID && s.Opened < epoch {
			return true
		}
	}
	return false
}

// retired returns the retired packs and segments that are not forgotten.
func (c *catalog) retired() ([]packRow, []Object) {
	c.indexed.Lock()
	defer c.indexed.Unlock()
	var packs []packRow
	for _, row := range c.packs() {
		if row.state == ObjectRetired && !row.forgotten {
			packs = append(packs, row)
		}
	}
	var segments []Object
	for _, o := range c.segmentRow {
		if o.State == ObjectRetired && !c.forgotten[o.ID] {
			segments = append(segments, o)
		}
	}
	return packs, segments
}

// forget drops what the ledger forgot.
func (c *catalog) forget(ids []ID) {
	c.indexed.Lock()
	defer c.indexed.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ids {
		if _, ok := c.segmentRow[id]; ok {
			c.forgotten[id] = true
			delete(c.damaged, id)
		}
		if n, ok := c.numbers[id]; ok {
			c.rows[n].forgotten, c.rows[n].remap = true, nil
		}
	}
}
