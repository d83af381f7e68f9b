package repo

import (
	"context"
	"errors"
	"fmt"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/index"
	"github.com/lockfast/lockfast/repo/pack"
	"github.com/lockfast/lockfast/repo/seal"
)

// MoveToCold brings every content of the recovery point that [WriterOptions].Cold names into cold packs, compressed anew at
// a better level, unless cold storage has it already. Nodes and lists stay where they are, so that the tree can be read
// without cold storage. Prepare, or Commit, follows: it makes a recovery point with the same tree, which takes the place of
// the old one; the caller deletes that, best in the transaction of the commit. What was warm of it then goes by Reclaim,
// unless others need it. An attempt that follows a lost one under the same job does not move again what that had indexed.
//
// CopyProgress tells how far it has come.
func (w *Writer) MoveToCold(ctx context.Context) error {
	if w.source == nil || w.copied {
		return fmt.Errorf("move to cold storage: %w", ErrClosed)
	}
	if w.ctx.Err() != nil {
		return w.err()
	}
	if err := w.takeTree(ctx, w.source); err != nil {
		return fmt.Errorf("move recovery point %s to cold storage: %w", w.source.id, err)
	}
	return nil
}

// Cold reports whether the contents of the recovery point are in cold storage.
func (p *Point) Cold() bool { return p.m.warm != "" }

// Warm returns what the recovery point was before it was moved to cold storage; empty if it was not.
func (p *Point) Warm() PointID { return p.m.warm }

// Source returns the recovery point that the writer moves to cold storage, nil if it moves none. It is closed with the writer.
func (w *Writer) Source() *Point { return w.source }

// fits reports whether a place may be relied on: contents in cold storage if they are moved there, and warm ones else.
func (w *Writer) fits(loc index.Location) bool {
	if w.source == nil || loc.Kind == chunk.Node || loc.Kind == chunk.List {
		return !w.v.catalog.isCold(loc.Pack)
	}
	return w.v.catalog.isCold(loc.Pack)
}

// find returns where a content is that this writer may rely on anew.
func (w *Writer) find(id ID) (index.Location, bool) {
	if w.source != nil {
		if loc, ok := w.v.catalog.findCold(id); ok {
			return loc, true
		}
	}
	loc, ok := w.v.catalog.find(id)
	return loc, ok && w.fits(loc)
}

// contents returns the packer of everything but nodes and lists.
func (w *Writer) contents() *packer {
	if w.source != nil {
		return w.cold
	}
	return w.dataPacker()
}

// level is how hard contents are compressed.
func (w *Writer) level() pack.Level {
	if w.source != nil {
		return levelOf(ObjectCold)
	}
	return levelOf(ObjectData)
}

// levelOf is how hard the contents of a kind of packs are compressed.
func levelOf(kind ObjectKind) pack.Level {
	if kind == ObjectCold {
		return pack.Small
	}
	return pack.Fast
}

// recompress hands a chunk or a whole bundle to the workers.
func (s *packCopier) recompress(slot pack.Slot, encoded []byte) error {
	buf := s.w.buffers.get(int(slot.Plain))
	plain, err := s.from.dec.Decompress(buf, slot.Codec, encoded, int(slot.Plain))
	if err == nil {
		err = pack.Verify(s.from.keys(), slot, plain)
	}
	if err != nil {
		s.w.buffers.put(buf)
		return err
	}
	if slot.Codec == chunk.Raw { // it stands in encoded
		copy(buf[:len(plain)], plain)
	}
	plain = buf[:len(plain)] // with the room of a buffer, for its next use
	id := slot.ID
	if slot.Kind == chunk.Bundle {
		id = ID{}
	}
	return s.w.submit(task{kind: slot.Kind, id: id, plain: plain, parts: slot.Parts})
}

// allowCold notes in the format that the vault has cold packs, which programs that do not know them must not open.
func (v *Vault) allowCold(ctx context.Context) error {
	v.allowing.Lock()
	defer v.allowing.Unlock()
	if v.coldAllowed {
		return nil
	}
	stock, err := v.formats(ctx)
	if err != nil {
		return err
	}
	f, last := stock.newest, int(stock.last)
	if f.Incompatible&seal.FeatureCold == 0 {
		if f, last, err = v.addCold(ctx, f, last); err != nil {
			return err
		}
		if _, err := v.putFormat(ctx, f, last+1); err != nil { // for the case that the first is damaged
			return err
		}
	}
	v.coldAllowed = true
	return nil
}

// addCold writes the next generation of the format, with cold storage, and returns it.
func (v *Vault) addCold(ctx context.Context, f seal.Format, last int) (seal.Format, int, error) {
	for range maxFormatTries {
		last++
		var err error
		if f, err = v.putFormat(ctx, f, last); err != nil || f.Incompatible&seal.FeatureCold != 0 {
			return f, last, err
		}
	}
	return f, last, fmt.Errorf("allow cold storage: %w", ErrBusy)
}

// maxFormatTries is how many generations of the format a list may be behind.
const maxFormatTries = 5

// putFormat writes a generation of the format that has cold storage, or returns what stands under its name, which the list
// of names did not show. One that cannot be read is passed over.
func (v *Vault) putFormat(ctx context.Context, old seal.Format, generation int) (seal.Format, error) {
	f := old
	f.Generation, f.Incompatible, f.Epoch = uint32(generation), f.Incompatible|seal.FeatureCold, v.keys().Epoch()
	b, err := f.Encode(v.keys())
	if err != nil {
		return f, err
	}
	name := blob.Name(f.Name())
	if err := putBytes(ctx, v.store, name, b); !errors.Is(err, blob.ErrExist) {
		return f, err
	}
	raw, err := readWhole(ctx, v.store, name, maxSmallObject)
	if err != nil {
		return f, err
	}
	there, err := seal.DecodeFormat(string(name), raw)
	if errors.Is(err, ErrDamaged) {
		return old, nil
	}
	return there, objectError(name, err)
}
