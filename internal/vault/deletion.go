package vault

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/wire"
	"github.com/lockfast/lockfast/repo"
)

// deletion is a set of recovery points that are to be deleted.
type deletion struct {
	points   []Point
	refusals map[string]string // by [Point.key]; empty for one that may be deleted
}

// key tells a recovery point from one with the same ARN in another vault.
func (p *Point) key() string { return p.VaultUUID + " " + p.ARN }

// DescribeDeletion says what deleting recovery points would free, all together, and which of them may not be deleted. The
// checks are those of [Service.DeleteRecoveryPoint], but a parent may go with its children.
func (s *Service) DescribeDeletion(ctx context.Context, in *lockfastapi.DescribeDeletionInput) (*lockfastapi.DescribeDeletionOutput, error) {
	if err := s.settleSizes(ctx, caller.From(ctx)); err != nil {
		return nil, err
	}
	d, err := s.deletion(ctx, in)
	if err != nil {
		return nil, err
	}
	// Roles may be slow to answer, and are asked outside of transactions.
	for _, p := range d.points {
		why, err := s.authority.DeleteAuthority(ctx, p)
		if err != nil {
			return nil, err
		}
		if why != "" {
			d.refusals[p.key()] = why
		}
	}
	out := &lockfastapi.DescribeDeletionOutput{}
	err = s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		out.RecoveryPoints = []lockfastapi.PointDeletion{}
		outdated, err := outdatedVaults(ctx, tx, caller.From(ctx))
		if err != nil {
			return err
		}
		for _, p := range d.points {
			why, err := s.refusal(ctx, tx, d, p)
			if err != nil {
				return err
			}
			sized, err := s.sized(ctx, tx, p)
			if err != nil {
				return err
			}
			sized.SizesOutdated = slices.Contains(outdated, p.VaultUUID)
			out.RecoveryPoints = append(out.RecoveryPoints, lockfastapi.PointDeletion{RecoveryPoint: sized, Refusal: some(why)})
		}
		return nil
	})
	if err == nil {
		out.Vaults, err = s.wouldFree(ctx, d)
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// deletion finds the recovery points of a request, each once.
func (s *Service) deletion(ctx context.Context, in *lockfastapi.DescribeDeletionInput) (*deletion, error) {
	for _, name := range in.RecoveryPointArns {
		if err := checkARN(name); err != nil {
			return nil, err
		}
	}
	c, d := caller.From(ctx), &deletion{refusals: map[string]string{}}
	f := filter{}
	if in.BackupVaultName != nil {
		v, err := s.named(ctx, c, *in.BackupVaultName)
		if err != nil {
			return nil, err
		}
		f.add("p.vault_uuid = ?", v.UUID)
	}
	f.add("p.account = ? AND p.region = ?", c.Account, c.Region)
	err := s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		d.points = nil
		for i, name := range in.RecoveryPointArns {
			if slices.Contains(in.RecoveryPointArns[:i], name) {
				continue
			}
			found, err := selectPoints(ctx, tx, f.where()+" AND p.arn = ? ORDER BY v.name", append(slices.Clone(f.args), name)...)
			switch {
			case err != nil:
				return err
			case len(found) == 0:
				return backupapi.ResourceNotFoundExceptionf("Recovery point %s does not exist", name)
			case len(found) > 1:
				return backupapi.InvalidParameterValueExceptionf("Recovery point %s is in the vaults %s and %s: BackupVaultName must say which is meant",
					name, found[0].VaultName, found[1].VaultName)
			}
			d.points = append(d.points, found[0])
		}
		return nil
	})
	return d, err
}

// refusal says why a recovery point may not be deleted with the others, which it notes; empty if it may.
func (s *Service) refusal(ctx context.Context, tx *meta.Tx, d *deletion, p Point) (string, error) {
	if why, known := d.refusals[p.key()]; known {
		return why, nil
	}
	why, err := s.refusalNow(ctx, tx, d, p)
	if err == nil {
		d.refusals[p.key()] = why
	}
	return why, err
}

func (s *Service) refusalNow(ctx context.Context, tx *meta.Tx, d *deletion, p Point) (string, error) {
	err := s.checkIdle(ctx, tx, p)
	if busy, ok := errors.AsType[*backupapi.InvalidResourceStateException](err); ok {
		return fmt.Sprintf("its status is %s, or it is being read: %s", p.Status, busy.Message), nil
	}
	if err != nil {
		return "", err
	}
	if held(p) {
		return "it is held", nil
	}
	if !p.IsParent {
		return "", nil
	}
	children, err := selectPoints(ctx, tx, childrenOf+" ORDER BY p.arn", p.VaultUUID, p.ARN)
	if err != nil {
		return "", err
	}
	for _, c := range children {
		if !slices.ContainsFunc(d.points, func(x Point) bool { return x.key() == c.key() }) {
			return fmt.Sprintf("it is composite, and its nested recovery point %s is to stay", c.ARN), nil
		}
		why, err := s.refusal(ctx, tx, d, c)
		if err != nil {
			return "", err
		}
		if why != "" {
			return fmt.Sprintf("it is composite, and its nested recovery point %s may not be deleted", c.ARN), nil
		}
	}
	return "", nil
}

// wouldFree asks the store about the recovery points that may be deleted, vault by vault in the order of the request.
func (s *Service) wouldFree(ctx context.Context, d *deletion) ([]lockfastapi.VaultDeletion, error) {
	var vaults []Point // the first of each
	points, stored := map[string]int64{}, map[string][]repo.PointID{}
	for _, p := range d.points {
		if d.refusals[p.key()] != "" {
			continue
		}
		if points[p.VaultUUID]++; points[p.VaultUUID] == 1 {
			vaults = append(vaults, p)
		}
		if p.StoreID != "" {
			stored[p.VaultUUID] = append(stored[p.VaultUUID], repo.PointID(p.StoreID))
		}
	}
	out := []lockfastapi.VaultDeletion{}
	for _, p := range vaults {
		f, err := s.store.WouldFree(ctx, p.VaultUUID, stored[p.VaultUUID])
		var unknown *string
		if refused, ok := errors.AsType[wire.APIError](err); ok { // the others can be measured all the same
			unknown, err = new(refused.Error()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("measure vault %s: %w", p.VaultName, err)
		}
		out = append(out, lockfastapi.VaultDeletion{BackupVaultName: p.VaultName, Unknown: unknown, RecoveryPoints: points[p.VaultUUID],
			FreedBytes: f.SlotBytes, RetainedBytes: f.RetainedBytes, FreedPartBytes: f.PartBytes, PinnedBytes: f.PinnedBytes, SharedBytes: f.SharedBytes,
			SharedBundleBytes: f.BundleBytes, ColdFreedBytes: f.ColdBytes, ColdFreedPartBytes: f.ColdPartBytes, Epoch: int64(f.Epoch)})
	}
	return out, nil
}
