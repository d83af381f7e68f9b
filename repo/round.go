package repo

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/lockfast/lockfast/blob"
)

const (
	// roundEvery is how long the objects of a vault are left alone after a round began.
	roundEvery = 24 * time.Hour
	// roundHold is how long others leave a round to a process from which nothing is heard.
	roundHold = 15 * time.Minute
	// sumCost is how many bytes that are read a question for a checksum counts as.
	sumCost = 256 << 10
)

// Places in a round begin with one of these, in this order; what follows is the id or name up to which its objects were looked
// at. What may be away while all else is there, the cold packs, comes last.
const (
	placeVault    = "1"
	placeStates   = "2"
	placeMaps     = "3"
	placeSegments = "4"
	placeRoots    = "5"
	placeSums     = "6"
	placeNames    = "7"
	placeColdSums = "8"
)

// plannedRound is what is left of a round, as far as this process knows. The zero value is that of a round of which it knows nothing.
type plannedRound struct {
	began time.Time
	place string // of the part before those
	left  []roundPart
}

// roundPart is a part of a round. What it was planned with may have changed since.
type roundPart struct {
	place string
	size  int64 // bytes that it reads, as far as that is known before and matters
	read  func(context.Context, *round) error
}

// round is the turn of this process with the round of a vault.
type round struct {
	*check
	o   ScrubOptions
	row Round // as the ledger has it
}

// errTurn ends a turn before its time, perhaps in the middle of a part, which is then begun again.
var errTurn = errors.New("the turn is over")

// Round looks at everything but the bytes of packs, once in 24 hours: it reads all objects that are no packs, as a check at
// [CheckTrees] does, but walks no trees; it looks for packs that are missing or of another size; and of packs that were put into a
// store which keeps checksums ([blob.Summer]) it asks for the checksum, and reads those of which that is another one. The
// ledger keeps how far it is, so it may be called at any time, and on any number of nodes, of which one at a time goes on with it.
// What Yield, an error or the end of a process cut short, a later call goes on with. What it finds it treats as [Vault.Check] does.
func (v *Vault) Round(ctx context.Context, o ScrubOptions) (ScrubReport, error) {
	if err := v.writable(); err != nil {
		return ScrubReport{}, err
	}
	v.scrubbing.Lock()
	defer v.scrubbing.Unlock()
	r := &round{check: v.newScrub(o), o: o}
	if err := r.turn(ctx); err != nil {
		return r.scrubbed(), fmt.Errorf("look at the objects of the vault: %w", err)
	}
	return r.scrubbed(), nil
}

// turn takes the round, goes on with it, and lets it go.
func (r *round) turn(ctx context.Context) error {
	var holder ID
	rand.Read(holder[:]) // never fails
	row, ok, err := r.v.ledger.TakeRound(ctx, holder, roundEvery, roundHold)
	if err != nil {
		return fmt.Errorf("take the round: %w", err)
	}
	if !ok {
		return nil
	}
	r.row = row
	through, err := r.run(ctx)
	var all error
	for _, err := range []error{err, r.end(ctx, through), r.note(context.WithoutCancel(ctx), 0)} {
		if !errors.Is(err, errTurn) {
			all = errors.Join(all, err)
		}
	}
	return all
}

// run reads parts, and reports whether none is left.
func (r *round) run(ctx context.Context) (through bool, err error) {
	if err := r.known(ctx); err != nil {
		return false, err
	}
	s := &r.v.planned
	if !s.began.Equal(r.row.Began) || s.place > r.row.Place {
		parts, err := r.parts(ctx)
		if err != nil {
			return false, err
		}
		*s = plannedRound{began: r.row.Began, left: parts}
	}
	for len(s.left) > 0 && s.left[0].place <= r.row.Place {
		s.left = s.left[1:]
	}
	s.place = r.row.Place
	for len(s.left) > 0 && !r.o.yields() {
		part, began := s.left[0], time.Now()
		if err := part.read(ctx, r); err != nil {
			return false, err
		}
		s.left, s.place = s.left[1:], part.place
		r.around()
		if len(r.damages) == 0 { // else that is to be recorded first
			r.row.Place = s.place
		}
		if err := r.note(ctx, roundHold); err != nil {
			return false, err
		}
		if err := r.o.rest(ctx, part.size, began); err != nil {
			return false, err
		}
	}
	return len(s.left) == 0, nil
}

// end records what was found, and drops records of what was not found again when all parts are through. Only then the ledger is
// to hear how far the round is.
func (r *round) end(ctx context.Context, through bool) error {
	r.around()
	err := r.finish(ctx)
	if err == nil && through {
		err = r.clear(ctx)
	}
	if err != nil {
		r.v.planned = plannedRound{} // the ledger has another place
		return err
	}
	if r.v.planned.began.Equal(r.row.Began) { // else nothing was planned
		r.row.Place, r.row.Over = max(r.row.Place, r.v.planned.place), through
	}
	return nil
}

// note tells the ledger how far the round is. It returns errTurn when another process goes on with it, because this one was slow.
func (r *round) note(ctx context.Context, hold time.Duration) error {
	err := r.v.ledger.NoteRound(ctx, r.row, hold)
	switch {
	case errors.Is(err, ErrFenced):
		return errTurn
	case err != nil:
		return fmt.Errorf("note how far the round is: %w", err)
	}
	return nil
}

// parts plans a round.
func (r *round) parts(ctx context.Context) ([]roundPart, error) {
	var parts []roundPart
	add := func(place string, size int64, read func(context.Context, *round) error) {
		parts = append(parts, roundPart{place, size, read})
	}
	add(placeVault, 0, func(ctx context.Context, r *round) error {
		return errors.Join(r.formats(ctx), r.roots(ctx), r.journal(ctx), r.vaultState(ctx), r.states(ctx))
	})
	states, err := r.v.stateGenerations(ctx, "p/")
	if err != nil {
		return nil, err
	}
	for ids := range slices.Chunk(slices.Sorted(maps.Keys(states)), surveyBatch) {
		add(placeStates+string(ids[len(ids)-1]), 0, func(ctx context.Context, r *round) error { return r.pointStates(ctx, ids, states) })
	}
	copyMaps, err := r.copyMaps(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range copyMaps {
		add(placeMaps+string(m.Name), m.Size, func(ctx context.Context, r *round) error { return r.copyMap(ctx, m.Name) })
	}
	for _, o := range r.v.catalog.liveSegments() {
		add(placeSegments+o.ID.String(), o.Size, func(ctx context.Context, r *round) error { return r.segment(ctx, o.ID) })
	}
	if parts, err = r.rootParts(ctx, parts); err != nil {
		return nil, err
	}
	parts = append(parts, r.sumParts()...)
	add(placeNames, 0, func(ctx context.Context, r *round) error { return r.names(ctx) })
	slices.SortFunc(parts, func(a, b roundPart) int { return cmp.Compare(a.place, b.place) })
	return parts, nil
}

// sumParts plans the questions for checksums.
func (r *round) sumParts() (parts []roundPart) {
	if _, ok := blob.AsSummer(r.v.store); !ok {
		return nil
	}
	numbers := map[string][]uint32{}
	rows := r.v.catalog.packs()
	for n, row := range rows {
		place := placeSums
		if row.kind == ObjectCold {
			place = placeColdSums
		}
		if readable(row.state) && row.sum != nil {
			numbers[place] = append(numbers[place], uint32(n))
		}
	}
	for place, all := range numbers {
		slices.SortFunc(all, func(a, b uint32) int { return bytes.Compare(rows[a].id[:], rows[b].id[:]) })
		for some := range slices.Chunk(all, surveyBatch) {
			last := rows[some[len(some)-1]].id
			parts = append(parts, roundPart{place + last.String(), int64(len(some)) * sumCost, func(ctx context.Context, r *round) error {
				return r.sums(ctx, some)
			}})
		}
	}
	return parts
}

// sums asks for the checksums of packs, and reads those of which it is another than when they were put. One that is sound all
// the same is not read for that again, as long as this process lives and the store tells the same.
func (r *round) sums(ctx context.Context, packs []uint32) error {
	type answer struct {
		n     uint32
		row   packRow
		other []byte
	}
	var odd []answer
	err := inBatches(packs, func(n uint32) (answer, error) {
		row := r.v.catalog.row(n)
		if !readable(row.state) {
			return answer{}, nil
		}
		other, err := r.otherSum(ctx, row)
		return answer{n, row, other}, err
	}, func(a answer) error {
		if a.other != nil && !bytes.Equal(a.other, r.v.odd[a.row.id]) {
			odd = append(odd, a)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, a := range odd {
		if r.o.yields() {
			return errTurn
		}
		began := time.Now()
		r.logOther(a.row)
		if err := r.checkPack(ctx, a.n, a.row); err != nil {
			return err
		}
		if r.slots[a.n] == nil {
			r.v.odd[a.row.id] = a.other
		}
		if err := r.note(ctx, roundHold); err != nil {
			return err
		}
		if err := r.o.rest(ctx, a.row.size, began); err != nil {
			return err
		}
	}
	return nil
}

// rootParts adds the reading of manifests and refsets.
func (c *check) rootParts(ctx context.Context, parts []roundPart) ([]roundPart, error) {
	points, err := c.pointIDs(ctx)
	if err != nil {
		return nil, err
	}
	refsets, sizes := map[PointID][]int{}, map[PointID]int64{}
	for info, err := range c.v.store.List(ctx, "f/") {
		if err != nil {
			return nil, fmt.Errorf("list refsets: %w", err)
		}
		if id, n, ok := parseRefsetName(info.Name); ok {
			refsets[id] = append(refsets[id], n)
			sizes[id] += info.Size
		}
	}
	for ids := range slices.Chunk(points, surveyBatch) {
		part := roundPart{place: placeRoots + string(ids[len(ids)-1]), read: func(ctx context.Context, r *round) error {
			return inBatches(ids, func(id PointID) (PointID, error) {
				return id, r.pointRoots(ctx, id, slices.Sorted(slices.Values(refsets[id])))
			}, func(PointID) error { return nil })
		}}
		for _, id := range ids {
			part.size += sizes[id]
		}
		parts = append(parts, part)
	}
	return parts, nil
}

// pointRoots reads the manifest and the refset of a recovery point, but not its tree.
func (c *check) pointRoots(ctx context.Context, id PointID, refsets []int) error {
	name := manifestName(id)
	m, err := c.v.readManifest(ctx, id)
	if err == nil {
		err = c.journaled(ctx, id, m.head)
	}
	if err == nil {
		name = refsetName(id, 1)
		err = c.v.takeRefset(ctx, id, refsets, func(_ PointID, n needs) error {
			_, err := c.v.currentOf(n)
			return err
		})
	}
	if err == nil || !isDamage(err) {
		return err
	}
	ids, lerr := c.pointIDs(ctx)
	if lerr != nil || !slices.Contains(ids, id) { // else it was deleted meanwhile
		return lerr
	}
	c.damaged(name, missingIsDamage(err))
	return nil
}

// clear drops records of what this round did not find again. Those about manifests and refsets may be about what they refer to,
// which it does not read: they go with their recovery point.
func (r *round) clear(ctx context.Context) error {
	records, err := r.v.ledger.Damages(ctx)
	if err != nil {
		return fmt.Errorf("read ledger: %w", err)
	}
	points, err := r.pointIDs(ctx)
	if err != nil {
		return err
	}
	gone := slices.DeleteFunc(records, func(d DamageRecord) bool {
		id, ofPoint := pointOf(blob.Name(d.Object))
		return !d.Pack.IsZero() || !d.Seen.Before(r.row.Began) || r.v.observed.has(blob.Name(d.Object)) ||
			ofPoint && slices.Contains(points, id)
	})
	if err := r.v.ledger.ClearDamage(ctx, gone); err != nil {
		return fmt.Errorf("record damage: %w", err)
	}
	return nil
}
