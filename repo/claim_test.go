package repo_test

import (
	order "cmp"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
)

// TestClaim_OwnThatIsDamaged: the database that made the newest claim works on when it is damaged, and a repair claims the vault
// anew for it; who has the vault open goes on.
func TestClaim_OwnThatIsDamaged(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func([]byte) []byte{
		"suite": flip(10), "ruined": ruin, "cut": func(b []byte) []byte { return b[:40] }, "empty": func([]byte) []byte { return []byte{} },
		"one bit, which parity restores": flip(120),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			node, s, l := newVault(t)
			overwrite(t, s, "c/1", change)
			v := open(t, s, l)
			have := files{"a": []byte("content")}
			id := mustBackup(t, v, "", have, nil)
			if got := objects(mustCheck(t, v, repo.CheckOptions{})); !cmp.Equal(got, []string{"c/1"}) {
				t.Errorf("Check names %v, want c/1", got)
			}
			if got := names(t, s)["c"]; !cmp.Equal(got, []blob.Name{"c/1"}) {
				t.Errorf("claims before the repair = %v, want the damaged one", got)
			}
			if r := mustRepair(t, v, repo.RepairOptions{}); r.States != 1 || len(r.Lost) > 0 {
				t.Errorf("Repair = %+v, want one claim", r)
			}
			if got := names(t, s)["c"]; !cmp.Equal(got, []blob.Name{"c/2"}) {
				t.Errorf("claims after the repair = %v, want c/2", got)
			}
			for _, v := range []*repo.Vault{node, v, open(t, s, l)} {
				if err := verify(t.Context(), v, id, have); err != nil {
					t.Error(err)
				}
				mustBackup(t, v, "", have, nil)
				if err := sound(t.Context(), v); err != nil {
					t.Error(err)
				}
			}
			overwrite(t, s, "c/2", ruin) // whose number was noted, too
			open(t, s, l)
		})
	}
}

// TestClaim_DamagedOneOfAnother: a damaged claim that the database did not make is not its own, with the same number or a higher one.
func TestClaim_DamagedOneOfAnother(t *testing.T) {
	t.Parallel()
	_, s, l := newVault(t)
	overwrite(t, s, "c/1", ruin)
	if _, err := repo.Open(t.Context(), s, localledger.New(localledger.Options{}), testKey, repo.Options{}); !errors.Is(err, repo.ErrDamaged) {
		t.Errorf("Open with another ledger = %v, want ErrDamaged", err)
	}
	v := open(t, s, l)
	other := localledger.New(localledger.Options{})
	if err := takeOver(t.Context(), s, other); err != nil {
		t.Fatal(err)
	}
	newest := newestClaim(t, s)
	for _, change := range []func([]byte) []byte{func(b []byte) []byte { return b }, flip(120), ruin} {
		overwrite(t, s, newest, change)
		if err := v.Changeable(t.Context()); !errors.Is(err, repo.ErrClaimed) {
			t.Errorf("Changeable after another took over = %v, want ErrClaimed", err)
		}
		if _, err := v.Repair(t.Context(), repo.RepairOptions{Check: true}); !errors.Is(err, repo.ErrClaimed) {
			t.Errorf("Repair after another took over = %v, want ErrClaimed", err)
		}
		if v, err := repo.Open(t.Context(), s, l, testKey, repo.Options{}); err == nil {
			v.Close()
			t.Error("Open after another took over succeeded")
		}
	}
	if got := names(t, s)["c"]; !cmp.Equal(got, []blob.Name{"c/1", newest, "c/2"}) {
		t.Errorf("claims = %v, want no further one", got)
	}
	if n, err := l.Claimed(t.Context()); err != nil || n != 1 {
		t.Errorf("Claimed = %d, %v, want 1", n, err)
	}
}

// TestClaim_TakenOverDuringTheRepair: another database claims the number that the repair was about to take.
func TestClaim_TakenOverDuringTheRepair(t *testing.T) {
	t.Parallel()
	_, s, l := newVault(t)
	overwrite(t, s, "c/1", ruin)
	other := localledger.New(localledger.Options{})
	v := open(t, beforePut{s, "c/2", func() error { return takeOver(t.Context(), s, other) }}, l)
	if _, err := v.Repair(t.Context(), repo.RepairOptions{Check: true}); !errors.Is(err, repo.ErrClaimed) {
		t.Errorf("Repair = %v, want ErrClaimed", err)
	}
	if got := names(t, s)["c"]; !cmp.Equal(got, []blob.Name{"c/1", newestClaim(t, s), "c/2"}) {
		t.Errorf("claims = %v, want those of the other one kept", got)
	}
	open(t, s, other)
}

// TestClaim_TakenOverAfterTheNewestWasLost: who takes a vault over fences the former database although nothing shows the number of its claim.
func TestClaim_TakenOverAfterTheNewestWasLost(t *testing.T) {
	t.Parallel()
	v, s, _ := newVault(t)
	for range 2 { // the only claim is c/3 then
		overwrite(t, s, newestClaim(t, s), ruin)
		mustRepair(t, v, repo.RepairOptions{})
	}
	if got := newestClaim(t, s); got != "c/3" {
		t.Fatalf("newest claim = %s, want c/3", got)
	}
	for range 3 {
		overwrite(t, s, newestClaim(t, s), vanish)
		l := localledger.New(localledger.Options{})
		if err := takeOver(t.Context(), s, l); err != nil {
			t.Fatal(err)
		}
		if err := v.Changeable(t.Context()); !errors.Is(err, repo.ErrClaimed) {
			t.Fatalf("Changeable after another took over = %v, want ErrClaimed; claims are %v", err, names(t, s)["c"])
		}
		v = open(t, s, l)
	}
	put(t, s, "c/9000000000000000000", nil) // the clock was ahead
	if err := takeOver(t.Context(), s, localledger.New(localledger.Options{})); err != nil {
		t.Fatal(err)
	}
	if got := newestClaim(t, s); got != "c/9000000000000000002" {
		t.Errorf("newest claim = %s, want the second one after the highest", got)
	}
}

// TestClaim_TakenOverBesideStaleLists: lists do not show what others claimed after them.
func TestClaim_TakenOverBesideStaleLists(t *testing.T) {
	t.Parallel()
	_, s, l := newVault(t)
	stale := hiding{s, map[blob.Name]bool{}}
	for range 2 {
		v := open(t, stale, l)
		l = localledger.New(localledger.Options{})
		if err := takeOver(t.Context(), s, l); err != nil {
			t.Fatal(err)
		}
		for _, name := range names(t, s)["c"][1:] {
			stale.hidden[name] = true
		}
		if err := v.Changeable(t.Context()); !errors.Is(err, repo.ErrClaimed) {
			t.Errorf("Changeable after another took over = %v, want ErrClaimed", err)
		}
		clear(stale.hidden)
	}
}

// TestCheckClaim tells whose a vault is of which nothing but format, keys and claim is sound, and changes nothing.
func TestCheckClaim(t *testing.T) {
	t.Parallel()
	v, s, l := newVault(t)
	mustBackup(t, v, "", files{"a": []byte("content")}, nil)
	v.Close()
	other := localledger.New(localledger.Options{})
	if err := takeOver(t.Context(), s, other); err != nil {
		t.Fatal(err)
	}
	for kind, all := range names(t, s) {
		for _, name := range all {
			if strings.Contains("d m x r f", kind) {
				overwrite(t, s, name, ruin)
			}
		}
	}
	overwrite(t, s, "format.2", vanish)
	before := names(t, s)
	check := func(l repo.Ledger) error { return repo.CheckClaim(t.Context(), s, l, testKey, repo.Options{}) }
	if err := check(other); err != nil {
		t.Errorf("CheckClaim of the owner = %v", err)
	}
	if err := check(l); !errors.Is(err, repo.ErrClaimed) {
		t.Errorf("CheckClaim of the former owner = %v, want ErrClaimed", err)
	}
	for _, name := range before["c"] {
		overwrite(t, s, name, vanish)
	}
	delete(before, "c")
	if err := check(l); err != nil {
		t.Errorf("CheckClaim of a vault that nobody has claimed = %v", err)
	}
	if after := names(t, s); !cmp.Equal(after, before) {
		t.Errorf("objects are %v, want %v", after, before)
	}
}

// newestClaim returns the name of the claim with the highest number.
func newestClaim(t *testing.T, s blob.Store) blob.Name {
	return slices.MaxFunc(names(t, s)["c"], func(a, b blob.Name) int {
		return order.Or(len(a)-len(b), strings.Compare(string(a), string(b)))
	})
}

// TestClaim_RepairCutAnywhere cuts the repair of a claim after each change.
func TestClaim_RepairCutAnywhere(t *testing.T) {
	t.Parallel()
	for steps := 0; ; steps++ {
		v, s, l := newVault(t)
		v.Close()
		overwrite(t, s, "c/1", ruin)
		v = open(t, &limitedStore{Store: s, left: steps}, l)
		_, err := v.Repair(t.Context(), repo.RepairOptions{Check: true})
		v.Close()
		if err := l.FenceAll(); err != nil {
			t.Fatal(err)
		}
		again := open(t, s, l)
		mustRepair(t, again, repo.RepairOptions{})
		if serr := sound(t.Context(), again); serr != nil {
			t.Errorf("after %d steps and a second repair: %v", steps, serr)
		}
		if err == nil {
			if steps < 2 {
				t.Errorf("a repair took %d steps", steps)
			}
			return
		}
	}
}
