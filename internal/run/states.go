package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/riverqueue/river"
	"golang.org/x/sync/errgroup"

	"github.com/lockfast/lockfast/internal/kms"
	"github.com/lockfast/lockfast/internal/vault"
	"github.com/lockfast/lockfast/repo"
)

const (
	// stateBatch is how many states are noted as written in one transaction, stateWriters how many are written at once.
	stateBatch   = 100
	stateWriters = 8
	// stateRetry is how long to wait after states that could not be written.
	stateRetry = 2 * time.Second
)

// States writes the states of vaults and recovery points to the store. It is the River worker of [vault.WriteStates].
type States struct {
	river.WorkerDefaults[vault.WriteStates]
	Vaults *vault.Service
	Store  *Store
	Log    *slog.Logger
}

// Timeout implements [river.Worker]: there is none.
func (*States) Timeout(*river.Job[vault.WriteStates]) time.Duration { return -1 }

// Work implements [river.Worker]. What could not be written is tried again later.
func (w *States) Work(ctx context.Context, j *river.Job[vault.WriteStates]) error {
	err := w.drain(ctx, j.Args.VaultUUID)
	if errors.Is(err, vault.ErrNotFound) { // a write may have come after the vault was erased
		return w.Store.Erase(ctx, j.Args.VaultUUID)
	}
	if _, ok := errors.AsType[*kms.Unusable](err); ok {
		w.Log.DebugContext(ctx, "states are not written", "vault", j.Args.VaultUUID, "error", err)
		return river.JobSnooze(10 * time.Minute)
	}
	if errors.Is(err, repo.ErrClaimed) {
		w.Log.ErrorContext(ctx, "states are not written: another server has taken over the vault in the store, and this one must be stopped",
			"vault", j.Args.VaultUUID, "error", err)
		return river.JobSnooze(10 * time.Minute)
	}
	if err != nil && ctx.Err() == nil {
		w.Log.WarnContext(ctx, "states are not written yet", "vault", j.Args.VaultUUID, "error", err)
		return river.JobSnooze(stateRetry)
	}
	return err
}

// drain writes states until all are written.
func (w *States) drain(ctx context.Context, vaultUUID string) error {
	for {
		u, err := w.Vaults.UnwrittenStates(ctx, vaultUUID, stateBatch)
		if err != nil || u.Vault == nil && len(u.Points) == 0 {
			return err
		}
		if err := w.write(ctx, vaultUUID, u); err != nil {
			return err
		}
	}
}

// Flush writes what is unwritten of all vaults, as far as that is possible now. It is for a server that stops.
func (w *States) Flush(ctx context.Context) {
	vaults, err := w.Vaults.UnwrittenVaults(ctx)
	for _, id := range vaults {
		if err := w.drain(ctx, id); err != nil {
			w.Log.WarnContext(ctx, "states are left for the next server to write", "vault", id, "error", err)
		}
	}
	if err != nil {
		w.Log.WarnContext(ctx, "states are left for the next server to write", "error", err)
	}
}

// WriteState implements [vault.States]. The keys of a vault that were destroyed protect nothing any more, and its states are
// left as they are.
func (w *States) WriteState(ctx context.Context, vaultUUID, pointARN string) error {
	u, err := w.Vaults.UnwrittenState(ctx, vaultUUID, pointARN)
	if err == nil && (u.Vault != nil || len(u.Points) > 0) {
		err = w.write(ctx, vaultUUID, u)
	}
	if errors.Is(err, vault.ErrNotFound) || destroyed(err) {
		return nil
	}
	return err
}

// Writable implements [vault.States].
func (w *States) Writable(ctx context.Context, vaultUUID string) error {
	if err := w.Store.Reachable(ctx, vaultUUID); err != nil {
		return err
	}
	err := w.Store.Changeable(ctx, vaultUUID)
	bad, unusable := errors.AsType[*kms.Unusable](err)
	switch {
	case unusable && bad.Destroyed():
		return nil
	case unusable:
		return fmt.Errorf("%w: %s", vault.ErrKey, bad.Error())
	}
	return err
}

// write makes states durable and notes it.
func (w *States) write(ctx context.Context, vaultUUID string, u vault.Unwritten) error {
	v, err := w.Store.Vault(ctx, vaultUUID, u.Account)
	if err != nil {
		return err
	}
	done := make([]vault.Written, len(u.Points), len(u.Points)+1)
	var g errgroup.Group
	g.SetLimit(stateWriters)
	for i, p := range u.Points {
		g.Go(func() error {
			n, err := v.PutPointState(ctx, p.ID, p.Record)
			done[i] = vault.Written{ARN: p.ARN, Version: p.Record.Generation, Generation: n}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if u.Vault != nil {
		n, err := v.PutVaultState(ctx, *u.Vault)
		if err != nil {
			return err
		}
		done = append(done, vault.Written{Version: u.Vault.Generation, Generation: n})
	}
	gone, err := w.Vaults.StatesWritten(ctx, vaultUUID, done)
	if err != nil {
		return err
	}
	return w.dropGone(ctx, v, u, gone)
}

// dropGone removes states of parents whose rows were removed while their states were written: nothing else would. Others
// go with their manifests, or with the vault.
func (w *States) dropGone(ctx context.Context, v *repo.Vault, u vault.Unwritten, gone []vault.Written) error {
	for _, g := range gone {
		for _, p := range u.Points {
			if p.ARN != g.ARN || !p.Parent {
				continue
			}
			if err := v.DropPointState(ctx, p.ID); err != nil {
				return err
			}
		}
	}
	return nil
}
