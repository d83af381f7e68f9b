package repo

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/pack"
	"github.com/lockfast/lockfast/repo/refset"
)

// Measure is what a vault takes, and each of its points, at one moment. It may be shared: nobody changes it.
type Measure struct {
	Epoch uint64 // gc epoch of the ledger
	Usage
	Sizes map[PointID]Sizes
}

// lastMeasure is the newest measure of a vault, and of what it is one.
type lastMeasure struct {
	mu  sync.Mutex // one measure at a time in this process
	of  [32]byte   // guarded by mu
	was Measure    // guarded by mu
	end time.Time  // guarded by mu: when something that is dead is not retained any more; zero = never

	refsets int64 // bytes of refsets that are held at once, about; 0 is refsetMemory
	slots   int   // slots whose lengths are held at once, about; 0 is windowSlots
}

// Measure measures the vault. held, if not nil, says which points cannot be deleted now. Nothing is kept from measure to
// measure but the last one, which is answered again as long as nothing has changed. It holds up neither backups nor
// reclaims; beside deletions and reclaims it may have to begin again, and fails if that happens too often.
func (v *Vault) Measure(ctx context.Context, held func(PointID) bool) (Measure, error) {
	v.measured.mu.Lock()
	defer v.measured.mu.Unlock()
	var m Measure
	err := v.accounted(ctx, held, func(a *account) (err error) {
		m, err = v.measure(ctx, a)
		return err
	})
	return m, err
}

// measureTries is how often a measure begins.
const measureTries = 10

// accounted calls fn with the state of the ledger, and again when that changed under its hands: a point deleted meanwhile
// takes its refset along, and a reclaim replaces some and removes packs.
func (v *Vault) accounted(ctx context.Context, held func(PointID) bool, fn func(*account) error) error {
	if err := v.writable(); err != nil {
		return err
	}
	for try := 1; ; try++ {
		a, err := v.account(ctx, held)
		if err != nil {
			return err
		}
		err = fn(a)
		if err == nil || !isDamage(err) || try == measureTries {
			return err
		}
		if errors.Is(err, blob.ErrNotExist) {
			continue // a reclaim that had retired packs before may only now replace the refsets that name them
		}
		if moved, merr := a.moved(ctx); !moved || merr != nil {
			return errors.Join(err, merr)
		}
	}
}

// moved reports whether points came or went, or a reclaim got on.
func (a *account) moved(ctx context.Context) (bool, error) {
	now, err := a.v.ledger.Snapshot(ctx)
	if err != nil {
		return false, fmt.Errorf("read ledger: %w", err)
	}
	return now.Epoch != a.snapshot.Epoch || !slices.Equal(now.Points, a.snapshot.Points), nil
}

func (v *Vault) measure(ctx context.Context, a *account) (Measure, error) {
	now := a.fingerprint()
	if now == v.measured.of && (v.measured.end.IsZero() || time.Now().Before(v.measured.end)) {
		return v.measured.was, nil
	}
	for _, step := range []func(context.Context) error{a.list, a.slots, a.parts, a.retained} {
		if err := step(ctx); err != nil {
			return Measure{}, err
		}
	}
	m := Measure{Epoch: a.snapshot.Epoch, Usage: a.usage, Sizes: make(map[PointID]Sizes, len(a.points))}
	for i, id := range a.points {
		m.Sizes[id] = a.sizes[i]
	}
	v.measured.of, v.measured.was, v.measured.end = now, m, a.end
	return m, nil
}

// account is one measure. Of what grows with the vault it holds three sets of slots (12 bytes for each pack, and a bit
// for each slot of packs that are not in them whole), three bits for each entry of the index, the refsets of a range of
// packs and the lengths of a window of slots. For 100 million chunks in 800,000 packs that is about 350 MiB beside the
// index itself.
type account struct {
	v        *Vault
	snapshot Snapshot
	revision uint64
	points   []PointID          // ascending
	held     []bool             // by point
	owned    map[SessionID]bool // active sessions: all packs they registered are needed
	pinned   []PointID          // by active sessions
	pins     refset.Set         // what these acknowledged beside

	generations map[PointID][]int
	refsetBytes int64 // of all refsets

	live   refset.Set // needed by points
	single refset.Set // needed by one point
	whole  refset.Set // needed by sessions, which may need every part of a bundle
	sizes  []Sizes    // by point
	usage  Usage
	dying  []deadPack // with something that nothing needs
	end    time.Time  // when the first of them is not retained any more; zero if none is
}

// deadPack is a pack of which so many bytes are dead.
type deadPack struct {
	packRow
	bytes int64
}

// retained adds up what is dead and retained by the store.
func (a *account) retained(ctx context.Context) error {
	rows := make([]packRow, len(a.dying))
	for i, x := range a.dying {
		rows[i] = x.packRow
	}
	until, err := a.v.retainedUntil(ctx, rows)
	for _, x := range a.dying {
		if end, ok := until[x.id]; ok {
			a.usage.RetainedBytes += x.bytes
			a.end = earlier(a.end, end)
		}
	}
	return err
}

// earlier returns the earlier of two times, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// account reads the ledger.
func (v *Vault) account(ctx context.Context, held func(PointID) bool) (*account, error) {
	a := &account{v: v, owned: map[SessionID]bool{}, generations: map[PointID][]int{}}
	var err error
	if a.snapshot, err = v.ledger.Snapshot(ctx); err != nil {
		return nil, fmt.Errorf("read ledger: %w", err)
	}
	if err := v.catalog.refresh(ctx); err != nil {
		return nil, err
	}
	a.revision = v.catalog.atRevision()
	for _, p := range a.snapshot.Points {
		if !p.Deleting {
			a.points = append(a.points, p.ID)
			a.held = append(a.held, held != nil && held(p.ID))
		}
	}
	a.sizes = make([]Sizes, len(a.points))
	var pins []refset.Set
	for _, s := range a.snapshot.Sessions {
		if s.State != SessionActive {
			continue
		}
		a.owned[s.ID] = true
		if s.Pin != "" && !slices.Contains(a.pinned, s.Pin) {
			a.pinned = append(a.pinned, s.Pin)
		}
		set, err := v.pinned(s)
		if err != nil {
			return nil, err
		}
		pins = append(pins, set)
	}
	a.pins = refset.UnionAll(pins...)
	return a, nil
}

// atRevision returns the revision of the ledger that the catalog has.
func (c *catalog) atRevision() uint64 {
	c.indexed.Lock()
	defer c.indexed.Unlock()
	return c.revision
}

// fingerprint identifies everything that a measure depends on.
func (a *account) fingerprint() [32]byte {
	b, err := json.Marshal([]any{a.revision, a.snapshot, a.held})
	if err != nil {
		panic("repo: " + err.Error())
	}
	return sha256.Sum256(b)
}

// list adds up the objects of the store, and finds the refsets and the packs that only wait to be removed.
func (a *account) list(ctx context.Context) error {
	ended := map[SessionID]bool{}
	for _, s := range a.snapshot.Sessions {
		ended[s.ID] = s.State != SessionActive
	}
	for info, err := range a.v.store.List(ctx, "") {
		if err != nil {
			return fmt.Errorf("list vault: %w", err)
		}
		a.usage.PhysicalBytes += info.Size
		if id, generation, ok := parseRefsetName(info.Name); ok {
			a.generations[id] = append(a.generations[id], generation)
			a.refsetBytes += info.Size
		}
		if _, id, err := pack.ParseName(string(info.Name)); err == nil {
			n, ok := a.v.catalog.known(id)
			if !ok {
				continue // not of this vault's ledger, or newer than this measure
			}
			row := a.v.catalog.row(n)
			if row.state == ObjectRetired || row.state == ObjectReserved && ended[row.session] {
				a.usage.dead(row.kind, info.Size)
				a.dying = append(a.dying, deadPack{row, info.Size})
			}
		}
	}
	for _, generations := range a.generations {
		slices.Sort(generations)
	}
	return nil
}

// refsetMemory is how many bytes of refsets a measure holds at once, about.
const refsetMemory = 64 << 20

// largeRefset is the average length from which on refsets are read one at a time, because one that is read takes about
// ten times its length.
const largeRefset = 4 << 20

// slots adds up the slots of the vault.
func (a *account) slots(ctx context.Context) error {
	a.usage.Points = int64(len(a.points))
	return a.ranges(func(from, to uint32, window *lengthWindow) error { return a.between(ctx, from, to, window) })
}

// ranges goes through the packs of the vault in ranges, so that what is held of refsets at a time is bounded.
func (a *account) ranges(fn func(from, to uint32, window *lengthWindow) error) error {
	window := &lengthWindow{v: a.v}
	count := uint32(a.v.catalog.count())
	step := uint32(int64(count)/(1+a.refsetBytes/cmp.Or(a.v.measured.refsets, refsetMemory))) + 1
	for from := uint32(0); from < count; from += step {
		if err := fn(from, min(from+step, count), window); err != nil {
			return err
		}
	}
	return nil
}

// between adds up the slots of a range of packs.
func (a *account) between(ctx context.Context, from, to uint32, window *lengthWindow) error {
	sets, err := a.refsets(ctx, a.points, from, to)
	if err != nil {
		return err
	}
	pinned, err := a.refsets(ctx, a.pinned, from, to)
	if err != nil {
		return err
	}
	whole := refset.UnionAll(append(pinned, within(a.pins, from, to))...)
	live := refset.UnionAll(sets...)
	for i, share := range refset.Shares(sets, window.of) {
		a.sizes[i].Referenced += share.Referenced
		a.sizes[i].Unique += share.Unique
	}
	a.live = refset.Union(a.live, live)
	a.single = refset.Union(a.single, refset.Singles(sets...))
	a.whole = refset.Union(a.whole, whole)
	held, others := a.sides(sets)
	a.weigh(from, to, refset.Union(live, whole), refset.AndNot(held, others), window)
	return nil
}

// sides returns what the points need that are held, and what the others do.
func (a *account) sides(sets []refset.Set) (held, others refset.Set) {
	var yes, no []refset.Set
	for i, set := range sets {
		if a.held[i] {
			yes = append(yes, set)
		} else {
			no = append(no, set)
		}
	}
	return refset.UnionAll(yes...), refset.UnionAll(no...)
}

func within(s refset.Set, from, to uint32) refset.Set {
	return refset.Only(s, func(n uint32) bool { return from <= n && n < to })
}

// weigh adds a range of packs to the usage.
func (a *account) weigh(from, to uint32, live, locked refset.Set, window *lengthWindow) {
	for n := from; n < to; n++ {
		row := a.v.catalog.row(n)
		if !readable(row.state) {
			continue
		}
		used, ok := live.Pack(n)
		dead := int64(0)
		switch {
		case a.owned[row.session]:
		case !ok:
			dead = row.size
		default:
			dead = deadBytes(window.of(n), used)
		}
		a.usage.dead(row.kind, dead)
		if dead > 0 {
			a.dying = append(a.dying, deadPack{row, dead})
		}
		a.usage.live(row.kind, row.size-dead)
	}
	a.usage.LockedBytes += locked.Bytes(window.of)
}

func (u *Usage) live(kind ObjectKind, n int64) {
	u.LiveBytes += n
	if kind == ObjectCold {
		u.Cold.LiveBytes += n
	}
}

func (u *Usage) dead(kind ObjectKind, n int64) {
	u.DeadBytes += n
	if kind == ObjectCold {
		u.Cold.DeadBytes += n
	}
}

// refsets reads what points need in a range of packs, several at once.
func (a *account) refsets(ctx context.Context, points []PointID, from, to uint32) ([]refset.Set, error) {
	sets := make([]refset.Set, len(points))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	if a.refsetBytes > largeRefset*int64(len(a.points)) {
		g.SetLimit(1)
	}
	for i, id := range points {
		g.Go(func() error {
			set, err := a.v.readCurrent(gctx, id, a.generations[id])
			if err != nil {
				return fmt.Errorf("refset of recovery point %s: %w", id, missingIsDamage(err))
			}
			sets[i] = within(set, from, to)
			return a.v.indexed(sets[i])
		})
	}
	return sets, g.Wait()
}

// indexed demands that the index has every pack that a set names, with all of its slots.
func (v *Vault) indexed(set refset.Set) error {
	for p := range set.Packs() {
		if info, _ := v.catalog.set.Pack(p.Pack); info.Slots < p.Total {
			row := v.catalog.row(p.Pack)
			return chunk.Damaged(string(packName(row.kind, row.id)), "the index has %d of its %d slots", info.Slots, p.Total)
		}
	}
	return nil
}
