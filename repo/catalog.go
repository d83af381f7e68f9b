package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/index"
	"github.com/lockfast/lockfast/repo/pack"
)

// catalog is what a vault knows of its packs and segments: the ledger's rows, and the index over the live segments.
//
// In memory packs have dense numbers, given in the order in which this process met them and never used again. An entry
// of a segment counts only as long as the row of its pack says so: skipping is by state, so that a retired pack needs
// no change of the index.
//
// Locks are taken in this order: turn, indexed, mu. Only turn is held while the ledger or the store is asked, which may take any
// time; so nothing waits for an answer that is not meant for it but who wants one, too, and that wait ends with its context.
type catalog struct {
	v   *Vault
	set *index.Set

	turn turn // of one refresh at a time

	indexed    sync.Mutex    // guards the fields up to the next blank line, and which segments set has
	revision   uint64        // of the ledger; changed by the one refresh whose turn it is
	segments   map[ID]int    // loaded segments and their levels
	damaged    map[ID]error  // segments that cannot be read; what stands for them is in set
	segmentRow map[ID]Object // all rows of segments
	rebuilt    bool          // packs were met that no segment describes
	forgotten  map[ID]bool   // rows of segments that the ledger has no more

	mu      sync.RWMutex // guards what follows
	numbers map[ID]uint32
	rows    []packRow

	states  atomic.Pointer[[]ObjectState] // by number; for lookups without a lock
	cold    atomic.Pointer[[]bool]        // by number: which are cold packs
	changes atomic.Uint64                 // how often packs were condemned, rescued or retired
}

// packRow is what is known about one pack.
type packRow struct {
	id        ID
	kind      ObjectKind
	state     ObjectState
	session   SessionID
	size      int64
	epoch     uint64
	slots     int // 0 = not known yet
	remap     []byte
	since     time.Time // of a cold pack: when it was registered
	sum       []byte    // SHA-256 that the store keeps, if it is known
	forgotten bool      // the ledger has no row any more
	suspect   bool      // damage was found in it: nothing new relies on it
	bad       *badPack  // what of it the ledger says is damaged; nil = nothing
}

func newCatalog(v *Vault) *catalog {
	c := &catalog{
		v: v, set: index.NewSet(), turn: make(turn, 1), numbers: map[ID]uint32{},
		segments: map[ID]int{}, damaged: map[ID]error{}, segmentRow: map[ID]Object{}, forgotten: map[ID]bool{},
	}
	c.states.Store(new([]ObjectState))
	c.cold.Store(new([]bool))
	c.changes.Store(1)
	return c
}

// turn is a lock that is waited for no longer than a context lasts. It is free while the channel, of one element, is empty.
type turn chan struct{}

func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for another session of this process to read the ledger and the index: %w", ctx.Err())
	}
}

func (t turn) leave() { <-t }

// refresh reads what changed in the ledger since the last time, and the segments that are new. It asks anew whatever others have
// asked, so that it sees all that was committed before the call; those who wait for it take their turns after it.
func (c *catalog) refresh(ctx context.Context) error {
	if err := c.turn.take(ctx); err != nil {
		return err
	}
	defer c.turn.leave()
	if c.v.ledger == nil {
		return c.refreshByListing(ctx)
	}
	for try := 0; ; try++ {
		changes, revision, err := c.news(ctx)
		if err != nil {
			return fmt.Errorf("read ledger: %w", err)
		}
		err = c.apply(ctx, changes, try == 3)
		if err == nil {
			err = c.loadDamages(ctx, revision)
		}
		if err == nil {
			c.indexed.Lock()
			defer c.indexed.Unlock()
			c.revision = revision
			return nil
		}
		// A segment may be merged away between the two steps; then the ledger says so when asked again.
		if !errors.Is(err, blob.ErrNotExist) {
			return err
		}
	}
}

// news asks the ledger what changed. Other processes reclaim, too: what is known here and has no row any more is
// forgotten. The caller holds turn.
func (c *catalog) news(ctx context.Context) ([]Object, uint64, error) {
	changes, revision, err := c.v.ledger.Changes(ctx, c.revision)
	if !errors.Is(err, ErrStale) {
		return changes, revision, err
	}
	known := c.recorded() // before the ledger is read: what is registered later is not missing from the answer
	changes, revision, err = c.v.ledger.Changes(ctx, 0)
	if err != nil {
		return nil, 0, err
	}
	for _, o := range changes {
		delete(known, o.ID)
	}
	for id, kind := range known {
		changes = append(changes, Object{ID: id, Kind: kind, State: ObjectForgotten})
	}
	return changes, revision, nil
}

// recorded returns the objects that had a row of a registered object.
func (c *catalog) recorded() map[ID]ObjectKind {
	c.indexed.Lock()
	defer c.indexed.Unlock()
	out := map[ID]ObjectKind{}
	for _, row := range c.packs() {
		if row.state >= ObjectLive && !row.forgotten {
			out[row.id] = row.kind
		}
	}
	for id, o := range c.segmentRow {
		if o.State >= ObjectLive && !c.forgotten[id] {
			out[id] = ObjectSegment
		}
	}
	return out
}

// apply takes over rows of the ledger. A segment that is not there is an error, or with lost, damage. The caller holds turn.
//
// Others look at rows meanwhile. So packs are retired when the segments are loaded that say where their slots went.
func (c *catalog) apply(ctx context.Context, changes []Object, lost bool) error {
	if len(changes) == 0 {
		return nil
	}
	var retired, others []Object
	for _, o := range changes {
		if o.Kind != ObjectSegment && o.State >= ObjectRetired {
			retired = append(retired, o)
		} else {
			others = append(others, o)
		}
	}
	added, gone := c.noteAll(others)
	if err := c.load(ctx, added, lost); err != nil {
		return err
	}
	c.noteAll(retired)
	c.unload(gone)
	return nil
}

// noteAll takes over rows of the ledger, and returns the segments that are to be loaded and unloaded for it.
func (c *catalog) noteAll(changes []Object) (added, gone []ID) {
	if len(changes) == 0 {
		return nil, nil
	}
	c.indexed.Lock()
	defer c.indexed.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range changes {
		_, loaded := c.segments[o.ID]
		if o.Kind != ObjectSegment {
			c.note(o)
			continue
		}
		c.noteSegment(o)
		switch {
		case o.State == ObjectLive && !loaded:
			added = append(added, o.ID)
		case o.State >= ObjectRetired && loaded:
			gone = append(gone, o.ID)
		}
	}
	c.publish()
	return added, gone
}

// noteSegment takes over the row of a segment. The caller holds indexed.
func (c *catalog) noteSegment(o Object) {
	if o.State >= ObjectRetired {
		delete(c.damaged, o.ID)
	}
	if o.State == ObjectForgotten {
		o.State, c.forgotten[o.ID] = ObjectRetired, true
	}
	c.segmentRow[o.ID] = o
}

// note takes over the row of a pack. The caller holds mu.
func (c *catalog) note(o Object) {
	if o.State == ObjectForgotten {
		if n, ok := c.numbers[o.ID]; ok {
			c.changes.Add(1)
			c.rows[n].state, c.rows[n].forgotten, c.rows[n].remap = ObjectRetired, true, nil
		}
		return
	}
	n := c.assign(o.ID)
	r := &c.rows[n]
	if o.State == ObjectReserved && r.state > ObjectReserved {
		return // read before this process registered the pack
	}
	if o.State > ObjectLive || r.state > ObjectLive {
		c.changes.Add(1)
	}
	if o.State == ObjectReserved && r.size > 0 {
		o.Size = r.size // the ledger learns it only when the pack is registered; this process has just finished it
	}
	r.kind, r.state, r.session, r.size, r.epoch, r.remap, r.since = o.Kind, o.State, o.Session, o.Size, o.Epoch, o.Remap, o.Registered
	r.sum = o.Sum
}

// assign returns the number of a pack, giving it one if it has none. The caller holds mu.
func (c *catalog) assign(id ID) uint32 {
	n, ok := c.numbers[id]
	if !ok {
		n = uint32(len(c.rows))
		c.numbers[id] = n
		c.rows = append(c.rows, packRow{id: id})
	}
	return n
}

// publish makes the states visible to lookups. A suspect pack looks condemned to them: it is read only if its content
// stands nowhere else, and what is backed up anew is stored again. The caller holds mu.
func (c *catalog) publish() {
	states, cold := make([]ObjectState, len(c.rows)), make([]bool, len(c.rows))
	for i := range c.rows {
		states[i], cold[i] = c.rows[i].state, c.rows[i].kind == ObjectCold
		if (c.rows[i].suspect || c.rows[i].bad != nil) && states[i] == ObjectLive {
			states[i] = ObjectCondemned
		}
	}
	c.cold.Store(&cold) // first: who sees a state sees the kind
	c.states.Store(&states)
}

// suspect notes that damage was found in a pack, for as long as the vault is open.
func (c *catalog) suspect(n uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.rows[n].suspect {
		c.rows[n].suspect = true
		c.publish()
	}
}

// open gives a number to a pack that a session begins to fill.
func (c *catalog) open(id ID, kind ObjectKind, session SessionID) uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.assign(id)
	c.rows[n].kind, c.rows[n].session = kind, session
	return n
}

// closed notes how many slots and bytes a pack that a session filled has got.
func (c *catalog) closed(n uint32, slots int, size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rows[n].slots, c.rows[n].size = slots, size
}

// registered makes packs that a session of this process registered known as live.
func (c *catalog) registered(ids ...ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ids {
		if n, ok := c.numbers[id]; ok && c.rows[n].state < ObjectLive {
			c.rows[n].state = ObjectLive
		}
	}
	c.publish()
}

// number is how the index asks for numbers; packs it does not know get one, without a state that would let them be found.
func (c *catalog) number(id pack.ID) uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.assign(ID(id))
}

// known returns the number of a pack that has a row.
func (c *catalog) known(id pack.ID) (uint32, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	n, ok := c.numbers[ID(id)]
	return n, ok && c.rows[n].state != 0
}

// row returns the row of a pack.
func (c *catalog) row(n uint32) packRow {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.rows[n]
}

// packs returns a copy of all rows, by number.
func (c *catalog) packs() []packRow {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return slices.Clone(c.rows)
}

func (c *catalog) slots(n uint32) int { return c.row(n).slots }

func (c *catalog) name(n uint32) (pack.ID, bool) { return pack.ID(c.row(n).id), true }

// find returns where a content is that may be relied on anew: condemned and cold packs do not count.
func (c *catalog) find(id ID) (index.Location, bool) { return c.findIn(id, ObjectLive, false, nil) }

// findCold returns where a content is in cold storage, and may be relied on anew.
func (c *catalog) findCold(id ID) (index.Location, bool) { return c.findIn(id, ObjectLive, true, nil) }

// findIn returns where a content is in a pack of that state, cold or not, which skip, if not nil, does not exclude.
func (c *catalog) findIn(id ID, state ObjectState, cold bool, skip func(n uint32) bool) (index.Location, bool) {
	states, colds := *c.states.Load(), *c.cold.Load()
	return c.set.Lookup(id, func(n uint32) bool {
		return int(n) >= len(states) || states[n] != state || (int(n) < len(colds) && colds[n]) != cold || skip != nil && skip(n)
	})
}

// findReadable returns where a content can be read, in cold storage only if it is nowhere else or condemned there. skip, if
// not nil, excludes packs.
func (c *catalog) findReadable(id ID, skip func(n uint32) bool) (index.Location, bool) {
	for _, state := range []ObjectState{ObjectLive, ObjectCondemned} {
		for _, cold := range []bool{false, true} {
			if loc, ok := c.findIn(id, state, cold, skip); ok {
				return loc, true
			}
		}
	}
	return index.Location{}, false
}

// isCold reports whether a pack is a cold one.
func (c *catalog) isCold(n uint32) bool {
	colds := *c.cold.Load()
	return int(n) < len(colds) && colds[n]
}
