package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/internal/job"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/resource"
)

// Reasons for which a job is taken from its runner; each wraps errTaken.
var (
	errTaken   = errors.New("job may not go on")
	errStopped = fmt.Errorf("%w: it was stopped", errTaken)
	errExpired = fmt.Errorf("%w: its time is over", errTaken)
)

// errInterrupted fails a job that a command of the command line had done by a private server, and did not wait for.
var errInterrupted = errors.New("the command that asked for it was interrupted")

// heartbeatEvery is how often a runner writes progress. In between it only looks whether the job was stopped.
const heartbeatEvery = time.Second

// heart makes the report function of a job: it writes how far the job has come and tells whether it may go on.
func heart(jobs *job.Service, l job.Lease, progress func() job.Progress,
	state func(context.Context) (job.State, error)) func(context.Context) error {
	var last time.Time
	return func(ctx context.Context) error {
		if time.Since(last) < heartbeatEvery {
			s, err := state(ctx)
			if s == job.Aborting {
				return errStopped
			}
			return err
		}
		signal, err := jobs.Heartbeat(ctx, l, progress())
		if err != nil {
			return err
		}
		last = time.Now()
		switch signal {
		case job.Stop:
			return errStopped
		case job.OutOfTime:
			return errExpired
		case job.Leave:
			return fmt.Errorf("%w: %w", errTaken, job.ErrLost)
		}
		return nil
	}
}

func (b *backup) report() func(context.Context) error {
	return heart(b.Jobs, b.lease, b.soFar, func(ctx context.Context) (job.State, error) {
		now, err := b.Jobs.Backup(ctx, b.job.ID)
		return now.State, err
	})
}

// soFar is how far the backup has come.
func (b *backup) soFar() job.Progress {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := job.Progress{Items: b.progress.Items, BytesRead: b.progress.Bytes, TotalBytes: b.progress.TotalBytes}
	if b.writer != nil {
		p.BytesStored = b.writer.Stats().Stored
	}
	return p
}

// endTx ends a job that did not complete, in the state that belongs to the cause.
func endTx(ctx context.Context, tx *meta.Tx, jobs *job.Service, l job.Lease, cause error) error {
	switch {
	case errors.Is(cause, errStopped), errors.Is(cause, job.ErrAborting):
		return jobs.AbortTx(ctx, tx, l)
	case errors.Is(cause, errExpired):
		return jobs.ExpireTx(ctx, tx, l)
	}
	return jobs.FailTx(ctx, tx, l, cause.Error())
}

func skips(list []resource.Skip) []job.Skip {
	var out []job.Skip
	for _, s := range list {
		out = append(out, job.Skip{Path: s.Path, Reason: s.Reason})
	}
	return out
}

// RestoreMetadata is what AWS Backup tells of a file system for its restore.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/restoring-efs.html.
func RestoreMetadata(resourceARN string) map[string]string {
	_, id, _ := strings.Cut(resourceARN, ":file-system/")
	return map[string]string{"file-system-id": id, "Encrypted": "false", "PerformanceMode": "generalPurpose"}
}

// ending is what it takes to end a job that did not complete.
type ending struct {
	kind             string // as the log names it
	db               *meta.DB
	jobs             *job.Service
	lease            job.Lease
	log              *slog.Logger
	private, created time.Time // when a private server was opened, or zero; and the job was made
	// drop removes, in the transaction that ends the job, what it was making; nil if that is nothing.
	drop func(ctx context.Context, tx *meta.Tx) error
	// unmoved says that the job is one that may be tried again and has moved no data.
	unmoved bool
}

// away reports whether a cause is one that passes: the store or the database cannot be reached.
func away(cause error) bool {
	return errors.Is(cause, blob.ErrUnavailable) || errors.Is(cause, meta.ErrUnavailable)
}

// end ends the job in the state that belongs to the cause, or puts it off.
func (e ending) end(ctx context.Context, tx *meta.Tx, cause error) error {
	if e.unmoved && away(cause) && !errors.Is(cause, errTaken) && !errors.Is(cause, job.ErrAborting) {
		return e.jobs.RetryTx(ctx, tx, e.lease, cause.Error())
	}
	return endTx(ctx, tx, e.jobs, e.lease, cause)
}

// giveUp ends a job; when the server stops, it leaves the job to the next one.
func giveUp(ctx context.Context, e ending, cause error, stopping bool) error {
	switch {
	case errors.Is(cause, job.ErrLost):
		e.log.WarnContext(ctx, e.kind+" job lost to another worker")
		return nil
	case stopping && !e.private.IsZero() && !e.created.Before(e.private):
		cause = errInterrupted // nobody waits for it any more
	case stopping:
		e.log.InfoContext(ctx, e.kind+" job interrupted; it is started again with the server")
		return e.jobs.Release(ctx, e.lease)
	}
	e.log.WarnContext(ctx, e.kind+" job did not complete", "error", cause)
	err := e.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		if e.drop != nil {
			if err := e.drop(ctx, tx); err != nil {
				return err
			}
		}
		return e.end(ctx, tx, cause)
	})
	if errors.Is(err, job.ErrLost) {
		return nil
	}
	return err
}
