package repo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// ScrubOptions tunes a scrub, or a [Vault.Round], for which only Rate, Yield and States matter.
type ScrubOptions struct {
	Share     float64     // of the bytes of all packs but cold ones, that are read in 24 hours; a pack is due again after 1/Share days
	ColdShare float64     // the same of cold packs
	Rate      int64       // bytes a second at most, beyond one object; 0 = as fast as they come
	Yield     func() bool // asked before each pack, and before some other objects; true ends the call. May be nil
	Fresh     bool        // instead of all that: reads one random pack, but no cold one, that no full check has read yet
	States    StateKeeper // tells of states that are missing; may be nil
}

// ScrubReport is what a scrub or a round did.
type ScrubReport struct {
	Packs, Bytes  int64    // that were read
	Summed        int64    // packs of which the store has the checksum that they were put with; only a round asks
	Damages       []Damage // that were not known before
	DamagedPoints []DamagedPoint
	Mended        int64
}

// Coverage says how much of a vault full checks and scrubs have read, and what they know.
type Coverage struct {
	Packs, Bytes           int64          // all of the vault
	PacksKnown, BytesKnown int64          // of these, found sound at [CheckBytes] within the time asked for
	Oldest                 *time.Time     // last full check of the pack that waits longest; nil when one was never read, or there is none
	Newest                 *time.Time     // last full check of any pack
	Damages                []DamageRecord // known ones, of what is still there
}

// Scrub reads the packs whose last full check is longest ago, as far as the share of a day allows that other scrubs and
// checks have not used up. The ledger keeps how far it is, so it may be called at any time, and on any number of nodes.
// What it finds it treats as [Vault.Check] does. A part that cannot be reached keeps nothing else from being read; then the
// report is there beside the error.
func (v *Vault) Scrub(ctx context.Context, o ScrubOptions) (ScrubReport, error) {
	if err := v.writable(); err != nil {
		return ScrubReport{}, err
	}
	v.scrubbing.Lock()
	defer v.scrubbing.Unlock()
	c := v.newScrub(o)
	err := c.known(ctx)
	var due []duePack
	var left allowance
	if err == nil {
		due, left, err = c.due(ctx, o)
	}
	if err == nil {
		err = errors.Join(c.scrubPacks(ctx, o, due, left), c.finish(ctx))
	}
	if err != nil {
		err = fmt.Errorf("scrub vault: %w", err)
	}
	return c.scrubbed(), err
}

func (v *Vault) newScrub(o ScrubOptions) *check {
	c := v.newCheck(CheckOptions{Level: CheckBytes, States: o.States})
	c.scrub = true
	return c
}

// scrubbed is what was done.
func (c *check) scrubbed() ScrubReport {
	return ScrubReport{Packs: c.report.PacksRead, Bytes: c.report.BytesRead, Summed: c.report.PacksSummed, Damages: c.report.Damages,
		DamagedPoints: c.report.DamagedPoints, Mended: c.report.Mended}
}

// scrubPacks reads packs. One that cannot be reached ends that for those of its tier: the others may be in another store.
func (c *check) scrubPacks(ctx context.Context, o ScrubOptions, due []duePack, left allowance) (failed error) {
	for _, x := range due {
		bytes := left.of(x.row)
		if *bytes <= 0 {
			continue
		}
		if o.yields() {
			break
		}
		began := time.Now()
		err := c.checkPack(ctx, x.number, x.row)
		if err != nil {
			failed = errors.Join(failed, err)
			*bytes = 0
			continue
		}
		*bytes -= x.row.size
		if err := o.rest(ctx, x.row.size, began); err != nil {
			return err
		}
	}
	return failed
}

func (o ScrubOptions) yields() bool { return o.Yield != nil && o.Yield() }

// rest waits until reading some bytes since a time has not gone faster than it may.
func (o ScrubOptions) rest(ctx context.Context, bytes int64, began time.Time) error {
	if o.Rate == 0 {
		return ctx.Err()
	}
	return pauseFor(ctx, time.Duration(float64(bytes)/float64(o.Rate)*float64(time.Second))-time.Since(began))
}

// finish records what a scrub found, and looks at the recovery points if that is damage that was not known.
func (c *check) finish(ctx context.Context) error {
	if err := c.noteSound(ctx, 1); err != nil {
		return err
	}
	if len(c.damages) == 0 {
		return nil
	}
	known := c.knownBefore()
	if err := c.record(ctx); err != nil { // also that what was known is seen again
		return err
	}
	if !slices.ContainsFunc(slices.Collect(maps.Keys(c.damages)), func(name string) bool { return !known[name] }) {
		return nil
	}
	c.o.Level = CheckHeads // the trees of sound points are not a scrub's business
	if err := c.points(ctx); err != nil {
		return err
	}
	c.sort()
	c.report.Damages = slices.DeleteFunc(c.report.Damages, func(d Damage) bool { return known[d.Object] })
	return nil
}

// knownBefore returns the damaged objects of which the ledger knew all that was found.
func (c *check) knownBefore() map[string]bool {
	known, records := map[string]bool{}, map[DamageRecord]bool{}
	for _, d := range c.old {
		known[d.Object] = true
		records[DamageRecord{Object: d.Object, Pack: d.Pack, Slot: d.Slot}] = true
	}
	for d := range c.records {
		known[d.Object] = known[d.Object] && records[d]
	}
	return known
}

// duePack is a pack to scrub.
type duePack struct {
	number uint32
	row    packRow
	at     time.Time // zero = never read
}

// allowance is how many bytes of packs may be read now.
type allowance struct {
	now        time.Time // by the ledger's clock
	warm, cold int64
}

func (a *allowance) of(row packRow) *int64 {
	if row.kind == ObjectCold {
		return &a.cold
	}
	return &a.warm
}

// due returns the packs to read, in order, and how much of them may be read now.
func (c *check) due(ctx context.Context, o ScrubOptions) ([]duePack, allowance, error) {
	at, now, err := c.v.lastRead(ctx)
	if err != nil {
		return nil, allowance{}, err
	}
	var all []duePack
	var total, today allowance
	for n, row := range c.v.catalog.packs() {
		if row.state != ObjectLive || o.Fresh && row.kind == ObjectCold {
			continue
		}
		*total.of(row) += row.size
		last := at[row.id]
		if now.Sub(last) < 24*time.Hour {
			*today.of(row) += row.size
		}
		if row.bad != nil {
			continue // known; a check looks at it again
		}
		share := o.Share
		if row.kind == ObjectCold {
			share = o.ColdShare
		}
		if o.Fresh && last.IsZero() || !o.Fresh && share > 0 && now.Sub(last).Hours() >= 24/share {
			all = append(all, duePack{uint32(n), row, last})
		}
	}
	if o.Fresh && len(all) > 0 {
		n := rand.IntN(len(all))
		return all[n : n+1], allowance{now: now, warm: all[n].row.size}, nil
	}
	slices.SortFunc(all, func(a, b duePack) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.number, b.number))
	})
	return all, allowance{now, int64(o.Share*float64(total.warm)) - today.warm, int64(o.ColdShare*float64(total.cold)) - today.cold}, nil
}

// lastRead returns when each pack was last found sound by reading all of it, and the present time.
func (v *Vault) lastRead(ctx context.Context) (map[ID]time.Time, time.Time, error) {
	all, now, err := v.ledger.Verifications(ctx)
	if err != nil {
		return nil, now, fmt.Errorf("read ledger: %w", err)
	}
	at := map[ID]time.Time{}
	for _, x := range all {
		if x.Level == CheckBytes {
			at[x.Pack] = x.At
		}
	}
	return at, now, nil
}

// Coverage tells what full checks and scrubs have read within a time before now.
func (v *Vault) Coverage(ctx context.Context, within time.Duration) (Coverage, error) {
	if err := v.writable(); err != nil {
		return Coverage{}, err
	}
	if err := v.catalog.refresh(ctx); err != nil {
		return Coverage{}, err
	}
	at, now, err := v.lastRead(ctx)
	if err != nil {
		return Coverage{}, err
	}
	var c Coverage
	never := false
	for _, row := range v.catalog.packs() {
		if !readable(row.state) {
			continue
		}
		c.Packs++
		c.Bytes += row.size
		last, ok := at[row.id]
		if !ok {
			never = true
			continue
		}
		if now.Sub(last) <= within {
			c.PacksKnown++
			c.BytesKnown += row.size
		}
		if c.Oldest == nil || last.Before(*c.Oldest) {
			c.Oldest = &last
		}
		if c.Newest == nil || last.After(*c.Newest) {
			c.Newest = &last
		}
	}
	if never {
		c.Oldest = nil
	}
	records, err := v.ledger.Damages(ctx)
	if err != nil {
		return Coverage{}, fmt.Errorf("read ledger: %w", err)
	}
	for _, d := range records {
		if n, ok := v.catalog.known(packID(d.Pack)); d.Pack.IsZero() || ok && readable(v.catalog.row(n).state) {
			c.Damages = append(c.Damages, d)
		}
	}
	return c, nil
}

// pauseFor waits; the error is that of ctx.
func pauseFor(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
