package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/index"
	"github.com/lockfast/lockfast/repo/pack"
	"github.com/lockfast/lockfast/repo/seal"
)

// Limits of docs/format.md section 19 for objects that are read whole.
const (
	maxSmallObject = 64 << 20
	maxSegment     = 16 << 30
)

func packType(k ObjectKind) seal.Type {
	switch k {
	case ObjectMeta:
		return seal.TypeMetaPack
	case ObjectCold:
		return seal.TypeColdPack
	}
	return seal.TypeDataPack
}

func packKind(t seal.Type) ObjectKind {
	switch t {
	case seal.TypeMetaPack:
		return ObjectMeta
	case seal.TypeColdPack:
		return ObjectCold
	}
	return ObjectData
}

func packName(k ObjectKind, id ID) blob.Name { return blob.Name(pack.Name(packType(k), pack.ID(id))) }

// manifestName returns the name of a manifest as it is written first.
func manifestName(id PointID) blob.Name { return generationName("r/", id, 1) }

// refsetName returns the name of a refset.
func refsetName(id PointID, generation int) blob.Name { return generationName("f/", id, generation) }

// generationName returns the name of an object of a recovery point; generations count from 1.
func generationName(prefix string, id PointID, generation int) blob.Name {
	if generation <= 1 {
		return blob.Name(prefix + string(id))
	}
	return blob.Name(fmt.Sprintf("%s%s.%d", prefix, id, generation))
}

// parseRefsetName is the inverse of refsetName.
func parseRefsetName(name blob.Name) (id PointID, generation int, ok bool) {
	return parseGeneration("f/", name)
}

// parseManifestName returns whose manifest a name stands for, and which generation of it.
func parseManifestName(name blob.Name) (id PointID, generation int, ok bool) {
	return parseGeneration("r/", name)
}

// parseGeneration is the inverse of generationName.
func parseGeneration(prefix string, name blob.Name) (id PointID, generation int, ok bool) {
	rest, ok := strings.CutPrefix(string(name), prefix)
	if !ok {
		return "", 0, false
	}
	digits, suffix, dotted := strings.Cut(rest, ".")
	generation = 1
	if dotted {
		n, err := strconv.Atoi(suffix)
		if err != nil || n < 2 || strconv.Itoa(n) != suffix {
			return "", 0, false
		}
		generation = n
	}
	id = PointID(digits)
	return id, generation, id.Check() == nil
}

// packPrefixes are those of the names of packs.
var packPrefixes = []string{"a/", "d/", "m/"}

// segmentLevels are the levels at which segments are looked for when only their id is known.
var segmentLevels = []int{0, 1}

func segmentName(level int, id ID) blob.Name {
	return blob.Name(index.SegmentName(level, index.SegmentID(id)))
}

// readRange reads n bytes of an object into buf, which is grown if it is too small.
func readRange(ctx context.Context, s blob.Store, name blob.Name, off, n int64, buf []byte) ([]byte, error) {
	rc, err := s.Get(ctx, name, off, n)
	if err != nil {
		return nil, damagedRange(name, err)
	}
	defer rc.Close()
	if int64(cap(buf)) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if _, err := io.ReadFull(rc, buf); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return buf, nil
}

// damagedRange turns a range outside of an object into damage: it is shorter than it was.
func damagedRange(name blob.Name, err error) error {
	if errors.Is(err, blob.ErrRange) {
		return chunk.Damaged(string(name), "it is shorter than it should be")
	}
	return fmt.Errorf("read %s: %w", name, err)
}

// readWhole reads an object of at most limit bytes.
func readWhole(ctx context.Context, s blob.Store, name blob.Name, limit int64) ([]byte, error) {
	info, err := s.Stat(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if info.Size > limit {
		return nil, chunk.Damaged(string(name), "%d bytes are more than the limit of %d", info.Size, limit)
	}
	return readRange(ctx, s, name, 0, info.Size, nil)
}

// putBytes stores an object, which may be there already from an earlier try that did return an error.
func putBytes(ctx context.Context, s blob.Store, name blob.Name, b []byte) error {
	if err := s.Put(ctx, name, bytes.NewReader(b), int64(len(b))); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// putSealed seals and stores a small object.
func (v *Vault) putSealed(ctx context.Context, t seal.Type, name blob.Name, plain []byte) (int64, error) {
	sealing := v.keys().Seal
	if v.format.ObjectParity() {
		sealing = v.keys().SealProtected
	}
	b, err := sealing(t, string(name), plain)
	if err != nil {
		return 0, fmt.Errorf("seal %s: %w", name, err)
	}
	return int64(len(b)), putBytes(ctx, v.store, name, b)
}

// getSealed reads and opens a small object.
func (v *Vault) getSealed(ctx context.Context, t seal.Type, name blob.Name, limit int64) ([]byte, error) {
	b, err := readWhole(ctx, v.store, name, limit)
	if err != nil {
		return nil, err
	}
	return v.openSealed(ctx, t, name, b)
}

// objectError gives errors of decoders the sentinels of this package. Keys of the vault are open when objects are read,
// so an object that does not fit them was changed.
func objectError(name blob.Name, err error) error {
	var unsupported *seal.UnsupportedError
	var epoch *seal.EpochError
	switch {
	case errors.As(err, &unsupported):
		return fmt.Errorf("%w: %w", ErrFormat, err)
	case errors.As(err, &epoch) && !epoch.Lost:
		return chunk.Damaged(string(name), "it names the vault key of epoch %d, which there never was", epoch.Epoch)
	case errors.Is(err, seal.ErrWrongKey):
		return chunk.Damaged(string(name), "%v", seal.ErrWrongKey)
	}
	return err
}
