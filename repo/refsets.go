package repo

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/field"
	"github.com/lockfast/lockfast/repo/index"
	"github.com/lockfast/lockfast/repo/pack"
	"github.com/lockfast/lockfast/repo/refset"
	"github.com/lockfast/lockfast/repo/seal"
	"github.com/lockfast/lockfast/repo/tree"
)

// refsetGenerations lists the generations of the refsets whose names begin with prefix, f/ and perhaps an id, ascending.
func (v *Vault) refsetGenerations(ctx context.Context, prefix string) (map[PointID][]int, error) {
	return v.generations(ctx, "f/", PointID(strings.TrimPrefix(prefix, "f/")))
}

// generations lists the generations of the objects under prefix of one recovery point, or of all with id "", ascending.
func (v *Vault) generations(ctx context.Context, prefix string, id PointID) (map[PointID][]int, error) {
	out := map[PointID][]int{}
	for info, err := range v.store.List(ctx, prefix+string(id)) {
		if err != nil {
			return nil, fmt.Errorf("list %s%s: %w", prefix, id, err)
		}
		if id, generation, ok := parseGeneration(prefix, info.Name); ok {
			out[id] = append(out[id], generation)
		}
	}
	for _, generations := range out {
		slices.Sort(generations)
	}
	return out, nil
}

// readNewest reads the highest generation that can be read. If the highest one that a list showed is gone, or it showed
// none, the list is stale.
func (v *Vault) readNewest(ctx context.Context, id PointID, generations []int) ([]refset.Record, int, error) {
	if len(generations) == 0 {
		return v.probeRefset(ctx, id, 1)
	}
	var first error
	for _, n := range slices.Backward(generations) {
		records, err := v.readRefset(ctx, id, n)
		if errors.Is(err, blob.ErrNotExist) {
			return v.probeRefset(ctx, id, n+1)
		}
		if err == nil || !errors.Is(err, ErrDamaged) {
			return records, n, err
		}
		if first == nil {
			first = err
		}
	}
	return nil, 0, first
}

// refsetProbes is how many generations are looked for by name when a list is stale.
const refsetProbes = 8

// probeRefset reads the highest generation from n on that can be read, without a list.
func (v *Vault) probeRefset(ctx context.Context, id PointID, n int) (records []refset.Record, found int, err error) {
	var damage error
	for end := n + refsetProbes; n < end; n++ {
		next, err := v.readRefset(ctx, id, n)
		switch {
		case err == nil:
			records, found = next, n
		case errors.Is(err, ErrDamaged):
			damage = cmp.Or(damage, err)
		case !errors.Is(err, blob.ErrNotExist):
			return nil, 0, err
		case found > 0:
			return records, found, nil
		}
	}
	if found == 0 {
		return nil, 0, cmp.Or(damage, fmt.Errorf("%s: %w", refsetName(id, 1), blob.ErrNotExist))
	}
	return records, found, nil
}

// readRefset reads one refset as it was written.
func (v *Vault) readRefset(ctx context.Context, id PointID, generation int) ([]refset.Record, error) {
	name := refsetName(id, generation)
	plain, err := v.getSealed(ctx, seal.TypeRefset, name, maxSegment)
	if err != nil {
		return nil, err
	}
	records, _, err := refset.Parse(string(name), plain)
	return records, err
}

// refset returns what a point needs, with packs that were retired replaced by where their slots went.
func (v *Vault) refset(ctx context.Context, id PointID) (refset.Set, error) {
	generations, err := v.refsetGenerations(ctx, "f/"+string(id))
	if err != nil {
		return refset.Set{}, fmt.Errorf("refset of recovery point %s: %w", id, missingIsDamage(err))
	}
	return v.listedRefset(ctx, id, generations[id])
}

// listedRefset is refset for generations that a list showed.
func (v *Vault) listedRefset(ctx context.Context, id PointID, generations []int) (set refset.Set, err error) {
	err = v.takeRefset(ctx, id, generations, func(_ PointID, n needs) (err error) {
		set, err = v.currentOf(n)
		return err
	})
	if err != nil {
		return refset.Set{}, fmt.Errorf("refset of recovery point %s: %w", id, missingIsDamage(err))
	}
	return set, nil
}

// needs is what a recovery point needs: the records of its refset as it was written, or, if that cannot be read, a set
// computed from its tree.
type needs struct {
	records []refset.Record
	derived *refset.Set
}

// takeRefset gives what a point needs to take. If its refset is gone, or names what is not there, it may have been rewritten,
// and what it named forgotten, perhaps by another node: then it is read again.
func (v *Vault) takeRefset(ctx context.Context, id PointID, generations []int, take func(PointID, needs) error) error {
	for try := 0; ; try++ {
		n, err := v.needs(ctx, id, generations)
		if err == nil {
			err = take(id, n)
		}
		if try == 3 || !errors.Is(err, blob.ErrNotExist) && !isDamage(err) {
			return err
		}
		if err := v.catalog.refresh(ctx); err != nil {
			return err
		}
		now, err := v.refsetGenerations(ctx, "f/"+string(id))
		if err != nil {
			return err
		}
		if generations, err = v.withLaterRefsets(ctx, id, now[id]); err != nil {
			return err
		}
	}
}

// withLaterRefsets adds the generations after the last of those that a list showed, which may lack what is new. Each is one more
// than the newest before it.
func (v *Vault) withLaterRefsets(ctx context.Context, id PointID, generations []int) ([]int, error) {
	for len(generations) > 0 {
		name := refsetName(id, slices.Max(generations)+1)
		_, err := v.store.Stat(ctx, name)
		if errors.Is(err, blob.ErrNotExist) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("look for %s: %w", name, err)
		}
		generations = append(generations, slices.Max(generations)+1)
	}
	return generations, nil // of none, readNewest looks for the first ones
}

// needs reads the newest of a point's refsets, or derives it.
func (v *Vault) needs(ctx context.Context, id PointID, generations []int) (needs, error) {
	records, n, err := v.readNewest(ctx, id, generations)
	if errors.Is(err, ErrDamaged) || err != nil && len(generations) == 0 {
		set, err := v.derived(ctx, id, generations, err)
		return needs{derived: &set}, err
	}
	if err != nil {
		return needs{}, err
	}
	if name := refsetName(id, n); v.observed.has(name) {
		v.observed.note(name, nil, id)
	}
	return needs{records: records}, nil
}

// currentOf translates what a point needs to packs that are there now.
func (v *Vault) currentOf(n needs) (refset.Set, error) {
	if n.derived != nil {
		return *n.derived, nil
	}
	return v.current(n.records)
}

// readCurrent reads the newest of a point's refsets and translates it.
func (v *Vault) readCurrent(ctx context.Context, id PointID, generations []int) (refset.Set, error) {
	n, err := v.needs(ctx, id, generations)
	if err != nil {
		return refset.Set{}, err
	}
	return v.currentOf(n)
}

// derived computes what a point needs from its tree, because no refset of it can be read; cause says why. If the tree
// cannot be read either, that is the error.
func (v *Vault) derived(ctx context.Context, id PointID, generations []int, cause error) (refset.Set, error) {
	m, err := v.readManifest(ctx, id)
	if err != nil {
		return refset.Set{}, cause
	}
	d := deriver{v: v, ctx: ctx, visited: map[ID]bool{}, set: refset.NewBuilder()}
	if err := tree.Walk(ctx, pointStore{v}, m.root, &d); err != nil {
		if isDamage(err) {
			err = fmt.Errorf("%w; it cannot be computed either: %w", cause, err)
		}
		return refset.Set{}, err
	}
	set, err := d.set.Set(v.catalog.slots)
	if err != nil {
		return refset.Set{}, err
	}
	last := 1
	if len(generations) > 0 {
		last = generations[len(generations)-1]
	}
	v.around(refsetName(id, last), missingIsDamage(cause), id)
	return set, nil
}

// deriver collects the places of everything that a tree refers to.
type deriver struct {
	v       *Vault
	ctx     context.Context
	visited map[ID]bool // nodes and lists
	set     *refset.Builder
}

// Node implements [tree.Visitor].
func (d *deriver) Node(_ chunk.Kind, id ID) (bool, error) {
	if d.visited[id] {
		return false, nil
	}
	d.visited[id] = true
	return true, d.add(id)
}

// Contents implements [tree.Visitor].
func (d *deriver) Contents(b []byte) error {
	for id := range ids(b) {
		if err := d.add(id); err != nil {
			return err
		}
	}
	return d.ctx.Err()
}

// add adds the best places of a content.
func (d *deriver) add(id ID) error {
	found := false
	for loc := range d.v.bestPlaces(id, func(uint32) bool { return true }) {
		d.set.Add(loc.Pack, int(loc.Slot))
		found = true
	}
	if !found {
		return chunk.Damaged(fmt.Sprintf("chunk %s", id), "it is in no pack of the index")
	}
	return nil
}

// bestPlaces yields the places of a content in packs that are not condemned; if there are none, those in condemned ones. accept
// says of which packs.
func (v *Vault) bestPlaces(id ID, accept func(n uint32) bool) iter.Seq[index.Location] {
	return func(yield func(index.Location) bool) {
		states := *v.catalog.states.Load()
		found := false
		for _, want := range []ObjectState{ObjectLive, ObjectCondemned} {
			for loc := range v.catalog.set.Places(id) {
				if int(loc.Pack) >= len(states) || states[loc.Pack] != want || !accept(loc.Pack) {
					continue
				}
				if found = true; !yield(loc) {
					return
				}
			}
			if found {
				return
			}
		}
	}
}

// current translates records to packs that are there now.
func (v *Vault) current(records []refset.Record) (refset.Set, error) {
	c := v.catalog
	numbers, retired, err := v.numbers(records)
	if err != nil {
		return refset.Set{}, err
	}
	c.learn(numbers, records)
	if !retired {
		set, _ := refset.FromRecords(records, c.known)
		return set, nil
	}
	b := refset.NewBuilder()
	for i := range records {
		if err := v.addCurrent(b, numbers[i], records[i].Slots, 0); err != nil {
			return refset.Set{}, err
		}
	}
	return b.Set(c.slots)
}

// learn takes over from a refset how many slots packs have that no segment describes.
func (c *catalog) learn(numbers []uint32, records []refset.Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, n := range numbers {
		if c.rows[n].slots == 0 {
			c.rows[n].slots = records[i].Slots.Total
		}
	}
}

// errAbsent says that a refset names packs that are not there; [ErrDamaged] is wrapped beside it.
var errAbsent = errors.New("refset")

// numbers returns the numbers of the packs of records, and whether any of these is retired.
func (v *Vault) numbers(records []refset.Record) (numbers []uint32, retired bool, err error) {
	c := v.catalog
	c.mu.RLock()
	defer c.mu.RUnlock()
	numbers = make([]uint32, len(records))
	for i := range records {
		n, ok := c.numbers[ID(records[i].ID)]
		if !ok || c.rows[n].state == 0 {
			return nil, false, fmt.Errorf("%w: %w", errAbsent, chunk.Damaged("pack "+records[i].ID.String(), "it is not there"))
		}
		numbers[i] = n
		retired = retired || c.rows[n].state == ObjectRetired
	}
	return numbers, retired, nil
}

// maxMoves bounds chains of remaps; each link is a reclaim that a session outlived.
const maxMoves = 1000

// addCurrent adds slots of pack n to b, or where they went.
func (v *Vault) addCurrent(b *refset.Builder, n uint32, slots refset.Slots, depth int) error {
	row := v.catalog.row(n)
	if row.state != ObjectRetired {
		for slot := range slots.Each() {
			b.Add(n, slot)
		}
		return nil
	}
	moves, err := parseRemap(row.remap)
	if err != nil {
		return err
	}
	for slot := range slots.Each() {
		if err := v.addMoved(b, row, moves, slot, depth); err != nil {
			return err
		}
	}
	return nil
}

// addMoved adds the place to which a slot of a retired pack was moved, perhaps several times.
func (v *Vault) addMoved(b *refset.Builder, from packRow, moves map[int]place, slot, depth int) error {
	to, ok := moves[slot]
	n, known := v.catalog.known(to.pack)
	if !ok || !known || depth > maxMoves {
		return chunk.Damaged(fmt.Sprintf("%s slot %d", packName(from.kind, from.id), slot), "it was reclaimed")
	}
	row := v.catalog.row(n)
	if row.state != ObjectRetired && row.slots <= to.slot { // no refset that was read names it
		return chunk.Damaged(string(packName(row.kind, row.id)), "no segment that can be read describes it")
	}
	if row.state != ObjectRetired {
		b.Add(n, to.slot)
		return nil
	}
	next, err := parseRemap(row.remap)
	if err != nil {
		return err
	}
	return v.addMoved(b, row, next, to.slot, depth+1)
}

// place is a slot of a pack.
type place struct {
	pack pack.ID
	slot int
}

// appendRemap encodes where the slots of a retired pack went: per move uvarint slot, pack id, uvarint slot there.
func appendRemap(dst []byte, slot int, to place) []byte {
	dst = binary.AppendUvarint(dst, uint64(slot))
	dst = append(dst, to.pack[:]...)
	return binary.AppendUvarint(dst, uint64(to.slot))
}

func parseRemap(b []byte) (map[int]place, error) {
	moves := map[int]place{}
	for len(b) > 0 {
		slot, rest, ok := field.Uvarint(b)
		if !ok || slot >= pack.MaxSlots || len(rest) < len(pack.ID{}) {
			return nil, chunk.Damaged("remap", "it is malformed")
		}
		to := place{pack: pack.ID(rest[:16])}
		there, rest, ok := field.Uvarint(rest[16:])
		if !ok || there >= pack.MaxSlots {
			return nil, chunk.Damaged("remap", "it is malformed")
		}
		to.slot = int(there)
		moves[int(slot)] = to
		b = rest
	}
	return moves, nil
}

// putRefset writes a refset.
func (v *Vault) putRefset(ctx context.Context, name blob.Name, set refset.Set) error {
	plain, err := refset.Encode(set, false, v.catalog.name)
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	_, err = v.putSealed(ctx, seal.TypeRefset, name, plain)
	return err
}

// packIDs returns the ids of a set's packs.
func (v *Vault) packIDs(set refset.Set) []ID {
	var out []ID
	for s := range set.Packs() {
		out = append(out, v.catalog.row(s.Pack).id)
	}
	return out
}

// ids yields the ids that stand back to back in b.
func ids(b []byte) iter.Seq[ID] {
	return func(yield func(ID) bool) {
		for ; len(b) >= len(ID{}); b = b[len(ID{}):] {
			if !yield(ID(b[:len(ID{})])) {
				return
			}
		}
	}
}
