package sched

import (
	"fmt"
	"math"
	"time"

	"github.com/lockfast/lockfast/cron"
	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/plan"
)

// maxLookback is how many firings of another rule are looked at, at most, to find one that is in the way. Only a rule whose
// start window is longer than that many of its periods has more.
const maxLookback = 1000

// timetable is when the rules of a plan fire.
type timetable []timed

// timed is a rule with what decides when it backs up.
type timed struct {
	rule      *backupapi.BackupRule
	schedule  cron.Schedule
	zone      *time.Location
	window    time.Duration // for the start
	retention int64         // days
}

func newTimetable(doc *backupapi.BackupPlan) (timetable, error) {
	var all timetable
	for i := range doc.Rules {
		r := &doc.Rules[i]
		schedule, zone, err := plan.ScheduleOf(r)
		if err != nil {
			return nil, fmt.Errorf("rule %s: %w", r.RuleName, err)
		}
		t := timed{rule: r, schedule: schedule, zone: zone, window: minutes(r.StartWindowMinutes), retention: math.MaxInt64}
		if l := r.Lifecycle; l != nil && l.DeleteAfterDays != nil && *l.DeleteAfterDays > 0 {
			t.retention = *l.DeleteAfterDays
		}
		all = append(all, t)
	}
	return all, nil
}

func minutes(n *int64) time.Duration { return time.Duration(*n) * time.Minute }

// find returns the rule with an id.
func (t timetable) find(ruleID string) (timed, bool) {
	for _, r := range t {
		if *r.rule.RuleId == ruleID {
			return r, true
		}
	}
	return timed{}, false
}

// dropped returns the name of the rule in whose favour a firing is dropped; empty if it makes jobs. Of rules whose start
// windows overlap only the one with the longest retention backs up; a firing that is itself dropped is in nobody's way.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/plan-options-and-configuration.html.
func (t timetable) dropped(r timed, at time.Time) string {
	for _, other := range t {
		if other.retention <= r.retention {
			continue
		}
		from, to := at.Add(-other.window), at.Add(r.window)
		for range maxLookback {
			next, fires := other.schedule.Next(from, other.zone)
			if !fires || !next.Before(to) {
				break
			}
			if t.dropped(other, next) == "" {
				return other.rule.RuleName
			}
			from = next
		}
	}
	return ""
}
