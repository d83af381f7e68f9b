package repo_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/blobtest"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
)

func TestColdStore_IsAStore(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(*testing.T) blob.Store { return repo.ColdStore(mem.New(), mem.New()) })
}

func TestColdStore_HoldsColdPacksAndNothingElse(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"", "0191f0a2-7c2e-4d7f-9d3e-1b2c3d4e5f60"} {
		main, cold := mem.New(), mem.New()
		s := blob.Prefix(repo.ColdStore(main, cold), dir)
		l := localledger.New(localledger.Options{})
		v := create(t, s, l, small())
		have := newGenerator(8).files(40)
		id := mustMoveToCold(t, v, l, mustBackup(t, v, "", have, nil))
		reclaimAll(t, v)
		if err := errors.Join(verify(t.Context(), v, id, have), sound(t.Context(), v)); err != nil {
			t.Error(err)
		}
		if r, err := v.Check(t.Context(), repo.CheckOptions{}); err != nil || r.ForeignCount > 0 {
			t.Errorf("Check = %+v, %v, want no foreign objects", r, err)
		}
		if n := names(t, blob.Prefix(cold, dir)); len(n) != 2 || len(n["a"]) == 0 || len(n["cold"]) != 1 {
			t.Errorf("cold store holds %v, want cold packs and the mark only", n)
		}
		if n := names(t, blob.Prefix(main, dir)); len(n["a"]) != 0 {
			t.Errorf("store holds cold packs: %v", n["a"])
		}
		if err := remove(t.Context(), v, l, id); err != nil {
			t.Fatal(err)
		}
		reclaimAll(t, v)
		if n := names(t, blob.Prefix(cold, dir)); len(n["a"]) != 0 {
			t.Errorf("cold store holds %v after the last recovery point has gone, want no packs", n)
		}
		if err := s.Delete(t.Context(), "cold"); err != nil {
			t.Fatal(err)
		}
		if n := names(t, cold); len(n) != 0 {
			t.Errorf("cold store holds %v after the mark was removed, want nothing", n)
		}
	}
}

// TestColdStore_ThatIsNotMounted takes the cold store away.
func TestColdStore_ThatIsNotMounted(t *testing.T) {
	t.Parallel()
	main, l := mem.New(), localledger.New(localledger.Options{})
	v := create(t, repo.ColdStore(main, mem.New()), l, small())
	g := newGenerator(13)
	have, more := g.files(40), g.files(40)
	id := mustMoveToCold(t, v, l, mustBackup(t, v, "", have, nil))
	warm := mustBackup(t, v, "", more, nil)
	reclaimAll(t, v)
	v.Close()

	plain, err := repo.OpenReadOnly(t.Context(), main, testKey, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if ids, err := plain.PointIDs(t.Context()); err != nil || !slices.Equal(ids, []repo.PointID{warm}) {
		t.Errorf("PointIDs without the cold store = %v, %v, want %s", ids, err, warm)
	}
	if ids, err := plain.IncompletePoints(t.Context()); err != nil || !slices.Equal(ids, []repo.PointID{id}) {
		t.Errorf("IncompletePoints without the cold store = %v, %v, want %s", ids, err, id)
	}

	empty := mem.New()
	v, err = repo.Open(t.Context(), repo.ColdStore(main, empty), l, testKey, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	if err := verify(t.Context(), v, warm, more); err != nil {
		t.Errorf("what is warm: %v", err)
	}
	_, restored := restore(t.Context(), v, id)
	_, moved := moveToCold(t.Context(), v, l, warm)
	_, checked := v.Check(t.Context(), repo.CheckOptions{Level: repo.CheckNames})
	for what, err := range map[string]error{"restore": restored, "move": moved, "check": checked} {
		if !errors.Is(err, blob.ErrUnavailable) || errors.Is(err, repo.ErrDamaged) {
			t.Errorf("%s = %v, want ErrUnavailable and no damage", what, err)
		}
	}
	if err := remove(t.Context(), v, l, id); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Reclaim(t.Context(), repo.ReclaimOptions{}); !errors.Is(err, blob.ErrUnavailable) {
		t.Errorf("Reclaim of cold packs = %v, want ErrUnavailable", err)
	}
	if n := names(t, empty); len(n) != 0 {
		t.Errorf("the place that is not the cold store has got %v", n)
	}
}

func TestColdStore_ReadsColdPacksThatWereWrittenBeforeIt(t *testing.T) {
	t.Parallel()
	main, cold := mem.New(), mem.New()
	l := localledger.New(localledger.Options{})
	v := create(t, main, l, small())
	g := newGenerator(9)
	old, more := g.files(40), g.files(40)
	first := mustMoveToCold(t, v, l, mustBackup(t, v, "", old, nil))
	second := mustBackup(t, v, "", more, nil)
	v.Close()

	s := repo.ColdStore(main, cold)
	v, err := repo.Open(t.Context(), s, l, testKey, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	second = mustMoveToCold(t, v, l, second)
	if err := errors.Join(verify(t.Context(), v, first, old), verify(t.Context(), v, second, more), sound(t.Context(), v)); err != nil {
		t.Error(err)
	}
	var listed []blob.Name
	for info, err := range s.List(t.Context(), "a/") {
		if err != nil {
			t.Fatal(err)
		}
		listed = append(listed, info.Name)
	}
	if len(names(t, main)["a"]) == 0 || len(names(t, cold)["a"]) == 0 ||
		len(listed) != len(names(t, main)["a"])+len(names(t, cold)["a"]) || !slices.IsSortedFunc(listed, func(a, b blob.Name) int {
		return strings.Compare(string(a), string(b))
	}) {
		t.Errorf("List(a/) = %v, want the cold packs of both stores in order", listed)
	}
}
