package blob_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/blobtest"
	"github.com/lockfast/lockfast/blob/mem"
)

func TestNameCheck(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("abcdefg/", 64) // 512 bytes with the last slash
	for _, name := range []blob.Name{
		"a", "format", "d/00/0123456789abcdef", "k/1-2", "a.b", "a..b", "-", "_", "a-/b_", blob.Name(long[:511]),
		blob.Name(strings.Repeat("x", 255)),
	} {
		if err := name.Check(); err != nil {
			t.Errorf("Name(%q).Check() = %v, want nil", name, err)
		}
	}
	for _, name := range []blob.Name{
		"", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "../a", ".tmp/a", "a/.b", "A", "a b", "a\x00", "a\\b", "ä",
		blob.Name(long + "x"), blob.Name(strings.Repeat("x", 256)),
	} {
		if err := name.Check(); !errors.Is(err, blob.ErrInvalid) {
			t.Errorf("Name(%q).Check() = %v, want ErrInvalid", name, err)
		}
	}
}

func TestNameCheck_SaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	const want = `invalid call: name "a/B": byte 'B' is not one of [a-z0-9-_.]`
	if got := fmt.Sprint(blob.Name("a/B").Check()); got != want {
		t.Errorf("Check() = %q, want %q", got, want)
	}
}

func TestCheckRange(t *testing.T) {
	t.Parallel()
	const maxInt64 = 1<<63 - 1
	for _, c := range []struct {
		off, n, want int64
		ok           bool
	}{
		{0, -1, 10, true}, {0, 10, 10, true}, {10, -1, 0, true}, {10, 0, 0, true}, {3, 4, 4, true},
		{11, -1, 0, false}, {11, 0, 0, false}, {-1, 1, 0, false}, {0, 11, 0, false}, {1, maxInt64, 0, false},
	} {
		got, err := blob.CheckRange(10, c.off, c.n)
		if got != c.want || (err == nil) != c.ok || err != nil && !errors.Is(err, blob.ErrRange) {
			t.Errorf("CheckRange(10, %d, %d) = %d, %v, want %d, ok %v", c.off, c.n, got, err, c.want, c.ok)
		}
	}
}

func TestPrefix_Conforms(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(t *testing.T) blob.Store {
		s := mem.New()
		for _, name := range []blob.Name{"sub-1/a", "sub.x", "sub0", "su/b", "sub/other/a", "sub/insid"} {
			s.Overwrite(name, []byte("a neighbour"))
		}
		return blob.Prefix(s, "sub/inside")
	})
}

func TestPrefix_StaysInside(t *testing.T) {
	t.Parallel()
	s := mem.New()
	s.Overwrite("a/b/c", []byte("inside"))
	s.Overwrite("a/bc", []byte("outside"))
	p := blob.Prefix(blob.Prefix(s, "a/"), "b")
	var got []blob.Name
	for info, err := range p.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, info.Name)
	}
	if len(got) != 1 || got[0] != "c" {
		t.Errorf("List() = %v, want [c]", got)
	}
	if _, err := p.Stat(t.Context(), "../bc"); !errors.Is(err, blob.ErrInvalid) {
		t.Errorf("Stat(../bc) = %v, want ErrInvalid", err)
	}
	if blob.Prefix(s, "") != blob.Store(s) {
		t.Error("Prefix(s, \"\") is not s")
	}
}
