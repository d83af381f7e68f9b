package directory

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// record makes a record as getdents returns it.
func record(name string) []byte {
	size := (19 + len(name) + 1 + 7) &^ 7
	b := make([]byte, size)
	binary.NativeEndian.PutUint16(b[16:], uint16(size))
	copy(b[19:], name)
	return b
}

func listed(n *names) (found []string) {
	for i := range n.len() {
		name := n.at(i)
		found = append(found, string(name[:len(name)-1]))
	}
	return found
}

func TestNames_SortedByBytes(t *testing.T) {
	t.Parallel()
	for prefix, want := range map[string][]string{
		"":                 {"a", "aa", "ab", "b", "\xff", "\x01", "long name one", "long name two", "long name"},
		"shared prefix of": {"", "1", "10", "2", " ", "\xfe\xff"},
	} {
		var n names
		for i := range want {
			want[i] = prefix + want[i]
		}
		for _, name := range append(want, ".", "..", want[0]) {
			if name != "" {
				n.add(record(name))
			}
		}
		n.sort()
		slices.Sort(want)
		if diff := cmp.Diff(want, listed(&n)); diff != "" {
			t.Errorf("names with prefix %q (-want +got):\n%s", prefix, diff)
		}
	}
	var n names
	var want []string
	for i := range 5000 {
		want = append(want, fmt.Sprint(i*7919%5000))
		n.add(record(want[i]))
	}
	n.sort()
	slices.Sort(want)
	if diff := cmp.Diff(want, listed(&n)); diff != "" {
		t.Errorf("5,000 names (-want +got):\n%s", diff)
	}
}

// TestNames_OddRecords feeds what a faulty file system may return.
func TestNames_OddRecords(t *testing.T) {
	t.Parallel()
	var n names
	n.add(record("a/b"))
	n.add(append(record("good"), record("/")...))
	n.add(record("xyz")[:20])
	n.add(make([]byte, 40))
	if diff := cmp.Diff([]string{"good"}, listed(&n)); diff != "" || n.odd != 4 {
		t.Errorf("%d odd names, want 4 (-want +got):\n%s", n.odd, diff)
	}
}
