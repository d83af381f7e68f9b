package job

import (
	"context"
	"fmt"
	"time"

	"github.com/lockfast/lockfast/internal/meta"
)

// takeTurn makes a job the one of its resource. The error wraps [ErrBusy] if another one was claimed at the same moment.
func (s *Service) takeTurn(ctx context.Context, tx *meta.Tx, account, resourceARN, id string) error {
	_, err := tx.Exec(ctx, "INSERT INTO job_turn (account, resource_arn, job_id) VALUES (?, ?, ?)", account, resourceARN, id)
	if s.DB.IsDuplicate(err) {
		err = ErrBusy
	}
	if err != nil {
		return fmt.Errorf("claim job %s: %w", id, err)
	}
	return nil
}

// endTurn lets others have the resource of a job; it does nothing for a job that never ran.
func endTurn(ctx context.Context, tx *meta.Tx, id string) error {
	if _, err := tx.Exec(ctx, "DELETE FROM job_turn WHERE job_id = ?", id); err != nil {
		return fmt.Errorf("end job %s: %w", id, err)
	}
	return nil
}

// resourceBusy reports whether a backup or copy of a resource runs. It waits for a transaction that is about to end it,
// so that the waiting job is seen either by this claim or by that end.
func resourceBusy(ctx context.Context, tx *meta.Tx, account, resourceARN string) (bool, error) {
	running, err := ids(ctx, tx, "SELECT job_id FROM job_turn WHERE account = ? AND resource_arn = ?"+tx.ForUpdate(), account, resourceARN)
	if err != nil {
		return false, fmt.Errorf("look for jobs of %s: %w", resourceARN, err)
	}
	return len(running) > 0, nil
}

// wakeNext enqueues the backup job or copy job that has waited longest for a resource.
func wakeNext(ctx context.Context, tx *meta.Tx, account, resourceARN string) error {
	const waiting, first = " WHERE account = ? AND resource_arn = ? AND state = 'CREATED'", " ORDER BY created_at, id LIMIT 1"
	backups, err := selectBackups(ctx, tx, waiting+" AND not_before = 0"+first, account, resourceARN)
	if err != nil {
		return err
	}
	copies, err := selectCopies(ctx, tx, waiting+" AND held = FALSE"+first, account, resourceARN)
	if err != nil {
		return err
	}
	until := micros(time.Now().Add(firstRequeue))
	switch {
	case len(backups) == 0 && len(copies) == 0:
		return nil
	case len(copies) == 0 || len(backups) > 0 && !copies[0].CreatedAt.Before(backups[0].CreatedAt):
		if err := exec1(ctx, tx, "UPDATE backup_job SET lease_until = ? WHERE id = ?", until, backups[0].ID); err != nil {
			return err
		}
		return enqueue(ctx, tx, backups[0].ID, backups[0].IsParent)
	}
	if err := exec1(ctx, tx, "UPDATE copy_job SET lease_until = ? WHERE id = ?", until, copies[0].ID); err != nil {
		return err
	}
	return enqueueCopy(ctx, tx, copies[0])
}
