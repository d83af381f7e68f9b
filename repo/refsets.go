package repo

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/field"
	"github.com/lockfast/lockfast/repo/pack"
	"github.com/lockfast/lockfast/repo/refset"
	"github.com/lockfast/lockfast/repo/seal"
)

// refsetGenerations lists the refsets of the store: the highest generation of each point, and the lower ones.
func (v *Vault) refsetGenerations(ctx context.Context) (newest map[PointID]int, older []blob.Name, err error) {
	newest = map[PointID]int{}
	for info, err := range v.store.List(ctx, "f/") {
		if err != nil {
			return nil, nil, fmt.Errorf("list refsets: %w", err)
		}
		id, generation, ok := parseRefsetName(info.Name)
		if !ok {
			continue
		}
		if had := newest[id]; had > generation {
			older = append(older, info.Name)
			continue
		} else if had > 0 {
			older = append(older, refsetName(id, had))
		}
		newest[id] = generation
	}
	return newest, older, nil
}

// newestRefset returns the highest generation of one point's refset, 0 when there is none.
func (v *Vault) newestRefset(ctx context.Context, id PointID) (int, error) {
	generation := 0
	for info, err := range v.store.List(ctx, "f/"+string(id)) {
		if err != nil {
			return 0, fmt.Errorf("list refsets of %s: %w", id, err)
		}
		if _, n, ok := parseRefsetName(info.Name); ok {
			generation = max(generation, n)
		}
	}
	return generation, nil
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
	for try := 0; ; try++ {
		generation, err := v.newestRefset(ctx, id)
		if err != nil {
			return refset.Set{}, err
		}
		records, err := v.readRefset(ctx, id, max(generation, 1))
		if errors.Is(err, blob.ErrNotExist) && try < 3 {
			continue // rewritten meanwhile
		}
		if err != nil {
			return refset.Set{}, fmt.Errorf("refset of recovery point %s: %w", id, missingIsDamage(err))
		}
		set, err := v.current(records)
		if err != nil {
			return refset.Set{}, fmt.Errorf("refset of recovery point %s: %w", id, err)
		}
		return set, nil
	}
}

// current translates records to packs that are there now.
func (v *Vault) current(records []refset.Record) (refset.Set, error) {
	c := v.catalog
	retired := false
	for i := range records {
		n, ok := c.known(records[i].ID)
		if !ok {
			return refset.Set{}, chunk.Damaged("pack "+records[i].ID.String(), "it is not there")
		}
		retired = retired || c.row(n).state == ObjectRetired
	}
	if !retired {
		set, _ := refset.FromRecords(records, c.known)
		return set, nil
	}
	b := refset.NewBuilder()
	for i := range records {
		n, _ := c.known(records[i].ID)
		if err := v.addCurrent(b, n, records[i].Slots, 0); err != nil {
			return refset.Set{}, err
		}
	}
	return b.Set(c.slots)
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
