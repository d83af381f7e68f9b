package repo_test

import (
	"context"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/fault"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
)

// keeper is a [repo.StateKeeper] that knows what it was told.
type keeper struct {
	mu      sync.Mutex
	written map[repo.PointID]uint64 // guarded by mu
}

func (k *keeper) WrittenStates(context.Context) (map[repo.PointID]uint64, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return maps.Clone(k.written), nil
}

func (k *keeper) RewriteState(context.Context, repo.PointID, uint64) (bool, error) { return false, nil }

func (k *keeper) set(id repo.PointID, generation uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.written == nil {
		k.written = map[repo.PointID]uint64{}
	}
	k.written[id] = generation
}

func (k *keeper) drop(id repo.PointID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.written, id)
}

// days is a clock that a test moves.
func days() (l *localledger.Ledger, pass func()) {
	var now atomic.Int64
	now.Store(1e9)
	return ledgerAt(&now), func() { now.Add(24*3600 + 1) }
}

// mustScrub does all that a server does in the background, and returns what it found.
func mustScrub(t *testing.T, v *repo.Vault, o repo.ScrubOptions) []string {
	t.Helper()
	round, err := v.Round(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	r, err := v.Scrub(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return objects(repo.CheckReport{Damages: append(round.Damages, r.Damages...)})
}

// TestScrub_FindsDamageOutsidePacks damages an object of each kind behind the back of a vault, a cold pack among them: the
// scrub of the next day names it, once, and it is remembered until it is whole again.
func TestScrub_FindsDamageOutsidePacks(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		kind   string
		change func([]byte) []byte
	}{
		"manifest": {"r", flip(200)}, "refset": {"f", flip(200)}, "segment": {"x", flip(200)}, "copy map": {"t", flip(200)},
		"state": {"p", flip(120)}, "state of the vault": {"v", flip(120)}, "key object": {"k", flip(30)}, "format": {"format", flip(30)},
		"claim": {"c", flip(-1)}, "cold pack": {"a", flip(5000)},
		"missing manifest": {"r", vanish}, "missing refset": {"f", vanish}, "missing segment": {"x", vanish},
		"missing state": {"p", vanish}, "missing state of the vault": {"v", vanish}, "missing key object": {"k", vanish},
		"missing claim": {"c", vanish}, "missing cold pack": {"a", vanish},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := mem.New()
			l, pass := days()
			v := create(t, s, l, foreign())
			fillAll(t, v, l)
			k := &keeper{}
			k.set("", 1)
			for _, name := range names(t, s)["p"] {
				id := repo.PointID(name[len("p/") : len(name)-len("-1")])
				k.set(id, 1)
			}
			o := repo.ScrubOptions{Share: 1, ColdShare: 1, States: k}
			if got := mustScrub(t, v, o); got != nil {
				t.Fatalf("Scrub of a sound vault names %q", got)
			}
			object := objectOf(t, s, x.kind)
			whole := raw(t, s, object)
			overwrite(t, s, object, x.change)
			if got := mustScrub(t, v, o); got != nil {
				t.Errorf("Scrub on the same day names %q, want it to read nothing", got)
			}
			pass()
			if got := mustScrub(t, v, o); !slices.Equal(got, []string{string(object)}) {
				t.Errorf("Scrub names %q, want %s", got, object)
			}
			wantKnown := func(when string, want bool) {
				t.Helper()
				known := mustCover(t, v, time.Hour).Damages
				if len(known) == 0 == want || want && known[0].Object != string(object) {
					t.Errorf("%s known are %v, want %s: %t", when, known, object, want)
				}
			}
			wantKnown("after the scrub", true)
			pass()
			if got := mustScrub(t, v, o); got != nil {
				t.Errorf("Scrub of the next day names %q again", got)
			}
			wantKnown("after the next scrub", true)

			if err := s.Delete(t.Context(), object); err != nil {
				t.Fatal(err)
			}
			put(t, s, object, whole)
			v.Close()
			v = reopen(t, s, l)
			pass()
			mustScrub(t, v, o)
			wantKnown("when it is whole again", x.kind == "r" || x.kind == "f" || x.kind == "a")
			mustCheck(t, v, repo.CheckOptions{Level: repo.CheckBytes, States: k})
			wantKnown("after a check", false)
		})
	}
}

// TestScrub_KeepsWhatOnlyAWalkOfTreesFinds: a scrub that finds other damage does not take for mended what it does not look at.
func TestScrub_KeepsWhatOnlyAWalkOfTreesFinds(t *testing.T) {
	t.Parallel()
	s := mem.New()
	l, pass := days()
	v := create(t, s, l, small())
	id := mustBackup(t, v, "", files{"a": randomBytes(100_000)}, nil)
	known := repo.DamageRecord{Object: "r/" + string(id), Slot: repo.WholeObject, Reason: "its tree"}
	gone := repo.DamageRecord{Object: "r/" + string(mustBackup(t, v, "", files{}, nil)), Slot: repo.WholeObject, Reason: "its tree"}
	if err := l.RecordDamage(t.Context(), []repo.DamageRecord{known, gone}); err != nil {
		t.Fatal(err)
	}
	if err := remove(t.Context(), v, l, repo.PointID(gone.Object[len("r/"):])); err != nil {
		t.Fatal(err)
	}
	pack := objectOf(t, s, "d")
	overwrite(t, s, pack, flip(5000))
	for range 2 {
		mustScrub(t, v, repo.ScrubOptions{Share: 1})
		pass()
	}
	var got []string
	for _, d := range mustCover(t, v, time.Hour).Damages {
		got = append(got, d.Object)
	}
	if want := []string{string(pack), known.Object}; !slices.Equal(got, want) {
		t.Errorf("known are %q, want %q", got, want)
	}
}

// namingStore counts how often each object is read.
type namingStore struct {
	blob.Store
	mu  sync.Mutex
	got map[blob.Name]int // guarded by mu
}

func (s *namingStore) Get(ctx context.Context, name blob.Name, off, n int64) (io.ReadCloser, error) {
	s.mu.Lock()
	s.got[name]++
	s.mu.Unlock()
	return s.Store.Get(ctx, name, off, n)
}

// reads returns how often an object was read since it was last asked for all.
func (s *namingStore) reads() map[blob.Name]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := s.got
	s.got = map[blob.Name]int{}
	return got
}

// TestScrub_OfSmallObjectsGoesOnWhereItStopped ends a scrub after every part: no part is read twice in a day.
func TestScrub_OfSmallObjectsGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	s := &namingStore{Store: mem.New(), got: map[blob.Name]int{}}
	l, pass := days()
	v := create(t, s, l, foreign())
	fillAll(t, v, l)
	overwrite(t, s.Store, objectOf(t, s.Store, "c"), flip(-1))
	object := objectOf(t, s.Store, "t")
	overwrite(t, s.Store, object, flip(200))
	for range 2 {
		s.reads()
		calls := 0
		for end := false; !end; calls++ {
			asked := 0
			mustScrub(t, v, repo.ScrubOptions{Yield: func() bool { asked++; return asked > 1 }})
			end = asked < 2
		}
		if calls < 8 {
			t.Errorf("a scrub that yields was over after %d calls", calls)
		}
		got := s.reads()
		for _, kind := range []string{"x", "v", "p", "t", "k", "format", "format.2"} {
			for _, name := range names(t, s.Store)[kind] {
				if got[name] != 1 {
					t.Errorf("%s was read %d times, want once", name, got[name])
				}
			}
		}
		if mustScrub(t, v, repo.ScrubOptions{}); len(s.reads()) > 0 {
			t.Error("something was read again on the same day")
		}
		pass()
	}
	if known := mustCover(t, v, time.Hour).Damages; len(known) != 2 {
		t.Errorf("known are %v, want the claim and the copy map", known)
	}
}

// TestScrub_WithoutItsColdStore: what cannot be reached keeps nothing else from being read and found.
func TestScrub_WithoutItsColdStore(t *testing.T) {
	t.Parallel()
	main, cold := mem.New(), fault.New(mem.New())
	l, pass := days()
	v := create(t, repo.ColdStore(main, cold), l, small())
	mustMoveToCold(t, v, l, mustBackup(t, v, "", files{"a": randomBytes(100_000)}, nil))
	mustBackup(t, v, "", files{"b": randomBytes(100_000)}, nil)
	mustReclaim(t, v)
	o := repo.ScrubOptions{Share: 1, ColdShare: 1}
	if got := mustScrub(t, v, o); got != nil {
		t.Fatalf("Scrub of a sound vault names %q", got)
	}
	pass()
	bad := []string{string(objectOf(t, main, "d")), string(objectOf(t, main, "f"))}
	overwrite(t, main, blob.Name(bad[0]), flip(5000))
	overwrite(t, main, blob.Name(bad[1]), flip(100))
	cold.Add(fault.Rule{Err: blob.ErrUnavailable})
	round, err1 := v.Round(t.Context(), o)
	r, err2 := v.Scrub(t.Context(), o)
	if got := objects(repo.CheckReport{Damages: append(r.Damages, round.Damages...)}); err1 == nil || err2 == nil || !slices.Equal(got, bad) {
		t.Errorf("without its cold store are found %q, %v, %v, want %q and errors", got, err1, err2, bad)
	}
	cold.Clear()
	if got := mustScrub(t, v, o); got != nil {
		t.Errorf("Scrub afterwards names %q", got)
	}
	if c := mustCover(t, v, time.Hour); c.PacksKnown != c.Packs-1 {
		t.Errorf("Coverage = %+v, want all packs but the damaged one", c)
	}
}

// restless is a ledger by which a round is due whenever the last one is over.
type restless struct{ *localledger.Ledger }

func (l restless) TakeRound(ctx context.Context, holder repo.ID, _, hold time.Duration) (repo.Round, bool, error) {
	return l.Ledger.TakeRound(ctx, holder, 0, hold)
}

// TestScrub_BesideOtherWork scrubs over and over while backups, deletions and reclaims run: nothing false is reported.
func TestScrub_BesideOtherWork(t *testing.T) {
	t.Parallel()
	l := localledger.New(localledger.Options{})
	v := create(t, mem.New(), restless{l}, small())
	k := &keeper{}
	var made atomic.Int64
	busy, stop := besideWork(t, v, l, func(worker int, seed uint64) error {
		id, err := backup(t.Context(), v, "", newGenerator(seed%3+uint64(worker)).files(10), nil)
		if err != nil {
			return err
		}
		if _, err := v.PutPointState(t.Context(), id, repo.PointRecord{Generation: 1}); err != nil {
			return err
		}
		k.set(id, 1)
		if _, err := v.PutPointState(t.Context(), id, repo.PointRecord{Generation: 2}); err != nil {
			return err
		}
		k.set(id, 2)
		if _, err := v.PutVaultState(t.Context(), repo.VaultRecord{Generation: seed + 1}); err != nil {
			return err
		}
		k.drop(id)
		if err := remove(t.Context(), v, l, id); err != nil {
			return err
		}
		made.Add(1)
		return nil
	})
	for made.Load() < 200 && busy.Err() == nil {
		if got := mustScrub(t, v, repo.ScrubOptions{Share: 1, States: k}); got != nil {
			t.Errorf("Scrub beside other work names %q", got)
		}
	}
	stop()
}
