package repo

import (
	"context"
	"fmt"
	"slices"
)

// A recovery point that was committed has a row in the ledger until it is removed, and whatever a writer leaves without one
// has a session, which the ledger remembers when it is over (see [Points.Ended]). So a manifest of this vault that the
// ledger has never heard of was committed by a later state of the same ledger: what is there now is an older copy of it. It
// knows nothing of what the point needs either, so nothing may be removed (docs/format.md section 16).

// Current returns an error that wraps [ErrOutdated] and names the recovery point if the store holds one that the ledger has
// never heard of. Vaults without a ledger are current.
func (v *Vault) Current(ctx context.Context) error {
	if v.ledger == nil {
		return nil
	}
	listed, err := v.manifests(ctx)
	if err != nil {
		return err
	}
	snapshot, err := v.ledger.Snapshot(ctx)
	if err != nil {
		return fmt.Errorf("read ledger: %w", err)
	}
	known := snapshot.known()
	_, lost, err := v.unrecorded(ctx, slices.DeleteFunc(listed, func(id PointID) bool { return known[id] }), 1)
	if err != nil || len(lost) == 0 {
		return err
	}
	return outdatedBy(lost[0])
}

// outdatedBy is the error for a recovery point that the ledger has never heard of.
func outdatedBy(id PointID) error { return fmt.Errorf("recovery point %s %w", id, ErrOutdated) }

// known returns the ids of points and sessions.
func (s Snapshot) known() map[PointID]bool {
	known := map[PointID]bool{}
	for _, p := range s.Points {
		known[p.ID] = true
	}
	for _, x := range s.Sessions {
		known[PointID(x.ID)] = true
	}
	return known
}

// unrecorded looks at manifests that were listed before a snapshot that knows neither points nor sessions of their ids. It
// returns the ids that the ledger knows to be over, and, as far as the limit, those that it has never heard of although
// their manifests are of this vault. Objects that are none, or damaged, are neither.
func (v *Vault) unrecorded(ctx context.Context, ids []PointID, limit int) (over map[PointID]bool, lost []PointID, err error) {
	if len(ids) == 0 {
		return nil, nil, nil
	}
	ended, err := v.ledger.Ended(ctx, ids)
	if err != nil {
		return nil, nil, fmt.Errorf("read ledger: %w", err)
	}
	over = map[PointID]bool{}
	for _, id := range ended {
		over[id] = true
	}
	for _, id := range slices.Sorted(slices.Values(ids)) {
		if over[id] || len(lost) == limit {
			continue
		}
		switch _, err := v.readManifest(ctx, id); {
		case err == nil:
			lost = append(lost, id)
		case !isDamage(err):
			return nil, nil, err
		}
	}
	return over, lost, nil
}
