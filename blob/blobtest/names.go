package blobtest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/blob"
)

func oddNames(t *testing.T, s blob.Store) {
	// A third of the longest name leaves room for the prefix of a sub-store.
	long := strings.Repeat("x", 100)
	names := []blob.Name{
		"-", "_", "a.", "a..b", "--/__", "0", "a/b/c/d/e/f/g/h/i/j", "con", "nul.txt", "lost-found", "tmp/a",
		blob.Name(strings.Join([]string{long, long, long, long}, "/")),
	}
	for _, name := range names {
		put(t, s, name, []byte(name))
	}
	for _, name := range names {
		if got := get(t, s, name, 0, -1); string(got) != string(name) {
			t.Errorf("Get(%s) = %q", name, got)
		}
	}
	if got := len(list(t, s, "")); got != len(names) {
		t.Errorf("List() has %d names, want %d", got, len(names))
	}
}

func badNames(t *testing.T, s blob.Store) {
	for _, name := range []blob.Name{
		"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../../b", ".hidden", "a/.tmp/b", "A", "a b", "a\x00b", "ü",
		blob.Name(strings.Repeat("a/", 300) + "a"),
	} {
		what := fmt.Sprintf("(%.20q)", name)
		wantError(t, "Put"+what, s.Put(t.Context(), name, bytes.NewReader(nil), 0), blob.ErrInvalid)
		_, err := s.Get(t.Context(), name, 0, -1)
		wantError(t, "Get"+what, err, blob.ErrInvalid)
		_, err = s.Stat(t.Context(), name)
		wantError(t, "Stat"+what, err, blob.ErrInvalid)
		wantError(t, "Delete"+what, s.Delete(t.Context(), name), blob.ErrInvalid)
	}
	if got := list(t, s, ""); len(got) != 0 {
		t.Errorf("List() = %v, want nothing", got)
	}
}

// hierarchy holds names whose byte order is not the order of a walk that sorts directories by their bare names: '-' and
// '.' come before '/', digits and letters after it.
func hierarchy() []blob.Name {
	return []blob.Name{
		"a-b", "a.b", "a/b", "a/b-c", "a/c-/x", "a/c/d", "a/c/e", "a/c0", "a0", "aba", "ab-/1", "ab/1", "ab0/1", "b",
		"c/-/1", "c/0.1/1", "c/z/1", "d/00/aa", "d/00/ab", "d/01/aa", "d/ff/aa", "e",
	}
}

func fill(t *testing.T, s blob.Store) []blob.Info {
	t.Helper()
	names := hierarchy()
	infos := []blob.Info{}
	for i, name := range slices.Backward(names) {
		put(t, s, name, make([]byte, i))
		infos = append(infos, blob.Info{Name: name, Size: int64(i)})
	}
	slices.SortFunc(infos, func(a, b blob.Info) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return infos
}

func listInOrder(t *testing.T, s blob.Store) {
	if diff := cmp.Diff([]blob.Info{}, list(t, s, "")); diff != "" {
		t.Errorf("List() of an empty store (-want +got):\n%s", diff)
	}
	want := fill(t, s)
	if diff := cmp.Diff(want, list(t, s, "")); diff != "" {
		t.Errorf("List() (-want +got):\n%s", diff)
	}
}

func listByPrefix(t *testing.T, s blob.Store) {
	all := fill(t, s)
	prefixes := []string{"zz", "/", "//", "/a", "a//", "..", "../", "./", ".", "A", "a/b/", "a/b/c", "\x00", "é", "b/"}
	for _, info := range all { // and every prefix of every name
		for i := range len(info.Name) + 1 {
			prefixes = append(prefixes, string(info.Name[:i]))
		}
	}
	for _, prefix := range prefixes {
		want := []blob.Info{}
		for _, info := range all {
			if strings.HasPrefix(string(info.Name), prefix) {
				want = append(want, info)
			}
		}
		if diff := cmp.Diff(want, list(t, s, prefix)); diff != "" {
			t.Errorf("List(%q) (-want +got):\n%s", prefix, diff)
		}
	}
}

func listEndsEarly(t *testing.T, s blob.Store) {
	fill(t, s)
	seen := 0
	for _, err := range s.List(t.Context(), "a") {
		if err != nil {
			t.Fatal(err)
		}
		if seen++; seen == 3 {
			break
		}
	}
	if seen != 3 {
		t.Errorf("List(a) gave %d names before the break, want 3", seen)
	}
	l := s.List(t.Context(), "d/") // a sequence may be ranged over again
	for range 2 {
		n := 0
		for _, err := range l {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != 4 {
			t.Errorf("List(d/) gave %d names, want 4", n)
		}
	}
}

func listWhileDeleting(t *testing.T, s blob.Store) {
	want := fill(t, s)
	var got []blob.Info
	for info, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, info)
		remove(t, s, info.Name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("List() while deleting (-want +got):\n%s", diff)
	}
	if got := list(t, s, ""); len(got) != 0 {
		t.Errorf("List() afterwards = %v, want nothing", got)
	}
}
