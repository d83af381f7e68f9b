package repo

import (
	"testing"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/index"
	"github.com/lockfast/lockfast/repo/pack"
	"github.com/lockfast/lockfast/repo/seal"
)

// FuzzObjectName parses names as a list of a store returns them, in which others may have put anything: a name that is taken for one of
// ours is the name that we give to what it stands for, and stands for one thing only.
func FuzzObjectName(f *testing.F) {
	const id = "00112233445566778899aabbccddeeff"
	for _, name := range []string{
		"r/" + id, "r/" + id + ".2", "r/" + id + ".1", "r/" + id + ".02", "r/" + id + ".+2", "r/" + id + ".", "f/" + id, "f/" + id + ".10",
		"k/1-1", "k/4294967295-4294967295", "k/1-4294967296", "k/01-1", "k/1", "1-1", "k/k/1-1",
		"v/1", "v/0", "v/9223372036854775807", "v/9223372036854775808", "p/" + id + "-1", "p/-1", "p/" + id + "-01", "v/p/1",
		"d/00/" + id, "m/00/" + id, "a/00/" + id, "d/01/" + id, "x/0/" + id, "x/1/" + id, "x/-1/" + id,
		"t/" + id + "/" + id, "t/" + id, "c/1", "c/0", "s/x", "j/1-1", "format", "format.2", coldMark, "", "/", "r/\xff", "r/" + id + "\x00",
	} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		n := blob.Name(name)
		taken := 0
		is := func(ok bool, again string) {
			if !ok {
				return
			}
			if taken++; again != name {
				t.Errorf("%q is taken for %q", name, again)
			}
		}
		id, generation, ok := parseManifestName(n)
		is(ok, string(generationName("r/", id, generation)))
		id, generation, ok = parseRefsetName(n)
		is(ok, string(refsetName(id, generation)))
		epoch, keyGeneration, ok := parseKeyName(n)
		is(ok, seal.KeyRecord{Epoch: epoch, Generation: keyGeneration}.Name())
		point, stateGeneration, ok := parseStateName(n)
		is(ok, string(stateName(point, stateGeneration)))
		kind, packID, err := pack.ParseName(name)
		is(err == nil, pack.Name(kind, packID))
		level, segment, err := index.ParseSegmentName(name)
		is(err == nil, index.SegmentName(level, segment))
		if level < 0 {
			t.Errorf("%q is a segment of level %d", name, level)
		}
		is(isMapName(n), name)
		is(formatGeneration(n) > 0, name)
		if taken > 1 {
			t.Errorf("%q is taken for %d things", name, taken)
		}
		if _, known := objectNamed(blob.Info{Name: n}); taken > 0 && !known {
			t.Errorf("%q is not known as an object of a vault", name)
		}
		if packOrSegment := isPackName(name) || err == nil; isRootName(n) && packOrSegment {
			t.Errorf("%q is both a pack or segment and a root", name)
		}
	})
}
