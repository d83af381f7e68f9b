package repo_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/lockfast/lockfast/repo"
)

var modelSeed = flag.Uint64("seed", 0, "seed of the first random history; 0 draws one from the clock")

// TestModel_RandomHistories runs random backups, deletions, reclaims, restores and crashes against a map: what was
// committed must be there, exactly, and nothing else after a reclaim.
func TestModel_RandomHistories(t *testing.T) {
	t.Parallel()
	histories(t, 60, 10_000, func(t *testing.T, seed uint64) error { return randomHistory(t.Context(), seed) })
}

// histories runs random histories, a few of them or many in the long version, each as a test of its own, so that nothing of it stays
// in memory.
func histories(t *testing.T, few, many int, one func(t *testing.T, seed uint64) error) {
	t.Helper()
	first := *modelSeed
	if first == 0 {
		first = uint64(time.Now().UnixNano())
	}
	for n := range uint64(few + many*soak()) {
		seed := first + n
		run := func(t *testing.T) {
			if err := one(t, seed); err != nil {
				t.Fatalf("-seed %d: %v", seed, err)
			}
		}
		if !t.Run(strconv.FormatUint(n, 10), run) {
			return
		}
	}
}

// model is a machine with vault, and what runs on it.
type model struct {
	*machine
	generator
	v       *repo.Vault
	lines   map[int]line // last version of each resource
	open    *repo.Writer // a backup that is still running, or nil
	have    files        // what it captured
	running *repo.Point  // a restore that is still running, or nil
	want    files
}

// line is the last recovery point of a resource.
type line struct {
	id   repo.PointID
	have files
}

func randomHistory(ctx context.Context, seed uint64) error {
	m := &model{machine: newMachine(0, cutBefore), generator: newGenerator(seed), lines: map[int]line{}}
	m.packs = 1 + m.IntN(2)
	var err error
	if m.v, err = m.machine.open(ctx); err != nil {
		return err
	}
	defer func() { m.v.Close() }()
	for step := range 6 + m.IntN(20) {
		if m.IntN(6) == 0 {
			m.mu.Lock()
			m.at, m.mode = m.steps+1+m.IntN(25), cutMode(m.IntN(int(cutModes)))
			m.mu.Unlock()
		}
		name, err := m.step(ctx)
		if err != nil && m.off {
			err = m.crash(ctx)
		}
		if err != nil {
			return fmt.Errorf("step %d, %s: %w", step, name, err)
		}
	}
	if err := m.end(ctx); err != nil && !m.off {
		return err
	}
	if err := m.crash(ctx); err != nil {
		return err
	}
	return m.inspect(ctx, m.v)
}

// step does one thing.
func (m *model) step(ctx context.Context) (string, error) {
	switch m.IntN(10) {
	case 0, 1, 2:
		return "backup", m.backupLine(ctx)
	case 3:
		return "begin backup", m.begin(ctx)
	case 4:
		return "end", m.end(ctx)
	case 5, 6:
		return "delete", m.removeAny(ctx)
	case 7, 8:
		_, err := m.v.Reclaim(ctx, repo.ReclaimOptions{Threshold: []float64{0, 0, 0.1, 0.5}[m.IntN(4)]})
		return "reclaim", err
	}
	return "compare", m.compare(ctx, m.v)
}

// versions returns the next content of a resource, with the parent to make it against, if there is one.
func (m *model) versions(i int) (parent repo.PointID, have, before files) {
	last := m.lines[i]
	if last.id == "" || m.deleting[last.id] {
		return "", m.files(1 + m.IntN(30)), nil
	}
	if m.IntN(5) == 0 {
		return last.id, last.have, last.have
	}
	return last.id, m.generator.change(last.have), last.have
}

func (m *model) backupLine(ctx context.Context) error {
	i := m.IntN(3)
	parent, have, before := m.versions(i)
	id, err := m.machine.backup(ctx, m.v, parent, have, before)
	if err == nil {
		m.lines[i] = line{id, have}
	}
	return err
}

// begin captures without committing, and opens a point.
func (m *model) begin(ctx context.Context) error {
	if m.open != nil {
		return nil
	}
	parent, have, before := m.versions(m.IntN(3))
	w, err := m.v.NewWriter(ctx, repo.WriterOptions{Parent: parent})
	if err != nil {
		return err
	}
	m.open, m.have = w, have
	if err := capture(ctx, w, have, before); err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(m.promised)) {
		if !m.deleting[id] && m.running == nil {
			m.running, err = m.v.OpenPoint(ctx, id)
			m.want = m.expected[id]
		}
	}
	return err
}

// end commits or aborts what runs, and reads what was open, even if it was deleted meanwhile.
func (m *model) end(ctx context.Context) error {
	var errs []error
	if p := m.running; p != nil {
		m.running = nil
		got, err := fetch(ctx, p)
		if err == nil {
			err = m.want.equal(got)
		}
		errs = append(errs, err, p.Close())
	}
	if w := m.open; w != nil {
		m.open = nil
		if m.IntN(3) > 0 {
			errs = append(errs, m.commit(ctx, w))
		}
		errs = append(errs, w.Abort(ctx))
	}
	return errors.Join(errs...)
}

func (m *model) commit(ctx context.Context, w *repo.Writer) error {
	p, err := w.Prepare(ctx, repo.Facts{})
	if err != nil {
		return err
	}
	m.expected[p.Point] = m.have
	if err := (machineLedger{m.ledger, m.machine}).Commit(ctx, p); err != nil {
		return err
	}
	m.promised[p.Point] = true
	return nil
}

func (m *model) removeAny(ctx context.Context) error {
	for _, id := range slices.Sorted(maps.Keys(m.promised)) {
		if !m.deleting[id] && m.IntN(2) == 0 {
			return m.machine.remove(ctx, m.v, id)
		}
	}
	return nil
}

// crash starts the machine again, as after a power cut.
func (m *model) crash(ctx context.Context) error {
	m.mu.Lock()
	m.off = true
	m.mu.Unlock()
	if m.open != nil {
		m.open.Abort(ctx)
	}
	m.v.Close()
	m.open, m.running = nil, nil
	v, err := m.restart(ctx)
	if err != nil {
		return fmt.Errorf("restart: %w", err)
	}
	m.v = v
	if err := m.compare(ctx, v); err != nil {
		return fmt.Errorf("after restart: %w", err)
	}
	return nil
}
