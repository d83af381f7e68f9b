package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/riverqueue/river"

	"github.com/lockfast/lockfast/internal/job"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/vault"
)

// CompositeCopies carries out the parents among copy jobs, as [Composites] does those among backup jobs. It is the River
// worker of [job.RunCompositeCopy].
type CompositeCopies struct {
	river.WorkerDefaults[job.RunCompositeCopy]
	Copies *Copies
}

// Work implements [river.Worker]. It may run several times at once for a job.
func (w *CompositeCopies) Work(ctx context.Context, j *river.Job[job.RunCompositeCopy]) error {
	c, err := w.Copies.Jobs.Copy(ctx, j.Args.JobID)
	if err == nil && c.State == job.Created {
		err = w.begin(ctx, c)
	} else if err == nil {
		err = w.end(ctx, c)
	}
	if errors.Is(err, job.ErrNotFound) || errors.Is(err, job.ErrBusy) {
		return nil
	}
	return err
}

// begin makes the composite copy of a job that waits, and lets the jobs of what is nested in it go.
func (w *CompositeCopies) begin(ctx context.Context, c job.Copy) error {
	a, err := w.Copies.allow(ctx, c)
	if err != nil {
		return err
	}
	var (
		verdict  job.Verdict
		children int
		refusal  string
	)
	err = w.Copies.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		gone, err := w.Copies.lockVaultOf(ctx, tx, c)
		if err != nil {
			return err
		}
		parent, v, err := w.Copies.Jobs.OpenCopyTx(ctx, tx, c.ID)
		if verdict = v; err != nil || v != job.Claimed {
			return err
		}
		if refusal = a.refusal(c, gone); refusal != "" {
			return w.Copies.Jobs.RefuseCopyTx(ctx, tx, parent, refusal)
		}
		n := newCopy(parent, a)
		n.IsParent = true
		if _, err := w.Copies.Vaults.CreatePointTx(ctx, tx, n); err != nil {
			return err
		}
		children, err = w.Copies.Jobs.ReleaseCopiesTx(ctx, tx, parent)
		return err
	})
	if err != nil || verdict != job.Claimed {
		return err
	}
	log := w.Copies.Log.With("job_id", c.ID)
	if refusal != "" {
		w.count(log, errors.New(refusal))
		return nil
	}
	log.InfoContext(ctx, "copy job of a composite recovery point started", "source", c.SourcePointARN, "vault", c.VaultARN, "children", children)
	return nil
}

// end ends a job that runs if its children have ended.
func (w *CompositeCopies) end(ctx context.Context, c job.Copy) error {
	source, err := w.Copies.Vaults.Point(ctx, c.SourceVaultUUID, c.SourcePointARN) // which is in use until this job has ended
	if err != nil && !errors.Is(err, vault.ErrNotFound) {
		return err
	}
	var (
		verdict job.Verdict
		state   job.State
		message string
	)
	err = w.Copies.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		if _, err := w.Copies.lockVaultOf(ctx, tx, c); err != nil {
			return err
		}
		parent, children, v, err := w.Copies.Jobs.CopiesTx(ctx, tx, c.ID)
		if verdict = v; err != nil || v != job.Claimed {
			return err
		}
		state, message = job.CopyOutcome(children)
		if state == job.Failed {
			err = w.Copies.Vaults.DropParentTx(ctx, tx, c.VaultUUID, c.PointARN)
		} else {
			err = w.completeTx(ctx, tx, parent, source, message)
		}
		if err != nil {
			return err
		}
		return w.Copies.Jobs.EndParentCopyTx(ctx, tx, parent, state, message)
	})
	if err != nil || verdict != job.Claimed {
		return err
	}
	log := w.Copies.Log.With("job_id", c.ID)
	if state == job.Failed {
		w.count(log, errors.New(message))
		return nil
	}
	w.count(log, nil)
	log.InfoContext(ctx, "copy job of a composite recovery point ended", "state", state, "recovery_point", c.PointARN)
	return nil
}

// completeTx makes the composite copy visible. It is PARTIAL if its source is, or if something was not copied.
func (w *CompositeCopies) completeTx(ctx context.Context, tx *meta.Tx, c job.Copy, source vault.Point, missing string) error {
	tags, err := w.Copies.Tags.TagsTx(ctx, tx, c.Account, c.SourcePointARN)
	if err != nil {
		return err
	}
	if source.Status == vault.Partial && source.StatusMessage != "" {
		missing = fmt.Sprintf("%s %s", source.StatusMessage, missing)
	}
	done := vault.Completion{Tags: tags, SourceTags: source.SourceTags, StatusMessage: missing}
	if c.VaultAccount() == c.Account {
		done.Address = source.Address
	}
	return w.Copies.Vaults.CompleteParentTx(ctx, tx, c.VaultUUID, c.PointARN, done)
}

// count counts a parent job that ended, and logs why it failed.
func (w *CompositeCopies) count(log *slog.Logger, err error) {
	w.Copies.Metrics.started(job.Copies)(err, false)
	if err != nil {
		log.Warn("copy job did not complete", "error", err)
	}
}
