package repo_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"testing"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
)

// What a session pins is free only when it has ended, and no part of it before.
func TestWouldFree_TellsWhatSessionsPin(t *testing.T) {
	t.Parallel()
	v, _, _ := newVault(t)
	first, second := manySmall(11)
	a := mustBackup(t, v, "", first, nil)
	b := mustBackup(t, v, a, second, first)
	free := func() repo.Freed {
		f, err := v.WouldFree(t.Context(), []repo.PointID{b, "gone"})
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	before := free()
	if before.Points != 1 || before.SlotBytes == 0 || before.PartBytes != 0 || before.PinnedBytes != 0 {
		t.Errorf("without sessions = %+v", before)
	}
	p, err := v.OpenPoint(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	if f := free(); f.SlotBytes != 0 || f.PinnedBytes != before.SlotBytes || f.SharedBytes != before.SharedBytes {
		t.Errorf("while it is read = %+v, want everything pinned of %+v", f, before)
	}
	p.Close()
	if f := free(); f != before {
		t.Errorf("afterwards = %+v, want %+v", f, before)
	}
}

// Parts that a running session may come to need are not dead yet.
func TestMeasure_CountsNoPartsThatSessionsPin(t *testing.T) {
	t.Parallel()
	v, _, _, kept, _ := halfDead(t)
	dead := func() int64 {
		u, err := v.Usage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return u.DeadPartBytes
	}
	before := dead()
	w, err := v.NewWriter(t.Context(), repo.WriterOptions{Parent: kept})
	if err != nil {
		t.Fatal(err)
	}
	if n := dead(); before == 0 || n != 0 {
		t.Errorf("dead parts = %d, and beside a backup %d, want none", before, n)
	}
	if err := w.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustReclaim(t, v)
	if n := dead(); n != 0 {
		t.Errorf("dead parts after a reclaim = %d", n)
	}
}

// As in a reclaim, all bundles are needed whole as long as a tree cannot be read. Slots are counted all the same.
func TestMeasure_WhenATreeIsDamaged(t *testing.T) {
	t.Parallel()
	v, s, l, kept, _ := halfDead(t)
	before := names(t, s)["m"]
	other := mustBackup(t, v, "", newGenerator(10).files(20), nil)
	want, err := v.PointSizes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v.Close()
	for _, name := range names(t, s)["m"] {
		if !slices.Contains(before, name) {
			overwrite(t, s, name, func(b []byte) []byte {
				for i := 200; i < len(b); i += 500 { // more than parity restores
					b[i]++
				}
				return b
			})
		}
	}
	v, err = repo.Open(t.Context(), s, l, testKey, repo.Options{Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	m, err := v.Measure(t.Context(), nil)
	if err != nil || m.DeadPartBytes != 0 || m.Sizes[kept] != want[kept] || m.Sizes[other] != want[other] {
		t.Errorf("Measure = %+v, %v, want no dead parts and the sizes %+v", m, err, want)
	}
	f, err := v.WouldFree(t.Context(), []repo.PointID{kept})
	if err != nil || f.SlotBytes != want[kept].Unique {
		t.Errorf("WouldFree = %+v, %v, want %d bytes", f, err, want[kept].Unique)
	}
}

// listCounter counts listings.
type listCounter struct {
	blob.Store
	lists int
}

func (s *listCounter) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	s.lists++
	return s.Store.List(ctx, prefix)
}

// A measure is not repeated when nothing has changed, and not kept when something has.
func TestMeasure_IsKeptUntilSomethingChanges(t *testing.T) {
	t.Parallel()
	_, inner, l := newVault(t)
	s := &listCounter{Store: inner}
	v, err := repo.Open(t.Context(), s, l, testKey, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	have := newGenerator(12).files(30)
	a := mustBackup(t, v, "", have, nil)
	measure := func(held bool) (repo.Measure, int) {
		before := s.lists
		m, err := v.Measure(t.Context(), func(repo.PointID) bool { return held })
		if err != nil {
			t.Fatal(err)
		}
		return m, s.lists - before
	}
	m, lists := measure(false)
	if lists == 0 || m.Points != 1 || m.LockedBytes != 0 || m.Sizes[a].Unique == 0 {
		t.Fatalf("first measure = %+v with %d listings", m, lists)
	}
	if again, lists := measure(false); lists != 0 || again.Usage != m.Usage {
		t.Errorf("second measure = %+v with %d listings, want the first one", again, lists)
	}
	if m, _ := measure(true); m.LockedBytes != m.Sizes[a].Referenced {
		t.Errorf("LockedBytes = %d of a point that is held, want %d", m.LockedBytes, m.Sizes[a].Referenced)
	}
	if err := errors.Join(v.DeletePoint(t.Context(), a), l.Remove(t.Context(), a)); err != nil {
		t.Fatal(err)
	}
	if m, _ := measure(false); m.Points != 0 || len(m.Sizes) != 0 || m.DeadBytes == 0 || m.LiveBytes != 0 {
		t.Errorf("after the deletion = %+v", m)
	}
}

// Beside backups, deletions and reclaims a measure may have to begin again, but never takes what moves for damage.
func TestMeasure_BesideEverything(t *testing.T) {
	t.Parallel()
	v, _, l := newVault(t)
	g := newGenerator(13)
	done := make(chan error, 1)
	go func() {
		defer close(done)
		have := g.files(30)
		var last repo.PointID
		for i := range 30 {
			next := g.change(have)
			id, err := backup(t.Context(), v, last, next, have)
			if err == nil && i%3 > 0 {
				err = remove(t.Context(), v, l, last)
			}
			if err == nil && i%2 == 0 {
				_, err = v.Reclaim(t.Context(), repo.ReclaimOptions{})
			}
			if err != nil {
				done <- err
				return
			}
			last, have = id, next
		}
	}()
	for n := 0; ; n++ {
		m, err := v.Measure(t.Context(), nil)
		if err == nil && n%2 == 0 {
			for id := range m.Sizes {
				if _, err = v.WouldFree(t.Context(), []repo.PointID{id}); err != nil {
					break
				}
			}
		}
		if err != nil {
			t.Errorf("measure %d gave up: %v", n, err)
		}
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			if err := sound(t.Context(), v); err != nil {
				t.Error(err)
			}
			if _, err := v.Measure(t.Context(), nil); err != nil {
				t.Errorf("measure of what rests: %v", err)
			}
			return
		default:
		}
	}
}

// What is in cold storage counts as any other, uniquely too, and apart.
func TestMeasure_CountsColdStorage(t *testing.T) {
	t.Parallel()
	s, l := mem.New(), localledger.New(localledger.Options{})
	v := create(t, s, l, coldOptions())
	g := newGenerator(21)
	old := g.files(60)
	first := mustBackup(t, v, "", old, nil)
	second := mustBackup(t, v, first, g.change(old), old)
	cold := mustMoveToCold(t, v, l, first)
	reclaimAll(t, v)
	m, err := v.Measure(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	c, z := m.Cold, m.Sizes[cold]
	if c.Points != 1 || c.LiveBytes == 0 || c.LiveBytes >= m.LiveBytes || c.DeadBytes != 0 || c.DeadPartBytes != 0 {
		t.Errorf("cold storage has %+v of %+v", c, m.Usage)
	}
	if z.Unique == 0 || z.Unique > z.Referenced || z.Logical == 0 || m.Sizes[second].Unique == 0 {
		t.Errorf("sizes = %+v", m.Sizes)
	}
	f, err := v.WouldFree(t.Context(), []repo.PointID{cold})
	if err != nil || f.SlotBytes != z.Unique || f.ColdBytes == 0 || f.ColdBytes > f.SlotBytes {
		t.Errorf("WouldFree = %+v, %v, want %d bytes, most of them cold", f, err, z.Unique)
	}
	if err := remove(t.Context(), v, l, cold); err != nil {
		t.Fatal(err)
	}
	if u, err := v.ColdUsage(t.Context()); err != nil || u != (repo.ColdUsage{DeadBytes: c.LiveBytes}) {
		t.Errorf("ColdUsage = %+v, %v after the deletion, want %d dead bytes", u, err, c.LiveBytes)
	}
	reclaimAll(t, v)
	if u, err := v.ColdUsage(t.Context()); err != nil || u != (repo.ColdUsage{}) {
		t.Errorf("ColdUsage = %+v, %v after a reclaim, want nothing", u, err)
	}
}
