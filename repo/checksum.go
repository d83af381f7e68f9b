package repo

import (
	"bytes"
	"context"
	"errors"

	"github.com/lockfast/lockfast/blob"
)

// otherSum asks the store for the checksum of a pack, and returns it if it is another than that of the bytes which were put.
// This may be because the object was replaced, because the store has found it changed, or because somebody has copied the
// store with other means; so it is only a reason to read the pack. What is not known differs from nothing: of packs that were
// put before checksums were noted, of those that a rebuild has found, and of stores that keep none.
func (c *check) otherSum(ctx context.Context, row packRow) ([]byte, error) {
	in, ok := blob.AsSummer(c.v.store)
	name := packName(row.kind, row.id)
	if !ok || row.sum == nil || row.bad != nil || c.v.observed.has(name) {
		return nil, nil
	}
	kept, err := in.Sum(ctx, name)
	switch {
	case errors.Is(err, blob.ErrNotExist): // it was there a moment ago; reclaim has it, or the next check misses it
		return nil, nil
	case err != nil || kept == nil:
		return nil, err
	case !bytes.Equal(kept, row.sum):
		return kept, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.PacksSummed++
	c.report.BytesSummed += row.size
	return nil, nil
}

// logOther says why a pack is read.
func (c *check) logOther(row packRow) {
	c.v.log.Warn("the store has another checksum of a pack than when it was put, and the pack is read", "object", packName(row.kind, row.id))
}
