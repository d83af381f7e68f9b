package plan

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

// Due is a rule that is to fire.
type Due struct {
	Plan   Plan
	RuleID string
	At     time.Time // as scheduled
}

// NextDue returns when the next rule of any plan fires; false if none ever does.
func (s *Service) NextDue(ctx context.Context) (at time.Time, ok bool, err error) {
	var next sql.NullInt64
	err = s.o.DB.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		return tx.QueryRow(ctx, "SELECT MIN(next_at) FROM plan_rule WHERE next_at > 0").Scan(&next)
	})
	return timeOf(next.Int64), next.Valid, err
}

// DueTx returns the rule that has been due for longest at a time, and locks its plan until the transaction ends. It returns
// false if no rule is due, or if it has just been taken by another transaction.
func (s *Service) DueTx(ctx context.Context, tx *meta.Tx, now time.Time) (d Due, ok bool, err error) {
	var planID string
	err = tx.QueryRow(ctx, "SELECT plan_id FROM plan_rule WHERE next_at > 0 AND next_at <= ? ORDER BY next_at, plan_id, rule_id LIMIT 1",
		meta.Micros(now)).Scan(&planID)
	if errors.Is(err, sql.ErrNoRows) {
		return Due{}, false, nil
	}
	if err != nil {
		return Due{}, false, fmt.Errorf("find due rules: %w", err)
	}
	d.Plan, err = scanPlan(tx.QueryRow(ctx, "SELECT "+planColumns+" FROM plan WHERE id = ?"+tx.ForUpdate(), planID).Scan)
	if err != nil {
		return Due{}, false, fmt.Errorf("read plan %s: %w", planID, err)
	}
	var at int64
	err = tx.QueryRow(ctx, "SELECT rule_id, next_at FROM plan_rule WHERE plan_id = ? AND next_at > 0 AND next_at <= ? ORDER BY next_at, rule_id LIMIT 1",
		planID, meta.Micros(now)).Scan(&d.RuleID, &at)
	if errors.Is(err, sql.ErrNoRows) {
		return Due{}, false, nil
	}
	d.At = timeOf(at)
	return d, err == nil, err
}

// FiredTx records that a rule has fired, and when it fires next; the zero time is never. A firing that made no jobs is not
// an execution of the plan.
func (s *Service) FiredTx(ctx context.Context, tx *meta.Tx, d Due, next time.Time, executed bool) error {
	_, err := tx.Exec(ctx, "UPDATE plan_rule SET next_at = ? WHERE plan_id = ? AND rule_id = ?", microsOf(next), d.Plan.ID, d.RuleID)
	if err == nil && executed {
		_, err = tx.Exec(ctx, "UPDATE plan SET executed_at = ? WHERE id = ? AND executed_at < ?", meta.Micros(d.At), d.Plan.ID, meta.Micros(d.At))
	}
	if err != nil {
		return fmt.Errorf("record that rule %s of plan %s fired: %w", d.RuleID, d.Plan.ID, err)
	}
	return nil
}

// DocumentTx returns a version of a plan, deleted or not.
func (s *Service) DocumentTx(ctx context.Context, tx *meta.Tx, planID, id string) (*backupapi.BackupPlan, error) {
	_, doc, err := version(ctx, tx, planID, id)
	return doc, err
}

// LiveTx finds a plan of an account that is not deleted, with its current document. A missing one is an API error.
func (s *Service) LiveTx(ctx context.Context, tx *meta.Tx, account, region, planID string) (Plan, *backupapi.BackupPlan, error) {
	p, err := live(ctx, tx, caller.Caller{Account: account, Region: region}, planID, "")
	if err != nil {
		return p, nil, err
	}
	_, doc, err := version(ctx, tx, p.ID, p.Version)
	return p, doc, err
}

// SelectionsTx returns the selections of a plan, oldest first: of several that select a resource, the first counts.
func (s *Service) SelectionsTx(ctx context.Context, tx *meta.Tx, planID string) ([]Selection, error) {
	return selections(ctx, tx, planID, " ORDER BY created_at, id")
}
