package blobtest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/lockfast/lockfast/blob"
)

// hashed tests that a reader that knows its checksum is one like another.
func hashed(t *testing.T, s blob.Store) {
	for name, data := range map[blob.Name][]byte{"a/empty": {}, "a/some": []byte("some bytes")} {
		h, err := blob.NewHashed(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Put(t.Context(), name, h, h.Size()); err != nil {
			t.Fatalf("Put(%s) = %v", name, err)
		}
		if got := get(t, s, name, 0, -1); !bytes.Equal(got, data) {
			t.Errorf("Get(%s) = %q, want %q", name, got, data)
		}
	}
	h, err := blob.NewHashed(bytes.NewReader([]byte("begun")), 5)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Seek(2, 0); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "a/rest", h, 3); err != nil {
		t.Fatalf("Put of a rest = %v", err)
	}
	if got := get(t, s, "a/rest", 0, -1); string(got) != "gun" {
		t.Errorf("Get of a rest = %q, want gun", got)
	}
}

// sums tests a store that is a [blob.Summer]. Others pass.
func sums(t *testing.T, s blob.Store) {
	in, ok := blob.AsSummer(s)
	if !ok {
		return
	}
	want := func(when string, data []byte) {
		t.Helper()
		expected := sha256.Sum256(data)
		got, err := in.Sum(t.Context(), "a/b")
		if err != nil || got != nil && !bytes.Equal(got, expected[:]) || got == nil && in.Keeps("a/b") {
			t.Errorf("Sum %s = %x, %v, want %x; Keeps = %t", when, got, err, expected, in.Keeps("a/b"))
		}
	}
	put(t, s, "a/b", []byte("first"))
	want("of what was put", []byte("first"))
	if err := s.Put(t.Context(), "a/b", bytes.NewReader([]byte("other")), 5); !errors.Is(err, blob.ErrExist) {
		t.Errorf("Put over it = %v, want %v", err, blob.ErrExist)
	}
	want("after a Put that was refused", []byte("first"))
	remove(t, s, "a/b")
	if got, err := in.Sum(t.Context(), "a/b"); !errors.Is(err, blob.ErrNotExist) {
		t.Errorf("Sum of nothing = %x, %v, want %v", got, err, blob.ErrNotExist)
	}
	put(t, s, "a/b", nil)
	want("of another blob of the name", nil)
	if got, err := in.Sum(t.Context(), ".bad"); !errors.Is(err, blob.ErrInvalid) {
		t.Errorf("Sum of a bad name = %x, %v, want %v", got, err, blob.ErrInvalid)
	}
}
