package blobtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/blob"
)

func putAndGet(t *testing.T, s blob.Store) {
	put(t, s, "a/b/c", []byte("some bytes"))
	if got := get(t, s, "a/b/c", 0, -1); string(got) != "some bytes" {
		t.Errorf("Get(a/b/c) = %q, want some bytes", got)
	}
	info, err := s.Stat(t.Context(), "a/b/c")
	want := blob.Info{Name: "a/b/c", Size: 10}
	if err != nil || info != want {
		t.Errorf("Stat(a/b/c) = %v, %v, want %v", info, err, want)
	}
	if diff := cmp.Diff([]blob.Info{want}, list(t, s, "")); diff != "" {
		t.Errorf("List() (-want +got):\n%s", diff)
	}
}

func sizes(t *testing.T, s blob.Store) {
	for i, size := range []int{0, 1, 511, 4096, 65537, 1<<20 + 1, 32<<20 + 7} {
		name, data := blob.Name(fmt.Sprintf("size/%d", size)), noise(uint64(i), size)
		put(t, s, name, data)
		if got := get(t, s, name, 0, -1); !bytes.Equal(got, data) {
			t.Errorf("Get(%s) differs from what was put", name)
		}
		if info, err := s.Stat(t.Context(), name); err != nil || info.Size != int64(size) {
			t.Errorf("Stat(%s) = %v, %v", name, info, err)
		}
	}
}

func putOfSection(t *testing.T, s blob.Store) {
	data := noise(7, 100_000)
	section := io.NewSectionReader(bytes.NewReader(data), 1000, 90_000)
	if _, err := section.Seek(500, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "a", section, 89_500); err != nil {
		t.Fatal(err)
	}
	if got := get(t, s, "a", 0, -1); !bytes.Equal(got, data[1500:91_000]) {
		t.Errorf("Get(a) differs from what was left of the section: %d bytes", len(got))
	}
}

func putNeverOverwrites(t *testing.T, s blob.Store) {
	put(t, s, "a", []byte("first"))
	for _, data := range []string{"other", "", "first", "a longer one"} {
		err := s.Put(t.Context(), "a", bytes.NewReader([]byte(data)), int64(len(data)))
		wantError(t, "second Put(a)", err, blob.ErrExist)
	}
	if got := get(t, s, "a", 0, -1); string(got) != "first" {
		t.Errorf("Get(a) = %q, want first", got)
	}
}

func putOfWrongSize(t *testing.T, s blob.Store) {
	for _, c := range []struct {
		name blob.Name
		size int64
	}{{"short", 11}, {"long", 9}, {"empty", 0}, {"negative", -1}, {"huge", math.MaxInt64}} {
		err := s.Put(t.Context(), c.name, bytes.NewReader([]byte("some bytes")), c.size)
		wantError(t, fmt.Sprintf("Put(%s)", c.name), err, blob.ErrInvalid)
		err = s.Put(t.Context(), c.name, iotest.OneByteReader(bytes.NewReader([]byte("some bytes"))), c.size)
		wantError(t, fmt.Sprintf("bytewise Put(%s)", c.name), err, blob.ErrInvalid)
		wantAbsent(t, s, c.name)
	}
}

func putOfFailingReader(t *testing.T, s blob.Store) {
	broken := errors.New("the reader broke")
	r := io.MultiReader(bytes.NewReader(noise(1, 100_000)), iotest.ErrReader(broken))
	wantError(t, "Put(a)", s.Put(t.Context(), "a", r, 200_000), broken)
	wantAbsent(t, s, "a")
	r = io.MultiReader(bytes.NewReader(noise(1, 100)), iotest.ErrReader(broken))
	wantError(t, "Put(a), broken at the end", s.Put(t.Context(), "a", r, 100), broken)
	wantAbsent(t, s, "a")
	put(t, s, "a", []byte("whole"))
}

func putTakesAnyReader(t *testing.T, s blob.Store) {
	data := noise(7, 300_000)
	for name, r := range map[blob.Name]io.Reader{
		"plain":    struct{ io.Reader }{bytes.NewReader(data)},
		"halves":   iotest.HalfReader(bytes.NewReader(data)),
		"data-err": iotest.DataErrReader(bytes.NewReader(data)),
		"buffer":   bytes.NewBuffer(bytes.Clone(data)),
		"section":  io.NewSectionReader(bytes.NewReader(append([]byte("xx"), data...)), 2, int64(len(data))),
	} {
		if err := s.Put(t.Context(), name, r, int64(len(data))); err != nil {
			t.Errorf("Put(%s): %v", name, err)
		} else if got := get(t, s, name, 0, -1); !bytes.Equal(got, data) {
			t.Errorf("Get(%s) differs from what was put", name)
		}
	}
	// A reader that stands in the middle is put from there on.
	r := bytes.NewReader(data)
	if _, err := r.Seek(1000, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "rest", r, int64(len(data)-1000)); err != nil {
		t.Fatal(err)
	}
	if got := get(t, s, "rest", 0, -1); !bytes.Equal(got, data[1000:]) {
		t.Errorf("Get(rest) differs from what was put")
	}
}

func ranges(t *testing.T, s blob.Store) {
	data := []byte("0123456789")
	put(t, s, "digits", data)
	put(t, s, "empty", nil)
	for off := range int64(11) {
		for n := int64(-1); off+n <= 10; n++ {
			end := off + n
			if n < 0 {
				end = 10
			}
			if got := get(t, s, "digits", off, n); !bytes.Equal(got, data[off:end]) {
				t.Errorf("Get(digits, %d, %d) = %q, want %q", off, n, got, data[off:end])
			}
		}
	}
	for _, c := range [][2]int64{
		{11, 0}, {11, -1}, {10, 1}, {0, 11}, {9, 2}, {-1, 1}, {-1, -1}, {1, math.MaxInt64}, {math.MaxInt64, 1},
	} {
		_, err := s.Get(t.Context(), "digits", c[0], c[1])
		wantError(t, fmt.Sprintf("Get(digits, %d, %d)", c[0], c[1]), err, blob.ErrRange)
	}
	if got := get(t, s, "empty", 0, -1); len(got) != 0 {
		t.Errorf("Get(empty) = %q, want nothing", got)
	}
	_, err := s.Get(t.Context(), "empty", 0, 1)
	wantError(t, "Get(empty, 0, 1)", err, blob.ErrRange)
}

func readerAt(t *testing.T, s blob.Store) {
	put(t, s, "digits", []byte("0123456789"))
	r, err := s.Get(t.Context(), "digits", 2, 5)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	at, ok := r.(io.ReaderAt)
	if !ok {
		t.Skip("the readers of this store are not io.ReaderAt, which is optional")
	}
	buf := make([]byte, 3)
	if n, err := at.ReadAt(buf, 1); err != nil || string(buf[:n]) != "345" {
		t.Errorf("ReadAt(3 bytes, 1) = %q, %v, want 345", buf[:n], err)
	}
	if n, err := at.ReadAt(buf, 4); err != io.EOF || string(buf[:n]) != "6" {
		t.Errorf("ReadAt(3 bytes, 4) = %q, %v, want 6, EOF", buf[:n], err)
	}
}

func absentBlobs(t *testing.T, s blob.Store) {
	put(t, s, "a/b", []byte("x"))
	for _, name := range []blob.Name{"b", "a/c", "a/bb", "z/z/z"} {
		wantAbsent(t, s, name)
	}
	_, err := s.Get(t.Context(), "b", 5, 100)
	wantError(t, "Get(b, 5, 100)", err, blob.ErrNotExist)
	wantAbsent(t, s, "a") // the directory of a blob is none
}

func deleteTwice(t *testing.T, s blob.Store) {
	put(t, s, "a/b", []byte("x"))
	put(t, s, "a/c", []byte("y"))
	remove(t, s, "a/b")
	wantAbsent(t, s, "a/b")
	remove(t, s, "a/b")
	remove(t, s, "never/was/there")
	if got := get(t, s, "a/c", 0, -1); string(got) != "y" {
		t.Errorf("Get(a/c) = %q, want y", got)
	}
}

func nameIsFreeAfterDelete(t *testing.T, s blob.Store) {
	put(t, s, "d/1", []byte("old"))
	remove(t, s, "d/1")
	put(t, s, "d/1", []byte("newer"))
	if got := get(t, s, "d/1", 0, -1); string(got) != "newer" {
		t.Errorf("Get(d/1) = %q, want newer", got)
	}
}

// readerOutlivesDelete: a reader either goes on or fails; it never ends early as if the blob were shorter.
func readerOutlivesDelete(t *testing.T, s blob.Store) {
	data := noise(3, 1<<20)
	put(t, s, "a", data)
	r, err := s.Get(t.Context(), "a", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	remove(t, s, "a")
	if got, err := io.ReadAll(r); err == nil && !bytes.Equal(got, data) {
		t.Errorf("reading on after Delete gave %d other bytes and no error", len(got))
	}
}
