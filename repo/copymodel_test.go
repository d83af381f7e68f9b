package repo_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
)

// place is a vault of the model with what its recovery points must hold.
type place struct {
	v      *repo.Vault
	ledger repo.Ledger
	points map[repo.PointID]files
}

// TestModel_CopiesBetweenVaults runs random backups, copies in both directions, deletions and reclaims in two vaults.
// Copies are parents of later backups, and are copied back.
func TestModel_CopiesBetweenVaults(t *testing.T) {
	t.Parallel()
	histories(t, 12, 2_000, func(t *testing.T, seed uint64) error {
		places := []*place{}
		for _, o := range []repo.CreateOptions{small(), other()} {
			l := localledger.New(localledger.Options{})
			places = append(places, &place{create(t, mem.New(), l, o), l, map[repo.PointID]files{}})
		}
		return copyModel(t.Context(), newGenerator(seed), places, copyPoint)
	})
}

// copier copies a recovery point from one vault into another.
type copier func(ctx context.Context, from, to *repo.Vault, id repo.PointID) (repo.PointID, repo.CopyProgress, error)

func copyModel(ctx context.Context, g generator, places []*place, copyPoint copier) error {
	for step := range 10 + g.IntN(20) {
		at := places[g.IntN(2)]
		ids := slices.Sorted(maps.Keys(at.points))
		var err error
		what := g.IntN(10)
		switch {
		case what < 3 || len(ids) == 0:
			err = at.backup(ctx, g, ids)
		case what < 7:
			to := places[g.IntN(2)] // perhaps the same vault
			id := ids[g.IntN(len(ids))]
			var made repo.PointID
			if made, _, err = copyPoint(ctx, at.v, to.v, id); err == nil {
				to.points[made] = at.points[id]
			}
		case what < 8:
			id := ids[g.IntN(len(ids))]
			delete(at.points, id)
			err = remove(ctx, at.v, at.ledger, id)
		default:
			_, err = at.v.Reclaim(ctx, repo.ReclaimOptions{Threshold: []float64{0, 0.1, 0.5}[g.IntN(3)]})
		}
		if err != nil {
			return fmt.Errorf("step %d: %w", step, err)
		}
	}
	for _, p := range places {
		if err := p.inspect(ctx); err != nil {
			return err
		}
	}
	return nil
}

// backup makes a recovery point, against another one if there is one.
func (p *place) backup(ctx context.Context, g generator, ids []repo.PointID) error {
	if len(ids) == 0 {
		have := g.files(1 + g.IntN(30))
		id, err := backup(ctx, p.v, "", have, nil)
		p.points[id] = have
		return err
	}
	parent := ids[g.IntN(len(ids))]
	have := g.change(p.points[parent])
	id, err := backup(ctx, p.v, parent, have, p.points[parent])
	p.points[id] = have
	return err
}

// inspect compares every recovery point, before and after a reclaim that leaves nothing that no point needs.
func (p *place) inspect(ctx context.Context) error {
	compare := func() error {
		for id, want := range p.points {
			if err := verify(ctx, p.v, id, want); err != nil {
				return err
			}
		}
		return sound(ctx, p.v)
	}
	if err := compare(); err != nil {
		return err
	}
	if _, err := p.v.Reclaim(ctx, repo.ReclaimOptions{}); err != nil {
		return err
	}
	return errors.Join(compare(), exact(ctx, p.v))
}
