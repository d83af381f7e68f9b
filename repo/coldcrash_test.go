package repo_test

import (
	"context"
	"errors"
	"testing"

	"github.com/lockfast/lockfast/repo"
)

// moveToCold moves a recovery point to cold storage.
func (m *machine) moveToCold(ctx context.Context, v *repo.Vault, id repo.PointID) (repo.PointID, error) {
	w, err := prepareCold(ctx, v, id)
	if err != nil {
		return "", err
	}
	defer w.Abort(ctx)
	p, err := w.Prepare(ctx, w.Source().Facts())
	if err != nil {
		return "", err
	}
	m.mu.Lock()
	m.expected[p.Point], m.moved[id] = m.expected[id], p.Point
	m.mu.Unlock()
	if err := (machineLedger{m.ledger, m}).Commit(ctx, p); err != nil {
		return "", err
	}
	m.promised[p.Point] = true
	return p.Point, m.remove(ctx, v, id)
}

// coldHistory moves recovery points to cold storage that share contents with each other and with a warm one, and deletes
// one of them there.
func (m *machine) coldHistory(ctx context.Context) error {
	v, err := m.open(ctx)
	if err != nil {
		return err
	}
	defer v.Close()
	g := newGenerator(12)
	have := g.files(25)
	before := files(nil)
	var ids []repo.PointID
	for range 3 {
		parent := repo.PointID("")
		if len(ids) > 0 {
			parent = ids[len(ids)-1]
		}
		id, err := m.backup(ctx, v, parent, have, before)
		if err != nil {
			return err
		}
		ids = append(ids, id)
		before, have = have, g.change(have)
	}
	first, err := m.moveToCold(ctx, v, ids[0])
	if err != nil {
		return err
	}
	if _, err := v.Reclaim(ctx, repo.ReclaimOptions{}); err != nil {
		return err
	}
	if _, err := m.moveToCold(ctx, v, ids[1]); err != nil {
		return err
	}
	if err := m.remove(ctx, v, first); err != nil {
		return err
	}
	_, err = v.Reclaim(ctx, repo.ReclaimOptions{})
	return err
}

// finishMoves moves everything to cold storage that is not there, after a restart.
func (m *machine) finishMoves(ctx context.Context, v *repo.Vault) error {
	ids, err := v.PointIDs(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if _, err := m.moveToCold(ctx, v, id); err != nil && !errors.Is(err, repo.ErrCold) {
			return err
		}
	}
	return m.compare(ctx, v)
}

func TestMoveToCold_CutAtEveryStep(t *testing.T) {
	t.Parallel()
	dry := newMachine(0, cutBefore)
	if err := dry.coldHistory(t.Context()); err != nil {
		t.Fatal(err)
	}
	stride := 3
	if soak() > 0 {
		stride = 1
	}
	for mode := range cutModes {
		for at := 6 + int(mode)%stride; at <= dry.steps; at += stride { // after what a new vault begins with, see TestCrash_AtEveryStep
			m := newMachine(at, mode)
			err := m.coldHistory(t.Context())
			if err != nil && !m.off {
				t.Fatalf("cut at %d, mode %d: history = %v", at, mode, err)
			}
			v, err := m.restart(t.Context())
			if err == nil {
				err = errors.Join(m.mend(t.Context(), v), m.inspect(t.Context(), v), m.finishMoves(t.Context(), v))
				v.Close()
			}
			if err != nil {
				t.Fatalf("cut at %d (%s), mode %d: %v", at, m.what, mode, err)
			}
		}
	}
}
