package repo_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/repo"
)

func mustReclaim(t testing.TB, v *repo.Vault) repo.ReclaimReport {
	t.Helper()
	r, err := v.Reclaim(t.Context(), repo.ReclaimOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestReclaim_EmptiesVaultWithoutPoints(t *testing.T) {
	t.Parallel()
	v, s, l := newVault(t)
	empty := names(t, s)
	g := newGenerator(5)
	have := g.files(300)
	a := mustBackup(t, v, "", have, nil)
	b := mustBackup(t, v, a, g.change(have), have)
	for _, id := range []repo.PointID{a, b} {
		if err := remove(t.Context(), v, l, id); err != nil {
			t.Fatal(err)
		}
	}
	mustReclaim(t, v)
	if diff := cmp.Diff(empty, names(t, s)); diff != "" {
		t.Errorf("objects after everything was deleted (-want +got):\n%s", diff)
	}
	objects, _, err := l.Changes(t.Context(), 0)
	if len(objects) != 0 || err != nil {
		t.Errorf("ledger has %d objects, %v, want none", len(objects), err)
	}
}

func TestReclaim_KeepsWhatPointsNeed(t *testing.T) {
	t.Parallel()
	v, s, l := newVault(t)
	g := newGenerator(6)
	versions := []files{g.files(400)}
	points := []repo.PointID{mustBackup(t, v, "", versions[0], nil)}
	for i := range 8 {
		versions = append(versions, g.change(versions[i]))
		points = append(points, mustBackup(t, v, points[i], versions[i+1], versions[i]))
	}
	for i := range 8 {
		sizes, err := v.PointSizes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		before, err := v.Usage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := remove(t.Context(), v, l, points[i]); err != nil {
			t.Fatal(err)
		}
		report := mustReclaim(t, v)
		after, err := v.Usage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if after.DeadBytes != 0 {
			t.Errorf("dead bytes after reclaim = %d, want 0", after.DeadBytes)
		}
		// A pack that was partly live is written anew and padded anew, by less than an eighth (docs/format.md section 7).
		padding := report.BytesWritten / 8
		if freed := before.PhysicalBytes - after.PhysicalBytes; freed+padding < sizes[points[i]].Unique {
			t.Errorf("freed %d bytes, want at least the unique %d, less %d of padding", freed, sizes[points[i]].Unique, padding)
		}
		for k := i + 1; k < len(points); k++ {
			if err := verify(t.Context(), v, points[k], versions[k]); err != nil {
				t.Fatal(err)
			}
		}
		if err := sound(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	}
	plain, err := repo.OpenReadOnly(t.Context(), s, testKey, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(t.Context(), plain, points[8], versions[8]); err != nil {
		t.Error(err)
	}
}

// TestReclaim_LeavesOneRefset: a refset that is written anew takes the place of the one before it.
func TestReclaim_LeavesOneRefset(t *testing.T) {
	t.Parallel()
	v, s, l := newVault(t)
	second := files{"needed": randomBytes(200_000)}
	first := files{"needed": second["needed"], "dropped": randomBytes(200_000)}
	a := mustBackup(t, v, "", first, nil)
	b := mustBackup(t, v, a, second, first)
	if err := remove(t.Context(), v, l, a); err != nil {
		t.Fatal(err)
	}
	mustReclaim(t, v)
	if got := names(t, s)["f"]; len(got) != 1 || string(got[0]) != "f/"+string(b)+".2" {
		t.Errorf("refsets = %v, want the second generation of %s", got, b)
	}
}
