package repo_test

import (
	"context"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
)

// retaining retains every pack for a day from when it is put, as a bucket with object lock does.
type retaining struct{ *mem.Store }

func (s retaining) Put(ctx context.Context, name blob.Name, r io.Reader, size int64) error {
	err := s.Store.Put(ctx, name, r, size)
	if err == nil && (strings.HasPrefix(string(name), "d/") || strings.HasPrefix(string(name), "m/")) {
		err = s.Retain(ctx, name, time.Now().Add(24*time.Hour))
	}
	return err
}

func TestReclaim_LeavesRetainedPacksForLater(t *testing.T) {
	t.Parallel()
	s, l := retaining{mem.New()}, localledger.New(localledger.Options{})
	var ahead atomic.Int64
	s.SetClock(func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) })
	v := create(t, s, l, small())
	empty := names(t, s)
	g := newGenerator(8)
	have := g.files(200)
	first := mustBackup(t, v, "", have, nil)
	changed := g.change(have)
	second := mustBackup(t, v, first, changed, have)
	w, err := v.NewWriter(t.Context(), repo.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := capture(t.Context(), w, g.files(100), nil); err != nil {
		t.Fatal(err)
	}
	if err := w.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := remove(t.Context(), v, l, first); err != nil {
		t.Fatal(err)
	}
	packs := func() (n int) {
		all := names(t, s)
		return len(all["d"]) + len(all["m"])
	}
	before := packs()
	for range 2 {
		if r := mustReclaim(t, v); r.PacksRetained == 0 || r.BytesRetained == 0 || r.PacksRemoved != 0 || r.BytesRemoved != 0 {
			t.Errorf("Reclaim = %+v, want retained packs and none removed", r)
		}
		if err := verify(t.Context(), v, second, changed); err != nil {
			t.Error(err)
		}
	}
	if n := packs(); n < before {
		t.Errorf("%d packs of %d are left, although they are retained", n, before)
	}
	if err := remove(t.Context(), v, l, second); err != nil {
		t.Fatal(err)
	}
	mustReclaim(t, v)
	ahead.Store(int64(25 * time.Hour))
	mustReclaim(t, v)
	if diff := cmp.Diff(empty, names(t, s)); diff != "" {
		t.Errorf("objects after the retention (-want +got):\n%s", diff)
	}
	if objects, _, err := l.Changes(t.Context(), 0); len(objects) != 0 || err != nil {
		t.Errorf("ledger has %d objects, %v, want none", len(objects), err)
	}
}
