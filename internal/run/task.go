package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/riverqueue/river"

	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/task"
	"github.com/lockfast/lockfast/internal/vault"
	"github.com/lockfast/lockfast/repo"
)

// Tasks carries out reclaims, verifications and repairs that somebody asked for. It is the River worker of [task.Run].
type Tasks struct {
	river.WorkerDefaults[task.Run]
	Tasks     *task.Service
	Store     *Store
	Vaults    *vault.Service
	Reclaimer *Reclaimer
	Deleter   *Deleter
	States    *States
	Sizes     *Sizes
	Log       *slog.Logger
}

// Timeout implements [river.Worker]: the task has a lease instead.
func (*Tasks) Timeout(*river.Job[task.Run]) time.Duration { return -1 }

// Work implements [river.Worker].
func (w *Tasks) Work(ctx context.Context, j *river.Job[task.Run]) error {
	t, err := w.Tasks.Claim(ctx, j.Args.TaskID)
	if errors.Is(err, task.ErrNotRunning) {
		return nil // it ended, or another worker has it
	}
	if err != nil {
		return err
	}
	log := w.Log.With("task_id", t.ID, "vault", t.VaultName)
	var done, total atomic.Int64
	progress := func(d, n int64) { done.Store(d); total.Store(n) }
	report := map[string]string{}
	err = reporting(ctx, log, task.ErrNotRunning,
		paced(heartbeatEvery, func(ctx context.Context) error { return w.Tasks.Progress(ctx, t.ID, done.Load(), total.Load()) }),
		func(ctx context.Context) error {
			switch t.Kind {
			case lockfastapi.TaskKindReclaim:
				return w.reclaim(ctx, t, report, progress)
			case lockfastapi.TaskKindRepair:
				return w.repair(ctx, t, report, progress)
			}
			return w.verify(ctx, t, report, progress)
		})
	// Also one that failed may have removed something, and a verification has recovery points name other copies of what is damaged.
	if err := w.Sizes.Rearranged(ctx, t.VaultUUID); err != nil {
		return err // the task starts again
	}
	switch {
	case errors.Is(err, task.ErrNotRunning):
		return nil
	case err != nil && ctx.Err() != nil:
		return ctx.Err() // the server stops; the next one starts the task again
	case err != nil:
		log.WarnContext(ctx, "task failed", "kind", t.Kind, "error", err)
		return w.Tasks.Fail(ctx, t.ID, err.Error(), report)
	}
	log.InfoContext(ctx, "task completed", "kind", t.Kind)
	return w.Tasks.Complete(ctx, t.ID, report)
}

// reclaim frees everything that can be freed. Deletions that were accepted before are carried out first.
func (w *Tasks) reclaim(ctx context.Context, t task.Task, report map[string]string, progress func(done, total int64)) error {
	if _, err := w.Deleter.Drain(ctx, t.VaultUUID); err != nil {
		return err
	}
	r, err := w.Reclaimer.Reclaim(ctx, t.VaultUUID, repo.ReclaimOptions{
		Progress: func(p repo.ReclaimProgress) { progress(p.Done, p.Total) }})
	if err != nil {
		return err
	}
	report["bytes_freed"] = strconv.FormatInt(r.BytesRemoved-r.BytesWritten, 10)
	report["packs_removed"] = strconv.FormatInt(r.PacksRemoved, 10)
	report["packs_written"] = strconv.FormatInt(r.PacksWritten, 10)
	if r.PacksRetained > 0 {
		report["packs_retained"] = strconv.FormatInt(r.PacksRetained, 10)
		report["bytes_retained"] = strconv.FormatInt(r.BytesRetained, 10)
	}
	report["objects_swept"] = strconv.FormatInt(r.ObjectsSwept, 10)
	if r.DamagedPacks > 0 {
		return fmt.Errorf("%d packs are damaged and were left alone; verify the vault to see what they affect", r.DamagedPacks)
	}
	return nil
}
