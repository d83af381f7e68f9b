package repo_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
)

func TestEraseOrder_LeavesTheWholeVaultOrNone(t *testing.T) {
	t.Parallel()
	s, l := mem.New(), localledger.New(localledger.Options{})
	v := create(t, s, l, small())
	have := newGenerator(41).files(20)
	id := mustBackup(t, v, "", have, nil)
	v.Close()
	all := slices.Concat(slices.Collect(maps.Values(names(t, s)))...)
	repo.EraseOrder(all)
	whole := 0
	for _, name := range all {
		if err := s.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		there, err := repo.Exists(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if !there {
			continue
		}
		whole++
		cut := mem.New()
		for _, left := range slices.Concat(slices.Collect(maps.Values(names(t, s)))...) {
			put(t, cut, left, raw(t, s, left))
		}
		v := reopen(t, cut, l)
		if err := verify(t.Context(), v, id, have); err != nil {
			t.Errorf("without %s: %v", name, err)
		}
		if err := sound(t.Context(), v); err != nil {
			t.Errorf("without %s: %v", name, err)
		}
		v.Close()
	}
	if whole != 1 || len(names(t, s)) > 0 {
		t.Errorf("a whole vault after %d removals, want 1; left %v", whole, names(t, s))
	}
}

func TestEraseOrder_KeepsTheOthersInTheirOrder(t *testing.T) {
	t.Parallel()
	have := []blob.Name{"c/1", "d/1", "format", "format.10", "format.2", "formats", "k/1-1"}
	repo.EraseOrder(have)
	want := []blob.Name{"format.10", "format.2", "format", "c/1", "d/1", "formats", "k/1-1"}
	if !slices.Equal(have, want) {
		t.Errorf("EraseOrder = %v, want %v", have, want)
	}
}
