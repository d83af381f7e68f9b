package repo_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

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

// namingStore counts how often each object is read, and asked for its checksum: "sum of NAME".
type namingStore struct {
	blob.Store
	sums blob.Summer
	mu   sync.Mutex
	got  map[blob.Name]int // guarded by mu
}

func (s *namingStore) Get(ctx context.Context, name blob.Name, off, n int64) (io.ReadCloser, error) {
	s.mu.Lock()
	s.got[name]++
	s.mu.Unlock()
	return s.Store.Get(ctx, name, off, n)
}

func (s *namingStore) Keeps(name blob.Name) bool { return s.sums.Keeps(name) }

func (s *namingStore) Sum(ctx context.Context, name blob.Name) ([]byte, error) {
	s.mu.Lock()
	s.got["sum of "+name]++
	s.mu.Unlock()
	return s.sums.Sum(ctx, name)
}

// reads returns how often an object was read since it was last asked for all.
func (s *namingStore) reads() map[blob.Name]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := s.got
	s.got = map[blob.Name]int{}
	return got
}

// TestRound_GoesOnWhereItStopped ends the turns of a round after every part, and has the next one done by the same process, by
// each of two in turn, or by one that was just started: nothing is read twice in a day, what was found stays known while it is
// damaged, and goes when it is whole.
func TestRound_GoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"same process", "two processes", "restarts"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			main := summing()
			s := &namingStore{Store: main, sums: main, got: map[blob.Name]int{}}
			l, pass := days()
			v := create(t, s, l, foreign())
			fillAll(t, v, l)
			bad := map[blob.Name]int{objectOf(t, main, "c"): -1, objectOf(t, main, "t"): 200}
			change := func() {
				for object, at := range bad {
					overwrite(t, main, object, flip(at))
				}
			}
			change()
			next := map[string]func(*repo.Vault) *repo.Vault{
				"same process": func(v *repo.Vault) *repo.Vault { return v },
				"restarts": func(v *repo.Vault) *repo.Vault {
					v.Close()
					return reopen(t, s, l)
				},
			}
			var other *repo.Vault
			if name == "two processes" {
				other = reopen(t, s, l)
				next[name] = func(*repo.Vault) *repo.Vault {
					v, other = other, v
					return v
				}
			}
			for day := range 4 {
				if day == 2 {
					change() // back; a process that got around the damage would go on to know of it
					v.Close()
					v = reopen(t, s, l)
					if other != nil {
						other.Close()
						other = reopen(t, s, l)
					}
				}
				got := map[blob.Name]int{}
				turns := 0
				for end := false; !end && turns < 200; turns++ {
					v = next[name](v)
					s.reads()
					asked := 0
					mustScrub(t, v, repo.ScrubOptions{Yield: func() bool { asked++; return asked > 1 }})
					end = asked < 2
					for name, n := range s.reads() {
						got[name] += n
					}
				}
				if turns < 8 || turns == 200 {
					t.Errorf("a round that yields took %d turns", turns)
				}
				all := names(t, main)
				for _, kind := range []string{"x", "v", "p", "t", "k", "format", "format.2", "sum of d", "sum of m", "sum of a"} {
					of, isSum := strings.CutPrefix(kind, "sum of ")
					for _, name := range all[of] {
						if isSum {
							name = "sum of " + name
						}
						if got[name] != 1 {
							t.Errorf("%s was read %d times on day %d, want once", name, got[name], day)
						}
					}
				}
				if mustScrub(t, v, repo.ScrubOptions{}); len(s.reads()) > 0 {
					t.Error("something was read again on the same day")
				}
				if known := mustCover(t, v, time.Hour).Damages; len(known) != len(bad) && day < 2 || len(known) > 0 && day >= 2 {
					t.Errorf("known on day %d are %v, want the claim and the copy map until they are whole on day 2", day, known)
				}
				pass()
			}
		})
	}
}

// cutLedger is a ledger that a process loses in the middle of its work: after some calls of these methods none has an effect or
// an answer any more. The last one has its effect if done is set. If passing is set, only that one fails.
type cutLedger struct {
	*localledger.Ledger
	left          int
	done, passing bool
	cut           bool
}

var errCut = errors.New("cut")

func (l *cutLedger) call(f func() error) error {
	if l.left--; l.left >= 0 || l.cut && l.passing {
		return f()
	}
	if !l.cut && l.done {
		_ = f() // nobody hears of it
	}
	l.cut = true
	return errCut
}

func (l *cutLedger) TakeRound(ctx context.Context, holder repo.ID, every, hold time.Duration) (r repo.Round, ok bool, err error) {
	err = l.call(func() error {
		r, ok, err = l.Ledger.TakeRound(ctx, holder, every, hold)
		return err
	})
	return r, ok, err
}

func (l *cutLedger) NoteRound(ctx context.Context, r repo.Round, hold time.Duration) error {
	return l.call(func() error { return l.Ledger.NoteRound(ctx, r, hold) })
}

func (l *cutLedger) RecordDamage(ctx context.Context, damages []repo.DamageRecord) error {
	return l.call(func() error { return l.Ledger.RecordDamage(ctx, damages) })
}

func (l *cutLedger) ClearDamage(ctx context.Context, damages []repo.DamageRecord) error {
	return l.call(func() error { return l.Ledger.ClearDamage(ctx, damages) })
}

// TestRound_CutAnywhere ends a process at every call to the ledger, with its effect and without it, or has that call fail: whoever goes on with the round
// leaves all damage known, also that which was before.
func TestRound_CutAnywhere(t *testing.T) {
	t.Parallel()
	main := summing()
	l, pass := days()
	v := create(t, main, l, foreign())
	fillAll(t, v, l)
	k := &keeper{}
	k.set("", 1)
	o := repo.ScrubOptions{States: k}
	known, whole, fresh := objectOf(t, main, "v"), objectOf(t, main, "t"), objectOf(t, main, "x")
	pack := objectOf(t, main, "d")
	overwrite(t, main, known, vanish)
	overwrite(t, main, whole, flip(200))
	if got := mustScrub(t, v, o); len(got) != 2 {
		t.Fatalf("Scrub names %q, want two objects", got)
	}
	overwrite(t, main, whole, flip(200)) // back
	records, err := l.Damages(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	overwrite(t, main, fresh, vanish)
	overwrite(t, main, pack, flip(5000))
	want := []blob.Name{known, fresh, pack}
	slices.Sort(want)
	ended := false
	for n := 0; !ended; n++ {
		for mode := range 3 {
			pass()
			now, err := l.Damages(t.Context()) // as it was
			if err == nil {
				err = errors.Join(l.ClearDamage(t.Context(), now), l.RecordDamage(t.Context(), records))
			}
			if err != nil {
				t.Fatal(err)
			}
			pass() // so that those were seen before
			c := &cutLedger{Ledger: l, left: 1 << 30}
			v := reopen(t, main, c)
			c.left, c.done, c.passing = n, mode == 1, mode == 2
			_, err = v.Round(t.Context(), o)
			v.Close()
			if err != nil && !errors.Is(err, errCut) {
				t.Fatal(err)
			}
			ended = err == nil
			if err := l.FenceAll(); err != nil {
				t.Fatal(err)
			}
			v = reopen(t, main, l)
			mustScrub(t, v, o)
			v.Close()
			var got []blob.Name
			if now, err = l.Damages(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, d := range now {
				got = append(got, blob.Name(d.Object))
			}
			if got = slices.Compact(got); !slices.Equal(got, want) {
				t.Errorf("cut at call %d (mode %d), known are %q, want %q", n, mode, got, want)
			}
		}
	}
}

// TestRound_ByTwoAtOnce has two processes look at once: one of them does all of it.
func TestRound_ByTwoAtOnce(t *testing.T) {
	t.Parallel()
	main := summing()
	s := &namingStore{Store: main, sums: main, got: map[blob.Name]int{}}
	l, _ := days()
	v := create(t, s, l, foreign())
	fillAll(t, v, l)
	other := reopen(t, s, l)
	s.reads()
	var g errgroup.Group
	for _, v := range []*repo.Vault{v, other} {
		g.Go(func() error {
			_, err := v.Round(t.Context(), repo.ScrubOptions{})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	got := s.reads()
	for _, kind := range []string{"x", "v", "p", "t", "k"} {
		for _, name := range names(t, main)[kind] {
			if got[name] != 1 {
				t.Errorf("%s was read %d times, want once", name, got[name])
			}
		}
	}
}

// TestRound_OfASlowProcess: one that says nothing for long is followed by another one, and hurts nothing when it wakes.
func TestRound_OfASlowProcess(t *testing.T) {
	t.Parallel()
	main := summing()
	l, pass := days()
	v := create(t, main, l, foreign())
	fillAll(t, v, l)
	other := reopen(t, main, l)
	object := objectOf(t, main, "x")
	overwrite(t, main, object, vanish)
	asked := 0
	r, err := v.Round(t.Context(), repo.ScrubOptions{Yield: func() bool {
		asked++
		if asked == 10 {
			pass() // beyond what a round is held
			if got := mustScrub(t, other, repo.ScrubOptions{}); !slices.Equal(got, []string{string(object)}) {
				t.Errorf("the other process names %q, want %s", got, object)
			}
		}
		return false
	}})
	if err != nil || asked < 10 || asked > 11 {
		t.Errorf("Round of a process that was followed = %+v, %v after %d parts, want it to end", r, err, asked)
	}
	if known := mustCover(t, other, time.Hour).Damages; len(known) != 1 || known[0].Object != string(object) {
		t.Errorf("known are %v, want %s", known, object)
	}
}

// TestRound_FindsReplacedPacks damages packs of several parts of a round: it finds and reads them, and no other pack.
func TestRound_FindsReplacedPacks(t *testing.T) {
	t.Parallel()
	main := summing()
	s := &namingStore{Store: main, sums: main, got: map[blob.Name]int{}}
	l, pass := days()
	o := small()
	o.DataPack, o.MetaPack = 340<<10, 340<<10
	v := create(t, s, l, o)
	id := mustBackup(t, v, "", files{"a": randomBytes(100_000_000)}, nil)
	packs := names(t, main)["d"]
	if len(packs) < 260 {
		t.Fatalf("%d packs are not enough for three parts", len(packs))
	}
	n := count(t, main)
	r, err := v.Round(t.Context(), repo.ScrubOptions{})
	if err != nil || r.Damages != nil || r.Summed != n || r.Packs != 0 {
		t.Errorf("Round of a sound vault = %+v, %v, want checksums of %d packs", r, err, n)
	}
	pass()
	bad := []string{string(packs[3]), string(packs[len(packs)/2]), string(packs[len(packs)-2])}
	for _, name := range bad {
		overwrite(t, main, blob.Name(name), flip(5000))
	}
	s.reads()
	r, err = v.Round(t.Context(), repo.ScrubOptions{})
	if got := objects(repo.CheckReport{Damages: r.Damages}); err != nil || !slices.Equal(got, bad) || r.Packs != 3 || r.Summed != n-3 {
		t.Errorf("Round = %+v, %v, want %q", r, err, bad)
	}
	if len(r.DamagedPoints) != 1 || r.DamagedPoints[0].ID != id || len(r.DamagedPoints[0].Paths) != 1 {
		t.Errorf("damaged points are %+v, want the only one with its file", r.DamagedPoints)
	}
	for name, times := range s.reads() {
		if strings.HasPrefix(string(name), "d/") && !slices.Contains(bad, string(name)) {
			t.Errorf("%s was read %d times, want not at all", name, times)
		}
	}
	pass()
	if r, err = v.Round(t.Context(), repo.ScrubOptions{}); err != nil || r.Damages != nil || r.Packs != 0 {
		t.Errorf("Round of the next day = %+v, %v, want nothing new", r, err)
	}
}

// TestRound_WrongChecksumsAreNoDamage has a store with checksums of its own making: each pack is read for that once, however often the round
// yields, and not again on the next day.
func TestRound_WrongChecksumsAreNoDamage(t *testing.T) {
	t.Parallel()
	s := wrongSums{summing()}
	l, pass := days()
	v := create(t, s, l, small())
	mustBackup(t, v, "", files{"a": randomBytes(2_000_000)}, nil)
	n := count(t, s)
	for _, want := range []int64{n, 0} {
		var read int64
		turns := 0
		for end := false; !end && turns < 100; turns++ {
			asked := 0
			r, err := v.Round(t.Context(), repo.ScrubOptions{Yield: func() bool { asked++; return asked > 2 }})
			if err != nil || r.Damages != nil {
				t.Fatalf("Round = %+v, %v, want no damage", r, err)
			}
			read += r.Packs
			end = asked < 3
		}
		if read != want || turns == 100 {
			t.Errorf("%d of %d packs were read in %d turns, want %d", read, n, turns, want)
		}
		pass()
	}
}

// TestRound_StoreThatDoesNotAnswer: it is no damage, and the next turn goes on.
func TestRound_StoreThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	s, l := fault.New(summing()), localledger.New(localledger.Options{})
	v := create(t, s, l, small())
	mustBackup(t, v, "", files{"a": randomBytes(700_000)}, nil)
	s.Add(fault.Rule{Op: fault.Sum, Kind: fault.Fail, Err: blob.ErrUnavailable})
	if r, err := v.Round(t.Context(), repo.ScrubOptions{}); !errors.Is(err, blob.ErrUnavailable) || r.Damages != nil {
		t.Errorf("Round = %+v, %v, want %v", r, err, blob.ErrUnavailable)
	}
	s.Clear()
	if r, err := v.Round(t.Context(), repo.ScrubOptions{}); err != nil || r.Damages != nil || r.Summed != count(t, s) {
		t.Errorf("the next turn = %+v, %v, want the checksums of all packs", r, err)
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
