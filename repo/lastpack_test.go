package repo_test

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo/localledger"
)

// holdingStore holds the first data pack until a pack of metadata, which is stored last, has been put.
type holdingStore struct {
	blob.Store
	first, done sync.Once
	last        chan struct{} // closed when a pack of metadata has been put
	under       atomic.Int64  // data packs being put
	early       atomic.Bool   // the index was put before them
}

func (s *holdingStore) Put(ctx context.Context, name blob.Name, r io.Reader, size int64) error {
	switch prefix, _, _ := strings.Cut(string(name), "/"); prefix {
	case "d":
		s.under.Add(1)
		defer s.under.Add(-1)
		held := false
		s.first.Do(func() { held = true })
		if !held {
			break
		}
		select {
		case <-s.last:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		for range 20_000 { // what does not wait for this pack gets ahead
			runtime.Gosched()
		}
	case "m":
		defer s.done.Do(func() { close(s.last) })
	case "x":
		if s.under.Load() > 0 {
			s.early.Store(true)
		}
	}
	return s.Store.Put(ctx, name, r, size)
}

// The last packs are stored beside full ones that are still on their way, and the index only after all of them.
func TestWriter_StoresLastPacksBesideFullOnes(t *testing.T) {
	t.Parallel()
	plain, l := mem.New(), localledger.New(localledger.Options{})
	s := &holdingStore{Store: plain, last: make(chan struct{})}
	v := create(t, s, l, small())
	g, want := newGenerator(3), files{}
	for i := range 100 {
		want[fmt.Sprintf("f%03d", i)] = g.data(15_000 + i)
	}
	id := mustBackup(t, v, "", want, nil)
	if s.early.Load() {
		t.Error("the index was put before all packs were")
	}
	holds(t, v, plain, id, want)
}
