package reader_test

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/fs"
	"github.com/lockfast/lockfast/internal/keys"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/resource"
	"github.com/lockfast/lockfast/resource/directory"
	"github.com/lockfast/lockfast/resource/resourcetest"
)

const golden = "../../repo/testdata/golden"

// goldens returns copies of the golden vaults, because a checkout has other modes than a store and its key.
func goldens(t *testing.T) []string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(golden)); err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(dir, "v*"))
	if err != nil || len(found) < len(makers) {
		t.Fatalf("%d golden vaults, %v, want %d: -update makes those that are missing", len(found), err, len(makers))
	}
	for _, vault := range found {
		if err := os.Chmod(filepath.Join(vault, "test-root.key"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return found
}

func rootKey(t *testing.T, path string) *keys.Root {
	t.Helper()
	root, err := keys.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// only returns the one vault in a store.
func only(t *testing.T, store string) blob.Store {
	t.Helper()
	vaults, err := filepath.Glob(filepath.Join(store, "*-*-*-*-*"))
	if err != nil || len(vaults) != 1 {
		t.Fatalf("vaults in %s: %v, %v, want one", store, vaults, err)
	}
	s, err := fs.Open(store, fs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return blob.Prefix(s, filepath.Base(vaults[0]))
}

func driver() *directory.Driver {
	return directory.New(directory.Options{Now: func() time.Time { return time.Now().Add(time.Hour) }})
}

func TestGoldenVault_StaysReadable(t *testing.T) {
	t.Parallel()
	for _, vault := range goldens(t) {
		t.Run(filepath.Base(vault), func(t *testing.T) {
			t.Parallel()
			s, key := only(t, filepath.Join(vault, "store")), rootKey(t, filepath.Join(vault, "test-root.key"))
			v, err := repo.OpenReadOnly(t.Context(), s, key, repo.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			targets := t.TempDir()
			want := load(t, vault, targets)
			comparePoints(t, v, want)
			for id := range want {
				target := filepath.Join(targets, string(id))
				resourcetest.Restore(t, v, driver(), id, resource.Restore{Into: target})
				if d := cmp.Diff(want[id], list(t, target)); d != "" {
					t.Errorf("recovery point %s restored (-want +got):\n%s", id, d)
				}
			}
			checkSound(t, v)
		})
	}
}

func comparePoints(t *testing.T, v *repo.Vault, want listing) {
	t.Helper()
	ids, err := v.PointIDs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(slices.Sorted(maps.Keys(want)), ids); d != "" {
		t.Errorf("recovery points (-want +got):\n%s", d)
	}
}

func checkSound(t *testing.T, v *repo.Vault) {
	t.Helper()
	report, err := v.Check(context.WithoutCancel(t.Context()), repo.CheckOptions{Level: repo.CheckBytes})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range report.Damages {
		t.Errorf("damaged: %s: %v", d.Object, d.Err)
	}
}
