package blobtest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/lockfast/lockfast/blob"
)

// retain tests a store that is a [blob.Retainer]. Others, and those that lie where nothing can be retained, pass.
func retain(t *testing.T, s blob.Store) {
	r, ok := blob.AsRetainer(s)
	if !ok {
		return
	}
	put(t, s, "a/kept", []byte("kept"))
	put(t, s, "a/free", []byte("free"))
	until := time.Now().Add(time.Hour)
	err := r.Retain(t.Context(), "a/kept", until)
	if errors.Is(err, errors.ErrUnsupported) {
		remove(t, s, "a/kept")
		return
	}
	if err != nil {
		t.Fatalf("Retain = %v", err)
	}
	if got, err := r.RetainedUntil(t.Context(), "a/kept"); err != nil || got.Before(until) || got.After(until.Add(2*time.Second)) {
		t.Errorf("RetainedUntil = %s, %v, want %s", got, err, until)
	}
	if got, err := r.RetainedUntil(t.Context(), "a/free"); err != nil || !got.IsZero() {
		t.Errorf("RetainedUntil of what is not = %s, %v, want zero", got, err)
	}
	if _, err := r.RetainedUntil(t.Context(), "a/none"); !errors.Is(err, blob.ErrNotExist) {
		t.Errorf("RetainedUntil of nothing = %v, want %v", err, blob.ErrNotExist)
	}
	refused := func(when string) {
		t.Helper()
		if err := s.Delete(t.Context(), "a/kept"); !errors.Is(err, blob.ErrRetained) {
			t.Errorf("Delete %s = %v, want %v", when, err, blob.ErrRetained)
		}
		if got := get(t, s, "a/kept", 0, -1); string(got) != "kept" {
			t.Errorf("Get %s = %q", when, got)
		}
	}
	refused("of what is retained")
	for _, again := range []time.Time{until.Add(-50 * time.Minute), {}, until, until.Add(time.Hour)} {
		if err := r.Retain(t.Context(), "a/kept", again); err != nil {
			t.Errorf("Retain again until %s = %v", again, err)
		}
		refused("after another Retain")
	}
	if err := s.Put(t.Context(), "a/kept", strings.NewReader("other"), 5); !errors.Is(err, blob.ErrExist) {
		t.Errorf("Put over what is retained = %v, want %v", err, blob.ErrExist)
	}
	if err := r.Retain(t.Context(), "a/none", until); !errors.Is(err, blob.ErrNotExist) {
		t.Errorf("Retain of nothing = %v, want %v", err, blob.ErrNotExist)
	}
	if err := r.Retain(t.Context(), ".bad", until); !errors.Is(err, blob.ErrInvalid) {
		t.Errorf("Retain of a bad name = %v, want %v", err, blob.ErrInvalid)
	}
	remove(t, s, "a/free")
	if infos := list(t, s, ""); len(infos) != 1 || infos[0].Name != "a/kept" {
		t.Errorf("List = %v, want a/kept", infos)
	}
}
