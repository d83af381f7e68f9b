package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/index"
	"github.com/lockfast/lockfast/repo/pack"
	"github.com/lockfast/lockfast/repo/refset"
	"github.com/lockfast/lockfast/repo/seal"
)

// RepairOptions tunes a repair.
type RepairOptions struct {
	// From are other vaults of the same chunk-id domain, open, that may have what this one has lost. The error of Repair
	// wraps [ErrDomain] for one of another domain.
	From []*Vault
	// Damages is what to repair, as a check found it. With nil, it is what the ledger has records of and what reads met; if
	// there is none of both, or with Check set, Repair makes a check of Level itself.
	Damages []Damage
	Check   bool
	Level   int
	States  StateKeeper // writes states that are damaged or missing; may be nil
	// Progress, if not nil, is told now and then how far it is: first in bytes of the check, then in bytes of damaged packs.
	Progress func(done, total int64)
}

// RepairReport is what a repair did.
type RepairReport struct {
	Checked   bool  // by a check, so that there is no more damage than it finds
	Damaged   int64 // objects found damaged
	Packs     int64 // damaged packs that were replaced completely
	Segments  int64 // damaged index segments that were replaced
	Refsets   int64 // refsets written anew
	Manifests int64 // manifests written anew
	States    int64 // states, format and key objects written anew, and copy maps removed
	Busy      int64 // damaged packs of sessions that still run; a later repair takes them

	Slots      int64 // contents of damaged packs that were moved, or that were in no pack any more, and of these:
	FromParity int64 // restored by parity
	FromVault  int64 // read from another place in the vault
	FromOther  int64 // read from another vault
	Bytes      int64 // of new packs

	Lost []Damage // what nothing could restore, with the recovery points and entries that need it; ascending by object
	// DamagedPoints are the recovery points that miss something of what the repair looked at, ascending.
	DamagedPoints []DamagedPoint
}

// repairBatch is how many packs a repair replaces at once.
const repairBatch = 16

// Repair replaces what is damaged, by docs/format.md section 16.2: from parity, from other places in the vault, from other
// vaults. Nothing is overwritten: contents go to new packs, and objects get new names, before anything is removed. Every
// step is complete by itself, so that a repair that was cut is simply begun again. Backups, restores and copies may run
// meanwhile. What cannot be restored is in the report, not in the error; it stays where it is, and everything else of its
// recovery points can be read. The error wraps [ErrBusy] when another process reclaims or repairs.
func (v *Vault) Repair(ctx context.Context, o RepairOptions) (RepairReport, error) {
	r := &repairing{v: v, o: o, derive: map[PointID]bool{}, settled: map[string]bool{}, lost: map[uint32]*badPack{}}
	if err := r.run(ctx); err != nil {
		return r.report, fmt.Errorf("repair vault: %w", err)
	}
	return r.report, nil
}

// SameDomain reports whether another vault gives equal contents the same ids, so that contents can be copied from it, or
// taken from it by [Vault.Repair].
func (v *Vault) SameDomain(other *Vault) bool { return v.keys().SameDomain(other.keys()) }

// repairing is one run.
type repairing struct {
	v      *Vault
	o      RepairOptions
	report RepairReport

	packs     []uint32
	manifests []PointID
	derive    map[PointID]bool    // whose refsets are damaged, or do not fit
	lost      map[uint32]*badPack // by number of the pack
	paired    map[uint32]bool     // epochs whose key objects were looked after, and are sound
	left      bool                // a recovery point needs contents of which no place is known, and no other vault has them
	settled   map[string]bool     // small objects that are sound again under their own names, or replaced
	done      int64               // bytes of packs
	total     int64
}

func (r *repairing) run(ctx context.Context) error {
	if err := r.v.writable(); err != nil {
		return err
	}
	if err := r.v.lookForKeys(ctx, 0); err != nil {
		return err
	}
	if err := r.v.Current(ctx); err != nil { // what to make of its objects is not known
		return err
	}
	for _, from := range r.o.From {
		if !r.v.keys().SameDomain(from.keys()) {
			return ErrDomain
		}
		if err := from.catalog.refresh(ctx); err != nil {
			return err
		}
	}
	damages, err := r.find(ctx)
	if err != nil {
		return err
	}
	r.report.Damaged = int64(len(damages))
	if len(damages) == 0 {
		return nil
	}
	if err := r.small(ctx, r.sort(damages)); err != nil {
		return err
	}
	for _, id := range r.manifests {
		if err := r.manifest(ctx, id); err != nil {
			return err
		}
	}
	if err := r.regain(ctx); err != nil {
		return err
	}
	for batch := range slices.Chunk(append(r.packs, noPack), repairBatch) {
		if err := r.batch(ctx, batch); err != nil {
			return err
		}
	}
	if err := r.clear(ctx); err != nil {
		return err
	}
	return r.name(ctx)
}

// find returns what is damaged.
func (r *repairing) find(ctx context.Context) ([]Damage, error) {
	if err := r.v.catalog.refresh(ctx); err != nil {
		return nil, err
	}
	if r.o.Damages != nil {
		return r.o.Damages, nil
	}
	if !r.o.Check {
		known := r.v.Observed()
		records, err := r.v.ledger.Damages(ctx)
		if err != nil {
			return nil, fmt.Errorf("read ledger: %w", err)
		}
		for _, d := range records {
			if !slices.ContainsFunc(known, func(k Damage) bool { return k.Object == d.Object }) {
				known = append(known, Damage{Object: d.Object, Err: &unnamedError{d.Reason, ErrDamaged}})
			}
		}
		if len(known) > 0 {
			missing, err := r.v.missingStates(ctx, r.o.States)
			missing = slices.DeleteFunc(missing, func(d Damage) bool {
				return slices.ContainsFunc(known, func(k Damage) bool { return k.Object == d.Object })
			})
			return append(known, missing...), err
		}
	}
	r.report.Checked = true
	found, err := r.v.Check(ctx, CheckOptions{Level: r.o.Level, States: r.o.States, Progress: r.o.Progress})
	found.Damages = slices.DeleteFunc(found.Damages, func(d Damage) bool { return errors.Is(d.Err, ErrJournal) }) // not in the store
	return append(found.Damages, found.Healed...), err
}

// clear drops the ledger's records of objects that are not there any more because they were replaced, or that were written again. Those of packs that
// are forgotten are gone already.
func (r *repairing) clear(ctx context.Context) error {
	records, err := r.v.ledger.Damages(ctx)
	if err != nil {
		return fmt.Errorf("read ledger: %w", err)
	}
	var gone []DamageRecord
	for _, d := range records {
		if d.Pack != (ID{}) || r.v.observed.has(blob.Name(d.Object)) {
			continue
		}
		if _, err := r.v.store.Stat(ctx, blob.Name(d.Object)); errors.Is(err, blob.ErrNotExist) || r.settled[d.Object] {
			gone = append(gone, d)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	return r.v.ledger.ClearDamage(ctx, gone)
}

// noPack makes the last batch one that looks after refsets and index even if no pack is damaged.
const noPack = index.NoPack

// sort tells what kind of object each damage is in. It returns those in small objects.
func (r *repairing) sort(damages []Damage) (small []Damage) {
	for _, d := range damages {
		name := blob.Name(d.Object)
		if _, id, err := pack.ParseName(d.Object); err == nil {
			if n, ok := r.v.catalog.known(id); ok && !slices.Contains(r.packs, n) {
				r.packs = append(r.packs, n)
				r.total += r.v.catalog.row(n).size
			}
		} else if id, _, ok := parseManifestName(name); ok {
			r.manifests = append(r.manifests, id)
		} else if id, _, ok := parseRefsetName(name); ok {
			r.derive[id] = true
		} else if strings.HasPrefix(d.Object, "x/") {
			r.v.observed.note(name, d.Err)
			r.report.Segments++
		} else {
			small = append(small, d)
		}
	}
	return small
}

// progress tells of packs that have been looked after.
func (r *repairing) progress(packs []uint32) {
	for _, n := range packs {
		if n != noPack {
			r.done += r.v.catalog.row(n).size
		}
	}
	if r.o.Progress != nil {
		r.o.Progress(r.done, r.total)
	}
}

// manifest writes a manifest anew of which the first generation is damaged or gone, if it can be read all the same.
func (r *repairing) manifest(ctx context.Context, id PointID) error {
	v := r.v
	m, err := v.readManifest(ctx, id)
	if err != nil {
		if isDamage(err) {
			return nil // named in the end
		}
		return err
	}
	generations, err := v.generations(ctx, "r/", id)
	if err != nil {
		return err
	}
	all := generations[id]
	if len(all) == 0 {
		return nil
	}
	sound := !v.observed.has(generationName("r/", id, all[len(all)-1]))
	if sound && len(all) == 1 {
		return nil // what was damaged is its tree, or it was repaired meanwhile
	}
	var old []blob.Name
	for _, n := range all {
		old = append(old, generationName("r/", id, n))
	}
	if sound {
		_, err := v.deleteUnlessRetained(ctx, old[:len(old)-1]) // a repair was cut
		return err
	}
	name := generationName("r/", id, all[len(all)-1]+1)
	if _, err := v.putSealed(ctx, seal.TypeManifest, name, m.encode(v.UUID())); err != nil {
		return err
	}
	if v.deleted(ctx, id) { // whose deletion may not have seen the new name
		old = append(old, name)
	}
	r.report.Manifests++
	_, err = v.deleteUnlessRetained(ctx, old) // what the store retains goes with the point
	return err
}

// batch replaces some packs, in one session.
func (r *repairing) batch(ctx context.Context, packs []uint32) error {
	_, err := r.v.collect(ctx, ReclaimOptions{}, func(c *reclaim, ctx context.Context) error {
		c.relocated = map[uint32]map[int]place{}
		if packs[len(packs)-1] == noPack {
			c.derive = r.derive // when the nodes of all trees are where they belong
		}
		defer func() {
			r.report.Refsets += c.refsets
			r.report.Bytes += c.w.stats.stored.Load()
		}()
		if err := r.replace(ctx, c, packs); err != nil {
			return err
		}
		if err := c.rewriteRefsets(ctx); err != nil {
			return err
		}
		if err := c.mergeIndex(ctx); err != nil {
			return err
		}
		if c.unreadable {
			return nil // the next reclaim removes the old packs, when that point is deleted
		}
		return c.removeRetired(ctx)
	})
	r.progress(packs)
	return err
}

// replace moves what is live in damaged packs to new ones, and retires those that were moved completely.
func (r *repairing) replace(ctx context.Context, c *reclaim, packs []uint32) error {
	victims, err := r.condemn(ctx, c, packs)
	if err != nil {
		return err
	}
	for i := range victims {
		if victims[i].live.Total == 0 {
			continue
		}
		s := salvager{repairing: r, c: c, x: &victims[i]}
		if err := s.run(ctx); err != nil {
			return err
		}
	}
	if err := c.w.storeLastPacks(); err != nil {
		return err
	}
	c.w.segmentMu.Lock()
	err = c.w.publishSegment()
	c.w.segmentMu.Unlock()
	if err != nil {
		return err
	}
	for _, x := range victims {
		if !x.keep {
			r.report.Packs++
			continue
		}
		c.relocated[x.number] = map[int]place{}
		if c.relocated[x.number], err = parseRemap(c.remapOf(x.id)); err != nil {
			return err
		}
	}
	return c.retire(ctx, victims)
}

// condemn condemns packs, as a reclaim does, and leaves out those that a running session has written.
func (r *repairing) condemn(ctx context.Context, c *reclaim, packs []uint32) ([]victim, error) {
	if _, err := r.v.ledger.Fence(ctx); err != nil {
		return nil, fmt.Errorf("fence lost sessions: %w", err)
	}
	var victims []victim
	var ids []ID
	for _, n := range packs {
		if n == noPack {
			continue
		}
		if row := r.v.catalog.row(n); readable(row.state) {
			victims = append(victims, victim{number: n, packRow: row})
			ids = append(ids, row.id)
		}
	}
	if len(victims) == 0 {
		return nil, nil
	}
	epoch, err := r.v.ledger.Condemn(ctx, c.s.row.ID, ids)
	if err != nil {
		return nil, fmt.Errorf("condemn packs: %w", err)
	}
	if err := c.await(ctx, epoch); err != nil {
		return nil, err
	}
	if err := r.v.catalog.refresh(ctx); err != nil {
		return nil, err
	}
	c.marks, err = r.v.mark(ctx, r.v.catalog.set.Marks())
	if isDamage(err) {
		// What one point needs is not known, so everything is moved. That point's refset names the old packs for ever, and
		// cannot be read.
		r.v.log.Warn("all of damaged packs is moved, because it is not known what a recovery point needs", "error", err)
		c.marks.parts = nil
		c.marks.live, err = r.everything(victims)
	}
	if err != nil {
		return nil, err
	}
	for i := range victims {
		x := &victims[i]
		x.live, _ = c.marks.live.Pack(x.number)
		if c.marks.owned[x.session] {
			x.keep = true
			r.report.Busy++
		}
	}
	return c.rescue(ctx, victims)
}

// everything returns all slots of packs. A pack of which it is not known how many it has is left out.
func (r *repairing) everything(victims []victim) (refset.Set, error) {
	b := refset.NewBuilder()
	for i := range victims {
		if r.v.catalog.slots(victims[i].number) > 0 {
			b.AddAll(victims[i].number)
		} else {
			victims[i].keep = true
		}
	}
	return b.Set(r.v.catalog.slots)
}

// name fills in what is lost, and who needs it.
func (r *repairing) name(ctx context.Context) error {
	c := &check{v: r.v, o: CheckOptions{Level: CheckTrees}, damages: map[string]*Damage{}, slots: r.lost}
	for n, bad := range r.lost {
		row := r.v.catalog.row(n)
		name := packName(row.kind, row.id)
		c.damaged(name, fmt.Errorf("%s is %w: %d of its contents are in no other place", name, ErrDamaged, len(bad.slots)))
	}
	if len(r.lost)+len(r.manifests)+len(r.derive) > 0 || r.left {
		if err := c.points(ctx); err != nil {
			return err
		}
	}
	r.report.DamagedPoints = c.report.DamagedPoints
	for _, d := range c.damages {
		r.report.Lost = append(r.report.Lost, *d)
	}
	slices.SortFunc(r.report.Lost, func(a, b Damage) int { return strings.Compare(a.Object, b.Object) })
	return nil
}

// anyLength says that the length of a content is not known.
const anyLength = -1

// elsewhere returns a content from another place in the vault than the pack skip, or from another vault. It returns nil
// if there is none, and an error only if a place could not be reached. The content may be shared.
func (r *repairing) elsewhere(ctx context.Context, id ID, length int, skip uint32) (plain []byte, other bool, err error) {
	fits := func(b []byte) bool { return length == anyLength || len(b) == length }
	tried := map[uint32]bool{skip: true}
	for {
		loc, ok := r.v.catalog.findReadable(id, func(n uint32) bool { return tried[n] })
		if !ok {
			break
		}
		tried[loc.Pack] = true
		plain, err := r.v.readContent(ctx, id, loc)
		if errors.Is(err, ErrDamaged) {
			plain, err = r.v.mendContent(ctx, id, loc, err)
		}
		if err == nil && fits(plain) {
			return plain, false, nil
		}
		if err != nil && !isDamage(err) {
			return nil, false, err
		}
	}
	for _, from := range r.o.From {
		if _, ok := from.catalog.findReadable(id, nil); !ok {
			continue
		}
		plain, err := from.chunk(ctx, id)
		if err == nil && fits(plain) {
			return plain, true, nil
		}
		if err != nil && !isDamage(err) {
			return nil, false, fmt.Errorf("read the other vault: %w", err)
		}
	}
	return nil, false, nil
}

// lose notes a slot that nothing can restore.
func (r *repairing) lose(x *victim, slot int) {
	x.keep = true
	if r.lost[x.number] == nil {
		r.lost[x.number] = &badPack{slots: map[int]bool{}}
	}
	r.lost[x.number].slots[slot] = true
	r.v.catalog.suspect(x.number)
}
