package directory_test

import (
	"bytes"
	"testing"

	"github.com/lockfast/lockfast/resource/directory"
	"pgregory.net/rapid"
)

func TestKey(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"": "", "/": "", "a": "a", "/a/b/": "a\x00b", "a//b": "a\x00b", "\xff/..a": "\xff\x00..a", "...": "...",
	} {
		got, err := directory.Key([]byte(path))
		if err != nil || string(got) != want {
			t.Errorf("Key(%q) = %q, %v, want %q", path, got, err, want)
		}
	}
	for _, path := range []string{"..", "a/../b", ".", "a/.", "a\x00b"} {
		if got, err := directory.Key([]byte(path)); err == nil {
			t.Errorf("Key(%q) = %q, want an error", path, got)
		}
	}
}

func TestPath(t *testing.T) {
	t.Parallel()
	if got := directory.Path([]byte("a\x00b\xff\x00c")); string(got) != "a/b\xff/c" {
		t.Errorf("Path = %q, want a/b\\xff/c", got)
	}
}

func TestDisplay(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"plain/file": "plain/file", "ä/日本": "ä/日本", "\xff\xfe": `\xff\xfe`, "a\nb\t": `a\nb\t`, `back\slash`: `back\\slash`,
		"\x1b[31m": `\x1b[31m`, "\u202e": `\u202e`, "": "", "it's": "it's",
	} {
		if got := directory.Display([]byte(path)); got != want {
			t.Errorf("Display(%q) = %s, want %s", path, got, want)
		}
	}
}

// TestKey_OrderIsWalk compares keys of random paths with a comparison component by component.
func TestKey_OrderIsWalk(t *testing.T) {
	t.Parallel()
	names := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "a.", "a!", "\x01", "\xff", "aa"}), 1, 4)
	rapid.Check(t, func(t *rapid.T) {
		a, b := names.Draw(t, "a"), names.Draw(t, "b")
		key := func(names []string) []byte {
			k, err := directory.Key(bytes.Join(toBytes(names), []byte{'/'}))
			if err != nil {
				t.Fatal(err)
			}
			return k
		}
		if got, want := bytes.Compare(key(a), key(b)), compare(a, b); got != want {
			t.Fatalf("keys compare %d, components %d", got, want)
		}
	})
}

func toBytes(names []string) (b [][]byte) {
	for _, n := range names {
		b = append(b, []byte(n))
	}
	return b
}

func compare(a, b []string) int {
	for i := range min(len(a), len(b)) {
		if c := bytes.Compare([]byte(a[i]), []byte(b[i])); c != 0 {
			return c
		}
	}
	return max(-1, min(1, len(a)-len(b)))
}
