package repo

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// ScrubOptions tunes a scrub.
type ScrubOptions struct {
	Share float64     // of the bytes of all packs, that are read in 24 hours; a pack is due again after 1/Share days
	Rate  int64       // bytes a second at most; 0 = as fast as they come
	Yield func() bool // asked before each pack; true ends the scrub. May be nil
	Fresh bool        // instead of all that: reads one random pack that no full check has read yet
}

// ScrubReport is what a scrub did.
type ScrubReport struct {
	Packs, Bytes  int64
	Damages       []Damage
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
// checks have not used up. It leaves out cold packs. What it finds it treats as [Vault.Check] does. The ledger keeps how far it is, so it may be
// called at any time, and on any number of nodes.
func (v *Vault) Scrub(ctx context.Context, o ScrubOptions) (ScrubReport, error) {
	if err := v.writable(); err != nil {
		return ScrubReport{}, err
	}
	c := v.newCheck(CheckOptions{Level: CheckBytes})
	if err := c.known(ctx); err != nil {
		return ScrubReport{}, fmt.Errorf("scrub vault: %w", err)
	}
	due, budget, err := c.due(ctx, o)
	if err != nil {
		return ScrubReport{}, fmt.Errorf("scrub vault: %w", err)
	}
	for _, x := range due {
		if budget <= 0 || o.Yield != nil && o.Yield() {
			break
		}
		began := time.Now()
		if err := c.checkPack(ctx, x.number, x.row); err != nil {
			return ScrubReport{}, fmt.Errorf("scrub vault: %w", err)
		}
		budget -= x.row.size
		if o.Rate > 0 {
			rest := time.Duration(float64(x.row.size)/float64(o.Rate)*float64(time.Second)) - time.Since(began)
			if err := pauseFor(ctx, rest); err != nil {
				return ScrubReport{}, fmt.Errorf("scrub vault: %w", err)
			}
		}
	}
	if err := c.finish(ctx); err != nil {
		return ScrubReport{}, fmt.Errorf("scrub vault: %w", err)
	}
	return ScrubReport{Packs: c.report.PacksRead, Bytes: c.report.BytesRead, Damages: c.report.Damages,
		DamagedPoints: c.report.DamagedPoints, Mended: c.report.Mended}, nil
}

// finish records what a scrub found, and looks at the recovery points if that is damage.
func (c *check) finish(ctx context.Context) error {
	if err := c.noteSound(ctx, 1); err != nil {
		return err
	}
	if len(c.damages) == 0 {
		return nil
	}
	if err := c.record(ctx); err != nil {
		return err
	}
	c.o.Level = CheckHeads // the trees of sound points are not a scrub's business
	if err := c.points(ctx); err != nil {
		return err
	}
	c.sort()
	return nil
}

// duePack is a pack to scrub.
type duePack struct {
	number uint32
	row    packRow
	at     time.Time // zero = never read
}

// due returns the packs to read, in order, and how many bytes may be read now.
func (c *check) due(ctx context.Context, o ScrubOptions) ([]duePack, int64, error) {
	at, now, err := c.v.lastRead(ctx)
	if err != nil {
		return nil, 0, err
	}
	var all []duePack
	var total, today int64
	for n, row := range c.v.catalog.packs() {
		if row.state != ObjectLive || row.kind == ObjectCold { // reading from cold storage is slow, and may cost money
			continue
		}
		total += row.size
		last := at[row.id]
		if now.Sub(last) < 24*time.Hour {
			today += row.size
		}
		if row.bad != nil {
			continue // known; a check looks at it again
		}
		if o.Fresh && last.IsZero() || !o.Fresh && o.Share > 0 && now.Sub(last).Hours() >= 24/o.Share {
			all = append(all, duePack{uint32(n), row, last})
		}
	}
	if o.Fresh && len(all) > 0 {
		n := rand.IntN(len(all))
		return all[n : n+1], all[n].row.size, nil
	}
	slices.SortFunc(all, func(a, b duePack) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.number, b.number))
	})
	return all, int64(o.Share*float64(total)) - today, nil
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
