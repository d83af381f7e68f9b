package repo_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
)

// another opens a vault once more, as another node would.
func another(t testing.TB, s blob.Store, l repo.Ledger) *repo.Vault {
	t.Helper()
	v, err := repo.Open(t.Context(), s, l, testKey, repo.Options{Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

// forgetful is a ledger that remembers nothing of what was forgotten.
type forgetful struct{ repo.Ledger }

func (l forgetful) Changes(ctx context.Context, since uint64) ([]repo.Object, uint64, error) {
	if since > 0 {
		return nil, 0, repo.ErrStale
	}
	return l.Ledger.Changes(ctx, since)
}

func TestNodes_LearnWhatAnotherOneReclaimed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		view func(repo.Ledger) repo.Ledger
	}{
		{"told", func(l repo.Ledger) repo.Ledger { return l }},
		{"from all rows", func(l repo.Ledger) repo.Ledger { return forgetful{l} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a, s, l := newVault(t)
			have := newGenerator(1).files(200)
			first := mustBackup(t, a, "", have, nil)
			b := another(t, s, c.view(l)) // knows the packs of the first point
			if err := remove(t.Context(), a, l, first); err != nil {
				t.Fatal(err)
			}
			mustReclaim(t, a)
			second := mustBackup(t, b, "", have, nil)
			for _, v := range []*repo.Vault{a, b} {
				if err := errors.Join(verify(t.Context(), v, second, have), sound(t.Context(), v)); err != nil {
					t.Error(err)
				}
			}
			if err := remove(t.Context(), b, l, second); err != nil {
				t.Fatal(err)
			}
			mustReclaim(t, b)
			if objects, _, err := l.Changes(t.Context(), 0); len(objects) != 0 || err != nil {
				t.Errorf("ledger has %d objects, %v, want none", len(objects), err)
			}
		})
	}
}

func TestNodes_ReaderFollowsPacksThatAnotherOneMoves(t *testing.T) {
	t.Parallel()
	a, s, l := newVault(t)
	g := newGenerator(2)
	versions := []files{g.files(200)}
	points := []repo.PointID{mustBackup(t, a, "", versions[0], nil)}
	for i := range 6 {
		versions = append(versions, g.change(versions[i]))
		points = append(points, mustBackup(t, a, points[i], versions[i+1], versions[i]))
	}
	b := another(t, s, l)
	last := len(points) - 1
	p, err := b.OpenPoint(t.Context(), points[last])
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for i, id := range points {
		if err := remove(t.Context(), a, l, id); err != nil { // the last one, too: the reader pins it
			t.Fatal(err)
		}
		reclaimed := make(chan error, 1)
		go func() {
			_, err := a.Reclaim(t.Context(), repo.ReclaimOptions{})
			reclaimed <- err
		}()
		got, err := fetch(t.Context(), p)
		if err == nil {
			err = versions[last].equal(got)
		}
		if err := errors.Join(err, repo.LookAtEpoch(b, reclaimed)); err != nil {
			t.Fatalf("after %d deletions: %v", i+1, err)
		}
	}
}

// suspended runs work on node A, which stands still at its change n until others, on node B, are done; the leases of A have
// run out by then. It reports false when the work has fewer changes.
func suspended(t *testing.T, m *machine, n int, ahead *atomic.Int64, work, others func() error) bool {
	t.Helper()
	reached, resume, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	m.mu.Lock()
	m.at, m.mode, m.what = m.steps+n, suspend, ""
	m.cutting = func() { close(reached); <-resume }
	m.mu.Unlock()
	go func() { done <- work() }()
	select {
	case err := <-done:
		if err != nil {
			t.Fatalf("undisturbed: %v", err)
		}
		return false
	case <-reached:
	}
	ahead.Add(int64(time.Hour))
	err := others()
	close(resume)
	if err != nil {
		t.Fatalf("B, while A stands still at %q: %v", m.what, err)
	}
	if err := <-done; err != nil && !errors.Is(err, repo.ErrFenced) && !errors.Is(err, repo.ErrNotFound) &&
		!errors.Is(err, blob.ErrExist) {
		t.Errorf("A, which stood still at %q: %v", m.what, err)
	}
	return true
}

// newNodes returns a machine that is node A, and the other node, which is never cut. ahead shifts the clock of leases.
func newNodes(t *testing.T, ahead *atomic.Int64) (m *machine, a, b *repo.Vault) {
	t.Helper()
	m = newMachine(0, suspend)
	m.ledger = localledger.New(localledger.Options{Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	a, err := m.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return m, a, another(t, m.store, m.ledger)
}

// TestNodes_CollectorThatWakesLate has a collector stand still at every one of its changes, while another node takes over,
// deletes, reclaims and backs up.
func TestNodes_CollectorThatWakesLate(t *testing.T) {
	t.Parallel()
	for n, more := 1, true; more; n++ {
		var ahead atomic.Int64
		ctx := t.Context()
		m, a, b := newNodes(t, &ahead)
		g := newGenerator(3)
		v1 := g.files(60)
		v2 := g.change(v1)
		v3 := g.change(v2)
		p1 := mustBackup(t, a, "", v1, nil)
		p2 := mustBackup(t, b, p1, v2, v1)
		if err := remove(ctx, b, m.ledger, p1); err != nil {
			t.Fatal(err)
		}
		var p3, p4 repo.PointID
		more = suspended(t, m, n, &ahead, func() error {
			_, err := a.Reclaim(ctx, repo.ReclaimOptions{})
			return err
		}, func() (err error) {
			if p3, err = backup(ctx, b, p2, v3, v2); err != nil {
				return err
			}
			if err = remove(ctx, b, m.ledger, p2); err != nil {
				return err
			}
			if _, err = b.Reclaim(ctx, repo.ReclaimOptions{}); err != nil {
				return err
			}
			p4, err = backup(ctx, b, "", v1, nil) // what A may be about to remove is stored anew
			return err
		})
		if !more {
			break
		}
		for round := range 2 {
			for _, v := range []*repo.Vault{a, b} {
				err := errors.Join(verify(ctx, v, p3, v3), verify(ctx, v, p4, v1), sound(ctx, v))
				if err != nil {
					t.Fatalf("A stood still at %q, round %d: %v", m.what, round, err)
				}
			}
			mustReclaim(t, []*repo.Vault{a, b}[round])
		}
	}
}

// TestNodes_WriterThatWakesLate has a writer stand still at every one of its changes, while another node takes what the
// writer relies on away.
func TestNodes_WriterThatWakesLate(t *testing.T) {
	t.Parallel()
	steps := 0
	for n, more := 1, true; more; n++ {
		var ahead atomic.Int64
		ctx := t.Context()
		m, a, b := newNodes(t, &ahead)
		g := newGenerator(4)
		v1 := g.files(60)
		v2 := g.change(v1)
		p1 := mustBackup(t, b, "", v1, nil)
		var p2, p3 repo.PointID
		var failed error
		more = suspended(t, m, n, &ahead, func() error {
			p2, failed = m.backup(ctx, a, p1, v2, v1)
			return failed
		}, func() (err error) {
			if m.what == "ledger close" { // committed before
				return nil
			}
			if err = remove(ctx, b, m.ledger, p1); err != nil {
				return err
			}
			if _, err = b.Reclaim(ctx, repo.ReclaimOptions{}); err != nil {
				return err
			}
			p3, err = backup(ctx, b, "", v1, nil)
			return err
		})
		if !more {
			break
		}
		steps++
		if committed := strings.HasSuffix(m.what, "close"); (failed == nil) != committed {
			t.Errorf("backup that stood still at %q past its lease = %v, committed before: %t", m.what, failed, committed)
		}
		for id, want := range map[repo.PointID]files{p2: v2, p3: v1} {
			if id == "" {
				continue
			}
			if err := verify(ctx, b, id, want); err != nil {
				t.Fatalf("A stood still at %q: %v", m.what, err)
			}
		}
		if err := sound(ctx, b); err != nil {
			t.Fatalf("A stood still at %q: %v", m.what, err)
		}
	}
	if steps < 10 {
		t.Errorf("a backup has %d changes, want at least 10", steps)
	}
}

// TestNodes_SecondCollectorWaits has a second node refused while a collector is alive.
func TestNodes_SecondCollectorWaits(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	m, a, b := newNodes(t, &ahead)
	have := newGenerator(5).files(60)
	id := mustBackup(t, a, "", have, nil)
	if err := remove(t.Context(), a, m.ledger, id); err != nil {
		t.Fatal(err)
	}
	reached := suspended(t, m, 2, &ahead, func() error {
		_, err := a.Reclaim(t.Context(), repo.ReclaimOptions{})
		return err
	}, func() error {
		ahead.Store(0) // the lease of A has not run out
		if _, err := b.Reclaim(t.Context(), repo.ReclaimOptions{}); !errors.Is(err, repo.ErrBusy) {
			return fmt.Errorf("reclaim beside another = %w, want %w", err, repo.ErrBusy)
		}
		return nil
	})
	if !reached {
		t.Fatal("reclaim had nothing to do")
	}
	if objects, _, err := m.ledger.Changes(t.Context(), 0); len(objects) != 0 || err != nil {
		t.Errorf("the first collector left %d objects, %v, want none", len(objects), err)
	}
}

func TestNodes_BackupsRestoresAndReclaimsOnAll(t *testing.T) {
	t.Parallel()
	a, s, l := newVault(t)
	nodes := []*repo.Vault{a, another(t, s, l), another(t, s, l)}
	h := &history{points: map[repo.PointID]files{}}
	shared := newGenerator(99).files(30)
	rounds := 6 * max(1, 10*soak())
	var writers, others errgroup.Group
	stop := make(chan struct{})
	for i, v := range nodes {
		writers.Go(func() error { return writeHistory(t.Context(), v, h, newGenerator(uint64(i)), shared, rounds) })
		others.Go(func() error { return restoreAny(t.Context(), v, h, newGenerator(uint64(50+i)), stop) })
		others.Go(func() error {
			return until(stop, func() error { return dropAndReclaim(t.Context(), v, l, h, uint64(70+i)) })
		})
		// A test does not wait the seconds after which a session looks for an epoch that another process began.
		others.Go(func() error { return until(stop, func() error { repo.Poke(v); return nil }) })
	}
	err := writers.Wait()
	close(stop)
	if err := errors.Join(err, others.Wait()); err != nil {
		t.Fatal(err)
	}
	mustReclaim(t, nodes[1])
	for id, want := range h.points {
		for _, v := range nodes {
			if err := verify(t.Context(), v, id, want); err != nil {
				t.Error(err)
			}
		}
	}
	if err := errors.Join(sound(t.Context(), nodes[2]), exact(t.Context(), nodes[2])); err != nil {
		t.Error(err)
	}
}

// until repeats work until stop is closed.
func until(stop <-chan struct{}, work func() error) error {
	for {
		select {
		case <-stop:
			return nil
		case <-time.After(time.Millisecond):
		}
		if err := work(); err != nil {
			return err
		}
	}
}

func dropAndReclaim(ctx context.Context, v *repo.Vault, l repo.Ledger, h *history, seed uint64) error {
	if id := h.drop(newGenerator(seed), 6); id != "" {
		if err := remove(ctx, v, l, id); err != nil {
			return fmt.Errorf("delete: %w", err)
		}
	}
	if _, err := v.Reclaim(ctx, repo.ReclaimOptions{}); err != nil && !errors.Is(err, repo.ErrBusy) {
		return fmt.Errorf("reclaim: %w", err)
	}
	return nil
}
