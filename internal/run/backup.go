package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/riverqueue/river"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/iam"
	"github.com/lockfast/lockfast/internal/job"
	"github.com/lockfast/lockfast/internal/ledger"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/registry"
	"github.com/lockfast/lockfast/internal/vault"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/resource"
)

// pointFact is the entry of a recovery point's facts that holds its ARN, for those who read the store alone.
const pointFact = "recovery_point_arn"

// Driver is a driver with the name that recovery points carry.
type Driver struct {
	resource.Driver
	Name string
}

// Backups carries out backup jobs. It is the River worker of [job.RunBackup].
type Backups struct {
	river.WorkerDefaults[job.RunBackup]
	DB        *meta.DB
	Jobs      *job.Service
	Vaults    *vault.Service
	Resources *registry.Service
	Ledgers   *ledger.DB
	Store     *Store
	Drivers   map[string]Driver // by resource type
	// Authority reports why a role does not allow what a job needs; nil if it does.
	Authority func(ctx context.Context, account, roleARN string, rights []caller.Access) error
	Sizes     *Sizes
	Metrics   *Metrics
	Scrubber  *Scrubber
	Private   time.Time // when a private server was opened; zero for any other
	Log       *slog.Logger
}

// commitPause is the time before a commit is tried again.
const commitPause = 200 * time.Millisecond

// backup is one backup job at work.
type backup struct {
	*Backups
	job      job.Backup
	lease    job.Lease
	point    vault.Point
	resource resource.Resource
	tags     map[string]string // of the resource
	merged   map[string]string // of the recovery point
	record   *repo.PointRecord // as it is in the store
	driver   Driver
	log      *slog.Logger

	mu       sync.Mutex
	progress resource.Progress // guarded by mu
	writer   *repo.Writer      // guarded by mu; nil until it is open
}

// Timeout implements [river.Worker]: the job has a lease instead.
func (*Backups) Timeout(*river.Job[job.RunBackup]) time.Duration { return -1 }

// Work implements [river.Worker]. It returns an error only for what River is to try again; a job that fails has its
// failure in its row.
func (w *Backups) Work(ctx context.Context, j *river.Job[job.RunBackup]) error {
	b, verdict, err := w.claim(ctx, j.Args.JobID)
	switch {
	case errors.Is(err, job.ErrNotFound), errors.Is(err, job.ErrBusy):
		return nil
	case err != nil:
		return err
	case verdict != job.Claimed:
		return nil
	}
	b.log.InfoContext(ctx, "backup job started", "resource", b.job.ResourceARN, "vault", b.job.VaultName)
	ended := w.Metrics.started(job.Backups)
	err = errStopped
	if b.job.State != job.Aborting {
		err = b.run(ctx)
	}
	ended(err, ctx.Err() != nil)
	if err == nil {
		w.Scrubber.Committed(b.job.VaultUUID)
		w.Sizes.Changed(b.job.VaultUUID)
		return nil
	}
	return b.giveUp(context.WithoutCancel(ctx), err, ctx.Err() != nil)
}

// claim takes the job and makes its recovery point CREATING, in one transaction.
func (w *Backups) claim(ctx context.Context, id string) (*backup, job.Verdict, error) {
	found, err := w.Jobs.Backup(ctx, id)
	if err != nil {
		return nil, 0, err
	}
	b := &backup{Backups: w, log: w.Log.With("job_id", id)}
	var verdict job.Verdict
	err = w.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) (err error) {
		_, gone := w.Vaults.LockTx(ctx, tx, found.VaultUUID)
		if gone != nil && !errors.Is(gone, vault.ErrNotFound) {
			return gone
		}
		if b.job, b.lease, verdict, err = w.Jobs.ClaimBackupTx(ctx, tx, id); err != nil {
			return err
		}
		switch {
		case verdict == job.GivenUp:
			return w.Vaults.DropCreatingTx(ctx, tx, b.job.VaultUUID, b.job.PointARN)
		case verdict != job.Claimed || b.job.State == job.Aborting:
			return nil
		case gone != nil:
			verdict = job.Taken // it ends here
			return w.Jobs.FailTx(ctx, tx, b.lease, fmt.Sprintf("Backup vault %s does not exist", b.job.VaultName))
		}
		b.point, err = w.Vaults.CreatePointTx(ctx, tx, newPoint(b.job))
		return err
	})
	return b, verdict, err
}

// run makes the recovery point.
func (b *backup) run(ctx context.Context) error {
	if err := b.prepare(ctx); err != nil {
		return err
	}
	merged, err := job.MergeTags(b.tags, b.job.Tags)
	if err != nil {
		return err
	}
	b.merged = merged
	var (
		report   resource.Report
		prepared repo.Prepared
	)
	err = reporting(ctx, b.log, errTaken, b.report(), func(ctx context.Context) (err error) {
		report, prepared, err = b.capture(ctx)
		return err
	})
	if err == nil {
		err = b.commit(ctx, report, prepared)
	}
	if b.writer != nil { // it is over also after a commit
		if left := b.writer.Abort(context.WithoutCancel(ctx)); left != nil {
			b.log.WarnContext(ctx, "writer not closed", "error", left)
		}
	}
	return err
}

// prepare finds what the job needs and checks what may have changed since it was accepted.
func (b *backup) prepare(ctx context.Context) error {
	rights := iam.BackupRights(iam.Use{Account: b.job.Account, ResourceType: b.job.ResourceType, ResourceARN: b.job.ResourceARN,
		PointARN: b.job.PointARN})
	if err := b.Authority(ctx, b.job.Account, b.job.RoleARN, rights); err != nil {
		return err
	}
	driver, ok := b.Drivers[b.job.ResourceType]
	if !ok {
		return fmt.Errorf("unsupported resource type %s", b.job.ResourceType)
	}
	b.driver = driver
	return b.DB.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		r, ok, err := b.Resources.LookupTx(ctx, tx, b.job.Account, b.job.Region, b.job.ResourceARN)
		if err == nil && !ok {
			err = fmt.Errorf("resource %s does not exist", b.job.ResourceARN)
		}
		if err != nil {
			return err
		}
		b.resource = r
		b.tags, err = b.Resources.TagsTx(ctx, tx, b.job.Account, b.job.Region, b.job.ResourceARN)
		return err
	})
}

// capture reads the resource into the store, against its newest recovery point. If that is damaged, everything is read
// and stored again, which also heals what it shares with others. On success everything is durable.
func (b *backup) capture(ctx context.Context) (resource.Report, repo.Prepared, error) {
	parent, err := b.parent(ctx)
	if err != nil {
		return resource.Report{}, repo.Prepared{}, err
	}
	report, p, err := b.captureAgainst(ctx, parent)
	if parent == "" || !errors.Is(err, repo.ErrDamaged) {
		return report, p, err
	}
	b.log.WarnContext(ctx, "newest recovery point is damaged; everything is read again", "point", parent, "error", err)
	if b.writer != nil {
		if err := b.writer.Abort(ctx); err != nil {
			return report, p, err
		}
	}
	return b.captureAgainst(ctx, "")
}

// completion is what becomes of the recovery point, as far as it is known before its data is stored.
func (b *backup) completion() vault.Completion {
	return vault.Completion{Metadata: RestoreMetadata(b.job.ResourceARN), Tags: b.merged, SourceTags: b.tags,
		Address: b.resource.Address}
}

func (b *backup) captureAgainst(ctx context.Context, parent repo.PointID) (report resource.Report, p repo.Prepared, err error) {
	w, err := b.open(ctx, parent)
	if err != nil {
		return report, p, err
	}
	damaged, err := w.ParentDamaged(ctx)
	if err != nil {
		return report, p, err
	}
	if damaged {
		b.log.WarnContext(ctx, "newest recovery point is damaged; what has not changed is read again, too", "point", parent)
	}
	report, err = b.driver.Capture(ctx, resource.Capture{
		Resource: b.resource, Writer: w, Log: b.log, FullRead: damaged,
		Progress: func(p resource.Progress) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.progress = p
		},
	})
	if err != nil {
		return report, p, err
	}
	facts := repo.Facts{Created: b.point.CreatedAt, Resource: b.job.ResourceARN, Driver: b.driver.Name,
		Metadata: map[string]string{pointFact: b.job.PointARN}, SkippedMore: report.SkippedMore}
	maps.Copy(facts.Metadata, report.Metadata)
	b.record = b.Vaults.PlannedRecord(b.point, b.completion())
	facts.Record = b.record
	for _, s := range report.Skipped {
		facts.Skipped = append(facts.Skipped, repo.Skip{Path: s.Path, Reason: s.Reason})
	}
	p, err = w.Prepare(ctx, facts)
	return report, p, err
}

// parent returns the newest recovery point of the resource; empty if there is none.
func (b *backup) parent(ctx context.Context) (repo.PointID, error) {
	p, ok, err := b.Vaults.Parent(ctx, b.job.VaultUUID, b.job.ResourceARN)
	if err != nil || !ok {
		return "", err
	}
	return repo.PointID(p.StoreID), nil
}

// open opens a writer against a recovery point, if it is still there.
func (b *backup) open(ctx context.Context, parent repo.PointID) (*repo.Writer, error) {
	v, err := b.Store.Vault(ctx, b.job.VaultUUID, b.job.Account)
	if err != nil {
		return nil, err
	}
	w, err := v.NewWriter(ctx, repo.WriterOptions{Job: b.job.ID, Parent: parent})
	if parent != "" && (errors.Is(err, repo.ErrNotFound) || errors.Is(err, repo.ErrCold)) { // deleted or moved at this moment
		w, err = v.NewWriter(ctx, repo.WriterOptions{Job: b.job.ID})
	}
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.writer = w
	return w, nil
}

// commit makes the recovery point visible and completes the job, in one transaction.
func (b *backup) commit(ctx context.Context, report resource.Report, p repo.Prepared) error {
	skipped := int64(len(report.Skipped)) + report.SkippedMore
	message := ""
	if skipped > 0 {
		message = fmt.Sprintf("%d items were skipped.", skipped)
	}
	result := job.Result{
		Progress: job.Progress{Items: report.Items, BytesRead: report.BytesRead, BytesStored: p.Stats.BytesStored,
			TotalBytes: report.LogicalBytes},
		SkippedMore: report.SkippedMore, Message: message, Skipped: skips(report.Skipped),
	}
	complete := func(ctx context.Context, tx *meta.Tx) error {
		if _, err := b.Vaults.LockTx(ctx, tx, b.job.VaultUUID); err != nil {
			return err
		}
		if err := b.Ledgers.CommitTx(ctx, tx, b.job.VaultUUID, p); err != nil {
			return err
		}
		c := b.completion()
		c.StoreID, c.LogicalBytes, c.StoredBytes, c.Record = string(p.Point), p.Stats.LogicalBytes, p.Stats.BytesStored, b.record
		if err := b.Vaults.CompletePointTx(ctx, tx, b.job.VaultUUID, b.job.PointARN, c); err != nil {
			return err
		}
		if err := b.Jobs.CompleteTx(ctx, tx, b.lease, result); err != nil {
			return err
		}
		return b.Jobs.CopyPlannedTx(ctx, tx, b.job)
	}
	err := b.DB.Update(ctx, complete)
	if err != nil && wait(ctx, commitPause) { // all the work is done: it is tried twice
		err = b.DB.Update(ctx, complete)
	}
	if err != nil && !b.completed(ctx) {
		return err
	}
	b.Metrics.moved("read", report.BytesRead)
	b.Metrics.moved("stored", p.Stats.BytesStored)
	b.log.InfoContext(ctx, "backup job completed", "recovery_point", b.job.PointARN, "items", report.Items,
		"bytes_read", report.BytesRead, "bytes_stored", p.Stats.BytesStored, "skipped", skipped)
	return nil
}

// completed reports whether the job is, because an answer was lost.
func (b *backup) completed(ctx context.Context) bool {
	j, err := b.Jobs.Backup(ctx, b.job.ID)
	return err == nil && j.State == job.Completed
}

// giveUp ends the job without a recovery point; when the server stops, it leaves the job to the next one.
func (b *backup) giveUp(ctx context.Context, cause error, stopping bool) error {
	moved := b.soFar()
	return giveUp(ctx, ending{kind: "backup", unmoved: moved.BytesRead == 0 && moved.BytesStored == 0, db: b.DB, jobs: b.Jobs, lease: b.lease, log: b.log, private: b.Private,
		created: b.job.CreatedAt, drop: func(ctx context.Context, tx *meta.Tx) error {
			return b.Vaults.DropCreatingTx(ctx, tx, b.job.VaultUUID, b.job.PointARN)
		}}, cause, stopping)
}
