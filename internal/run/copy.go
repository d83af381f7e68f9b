package run

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/riverqueue/river"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/job"
	"github.com/lockfast/lockfast/internal/ledger"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/vault"
	"github.com/lockfast/lockfast/repo"
)

// Copies carries out copy jobs: each is a reader in the vault of the source and a writer in the one that receives the copy.
// It is the River worker of [job.RunCopy].
type Copies struct {
	river.WorkerDefaults[job.RunCopy]
	DB      *meta.DB
	Jobs    *job.Service
	Vaults  *vault.Service
	Tags    Tags
	Ledgers *ledger.DB
	Store   *Store
	// Authority reports why a role does not allow what a job needs; nil if it does.
	Authority    func(ctx context.Context, account, roleARN string, rights []caller.Access) error
	Organization Organization
	Sizes        *Sizes
	Metrics      *Metrics
	Scrubber     *Scrubber
	Private      time.Time // when a private server was opened; zero for any other
	Log          *slog.Logger
}

// Tags knows the tags of recovery points.
type Tags interface {
	// TagsTx returns the tags of what an ARN names; none if it does not exist.
	TagsTx(ctx context.Context, tx *meta.Tx, account, arn string) (map[string]string, error)
}

// copying is one copy job at work.
type copying struct {
	*Copies
	job    job.Copy
	lease  job.Lease
	source vault.Point
	point  vault.Point       // the copy
	record *repo.PointRecord // of the copy, as it is in the store
	log    *slog.Logger

	mu     sync.Mutex
	writer *repo.Writer // guarded by mu; nil until it is open
}

// Timeout implements [river.Worker]: the job has a lease instead.
func (*Copies) Timeout(*river.Job[job.RunCopy]) time.Duration { return -1 }

// Work implements [river.Worker]. It returns an error only for what River is to try again; a job that fails has its
// failure in its row.
func (w *Copies) Work(ctx context.Context, j *river.Job[job.RunCopy]) error {
	c, verdict, err := w.claim(ctx, j.Args.JobID)
	switch {
	case errors.Is(err, job.ErrNotFound), errors.Is(err, job.ErrBusy):
		return nil
	case err != nil:
		return err
	case verdict != job.Claimed:
		return nil
	}
	c.log.InfoContext(ctx, "copy job started", "source", c.job.SourcePointARN, "vault", c.job.VaultARN)
	ended := w.Metrics.started(job.Copies)
	err = c.run(ctx)
	ended(err, ctx.Err() != nil)
	if err == nil {
		w.Scrubber.Committed(c.job.VaultUUID)
		w.Sizes.Changed(c.job.VaultUUID)
		return nil
	}
	return c.giveUp(context.WithoutCancel(ctx), err, ctx.Err() != nil)
}

// claim takes the job and makes the copy CREATING, in one transaction.
func (w *Copies) claim(ctx context.Context, id string) (*copying, job.Verdict, error) {
	found, err := w.Jobs.Copy(ctx, id)
	if err != nil || found.State.Over() {
		return nil, job.Taken, err
	}
	c := &copying{Copies: w, log: w.Log.With("job_id", id)}
	a, err := w.allow(ctx, found)
	if err != nil {
		return nil, 0, err
	}
	c.source = a.source
	var (
		verdict job.Verdict
		refused error
	)
	err = w.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		refused = nil
		gone, err := w.lockVaultOf(ctx, tx, found)
		if err != nil {
			return err
		}
		if c.job, c.lease, verdict, err = w.Jobs.ClaimCopyTx(ctx, tx, id); err != nil {
			return err
		}
		refusal := a.refusal(c.job, gone)
		switch {
		case verdict == job.GivenUp:
			return w.Vaults.DropCreatingTx(ctx, tx, c.job.VaultUUID, c.job.PointARN)
		case verdict != job.Claimed:
			return nil
		case refusal != "":
			refused, verdict = errors.New(refusal), job.Taken // it ends here
			if err := w.Vaults.DropCreatingTx(ctx, tx, c.job.VaultUUID, c.job.PointARN); err != nil {
				return err
			}
			return w.Jobs.FailTx(ctx, tx, c.lease, refusal)
		}
		c.point, err = w.Vaults.CreatePointTx(ctx, tx, newCopy(c.job, a))
		return err
	})
	if err == nil && refused != nil {
		w.Metrics.started(job.Copies)(refused, false)
		c.log.WarnContext(ctx, "copy job did not complete", "error", refused)
	}
	return c, verdict, err
}

// run makes the copy.
func (c *copying) run(ctx context.Context) error {
	var prepared repo.Prepared
	report := heart(c.Jobs, c.lease, c.soFar, func(ctx context.Context) (job.State, error) {
		now, err := c.Jobs.Copy(ctx, c.job.ID)
		return now.State, err
	})
	err := reporting(ctx, c.log, errTaken, report, func(ctx context.Context) (err error) {
		prepared, err = c.copy(ctx)
		return err
	})
	if err == nil {
		err = c.commit(ctx, prepared)
	}
	if c.writer != nil { // it is over also after a commit
		if left := c.writer.Abort(context.WithoutCancel(ctx)); left != nil {
			c.log.WarnContext(ctx, "writer not closed", "error", left)
		}
	}
	return err
}

// copy brings what the vault lacks of the source into it. On success everything is durable.
func (c *copying) copy(ctx context.Context) (p repo.Prepared, err error) {
	from, err := c.Store.Vault(ctx, c.job.SourceVaultUUID, c.job.Account)
	if err != nil {
		return p, err
	}
	source, err := from.OpenPoint(ctx, repo.PointID(c.source.StoreID))
	if errors.Is(err, repo.ErrNotFound) { // it may have been moved to cold storage since it was read
		if c.source, err = c.Vaults.Point(ctx, c.job.SourceVaultUUID, c.job.SourcePointARN); err == nil {
			source, err = from.OpenPoint(ctx, repo.PointID(c.source.StoreID))
		}
	}
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	to, err := c.Store.Vault(ctx, c.job.VaultUUID, c.job.VaultAccount())
	if err != nil {
		return p, err
	}
	w, err := to.NewWriter(ctx, repo.WriterOptions{Job: c.job.ID})
	if err != nil {
		return p, err
	}
	c.mu.Lock()
	c.writer = w
	c.mu.Unlock()
	copyFrom := w.Copy
	if c.job.VaultAccount() != c.job.Account {
		copyFrom = w.CopyAcross
	}
	if err := copyFrom(ctx, source); err != nil {
		return p, err
	}
	facts := source.Facts()
	facts.Metadata = maps.Clone(facts.Metadata)
	facts.Metadata[pointFact] = c.job.PointARN
	var planned vault.Completion
	err = c.DB.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		planned, err = c.completionTx(ctx, tx)
		return err
	})
	if err != nil {
		return p, err
	}
	c.record = c.Vaults.PlannedRecord(c.point, planned)
	facts.Record = c.record
	return w.Prepare(ctx, facts)
}

// completionTx is what becomes of the copy, as far as it is known before its data is stored.
func (c *copying) completionTx(ctx context.Context, tx *meta.Tx) (vault.Completion, error) {
	tags, err := c.Tags.TagsTx(ctx, tx, c.job.Account, c.job.SourcePointARN)
	done := vault.Completion{Metadata: c.source.Metadata, Tags: tags, SourceTags: c.source.SourceTags}
	if c.job.VaultAccount() == c.job.Account { // where it is on the host is its account's own business
		done.Address = c.source.Address
	}
	return done, err
}

// soFar is how far the copy has come.
func (c *copying) soFar() job.Progress {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := job.Progress{TotalBytes: c.job.TotalBytes}
	if c.writer != nil {
		p.BytesRead, p.BytesStored = c.writer.CopyProgress().Bytes, c.writer.Stats().Stored
	}
	return p
}

// commit makes the copy visible and completes the job, in one transaction.
func (c *copying) commit(ctx context.Context, p repo.Prepared) error {
	result := job.Result{Progress: job.Progress{Items: p.Stats.Entries, BytesRead: p.Stats.LogicalBytes,
		BytesStored: p.Stats.BytesStored, TotalBytes: p.Stats.LogicalBytes}}
	complete := func(ctx context.Context, tx *meta.Tx) error {
		if _, err := c.Vaults.LockTx(ctx, tx, c.job.VaultUUID); err != nil {
			return err
		}
		if err := c.Ledgers.CommitTx(ctx, tx, c.job.VaultUUID, p); err != nil {
			return err
		}
		done, err := c.completionTx(ctx, tx)
		if err != nil {
			return err
		}
		done.StoreID, done.LogicalBytes, done.StoredBytes, done.Record = string(p.Point), p.Stats.LogicalBytes, p.Stats.BytesStored, c.record
		if err := c.Vaults.CompletePointTx(ctx, tx, c.job.VaultUUID, c.job.PointARN, done); err != nil {
			return err
		}
		return c.Jobs.CompleteTx(ctx, tx, c.lease, result)
	}
	err := c.DB.Update(ctx, complete)
	if err != nil && wait(ctx, commitPause) { // all the work is done: it is tried twice
		err = c.DB.Update(ctx, complete)
	}
	if err != nil && !c.completed(ctx) {
		return err
	}
	c.Metrics.moved("copied", p.Stats.BytesStored)
	c.log.InfoContext(ctx, "copy job completed", "recovery_point", c.job.PointARN, "items", p.Stats.Entries,
		"bytes_read", c.writer.CopyProgress().Moved, "bytes_stored", p.Stats.BytesStored)
	return nil
}

// completed reports whether the job is, because an answer was lost.
func (c *copying) completed(ctx context.Context) bool {
	j, err := c.Jobs.Copy(ctx, c.job.ID)
	return err == nil && j.State == job.Completed
}

// giveUp ends the job without a copy; when the server stops, it leaves the job to the next one.
func (c *copying) giveUp(ctx context.Context, cause error, stopping bool) error {
	return giveUp(ctx, ending{kind: "copy", db: c.DB, jobs: c.Jobs, lease: c.lease, log: c.log, private: c.Private,
		created: c.job.CreatedAt, drop: func(ctx context.Context, tx *meta.Tx) error {
			return c.Vaults.DropCreatingTx(ctx, tx, c.job.VaultUUID, c.job.PointARN)
		}}, cause, stopping)
}
