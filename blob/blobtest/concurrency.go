package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lockfast/lockfast/blob"
)

func cancelledContext(t *testing.T, s blob.Store) {
	put(t, s, "a", []byte("x"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantError(t, "Put(b)", s.Put(ctx, "b", bytes.NewReader(nil), 0), context.Canceled)
	_, err := s.Get(ctx, "a", 0, -1)
	wantError(t, "Get(a)", err, context.Canceled)
	_, err = s.Stat(ctx, "a")
	wantError(t, "Stat(a)", err, context.Canceled)
	wantError(t, "Delete(a)", s.Delete(ctx, "a"), context.Canceled)
	var last error
	for _, err := range s.List(ctx, "") {
		last = err
	}
	wantError(t, "List()", last, context.Canceled)
	wantAbsent(t, s, "b")
	if got := get(t, s, "a", 0, -1); string(got) != "x" {
		t.Errorf("Get(a) = %q, want x", got)
	}
}

// cancelling cancels a context once a part of it has been read.
type cancelling struct {
	r      io.Reader
	left   int
	cancel func()
}

func (c *cancelling) Read(p []byte) (int, error) {
	n, err := c.r.Read(p[:min(len(p), 64<<10)])
	if c.left -= n; c.left <= 0 {
		c.cancel()
	}
	return n, err
}

func cancelledDuringPut(t *testing.T, s blob.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	data := noise(1, 8<<20)
	r := &cancelling{r: bytes.NewReader(data), left: 1 << 20, cancel: cancel}
	err := s.Put(ctx, "a", r, int64(len(data)))
	wantError(t, "Put(a), cancelled in the middle", err, context.Canceled)
	wantAbsent(t, s, "a")
}

func concurrentPuts(t *testing.T, s blob.Store) {
	const writers = 8
	for round := range 4 {
		name := blob.Name(fmt.Sprintf("new-%d/%d", round, round))
		var won atomic.Int64
		var winner atomic.Int64
		var all sync.WaitGroup
		for w := range writers {
			all.Go(func() {
				data := noise(uint64(w), 50_000+w)
				err := s.Put(t.Context(), name, bytes.NewReader(data), int64(len(data)))
				switch {
				case err == nil:
					won.Add(1)
					winner.Store(int64(w))
				case !errors.Is(err, blob.ErrExist):
					t.Errorf("Put(%s) = %v, want nil or ErrExist", name, err)
				default:
					if _, err := s.Stat(t.Context(), name); err != nil {
						t.Errorf("Stat(%s) after ErrExist: %v", name, err)
					}
				}
			})
		}
		all.Wait()
		if won.Load() != 1 {
			t.Fatalf("%d Puts of %s succeeded, want 1", won.Load(), name)
		}
		w := winner.Load()
		if got := get(t, s, name, 0, -1); !bytes.Equal(got, noise(uint64(w), 50_000+int(w))) {
			t.Errorf("Get(%s) is not what the winner put", name)
		}
	}
}

func concurrentWork(t *testing.T, s blob.Store) {
	const workers, blobs = 8, 12
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for i := range blobs {
				name, data := blob.Name(fmt.Sprintf("d/%02d/%d-%d", i%4, w, i)), noise(uint64(w*blobs+i), 3000*i)
				if err := s.Put(t.Context(), name, bytes.NewReader(data), int64(len(data))); err != nil {
					t.Errorf("Put(%s): %v", name, err)
					continue
				}
				if got, err := read(t.Context(), s, name, 0, -1); err != nil || !bytes.Equal(got, data) {
					t.Errorf("Get(%s) = %d bytes, %v, want %d", name, len(got), err, len(data))
				}
				if i%2 == 1 {
					if err := s.Delete(t.Context(), name); err != nil {
						t.Errorf("Delete(%s): %v", name, err)
					}
				}
				for _, err := range s.List(t.Context(), "d/0") {
					if err != nil {
						t.Errorf("List(d/0): %v", err)
					}
				}
			}
		})
	}
	all.Wait()
	if got := len(list(t, s, "")); got != workers*blobs/2 {
		t.Errorf("%d blobs are left, want %d", got, workers*blobs/2)
	}
}

// randomHistory compares the store with a map, one operation after another.
func randomHistory(t *testing.T, s blob.Store) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	model := map[blob.Name][]byte{}
	names := hierarchy()
	for range 200 {
		name := names[rnd.IntN(len(names))]
		data, taken := model[name]
		switch rnd.IntN(4) {
		case 0, 1:
			fresh := noise(rnd.Uint64(), rnd.IntN(2000))
			err := s.Put(t.Context(), name, bytes.NewReader(fresh), int64(len(fresh)))
			if taken {
				wantError(t, "Put("+string(name)+")", err, blob.ErrExist)
			} else if err != nil {
				t.Fatalf("Put(%s): %v", name, err)
			} else {
				model[name] = fresh
			}
		case 2:
			remove(t, s, name)
			delete(model, name)
		case 3:
			got, err := read(t.Context(), s, name, 0, -1)
			if taken && (err != nil || !bytes.Equal(got, data)) || !taken && !errors.Is(err, blob.ErrNotExist) {
				t.Fatalf("Get(%s) = %d bytes, %v, want %d bytes (exists: %v)", name, len(got), err, len(data), taken)
			}
		}
	}
	infos := list(t, s, "")
	if len(infos) != len(model) {
		t.Errorf("List() has %d names, want %d", len(infos), len(model))
	}
	for _, info := range infos {
		if !bytes.Equal(get(t, s, info.Name, 0, -1), model[info.Name]) {
			t.Errorf("Get(%s) differs from the model", info.Name)
		}
	}
}
