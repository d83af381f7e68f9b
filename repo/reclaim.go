package repo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/index"
	"github.com/lockfast/lockfast/repo/refset"
)

// ReclaimOptions tunes a reclaim.
type ReclaimOptions struct {
	// Threshold is the share of dead bytes among all bytes of packs that may stay; packs without anything live always
	// go. Zero frees everything that can be freed, also the parts of bundles that nothing needs, for which all trees are
	// read; above zero, a bundle stays whole while anything in it is needed.
	Threshold float64
	// Budget bounds the bytes that are moved, and so the space that is needed before any is given back, to about so many.
	// Zero is no bound; then a reclaim that finds no space goes on with the least budget by itself.
	Budget int64
	// ColdMinimum is how long a cold pack stays at least, because leaving cold storage earlier would cost as much: in real
	// time, by which the place is paid and packs are registered. Zero asks no clock. Whatever Threshold says, of older ones
	// only those go in which less than a fifth is needed.
	ColdMinimum time.Duration
	// Progress, if not nil, is told now and then how far it is.
	Progress func(ReclaimProgress)
}

// ReclaimProgress is how far a reclaim is.
type ReclaimProgress struct {
	Done, Total int64 // bytes of packs to remove
}

// ReclaimReport is what a reclaim did.
type ReclaimReport struct {
	PacksRemoved   int64
	PacksWritten   int64
	BytesRemoved   int64 // of packs
	BytesWritten   int64 // of packs, with what was still needed of those removed
	ObjectsSwept   int64 // leftovers of sessions that ended without a recovery point, and of deleted points
	ForeignObjects int64 // manifests and refsets that the ledger knows nothing of; they are left alone
	DamagedPacks   int64 // could not be rewritten and stay; see Check
	PacksRetained  int64 // dead ones that the store retains, not among those removed; a later reclaim removes them
	BytesRetained  int64 // of them
	// Next is when a later reclaim finds more to free than this one, although nothing changes: the first retention or minimum
	// time of a cold pack has ended that keeps something dead. Zero if nothing is kept so.
	Next         time.Time
	BundlesSplit int64 // bundles of which only the needed parts were kept
}

// Reclaim frees what no recovery point needs: it sweeps what ended sessions left, removes packs that are dead, moves what
// is live out of packs that are partly dead, merges small packs, and merges the index. Backups and restores may run
// meanwhile; it waits until each has acknowledged that packs are to go. When it returns, everything is gone that could
// go. The error wraps [ErrBusy] when another process reclaims, and [ErrOutdated], before anything was removed, when the
// store holds a recovery point that the ledger has never heard of. After an error, or a crash, the next Reclaim goes on.
//
// On a full store it first removes what is wholly dead, for which nothing is written, and then moves a pack at a time.
func (v *Vault) Reclaim(ctx context.Context, o ReclaimOptions) (ReclaimReport, error) {
	report, err := v.collect(ctx, o, (*reclaim).run)
	if o.Budget > 0 || !errors.Is(err, blob.ErrNoSpace) {
		return report, err
	}
	v.log.Warn("no space to move packs at once, moving few at a time", "error", err)
	for o.Budget = 1; ; {
		next, err := v.collect(ctx, o, (*reclaim).run)
		report.add(next)
		if err != nil || next.BytesRemoved <= next.BytesWritten {
			return report, err
		}
	}
}

// add adds up what several runs did.
func (r *ReclaimReport) add(o ReclaimReport) {
	r.PacksRemoved += o.PacksRemoved
	r.PacksWritten += o.PacksWritten
	r.BytesRemoved += o.BytesRemoved
	r.BytesWritten += o.BytesWritten
	r.ObjectsSwept += o.ObjectsSwept
	r.BundlesSplit += o.BundlesSplit
	r.ForeignObjects, r.DamagedPacks = o.ForeignObjects, o.DamagedPacks
	r.PacksRetained, r.BytesRetained, r.Next = o.PacksRetained, o.BytesRetained, o.Next
}

// collect runs something in a session that may condemn and retire packs.
func (v *Vault) collect(ctx context.Context, o ReclaimOptions, run func(*reclaim, context.Context) error) (ReclaimReport, error) {
	if err := v.mayWrite(ctx); err != nil {
		return ReclaimReport{}, err
	}
	v.reclaiming.Lock()
	defer v.reclaiming.Unlock()
	s, err := v.openSession(ctx, SessionOptions{Kind: SessionCollector})
	if err != nil {
		return ReclaimReport{}, fmt.Errorf("reclaim: %w", err)
	}
	r := &reclaim{v: v, o: o, s: s, w: v.newWriter(ctx, s), moved: map[tierID]place{}, moves: map[ID]*moves{}, retiredNow: map[ID]bool{}, removed: map[ID]bool{}, parts: map[tierID]*newBundle{}}
	r.w.data = []*packer{newPacker(r.w, ObjectData, v.format.DataPack, packBuffers(v.collectorPacks()))}
	s.lost = r.w.fail
	if err := s.start(ctx); err != nil {
		return ReclaimReport{}, fmt.Errorf("reclaim: %w", err)
	}
	err = run(r, r.w.ctx)
	if err != nil && r.w.ctx.Err() != nil {
		err = r.w.err()
	}
	r.w.fail(ErrClosed)
	r.w.stop()
	err = errors.Join(err, s.close(ctx))
	if err != nil {
		return r.report, fmt.Errorf("reclaim: %w", err)
	}
	return r.report, nil
}

// collectorPacks returns how many data packs a reclaim fills or stores at once. It compresses next to nothing, so the memory of a writer's
// workers is free for packs that wait for the store, if they are not stored as they fill.
func (v *Vault) collectorPacks() int {
	return int(max(2, min(4, (v.opts.MemoryLimit-2*int64(v.format.MetaPack))/int64(v.format.DataPack))))
}

// reclaim is one run, a session of its own. w writes the packs that take what is moved.
type reclaim struct {
	v       *Vault
	o       ReclaimOptions
	s       *session
	w       *Writer
	report  ReclaimReport
	refsets int64    // rewritten
	before  Snapshot // taken before refsets were rewritten

	marks marks // the last ones

	retiredNow map[ID]bool // packs that this reclaim retired
	removed    map[ID]bool // packs whose objects it removed; false = the store retains them
	kept       []packRow   // those that the store retains

	mu       sync.Mutex            // guards what follows
	moved    map[tierID]place      // where chunks went
	moves    map[ID]*moves         // of victims
	parts    map[tierID]*newBundle // where the needed parts of bundles went, by the old bundle
	bundlers []*bundleMover        // those that nobody uses

	relocated  map[uint32]map[int]place // slots of packs that stay, damaged, and where their contents went; see Repair
	unreadable bool                     // a refset could not be rewritten and may name retired packs; see Repair
	derive     map[PointID]bool         // points whose refsets are to be computed anew; see Repair

	done  int64 // bytes of packs
	total int64
}

// victim is a pack to remove.
type victim struct {
	number uint32
	packRow
	live  refset.Slots // what has to be moved; Total 0 = nothing
	parts int64        // about the bytes of parts that may be left out of its live bundles
	dead  int64        // bytes of slots and parts
	keep  bool         // stays after all
	// settled says that it was retired while others were still moved.
	settled bool
}

// run follows docs/format.md section 16, Reclaim.
func (r *reclaim) run(ctx context.Context) error {
	if _, err := r.v.ledger.Fence(ctx); err != nil {
		return fmt.Errorf("fence lost sessions: %w", err)
	}
	if err := r.sweep(ctx); err != nil {
		return err
	}
	rows := r.v.catalog.packs() // before the sessions: what they register later is not for this run
	var parts *index.Marks
	if r.o.Threshold == 0 {
		parts = r.v.catalog.set.Marks()
	}
	var err error
	if r.marks, err = r.v.mark(ctx, parts); err != nil {
		return err
	}
	victims, err := r.afford(ctx, r.choose(rows))
	if err != nil {
		return err
	}
	if len(victims) > 0 {
		if victims, err = r.condemn(ctx, victims); err != nil {
			return err
		}
	}
	for _, x := range victims {
		r.total += x.size
	}
	if victims, err = r.removeDead(ctx, victims); err != nil {
		return err
	}
	if victims, err = r.move(ctx, victims); err != nil {
		return err
	}
	if err := r.settle(ctx, victims); err != nil {
		return err
	}
	switch err := r.mergeIndex(ctx); {
	case errors.Is(err, blob.ErrNoSpace):
		r.v.log.Warn("index is not merged", "error", err)
		return r.due(ctx)
	case err != nil:
		return err
	}
	if err := r.removeRetired(ctx); err != nil {
		return err
	}
	return r.due(ctx)
}

// afford leaves out victims that would need more space than the budget, but not the first one that needs any. A run that
// did not end may have condemned some of them; they are live again.
func (r *reclaim) afford(ctx context.Context, victims []victim) ([]victim, error) {
	if r.o.Budget == 0 {
		return victims, nil
	}
	moved := int64(0)
	for i := range victims {
		x := &victims[i]
		if x.live.Total == 0 || x.keep {
			continue
		}
		live := x.size - x.dead
		if x.keep = moved > 0 && moved+live > r.o.Budget; !x.keep {
			moved += live
		}
	}
	var rest, back []victim
	for _, x := range victims {
		if x.keep && x.state == ObjectLive {
			continue
		}
		if x.keep {
			back = append(back, x)
		} else {
			rest = append(rest, x)
		}
	}
	_, err := r.rescue(ctx, back)
	return rest, err
}

// removeDead removes the victims of which nothing is needed, before anything is written, and returns the others. No refset
// that counts names one of them.
func (r *reclaim) removeDead(ctx context.Context, victims []victim) ([]victim, error) {
	var dead, rest []victim
	for _, x := range victims {
		if x.live.Total == 0 {
			dead = append(dead, x)
		} else {
			rest = append(rest, x)
		}
	}
	if len(dead) == 0 {
		return rest, nil
	}
	if err := r.retire(ctx, dead); err != nil {
		return nil, err
	}
	var err error
	if r.before, err = r.v.ledger.Snapshot(ctx); err != nil {
		return nil, fmt.Errorf("read ledger: %w", err)
	}
	packs := make([]packRow, len(dead))
	for i, x := range dead {
		packs[i] = r.v.catalog.row(x.number)
	}
	return rest, r.remove(ctx, packs, nil)
}

// condemn condemns packs, waits until every session knows, and marks again.
func (r *reclaim) condemn(ctx context.Context, victims []victim) ([]victim, error) {
	packs := make([]ID, len(victims))
	for i, x := range victims {
		packs[i] = x.id
	}
	epoch, err := r.v.ledger.Condemn(ctx, r.s.row.ID, packs)
	if err != nil {
		return nil, fmt.Errorf("condemn packs: %w", err)
	}
	if err := r.await(ctx, epoch); err != nil {
		return nil, err
	}
	if err := r.v.catalog.refresh(ctx); err != nil {
		return nil, err
	}
	if r.marks, err = r.v.mark(ctx, r.marks.parts); err != nil {
		return nil, err
	}
	parts := r.marks.deadParts()
	for i := range victims {
		x := &victims[i]
		x.live, _ = r.marks.live.Pack(x.number)
		x.parts = parts[x.number]
		grown := x.live.Total > 0 && x.live.All() && x.parts == 0 && x.size >= r.packTarget(x.kind)/smallPack
		x.keep = grown || r.marks.owned[x.session]
	}
	return r.rescue(ctx, victims)
}

// rescue makes packs live again that are to stay after all, and returns the others.
func (r *reclaim) rescue(ctx context.Context, victims []victim) ([]victim, error) {
	var back []ID
	rest := victims[:0:0]
	for _, x := range victims {
		if x.keep {
			back = append(back, x.id)
		} else {
			rest = append(rest, x)
		}
	}
	if len(back) == 0 {
		return rest, nil
	}
	if err := r.v.ledger.Rescue(ctx, r.s.row.ID, back); err != nil {
		return nil, fmt.Errorf("rescue packs: %w", err)
	}
	return rest, nil
}

// await waits until every session has acknowledged the epoch, has ended or is fenced.
func (r *reclaim) await(ctx context.Context, epoch uint64) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		r.v.pokeSessions()
		waiting, err := r.v.ledger.Waiting(ctx, epoch)
		if err != nil {
			return fmt.Errorf("wait for sessions: %w", err)
		}
		if len(waiting) == 0 {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Small packs, below 1/smallPack of the target, are merged when there are at least smallPacks of a kind.
const (
	smallPack  = 4
	smallPacks = 4
)

// choose picks the packs to remove.
func (r *reclaim) choose(rows []packRow) []victim {
	m := &r.marks
	stored, parts := r.v.deadStored(m.live, len(rows)), m.deadParts()
	var victims, partly []victim
	small := map[ObjectKind][]victim{}
	var all, dead int64
	for n, row := range rows {
		if row.state != ObjectLive && row.state != ObjectCondemned || m.owned[row.session] {
			continue
		}
		x := victim{number: uint32(n), packRow: row}
		x.live, _ = m.live.Pack(x.number)
		x.parts = parts[x.number]
		if row.kind == ObjectCold && row.state == ObjectLive {
			switch r.weighCold(&x, stored[n]) {
			case coldGoes:
				victims = append(victims, x)
			case coldMerges:
				if r.o.Budget > 0 {
					continue
				}
				small[row.kind] = append(small[row.kind], x)
			}
			continue
		}
		all += row.size
		switch {
		case x.live.Total == 0:
			victims = append(victims, x)
		case !x.live.All() || x.parts > 0:
			x.dead = stored[n] + x.parts
			dead += x.dead
			partly = append(partly, x)
		case row.state == ObjectCondemned: // by a run that did not end; condemn will rescue it
			x.keep = true
			victims = append(victims, x)
		case row.size < r.packTarget(row.kind)/smallPack && r.o.Budget == 0:
			small[row.kind] = append(small[row.kind], x)
		}
	}
	// The packs with the least to move come first.
	slices.SortFunc(partly, func(a, b victim) int {
		return cmp.Compare(b.dead*a.size, a.dead*b.size)
	})
	for _, x := range partly {
		if r.o.Threshold > 0 && float64(dead) <= r.o.Threshold*float64(all) && x.state == ObjectLive {
			continue
		}
		dead -= x.dead
		victims = append(victims, x)
	}
	for _, xs := range small {
		if len(xs) >= smallPacks {
			victims = append(victims, xs...)
		}
	}
	return victims
}

func (r *reclaim) packTarget(k ObjectKind) int64 {
	switch k {
	case ObjectMeta:
		return int64(r.v.format.MetaPack)
	case ObjectCold:
		return int64(r.v.format.ColdPack)
	}
	return int64(r.v.format.DataPack)
}

// deadBytes adds up the slots that are not live.
func deadBytes(lengths []uint32, live refset.Slots) int64 {
	var n int64
	for i, l := range lengths {
		if !live.Has(i) {
			n += int64(l)
		}
	}
	return n
}

func (r *reclaim) progress(done int64) {
	r.done += done
	if r.o.Progress != nil {
		r.o.Progress(ReclaimProgress{Done: r.done, Total: r.total})
	}
}
