package repo

import (
	"context"
	"fmt"
	"io"

	"github.com/zeebo/blake3"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/pack"
)

// coldPack reads a pack that is too large for memory once, from its first byte to its last, and checks every slot. The
// error is damage of the whole.
func (c *check) coldPack(ctx context.Context, n uint32, row packRow, p *pack.Pack) error {
	op, err := pack.NewOpener(c.v.keys(), p.Info)
	if err != nil {
		return err
	}
	rc, err := c.v.store.Get(ctx, blob.Name(p.Name()), 0, -1)
	if err != nil {
		return err
	}
	defer rc.Close()
	hash := blake3.New()
	r := io.TeeReader(rc, hash)
	if _, err := io.CopyN(io.Discard, r, pack.HeaderSize); err != nil {
		return fmt.Errorf("read %s: %w", p.Name(), err)
	}
	var stored, buf []byte
	sound := true
	for no, s := range p.Slots {
		if cap(stored) < int(s.Stored) {
			stored = make([]byte, s.Stored)
		}
		stored = stored[:s.Stored]
		if _, err := io.ReadFull(r, stored); err != nil {
			return fmt.Errorf("read %s: %w", p.Name(), err)
		}
		if buf, err = c.slot(op, no, s, stored, buf); err != nil {
			sound = false
			c.badSlot(n, row, no, fmt.Errorf("%s slot %d: %w", p.Name(), no, err))
		}
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return fmt.Errorf("read %s: %w", p.Name(), err)
	}
	var sum [32]byte
	hash.Sum(sum[:0])
	if known, ok := c.v.catalog.set.Pack(n); ok && known.Digest != [32]byte{} && known.Digest != sum {
		if sound { // header or trailer: the contents are whole, but what is around them is not as it was
			return chunk.Damaged(p.Name(), "its digest differs")
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	c.read(row)
	if !sound || c.v.observed.has(blob.Name(p.Name())) {
		return nil
	}
	return c.isSound(ctx, n, row)
}
