package plan

import (
	"slices"
	"time"

	"github.com/lockfast/lockfast/internal/backupapi"
)

const maxPreview = 10

// preview returns the next n times after now at which rules of a plan fire.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_ScheduledPlanExecutionMember.html.
func preview(doc *backupapi.BackupPlan, now time.Time, n int) ([]backupapi.ScheduledPlanExecutionMember, error) {
	all := []backupapi.ScheduledPlanExecutionMember{}
	for i := range doc.Rules {
		r := &doc.Rules[i]
		schedule, zone, err := ScheduleOf(r)
		if err != nil {
			return nil, err
		}
		kind := backupapi.RuleExecutionTypeSnapshots
		at, fires := schedule.Next(now, zone)
		for range n {
			if !fires {
				break
			}
			all = append(all, backupapi.ScheduledPlanExecutionMember{ExecutionTime: new(at), RuleId: r.RuleId, RuleExecutionType: &kind})
			at, fires = schedule.Next(at, zone)
		}
	}
	slices.SortStableFunc(all, func(a, b backupapi.ScheduledPlanExecutionMember) int {
		return a.ExecutionTime.Compare(*b.ExecutionTime)
	})
	return all[:min(n, len(all))], nil
}
