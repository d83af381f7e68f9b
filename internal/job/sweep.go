package job

import (
	"context"
	"fmt"
	"time"

	"github.com/lockfast/lockfast/internal/meta"
)

const (
	// firstRequeue is how long a job that waits may go without a worker before it is enqueued once more, in case River gave
	// it to a server that was killed before it claimed the job. After that it is requeueAfter, which is long: most jobs
	// that wait are in a queue, and what is enqueued twice takes room there.
	firstRequeue = 2 * time.Minute
	requeueAfter = 30 * time.Minute
	// restartAfter is the same for a job whose worker was lost.
	restartAfter = 5 * time.Minute
	// sweepBatch is how many jobs one transaction of a sweep deals with.
	sweepBatch = 500
)

// Sweep enqueues jobs that had to wait for a time, and those whose workers were lost, expires those whose start window has passed, and forgets old
// jobs and idempotency tokens. It is called now and then by every server.
func (s *Service) Sweep(ctx context.Context) error {
	if err := s.DB.Update(ctx, pruneTokens); err != nil {
		return err
	}
	steps := []func(context.Context, *meta.Tx) (int, error){s.expireWaiting, s.startLater}
	for _, k := range kinds() {
		steps = append(steps,
			func(ctx context.Context, tx *meta.Tx) (int, error) { return s.requeue(ctx, tx, k) },
			func(ctx context.Context, tx *meta.Tx) (int, error) { return s.pruneJobs(ctx, tx, k) })
	}
	for _, step := range steps {
		for n := sweepBatch; n == sweepBatch; {
			err := s.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) (err error) {
				n, err = step(ctx, tx)
				return err
			})
			if err != nil {
				return fmt.Errorf("sweep jobs: %w", err)
			}
		}
	}
	return nil
}

func kinds() []Kind { return []Kind{Backups, Copies, Restores} }

// RestartAll enqueues every running job again, whoever has it. It is called at start by a server that knows that there
// is no other one, so that every lease is of a process that has ended.
func (s *Service) RestartAll(ctx context.Context) error {
	err := s.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		for _, k := range kinds() {
			_, err := tx.Exec(ctx, "UPDATE "+table(k)+" SET lease = '', lease_until = 0 WHERE state IN ('RUNNING', 'ABORTING')")
			if err != nil {
				return fmt.Errorf("restart jobs: %w", err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.Sweep(ctx)
}

func (s *Service) expireWaiting(ctx context.Context, tx *meta.Tx) (int, error) {
	late, err := selectBackups(ctx, tx, " WHERE state = 'CREATED' AND start_by <= ? ORDER BY id LIMIT ?"+tx.ForUpdate(),
		micros(s.now()), sweepBatch)
	if err != nil {
		return 0, err
	}
	for _, b := range late {
		if err := s.expireBackup(ctx, tx, b); err != nil {
			return 0, err
		}
	}
	return len(late), nil
}

// expireBackup ends a backup job that waits, and lets the one behind it have its turn.
func (s *Service) expireBackup(ctx context.Context, tx *meta.Tx, b Backup) error {
	message := expiredMessage
	if busy, err := resourceBusy(ctx, tx, b.Account, b.ResourceARN); err != nil {
		return err
	} else if busy {
		message = concurrentMessage
	}
	if err := s.end(ctx, tx, Lease{Kind: Backups, JobID: b.ID}, Expired, message); err != nil {
		return err
	}
	return wakeNext(ctx, tx, b.Account, b.ResourceARN)
}

// requeue enqueues jobs of which the time limit has passed, and gives them another one.
func (s *Service) requeue(ctx context.Context, tx *meta.Tx, k Kind) (int, error) {
	now, err := tx.Now(ctx)
	if err != nil {
		return 0, err
	}
	lost, err := lostJobs(ctx, tx, k, now)
	if err != nil {
		return 0, err
	}
	for _, l := range lost {
		err := exec1(ctx, tx, "UPDATE "+table(k)+` SET lease = '', lease_until = CASE WHEN state IN ('CREATED', 'PENDING')
			THEN CAST(? AS BIGINT) ELSE CAST(? AS BIGINT) END WHERE id = ?`,
			micros(now.Add(requeueAfter)), micros(now.Add(restartAfter)), l.id)
		if err != nil {
			return 0, err
		}
		switch k {
		case Restores:
			err = tx.Enqueue(ctx, RunRestore{l.id}, nil)
		case Copies:
			err = enqueueCopy(ctx, tx, Copy{ID: l.id, Composite: Composite{IsParent: l.parent}})
		default:
			err = enqueue(ctx, tx, l.id, l.parent)
		}
		if err != nil {
			return 0, err
		}
	}
	return len(lost), nil
}

// lostJob is a job of which the time limit has passed.
type lostJob struct {
	id     string
	parent bool // it is a backup or copy job of a group
}

func lostJobs(ctx context.Context, tx *meta.Tx, k Kind, now time.Time) (lost []lostJob, err error) {
	from := "id, is_parent FROM backup_job WHERE state IN ('CREATED', 'RUNNING', 'ABORTING')"
	switch k {
	case Copies:
		from = "id, is_parent FROM copy_job WHERE state IN ('CREATED', 'RUNNING') AND held = FALSE"
	case Restores:
		from = "id, FALSE FROM restore_job WHERE state IN ('PENDING', 'RUNNING')"
	}
	rows, err := tx.Query(ctx, "SELECT "+from+" AND lease_until < ? ORDER BY id LIMIT ?"+tx.ForUpdate(), micros(now), sweepBatch)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var l lostJob
		if err := rows.Scan(&l.id, &l.parent); err != nil {
			return nil, err
		}
		lost = append(lost, l)
	}
	return lost, rows.Err()
}
