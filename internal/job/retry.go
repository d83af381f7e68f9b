package job

import (
	"context"
	"fmt"
	"time"

	"github.com/lockfast/lockfast/internal/meta"
)

// Pauses before a backup job that was put off is tried again: the first, twice as long each time, and the longest.
const (
	firstRetry  = 5 * time.Second
	slowestPace = 10 * time.Minute
)

// retryPause is the time before a job that was put off a number of times is tried again.
func retryPause(before int64) time.Duration {
	if before > 10 { // and the shift would become too long
		return slowestPace
	}
	return min(firstRetry<<before, slowestPace)
}

// RetryTx puts a backup job off because something that it needs is away, of which it has moved nothing yet: the job is
// CREATED again, others may have the resource, and it is tried again some time later, until it can run or its start window
// has passed. One that was stopped meanwhile is ABORTED. What the job has left behind is the caller's to remove.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/plan-options-and-configuration.html.
func (s *Service) RetryTx(ctx context.Context, tx *meta.Tx, l Lease, cause string) error {
	b, err := backupTx(ctx, tx, l.JobID, tx.ForUpdate())
	if err != nil {
		return err
	}
	if b.State == Aborting {
		return s.AbortTx(ctx, tx, l)
	}
	res, err := tx.Exec(ctx, `UPDATE backup_job SET state = ?, status_message = ?, not_before = ?, retries = retries + 1, started_at = 0,
		attempts = 0, items = 0, bytes_read = 0, bytes_stored = 0, total_bytes = 0, lease = '', lease_until = ?
		WHERE id = ? AND state = 'RUNNING' AND lease = ? AND lease <> ''`,
		Created, cause, micros(s.now().Add(retryPause(b.Retries))), int64(never), l.JobID, l.token)
	if err != nil {
		return fmt.Errorf("put off job %s: %w", l.JobID, err)
	}
	n, err := res.RowsAffected()
	if err == nil && n == 0 {
		err = ErrLost
	}
	if err != nil {
		return fmt.Errorf("put off job %s: %w", l.JobID, err)
	}
	if err := endTurn(ctx, tx, l.JobID); err != nil {
		return err
	}
	if err := s.tell(ctx, tx, Backups, l.JobID); err != nil {
		return err
	}
	return wakeNext(ctx, tx, b.Account, b.ResourceARN)
}
