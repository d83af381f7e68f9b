package repo_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
)

// streamStore counts how packs come, and can fail in the middle of one.
type streamStore struct {
	*mem.Store

	mu       sync.Mutex
	whole    int   // packs
	streamed int   // packs
	breakAt  int64 // bytes of a stream after which it fails; negative = none does
	err      error // of it
}

func (s *streamStore) Put(ctx context.Context, name blob.Name, r io.Reader, size int64) error {
	if strings.HasPrefix(string(name), "d/") {
		s.mu.Lock()
		s.whole++
		s.mu.Unlock()
	}
	return s.Store.Put(ctx, name, r, size)
}

func (s *streamStore) PutStream(ctx context.Context, name blob.Name, r io.Reader) error {
	s.mu.Lock()
	s.streamed++
	breakAt := s.breakAt
	s.mu.Unlock()
	if breakAt >= 0 {
		if _, err := io.CopyN(io.Discard, r, breakAt); err != nil {
			return err // the pack is shorter
		}
		return fmt.Errorf("put %s: %w", name, s.err)
	}
	return s.Store.PutStream(ctx, name, r)
}

// partlyDead returns a vault with packs of which a part is needed, by a point with the files.
func partlyDead(t *testing.T, o repo.CreateOptions) (*repo.Vault, *streamStore, repo.PointID, files) {
	t.Helper()
	s, l := &streamStore{Store: mem.New(), breakAt: -1}, localledger.New(localledger.Options{})
	v := create(t, s, l, o)
	g := newGenerator(12)
	all := g.files(600)
	kept := g.third(all)
	gone, stays := mustBackup(t, v, "", all, nil), mustBackup(t, v, "", kept, nil)
	if err := remove(t.Context(), v, l, gone); err != nil {
		t.Fatal(err)
	}
	s.whole, s.streamed = 0, 0
	return v, s, stays, kept
}

// TestReclaim_StoresPacksAsTheyFill unless parity of them is wanted, which needs all their bytes.
func TestReclaim_StoresPacksAsTheyFill(t *testing.T) {
	t.Parallel()
	for _, whole := range []bool{false, true} {
		o := small()
		o.Options.DataParity = whole
		v, s, stays, kept := partlyDead(t, o)
		mustReclaim(t, v)
		if whole != (s.whole > 0) || whole == (s.streamed > 0) {
			t.Errorf("with parity of data %t: %d data packs came whole and %d as they filled", whole, s.whole, s.streamed)
		}
		if err := errors.Join(verify(t.Context(), v, stays, kept), sound(t.Context(), v)); err != nil {
			t.Error(err)
		}
	}
}

// TestReclaim_FailsInTheMiddleOfAPack whatever the error looks like: it says nothing of the packs that are read.
func TestReclaim_FailsInTheMiddleOfAPack(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	v, s, stays, kept := partlyDead(t, small())
	for _, failure := range []error{broken, blob.ErrNotExist, repo.ErrDamaged} {
		for _, at := range []int64{0, 1, 5000, 20_000} {
			s.breakAt, s.err = at, failure
			report, err := v.Reclaim(t.Context(), repo.ReclaimOptions{})
			if err == nil || !errors.Is(err, failure) || !strings.Contains(err.Error(), "put d/") {
				t.Errorf("Reclaim whose store fails after %d bytes with %q = %v, want an error that says where", at, failure, err)
			}
			if report.DamagedPacks > 0 {
				t.Errorf("Reclaim whose store fails with %q takes %d packs for damaged", failure, report.DamagedPacks)
			}
			if err := errors.Join(verify(t.Context(), v, stays, kept), sound(t.Context(), v)); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.breakAt = -1
	if report := mustReclaim(t, v); report.PacksRemoved == 0 || report.DamagedPacks > 0 {
		t.Errorf("Reclaim when the store is well again = %+v", report)
	}
	if err := errors.Join(verify(t.Context(), v, stays, kept), sound(t.Context(), v)); err != nil {
		t.Error(err)
	}
}
