package repo_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/fault"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
)

// link is a wrapping key with a name, the end of a chain of one link.
type link struct {
	wrapper
	name string
}

func (l link) KeyID() string   { return l.name }
func (l link) Links() [][]byte { return [][]byte{[]byte("link of " + l.name)} }

func (l link) Current(keyID string, links [][]byte, _ []byte) bool {
	return keyID == l.name && cmp.Equal(links, l.Links())
}

func (l link) Rotated(string, []byte) bool { return false }

func (l link) UnwrapLinked(ctx context.Context, keyID string, links [][]byte, wrapped, bind []byte) ([]byte, error) {
	if !l.Current(keyID, links, wrapped) {
		return nil, fmt.Errorf("wrapped by %s: %w", keyID, repo.ErrWrongKey)
	}
	return l.Unwrap(ctx, wrapped, bind)
}

// ring opens what any of its links wrapped.
type ring []link

func (r ring) Wrap(ctx context.Context, key, bind []byte) ([]byte, error) {
	return r[0].Wrap(ctx, key, bind)
}
func (r ring) Unwrap(context.Context, []byte, []byte) ([]byte, error) { return nil, repo.ErrWrongKey }
func (r ring) Links() [][]byte                                        { return r[0].Links() }

func (r ring) UnwrapLinked(ctx context.Context, keyID string, links [][]byte, wrapped, bind []byte) ([]byte, error) {
	for _, l := range r {
		if l.name == keyID {
			return l.UnwrapLinked(ctx, keyID, links, wrapped, bind)
		}
	}
	return nil, repo.ErrWrongKey
}

var (
	older = link{wrapper{1}, "older"}
	newer = link{wrapper{2}, "newer"}
	both  = ring{newer, older}
)

// linkedVault makes a vault whose key older wraps, with one recovery point.
func linkedVault(t *testing.T) (*mem.Store, *localledger.Ledger, repo.PointID) {
	t.Helper()
	s, l := mem.New(), localledger.New(localledger.Options{})
	v, err := repo.Create(t.Context(), s, l, older, small())
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	return s, l, mustBackup(t, v, "", files{"a": []byte("content")}, nil)
}

func rewrapTo(to repo.Renewer, still func(context.Context) (bool, error)) repo.RewrapOptions {
	return repo.RewrapOptions{Open: both, To: to, Proof: to, Still: still}
}

// opens reports whether a key alone opens a vault.
func opens(t *testing.T, s blob.Store, k repo.KeyWrapper) error {
	t.Helper()
	v, err := repo.OpenReadOnly(t.Context(), s, k, repo.Options{Workers: 1})
	if err != nil {
		return err
	}
	defer v.Close()
	report, err := v.Check(t.Context(), repo.CheckOptions{Level: 3})
	// A key object that was torn is told of; the one before it counts.
	damages := slices.DeleteFunc(report.Damages, func(d repo.Damage) bool { return strings.HasPrefix(d.Object, "k/") })
	if err == nil && (report.Points != 1 || len(damages) > 0) {
		err = fmt.Errorf("%d points, damages %v", report.Points, report.Damages)
	}
	return err
}

func keyNames(t *testing.T, s blob.Store) (names []blob.Name) {
	t.Helper()
	for info, err := range s.List(t.Context(), "k/") {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, info.Name)
	}
	return names
}

func TestRewrap_NeedsTheOldKeyNoLonger(t *testing.T) {
	t.Parallel()
	s, _, _ := linkedVault(t)
	for i, want := range []int{1, 0} {
		if r, err := repo.Rewrap(t.Context(), s, rewrapTo(newer, nil)); err != nil || r.Wrapped != want {
			t.Fatalf("Rewrap %d = %+v, %v, want %d", i, r, err, want)
		}
	}
	if diff := cmp.Diff([]blob.Name{"k/1-3", "k/1-4"}, keyNames(t, s)); diff != "" {
		t.Error(diff)
	}
	if err := opens(t, s, newer); err != nil {
		t.Error(err)
	}
	if err := opens(t, s, older); !errors.Is(err, repo.ErrWrongKey) {
		t.Errorf("open with the old key = %v, want %v", err, repo.ErrWrongKey)
	}
}

func TestRewrap_CutAnywhere(t *testing.T) {
	t.Parallel()
	start, _, _ := linkedVault(t)
	rec := fault.NewRecorder(start)
	if _, err := repo.Rewrap(t.Context(), rec, rewrapTo(newer, nil)); err != nil {
		t.Fatal(err)
	}
	if rec.Len() != 4 {
		t.Fatalf("Rewrap made %d changes, want two puts and two deletions", rec.Len())
	}
	for n := range rec.Len() + 1 {
		for _, mode := range []fault.Mode{fault.Applied, fault.Dropped, fault.Torn} {
			s := rec.Cut(n, mode)
			if err := opens(t, s, both); err != nil {
				t.Errorf("cut after %s, mode %d: %v", rec.Step(n-1), mode, err)
			}
			if _, err := repo.Rewrap(t.Context(), s, rewrapTo(newer, nil)); err != nil {
				t.Errorf("Rewrap after %s, mode %d = %v", rec.Step(n-1), mode, err)
			}
			if names := keyNames(t, s); len(names) != 2 {
				t.Errorf("key objects after %s, mode %d: %v", rec.Step(n-1), mode, names)
			}
			if err := opens(t, s, newer); err != nil {
				t.Errorf("Rewrap after %s, mode %d: %v", rec.Step(n-1), mode, err)
			}
		}
	}
}

func TestRewrap_KeepsTheOldOneUntilTheNewOneIsProven(t *testing.T) {
	t.Parallel()
	before := []blob.Name{"k/1-1", "k/1-2"}
	with := func(name blob.Name) []blob.Name { return append(slices.Clip(before), name) }
	for _, test := range []struct {
		name  string
		rule  fault.Rule
		still error
		left  []blob.Name
	}{
		{name: "put fails", rule: fault.Rule{Op: fault.Put, Name: "k/1-3"}, left: before},
		{name: "second put fails", rule: fault.Rule{Op: fault.Put, Name: "k/1-4"}, left: before},
		{name: "put has an unknown end", rule: fault.Rule{Op: fault.Put, Name: "k/1-3", Kind: fault.FailAfter}, left: with("k/1-3")},
		{name: "second put has an unknown end", rule: fault.Rule{Op: fault.Put, Name: "k/1-4", Kind: fault.FailAfter}, left: with("k/1-4")},
		{name: "put stores other bytes", rule: fault.Rule{Op: fault.Put, Name: "k/1-3", Kind: fault.Flip, N: 900}, left: before},
		{name: "second put stores other bytes", rule: fault.Rule{Op: fault.Put, Name: "k/1-4", Kind: fault.Flip, N: 900}, left: before},
		{name: "read back fails", rule: fault.Rule{Op: fault.Get, Name: "k/1-3"}, left: before},
		{name: "second read back fails", rule: fault.Rule{Op: fault.Get, Name: "k/1-4"}, left: before},
		{name: "key destroyed meanwhile", still: errors.New("destroyed"), left: before},
		{name: "deletion fails", rule: fault.Rule{Op: fault.Delete, Name: "k/1-1"}, left: []blob.Name{"k/1-1", "k/1-3", "k/1-4"}},
	} {
		start, _, _ := linkedVault(t)
		s := fault.New(start)
		if test.still == nil {
			s.Add(test.rule)
		}
		_, err := repo.Rewrap(t.Context(), s, rewrapTo(newer, func(context.Context) (bool, error) { return true, test.still }))
		if err == nil {
			t.Errorf("%s: Rewrap succeeded", test.name)
		}
		if diff := cmp.Diff(test.left, keyNames(t, start)); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
		if err := opens(t, start, both); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if _, err := repo.Rewrap(t.Context(), start, rewrapTo(newer, nil)); err != nil {
			t.Errorf("%s: the next Rewrap = %v", test.name, err)
		}
		if err := opens(t, start, newer); err != nil {
			t.Errorf("%s: after the next Rewrap: %v", test.name, err)
		}
	}
}

func TestRewrap_LeavesOpenVaultsAtWork(t *testing.T) {
	t.Parallel()
	s, l, id := linkedVault(t)
	v, err := repo.Open(t.Context(), s, l, both, small().Options)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if _, err := repo.Rewrap(t.Context(), s, rewrapTo(newer, nil)); err != nil {
		t.Fatal(err)
	}
	if err := verify(t.Context(), v, id, files{"a": []byte("content")}); err != nil {
		t.Error(err)
	}
	mustBackup(t, v, "", files{"b": []byte("more")}, nil)
}

func TestRewrap_OfNoVault(t *testing.T) {
	t.Parallel()
	s := mem.New()
	if _, err := repo.Rewrap(t.Context(), s, rewrapTo(newer, nil)); !errors.Is(err, repo.ErrFormat) {
		t.Errorf("Rewrap of an empty store = %v, want %v", err, repo.ErrFormat)
	}
}

// TestRewrap_StaleLists lists what was there before the last changes.
func TestRewrap_StaleLists(t *testing.T) {
	t.Parallel()
	for n := range int64(4) {
		start, _, _ := linkedVault(t)
		s := fault.New(start, fault.Rule{Op: fault.List, Kind: fault.Stale, N: n})
		if _, err := repo.Rewrap(t.Context(), s, rewrapTo(newer, nil)); err != nil {
			t.Fatalf("Rewrap with lists %d changes old = %v", n, err)
		}
		if err := opens(t, s, newer); err != nil {
			t.Errorf("open with lists %d changes old: %v", n, err)
		}
		if _, err := repo.Rewrap(t.Context(), s, rewrapTo(older, nil)); err != nil && !errors.Is(err, repo.ErrBusy) {
			t.Errorf("Rewrap back with lists %d changes old = %v", n, err)
		}
		if err := opens(t, start, both); err != nil {
			t.Errorf("after Rewrap back with lists %d changes old: %v", n, err)
		}
		if err := repo.Shred(t.Context(), s, nil); err != nil {
			t.Errorf("Shred with lists %d changes old = %v", n, err)
		}
		if names := keyNames(t, start); len(names) > 0 {
			t.Errorf("Shred with lists %d changes old left %v", n, names)
		}
	}
}
