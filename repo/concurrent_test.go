package repo_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/lockfast/lockfast/repo"
)

// history is what several resources should have as recovery points.
type history struct {
	mu     sync.Mutex
	points map[repo.PointID]files
}

func (h *history) add(id repo.PointID, f files) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.points[id] = f
}

// any returns a point.
func (h *history) any(g generator) (repo.PointID, files) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.points) == 0 {
		return "", nil
	}
	ids := slices.Sorted(maps.Keys(h.points))
	id := ids[g.IntN(len(ids))]
	return id, h.points[id]
}

// drop takes a point out if there are more than keep.
func (h *history) drop(g generator, keep int) repo.PointID {
	id, _ := h.any(g)
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.points) <= keep {
		return ""
	}
	delete(h.points, id)
	return id
}

func TestConcurrent_BackupsRestoresAndReclaims(t *testing.T) {
	t.Parallel()
	v, _, l := newVault(t)
	rounds := 8 * max(1, 10*soak())
	h := &history{points: map[repo.PointID]files{}}
	shared := newGenerator(99).files(30) // all resources have these
	var writers, others errgroup.Group
	stop := make(chan struct{})
	for i := range 3 {
		writers.Go(func() error { return writeHistory(t.Context(), v, h, newGenerator(uint64(i)), shared, rounds) })
	}
	for i := range 2 {
		others.Go(func() error { return restoreAny(t.Context(), v, h, newGenerator(uint64(50+i)), stop) })
	}
	others.Go(func() error {
		for {
			select {
			case <-stop:
				return nil
			default:
			}
			if _, err := v.Reclaim(t.Context(), repo.ReclaimOptions{}); err != nil {
				return fmt.Errorf("reclaim: %w", err)
			}
		}
	})
	others.Go(func() error {
		g := newGenerator(70)
		for {
			select {
			case <-stop:
				return nil
			default:
			}
			if id := h.drop(g, 6); id != "" {
				if err := remove(t.Context(), v, l, id); err != nil {
					return fmt.Errorf("delete: %w", err)
				}
			}
		}
	})
	err := writers.Wait()
	close(stop)
	if err := errors.Join(err, others.Wait()); err != nil {
		t.Fatal(err)
	}
	mustReclaim(t, v)
	for id, want := range h.points {
		if err := verify(t.Context(), v, id, want); err != nil {
			t.Error(err)
		}
	}
	if err := errors.Join(sound(t.Context(), v), exact(t.Context(), v)); err != nil {
		t.Error(err)
	}
}

// writeHistory makes versions of one resource.
func writeHistory(ctx context.Context, v *repo.Vault, h *history, g generator, shared files, rounds int) error {
	have := maps.Clone(shared)
	parent := repo.PointID("")
	var before files
	for range rounds {
		have = g.change(have)
		id, err := backup(ctx, v, parent, have, before)
		if errors.Is(err, repo.ErrNotFound) {
			parent, before = "", nil // the parent was deleted
			continue
		}
		if err != nil {
			return fmt.Errorf("backup: %w", err)
		}
		h.add(id, have)
		parent, before = id, have
	}
	return nil
}

// restoreAny restores points until stop is closed.
func restoreAny(ctx context.Context, v *repo.Vault, h *history, g generator, stop <-chan struct{}) error {
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		id, want := h.any(g)
		if id == "" {
			continue
		}
		if err := verify(ctx, v, id, want); err != nil && !errors.Is(err, repo.ErrNotFound) {
			return err
		}
	}
}
