package server

import (
	"context"
	"errors"
	"time"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/job"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/plan"
	"github.com/lockfast/lockfast/internal/registry"
	"github.com/lockfast/lockfast/internal/sched"
)

// scheduleLinks answers the scheduler's questions and carries out what it wants.
type scheduleLinks struct{ *nouns }

// ResourcesTx implements sched.Resources.
func (l scheduleLinks) ResourcesTx(ctx context.Context, tx *meta.Tx, account, region, after string, limit int) ([]sched.Resource, error) {
	found, err := l.resources.FollowingTx(ctx, tx, account, region, after, limit)
	all := make([]sched.Resource, 0, len(found))
	for _, r := range found {
		all = append(all, candidate(r))
	}
	return all, err
}

// ResourceTx implements sched.Resources.
func (l scheduleLinks) ResourceTx(ctx context.Context, tx *meta.Tx, account, region, arn string) (sched.Resource, bool, error) {
	found, ok, err := l.resources.FoundTx(ctx, tx, account, region, arn)
	return candidate(found), ok, err
}

func candidate(r registry.Found) sched.Resource {
	return sched.Resource{Candidate: plan.Candidate{ARN: r.ARN, Type: r.Type, Tags: r.Tags}, Name: r.Name}
}

// AddPlannedTx implements sched.Jobs.
func (l scheduleLinks) AddPlannedTx(ctx context.Context, tx *meta.Tx, jobs []sched.Job) error {
	all := make([]job.Scheduled, 0, len(jobs))
	for _, j := range jobs {
		s := scheduled(j)
		s.ColdAfterDays = l.jobs.Vaults.ColdAfterDays(j.Rule.Lifecycle, j.Resource.Type)
		all = append(all, s)
	}
	return l.jobs.AddScheduledTx(ctx, tx, all)
}

func scheduled(j sched.Job) job.Scheduled {
	r := j.Rule
	s := job.Scheduled{
		Account: j.Account, Region: j.Region, VaultName: r.TargetBackupVaultName, ResourceARN: j.Resource.ARN, ResourceType: j.Resource.Type,
		ResourceName: j.Resource.Name, RoleARN: j.RoleARN, Tags: r.RecoveryPointTags, At: j.At, Missed: j.Missed,
		StartWindow: minutes(r.StartWindowMinutes),
		Planned: job.Planned{
			NotBefore: j.NotBefore, CompletionWindow: minutes(r.CompletionWindowMinutes),
			CreatedBy: &backupapi.RecoveryPointCreator{
				BackupPlanArn: new(j.Plan.ARN()), BackupPlanId: &j.Plan.ID, BackupPlanName: &j.PlanName, BackupPlanVersion: &j.Version,
				BackupRuleId: r.RuleId, BackupRuleName: &r.RuleName, BackupRuleCron: r.ScheduleExpression,
				BackupRuleTimezone: r.ScheduleExpressionTimezone,
			},
		},
	}
	if l := r.Lifecycle; l != nil && l.DeleteAfterDays != nil {
		s.DeleteAfterDays = max(0, *l.DeleteAfterDays)
	}
	for _, c := range r.CopyActions {
		s.Copies = append(s.Copies, job.CopyAction{VaultARN: c.DestinationBackupVaultArn, Lifecycle: c.Lifecycle})
	}
	return s
}

func minutes(n *int64) time.Duration { return time.Duration(*n) * time.Minute }

// schedule fires rules when they are due, until ctx is done. After a failure it tries again a little later; nothing is lost.
func (p *parts) schedule(ctx context.Context) error {
	const longest = 15 * time.Second // another server may have got new rules
	for {
		pause, err := longest, p.scheduler.Tick(ctx)
		if err == nil {
			pause, err = p.scheduler.Idle(ctx, longest)
		}
		if err != nil && ctx.Err() == nil {
			p.o.Log.WarnContext(ctx, "rules of backup plans not carried out", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(max(pause, 100*time.Millisecond)):
		}
	}
}

// due does what the background does by the clock of policy, after that was moved.
func (p *parts) due(ctx context.Context) error {
	_, err := p.nouns.vaults.Sweep(ctx)
	return errors.Join(err, p.scheduler.Tick(ctx), p.nouns.jobs.Sweep(ctx), p.nouns.keys.Expire(ctx))
}
