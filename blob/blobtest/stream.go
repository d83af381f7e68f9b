package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/lockfast/lockfast/blob"
)

// streams tests a store that is a [blob.Streamer]. Others pass.
func streams(t *testing.T, s blob.Store) {
	in, ok := blob.AsStreamer(s)
	if !ok {
		return
	}
	for i, size := range []int{0, 1, 4095, 4096, 100_000, 3<<20 + 5} {
		name, data := blob.Name(fmt.Sprintf("s/%d", i)), noise(uint64(i), size)
		var r io.Reader = bytes.NewReader(data)
		if i%2 == 1 {
			r = struct{ io.Reader }{r}
		}
		if err := in.PutStream(t.Context(), name, r); err != nil {
			t.Fatalf("PutStream(%s) = %v", name, err)
		}
		if got := get(t, s, name, 0, -1); !bytes.Equal(got, data) {
			t.Errorf("Get(%s) = %d bytes, want the %d of the stream", name, len(got), size)
		}
		if info, err := s.Stat(t.Context(), name); err != nil || info.Size != int64(size) {
			t.Errorf("Stat(%s) = %v, %v, want %d bytes", name, info, err, size)
		}
	}
	wantError(t, "PutStream of a taken name", in.PutStream(t.Context(), "s/4", bytes.NewReader([]byte("other"))), blob.ErrExist)
	if got := get(t, s, "s/4", 0, -1); !bytes.Equal(got, noise(4, 100_000)) {
		t.Error("a stream has changed a blob")
	}
	wantError(t, "PutStream of a bad name", in.PutStream(t.Context(), "../s", bytes.NewReader(nil)), blob.ErrInvalid)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	wantError(t, "PutStream of an ended context", in.PutStream(ended, "s/no", bytes.NewReader(nil)), context.Canceled)
	wantAbsent(t, s, "s/no")
}

// streamShowsNothingBeforeItsEnd tests when a stream becomes a blob.
func streamShowsNothingBeforeItsEnd(t *testing.T, s blob.Store) {
	in, ok := blob.AsStreamer(s)
	if !ok {
		return
	}
	broken := errors.New("broken")
	for _, end := range []error{nil, broken} {
		r, w := io.Pipe()
		done := make(chan error, 1)
		go func() { done <- in.PutStream(t.Context(), "s/slow", r) }()
		data := noise(1, 2<<20)
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
		wantAbsent(t, s, "s/slow")
		if infos := list(t, s, ""); len(infos) > 0 {
			t.Errorf("List shows %v while a stream has not ended", infos)
		}
		_ = w.CloseWithError(end) // never fails
		if err := <-done; !errors.Is(err, end) {
			t.Errorf("PutStream of a reader that ended with %v = %v", end, err)
		}
		if end != nil {
			wantAbsent(t, s, "s/slow")
			continue
		}
		if got := get(t, s, "s/slow", 0, -1); !bytes.Equal(got, data) {
			t.Errorf("Get = %d bytes, want %d", len(got), len(data))
		}
		remove(t, s, "s/slow")
	}
}
