package repo

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/index"
	"github.com/lockfast/lockfast/repo/pack"
	"github.com/lockfast/lockfast/repo/seal"
)

// A vault whose ledger is lost gets a new one in three steps, for all of which it is opened by [OpenReadOnly]: Claim keeps
// the lost ledger's owner from writing, should it still be alive; Inventory tells which objects the new ledger has to know;
// Survey tells of the recovery points. Each may be repeated.

// FoundPoint is a recovery point as the store alone shows it.
type FoundPoint struct {
	ID     PointID
	Facts  Facts      // of its manifest; zero for a parent, and if the manifest cannot be read
	Stats  PointStats // likewise
	State  Found[PointRecord]
	Cold   bool        // it is in cold storage
	Head   JournalHead // that its manifest carries; zero if it carries none, or cannot be read
	Moved  bool        // it is none any more: what is here was left over when it went to cold storage, under another id
	Damage error       // why its data cannot be read, wholly or in part; nil if nothing was noticed
}

// Inventory is what is in a vault besides its recovery points.
type Inventory struct {
	Objects []Object    // packs and segments, all live, ascending by id
	Foreign []blob.Name // names that no object of a vault has
}

// Claim claims the vault for a ledger of that identity: whoever had claimed it before can change nothing from now on, also if its
// claim is not there any more. The first of two claims is for those who find the next number by its name, the number of the
// second one is the time, and so above those of claims that were lost (docs/format.md section 15).
func (v *Vault) Claim(ctx context.Context, identity [16]byte) error {
	for {
		n, err := v.highestClaim(ctx)
		if err != nil {
			return err
		}
		last := max(n+2, uint64(max(0, time.Now().UnixNano())))
		if err = v.putClaim(ctx, n+1, identity); err == nil {
			err = v.putClaim(ctx, last, identity)
		}
		if err == nil {
			v.claim.Store(last)
			return nil
		}
		if !errors.Is(err, blob.ErrExist) {
			return fmt.Errorf("claim vault: %w", err)
		}
	}
}

// Resume checks that the vault is claimed for a ledger of that identity, by an earlier Claim.
func (v *Vault) Resume(ctx context.Context, identity [16]byte) error {
	n, err := v.highestClaim(ctx)
	if err != nil {
		return err
	}
	if err := v.checkClaim(ctx, n, identity); err != nil {
		return fmt.Errorf("resume claim: %w", err)
	}
	v.claim.Store(n)
	return nil
}

// Inventory lists the objects of a vault that has been claimed. If packs are in no segment that can be read, it publishes
// one that describes them.
func (v *Vault) Inventory(ctx context.Context) (Inventory, error) {
	if v.claim.Load() == 0 {
		return Inventory{}, fmt.Errorf("take inventory: vault %x was not claimed: %w", v.UUID(), ErrReadOnly)
	}
	if _, err := v.describeAll(ctx); err != nil {
		return Inventory{}, fmt.Errorf("take inventory: %w", err)
	}
	var out Inventory
	for info, err := range v.store.List(ctx, "") {
		if err != nil {
			return Inventory{}, fmt.Errorf("take inventory: %w", err)
		}
		o, known := objectNamed(info)
		switch {
		case o.Kind != 0:
			out.Objects = append(out.Objects, o)
		case !known:
			out.Foreign = append(out.Foreign, info.Name)
		}
	}
	slices.SortFunc(out.Objects, func(a, b Object) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return out, nil
}

// objectNamed returns the row of a pack or segment; known is false for a name that no object has.
func objectNamed(info blob.Info) (o Object, known bool) {
	o = Object{State: ObjectLive, Size: info.Size}
	name := string(info.Name)
	if t, id, err := pack.ParseName(name); err == nil {
		o.ID, o.Kind = ID(id), packKind(t)
		return o, true
	}
	if _, id, err := index.ParseSegmentName(name); err == nil {
		o.ID, o.Kind = ID(id), ObjectSegment
		return o, true
	}
	return Object{}, knownName(info.Name)
}

// knownName reports whether an object of a vault may have a name, other than a pack or a segment.
func knownName(name blob.Name) bool {
	if _, _, ok := parseManifestName(name); ok || name == coldMark || isMapName(name) {
		return true
	}
	if _, _, ok := parseRefsetName(name); ok {
		return true
	}
	if _, _, ok := parseStateName(name); ok {
		return true
	}
	kind, rest, _ := strings.Cut(string(name), "/")
	switch kind {
	case "k", "c", "j":
		return rest != "" && strings.Trim(rest, "0123456789-") == ""
	case "s", "a":
		return rest != ""
	}
	return formatGeneration(name) > 0
}

// describeAll publishes a segment for the packs that no segment describes which could be read, and returns it; nil if there are
// none.
func (v *Vault) describeAll(ctx context.Context) (*Object, error) {
	c := v.catalog
	if err := c.turn.take(ctx); err != nil {
		return nil, err
	}
	defer c.turn.leave()
	c.indexed.Lock()
	rebuilt, loaded := c.rebuilt, slices.Collect(maps.Keys(c.segments))
	c.indexed.Unlock()
	if !rebuilt {
		return nil, nil
	}
	b := index.NewBuilder()
	described := v.describedBy(ctx, loaded)
	for _, r := range c.packs() {
		if described[r.id] || r.state != ObjectLive {
			continue
		}
		p, err := v.openPack(ctx, r)
		if errors.Is(err, ErrDamaged) || errors.Is(err, blob.ErrNotExist) {
			v.log.Warn("pack cannot be read", "object", packName(r.kind, r.id), "error", err)
			continue
		}
		if err != nil {
			return nil, err
		}
		b.AddPack(index.PackInfo{Info: p.Info, Slots: len(p.Slots)}, p.Slots)
	}
	if b.Len() == 0 {
		return nil, nil
	}
	var id ID
	if _, err := rand.Read(id[:]); err != nil {
		return nil, err
	}
	built, err := b.BuildID(index.SegmentID(id))
	if err != nil {
		return nil, err
	}
	size, err := v.putSealed(ctx, seal.TypeSegment, segmentName(0, id), built.Plain)
	return &Object{ID: id, Kind: ObjectSegment, State: ObjectLive, Size: size}, err
}

// describedBy returns the packs that stored segments describe; what was rebuilt in memory does not count.
func (v *Vault) describedBy(ctx context.Context, segments []ID) map[ID]bool {
	out := map[ID]bool{}
	for _, id := range segments {
		s, _, err := v.readSegment(ctx, id)
		if err != nil {
			continue
		}
		for i := range s.Packs() {
			out[ID(s.Pack(i).ID)] = true
		}
	}
	return out
}

// Survey calls told with what was moved to cold storage and is left over, and then with every recovery point, ascending by
// id: those that have a manifest, and parents, which have only a state. Those that are damaged are among them, so that a new ledger protects what is left of them.
func (v *Vault) Survey(ctx context.Context, told func(FoundPoint) error) error {
	listed, err := v.manifests(ctx)
	if err != nil {
		return fmt.Errorf("list recovery points: %w", err)
	}
	present, err := v.withoutMoved(ctx, slices.Clone(listed))
	if err != nil {
		return fmt.Errorf("list recovery points: %w", err)
	}
	manifests := map[PointID]bool{}
	for _, id := range present {
		manifests[id] = true
	}
	for _, id := range listed {
		if !manifests[id] {
			if err := told(FoundPoint{ID: id, Moved: true}); err != nil {
				return err
			}
		}
	}
	states, err := v.stateGenerations(ctx, "p/")
	if err != nil {
		return err
	}
	refsets, err := v.refsetGenerations(ctx, "f/")
	if err != nil {
		return err
	}
	all := maps.Clone(manifests)
	for id := range states {
		all[id] = true
	}
	return inBatches(slices.Sorted(maps.Keys(all)), func(id PointID) (f FoundPoint, err error) {
		f.ID = id
		if f.State, err = v.newestPointState(ctx, id, states[id]); err != nil || !manifests[id] {
			return f, err
		}
		m, err := v.readManifest(ctx, id)
		if err == nil {
			f.Facts, f.Stats, f.Cold, f.Head = m.facts, m.stats, m.warm != "", m.head
			_, err = v.readCurrent(ctx, id, refsets[id])
		}
		if err = missingIsDamage(err); errors.Is(err, ErrDamaged) {
			f.Damage, err = err, nil
		}
		return f, err
	}, func(f FoundPoint) error {
		if !manifests[f.ID] && (f.State.State == nil || !f.State.State.Parent) {
			return nil // what is left of a deleted one
		}
		return told(f)
	})
}

// WrappingKey is the key that wraps the newest key of the vault.
type WrappingKey struct {
	ID    string   // as the operator knows it
	Links [][]byte // of its chain, see [ChainWrapper]
}

// WrappingKeys returns the keys that wrap the keys of the vault, one per epoch, ascending.
func (v *Vault) WrappingKeys() (all []WrappingKey) {
	records := v.ring.Load().records
	for _, epoch := range slices.Sorted(maps.Keys(records)) {
		all = append(all, WrappingKey{ID: records[epoch].KeyID, Links: records[epoch].Links})
	}
	return all
}

// DomainKey returns the key under which equal contents of the vaults of an account get equal ids, for the database that has to
// know it when it makes further vaults. It is a secret.
func (v *Vault) DomainKey() [32]byte { return v.ring.Load().domain }

// OpeningDamage returns what was damaged of what was read to open the vault: an older copy was taken for it.
func (v *Vault) OpeningDamage() []error { return v.opening }
