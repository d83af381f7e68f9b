package repo_test

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/fault"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
	"github.com/lockfast/lockfast/repo/seal"
)

// TestKeys_OneOfTwoIsEnough damages or removes one of the two key objects: the vault opens, a check names what is wrong, and a repair
// leaves two that say the same, also to whoever opens the vault anew.
func TestKeys_OneOfTwoIsEnough(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func([]byte) []byte{
		"version": flip(9), "suite": flip(10), "generation": flip(16), "vault": flip(25), "body": flip(60), "sum": flip(-1),
		"cut": cut, "ruined": ruin, "empty": func([]byte) []byte { return []byte{} },
	} {
		for _, object := range []blob.Name{"k/1-1", "k/1-2"} {
			t.Run(name+" "+string(object[2:]), func(t *testing.T) {
				t.Parallel()
				v, s, l := newVault(t)
				have := files{"a": []byte("content")}
				id := mustBackup(t, v, "", have, nil)
				v.Close()
				overwrite(t, s, object, change)
				v = open(t, s, l)
				if err := verify(t.Context(), v, id, have); err != nil {
					t.Fatal(err)
				}
				mustBackup(t, v, "", have, nil)
				if got := objects(mustCheck(t, v, repo.CheckOptions{Level: repo.CheckHeads})); !cmp.Equal(got, []string{string(object)}) {
					t.Errorf("Check names %v, want %s", got, object)
				}
				if r := mustRepair(t, v, repo.RepairOptions{}); r.States != 1 || len(r.Lost) > 0 {
					t.Errorf("Repair = %+v, want one object written anew", r)
				}
				twins(t, s)
				if err := sound(t.Context(), v); err != nil {
					t.Error(err)
				}
				if d := open(t, s, l).OpeningDamage(); len(d) > 0 {
					t.Errorf("damage of the repaired vault = %v, want none", d)
				}
			})
		}
	}
}

// twins demands that there are two key objects that say the same.
func twins(t *testing.T, s blob.Store) {
	t.Helper()
	var all []seal.KeyRecord
	for _, name := range keyNames(t, s) {
		r, err := seal.DecodeKeyRecord(string(name), raw(t, s, name))
		if err != nil || r.Name() != string(name) {
			t.Errorf("%s says %s, %v", name, r.Name(), err)
		}
		r.Generation = 0
		all = append(all, r)
	}
	if len(all) != 2 || !cmp.Equal(all[0], all[1]) {
		t.Errorf("key objects = %v, want two that say the same", keyNames(t, s))
	}
}

// TestKeys_BothDamagedWhileOpen: who has the vault open still knows what they said.
func TestKeys_BothDamagedWhileOpen(t *testing.T) {
	t.Parallel()
	v, s, l := newVault(t)
	overwrite(t, s, "k/1-1", ruin)
	overwrite(t, s, "k/1-2", flip(60))
	if r := mustRepair(t, v, repo.RepairOptions{}); r.States != 2 || len(r.Lost) > 0 {
		t.Errorf("Repair = %+v, want both written anew", r)
	}
	twins(t, s)
	open(t, s, l)
}

// TestKeys_OfAnotherCreationAreNotTaken: what a creation that was cut has left is sound and of other keys.
func TestKeys_OfAnotherCreationAreNotTaken(t *testing.T) {
	t.Parallel()
	s, l := mem.New(), localledger.New(localledger.Options{})
	if _, err := repo.Create(t.Context(), &limitedStore{Store: s, left: 1}, l, testKey, small()); !errors.Is(err, errLimit) {
		t.Fatalf("Create cut after a key object = %v", err)
	}
	v := create(t, s, l, small())
	overwrite(t, s, "k/1-2", ruin)
	overwrite(t, s, "k/1-3", ruin)
	if r := mustRepair(t, v, repo.RepairOptions{}); r.States != 2 || len(r.Lost) > 0 {
		t.Errorf("Repair = %+v, want both written anew", r)
	}
	open(t, s, l)
}

// TestKeys_WrappedByAnOlderKeyStayAway: what opened a vault is not written again after its keys were wrapped anew.
func TestKeys_WrappedByAnOlderKeyStayAway(t *testing.T) {
	t.Parallel()
	s, l, _ := linkedVault(t)
	v, err := repo.Open(t.Context(), s, l, both, small().Options)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if _, err := repo.Rewrap(t.Context(), s, rewrapTo(newer, nil)); err != nil {
		t.Fatal(err)
	}
	overwrite(t, s, "k/1-3", ruin)
	overwrite(t, s, "k/1-4", ruin)
	if r := mustRepair(t, v, repo.RepairOptions{}); r.States != 0 || len(r.Lost) != 2 {
		t.Errorf("Repair = %+v, want both lost", r)
	}
	if diff := cmp.Diff([]blob.Name{"k/1-3", "k/1-4"}, keyNames(t, s)); diff != "" {
		t.Error(diff)
	}
}

// TestKeys_OfAShreddedVaultStayAway: an open vault does not bring keys back that were destroyed, or wrapped anew.
func TestKeys_OfAShreddedVaultStayAway(t *testing.T) {
	t.Parallel()
	v, s, _ := newVault(t)
	if err := repo.Shred(t.Context(), s, nil); err != nil {
		t.Fatal(err)
	}
	r := mustRepair(t, v, repo.RepairOptions{})
	if len(r.Lost) != 1 || r.States != 0 {
		t.Errorf("Repair = %+v, want the keys lost", r)
	}
	if names := keyNames(t, s); len(names) > 0 {
		t.Errorf("key objects = %v, want none", names)
	}
}

// TestKeys_AreFewerInAnOlderVault: a vault of an earlier version has one key object. Opened for writing it gets another one,
// opened for reading it stays as it is; where that cannot be written it opens all the same.
func TestKeys_AreFewerInAnOlderVault(t *testing.T) {
	t.Parallel()
	v, s, l := newVault(t)
	v.Close()
	overwrite(t, s, "k/1-2", vanish)
	alone := []blob.Name{"k/1-1"}
	r, err := repo.OpenReadOnly(t.Context(), s, testKey, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got := objects(mustCheck(t, r, repo.CheckOptions{Level: repo.CheckHeads})); got != nil {
		t.Errorf("Check of a vault opened for reading = %v, want nothing", got)
	}
	bare, err := repo.OpenBare(t.Context(), s, testKey, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer bare.Close()
	full := fault.New(s, fault.Rule{Op: fault.Put, Name: "k/*"})
	v = open(t, full, l)
	if diff := cmp.Diff(alone, keyNames(t, s)); diff != "" {
		t.Error(diff)
	}
	if got := objects(mustCheck(t, v, repo.CheckOptions{})); !cmp.Equal(got, []string{"k/1-2"}) {
		t.Errorf("Check of a vault whose second key object could not be written = %v, want it", got)
	}
	open(t, s, l)
	twins(t, s)
}

// TestRepair_OfAMissingKeyObject: one of the two goes while the vault is open.
func TestRepair_OfAMissingKeyObject(t *testing.T) {
	t.Parallel()
	for _, gone := range []blob.Name{"k/1-1", "k/1-2"} {
		v, s, _ := newVault(t)
		overwrite(t, s, gone, vanish)
		if got := objects(mustCheck(t, v, repo.CheckOptions{})); !cmp.Equal(got, []string{string(gone)}) {
			t.Errorf("Check = %v, want %s", got, gone)
		}
		if r := mustRepair(t, v, repo.RepairOptions{}); r.States != 1 || len(r.Lost) > 0 {
			t.Errorf("Repair = %+v, want one object written", r)
		}
		twins(t, s)
	}
}

// TestRepair_OfKeysCutAnywhere cuts the repair of a key object after each change.
func TestRepair_OfKeysCutAnywhere(t *testing.T) {
	t.Parallel()
	for steps := 0; ; steps++ {
		v, s, l := newVault(t)
		v.Close()
		overwrite(t, s, "k/1-2", ruin)
		v = open(t, &limitedStore{Store: s, left: steps}, l)
		_, err := v.Repair(t.Context(), repo.RepairOptions{Check: true, Level: repo.CheckHeads})
		v.Close()
		if err := l.FenceAll(); err != nil {
			t.Fatal(err)
		}
		again := open(t, s, l)
		mustRepair(t, again, repo.RepairOptions{})
		twins(t, s)
		if err == nil {
			if steps < 2 {
				t.Errorf("a repair took %d steps", steps)
			}
			return
		}
	}
}

// TestCreate_CutBetweenTheKeysIsBegunAgain: what a creation that was cut has left is not taken for the keys of the vault.
func TestCreate_CutBetweenTheKeysIsBegunAgain(t *testing.T) {
	t.Parallel()
	start, _, _ := linkedVault(t)
	if names := keyNames(t, start); len(names) != 2 {
		t.Fatalf("key objects of a new vault = %v, want two", names)
	}
	for cutAt := range 3 {
		s, l := mem.New(), localledger.New(localledger.Options{})
		limited := &limitedStore{Store: s, left: cutAt}
		if _, err := repo.Create(t.Context(), limited, l, testKey, small()); !errors.Is(err, errLimit) {
			t.Fatalf("Create cut after %d changes = %v", cutAt, err)
		}
		v, err := repo.Create(t.Context(), s, l, testKey, small())
		if err != nil {
			t.Fatalf("Create after one that was cut after %d changes = %v", cutAt, err)
		}
		have := files{"a": []byte("content")}
		id := mustBackup(t, v, "", have, nil)
		v.Close()
		all := keyNames(t, s)
		overwrite(t, s, all[len(all)-1], ruin)
		if err := verify(t.Context(), open(t, s, l), id, have); err != nil {
			t.Error(err)
		}
	}
}

// beforePut does something before an object is put.
type beforePut struct {
	blob.Store
	name blob.Name
	do   func() error
}

func (s beforePut) Put(ctx context.Context, name blob.Name, r io.Reader, size int64) error {
	if name == s.name {
		if err := s.do(); err != nil {
			return err
		}
	}
	return s.Store.Put(ctx, name, r, size)
}

// TestKeys_AreNotBroughtBack: keys that are destroyed at the very moment in which a vault is opened stay destroyed.
func TestKeys_AreNotBroughtBack(t *testing.T) {
	t.Parallel()
	v, s, l := newVault(t)
	v.Close()
	overwrite(t, s, "k/1-2", vanish)
	open(t, beforePut{s, "k/1-2", func() error { return repo.Shred(t.Context(), s, nil) }}, l)
	if names := keyNames(t, s); len(names) > 0 {
		t.Errorf("key objects = %v, want none", names)
	}
}
