package repo_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/fault"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
)

// waitingStore holds up one Put of a data pack until a data pack was removed.
type waitingStore struct {
	blob.Store
	puts    atomic.Int32 // of data packs that are still to pass; not above zero before the one that waits
	removed chan struct{}
	late    atomic.Bool // it waited in vain
}

func (s *waitingStore) Put(ctx context.Context, name blob.Name, r io.Reader, size int64) error {
	if strings.HasPrefix(string(name), "d/") && s.puts.Add(-1) == 0 {
		select {
		case <-s.removed:
		case <-time.After(20 * time.Second):
			s.late.Store(true)
		}
	}
	return s.Store.Put(ctx, name, r, size)
}

func (s *waitingStore) Delete(ctx context.Context, name blob.Name) error {
	err := s.Store.Delete(ctx, name)
	if err == nil && strings.HasPrefix(string(name), "d/") {
		select {
		case s.removed <- struct{}{}:
		default:
		}
	}
	return err
}

// TestReclaim_GivesSpaceBackAsItGoes: what was moved is removed while other packs are still moved.
func TestReclaim_GivesSpaceBackAsItGoes(t *testing.T) {
	t.Parallel()
	disk, l := newSmallDisk(), localledger.New(localledger.Options{})
	s := &waitingStore{Store: disk, removed: make(chan struct{}, 1)}
	v := create(t, s, l, small())
	g := newGenerator(29)
	all := g.files(3000)
	kept := g.third(all)
	gone := mustBackup(t, v, "", all, nil)
	stays := mustBackup(t, v, gone, kept, all)
	if err := remove(t.Context(), v, l, gone); err != nil {
		t.Fatal(err)
	}
	s.puts.Store(12)
	report := mustReclaim(t, v)
	if s.puts.Load() > 0 {
		t.Fatalf("the reclaim wrote %d packs, which are too few for this test", report.PacksWritten)
	}
	if s.late.Load() {
		t.Errorf("no pack was removed before the last of %d was written", report.PacksWritten)
	}
	if dead, err := v.Usage(t.Context()); err != nil || dead.DeadBytes != 0 {
		t.Errorf("dead bytes after reclaim = %d, %v, want 0", dead.DeadBytes, err)
	}
	if err := errors.Join(verify(t.Context(), v, stays, kept), sound(t.Context(), v)); err != nil {
		t.Error(err)
	}
	if again := mustReclaim(t, v); again.PacksRemoved != 0 {
		t.Errorf("a second reclaim removed %d packs, want none", again.PacksRemoved)
	}
}

// TestReclaim_GoesOnAfterAnErrorOfSettling: a reclaim that cannot remove what was moved ends with that error while others are still to be
// moved, and a later one finishes.
func TestReclaim_GoesOnAfterAnErrorOfSettling(t *testing.T) {
	t.Parallel()
	disk, l := newSmallDisk(), localledger.New(localledger.Options{})
	broken := errors.New("the disk broke")
	s := fault.New(disk)
	v := create(t, s, l, small())
	repo.SettleEach(v)
	g := newGenerator(31)
	all := g.files(1500)
	kept := g.third(all)
	gone := mustBackup(t, v, "", all, nil)
	stays := mustBackup(t, v, gone, kept, all)
	if err := remove(t.Context(), v, l, gone); err != nil {
		t.Fatal(err)
	}
	s.Add(fault.Rule{Op: fault.Delete, Name: "d/*/*", Err: broken})
	if _, err := v.Reclaim(t.Context(), repo.ReclaimOptions{}); !errors.Is(err, broken) {
		t.Errorf("reclaim = %v, want %v", err, broken)
	}
	if err := errors.Join(verify(t.Context(), v, stays, kept), sound(t.Context(), v)); err != nil {
		t.Error(err)
	}
	s.Clear()
	mustReclaim(t, v)
	if usage, err := v.Usage(t.Context()); err != nil || usage.DeadBytes != 0 {
		t.Errorf("dead bytes after a second reclaim = %d, %v, want 0", usage.DeadBytes, err)
	}
	if err := errors.Join(verify(t.Context(), v, stays, kept), sound(t.Context(), v)); err != nil {
		t.Error(err)
	}
}

// hintedStore counts Puts of packs, by whether they ask to go past the cache.
type hintedStore struct {
	blob.Store
	past, usual atomic.Int32
}

func (s *hintedStore) Put(ctx context.Context, name blob.Name, r io.Reader, size int64) error {
	switch {
	case !strings.HasPrefix(string(name), "d/"):
	case blob.IsPastCache(ctx):
		s.past.Add(1)
	default:
		s.usual.Add(1)
	}
	return s.Store.Put(ctx, name, r, size)
}

// TestReclaim_WritesPastTheCache: what it moves is old, and nobody will read it soon; what a backup stores is what the next reclaim reads.
func TestReclaim_WritesPastTheCache(t *testing.T) {
	t.Parallel()
	s, l := &hintedStore{Store: mem.New()}, localledger.New(localledger.Options{})
	v := create(t, s, l, small())
	second := files{"needed": randomBytes(200_000)}
	first := files{"needed": second["needed"], "dropped": randomBytes(200_000)}
	a := mustBackup(t, v, "", first, nil)
	mustBackup(t, v, a, second, first)
	if s.past.Load() != 0 || s.usual.Load() == 0 {
		t.Errorf("backups put %d packs past the cache and %d the usual way, want all the usual way", s.past.Load(), s.usual.Load())
	}
	s.usual.Store(0)
	if err := remove(t.Context(), v, l, a); err != nil {
		t.Fatal(err)
	}
	mustReclaim(t, v)
	if s.past.Load() == 0 || s.usual.Load() != 0 {
		t.Errorf("a reclaim put %d packs past the cache and %d the usual way, want all past it", s.past.Load(), s.usual.Load())
	}
}
