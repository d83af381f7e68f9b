// Package blobtest is the suite that every implementation of [blob.Store] passes. To join it takes one test:
//
//	func TestConforms(t *testing.T) {
//		blobtest.Run(t, func(t *testing.T) blob.Store { return mem.New() })
//	}
//
// A rule that a store must obey is tested here, not in the tests of one implementation. Durability is what the suite
// cannot see; package crashfs tests it for blob/fs.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/lockfast/lockfast/blob"
)

// Run tests the stores that open returns. Each call of open returns an empty store, which is its own.
func Run(t *testing.T, open func(t *testing.T) blob.Store) {
	t.Helper()
	for _, c := range []struct {
		name string
		test func(t *testing.T, s blob.Store)
	}{
		{"put and get", putAndGet},
		{"sizes", sizes},
		{"put of a section", putOfSection},
		{"put never overwrites", putNeverOverwrites},
		{"put of a wrong size leaves nothing", putOfWrongSize},
		{"put of a failing reader leaves nothing", putOfFailingReader},
		{"put takes any reader", putTakesAnyReader},
		{"ranges", ranges},
		{"reader at", readerAt},
		{"absent blobs", absentBlobs},
		{"delete", deleteTwice},
		{"name is free after delete", nameIsFreeAfterDelete},
		{"reader outlives delete", readerOutlivesDelete},
		{"odd names", oddNames},
		{"bad names", badNames},
		{"list in order", listInOrder},
		{"list by prefix", listByPrefix},
		{"list ends early", listEndsEarly},
		{"list while deleting", listWhileDeleting},
		{"cancelled context", cancelledContext},
		{"cancelled during put", cancelledDuringPut},
		{"concurrent puts of one name", concurrentPuts},
		{"concurrent work", concurrentWork},
		{"random history", randomHistory},
		{"retain", retain},
		{"hashed reader", hashed},
		{"sums", sums},
		{"streams", streams},
		{"stream shows nothing before its end", streamShowsNothingBeforeItsEnd},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t, open(t))
		})
	}
}

func put(t *testing.T, s blob.Store, name blob.Name, data []byte) {
	t.Helper()
	if err := s.Put(t.Context(), name, bytes.NewReader(data), int64(len(data))); err != nil {
		t.Fatalf("Put(%s): %v", name, err)
	}
}

func get(t *testing.T, s blob.Store, name blob.Name, off, n int64) []byte {
	t.Helper()
	data, err := read(t.Context(), s, name, off, n)
	if err != nil {
		t.Fatalf("Get(%s, %d, %d): %v", name, off, n, err)
	}
	return data
}

func read(ctx context.Context, s blob.Store, name blob.Name, off, n int64) ([]byte, error) {
	r, err := s.Get(ctx, name, off, n)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(r)
	return data, errors.Join(err, r.Close())
}

func remove(t *testing.T, s blob.Store, name blob.Name) {
	t.Helper()
	if err := s.Delete(t.Context(), name); err != nil {
		t.Fatalf("Delete(%s): %v", name, err)
	}
}

func list(t *testing.T, s blob.Store, prefix string) []blob.Info {
	t.Helper()
	infos := []blob.Info{}
	for info, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatalf("List(%q): %v", prefix, err)
		}
		infos = append(infos, info)
	}
	return infos
}

func wantError(t *testing.T, call string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s = %v, want %v", call, err, want)
	}
}

// wantAbsent fails unless the store shows no trace of the name.
func wantAbsent(t *testing.T, s blob.Store, name blob.Name) {
	t.Helper()
	_, err := s.Get(t.Context(), name, 0, -1)
	wantError(t, fmt.Sprintf("Get(%s)", name), err, blob.ErrNotExist)
	_, err = s.Stat(t.Context(), name)
	wantError(t, fmt.Sprintf("Stat(%s)", name), err, blob.ErrNotExist)
	for _, info := range list(t, s, string(name)) {
		if info.Name == name {
			t.Errorf("List(%s) shows it, want nothing", name)
		}
	}
}

// noise returns size bytes that are the same for the same seed.
func noise(seed uint64, size int) []byte {
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	data := make([]byte, size)
	_, _ = rand.NewChaCha8(key).Read(data) // never fails
	return data
}
