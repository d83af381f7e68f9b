package plan

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/meta"
)

// version reads a version of a plan.
func version(ctx context.Context, tx *meta.Tx, plan, id string) (created time.Time, doc *backupapi.BackupPlan, err error) {
	var text string
	var at int64
	err = tx.QueryRow(ctx, "SELECT document, created_at FROM plan_version WHERE plan_id = ? AND version = ?", plan, id).Scan(&text, &at)
	if errors.Is(err, sql.ErrNoRows) {
		return created, nil, errNoPlan()
	}
	if err != nil {
		return created, nil, fmt.Errorf("read version %s of plan %s: %w", id, plan, err)
	}
	doc, err = decode(text)
	return meta.FromMicros(at), doc, err
}

// insertVersion adds the version that is current from now on.
func (s *Service) insertVersion(ctx context.Context, tx *meta.Tx, p Plan, doc *backupapi.BackupPlan, at time.Time) error {
	var number int64
	err := tx.QueryRow(ctx, "SELECT COALESCE(MAX(number), 0) + 1 FROM plan_version WHERE plan_id = ?", p.ID).Scan(&number)
	if err != nil {
		return fmt.Errorf("count versions: %w", err)
	}
	if number > maxVersions {
		return backupapi.LimitExceededExceptionf("The limit of %d versions per backup plan is reached", maxVersions)
	}
	_, err = tx.Exec(ctx, "INSERT INTO plan_version (plan_id, version, number, document, created_at) VALUES (?, ?, ?, ?, ?)",
		p.ID, p.Version, number, encode(doc), meta.Micros(at))
	if err != nil {
		return fmt.Errorf("insert version of plan %s: %w", p.ID, err)
	}
	return s.setRules(ctx, tx, p.ID, doc, at)
}

// setRules replaces the rows of a plan's rules. A rule whose schedule stays keeps the time at which it fires next: it may
// be due already.
func (s *Service) setRules(ctx context.Context, tx *meta.Tx, plan string, doc *backupapi.BackupPlan, now time.Time) error {
	due, err := dueTimes(ctx, tx, plan)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "DELETE FROM plan_rule WHERE plan_id = ?", plan); err != nil {
		return fmt.Errorf("replace rules of plan %s: %w", plan, err)
	}
	for i := range doc.Rules {
		r := &doc.Rules[i]
		key := scheduled{*r.RuleId, *r.ScheduleExpression, *r.ScheduleExpressionTimezone}
		at, kept := due[key]
		if !kept {
			schedule, zone, err := ScheduleOf(r)
			if err != nil {
				return err
			}
			next, _ := schedule.Next(now, zone)
			at = microsOf(next)
		}
		_, err := tx.Exec(ctx, "INSERT INTO plan_rule (plan_id, rule_id, schedule, timezone, next_at) VALUES (?, ?, ?, ?, ?)",
			plan, key.rule, key.schedule, key.timezone, at)
		if err != nil {
			return fmt.Errorf("insert rule of plan %s: %w", plan, err)
		}
	}
	return nil
}

// scheduled is a rule with its schedule.
type scheduled struct{ rule, schedule, timezone string }

func dueTimes(ctx context.Context, tx *meta.Tx, plan string) (map[scheduled]int64, error) {
	rows, err := tx.Query(ctx, "SELECT rule_id, schedule, timezone, next_at FROM plan_rule WHERE plan_id = ?", plan)
	if err != nil {
		return nil, fmt.Errorf("read rules of plan %s: %w", plan, err)
	}
	defer rows.Close()
	due := map[scheduled]int64{}
	for rows.Next() {
		var k scheduled
		var at int64
		if err := rows.Scan(&k.rule, &k.schedule, &k.timezone, &at); err != nil {
			return nil, err
		}
		due[k] = at
	}
	return due, rows.Err()
}
