package repo_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
)

// recorded makes a recovery point with a first state.
func recorded(t *testing.T, v *repo.Vault, arn string) repo.PointID {
	t.Helper()
	w, err := v.NewWriter(t.Context(), repo.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := capture(t.Context(), w, files{"f": []byte(arn)}, nil); err != nil {
		t.Fatal(err)
	}
	id, err := w.Commit(t.Context(), repo.Facts{Record: &repo.PointRecord{ARN: arn}})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// raw reads an object.
func raw(t *testing.T, s blob.Store, name blob.Name) []byte {
	t.Helper()
	rc, err := s.Get(t.Context(), name, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	b, err := io.ReadAll(rc)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func put(t *testing.T, s blob.Store, name blob.Name, b []byte) {
	t.Helper()
	if err := s.Put(t.Context(), name, bytes.NewReader(b), int64(len(b))); err != nil {
		t.Fatal(err)
	}
}

func TestPutState_RemovesOlderGenerations(t *testing.T) {
	t.Parallel()
	v, s, _ := newVault(t)
	id := recorded(t, v, "one")
	for n := uint64(2); n < 5; n++ {
		if got, err := v.PutPointState(t.Context(), id, repo.PointRecord{Generation: n, ARN: "two"}); err != nil || got != n {
			t.Fatalf("PutPointState = %d, %v, want %d", got, err, n)
		}
		if got, err := v.PutVaultState(t.Context(), repo.VaultRecord{Generation: n, Name: "home"}); err != nil || got != n {
			t.Fatalf("PutVaultState = %d, %v, want %d", got, err, n)
		}
	}
	all := names(t, s)
	if want := []blob.Name{blob.Name("p/" + string(id) + "-4")}; !slices.Equal(all["p"], want) {
		t.Errorf("states = %v, want %v", all["p"], want)
	}
	if want := []blob.Name{"v/4"}; !slices.Equal(all["v"], want) {
		t.Errorf("states of the vault = %v, want %v", all["v"], want)
	}
	again, err := v.PutPointState(t.Context(), id, repo.PointRecord{Generation: 4, ARN: "two"})
	if err != nil || again != 4 {
		t.Errorf("the same state again = %d, %v, want 4", again, err)
	}
	other, err := v.PutPointState(t.Context(), id, repo.PointRecord{Generation: 4, ARN: "three"})
	if err != nil || other != 5 {
		t.Errorf("another state of a generation that is taken = %d, %v, want 5", other, err)
	}
	found, err := v.PointState(t.Context(), id)
	if err != nil || found.State == nil || found.State.ARN != "three" {
		t.Errorf("PointState = %+v, %v, want three", found, err)
	}
}

// Of a damaged newest generation, the one before it counts, and the damage is told. A state of another point, generation or
// vault in its place is damage.
func TestPointState_Damaged(t *testing.T) {
	t.Parallel()
	for name, replace := range map[string]func(t *testing.T, s blob.Store, other repo.PointID, good []byte) []byte{
		"flipped":   func(_ *testing.T, _ blob.Store, _ repo.PointID, good []byte) []byte { return flip(100)(good) },
		"truncated": func(_ *testing.T, _ blob.Store, _ repo.PointID, good []byte) []byte { return good[:len(good)-1] },
		"header":    func(_ *testing.T, _ blob.Store, _ repo.PointID, good []byte) []byte { return good[:20] },
		"empty":     func(*testing.T, blob.Store, repo.PointID, []byte) []byte { return []byte{} },
		"of another point": func(t *testing.T, s blob.Store, other repo.PointID, _ []byte) []byte {
			return raw(t, s, blob.Name("p/"+string(other)+"-1"))
		},
		"of the vault": func(t *testing.T, s blob.Store, _ repo.PointID, _ []byte) []byte { return raw(t, s, "v/1") },
		"of another vault": func(t *testing.T, _ blob.Store, _ repo.PointID, _ []byte) []byte {
			o := small()
			o.UUID = [16]byte{8}
			there := mem.New()
			v := create(t, there, localledger.New(localledger.Options{}), o)
			if _, err := v.PutVaultState(t.Context(), repo.VaultRecord{Generation: 1}); err != nil {
				t.Fatal(err)
			}
			return raw(t, there, "v/1")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, s, _ := newVault(t)
			id, other := recorded(t, v, "one"), recorded(t, v, "other")
			if _, err := v.PutVaultState(t.Context(), repo.VaultRecord{Generation: 1}); err != nil {
				t.Fatal(err)
			}
			first, second := blob.Name("p/"+string(id)+"-1"), blob.Name("p/"+string(id)+"-2")
			b := raw(t, s, first)
			put(t, s, second, replace(t, s, other, slices.Clone(b)))
			found, err := v.PointState(t.Context(), id)
			if err != nil || found.State == nil || found.State.ARN != "one" || found.Highest != 2 {
				t.Fatalf("PointState = %+v, %v, want generation 1 of 2", found, err)
			}
			if len(found.Damage) != 1 || !errors.Is(found.Damage[0], repo.ErrDamaged) || !strings.Contains(found.Damage[0].Error(), string(second)) {
				t.Errorf("damage = %v, want %s", found.Damage, second)
			}
			report, err := v.Check(t.Context(), repo.CheckOptions{Level: repo.CheckTrees})
			if err != nil || len(report.Damages) != 1 || report.Damages[0].Object != string(second) {
				t.Errorf("Check = %+v, %v, want damage of %s", report.Damages, err, second)
			}
			if n, err := v.PutPointState(t.Context(), id, repo.PointRecord{Generation: 2, ARN: "new"}); err != nil || n != 3 {
				t.Errorf("PutPointState over a damaged generation = %d, %v, want 3", n, err)
			}
		})
	}
}

// The same generation of the same point, written anew with an older content, cannot be told from it: generations only grow.
func TestState_IsBoundToItsGeneration(t *testing.T) {
	t.Parallel()
	v, s, _ := newVault(t)
	id := recorded(t, v, "one")
	put(t, s, blob.Name("p/"+string(id)+"-9"), raw(t, s, blob.Name("p/"+string(id)+"-1")))
	found, err := v.PointState(t.Context(), id)
	if err != nil || found.State == nil || found.State.Generation != 1 || len(found.Damage) != 1 {
		t.Errorf("PointState = %+v, %v, want generation 1 and damage of 9", found, err)
	}
}

func TestDeletePoint_RemovesItsStates(t *testing.T) {
	t.Parallel()
	v, s, l := newVault(t)
	id := recorded(t, v, "one")
	if _, err := v.PutPointState(t.Context(), id, repo.PointRecord{Generation: 2}); err != nil {
		t.Fatal(err)
	}
	if err := remove(t.Context(), v, l, id); err != nil {
		t.Fatal(err)
	}
	if all := names(t, s); len(all["p"]) > 0 {
		t.Errorf("states = %v, want none", all["p"])
	}
}

// A state that is written while its point is deleted is swept. That of a parent, which has no manifest, stays.
func TestReclaim_SweepsStatesWithoutManifest(t *testing.T) {
	t.Parallel()
	v, s, _ := newVault(t)
	orphan, parent := repo.PointID(strings.Repeat("1", 32)), repo.PointID(strings.Repeat("2", 32))
	for id, r := range map[repo.PointID]repo.PointRecord{orphan: {Generation: 1}, parent: {Generation: 1, Parent: true}} {
		if _, err := v.PutPointState(t.Context(), id, r); err != nil {
			t.Fatal(err)
		}
	}
	put(t, s, blob.Name("p/"+strings.Repeat("3", 32)+"-1"), []byte("nobody knows"))
	put(t, s, "p/stranger", []byte("not ours"))
	if _, err := v.Reclaim(t.Context(), repo.ReclaimOptions{}); err != nil {
		t.Fatal(err)
	}
	want := []blob.Name{blob.Name("p/" + string(parent) + "-1"), blob.Name("p/" + strings.Repeat("3", 32) + "-1"), "p/stranger"}
	if got := names(t, s)["p"]; !slices.Equal(got, want) {
		t.Errorf("states = %v, want %v", got, want)
	}
}

func TestOpen_TakesTheGenerationBeforeADamagedOne(t *testing.T) {
	t.Parallel()
	for _, name := range []blob.Name{"format", "format.2"} {
		for what, change := range map[string]func([]byte) []byte{"MAC": flip(-1), "flip": flip(30), "cut": cut, "missing": vanish} {
			v, s, l := newVault(t)
			id := recorded(t, v, "one")
			v.Close()
			overwrite(t, s, name, change)
			again, err := repo.Open(t.Context(), s, l, testKey, repo.Options{})
			if err != nil {
				t.Errorf("Open with a damaged %s = %v", name, err)
				continue
			}
			if err := verify(t.Context(), again, id, files{"f": []byte("one")}); err != nil {
				t.Error(err)
			}
			report, err := again.Check(t.Context(), repo.CheckOptions{Level: repo.CheckHeads})
			named := slices.ContainsFunc(report.Damages, func(d repo.Damage) bool { return d.Object == string(name) })
			if err != nil || named == (what == "missing") { // which opening it has healed
				t.Errorf("Check with %s (%s) = %+v, %v", name, what, report.Damages, err)
			}
			again.Close()
		}
	}
}

// Once another ledger has claimed a vault, nothing of the first one changes it any more.
func TestClaim_FencesTheFormerLedger(t *testing.T) {
	t.Parallel()
	v, s, l := newVault(t)
	id := recorded(t, v, "one")
	w, err := v.NewWriter(t.Context(), repo.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort(t.Context())
	if err := capture(t.Context(), w, files{"f": []byte("late")}, nil); err != nil {
		t.Fatal(err)
	}
	other, err := repo.OpenReadOnly(t.Context(), s, testKey, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Claim(t.Context(), [16]byte{1, 2}); err != nil {
		t.Fatal(err)
	}
	before := names(t, s)
	_, state := v.PutPointState(t.Context(), id, repo.PointRecord{Generation: 2})
	_, whole := v.PutVaultState(t.Context(), repo.VaultRecord{Generation: 1})
	_, reclaim := v.Reclaim(t.Context(), repo.ReclaimOptions{})
	_, open := repo.Open(t.Context(), s, l, testKey, repo.Options{})
	_, commit := w.Commit(t.Context(), repo.Facts{})
	for what, err := range map[string]error{"PutPointState": state, "PutVaultState": whole, "Reclaim": reclaim, "Open": open,
		"Commit": commit, "DeletePoint": v.DeletePoint(t.Context(), id), "DropPointState": v.DropPointState(t.Context(), id)} {
		if !errors.Is(err, repo.ErrClaimed) {
			t.Errorf("%s = %v, want ErrClaimed", what, err)
		}
	}
	after := names(t, s)
	for _, kind := range []string{"r", "f", "p", "v", "c", "k"} {
		if !slices.Equal(before[kind], after[kind]) {
			t.Errorf("objects under %s/ changed from %v to %v", kind, before[kind], after[kind])
		}
	}
	if err := verify(t.Context(), v, id, files{"f": []byte("one")}); err != nil {
		t.Errorf("reading: %v", err)
	}
}

func TestSurvey_TellsOfDamagedPoints(t *testing.T) {
	t.Parallel()
	v, s, _ := newVault(t)
	good, bad, stateless := recorded(t, v, "good"), recorded(t, v, "bad"), recorded(t, v, "stateless")
	overwrite(t, s, blob.Name("r/"+string(bad)), func(b []byte) []byte { return make([]byte, len(b)) })
	overwrite(t, s, blob.Name("p/"+string(stateless)+"-1"), vanish)
	for _, name := range names(t, s)["x"][:1] {
		overwrite(t, s, name, vanish)
	}
	put(t, s, "d/not/ours", []byte("x"))
	plain, err := repo.OpenReadOnly(t.Context(), s, testKey, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plain.Inventory(t.Context()); !errors.Is(err, repo.ErrReadOnly) {
		t.Errorf("Inventory without a claim = %v, want ErrReadOnly", err)
	}
	if err := plain.Claim(t.Context(), [16]byte{1}); err != nil {
		t.Fatal(err)
	}
	inventory, err := plain.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(inventory.Foreign, []blob.Name{"d/not/ours"}) {
		t.Errorf("foreign = %v, want d/not/ours", inventory.Foreign)
	}
	var segments int
	for _, o := range inventory.Objects {
		if o.Kind == repo.ObjectSegment {
			segments++
		}
	}
	if have := len(names(t, s)["x"]); segments != have || have != 3 {
		t.Errorf("%d segments are known and %d there, want 3: one was published for the lost one", segments, have)
	}
	found := map[repo.PointID]repo.FoundPoint{}
	err = plain.Survey(t.Context(), func(f repo.FoundPoint) error {
		found[f.ID] = f
		return nil
	})
	if err != nil || len(found) != 3 {
		t.Fatalf("Survey found %v, %v, want 3 points", found, err)
	}
	if f := found[good]; f.Damage != nil || f.State.State.ARN != "good" {
		t.Errorf("good = %+v", f)
	}
	if f := found[bad]; !errors.Is(f.Damage, repo.ErrDamaged) || f.State.State.ARN != "bad" {
		t.Errorf("bad = %+v, want damage and its state", f)
	}
	if f := found[stateless]; f.Damage != nil || f.State.State != nil || f.Stats.Entries != 1 {
		t.Errorf("stateless = %+v, want its manifest", f)
	}
}
