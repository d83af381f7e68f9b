package repo_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/fault"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
)

// summing is a store in memory that keeps checksums.
func summing() *mem.Store {
	s := mem.New()
	s.KeepSums()
	return s
}

// unsummed is a store that keeps none, in a wrapper that would let them through.
func unsummed() blob.Store { return blob.Prefix(struct{ blob.Store }{mem.New()}, "a/prefix") }

// coverage is what a check looked at.
type coverage struct{ Packs, Summed, Read int64 }

func covered(r repo.CheckReport) coverage { return coverage{r.Packs, r.PacksSummed, r.PacksRead} }

// wantSound checks at a level, and wants nothing but packs in good order.
func wantSound(t *testing.T, v *repo.Vault, l repo.Ledger, level int, want coverage) {
	t.Helper()
	r := mustCheck(t, v, repo.CheckOptions{Level: level})
	if r.Damages != nil || r.Healed != nil || r.DamagedPoints != nil {
		t.Errorf("Check of a sound vault at level %d = %+v", level, r)
	}
	if diff := cmp.Diff(want, covered(r)); diff != "" {
		t.Errorf("packs of a check at level %d (-want +got):\n%s", level, diff)
	}
	if known, err := l.Damages(t.Context()); err != nil || len(known) > 0 {
		t.Errorf("Damages = %v, %v, want none", known, err)
	}
}

// count returns the number of packs in a store.
func count(t *testing.T, s blob.Store) int64 {
	t.Helper()
	n := names(t, s)
	return int64(len(n["d"]) + len(n["m"]) + len(n["a"]))
}

func TestCheck_SaysWhatTheStoresChecksumsCover(t *testing.T) {
	t.Parallel()
	for _, keeps := range []bool{false, true} {
		s, l := mem.New(), localledger.New(localledger.Options{})
		if keeps {
			s.KeepSums()
		}
		v := create(t, s, l, small())
		mustBackup(t, v, "", files{"a": randomBytes(3_000_000)}, nil)
		objects, _, err := l.Changes(t.Context(), 0)
		for _, o := range objects {
			if noted := o.Sum != nil; noted != (keeps && o.Kind != repo.ObjectSegment) || err != nil {
				t.Errorf("the ledger notes checksum %x of %+v, %v; the store keeps them: %t", o.Sum, o, err, keeps)
			}
		}
		n, summed := count(t, s), int64(0)
		if keeps {
			summed = n
		}
		for _, level := range []int{repo.CheckHeads, repo.CheckTrees} {
			wantSound(t, v, l, level, coverage{n, summed, 0})
		}
		wantSound(t, v, l, repo.CheckNames, coverage{n, 0, 0})
		wantSound(t, v, l, repo.CheckBytes, coverage{n, 0, n})
	}
}

// TestCheck_PacksFromBeforeChecksums: what the ledger or the store knows no checksum of is sound, and not counted.
func TestCheck_PacksFromBeforeChecksums(t *testing.T) {
	t.Parallel()
	s, l := mem.New(), localledger.New(localledger.Options{})
	v := create(t, s, l, small())
	mustBackup(t, v, "", files{"a": randomBytes(700_000)}, nil)
	before := count(t, s)
	s.KeepSums()
	mustBackup(t, v, "", files{"b": randomBytes(700_000)}, nil)
	all := count(t, s)
	wantSound(t, v, l, repo.CheckHeads, coverage{all, all - before, 0})
	// A store whose objects were brought to another place by a tool that leaves checksums behind, or makes them anew.
	v.Close()
	other := mem.New()
	for info, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		bring(t, other, s, info.Name)
	}
	wantSound(t, reopen(t, other, l), l, repo.CheckHeads, coverage{all, 0, 0})
}

func bring(t *testing.T, to, from blob.Store, name blob.Name) {
	t.Helper()
	rc, err := from.Get(t.Context(), name, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	_, err = b.ReadFrom(rc)
	if err := errors.Join(err, rc.Close(), to.Put(t.Context(), name, &b, int64(b.Len()))); err != nil {
		t.Fatal(err)
	}
}

// TestCheck_FindsAReplacedPackByItsChecksum: the head and the end of the pack are as they were, so nothing else at level 1
// can tell.
func TestCheck_FindsAReplacedPackByItsChecksum(t *testing.T) {
	t.Parallel()
	for _, level := range []int{repo.CheckHeads, repo.CheckTrees} {
		s, l := summing(), localledger.New(localledger.Options{})
		v := create(t, s, l, small())
		id := mustBackup(t, v, "", files{"bad": randomBytes(100_000), "good": randomBytes(300)}, nil)
		pack := names(t, s)["d"][0]
		overwrite(t, s, pack, flip(5000))
		r := mustCheck(t, v, repo.CheckOptions{Level: level})
		want := []repo.DamagedPoint{{ID: id, Paths: [][]byte{[]byte("bad")}}}
		if diff := cmp.Diff(want, r.DamagedPoints); diff != "" || !slices.Equal(objects(r), []string{string(pack)}) {
			t.Errorf("Check at level %d = %v, damaged points (-want +got):\n%s", level, r.Damages, diff)
		}
		if n := count(t, s); r.PacksRead != 1 || r.PacksSummed != n-1 {
			t.Errorf("Check at level %d of %d packs = %+v, want the one to be read", level, n, covered(r))
		}
		known, err := l.Damages(t.Context())
		if err != nil || len(known) != 1 || known[0].Slot == repo.WholeObject {
			t.Errorf("Damages = %v, %v, want the slot", known, err)
		}
		overwrite(t, s, pack, flip(5000))
		wantSound(t, v, l, repo.CheckBytes, coverage{count(t, s), 0, count(t, s)})
		wantSound(t, v, l, level, coverage{count(t, s), count(t, s), 0})
	}
}

// TestCheck_FindsWhatTheStoreChangedOnArrival: the store stores, and vouches for, other bytes than were sent.
func TestCheck_FindsWhatTheStoreChangedOnArrival(t *testing.T) {
	t.Parallel()
	s, l := fault.New(summing()), localledger.New(localledger.Options{})
	v := create(t, s, l, small())
	s.Add(fault.Rule{Op: fault.Put, Name: "d/*/*", Times: 1, Kind: fault.Flip, N: 40_000})
	mustBackup(t, v, "", files{"bad": randomBytes(100_000)}, nil)
	if r := mustCheck(t, v, repo.CheckOptions{Level: repo.CheckHeads}); len(r.Damages) != 1 || r.PacksRead != 1 {
		t.Errorf("Check = %+v, want one pack to be damaged", r)
	}
}

// TestCheck_ChecksumOfTheUploadHidesRot pins the limit: a store that tells what was sent does not know what it has.
func TestCheck_ChecksumOfTheUploadHidesRot(t *testing.T) {
	t.Parallel()
	s, l := summing(), localledger.New(localledger.Options{})
	v := create(t, s, l, small())
	mustBackup(t, v, "", files{"bad": randomBytes(100_000)}, nil)
	pack := names(t, s)["d"][0]
	b, err := s.Get(t.Context(), pack, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	var rotten bytes.Buffer
	if _, err := rotten.ReadFrom(b); err != nil {
		t.Fatal(err)
	}
	s.Overwrite(pack, flip(5000)(rotten.Bytes()))
	wantSound(t, v, l, repo.CheckTrees, coverage{count(t, s), count(t, s), 0})
	if got := objects(mustCheck(t, v, repo.CheckOptions{Level: repo.CheckBytes})); !slices.Equal(got, []string{string(pack)}) {
		t.Errorf("Check of all bytes = %v, want %s", got, pack)
	}
}

// wrongSums is a store with checksums of its own making.
type wrongSums struct{ *mem.Store }

func (wrongSums) Sum(context.Context, blob.Name) ([]byte, error) { return make([]byte, 32), nil }

// TestCheck_WrongChecksumsAreNoDamage: packs whose bytes are what they were are sound, whatever the store says.
func TestCheck_WrongChecksumsAreNoDamage(t *testing.T) {
	t.Parallel()
	s, l := wrongSums{summing()}, localledger.New(localledger.Options{})
	v := create(t, s, l, coldOptions())
	id := mustBackup(t, v, "", files{"a": randomBytes(2_000_000)}, nil)
	n := count(t, s)
	wantSound(t, v, l, repo.CheckHeads, coverage{n, 0, n})
	if c := mustCover(t, v, time.Hour); c.PacksKnown != n {
		t.Errorf("Coverage = %+v, want all that was read to be known", c)
	}
	mustMoveToCold(t, v, l, id)
	reclaimAll(t, v)
	n = count(t, s)
	wantSound(t, v, l, repo.CheckTrees, coverage{n, 0, n})
}

func TestCheck_StoreThatDoesNotAnswerIsNotDamaged(t *testing.T) {
	t.Parallel()
	s, l := fault.New(summing()), localledger.New(localledger.Options{})
	v := create(t, s, l, small())
	mustBackup(t, v, "", files{"a": randomBytes(700_000)}, nil)
	s.Add(fault.Rule{Op: fault.Sum, Kind: fault.Fail, Err: blob.ErrUnavailable})
	if r, err := v.Check(t.Context(), repo.CheckOptions{Level: repo.CheckHeads}); !errors.Is(err, blob.ErrUnavailable) {
		t.Errorf("Check = %+v, %v, want %v", r, err, blob.ErrUnavailable)
	}
	s.Clear()
	s.Add(fault.Rule{Op: fault.Sum, Kind: fault.Fail, Err: blob.ErrNotExist, Times: 1})
	wantSound(t, v, l, repo.CheckHeads, coverage{count(t, s), count(t, s) - 1, 0})
}

// TestCheck_ChecksumsOfWhatMaintenanceWrites: packs that reclaim, a repair or a copy has written are covered like those of a
// backup, and after a rebuild without the ledger those that are written from then on.
func TestCheck_ChecksumsOfWhatMaintenanceWrites(t *testing.T) {
	t.Parallel()
	s, l := summing(), localledger.New(localledger.Options{})
	v := create(t, s, l, small())
	all := func(v *repo.Vault, s blob.Store, l repo.Ledger) {
		t.Helper()
		wantSound(t, v, l, repo.CheckHeads, coverage{count(t, s), count(t, s), 0})
	}
	have := newGenerator(31).files(60)
	a := mustBackup(t, v, "", have, nil)
	id := mustBackup(t, v, a, newGenerator(32).change(have), have)
	if err := remove(t.Context(), v, l, a); err != nil {
		t.Fatal(err)
	}
	if r := mustReclaim(t, v); r.BytesWritten == 0 {
		t.Fatalf("Reclaim = %+v, want packs to be copied", r)
	}
	all(v, s, l)
	overwrite(t, s, names(t, s)["m"][0], flip(150))
	if r := mustRepair(t, v, repo.RepairOptions{}); r.Packs == 0 {
		t.Fatalf("Repair = %+v, want a pack to be written", r)
	}
	all(v, s, l)
	for _, o := range []repo.CreateOptions{other(), foreign()} {
		s, l := summing(), localledger.New(localledger.Options{})
		to := create(t, s, l, o)
		if o.DomainKey == small().DomainKey {
			mustCopy(t, v, to, id)
		} else {
			mustCross(t, v, to, id)
		}
		all(to, s, l)
	}
	v.Close()
	before := count(t, s)
	again := adopted(t, s)
	mustBackup(t, again, "", files{"new": randomBytes(100_000)}, nil)
	want := coverage{count(t, s), count(t, s) - before, 0}
	if diff := cmp.Diff(want, covered(mustCheck(t, again, repo.CheckOptions{Level: repo.CheckHeads}))); diff != "" {
		t.Errorf("packs of a check after a rebuild (-want +got):\n%s", diff)
	}
}

// TestColdStore_KeepsChecksumsWhereAStoreDoes has cold packs, old and new ones, in stores of which one keeps checksums.
func TestColdStore_KeepsChecksumsWhereAStoreDoes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ main, cold bool }{
		"main": {true, false}, "cold": {false, true}, "both": {true, true}, "none": {false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			main, cold, l := unsummed(), unsummed(), localledger.New(localledger.Options{})
			if c.main {
				main = summing()
			}
			if c.cold {
				cold = summing()
			}
			alone := create(t, main, l, coldOptions()) // cold packs beside the others
			first := mustBackup(t, alone, "", files{"a": randomBytes(900_000)}, nil)
			mustMoveToCold(t, alone, l, first)
			alone.Close()
			v := reopen(t, repo.ColdStore(main, cold), l)
			mustMoveToCold(t, v, l, mustBackup(t, v, "", files{"b": randomBytes(900_000)}, nil))
			reclaimAll(t, v)
			inMain, inCold := count(t, main), count(t, cold)
			if len(names(t, main)["a"]) == 0 || inCold == 0 {
				t.Fatal("cold packs are not in both stores")
			}
			want := coverage{Packs: inMain + inCold}
			if c.main {
				want.Summed += inMain
			}
			if c.cold {
				want.Summed += inCold
			}
			wantSound(t, v, l, repo.CheckHeads, want)
		})
	}
}
