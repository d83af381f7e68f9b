package repo_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
)

// manySmall returns files of which several share a bundle, in two versions: of each bundle about half changes.
func manySmall(seed uint64) (first, second files) {
	g := newGenerator(seed)
	first, second = files{}, files{}
	for i := range 400 {
		key := fmt.Sprintf("f%03d", i)
		first[key] = g.data(600 + g.IntN(500))
		second[key] = first[key]
		if g.IntN(2) == 0 {
			second[key] = g.data(600 + g.IntN(500))
		}
	}
	return first, second
}

// halfDead returns a vault in which half of the parts of most bundles are dead.
func halfDead(t *testing.T) (v *repo.Vault, s blob.Store, l *localledger.Ledger, kept repo.PointID, want files) {
	t.Helper()
	v, s, l = newVault(t)
	first, second := manySmall(8)
	a := mustBackup(t, v, "", first, nil)
	kept = mustBackup(t, v, a, second, first)
	if err := remove(t.Context(), v, l, a); err != nil {
		t.Fatal(err)
	}
	return v, s, l, kept, second
}

// holds demands that a recovery point restores and that the vault is sound, also without its ledger.
func holds(t *testing.T, v *repo.Vault, s blob.Store, id repo.PointID, want files) {
	t.Helper()
	err := errors.Join(verify(t.Context(), v, id, want), sound(t.Context(), v))
	plain, oerr := repo.OpenReadOnly(t.Context(), s, testKey, repo.Options{})
	if oerr == nil {
		oerr = verify(t.Context(), plain, id, want)
	}
	if err := errors.Join(err, oerr); err != nil {
		t.Fatal(err)
	}
}

func TestReclaim_FreesPartsOfBundles(t *testing.T) {
	t.Parallel()
	v, s, _, kept, want := halfDead(t)
	before, err := v.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if exact(t.Context(), v) == nil {
		t.Fatal("nothing is dead")
	}
	r := mustReclaim(t, v)
	if err := exact(t.Context(), v); err != nil || r.BundlesSplit == 0 {
		t.Errorf("after reclaim, which split %d bundles: %v", r.BundlesSplit, err)
	}
	after, err := v.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if after.PhysicalBytes > before.PhysicalBytes*4/5 {
		t.Errorf("the vault takes %d bytes after reclaim, and %d before", after.PhysicalBytes, before.PhysicalBytes)
	}
	holds(t, v, s, kept, want)
	if r := mustReclaim(t, v); r.PacksRemoved+r.PacksWritten+r.BundlesSplit != 0 {
		t.Errorf("a second reclaim finds work: %+v", r)
	}
}

func TestReclaim_LeavesBundlesWholeAboveZero(t *testing.T) {
	t.Parallel()
	v, s, _, kept, want := halfDead(t)
	r, err := v.Reclaim(t.Context(), repo.ReclaimOptions{Threshold: 1e-9})
	if err != nil {
		t.Fatal(err)
	}
	if r.BundlesSplit != 0 || exact(t.Context(), v) == nil {
		t.Errorf("reclaim above zero split %d bundles, and left no dead parts", r.BundlesSplit)
	}
	holds(t, v, s, kept, want)
}

// A session may come to need what only its pins keep, so nothing of that is left out.
func TestReclaim_KeepsPartsThatSessionsPin(t *testing.T) {
	t.Parallel()
	first, second := manySmall(9)
	third := files{}
	for key, data := range first {
		third[key+"x"] = data // is found again, under another key
	}
	for _, tt := range []struct {
		name string
		pin  func(ctx context.Context, v *repo.Vault, a repo.PointID) (end func(ctx context.Context) error, err error)
	}{
		{"reader", func(ctx context.Context, v *repo.Vault, a repo.PointID) (func(context.Context) error, error) {
			p, err := v.OpenPoint(ctx, a)
			return func(ctx context.Context) error {
				got, err := fetch(ctx, p)
				if err == nil {
					err = first.equal(got)
				}
				return errors.Join(err, p.Close())
			}, err
		}},
		{"writer with the parent", func(ctx context.Context, v *repo.Vault, a repo.PointID) (func(context.Context) error, error) {
			w, err := v.NewWriter(ctx, repo.WriterOptions{Parent: a})
			return func(ctx context.Context) error { return commit(ctx, v, w, first, first) }, err
		}},
		{"writer that found contents", func(ctx context.Context, v *repo.Vault, _ repo.PointID) (func(context.Context) error, error) {
			w, err := v.NewWriter(ctx, repo.WriterOptions{})
			if err == nil {
				err = capture(ctx, w, third, nil)
			}
			return func(ctx context.Context) error { return commit(ctx, v, w, third, nil) }, err
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v, s, l := newVault(t)
			a := mustBackup(t, v, "", first, nil)
			b := mustBackup(t, v, a, second, first)
			end, err := tt.pin(t.Context(), v, a)
			if err == nil {
				err = remove(t.Context(), v, l, a)
			}
			if err != nil {
				t.Fatal(err)
			}
			mustReclaim(t, v)
			holds(t, v, s, b, second)
			if err := end(t.Context()); err != nil {
				t.Fatal(err)
			}
			mustReclaim(t, v)
			if err := exact(t.Context(), v); err != nil {
				t.Error(err)
			}
			holds(t, v, s, b, second)
		})
	}
}

// A writer may rely on any part of a slot that its parent names, so these stay whole although the parent is not deleted.
func TestReclaim_SplitsNoBundleOfAParent(t *testing.T) {
	t.Parallel()
	v, s, _, kept, want := halfDead(t)
	w, err := v.NewWriter(t.Context(), repo.WriterOptions{Parent: kept})
	if err != nil {
		t.Fatal(err)
	}
	if r := mustReclaim(t, v); r.BundlesSplit != 0 {
		t.Errorf("%d bundles were split", r.BundlesSplit)
	}
	if err := w.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := mustReclaim(t, v); r.BundlesSplit == 0 {
		t.Error("no bundle was split after the writer had ended")
	}
	holds(t, v, s, kept, want)
}

// commit ends a writer, which has captured unless there is a parent to capture against, and restores its point.
func commit(ctx context.Context, v *repo.Vault, w *repo.Writer, want, parent files) error {
	if parent != nil {
		if err := capture(ctx, w, want, parent); err != nil {
			return err
		}
	}
	id, err := w.Commit(ctx, repo.Facts{})
	if err != nil {
		return err
	}
	if _, err := v.Reclaim(ctx, repo.ReclaimOptions{}); err != nil {
		return err
	}
	return verify(ctx, v, id, want)
}

// What a node that cannot be read refers to is not known, so every bundle stays whole.
func TestReclaim_KeepsAllPartsWhenATreeIsDamaged(t *testing.T) {
	t.Parallel()
	v, s, l, kept, want := halfDead(t)
	before := names(t, s)["m"]
	other := mustBackup(t, v, "", newGenerator(10).files(20), nil)
	v.Close()
	for _, name := range names(t, s)["m"] {
		if !slices.Contains(before, name) {
			overwrite(t, s, name, ruin)
		}
	}
	v, err := repo.Open(t.Context(), s, l, testKey, repo.Options{Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if r := mustReclaim(t, v); r.BundlesSplit != 0 {
		t.Errorf("%d bundles were split", r.BundlesSplit)
	}
	if err := verify(t.Context(), v, kept, want); err != nil {
		t.Error(err)
	}
	if _, err := restore(t.Context(), v, other); !errors.Is(err, repo.ErrDamaged) {
		t.Errorf("restore of what is damaged = %v", err)
	}
}

// A bundle whose parts do not have their ids is found out when it is taken apart, and stays where it is.
func TestReclaim_KeepsDamagedBundles(t *testing.T) {
	t.Parallel()
	v, s, _, _, _ := halfDead(t)
	n := 0
	for _, name := range names(t, s)["d"] {
		if strings.HasPrefix(string(name), "d/") {
			overwrite(t, s, name, func(b []byte) []byte { b[len(b)/3]++; return b })
			n++
		}
	}
	if r := mustReclaim(t, v); r.DamagedPacks == 0 || r.PacksRemoved > int64(n)-r.DamagedPacks {
		t.Errorf("report = %+v of %d damaged packs", r, n)
	}
}
