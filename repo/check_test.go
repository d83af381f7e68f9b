package repo_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
)

func mustCheck(t *testing.T, v *repo.Vault, o repo.CheckOptions) repo.CheckReport {
	t.Helper()
	r, err := v.Check(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func reopen(t *testing.T, s blob.Store, l repo.Ledger) *repo.Vault {
	t.Helper()
	v, err := repo.Open(t.Context(), s, l, testKey, repo.Options{Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

func objects(r repo.CheckReport) (names []string) {
	for _, d := range r.Damages {
		names = append(names, d.Object)
	}
	return names
}

// TestCheck_FindsWhatItsLevelPromises damages every kind of object in every way at every level.
func TestCheck_FindsWhatItsLevelPromises(t *testing.T) {
	t.Parallel()
	changes := map[string]func([]byte) []byte{
		"missing": vanish, "short": cut, "first byte": flip(0), "head": flip(30), "middle": flip(200), "end": flip(-5),
	}
	for _, kind := range []string{"d", "m", "x", "r", "f", "format", "k", "c"} {
		for name, change := range changes {
			t.Run(kind+" "+name, func(t *testing.T) {
				t.Parallel()
				for level := repo.CheckNames; level <= repo.CheckBytes; level++ {
					found := level >= promised(kind, name)
					checkFinds(t, kind, change, level, found)
				}
			})
		}
	}
}

// promised returns the level from which on damage is found.
func promised(kind, damage string) int {
	pack, twice := kind == "d" || kind == "m", kind == "format" || kind == "k"
	switch {
	case kind == "format" && damage == "missing": // a vault that is opened anew writes it again
		return repo.CheckHeads
	case pack && damage == "short", damage == "missing":
		return repo.CheckNames
	case kind == "x" && damage != "short": // opening the vault got around it by parity, and noted it
		return repo.CheckNames
	case kind == "m" && damage == "middle": // where a node is
		return repo.CheckTrees
	case kind == "d" && damage == "middle":
		return repo.CheckBytes
	case pack, kind == "x", twice:
		return repo.CheckHeads
	}
	return repo.CheckNames
}

func checkFinds(t *testing.T, kind string, change func([]byte) []byte, level int, found bool) {
	t.Helper()
	v, s, l := newVault(t)
	mustBackup(t, v, "", newGenerator(31).files(20), nil)
	if got := objects(mustCheck(t, v, repo.CheckOptions{Level: level})); got != nil {
		t.Fatalf("Check of a sound vault = %v", got)
	}
	object := objectOf(t, s, kind)
	if kind != "format" && kind != "k" && kind != "c" { // these open the vault
		v.Close()
		overwrite(t, s, object, change)
		v = reopen(t, s, l)
	} else {
		overwrite(t, s, object, change)
	}
	got := slices.Contains(objects(mustCheck(t, v, repo.CheckOptions{Level: level})), string(object))
	if got != found {
		t.Errorf("Check at level %d names %s: %t, want %t", level, object, got, found)
	}
}

// objectOf returns the first object of a kind, which is a directory or a name.
func objectOf(t *testing.T, s blob.Store, kind string) blob.Name {
	t.Helper()
	if kind == "format" {
		return "format"
	}
	for info, err := range s.List(t.Context(), kind+"/") {
		if err != nil {
			t.Fatal(err)
		}
		return info.Name
	}
	t.Fatalf("no object under %s/", kind)
	return ""
}

// TestCheck_FindsObjectsThatWereSwapped gives an object of each kind the bytes of another one of the kind, of the same vault where that
// has two, and looks for it at every level.
func TestCheck_FindsObjectsThatWereSwapped(t *testing.T) {
	t.Parallel()
	for kind, promised := range map[string]int{
		"d": repo.CheckHeads, "m": repo.CheckHeads, "a": repo.CheckHeads, "x": repo.CheckHeads, "format": repo.CheckHeads, "k": repo.CheckHeads,
		"r": repo.CheckNames, "f": repo.CheckNames, "c": repo.CheckNames,
		"v": repo.CheckTrees, "p": repo.CheckTrees, "t": repo.CheckTrees,
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			o := foreign()
			s, l := mem.New(), localledger.New(localledger.Options{})
			v := create(t, s, l, o)
			fillAll(t, v, l)
			object := objectOf(t, s, kind)
			other := otherOf(t, s, kind, object)
			if isPack := kind == "d" || kind == "m" || kind == "a"; isPack && len(other) != len(raw(t, s, object)) {
				promised = repo.CheckNames
			}
			if !slices.Contains([]string{"format", "k", "c"}, kind) { // without these it cannot be opened
				v.Close()
				overwrite(t, s, object, func([]byte) []byte { return other })
				v = reopen(t, s, l)
			} else {
				overwrite(t, s, object, func([]byte) []byte { return other })
			}
			for level := repo.CheckNames; level <= repo.CheckBytes; level++ {
				r := mustCheck(t, v, repo.CheckOptions{Level: level})
				got := slices.ContainsFunc(slices.Concat(r.Damages, r.Healed), func(d repo.Damage) bool { return d.Object == string(object) })
				if want := level >= promised; got != want {
					t.Errorf("Check at level %d names %s: %t, want %t", level, object, got, want)
				}
			}
		})
	}
}

// fillAll gives a vault objects of every kind, several of most.
func fillAll(t *testing.T, v *repo.Vault, l repo.Ledger) {
	t.Helper()
	from, _, _ := newVault(t)
	for range 2 {
		mustCross(t, from, v, mustBackup(t, from, "", files{"a": randomBytes(50_000)}, nil))
		mustMoveToCold(t, v, l, mustBackup(t, v, "", files{"b": randomBytes(50_000)}, nil))
		recorded(t, v, "arn")
	}
	if _, err := v.PutVaultState(t.Context(), repo.VaultRecord{Generation: 1}); err != nil {
		t.Fatal(err)
	}
}

// otherOf returns the bytes of another object of a kind than the one that is named, of the same vault or one like it.
func otherOf(t *testing.T, s blob.Store, kind string, but blob.Name) []byte {
	t.Helper()
	for _, name := range names(t, s)[kind] {
		if name != but {
			return raw(t, s, name)
		}
	}
	twin, o := mem.New(), foreign()
	o.UUID = [16]byte{8}
	l := localledger.New(localledger.Options{})
	fillAll(t, create(t, twin, l, o), l)
	return raw(t, twin, objectOf(t, twin, kind))
}

func TestCheck_ForeignObjectsAreNamedAndAreNoDamage(t *testing.T) {
	t.Parallel()
	v, s, _ := newVault(t)
	mustBackup(t, v, "", newGenerator(32).files(20), nil)
	unknown := strings.Repeat("ab", 16)
	foreign := []string{"d/ab/" + unknown, "d/notes", "f/" + unknown, "k/1-01", "r/" + unknown, "r/notes", "readme.txt"}
	for _, name := range foreign {
		if err := s.Put(t.Context(), blob.Name(name), bytes.NewReader([]byte("hello")), 5); err != nil {
			t.Fatal(err)
		}
	}
	r := mustCheck(t, v, repo.CheckOptions{Level: repo.CheckBytes})
	if diff := cmp.Diff(foreign, r.Foreign); diff != "" || r.Damages != nil || r.ForeignCount != int64(len(foreign)) {
		t.Errorf("Check = %v, foreign objects (-want +got):\n%s", r.Damages, diff)
	}
}

// TestCheck_WhatIsLeftOfADeletedPointIsNotForeign deletes a recovery point that is being read: its refset stays for the reader,
// and afterwards for reclaim to sweep.
func TestCheck_WhatIsLeftOfADeletedPointIsNotForeign(t *testing.T) {
	t.Parallel()
	v, s, l := newVault(t)
	id := mustBackup(t, v, "", newGenerator(33).files(5), nil)
	p, err := v.OpenPoint(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := remove(t.Context(), v, l, id); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if r := mustCheck(t, v, repo.CheckOptions{}); r.Foreign != nil || r.Damages != nil {
			t.Errorf("Check = %+v, want nothing", r)
		}
		if left := names(t, s)["f"]; len(left) != 1 {
			t.Errorf("refsets = %v, want the one that is left", left)
		}
		p.Close()
	}
	mustReclaim(t, v)
	if left := names(t, s)["f"]; len(left) > 0 {
		t.Errorf("reclaim left %v", left)
	}
}

// TestCheck_DamageIsRememberedUntilABackupHealsIt follows a flipped bit: it is known to a vault that is opened anew, at every
// level; the next backup of the content stores it again; the check after it makes the old recovery point name the copy.
func TestCheck_DamageIsRememberedUntilABackupHealsIt(t *testing.T) {
	t.Parallel()
	v, s, l := newVault(t)
	have := files{"bad": randomBytes(100_000), "good": randomBytes(70)}
	old := mustBackup(t, v, "", have, nil)
	pack := names(t, s)["d"][0]
	overwrite(t, s, pack, flip(5000))
	if got := objects(mustCheck(t, v, repo.CheckOptions{Level: repo.CheckBytes})); !slices.Equal(got, []string{string(pack)}) {
		t.Fatalf("Check = %v, want %s", got, pack)
	}
	v.Close()
	v = reopen(t, s, l)
	if got := objects(mustCheck(t, v, repo.CheckOptions{Level: repo.CheckNames})); !slices.Equal(got, []string{string(pack)}) {
		t.Errorf("Check of names after a restart = %v, want %s", got, pack)
	}
	again := mustBackup(t, v, "", have, nil)
	if err := verify(t.Context(), v, old, have); err != nil {
		t.Errorf("restore of the old point after a new backup: %v", err)
	}
	r := mustCheck(t, v, repo.CheckOptions{Level: repo.CheckBytes})
	if r.Damages != nil || r.Mended != 1 || len(r.Healed) != 1 || r.Healed[0].Object != string(pack) {
		t.Errorf("Check after the backup = %+v, want the old point to be mended", r)
	}
	if err := remove(t.Context(), v, l, again); err != nil {
		t.Fatal(err)
	}
	mustReclaim(t, v)
	if err := verify(t.Context(), v, old, have); err != nil {
		t.Errorf("restore of the old point after the new one was deleted: %v", err)
	}
	r = mustCheck(t, v, repo.CheckOptions{Level: repo.CheckBytes})
	if r.Damages != nil || r.Healed != nil {
		t.Errorf("Check after reclaim = %+v, want nothing", r)
	}
	if known, err := l.Damages(t.Context()); err != nil || len(known) > 0 {
		t.Errorf("Damages after reclaim = %v, %v, want none", known, err)
	}
}

func TestCheck_DropsARecordOfWhatIsWholeAgain(t *testing.T) {
	t.Parallel()
	v, s, l := newVault(t)
	mustBackup(t, v, "", files{"a": randomBytes(100_000)}, nil)
	for _, object := range []blob.Name{objectOf(t, s, "d"), objectOf(t, s, "r")} {
		overwrite(t, s, object, flip(-9))
		if got := objects(mustCheck(t, v, repo.CheckOptions{Level: repo.CheckBytes})); !slices.Equal(got, []string{string(object)}) {
			t.Errorf("Check = %v, want %s", got, object)
		}
		overwrite(t, s, object, flip(-9))
		if r := mustCheck(t, v, repo.CheckOptions{Level: repo.CheckBytes}); r.Damages != nil {
			t.Errorf("Check of %s mended by hand = %v", object, r.Damages)
		}
		if known, err := l.Damages(t.Context()); err != nil || len(known) > 0 {
			t.Errorf("Damages = %v, %v, want none", known, err)
		}
	}
}

func TestCheck_GoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	s, l := mem.New(), localledger.New(localledger.Options{})
	counting := &countingStore{Store: s}
	v := create(t, counting, l, small())
	mustBackup(t, v, "", files{"a": randomBytes(3_000_000)}, nil)
	start := time.Now().Add(-time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := v.Check(ctx, repo.CheckOptions{Level: repo.CheckBytes, Since: start, Progress: func(done, total int64) {
		if done > total/2 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("Check that is stopped = %v, want Canceled", err)
	}
	counting.bytes.Store(0)
	r := mustCheck(t, v, repo.CheckOptions{Level: repo.CheckBytes, Since: start})
	if r.PacksKnown == 0 || r.PacksRead != r.Packs || r.BytesRead != r.Bytes || counting.bytes.Load() >= r.Bytes {
		t.Errorf("Check that goes on read %d bytes: %+v, want a part of %d", counting.bytes.Load(), r, r.Bytes)
	}
	r = mustCheck(t, v, repo.CheckOptions{Level: repo.CheckBytes})
	if r.PacksKnown != 0 || r.PacksRead != r.Packs {
		t.Errorf("Check anew = %+v, want all packs to be read", r)
	}
}

// countingStore counts the bytes that are asked for.
type countingStore struct {
	blob.Store
	bytes atomic.Int64
}

func (s *countingStore) Get(ctx context.Context, name blob.Name, off, n int64) (io.ReadCloser, error) {
	s.bytes.Add(max(n, 0))
	return s.Store.Get(ctx, name, off, n)
}

// besideWork has two workers do something over and over while reclaims run, until stop is called; ctx is done as soon as one of them
// fails. Afterwards no damage is known.
func besideWork(t *testing.T, v *repo.Vault, l repo.Ledger, work func(worker int, seed uint64) error) (ctx context.Context, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	g, gctx := errgroup.WithContext(ctx)
	for worker := range 2 {
		g.Go(func() error {
			for seed := uint64(0); gctx.Err() == nil; seed++ {
				if err := work(worker, seed); err != nil {
					return err
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		for gctx.Err() == nil {
			if _, err := v.Reclaim(t.Context(), repo.ReclaimOptions{}); err != nil {
				return err
			}
		}
		return nil
	})
	return gctx, func() {
		t.Helper()
		cancel()
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
		if known, err := l.Damages(t.Context()); err != nil || len(known) > 0 {
			t.Errorf("Damages = %v, %v, want none", known, err)
		}
	}
}

// TestCheck_BesideOtherWork checks at every level while backups, deletions and reclaims run: nothing false is reported.
func TestCheck_BesideOtherWork(t *testing.T) {
	t.Parallel()
	v, _, l := newVault(t)
	_, stop := besideWork(t, v, l, func(worker int, seed uint64) error {
		id, err := backup(t.Context(), v, "", newGenerator(seed%3+uint64(worker)).files(10), nil)
		if err != nil {
			return err
		}
		return remove(t.Context(), v, l, id)
	})
	for round := range 40 {
		r, err := v.Check(t.Context(), repo.CheckOptions{Level: round % 4})
		if err != nil {
			t.Error(err)
			break
		}
		if r.Damages != nil || r.Healed != nil || r.Foreign != nil || r.DamagedPoints != nil {
			t.Errorf("Check at level %d beside other work = %+v", round%4, r)
		}
	}
	stop()
}

// ledgerAt is a ledger in memory with a clock that the test moves.
func ledgerAt(now *atomic.Int64) *localledger.Ledger {
	return localledger.New(localledger.Options{Lease: 1000 * time.Hour, Now: func() time.Time { return time.Unix(now.Load(), 0) }})
}

func TestScrub_ReadsTheOldestWithinItsShare(t *testing.T) {
	t.Parallel()
	var now atomic.Int64
	now.Store(1e9)
	day := func() { now.Add(24*3600 + 1) }
	v := create(t, mem.New(), ledgerAt(&now), small())
	mustBackup(t, v, "", files{"a": randomBytes(5_000_000)}, nil)
	scrub := func() int64 {
		t.Helper()
		r, err := v.Scrub(t.Context(), repo.ScrubOptions{Share: 0.25})
		if err != nil || r.Damages != nil {
			t.Fatalf("Scrub = %+v, %v", r, err)
		}
		return r.Packs
	}
	all := mustCover(t, v, time.Hour).Packs
	first := scrub()
	if first == 0 || first > all/2 {
		t.Errorf("Scrub read %d packs, want about a quarter of %d", first, all)
	}
	if again := scrub(); again > 1 {
		t.Errorf("Scrub on the same day read %d packs more, want the share to be used up", again)
	}
	if c := mustCover(t, v, time.Hour); c.PacksKnown < first || c.PacksKnown == all || c.Oldest != nil || c.Newest == nil {
		t.Errorf("Coverage after one scrub = %+v", c)
	}
	for range 3 {
		day()
		scrub()
	}
	if c := mustCover(t, v, 100*time.Hour); c.PacksKnown != all || c.BytesKnown != c.Bytes || c.Oldest == nil {
		t.Errorf("Coverage after four days = %+v, want all %d packs", c, all)
	}
}

func mustCover(t *testing.T, v *repo.Vault, within time.Duration) repo.Coverage {
	t.Helper()
	c, err := v.Coverage(t.Context(), within)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestScrub_FindsDamageAndYields(t *testing.T) {
	t.Parallel()
	v, s, _ := newVault(t)
	id := mustBackup(t, v, "", files{"bad": randomBytes(100_000)}, nil)
	pack := objectOf(t, s, "d")
	overwrite(t, s, pack, flip(5000))
	if r, err := v.Scrub(t.Context(), repo.ScrubOptions{Share: 1, Yield: func() bool { return true }}); err != nil || r.Packs != 0 {
		t.Errorf("Scrub beside a job = %+v, %v, want nothing to be read", r, err)
	}
	r, err := v.Scrub(t.Context(), repo.ScrubOptions{Share: 1})
	want := []repo.DamagedPoint{{ID: id, Paths: [][]byte{[]byte("bad")}}}
	if diff := cmp.Diff(want, r.DamagedPoints); err != nil || diff != "" || len(r.Damages) != 1 {
		t.Errorf("Scrub = %+v, %v, damaged points (-want +got):\n%s", r, err, diff)
	}
	if c := mustCover(t, v, time.Hour); len(c.Damages) != 1 || c.Damages[0].Object != string(pack) {
		t.Errorf("Coverage = %+v, want the damage of %s", c, pack)
	}
}

func TestScrub_FreshReadsOnePackThatWasNeverRead(t *testing.T) {
	t.Parallel()
	v, _, _ := newVault(t)
	mustBackup(t, v, "", files{"a": randomBytes(2_000_000)}, nil)
	for n := int64(1); n <= 2; n++ {
		if r, err := v.Scrub(t.Context(), repo.ScrubOptions{Fresh: true}); err != nil || r.Packs != 1 {
			t.Fatalf("Scrub = %+v, %v, want one pack", r, err)
		}
		if c := mustCover(t, v, time.Hour); c.PacksKnown != n {
			t.Errorf("Coverage = %+v, want %d packs", c, n)
		}
	}
}
