package repo_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
)

// formatsOf returns the names of the format objects.
func formatsOf(t *testing.T, s blob.Store) (out []blob.Name) {
	t.Helper()
	for info, err := range s.List(t.Context(), "format") {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, info.Name)
	}
	slices.Sort(out)
	return out
}

// TestOpen_WritesTheSecondFormatObject: a vault of which only one is left has two again once it is opened for writing.
func TestOpen_WritesTheSecondFormatObject(t *testing.T) {
	t.Parallel()
	for gone, want := range map[blob.Name][]blob.Name{"format.2": {"format", "format.2"}, "format": {"format.2", "format.3"}} {
		v, s, l := newVault(t)
		v.Close()
		overwrite(t, s, gone, vanish)
		left := formatsOf(t, s)
		if plain, err := repo.OpenReadOnly(t.Context(), s, testKey, repo.Options{}); err != nil {
			t.Fatal(err)
		} else if got := objects(mustCheck(t, plain, repo.CheckOptions{Level: repo.CheckHeads})); slices.Contains(got, "format") != (gone == "format") {
			t.Errorf("Check without a ledger and %s names %q", gone, got)
		}
		if got := formatsOf(t, s); !slices.Equal(got, left) {
			t.Errorf("formats after opening for reading = %v, want %v", got, left)
		}
		v = reopen(t, s, l)
		if got := formatsOf(t, s); !slices.Equal(got, want) {
			t.Errorf("formats without %s, opened for writing = %v, want %v", gone, got, want)
		}
		if err := sound(t.Context(), v); err != nil {
			t.Error(err)
		}
	}
}

// TestRepair_WritesTheSecondFormatObject loses one while the vault is open.
func TestRepair_WritesTheSecondFormatObject(t *testing.T) {
	t.Parallel()
	for gone, want := range map[blob.Name][]blob.Name{"format.2": {"format", "format.2"}, "format": {"format.2", "format.3"}} {
		v, s, _ := newVault(t)
		overwrite(t, s, gone, vanish)
		if got := objects(mustCheck(t, v, repo.CheckOptions{Level: repo.CheckHeads})); !slices.Equal(got, []string{string(gone)}) {
			t.Errorf("Check names %q, want %s", got, gone)
		}
		if r := mustRepair(t, v, repo.RepairOptions{}); r.States != 1 || len(r.Lost) > 0 {
			t.Errorf("Repair = %+v, want one written", r)
		}
		if got := formatsOf(t, s); !slices.Equal(got, want) {
			t.Errorf("formats after the repair = %v, want %v", got, want)
		}
		if err := sound(t.Context(), v); err != nil {
			t.Error(err)
		}
	}
}

// withoutRoom takes nothing more.
type withoutRoom struct{ blob.Store }

func (withoutRoom) Put(context.Context, blob.Name, io.Reader, int64) error { return blob.ErrNoSpace }

// TestOpen_SecondFormatObjectCannotBeWritten: a full store keeps no vault from being opened.
func TestOpen_SecondFormatObjectCannotBeWritten(t *testing.T) {
	t.Parallel()
	v, s, l := newVault(t)
	v.Close()
	overwrite(t, s, "format.2", vanish)
	v = reopen(t, withoutRoom{s}, l)
	if got := objects(mustCheck(t, v, repo.CheckOptions{Level: repo.CheckHeads})); !slices.Equal(got, []string{"format.2"}) {
		t.Errorf("Check names %q, want format.2", got)
	}
}

// TestOpen_ListHidesAFormatObject: what a list does not show is not written again, and not missed.
func TestOpen_ListHidesAFormatObject(t *testing.T) {
	t.Parallel()
	for _, hidden := range []blob.Name{"format", "format.2"} {
		v, s, l := newVault(t)
		v.Close()
		v = reopen(t, hiding{s, map[blob.Name]bool{hidden: true}}, l)
		if got := objects(mustCheck(t, v, repo.CheckOptions{Level: repo.CheckHeads})); got != nil {
			t.Errorf("Check with %s hidden names %q", hidden, got)
		}
		if got := formatsOf(t, s); len(got) != 2 {
			t.Errorf("formats with %s hidden = %v, want two", hidden, got)
		}
	}
}

// strange returns the second format object of a vault with another UUID and key.
func strange(t *testing.T) []byte {
	s, o := mem.New(), small()
	o.UUID, o.DomainKey = [16]byte{99}, [32]byte{98}
	create(t, s, localledger.New(localledger.Options{}), o).Close()
	return raw(t, s, "format.2")
}

// TestOpen_FormatOfAnotherVault puts one in the place of the second format object, or beside both: it is damage, and nothing else is.
func TestOpen_FormatOfAnotherVault(t *testing.T) {
	t.Parallel()
	other := strange(t)
	third := func(b []byte) []byte {
		b[12] = 3
		return withFormatCRC(b)
	}(slices.Clone(other))
	for name, b := range map[blob.Name][]byte{"format.2": other, "format.3": third, "format.4": other} {
		t.Run(string(name), func(t *testing.T) {
			t.Parallel()
			v, s, l := newVault(t)
			have := newGenerator(61).files(10)
			id := mustBackup(t, v, "", have, nil)
			v.Close()
			if name == "format.2" {
				overwrite(t, s, name, vanish)
			}
			put(t, s, name, b)
			plain, err := repo.OpenReadOnly(t.Context(), s, testKey, repo.Options{})
			if err != nil {
				t.Fatalf("OpenReadOnly = %v", err)
			}
			if d := plain.OpeningDamage(); len(d) != 1 || !strings.Contains(d[0].Error(), string(name)+" is damaged") {
				t.Errorf("damage when it was opened = %v, want %s", d, name)
			}
			v = reopen(t, s, l)
			if got := objects(mustCheck(t, v, repo.CheckOptions{Level: repo.CheckHeads})); !slices.Equal(got, []string{string(name)}) {
				t.Errorf("Check names %q, want %s", got, name)
			}
			if r := mustRepair(t, v, repo.RepairOptions{}); len(r.Lost) > 0 {
				t.Errorf("Repair = %+v, want nothing lost", r)
			}
			if err := errors.Join(sound(t.Context(), v), verify(t.Context(), v, id, have)); err != nil {
				t.Error(err)
			}
			if got := formatsOf(t, s); len(got) != 2 || slices.Contains(got, name) {
				t.Errorf("formats after the repair = %v, want two without %s", got, name)
			}
		})
	}
}

// TestOpen_FormatOfAnotherVaultAlone: without one of its own, a vault is not opened.
func TestOpen_FormatOfAnotherVaultAlone(t *testing.T) {
	t.Parallel()
	v, s, l := newVault(t)
	v.Close()
	overwrite(t, s, "format", vanish)
	overwrite(t, s, "format.2", func([]byte) []byte { return strange(t) })
	if _, err := repo.Open(t.Context(), s, l, testKey, repo.Options{}); !errors.Is(err, repo.ErrWrongKey) && !errors.Is(err, repo.ErrDamaged) {
		t.Errorf("Open = %v, want an error about the keys", err)
	}
}

// TestAllowCold_PassesOverAFormatOfAnotherVault: what the newest format says counts only if it is the vault's.
func TestAllowCold_PassesOverAFormatOfAnotherVault(t *testing.T) {
	t.Parallel()
	s, l := mem.New(), localledger.New(localledger.Options{})
	v := create(t, s, l, coldOptions())
	id := mustBackup(t, v, "", newGenerator(62).files(10), nil)
	b := strange(t)
	b[12], b[32] = 3, b[32]|1 // a third one, which says that there may be cold packs
	put(t, s, "format.3", withFormatCRC(b))
	mustMoveToCold(t, v, l, id)
	if got := formatsOf(t, s); !slices.Equal(got, []blob.Name{"format", "format.2", "format.3", "format.4", "format.5"}) {
		t.Errorf("formats of a vault with cold packs = %v, want two more", got)
	}
}

func TestRewrap_FormatOfAnotherVault(t *testing.T) {
	t.Parallel()
	s, _, _ := linkedVault(t)
	overwrite(t, s, "format.2", func([]byte) []byte { return strange(t) })
	if r, err := repo.Rewrap(t.Context(), s, rewrapTo(newer, nil)); err != nil || r.Wrapped != 1 {
		t.Errorf("Rewrap = %+v, %v, want one key wrapped", r, err)
	}
}
