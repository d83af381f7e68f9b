package repo

import (
	"context"
	"errors"
	"fmt"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/pack"
)

// known reads what the ledger knows: damage, and what an interrupted check has seen.
func (c *check) known(ctx context.Context) error {
	if err := c.v.catalog.refresh(ctx); err != nil || c.v.ledger == nil {
		return err
	}
	var err error
	if c.old, err = c.v.ledger.Damages(ctx); err != nil {
		return fmt.Errorf("read ledger: %w", err)
	}
	if err := c.knownSound(ctx); err != nil {
		return err
	}
	for _, d := range c.old {
		n, ok := c.v.catalog.known(packID(d.Pack))
		switch {
		case d.Pack.IsZero() && c.o.Level < CheckTrees:
			c.damaged(blob.Name(d.Object), chunk.Damaged(d.Object, "an earlier check found: %s", d.Reason))
		case ok && readable(c.v.catalog.row(n).state) && c.o.Level < CheckBytes:
			c.badSlot(n, c.v.catalog.row(n), d.Slot, chunk.Damaged(d.Object, "an earlier check found: %s", d.Reason))
		}
	}
	return nil
}

// knownSound notes the packs that need not be read again.
func (c *check) knownSound(ctx context.Context) error {
	if c.o.Since.IsZero() || c.o.Level < CheckBytes {
		return nil
	}
	all, _, err := c.v.ledger.Verifications(ctx)
	if err != nil {
		return fmt.Errorf("read ledger: %w", err)
	}
	c.verified = map[ID]bool{}
	for _, x := range all {
		if x.Level == c.o.Level && !x.At.Before(c.o.Since) {
			c.verified[x.Pack] = true
		}
	}
	for _, d := range c.old {
		delete(c.verified, d.Pack)
	}
	return nil
}

// soundBatch is how many packs are noted as sound at once.
const soundBatch = 8

// isSound notes that every byte of a pack is as it was written.
func (c *check) isSound(ctx context.Context, n uint32, row packRow) error {
	if c.v.ledger == nil {
		return nil
	}
	c.v.catalog.trust(n)
	var mended []DamageRecord
	for _, d := range c.old {
		if d.Pack == row.id {
			mended = append(mended, d)
		}
	}
	if len(mended) > 0 {
		if err := c.v.ledger.ClearDamage(ctx, mended); err != nil {
			return fmt.Errorf("record damage: %w", err)
		}
	}
	c.mu.Lock()
	c.sound = append(c.sound, row.id)
	c.mu.Unlock()
	return c.noteSound(ctx, soundBatch)
}

// noteSound tells the ledger which packs are sound when there are at least some of them. What was read stays known even
// when the check is being stopped.
func (c *check) noteSound(ctx context.Context, some int) error {
	c.mu.Lock()
	if len(c.sound) < some {
		c.mu.Unlock()
		return nil
	}
	packs := c.sound
	c.sound = nil
	c.mu.Unlock()
	if err := c.v.ledger.RecordVerified(context.WithoutCancel(ctx), CheckBytes, packs); err != nil {
		return fmt.Errorf("record verification: %w", err)
	}
	return nil
}

// record tells the ledger what is damaged, and drops records of what turned out not to be.
func (c *check) record(ctx context.Context) error {
	c.around()
	if c.v.ledger == nil {
		return nil
	}
	var add, clear []DamageRecord
	for d, reason := range c.records {
		d.Reason = reason
		add = append(add, d)
	}
	for name, d := range c.damages {
		// What is wrong with the ledger every check finds anew, until it is put right.
		if !isPackName(name) && !errors.Is(d.Err, ErrOutdated) && !errors.Is(d.Err, ErrJournal) {
			add = append(add, DamageRecord{Object: name, Slot: WholeObject, Reason: d.Err.Error()})
		}
	}
	for _, d := range c.old {
		if c.outdated(d) {
			clear = append(clear, d)
		}
	}
	if err := errors.Join(c.v.ledger.ClearDamage(ctx, clear), c.v.ledger.RecordDamage(ctx, add)); err != nil {
		return fmt.Errorf("record damage: %w", err)
	}
	return c.v.catalog.refresh(ctx)
}

// outdated reports whether a record is about something that is gone, or that this check found as it should be.
func (c *check) outdated(d DamageRecord) bool {
	if d.Pack.IsZero() {
		return !c.scrub && c.o.Level >= CheckTrees && c.damages[d.Object] == nil
	}
	n, ok := c.v.catalog.known(packID(d.Pack))
	if !ok || !readable(c.v.catalog.row(n).state) {
		return true
	}
	_, again := c.records[DamageRecord{Object: d.Object, Pack: d.Pack, Slot: d.Slot}]
	return c.o.Level >= CheckBytes && c.slots[n] != nil && !again
}

func isPackName(name string) bool {
	_, _, err := pack.ParseName(name)
	return err == nil
}
