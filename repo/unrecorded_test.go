package repo_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
)

// everything reads all objects of a store.
func everything(t *testing.T, s blob.Store) map[blob.Name]string {
	t.Helper()
	all := map[blob.Name]string{}
	for info, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		all[info.Name] = string(raw(t, s, info.Name))
	}
	return all
}

// TestOlderLedger restores a ledger from before a backup. Nothing that the backup needs is removed, whatever is asked for,
// and what is wrong is said.
func TestOlderLedger(t *testing.T) {
	t.Parallel()
	s := mem.New()
	path := filepath.Join(t.TempDir(), "ledger")
	ledger := func() *localledger.Ledger {
		l, err := localledger.Open(path, localledger.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	l := ledger()
	v := create(t, s, l, small())
	g := newGenerator(77)
	v1 := g.files(40)
	v2 := g.change(v1)
	a := mustBackup(t, v, "", v1, nil)
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b := mustBackup(t, v, a, v2, v1)
	if err := v.Current(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(v.Close(), l.CloseFile(), os.WriteFile(path, old, 0o600)); err != nil {
		t.Fatal(err)
	}
	l = ledger()
	v = reopen(t, s, l)
	name := "r/" + string(b)
	want := "recovery point " + string(b) + " is in the store and not in the database, which is older than the store"
	refuses := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, repo.ErrOutdated) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s = %v, want it to say: %s", what, err, want)
		}
	}
	refuses("Current", v.Current(t.Context()))
	for level := repo.CheckNames; level <= repo.CheckBytes; level++ {
		r := mustCheck(t, v, repo.CheckOptions{Level: level})
		if len(r.Damages) != 1 || r.Damages[0].Object != name {
			t.Fatalf("damages at level %d = %v, want %s", level, r.Damages, name)
		}
		refuses("Check", r.Damages[0].Err)
	}
	mustBackup(t, v, a, g.change(v1), v1) // which does not make it forget
	if err := remove(t.Context(), v, l, a); err != nil {
		t.Fatal(err)
	}
	before := everything(t, s)
	_, err = v.Reclaim(t.Context(), repo.ReclaimOptions{})
	refuses("Reclaim", err)
	_, err = v.Repair(t.Context(), repo.RepairOptions{Check: true, Level: repo.CheckBytes})
	refuses("Repair", err)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(everything(t, s)))); diff != "" {
		t.Errorf("objects changed:\n%s", diff)
	}
	plain, err := repo.OpenReadOnly(t.Context(), s, testKey, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(t.Context(), plain, b, v2); err != nil {
		t.Error(err)
	}
	if err := s.Delete(t.Context(), blob.Name(name)); err != nil { // somebody knows that it is garbage
		t.Fatal(err)
	}
	mustReclaim(t, v)
	if err := sound(t.Context(), v); err != nil {
		t.Error(err)
	}
}

// TestReclaim_BesideManifestsOfNobody: an object that has the name of a manifest and is none of this vault does not make the ledger an
// older one.
func TestReclaim_BesideManifestsOfNobody(t *testing.T) {
	t.Parallel()
	s, l := mem.New(), localledger.New(localledger.Options{})
	v := create(t, s, l, small())
	id := mustBackup(t, v, "", newGenerator(5).files(10), nil)
	stranger := mem.New()
	other := create(t, stranger, localledger.New(localledger.Options{}), small())
	theirs := blob.Name("r/" + string(mustBackup(t, other, "", newGenerator(6).files(10), nil)))
	foreign := map[blob.Name][]byte{
		theirs:                               raw(t, stranger, theirs),
		"r/00000000000000000000000000000001": raw(t, s, blob.Name("r/"+string(id))), // under another name
		"r/00000000000000000000000000000002": []byte("hello"),
	}
	for name, text := range foreign {
		if err := s.Put(t.Context(), name, bytes.NewReader(text), int64(len(text))); err != nil {
			t.Fatal(err)
		}
	}
	if r := mustReclaim(t, v); r.ForeignObjects != int64(len(foreign)) {
		t.Errorf("Reclaim = %+v, want %d foreign objects", r, len(foreign))
	}
	if r := mustCheck(t, v, repo.CheckOptions{}); r.Damages != nil || r.ForeignCount != int64(len(foreign)) {
		t.Errorf("Check = %+v, want %d foreign objects and no damage", r, len(foreign))
	}
}

// TestReclaim_ManifestsThatComeLate puts manifests back whose writer was forgotten, or whose recovery point was removed, as a
// request does that was on its way. They are swept like what such a writer left in time.
func TestReclaim_ManifestsThatComeLate(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(ctx context.Context, v *repo.Vault, l repo.Ledger, w *repo.Writer, p repo.Prepared) error{
		"writer": func(ctx context.Context, _ *repo.Vault, _ repo.Ledger, w *repo.Writer, _ repo.Prepared) error {
			return w.Abort(ctx)
		},
		"recovery point": func(ctx context.Context, v *repo.Vault, l repo.Ledger, w *repo.Writer, p repo.Prepared) error {
			if err := errors.Join(l.Commit(ctx, p), w.Abort(ctx)); err != nil {
				return err
			}
			return remove(ctx, v, l, p.Point)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			s, l := mem.New(), localledger.New(localledger.Options{})
			v := create(t, s, l, small())
			w, p := mustPrepare(t, v)
			late := map[blob.Name][]byte{}
			for _, name := range []blob.Name{blob.Name("r/" + string(p.Point)), blob.Name("f/" + string(p.Point))} {
				late[name] = raw(t, s, name)
			}
			if err := end(ctx, v, l, w, p); err != nil {
				t.Fatal(err)
			}
			mustReclaim(t, v)
			for name, text := range late {
				if err := s.Put(ctx, name, bytes.NewReader(text), int64(len(text))); err != nil {
					t.Fatal(err)
				}
			}
			if r := mustCheck(t, v, repo.CheckOptions{}); r.Damages != nil || r.Foreign != nil {
				t.Errorf("Check = %+v, want nothing", r)
			}
			if err := v.Current(ctx); err != nil {
				t.Errorf("Current = %v", err)
			}
			if r := mustReclaim(t, v); r.ForeignObjects != 0 {
				t.Errorf("Reclaim = %+v, want nothing foreign", r)
			}
			for name := range late {
				if _, err := s.Stat(ctx, name); !errors.Is(err, blob.ErrNotExist) {
					t.Errorf("%s after reclaim: %v", name, err)
				}
			}
		})
	}
}

// TestTakeOver_BesideWhatIsLeft adopts a vault in which a manifest names a pack that was never there, and one that was left over
// when its recovery point was moved to cold storage. Neither makes the new ledger one that is older than the store.
func TestTakeOver_BesideWhatIsLeft(t *testing.T) {
	t.Parallel()
	v, s, _ := newVault(t)
	have := newGenerator(8).files(30)
	id := mustBackup(t, v, "", have, nil)
	before := everything(t, s)
	w, err := prepareCold(t.Context(), v, id)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort(t.Context())
	moved, err := w.Prepare(t.Context(), repo.Facts{Resource: "home"})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := repo.OpenReadOnly(t.Context(), s, testKey, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	found := map[repo.PointID]bool{}
	err = plain.Survey(t.Context(), func(f repo.FoundPoint) error {
		found[f.ID] = f.Moved
		return nil
	})
	if diff := cmp.Diff(map[repo.PointID]bool{id: true, moved.Point: false}, found); err != nil || diff != "" {
		t.Errorf("Survey = %v:\n%s", err, diff)
	}
	for name := range everything(t, s) {
		if _, old := before[name]; !old && (strings.HasPrefix(string(name), "a/") || strings.HasPrefix(string(name), "x/")) {
			if err := s.Delete(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
	}
	again := adopted(t, s)
	if err := again.Current(t.Context()); err != nil {
		t.Errorf("Current = %v", err)
	}
	if err := verify(t.Context(), again, id, have); err != nil {
		t.Error(err)
	}
}
