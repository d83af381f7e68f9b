package job

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
)

// request identifies a request that starts a job.
type request struct {
	operation   string
	token       *string
	fingerprint string
}

// replay returns the job that an earlier request with the same token started, or "". The same token with other
// parameters is an API error.
func (s *Service) replay(ctx context.Context, r request) (id string, err error) {
	if r.token == nil {
		return "", nil
	}
	err = s.DB.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		id, err = r.find(ctx, tx)
		return err
	})
	return id, err
}

func (r request) find(ctx context.Context, tx *meta.Tx) (string, error) {
	c := caller.From(ctx)
	var id, fingerprint string
	err := tx.QueryRow(ctx, "SELECT job_id, fingerprint FROM job_token WHERE account = ? AND operation = ? AND token = ? AND region = ?",
		c.Account, r.operation, *r.token, c.Region).Scan(&id, &fingerprint)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read idempotency token: %w", err)
	}
	if fingerprint != r.fingerprint {
		return "", backupapi.InvalidParameterValueExceptionf("IdempotencyToken %q was used by a request with other parameters", *r.token)
	}
	return id, nil
}

// reserve records that a request starts the job id. If another request with the token was faster it returns that one's
// job instead, having waited for its transaction.
func (r request) reserve(ctx context.Context, tx *meta.Tx, id string) (string, error) {
	if r.token == nil {
		return id, nil
	}
	c := caller.From(ctx)
	res, err := tx.Exec(ctx, `INSERT INTO job_token (account, region, operation, token, fingerprint, job_id, created_at)
		VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		c.Account, c.Region, r.operation, *r.token, r.fingerprint, id, meta.Micros(time.Now()))
	if err != nil {
		return "", fmt.Errorf("record idempotency token: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 1 {
		return id, err
	}
	return r.find(ctx, tx)
}
