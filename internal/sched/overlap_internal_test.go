package sched

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
)

// rule is a rule with everything that a stored document has. No days is for ever.
func rule(name, schedule string, window, days int64) backupapi.BackupRule {
	r := backupapi.BackupRule{RuleName: name, RuleId: &name, ScheduleExpression: &schedule, ScheduleExpressionTimezone: new("Etc/UTC"),
		StartWindowMinutes: &window}
	if days > 0 {
		r.Lifecycle = &backupapi.Lifecycle{DeleteAfterDays: &days}
	}
	return r
}

// simulate returns what fires within a span, and what is dropped.
func simulate(t *testing.T, from, to time.Time, rules ...backupapi.BackupRule) (fired, dropped map[string][]string) {
	t.Helper()
	table, err := newTimetable(&backupapi.BackupPlan{Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	fired, dropped = map[string][]string{}, map[string][]string{}
	for _, r := range table {
		for at, ok := r.schedule.Next(from.Add(-1), r.zone); ok && at.Before(to); at, ok = r.schedule.Next(at, r.zone) {
			into := fired
			if table.dropped(r, at) != "" {
				into = dropped
			}
			into[r.rule.RuleName] = append(into[r.rule.RuleName], at.Format("02 15:04"))
		}
	}
	return fired, dropped
}

// TestOverlap_OfTheGuide is the example of
// https://docs.aws.amazon.com/aws-backup/latest/devguide/plan-options-and-configuration.html.
func TestOverlap_OfTheGuide(t *testing.T) {
	t.Parallel()
	day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	fired, dropped := simulate(t, day, day.AddDate(0, 0, 1),
		rule("hourly", "cron(0 * ? * * *)", 60, 1), rule("long", "cron(0 0/12 ? * * *)", 8*60, 7))
	want := map[string][]string{
		"hourly": {"01 08:00", "01 09:00", "01 10:00", "01 11:00", "01 20:00", "01 21:00", "01 22:00", "01 23:00"},
		"long":   {"01 00:00", "01 12:00"},
	}
	if diff := cmp.Diff(want, fired); diff != "" {
		t.Errorf("fired (-want +got):\n%s", diff)
	}
	if got := len(dropped["hourly"]); got != 16 {
		t.Errorf("%d firings dropped, want 16", got)
	}
}

func TestOverlap(t *testing.T) {
	t.Parallel()
	saturday := time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC)
	const daily, weekly, monthly = "cron(0 5 ? * * *)", "cron(0 6 ? * 7 *)", "cron(0 12 3 * ? *)"
	for _, c := range []struct {
		name  string
		rules []backupapi.BackupRule
		want  map[string][]string
	}{
		{"a window that opens within this one", []backupapi.BackupRule{rule("daily", daily, 480, 35), rule("weekly", weekly, 60, 90)},
			map[string][]string{"weekly": {"03 06:00"}}},
		{"windows that touch", []backupapi.BackupRule{rule("daily", daily, 60, 35), rule("weekly", weekly, 60, 90)},
			map[string][]string{"daily": {"03 05:00"}, "weekly": {"03 06:00"}}},
		{"for ever is longest", []backupapi.BackupRule{rule("daily", daily, 480, 36500), rule("weekly", weekly, 60, 0)},
			map[string][]string{"weekly": {"03 06:00"}}},
		{"equal retention", []backupapi.BackupRule{rule("daily", daily, 480, 35), rule("weekly", weekly, 60, 35)},
			map[string][]string{"daily": {"03 05:00"}, "weekly": {"03 06:00"}}},
		{"what is dropped drops nothing", []backupapi.BackupRule{
			rule("daily", daily, 120, 35), rule("weekly", weekly, 480, 90), rule("monthly", monthly, 60, 365)},
			map[string][]string{"daily": {"03 05:00"}, "monthly": {"03 12:00"}}},
		{"a window of a hundred years", []backupapi.BackupRule{rule("daily", daily, 60, 35), rule("first", "cron(0 1 1 1 ? 1999)", 52_560_000, 90)},
			map[string][]string{}},
	} {
		fired, _ := simulate(t, saturday, saturday.AddDate(0, 0, 1), c.rules...)
		if diff := cmp.Diff(c.want, fired); diff != "" {
			t.Errorf("%s: fired (-want +got):\n%s", c.name, diff)
		}
	}
}

// BenchmarkYear simulates a year of 100 plans of four rules that overlap.
func BenchmarkYear(b *testing.B) {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for b.Loop() {
		for i := range 100 {
			minute := i % 60
			table, err := newTimetable(&backupapi.BackupPlan{Rules: []backupapi.BackupRule{
				rule("hourly", fmt.Sprintf("cron(%d * ? * * *)", minute), 60, 1), rule("daily", fmt.Sprintf("cron(%d 5 ? * * *)", minute), 480, 35),
				rule("weekly", "cron(0 5 ? * 7 *)", 480, 90), rule("monthly", "cron(0 5 1 * ? *)", 480, 365)}})
			if err != nil {
				b.Fatal(err)
			}
			for _, r := range table {
				for at, ok := r.schedule.Next(begin, r.zone); ok && at.Before(begin.AddDate(1, 0, 0)); at, ok = r.schedule.Next(at, r.zone) {
					table.dropped(r, at)
				}
			}
		}
	}
}
