package repo_test

import (
	"testing"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
)

// stated makes a vault with a state of its own and of a recovery point, in two generations each if older is set.
func stated(t *testing.T, older bool) (*repo.Vault, blob.Store, *localledger.Ledger, repo.PointID) {
	t.Helper()
	v, s, l := newVault(t)
	id := recorded(t, v, "one")
	if _, err := v.PutVaultState(t.Context(), repo.VaultRecord{Generation: 1, Name: "home"}); err != nil {
		t.Fatal(err)
	}
	if !older {
		return v, s, l, id
	}
	first, firstOfVault := raw(t, s, pointState(id, "-1")), raw(t, s, "v/1")
	if _, err := v.PutPointState(t.Context(), id, repo.PointRecord{Generation: 2, ARN: "one"}); err != nil {
		t.Fatal(err)
	}
	if _, err := v.PutVaultState(t.Context(), repo.VaultRecord{Generation: 2, Name: "home"}); err != nil {
		t.Fatal(err)
	}
	put(t, s, pointState(id, "-1"), first) // their removal was cut
	put(t, s, "v/1", firstOfVault)
	return v, s, l, id
}

func pointState(id repo.PointID, suffix string) blob.Name {
	return blob.Name("p/" + string(id) + suffix)
}

// says demands what the states of a stated vault say.
func says(t *testing.T, v *repo.Vault, id repo.PointID) {
	t.Helper()
	if p, err := v.PointState(t.Context(), id); err != nil || p.State == nil || p.State.ARN != "one" || len(p.Damage) > 0 {
		t.Errorf("PointState = %+v, %v, want one", p, err)
	}
	if s, err := v.VaultState(t.Context()); err != nil || s.State == nil || s.State.Name != "home" || len(s.Damage) > 0 {
		t.Errorf("VaultState = %+v, %v, want home", s, err)
	}
}

// TestRepair_OfSmallObjects damages states so little that parity restores them, or so much that the generation before them
// counts, and either format object: a repair leaves a sound vault that says the same, to whoever holds it open too.
func TestRepair_OfSmallObjects(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		suffix string // of the name of the point's state; empty for another object
		object blob.Name
		change func([]byte) []byte
		older  bool
	}{
		"state by parity":              {"-1", "", flip(120), false},
		"state of the vault by parity": {"", "v/1", flip(120), false},
		"state, older":                 {"-2", "", ruin, true},
		"state of the vault, older":    {"", "v/2", cut, true},
		"format":                       {"", "format", flip(30), false},
		"second format":                {"", "format.2", ruin, false},
		"MAC of the second format":     {"", "format.2", flip(-1), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, s, l, id := stated(t, c.older)
			v.Close()
			object := c.object
			if object == "" {
				object = pointState(id, c.suffix)
			}
			overwrite(t, s, object, c.change)
			v = open(t, s, l)
			r := mustRepair(t, v, repo.RepairOptions{})
			if r.Damaged != 1 || r.States != 1 || len(r.Lost) > 0 {
				t.Errorf("Repair = %+v, want one state or format replaced", r)
			}
			if _, err := s.Stat(t.Context(), object); err == nil {
				t.Errorf("%s is still there", object)
			}
			if err := sound(t.Context(), v); err != nil {
				t.Error(err)
			}
			again := open(t, s, l)
			says(t, again, id)
			if d := again.OpeningDamage(); len(d) > 0 {
				t.Errorf("damage of the repaired vault = %v, want none", d)
			}
			if len(names(t, s)["format"])+len(names(t, s)["format.2"])+len(names(t, s)["format.3"]) != 2 {
				t.Errorf("objects = %v, want two formats", names(t, s))
			}
		})
	}
}

// TestRepair_OfALostState: of a state that nothing can restore, the repair says so.
func TestRepair_OfALostState(t *testing.T) {
	t.Parallel()
	v, s, _, id := stated(t, false)
	overwrite(t, s, pointState(id, "-1"), ruin)
	r := mustRepair(t, v, repo.RepairOptions{})
	if r.States != 0 || len(r.Lost) != 1 || r.Lost[0].Object != string(pointState(id, "-1")) {
		t.Errorf("Repair = %+v, want the state lost", r)
	}
}

// TestRepair_OfSmallObjectsCutAnywhere cuts the repair after every write and removal: what the states say can always be read,
// and the next repair finishes it.
func TestRepair_OfSmallObjectsCutAnywhere(t *testing.T) {
	t.Parallel()
	for steps := 0; ; steps++ {
		v, s, l, id := stated(t, false)
		v.Close()
		for _, object := range []blob.Name{pointState(id, "-1"), "v/1", "format.2"} {
			overwrite(t, s, object, flip(120))
		}
		v = open(t, &limitedStore{Store: s, left: steps}, l)
		_, err := v.Repair(t.Context(), repo.RepairOptions{Check: true, Level: repo.CheckBytes})
		v.Close()
		if err := l.FenceAll(); err != nil {
			t.Fatal(err)
		}
		again := open(t, s, l)
		says(t, again, id)
		mustRepair(t, again, repo.RepairOptions{})
		if serr := sound(t.Context(), again); serr != nil {
			t.Fatalf("after %d steps and a second repair: %v", steps, serr)
		}
		says(t, again, id)
		if err == nil {
			if steps < 6 {
				t.Errorf("a repair of three objects took %d steps", steps)
			}
			return
		}
	}
}

// TestRepair_OfACopyMap: a copy map is no foreign object, and one that is damaged is found and goes.
func TestRepair_OfACopyMap(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func([]byte) []byte{"flipped": flip(120), "cut": cut, "ruined": ruin} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from, _, _ := newVault(t)
			s := mem.New()
			to := create(t, s, localledger.New(localledger.Options{}), foreign())
			have := newGenerator(5).files(20)
			source := mustBackup(t, from, "", have, nil)
			mustCross(t, from, to, source)
			r, err := to.Check(t.Context(), repo.CheckOptions{Level: repo.CheckTrees})
			if err != nil || len(r.Damages) > 0 || r.ForeignCount > 0 {
				t.Fatalf("Check = %+v, %v, want a sound vault without foreign objects", r, err)
			}
			object := names(t, s)["t"][0]
			overwrite(t, s, object, change)
			r, err = to.Check(t.Context(), repo.CheckOptions{Level: repo.CheckTrees})
			if err != nil || len(r.Damages) != 1 || r.Damages[0].Object != string(object) {
				t.Errorf("Check = %+v, %v, want damage of %s", r.Damages, err, object)
			}
			if r := mustRepair(t, to, repo.RepairOptions{}); r.States != 1 || len(r.Lost) > 0 {
				t.Errorf("Repair = %+v, want the map removed", r)
			}
			if err := sound(t.Context(), to); err != nil {
				t.Error(err)
			}
			made, _ := mustCross(t, from, to, source)
			if err := verify(t.Context(), to, made, have); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestRepair_OfMissingSmallObjects removes the first format object, both, or the claim, of a vault that is open: a check names what
// is missing, and the repair leaves a pair and a claim.
func TestRepair_OfMissingSmallObjects(t *testing.T) {
	t.Parallel()
	for name, gone := range map[string][]blob.Name{
		"format": {"format"}, "both formats": {"format", "format.2"}, "claim": {"c/1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, s, l, id := stated(t, false)
			for _, object := range gone {
				overwrite(t, s, object, vanish)
			}
			found, err := v.Check(t.Context(), repo.CheckOptions{Level: repo.CheckHeads})
			if err != nil || len(found.Damages) != 1 || found.Damages[0].Object != string(gone[0]) {
				t.Fatalf("Check = %+v, %v, want %s missing", found.Damages, err, gone[0])
			}
			r, err := v.Repair(t.Context(), repo.RepairOptions{})
			if err != nil || r.States != 1 || len(r.Lost) > 0 {
				t.Errorf("Repair = %+v, %v, want one object written", r, err)
			}
			found, err = v.Check(t.Context(), repo.CheckOptions{Level: repo.CheckHeads})
			if err != nil || len(found.Damages) > 0 {
				t.Errorf("Check after the repair = %+v, %v, want nothing", found.Damages, err)
			}
			all := names(t, s)
			if n := len(all["format"]) + len(all["format.2"]) + len(all["format.3"]); n != 2 || len(all["c"]) != 1 {
				t.Errorf("objects = %v, want two formats and a claim", all)
			}
			says(t, open(t, s, l), id)
		})
	}
}
