package repo_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/lockfast/lockfast/blob/fault"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo"
)

// TestModel_LyingLists runs random histories on a store whose lists lack what is new, show what is gone, repeat themselves
// or come in the wrong order. Work may fail for it; what was committed must be there all the same, and nothing must be left
// once lists are true again.
func TestModel_LyingLists(t *testing.T) {
	t.Parallel()
	seed := *modelSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	failed := 0
	for n := range uint64(30 + 10_000*soak()) {
		f, err := lyingHistory(t.Context(), seed+n)
		if err != nil {
			t.Fatalf("-seed %d: %v", seed+n, err)
		}
		failed += f
	}
	t.Logf("%d steps failed for lists", failed)
}

// lie is a kind of list that a store may give.
func (m *model) lie(s *fault.Store) {
	s.Clear()
	kind := []fault.Kind{fault.Stale, fault.Stale, fault.Lag, fault.Linger, fault.Repeat, fault.Unsorted}[m.IntN(6)]
	s.Add(fault.Rule{Op: fault.List, Kind: kind, N: int64(m.IntN(12))})
}

func lyingHistory(ctx context.Context, seed uint64) (failed int, err error) {
	m := &model{machine: newMachine(0, cutBefore), generator: newGenerator(seed), lines: map[int]line{}}
	liar := fault.New(mem.New())
	m.store = liar
	m.lie(liar)
	if m.v, err = m.machine.open(ctx); err != nil {
		return failed, err
	}
	defer func() { m.v.Close() }()
	for step := range 8 + m.IntN(20) {
		m.lie(liar)
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
