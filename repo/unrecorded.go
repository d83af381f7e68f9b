package repo

import (
	"context"
	"fmt"
	"slices"
)

// A recovery point that was committed has a row in the ledger until it is removed, and whatever a writer leaves without one
// has a session, which the ledger remembers when it is over (see [Points.Ended]). So a manifest of this vault that the
// ledger has never heard of was committed by a later state of the same ledger: what is there now is an older copy of it. So
// was one whose session is there, but not the head that it carries: the copy was made while that session was at work. It
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
	_, lost, err := v.unrecorded(ctx, listed, snapshot, 1)
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

// unrecorded looks at manifests that were listed before a snapshot of the ledger. Of those that are no points there it
// returns the ids that the ledger knows to be over, and, as far as the limit, those that it has lost: it has never heard of
// them, or of the head that they carry, although they are of this vault. Objects that are none, or damaged, are neither.
func (v *Vault) unrecorded(ctx context.Context, listed []PointID, s Snapshot, limit int) (over map[PointID]bool, lost []PointID, err error) {
	known, points := s.known(), map[PointID]bool{}
	for _, p := range s.Points {
		points[p.ID] = true
	}
	strangers := slices.DeleteFunc(slices.Clone(listed), func(id PointID) bool { return known[id] })
	over = map[PointID]bool{}
	if len(strangers) > 0 {
		ended, err := v.ledger.Ended(ctx, strangers)
		if err != nil {
			return nil, nil, fmt.Errorf("read ledger: %w", err)
		}
		for _, id := range ended {
			over[id] = true
		}
	}
	for _, id := range slices.Sorted(slices.Values(listed)) {
		if points[id] || over[id] || len(lost) == limit {
			continue
		}
		m, err := v.readManifest(ctx, id)
		recorded := false
		if err == nil && known[id] {
			recorded, err = v.journals(ctx, m.head)
		}
		switch {
		case err == nil && !recorded:
			lost = append(lost, id)
		case err != nil && !isDamage(err):
			return nil, nil, err
		}
	}
	return over, lost, nil
}
