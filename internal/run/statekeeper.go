package run

import (
	"context"

	"github.com/lockfast/lockfast/repo"
)

// stateKeeper tells a vault in the store which states the database says it has, and writes them anew.
type stateKeeper struct {
	states    *States
	vaultUUID string
}

// WrittenStates implements [repo.StateKeeper].
func (k stateKeeper) WrittenStates(ctx context.Context) (map[repo.PointID]uint64, error) {
	return k.states.Vaults.WrittenStates(ctx, k.vaultUUID)
}

// RewriteState implements [repo.StateKeeper].
func (k stateKeeper) RewriteState(ctx context.Context, point repo.PointID, above uint64) (bool, error) {
	arn, found, err := k.states.Vaults.RewriteState(ctx, k.vaultUUID, point, above)
	if err != nil || !found {
		return false, err
	}
	return true, k.states.WriteState(ctx, k.vaultUUID, arn)
}
