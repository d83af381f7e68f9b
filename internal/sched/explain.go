package sched

import (
	"context"
	"time"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/plan"
	"github.com/lockfast/lockfast/internal/restjson"
)

// Routes registers the operation.
func (s *Scheduler) Routes(own *restjson.Router) {
	restjson.Handle(own, lockfastapi.ExplainBackupPlan, s.ExplainBackupPlan,
		func(c caller.Caller, in *lockfastapi.ExplainBackupPlanInput) []restjson.Access {
			return caller.On("lockfast:ExplainBackupPlan", plan.ARN(c.Account, c.Region, in.BackupPlanId))
		})
}

// ExplainBackupPlan says which declared resources a plan selects, why, and when its rules back them up next.
func (s *Scheduler) ExplainBackupPlan(ctx context.Context, in *lockfastapi.ExplainBackupPlanInput) (*lockfastapi.ExplainBackupPlanOutput, error) {
	page, err := restjson.OpenPage(ctx, s.o.Pager, lockfastapi.ExplainBackupPlan, in)
	if err != nil {
		return nil, err
	}
	c := caller.From(ctx)
	out := &lockfastapi.ExplainBackupPlanOutput{Rules: []lockfastapi.ExplainedRule{}, Resources: []lockfastapi.ExplainedResource{}}
	err = s.o.DB.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		p, doc, err := s.o.Plans.LiveTx(ctx, tx, c.Account, c.Region, in.BackupPlanId)
		if err != nil {
			return err
		}
		table, err := newTimetable(doc)
		if err != nil {
			return err
		}
		out.BackupPlanName, out.Rules = doc.BackupPlanName, table.explain(s.o.Now())
		resources, more, err := s.explained(ctx, tx, c, in.ResourceArn, page)
		if err != nil {
			return err
		}
		if more {
			out.NextToken = page.Next(resources[len(resources)-1].ARN)
		}
		out.Resources, err = s.judged(ctx, tx, p, resources)
		return err
	})
	return out, err
}

// explained reads the one resource that is asked for, or a page of all.
func (s *Scheduler) explained(ctx context.Context, tx *meta.Tx, c caller.Caller, only *string, page *restjson.Page) (all []Resource, more bool, err error) {
	if only != nil {
		r, ok, err := s.o.Resources.ResourceTx(ctx, tx, c.Account, c.Region, *only)
		if err == nil && !ok {
			err = lockfastapi.ResourceNotFoundExceptionf("Resource %s is not declared.", *only)
		}
		return []Resource{r}, false, err
	}
	after := ""
	if page.After != nil {
		after = page.After[0]
	}
	all, err = s.o.Resources.ResourcesTx(ctx, tx, c.Account, c.Region, after, page.Limit+1)
	if len(all) > page.Limit {
		return all[:page.Limit], true, err
	}
	return all, false, err
}

// explain says when each rule next makes backups.
func (t timetable) explain(now time.Time) []lockfastapi.ExplainedRule {
	all := []lockfastapi.ExplainedRule{}
	for _, r := range t {
		e := lockfastapi.ExplainedRule{RuleName: r.rule.RuleName}
		at, fires := r.schedule.Next(now, r.zone)
		for range maxLookback {
			if !fires || t.dropped(r, at) == "" {
				break
			}
			at, fires = r.schedule.Next(at, r.zone)
		}
		if fires && t.dropped(r, at) == "" {
			e.NextBackup = &at
		}
		all = append(all, e)
	}
	return all
}

// judged has every selection of a plan judge resources.
func (s *Scheduler) judged(ctx context.Context, tx *meta.Tx, p plan.Plan, resources []Resource) ([]lockfastapi.ExplainedResource, error) {
	selections, err := s.o.Plans.SelectionsTx(ctx, tx, p.ID)
	if err != nil {
		return nil, err
	}
	optedIn, err := s.o.Settings.OptedInTx(ctx, tx, p.Account, p.Region)
	if err != nil {
		return nil, err
	}
	all := []lockfastapi.ExplainedResource{}
	for _, r := range resources {
		e := lockfastapi.ExplainedResource{ResourceArn: r.ARN, ResourceName: r.Name, ResourceType: r.Type, Verdicts: []lockfastapi.SelectionVerdict{}}
		for _, sel := range selections {
			v := sel.Judge(r.Candidate, optedIn)
			e.Verdicts = append(e.Verdicts, lockfastapi.SelectionVerdict{
				SelectionName: sel.Document.SelectionName, Selected: v.Selected, Reason: v.Reason})
			if v.Selected && !e.Selected {
				e.Selected, e.SelectionName, e.IamRoleArn = true, &sel.Document.SelectionName, &sel.Document.IamRoleArn
			}
		}
		all = append(all, e)
	}
	return all, nil
}
