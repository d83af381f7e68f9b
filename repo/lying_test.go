package repo_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"testing"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/fault"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo"
)

// TestModel_LyingLists runs random histories on a store whose lists lack what is new, show what is gone, repeat themselves
// or come in the wrong order. Work may fail for it; what was committed must be there all the same, and nothing must be left
// once lists are true again.
func TestModel_LyingLists(t *testing.T) {
	t.Parallel()
	failed := 0
	histories(t, 30, 10_000, func(t *testing.T, seed uint64) error {
		f, err := lyingHistory(t.Context(), seed)
		failed += f
		return err
	})
	t.Logf("%d steps failed for lists", failed)
}

// hiding is a store whose lists lack some names.
type hiding struct {
	blob.Store
	hidden map[blob.Name]bool
}

func (h hiding) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		for info, err := range h.Store.List(ctx, prefix) {
			if !h.hidden[info.Name] && !yield(info, err) {
				return
			}
		}
	}
}

// TestLists_ThatHideTheNewestRefset has a refset that was rewritten while the one before it is still there, as after a crash
// between the two, and lists that show only that one. It names packs that are gone.
func TestLists_ThatHideTheNewestRefset(t *testing.T) {
	t.Parallel()
	v, s, l := newVault(t)
	g := newGenerator(34)
	old := g.files(40)
	first := mustBackup(t, v, "", old, nil)
	have := g.change(old)
	id := mustBackup(t, v, first, have, old)
	before := blob.Name("f/" + string(id))
	content := raw(t, s, before)
	if err := remove(t.Context(), v, l, first); err != nil {
		t.Fatal(err)
	}
	reclaimAll(t, v)
	after := names(t, s)["f"]
	if len(after) != 1 || after[0] == before {
		t.Fatalf("refsets after reclaim = %v, want a new one", after)
	}
	put(t, s, before, content)
	v.Close()
	v = reopen(t, hiding{s, map[blob.Name]bool{after[0]: true}}, l)
	if err := verify(t.Context(), v, id, have); err != nil {
		t.Error(err)
	}
	mustReclaim(t, v)
	if err := verify(t.Context(), v, id, have); err != nil {
		t.Errorf("after another reclaim: %v", err)
	}
	v.Close()
	if err := verify(t.Context(), reopen(t, s, l), id, have); err != nil {
		t.Errorf("with true lists: %v", err)
	}
}

// TestLists_ThatHideATornRefset has a refset whose next generation was cut while it was written, and lists that show neither.
func TestLists_ThatHideATornRefset(t *testing.T) {
	t.Parallel()
	v, s, l := newVault(t)
	have := newGenerator(35).files(40)
	id := mustBackup(t, v, "", have, nil)
	v.Close()
	first, second := blob.Name("f/"+string(id)), blob.Name("f/"+string(id)+".2")
	put(t, s, second, raw(t, s, first)[:100])
	v = reopen(t, hiding{s, map[blob.Name]bool{first: true, second: true}}, l)
	if err := verify(t.Context(), v, id, have); err != nil {
		t.Error(err)
	}
	mustReclaim(t, v)
	if err := sound(t.Context(), v); err != nil {
		t.Error(err)
	}
}

// lie has a store give lists of a kind that stores may give.
func lie(rnd *rand.Rand, s *fault.Store) {
	s.Clear()
	kind := []fault.Kind{fault.Stale, fault.Stale, fault.Lag, fault.Linger, fault.Repeat, fault.Unsorted}[rnd.IntN(6)]
	s.Add(fault.Rule{Op: fault.List, Kind: kind, N: int64(rnd.IntN(12))})
}

func lyingHistory(ctx context.Context, seed uint64) (failed int, err error) {
	m := &model{machine: newMachine(0, cutBefore), generator: newGenerator(seed), lines: map[int]line{}}
	liar := fault.New(mem.New())
	m.store = liar
	lie(m.Rand, liar)
	if m.v, err = m.machine.open(ctx); err != nil {
		return failed, err
	}
	defer func() { m.v.Close() }()
	for step := range 8 + m.IntN(20) {
		lie(m.Rand, liar)
		if m.IntN(6) == 0 {
			m.mu.Lock()
			m.at, m.mode = m.steps+1+m.IntN(25), cutMode(m.IntN(int(cutModes)))
			m.mu.Unlock()
		}
		name, err := m.step(ctx)
		if err != nil && m.off {
			if err = m.crash(ctx); err != nil {
				return failed, fmt.Errorf("step %d, %s: %w", step, name, err)
			}
			continue
		}
		if err != nil {
			failed++
			if errors.Is(err, repo.ErrDamaged) || name == "compare" {
				return failed, fmt.Errorf("step %d, %s took a list for damage: %w", step, name, err)
			}
		}
	}
	liar.Clear()
	if err := m.end(ctx); err != nil && !m.off {
		return failed, fmt.Errorf("end: %w", err)
	}
	if err := m.crash(ctx); err != nil {
		return failed, err
	}
	return failed, m.inspect(ctx, m.v)
}
