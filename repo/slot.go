package repo

import (
	"context"
	"errors"
	"fmt"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/index"
	"github.com/lockfast/lockfast/repo/pack"
)

// readSlot reads, opens and decodes one slot; the id is not checked yet.
func (v *Vault) readSlot(ctx context.Context, loc index.Location) ([]byte, error) {
	info, ok := v.catalog.set.Pack(loc.Pack)
	if !ok {
		return nil, fmt.Errorf("pack %d: %w", loc.Pack, blob.ErrNotExist)
	}
	stored, err := readRange(ctx, v.store, blob.Name(info.Name()), int64(loc.Offset), int64(loc.Stored), nil)
	if err != nil {
		return nil, err
	}
	return v.openSlot(info, loc, stored, nil)
}

// openSlot decrypts stored in place and decodes it, into buf if that is large enough.
func (v *Vault) openSlot(info index.PackInfo, loc index.Location, stored, buf []byte) ([]byte, error) {
	op, err := v.openers.of(v, loc.Pack, info.Info)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", info.Name(), err)
	}
	encoded, err := op.Open(int(loc.Slot), loc.PackSlot(), stored)
	if err != nil {
		return nil, err
	}
	plain, err := v.dec.Decompress(buf, loc.Codec, encoded, int(loc.Plain))
	if err != nil {
		return nil, fmt.Errorf("%s slot %d: %w", info.Name(), loc.Slot, err)
	}
	return plain, nil
}

// chunk returns the plain bytes of the content id, shared with the cache. Damage in one place is no harm when the content
// stands in another one too.
func (v *Vault) chunk(ctx context.Context, id ID) ([]byte, error) {
	if b, ok := v.cache.get(id); ok {
		return b, nil
	}
	var tried map[uint32]bool
	var damage error
	for refreshed := 0; ; {
		loc, ok := v.catalog.findReadable(id, func(n uint32) bool { return tried[n] })
		if !ok && damage != nil {
			return nil, damage
		}
		if !ok {
			if refreshed++; refreshed > 2 {
				return nil, chunk.Damaged(fmt.Sprintf("chunk %s", id), "it is in no pack of the index")
			}
			if err := v.catalog.refresh(ctx); err != nil {
				return nil, err
			}
			continue
		}
		plain, err := v.readContent(ctx, id, loc)
		if errors.Is(err, blob.ErrNotExist) {
			if err := v.catalog.refresh(ctx); err != nil {
				return nil, err
			}
			if !readable(v.catalog.row(loc.Pack).state) {
				refreshed = 0 // it was reclaimed after the lookup, perhaps by another node; each pack is once
				continue
			}
		}
		if errors.Is(err, ErrDamaged) && ctx.Err() == nil {
			plain, err = v.mendContent(ctx, id, loc, err)
		}
		switch {
		case err == nil:
			v.cache.put(id, plain)
			return plain, nil
		case errors.Is(err, blob.ErrNotExist), errors.Is(err, ErrDamaged):
			damage = missingIsDamage(err)
			v.catalog.suspect(loc.Pack)
			if tried == nil {
				tried = map[uint32]bool{}
			}
			tried[loc.Pack] = true
		default:
			return nil, err
		}
	}
}

// missingIsDamage turns the absence of an object that has to be there into damage.
func missingIsDamage(err error) error {
	if errors.Is(err, blob.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}

// readContent reads a chunk or part from one place and checks its id.
func (v *Vault) readContent(ctx context.Context, id ID, loc index.Location) ([]byte, error) {
	if !loc.Part {
		plain, err := v.readSlot(ctx, loc)
		if err != nil {
			return nil, err
		}
		return plain, v.verify(loc, plain)
	}
	bundle, ok := v.cache.get(loc.Chunk)
	if !ok {
		var err error
		if bundle, err = v.readSlot(ctx, loc); err != nil {
			return nil, err
		}
		v.cache.put(loc.Chunk, bundle)
	}
	return v.part(id, loc, bundle)
}

// verify checks the id of a chunk that is not a bundle.
func (v *Vault) verify(loc index.Location, plain []byte) error {
	if err := pack.Verify(v.keys(), loc.PackSlot(), plain); err != nil {
		return fmt.Errorf("%s slot %d: %w", packName(v.catalog.row(loc.Pack).kind, v.catalog.row(loc.Pack).id), loc.Slot, err)
	}
	return nil
}

// part cuts a part out of its bundle and checks its id.
func (v *Vault) part(id ID, loc index.Location, bundle []byte) ([]byte, error) {
	r := v.catalog.row(loc.Pack)
	end := uint64(loc.PartOffset) + uint64(loc.PartLength)
	if end > uint64(len(bundle)) {
		return nil, chunk.Damaged(fmt.Sprintf("index entry of part %s", id), "it ends at %d of %d bytes of its bundle", end, len(bundle))
	}
	plain := bundle[loc.PartOffset:end]
	if err := pack.VerifyPart(v.keys(), id, plain); err != nil {
		return nil, fmt.Errorf("%s slot %d: %w", packName(r.kind, r.id), loc.Slot, err)
	}
	return plain, nil
}
