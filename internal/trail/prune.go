package trail

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/lockfast/lockfast/internal/meta"
)

// How many rows of calls and how many segments one transaction removes, so that no other one waits for long.
const (
	pruneRows     = 500
	pruneSegments = 50
)

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
		for more := true; more; {
			var n int
			n, more, err = s.pruneAccount(ctx, account, before)
			removed += n
			if err != nil {
				return removed, err
			}
		}
	}
}

// accountAfter is the next account that has calls; empty if there is none.
func (s *Service) accountAfter(ctx context.Context, account string) (next string, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		return tx.QueryRow(ctx, `SELECT COALESCE(MIN(account), '') FROM (
			SELECT MIN(account) AS account FROM trail_event WHERE account > ?
			UNION ALL SELECT MIN(account) FROM trail_segment WHERE account > ?) AS a`, account, account).Scan(&next)
	})
	if err != nil {
		return "", fmt.Errorf("find accounts with calls: %w", err)
	}
	return next, nil
}

// pruneAccount removes the oldest calls of an account, a batch at most. A segment goes when all its calls are old.
func (s *Service) pruneAccount(ctx context.Context, account string, before int64) (n int, more bool, err error) {
	err = s.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		old, err := oldest(ctx, tx, account, before)
		if err != nil {
			return fmt.Errorf("find old calls: %w", err)
		}
		for _, r := range old {
			if err := remove(ctx, tx, account, r); err != nil {
				return fmt.Errorf("remove old calls: %w", err)
			}
		}
		segments, calls, err := removeSegments(ctx, tx, account, before)
		if err != nil {
			return fmt.Errorf("remove old calls: %w", err)
		}
		n, more = len(old)+calls, len(old) == pruneRows || segments == pruneSegments
		return nil
	})
	return n, more, err
}

// removeSegments removes the oldest segments of an account, and returns their number and that of their calls.
func removeSegments(ctx context.Context, tx *meta.Tx, account string, before int64) (segments, calls int, err error) {
	rows, err := tx.Query(ctx, `DELETE FROM trail_segment WHERE account = ? AND (last_at, id) IN (
		SELECT last_at, id FROM trail_segment WHERE account = ? AND last_at < ? ORDER BY last_at, id LIMIT ?) RETURNING calls`,
		account, account, before, pruneSegments)
	if err != nil {
		return 0, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var n int
		if err := rows.Scan(&n); err != nil {
			return 0, 0, err
		}
		segments, calls = segments+1, calls+n
	}
	return segments, calls, rows.Err()
}

func oldest(ctx context.Context, tx *meta.Tx, account string, before int64) ([]row, error) {
	rows, err := tx.Query(ctx, "SELECT at, id, record FROM trail_event WHERE account = ? AND at < ? ORDER BY at, id LIMIT ?",
		account, before, pruneRows)
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
