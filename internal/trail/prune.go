package trail

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/lockfast/lockfast/internal/meta"
)

// pruneBatch is how many calls one transaction removes, so that no other one waits for long.
const pruneBatch = 500

// Prune removes calls that are older than they are kept, and returns their number.
func (s *Service) Prune(ctx context.Context) (removed int, err error) {
	if s.Days == 0 {
		return 0, nil
	}
	before := meta.Micros(s.Now().Add(-time.Duration(s.Days) * 24 * time.Hour))
	for account := ""; ; {
		if account, err = s.accountAfter(ctx, account); account == "" || err != nil {
			return removed, err
		}
		for {
			n, err := s.pruneAccount(ctx, account, before)
			removed += n
			if err != nil {
				return removed, err
			}
			if n < pruneBatch {
				break
			}
		}
	}
}

// accountAfter is the next account that has calls; empty if there is none.
func (s *Service) accountAfter(ctx context.Context, account string) (next string, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		return tx.QueryRow(ctx, "SELECT account FROM trail_event WHERE account > ? ORDER BY account LIMIT 1", account).Scan(&next)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("find accounts with calls: %w", err)
	}
	return next, nil
}

// pruneAccount removes the oldest calls of an account, a batch at most.
func (s *Service) pruneAccount(ctx context.Context, account string, before int64) (n int, err error) {
	err = s.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		old, err := oldest(ctx, tx, account, before)
		if err != nil {
			return fmt.Errorf("find old calls: %w", err)
		}
		n = len(old)
		for _, r := range old {
			if err := remove(ctx, tx, account, r); err != nil {
				return fmt.Errorf("remove old calls: %w", err)
			}
		}
		return nil
	})
	return n, err
}

func oldest(ctx context.Context, tx *meta.Tx, account string, before int64) ([]row, error) {
	rows, err := tx.Query(ctx, "SELECT at, id, record FROM trail_event WHERE account = ? AND at < ? ORDER BY at, id LIMIT ?",
		account, before, pruneBatch)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var old []row
	for rows.Next() {
		var r row
		if err := rows.Scan(&r.at, &r.id, &r.record); err != nil {
			return nil, err
		}
		old = append(old, r)
	}
	return old, rows.Err()
}

func remove(ctx context.Context, tx *meta.Tx, account string, r row) error {
	var rec struct {
		Resources []resource `json:"resources"`
	}
	if err := json.Unmarshal([]byte(r.record), &rec); err != nil {
		return fmt.Errorf("read record of call %s: %w", r.id, err)
	}
	for _, res := range rec.Resources {
		_, err := tx.Exec(ctx, "DELETE FROM trail_resource WHERE account = ? AND arn = ? AND at = ? AND id = ?",
			account, res.ARN, r.at, r.id)
		if err != nil {
			return err
		}
	}
	_, err := tx.Exec(ctx, "DELETE FROM trail_event WHERE account = ? AND at = ? AND id = ?", account, r.at, r.id)
	return err
}
