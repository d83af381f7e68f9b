package repo_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/fault"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/seal"
)

// version is a link that replaces another one by a rotation of the wrapping key.
type version struct{ link }

func (v version) Rotated(keyID string, _ []byte) bool { return keyID != v.name }

// rotate wraps the keys of a vault anew by a rotation of its wrapping key.
func rotate(t *testing.T, s blob.Store) {
	t.Helper()
	if r, err := repo.Rewrap(t.Context(), s, rewrapTo(version{newer}, nil)); err != nil || r.Epoch != 2 || r.Wrapped != 1 {
		t.Fatalf("Rewrap = %+v, %v, want epoch 2 begun and one key wrapped", r, err)
	}
}

// openWith opens a vault that both keys open.
func openWith(t *testing.T, s blob.Store, l repo.Ledger) *repo.Vault {
	t.Helper()
	v, err := repo.Open(t.Context(), s, l, both, small().Options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

// epochOf returns the epoch in the header of an object.
func epochOf(t *testing.T, s blob.Store, name blob.Name) uint32 {
	t.Helper()
	return binary.LittleEndian.Uint32(raw(t, s, name)[12:])
}

// sealedIn counts sealed objects and packs by epoch.
func sealedIn(t *testing.T, s blob.Store) map[uint32]int {
	t.Helper()
	n := map[uint32]int{}
	for kind, all := range names(t, s) {
		for _, name := range all {
			if kind != "k" && !strings.HasPrefix(kind, "format") {
				n[epochOf(t, s, name)]++
			}
		}
	}
	return n
}

var rotatedNames = []blob.Name{"k/1-3", "k/1-4", "k/2-1", "k/2-2"}

func TestRewrap_RotationBeginsAnEpoch(t *testing.T) {
	t.Parallel()
	s, l, first := linkedVault(t)
	before := names(t, s)
	v := openWith(t, s, l)
	rotate(t, s)
	if diff := cmp.Diff(rotatedNames, keyNames(t, s)); diff != "" {
		t.Error(diff)
	}
	if r, err := repo.Rewrap(t.Context(), s, rewrapTo(version{newer}, nil)); err != nil || r.Epoch+uint32(r.Wrapped) != 0 {
		t.Errorf("Rewrap when all is done = %+v, %v", r, err)
	}
	have := files{"a": []byte("content"), "b": randomBytes(50_000)}
	second := mustBackup(t, v, first, have, files{"a": []byte("content")})
	if _, err := v.PutVaultState(t.Context(), repo.VaultRecord{Generation: 1}); err != nil {
		t.Fatal(err)
	}
	for kind, all := range names(t, s) {
		for _, name := range all {
			if old := slices.Contains(before[kind], name); kind != "k" && !old && epochOf(t, s, name) != 2 {
				t.Errorf("%s is sealed under epoch %d, want 2", name, epochOf(t, s, name))
			}
		}
	}
	for _, v := range []*repo.Vault{v, mustOpenReadOnly(t, s, newer)} {
		err := errors.Join(verify(t.Context(), v, first, files{"a": []byte("content")}), verify(t.Context(), v, second, have))
		if err := errors.Join(err, sound(t.Context(), v)); err != nil {
			t.Error(err)
		}
	}
}

func mustOpenReadOnly(t *testing.T, s blob.Store, k repo.KeyWrapper) *repo.Vault {
	t.Helper()
	v, err := repo.OpenReadOnly(t.Context(), s, k, repo.Options{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

// TestRewrap_EpochCutAnywhere cuts a rotation after each change. A backup follows, by a process that finds it so, then the next Rewrap: no
// recovery point needs anything but the new key then, and no key object of an epoch that something was sealed under went.
func TestRewrap_EpochCutAnywhere(t *testing.T) {
	t.Parallel()
	start, _, _ := linkedVault(t)
	rec := fault.NewRecorder(start)
	if _, err := repo.Rewrap(t.Context(), rec, rewrapTo(version{newer}, nil)); err != nil {
		t.Fatal(err)
	}
	if rec.Len() != 6 || !strings.Contains(rec.Step(0), "put k/2-1,") || !strings.Contains(rec.Step(1), "put k/2-2,") {
		t.Fatalf("Rewrap made %d changes, of which the first is %q, want the puts of the new epoch, and those of the old one with two deletions",
			rec.Len(), rec.Step(0))
	}
	testEpochCut(t, 0, "", "cut before all")
	for n := range rec.Len() {
		testEpochCut(t, n+1, "", "cut after "+rec.Step(n))
		if _, name, isPut := strings.Cut(rec.Step(n), "put "); isPut {
			name, _, _ = strings.Cut(name, ",")
			testEpochCut(t, n+1, blob.Name(name), "torn at "+rec.Step(n))
		}
	}
}

func testEpochCut(t *testing.T, steps int, torn blob.Name, when string) {
	t.Helper()
	s, l, first := linkedVault(t)
	v := openWith(t, s, l) // opened before
	_, err := repo.Rewrap(t.Context(), &limitedStore{Store: s, left: steps}, rewrapTo(version{newer}, nil))
	if err != nil && !errors.Is(err, errLimit) {
		t.Fatalf("%s: Rewrap = %v", when, err)
	}
	if torn != "" {
		overwrite(t, s, torn, cut)
	}
	have := map[repo.PointID]files{first: {"a": []byte("content")}}
	for _, v := range []*repo.Vault{v, openWith(t, s, l), v} {
		have[mustBackup(t, v, "", files{"b": randomBytes(3000)}, nil)] = nil
	}
	r, err := repo.Rewrap(t.Context(), s, rewrapTo(version{newer}, nil))
	if err != nil {
		t.Errorf("%s: the next Rewrap = %v", when, err)
	}
	pairs := map[string]int{}
	for _, name := range keyNames(t, s) {
		epoch, _, _ := strings.Cut(string(name), "-")
		pairs[epoch]++
	}
	want := map[string]int{"k/1": 2, "k/2": 2}
	if torn == "k/2-1" { // may have been a key that something was sealed under, and stays
		want = map[string]int{"k/1": 2, "k/2": 1, "k/3": 2}
	}
	if diff := cmp.Diff(want, pairs); diff != "" || (len(r.Passed) > 0) != (torn != "") {
		t.Errorf("%s: key objects %v, passed over %v: %s", when, keyNames(t, s), r.Passed, diff)
	}
	latest := mustBackup(t, v, "", files{"c": randomBytes(3000)}, nil)
	if epochOf(t, s, blob.Name("r/"+latest)) == 1 {
		t.Errorf("%s: what was stored after the next Rewrap is of epoch 1", when)
	}
	have[latest] = nil
	alone := mustOpenReadOnly(t, s, newer)
	for id := range have {
		if _, err := restore(t.Context(), alone, id); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
}

// TestRewrap_EpochStaysOrGoes: a key that somebody may have read stays, but for a wrapping key that was destroyed.
func TestRewrap_EpochStaysOrGoes(t *testing.T) {
	t.Parallel()
	before := []blob.Name{"k/1-1", "k/1-2"}
	with := func(more ...blob.Name) []blob.Name { return append(slices.Clip(before), more...) }
	failed := errors.New("database is away")
	for _, test := range []struct {
		name string
		rule fault.Rule
		fail int // which answer of Still, from 1
		err  error
		left []blob.Name

		whole bool // nothing comes of it
	}{
		{name: "put fails", rule: fault.Rule{Op: fault.Put, Name: "k/2-1"}, left: before},
		{name: "second put fails", rule: fault.Rule{Op: fault.Put, Name: "k/2-2"}, left: with("k/2-1")},
		{name: "put has an unknown end", rule: fault.Rule{Op: fault.Put, Name: "k/2-1", Kind: fault.FailAfter}, left: with("k/2-1")},
		{name: "second put has an unknown end", rule: fault.Rule{Op: fault.Put, Name: "k/2-2", Kind: fault.FailAfter}, left: with("k/2-1", "k/2-2")},
		{name: "put stores other bytes", rule: fault.Rule{Op: fault.Put, Name: "k/2-1", Kind: fault.Flip, N: 900}, left: before},
		{name: "second put stores other bytes", rule: fault.Rule{Op: fault.Put, Name: "k/2-2", Kind: fault.Flip, N: 900}, left: with("k/2-1", "k/2-2")},
		{name: "read back fails", rule: fault.Rule{Op: fault.Get, Name: "k/2-1"}, left: with("k/2-1")},
		{name: "read back is wrong", rule: fault.Rule{Op: fault.Get, Name: "k/2-1", Kind: fault.Flip, N: 900, Times: 1}, whole: true},
		{name: "second read back is wrong", rule: fault.Rule{Op: fault.Get, Name: "k/2-2", Kind: fault.Flip, N: 900, Times: 1}, whole: true},
		{name: "second read back fails", rule: fault.Rule{Op: fault.Get, Name: "k/2-2"}, left: with("k/2-1", "k/2-2")},
		{name: "key destroyed before the second one", fail: 1, err: repo.ErrDestroyed, left: before},
		{name: "key destroyed after the second one", fail: 2, err: repo.ErrDestroyed, left: before},
		{name: "nobody knows before the second one", fail: 1, err: failed, left: with("k/2-1")},
		{name: "nobody knows after the second one", fail: 2, err: failed, left: with("k/2-1", "k/2-2")},
	} {
		start, _, _ := linkedVault(t)
		s := fault.New(start)
		if test.fail == 0 {
			s.Add(test.rule)
		}
		asked := 0
		_, err := repo.Rewrap(t.Context(), s, rewrapTo(version{newer}, func(context.Context) (bool, error) {
			if asked++; asked != test.fail {
				return true, nil
			}
			if errors.Is(test.err, repo.ErrDestroyed) {
				return false, nil
			}
			return false, test.err
		}))
		if test.whole {
			test.left = rotatedNames
		}
		if (err == nil) != test.whole || test.err != nil && !errors.Is(err, test.err) {
			t.Errorf("%s: Rewrap = %v", test.name, err)
		}
		if diff := cmp.Diff(test.left, keyNames(t, start)); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
		if err := opens(t, start, both); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if _, err := repo.Rewrap(t.Context(), start, rewrapTo(version{newer}, nil)); err != nil {
			t.Errorf("%s: the next Rewrap = %v", test.name, err)
		}
		if names := keyNames(t, start); len(names) != 4 || !strings.HasPrefix(string(names[3]), "k/2-") {
			t.Errorf("%s: after the next Rewrap: %v", test.name, names)
		}
		if err := opens(t, start, newer); err != nil {
			t.Errorf("%s: after the next Rewrap: %v", test.name, err)
		}
	}
}

// TestRewrap_TwoServersBeginOneEpoch lets another server work, wholly or until it is killed, at each step of the first one.
func TestRewrap_TwoServersBeginOneEpoch(t *testing.T) {
	t.Parallel()
	for _, at := range []blob.Name{"k/2-1", "k/2-2", "k/1-3", "k/1-4"} {
		for steps := range 8 {
			s, l, _ := linkedVault(t)
			other := func() error {
				_, err := repo.Rewrap(t.Context(), &limitedStore{Store: s, left: steps}, rewrapTo(version{newer}, nil))
				if errors.Is(err, errLimit) {
					err = nil
				}
				return err
			}
			_, err := repo.Rewrap(t.Context(), beforePut{s, at, other}, rewrapTo(version{newer}, nil))
			if err != nil && !errors.Is(err, repo.ErrBusy) {
				t.Fatalf("Rewrap beside one that ends after %d changes before %s = %v", steps, at, err)
			}
			if _, err := repo.Rewrap(t.Context(), s, rewrapTo(version{newer}, nil)); err != nil {
				t.Fatalf("Rewrap after two, %d changes before %s = %v", steps, at, err)
			}
			if names := keyNames(t, s); len(names) != 4 {
				t.Errorf("key objects after two, %d changes before %s: %v", steps, at, names)
			}
			mustBackup(t, openWith(t, s, l), "", files{"b": randomBytes(2000)}, nil)
			if n := sealedIn(t, s); n[2] == 0 || len(n) != 2 {
				t.Errorf("objects by epoch after two, %d changes before %s: %v", steps, at, n)
			}
		}
	}
}

// TestVault_SealsNothingUnderALoneKey: before the second key object of an epoch is there, nobody relies on the first one.
func TestVault_SealsNothingUnderALoneKey(t *testing.T) {
	t.Parallel()
	s, l, _ := linkedVault(t)
	v := openWith(t, s, l)
	_, err := repo.Rewrap(t.Context(), beforePut{s, "k/2-2", func() error {
		mustBackup(t, v, "", files{"b": randomBytes(2000)}, nil)
		mustBackup(t, v, "", files{"b": randomBytes(2000)}, nil)
		return nil
	}}, rewrapTo(version{newer}, nil))
	if err != nil {
		t.Fatal(err)
	}
	if n := sealedIn(t, s); len(n) != 1 {
		t.Errorf("objects by epoch = %v, want all in epoch 1", n)
	}
	mustBackup(t, v, "", files{"b": randomBytes(2000)}, nil)
	if n := sealedIn(t, s); n[2] == 0 {
		t.Errorf("objects by epoch = %v, want some in epoch 2", n)
	}
}

// TestVault_MeetsALaterEpoch: a process that opened the vault before a rotation reads what others stored after it, reclaims it and finds
// nothing damaged, even when no list shows the new key objects.
func TestVault_MeetsALaterEpoch(t *testing.T) {
	t.Parallel()
	for _, stale := range []bool{false, true} {
		s, l, first := linkedVault(t)
		seen := blob.Store(s)
		if stale {
			seen = before{s}
		}
		behind := openWith(t, seen, l)
		if _, err := behind.PutVaultState(t.Context(), repo.VaultRecord{Generation: 1}); err != nil {
			t.Fatal(err)
		}
		rotate(t, s)
		ahead := openWith(t, s, l)
		have := newGenerator(61).files(40)
		id := mustBackup(t, ahead, "", have, nil)
		gone := mustBackup(t, ahead, "", newGenerator(62).files(40), nil)
		if _, err := ahead.PutVaultState(t.Context(), repo.VaultRecord{Generation: 2}); err != nil {
			t.Fatal(err)
		}
		if f, err := behind.VaultState(t.Context()); err != nil || f.State == nil || f.State.Generation != 2 {
			t.Errorf("VaultState = %+v, %v, want generation 2", f, err)
		}
		if err := verify(t.Context(), behind, id, have); err != nil {
			t.Error(err)
		}
		if err := remove(t.Context(), ahead, l, gone); err != nil {
			t.Fatal(err)
		}
		mustReclaim(t, behind)
		if err := sound(t.Context(), behind); err != nil {
			t.Error(err)
		}
		for _, v := range []*repo.Vault{ahead, behind, openWith(t, s, l)} {
			if err := errors.Join(verify(t.Context(), v, id, have), verify(t.Context(), v, first, files{"a": []byte("content")})); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestVault_LaterEpochCannotBeRead: that the keys of a later epoch cannot be had is no damage of what needs them.
func TestVault_LaterEpochCannotBeRead(t *testing.T) {
	t.Parallel()
	s, l, _ := linkedVault(t)
	faults := fault.New(s)
	behind := openWith(t, faults, l)
	alone, err := repo.Open(t.Context(), s, l, older, small().Options)
	if err != nil {
		t.Fatal(err)
	}
	defer alone.Close()
	rotate(t, s)
	id := mustBackup(t, openWith(t, s, l), "", files{"b": randomBytes(2000)}, nil)
	faults.Add(fault.Rule{Op: fault.Get, Name: "k/2-*"})
	for _, v := range []*repo.Vault{behind, alone} {
		if _, err := restore(t.Context(), v, id); err == nil || errors.Is(err, repo.ErrDamaged) {
			t.Errorf("restore without the keys of epoch 2 = %v, want another error than damage", err)
		}
		if known := v.Observed(); len(known) > 0 {
			t.Errorf("damage was noted: %v", known)
		}
	}
	faults.Clear()
	if err := verify(t.Context(), behind, id, files{"b": nil}); errors.Is(err, repo.ErrDamaged) {
		t.Error(err)
	}
}

// TestReclaim_SealsUnderTheHighestEpoch: what is left of packs goes to packs of the new epoch.
func TestReclaim_SealsUnderTheHighestEpoch(t *testing.T) {
	t.Parallel()
	s, l, _ := linkedVault(t)
	v := openWith(t, s, l)
	first, second := manySmall(21)
	gone := mustBackup(t, v, "", first, nil)
	kept := mustBackup(t, v, "", second, nil)
	rotate(t, s)
	if err := remove(t.Context(), v, l, gone); err != nil {
		t.Fatal(err)
	}
	before := names(t, s)
	mustReclaim(t, v)
	made := 0
	for _, kind := range []string{"d", "m", "x", "f"} {
		for _, name := range names(t, s)[kind] {
			if slices.Contains(before[kind], name) {
				continue
			}
			if made++; epochOf(t, s, name) != 2 {
				t.Errorf("reclaim sealed %s under epoch %d, want 2", name, epochOf(t, s, name))
			}
		}
	}
	if made == 0 {
		t.Error("reclaim moved nothing")
	}
	if err := errors.Join(verify(t.Context(), v, kept, second), sound(t.Context(), v)); err != nil {
		t.Error(err)
	}
}

// TestCheck_NamesTheLostKeysOfAnEpoch: at every level, for whoever has the vault open; who opens it is told what is missing.
func TestCheck_NamesTheLostKeysOfAnEpoch(t *testing.T) {
	t.Parallel()
	for _, epoch := range []int{1, 2} {
		s, l, _ := linkedVault(t)
		rotate(t, s)
		v := openWith(t, s, l)
		id := mustBackup(t, v, "", files{"b": randomBytes(2000)}, nil)
		for _, name := range keyNames(t, s) {
			if strings.HasPrefix(string(name), fmt.Sprintf("k/%d-", epoch)) {
				overwrite(t, s, name, vanish)
			}
		}
		want := []string{fmt.Sprintf("k/%d-1", epoch)}
		for level := range repo.CheckBytes + 1 {
			if got := objects(mustCheck(t, v, repo.CheckOptions{Level: level})); !cmp.Equal(got, want) {
				t.Errorf("Check at level %d = %v, want %v", level, got, want)
			}
		}
		if _, err := restore(t.Context(), v, id); err != nil {
			t.Errorf("restore by who has the keys = %v", err)
		}
		_, err := repo.Open(t.Context(), s, l, both, small().Options)
		if want := fmt.Sprintf("needs the vault key of epoch %d, which is not there", epoch); err == nil || !strings.Contains(err.Error(), want) ||
			errors.Is(err, repo.ErrDamaged) {
			t.Errorf("Open = %v, want %q", err, want)
		}
	}
}

// TestRepair_OfTheKeysOfALaterEpoch: each epoch has its pair.
func TestRepair_OfTheKeysOfALaterEpoch(t *testing.T) {
	t.Parallel()
	s, l, _ := linkedVault(t)
	rotate(t, s)
	v := openWith(t, s, l)
	overwrite(t, s, "k/2-1", ruin)
	overwrite(t, s, "k/1-4", vanish)
	if got := objects(mustCheck(t, v, repo.CheckOptions{Level: repo.CheckHeads})); !cmp.Equal(got, []string{"k/1-4", "k/2-1"}) {
		t.Errorf("Check = %v", got)
	}
	if r := mustRepair(t, v, repo.RepairOptions{}); r.States != 2 || len(r.Lost) > 0 {
		t.Errorf("Repair = %+v, want two objects written", r)
	}
	if diff := cmp.Diff([]blob.Name{"k/1-3", "k/1-4", "k/2-2", "k/2-3"}, keyNames(t, s)); diff != "" {
		t.Error(diff)
	}
	if err := opens(t, s, newer); err != nil {
		t.Error(err)
	}
}

// before shows in lists what was there before the last epoch was begun.
type before struct{ blob.Store }

func (s before) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		for info, err := range s.Store.List(ctx, prefix) {
			if !strings.HasPrefix(string(info.Name), "k/2-") && !yield(info, err) {
				return
			}
		}
	}
}

// TestShred_TakesEveryEpoch, also one that a list does not show yet.
func TestShred_TakesEveryEpoch(t *testing.T) {
	t.Parallel()
	for _, stale := range []bool{false, true} {
		start, _, _ := linkedVault(t)
		rotate(t, start)
		s := blob.Store(start)
		if stale {
			s = before{start}
		}
		if err := repo.Shred(t.Context(), s, nil); err != nil {
			t.Errorf("Shred = %v", err)
		}
		if names := keyNames(t, start); len(names) > 0 {
			t.Errorf("Shred left %v", names)
		}
	}
}

// TestRewrap_NoSecondKeyOfAnEpoch: an epoch that a list does not show, and whose first generation is gone again, is not begun once more.
func TestRewrap_NoSecondKeyOfAnEpoch(t *testing.T) {
	t.Parallel()
	s, _, _ := linkedVault(t)
	first, second := keyNames(t, s), [][]byte{raw(t, s, "k/1-1"), raw(t, s, "k/1-2")}
	rotate(t, s)
	if r, err := repo.Rewrap(t.Context(), s, rewrapTo(older, nil)); err != nil || r.Wrapped != 2 {
		t.Fatalf("Rewrap = %+v, %v", r, err)
	}
	for _, name := range keyNames(t, s) {
		if strings.HasPrefix(string(name), "k/1-") { // as if they were not wrapped anew yet
			overwrite(t, s, name, vanish)
		}
	}
	for i, name := range first {
		put(t, s, name, second[i])
	}
	if _, err := repo.Rewrap(t.Context(), before{s}, rewrapTo(version{newer}, nil)); !errors.Is(err, repo.ErrBusy) {
		t.Errorf("Rewrap = %v, want %v", err, repo.ErrBusy)
	}
	if diff := cmp.Diff([]blob.Name{"k/1-1", "k/1-2", "k/2-3", "k/2-4"}, keyNames(t, s)); diff != "" {
		t.Error(diff)
	}
}

// TestRewrap_BeginsNoMoreEpochsThanThereMayBe rotates more often: keys are wrapped anew all the same.
func TestRewrap_BeginsNoMoreEpochsThanThereMayBe(t *testing.T) {
	t.Parallel()
	s, l, first := linkedVault(t)
	all := ring{older}
	for n := range seal.MaxEpochs + 1 {
		to := link{wrapper{byte(n + 2)}, fmt.Sprint(n)}
		all = append(all, to)
		r, err := repo.Rewrap(t.Context(), s, repo.RewrapOptions{Open: all, To: version{to}, Proof: to})
		if full := n+2 > seal.MaxEpochs; err != nil || r.Full != full || (r.Epoch == 0) != full || r.Wrapped != min(n+1, seal.MaxEpochs) {
			t.Fatalf("rotation %d = %+v, %v", n, r, err)
		}
	}
	v, err := repo.Open(t.Context(), s, l, all[len(all)-1], small().Options)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	mustBackup(t, v, "", files{"b": randomBytes(2000)}, nil)
	if n := sealedIn(t, s); n[seal.MaxEpochs] == 0 || len(n) != 2 {
		t.Errorf("objects by epoch = %v", n)
	}
	if err := verify(t.Context(), v, first, files{"a": []byte("content")}); err != nil {
		t.Error(err)
	}
}
