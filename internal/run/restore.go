package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/riverqueue/river"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/iam"
	"github.com/lockfast/lockfast/internal/job"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/registry"
	"github.com/lockfast/lockfast/internal/vault"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/resource"
	"github.com/lockfast/lockfast/resource/directory"
)

// Restores carries out restore jobs. It is the River worker of [job.RunRestore].
type Restores struct {
	river.WorkerDefaults[job.RunRestore]
	DB        *meta.DB
	Jobs      *job.Service
	Vaults    *vault.Service
	Resources *registry.Service
	Store     *Store
	Drivers   map[string]Driver // by resource type
	// Authority reports why a role does not allow what a job needs; nil if it does.
	Authority func(ctx context.Context, account, roleARN string, rights []caller.Access) error
	Metrics   *Metrics
	Private   time.Time // when a private server was opened; zero for any other
	Log       *slog.Logger
}

// restore is one restore job at work.
type restore struct {
	*Restores
	job     job.Restore
	lease   job.Lease
	point   vault.Point
	made    string // the new directory that is to become a resource; empty if none was made
	started time.Time
	log     *slog.Logger

	mu       sync.Mutex
	progress resource.Progress // guarded by mu
}

// Timeout implements [river.Worker]: the job has a lease instead.
func (*Restores) Timeout(*river.Job[job.RunRestore]) time.Duration { return -1 }

// Work implements [river.Worker]. It returns an error only for what River is to try again; a job that fails has its
// failure in its row.
func (w *Restores) Work(ctx context.Context, j *river.Job[job.RunRestore]) error {
	r := &restore{Restores: w, started: time.Now(), log: w.Log.With("job_id", j.Args.JobID)}
	var verdict job.Verdict
	err := w.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) (err error) {
		r.job, r.lease, verdict, err = w.Jobs.ClaimRestoreTx(ctx, tx, j.Args.JobID)
		return err
	})
	switch {
	case errors.Is(err, job.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	if verdict == job.Claimed || verdict == job.GivenUp {
		r.sweep(ctx)
	}
	if verdict != job.Claimed {
		return nil
	}
	r.log.InfoContext(ctx, "restore job started", "recovery_point", r.job.PointARN)
	ended := w.Metrics.started(job.Restores)
	if err = errInterrupted; !r.job.StartedAt.Before(w.Private) {
		err = r.run(ctx)
	}
	ended(err, ctx.Err() != nil)
	if err != nil {
		return r.giveUp(context.WithoutCancel(ctx), err, ctx.Err() != nil)
	}
	return nil
}

// sweep removes what an earlier attempt has left unfinished.
func (r *restore) sweep(ctx context.Context) {
	if r.job.CreatedPath == "" || r.job.Target.Into != "" {
		return
	}
	dir, name := filepath.Split(r.job.CreatedPath)
	if _, err := directory.Sweep(ctx, filepath.Clean(dir), []string{name}); err != nil && !errors.Is(err, resource.ErrNotFound) {
		r.log.WarnContext(ctx, "leftover of a restore not removed", "directory", dir, "error", err)
	}
}

// run restores and completes the job.
func (r *restore) run(ctx context.Context) error {
	var outcome resource.Outcome
	report := heart(r.Jobs, r.lease, r.soFar, func(context.Context) (job.State, error) { return job.Running, nil })
	err := reporting(ctx, r.log, errTaken, report, func(ctx context.Context) (err error) {
		outcome, err = r.restore(ctx)
		return err
	})
	if err == nil {
		err = r.complete(ctx, outcome)
	}
	if err != nil && r.made != "" {
		_ = os.Remove(r.made) // if nothing is in it
	}
	return err
}

// soFar is how far the restore has come.
func (r *restore) soFar() job.Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := job.Progress{Items: r.progress.Items, BytesRead: r.progress.Bytes, TotalBytes: r.progress.TotalBytes}
	if p.TotalBytes == 0 {
		p.TotalBytes = r.job.TotalBytes
	}
	return p
}

func (r *restore) restore(ctx context.Context) (out resource.Outcome, err error) {
	rights := iam.RestoreRights(iam.Use{Account: r.job.Account, ResourceType: r.job.ResourceType, ResourceARN: r.job.Target.Resource,
		PointARN: r.job.PointARN})
	if err := r.Authority(ctx, r.job.Account, r.job.RoleARN, rights); err != nil {
		return out, err
	}
	driver, ok := r.Drivers[r.job.ResourceType]
	if !ok {
		return out, fmt.Errorf("unsupported resource type %s", r.job.ResourceType)
	}
	point, err := r.open(ctx)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, point.Close()) }()
	if err := anyItem(ctx, point, r.job.Target); err != nil {
		return out, err
	}
	order, err := r.order(ctx)
	if err != nil {
		return out, err
	}
	order.Point = point
	out, err = driver.Restore(ctx, order)
	for n := 0; errors.Is(err, resource.ErrExist) && order.Name != "" && n < maxNames; n++ { // another restore took the name
		if err := r.name(ctx, &order); err != nil {
			return out, err
		}
		out, err = driver.Restore(ctx, order)
	}
	if errors.Is(err, resource.ErrExist) && order.Into != "" && r.job.Attempts > 1 {
		err = fmt.Errorf("the restore was interrupted and left a part in %s; remove it and start again: %w", order.Into, err)
	} else if errors.Is(err, resource.ErrExist) && order.Into != "" {
		err = fmt.Errorf("%w; choose a directory that is absent or empty", err)
	}
	return out, err
}

// anyItem refuses a restore of items of which the recovery point holds none.
func anyItem(ctx context.Context, point *repo.Point, t job.Target) error {
	items, err := t.Paths()
	if err != nil {
		return err
	}
	for _, item := range items {
		key, err := directory.Key(item)
		if err != nil {
			return err
		}
		_, err = point.Lookup(ctx, key)
		if t.Intact && errors.Is(err, repo.ErrDamaged) {
			return nil // the restore names it
		}
		if err != nil && !errors.Is(err, repo.ErrNotFound) {
			return fmt.Errorf("look up %s: %w", directory.Display(item), err)
		}
		if err == nil {
			return nil
		}
	}
	if len(items) > 0 {
		return fmt.Errorf("none of the items to restore exists in the recovery point: %s", directory.Display(items[0]))
	}
	return nil
}

func (r *restore) open(ctx context.Context) (*repo.Point, error) {
	v, err := r.Store.Vault(ctx, r.job.VaultUUID, r.job.Account)
	if err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		if r.point, err = r.Vaults.Point(ctx, r.job.VaultUUID, r.job.PointARN); err != nil {
			return nil, err
		}
		point, err := v.OpenPoint(ctx, repo.PointID(r.point.StoreID))
		if try == 0 && errors.Is(err, repo.ErrNotFound) {
			continue // it may have been moved to cold storage since it was read
		}
		return point, err
	}
}

// order turns the job's target into an order for the driver, and notes in the job's row what is about to be made.
func (r *restore) order(ctx context.Context) (resource.Restore, error) {
	o := resource.Restore{
		Source: resource.Resource{ARN: r.job.SourceARN, Type: r.job.ResourceType, Name: r.point.ResourceName},
		Log:    r.log,
		Intact: r.job.Target.Intact,
		Progress: func(p resource.Progress) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.progress = p
		},
	}
	t := r.job.Target
	var err error
	if o.Items, err = t.Paths(); err != nil {
		return o, err
	}
	if t.Into != "" {
		o.Into = t.Into
		return o, r.Jobs.RecordPath(ctx, r.lease, t.Into)
	}
	if o.Directory, err = r.directory(ctx); err != nil {
		return o, err
	}
	return o, r.name(ctx, &o)
}

// maxNames is how often a restore is begun anew under another name because somebody else took the one it wanted.
const maxNames = 100

// name gives what is made in a directory a name, and notes it in the job's row.
func (r *restore) name(ctx context.Context, o *resource.Restore) (err error) {
	if o.Name, err = freeName(o.Directory, time.Now()); err != nil {
		return err
	}
	return r.Jobs.RecordPath(ctx, r.lease, filepath.Join(o.Directory, o.Name))
}

// directory returns the root of the resource that receives the restore, which it makes if it is to be a new one.
func (r *restore) directory(ctx context.Context) (dir string, err error) {
	t := r.job.Target
	if t.NewDirectory != "" {
		err := os.Mkdir(t.NewDirectory, 0o755)
		again := errors.Is(err, fs.ErrExist) && r.job.Attempts > 1 // an earlier attempt made it
		if err != nil && !again {
			return "", fmt.Errorf("make the new resource: %w", err)
		}
		r.made = t.NewDirectory
		return t.NewDirectory, nil
	}
	err = r.DB.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		target, ok, err := r.Resources.LookupTx(ctx, tx, r.job.Account, r.job.Region, t.Resource)
		if err == nil && !ok {
			err = fmt.Errorf("resource %s does not exist", t.Resource)
		}
		dir = target.Address[directory.PathKey]
		return err
	})
	return dir, err
}

// freeName returns a name for a restore that starts now, which nobody has taken yet. Of two in the same millisecond the
// second may find out only when it begins.
func freeName(dir string, now time.Time) (string, error) {
	for ; ; now = now.Add(time.Millisecond) {
		name := "aws-backup-restore_" + now.UTC().Format("2006-01-02T15-04-05") + fmt.Sprintf("-%03dZ", now.Nanosecond()/1e6)
		_, err := os.Lstat(filepath.Join(dir, name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return name, nil
		case err != nil:
			return "", err
		}
	}
}

// complete records what was made.
func (r *restore) complete(ctx context.Context, o resource.Outcome) error {
	result := job.Result{
		Progress:           job.Progress{Items: o.Items, BytesRead: o.Bytes, TotalBytes: o.Bytes},
		Skipped:            skips(o.Skipped),
		SkippedMore:        o.SkippedMore,
		CreatedPath:        o.Path,
		CreatedResourceARN: r.job.Target.Resource,
	}
	for _, m := range o.Missing {
		result.Skipped = append(result.Skipped, job.Skip{Path: m, Reason: "not in the recovery point"})
	}
	skipped := int64(len(result.Skipped)) + result.SkippedMore
	if skipped > 0 {
		result.Message = fmt.Sprintf("%d items were skipped.", skipped)
	}
	err := r.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) (err error) {
		if r.made != "" {
			if result.CreatedResourceARN, err = r.declareTx(ctx, tx); err != nil {
				return err
			}
		}
		if err := r.Vaults.RestoredTx(ctx, tx, r.job.VaultUUID, r.job.PointARN, r.started); err != nil {
			return err
		}
		return r.Jobs.CompleteTx(ctx, tx, r.lease, result)
	})
	if err == nil {
		r.Metrics.moved("restored", o.Bytes)
		r.log.InfoContext(ctx, "restore job completed", "path", o.Path, "items", o.Items, "bytes", o.Bytes, "skipped", skipped)
	}
	return err
}

// declareTx makes a resource of the new directory.
func (r *restore) declareTx(ctx context.Context, tx *meta.Tx) (string, error) {
	d := registry.Declared{Path: r.made, Name: r.job.Target.Name, Origin: lockfastapi.ResourceOriginApi}
	if r.job.Target.SourceTags {
		d.Tags = r.point.SourceTags
	}
	arn, _, err := r.Resources.PutTx(ctx, tx, r.job.Account, r.job.Region, d)
	return arn, err
}

// giveUp ends the job; when the server stops, it leaves the job to the next one.
func (r *restore) giveUp(ctx context.Context, cause error, stopping bool) error {
	return giveUp(ctx, ending{kind: "restore", db: r.DB, jobs: r.Jobs, lease: r.lease, log: r.log, private: r.Private,
		created: r.job.CreatedAt}, cause, stopping)
}
