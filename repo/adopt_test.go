package repo_test

import (
	"context"
	"errors"
	"testing"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
)

// takeOver makes a vault whose ledger is lost that of l.
func takeOver(ctx context.Context, s blob.Store, l *localledger.Ledger) error {
	plain, err := repo.OpenReadOnly(ctx, s, testKey, repo.Options{})
	if err != nil {
		return err
	}
	return errors.Join(l.TakeOver(ctx, plain), plain.Close())
}

// adopted opens a vault whose ledger is lost, under a new one.
func adopted(t *testing.T, s blob.Store) *repo.Vault {
	t.Helper()
	l := localledger.New(localledger.Options{})
	if err := takeOver(t.Context(), s, l); err != nil {
		t.Fatal(err)
	}
	return open(t, s, l)
}

// TestTakeOver_RepairsWithoutTheLedger repairs a vault of which only the objects are left. The old service can write no
// more, and a reader of the objects alone finds everything afterwards.
func TestTakeOver_RepairsWithoutTheLedger(t *testing.T) {
	t.Parallel()
	v, s, _ := newVault(t)
	have := newGenerator(41).files(60)
	id := mustBackup(t, v, "", have, nil)
	all := names(t, s)
	for _, kind := range []string{"m", "r", "f", "x"} {
		overwrite(t, s, all[kind][0], flip(140))
	}
	again := adopted(t, s)
	r := mustRepair(t, again, repo.RepairOptions{})
	if len(r.Lost) > 0 || r.Packs == 0 || r.Manifests == 0 {
		t.Errorf("Repair = %+v, want everything repaired", r)
	}
	if err := errors.Join(verify(t.Context(), again, id, have), sound(t.Context(), again)); err != nil {
		t.Error(err)
	}
	plain, err := repo.OpenReadOnly(t.Context(), s, testKey, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(verify(t.Context(), plain, id, have), sound(t.Context(), plain)); err != nil {
		t.Error(err)
	}
	if _, err := backup(t.Context(), v, "", have, nil); !errors.Is(err, repo.ErrClaimed) {
		t.Errorf("backup of the service that had the vault before = %v, want ErrClaimed", err)
	}
}

// TestTakeOver_NamesPacksThatAreGone: the index still tells of a pack that is lost, so the damage is found.
func TestTakeOver_NamesPacksThatAreGone(t *testing.T) {
	t.Parallel()
	v, s, _ := newVault(t)
	have := files{"lost": randomBytes(9000), "inline": []byte("x")}
	id := mustBackup(t, v, "", have, nil)
	v.Close()
	overwrite(t, s, names(t, s)["d"][0], vanish)
	again := adopted(t, s)
	r := mustRepair(t, again, repo.RepairOptions{})
	if len(r.Lost) != 1 || len(r.Lost[0].Points) != 1 || r.Lost[0].Points[0] != id || len(r.Lost[0].Paths) != 1 || string(r.Lost[0].Paths[0]) != "lost" {
		t.Errorf("Repair = %+v, want the entry lost of %s", r, id)
	}
}

// TestTakeOver_MakesALostIndexAnew removes segments, whose packs are all there: one of several, or all of them.
func TestTakeOver_MakesALostIndexAnew(t *testing.T) {
	t.Parallel()
	for _, all := range []bool{false, true} {
		v, s, _ := newVault(t)
		have := newGenerator(43).files(60)
		a := mustBackup(t, v, "", have, nil)
		changed := newGenerator(44).change(have)
		b := mustBackup(t, v, a, changed, have)
		v.Close()
		segments := names(t, s)["x"]
		if len(segments) != 2 {
			t.Fatalf("segments = %v, want one for each backup", segments)
		}
		if !all {
			segments = segments[:1]
		}
		for _, name := range segments {
			overwrite(t, s, name, vanish)
		}
		again := adopted(t, s)
		if r := mustRepair(t, again, repo.RepairOptions{}); len(r.Lost) > 0 {
			t.Errorf("Repair = %+v, want nothing lost", r)
		}
		if err := errors.Join(verify(t.Context(), again, a, have), verify(t.Context(), again, b, changed), sound(t.Context(), again)); err != nil {
			t.Error(err)
		}
		if x := names(t, s)["x"]; len(x) == 0 || all && len(x) != 1 {
			t.Errorf("segments after the repair of %d = %v, want them again", len(segments), x)
		}
		again.Close()
		again = adopted(t, s)
		if r := mustRepair(t, again, repo.RepairOptions{}); r.Damaged > 0 {
			t.Errorf("the next Repair = %+v, want nothing to do", r)
		}
	}
}
