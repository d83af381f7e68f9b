package job

import (
	"context"
	"fmt"
	"time"

	"github.com/lockfast/lockfast/internal/meta"
)

const (
	// tokenAge is how long idempotency tokens are kept.
	tokenAge = 48 * time.Hour
	// jobAge is how long a job can be described after its end. Lists go back 30 days.
	jobAge = 90 * 24 * time.Hour
)

// pruneTokens forgets old tokens.
func pruneTokens(ctx context.Context, tx *meta.Tx) error {
	_, err := tx.Exec(ctx, "DELETE FROM job_token WHERE created_at < ?", meta.Micros(time.Now().Add(-tokenAge)))
	if err != nil {
		return fmt.Errorf("prune idempotency tokens: %w", err)
	}
	return nil
}

// pruneJobs forgets jobs that ended long ago, and returns how many. The last restore of a resource that completed stays:
// it is part of what is told of the resource.
func (s *Service) pruneJobs(ctx context.Context, tx *meta.Tx, k Kind) (int, error) {
	keep := ""
	if k == Restores {
		keep = ` AND (state <> 'COMPLETED' OR EXISTS (SELECT 1 FROM restore_job n WHERE n.account = j.account
			AND n.region = j.region AND n.source_arn = j.source_arn AND n.state = 'COMPLETED'
			AND (n.created_at, n.id) > (j.created_at, j.id)))`
	}
	old, err := ids(ctx, tx, "SELECT id FROM "+table(k)+" j WHERE completed_at > 0 AND completed_at < ?"+keep+
		" ORDER BY completed_at LIMIT ?", micros(s.now().Add(-jobAge)), sweepBatch)
	if err != nil {
		return 0, fmt.Errorf("look for old jobs: %w", err)
	}
	for _, id := range old {
		if _, err := tx.Exec(ctx, "DELETE FROM job_skip WHERE job_id = ?", id); err != nil {
			return 0, fmt.Errorf("prune job %s: %w", id, err)
		}
		if _, err := tx.Exec(ctx, "DELETE FROM "+table(k)+" WHERE id = ?", id); err != nil {
			return 0, fmt.Errorf("prune job %s: %w", id, err)
		}
	}
	return len(old), nil
}

// ids reads the ids of jobs.
func ids(ctx context.Context, tx *meta.Tx, query string, args ...any) ([]string, error) {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		all = append(all, id)
	}
	return all, rows.Err()
}
