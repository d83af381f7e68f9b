// Package sched makes backup jobs of the rules of backup plans that are due.
//
// A rule fires in one transaction: the row of the firing is made, and the rule gets the time at which it fires next. So of
// several servers on one database one fires it, and no firing is lost with a server. The resources are then judged and given
// jobs in batches, in the order of their ARNs; each batch moves the firing's mark in the transaction that makes its jobs, so
// that every resource gets one job, whichever server goes on with it.
//
// A firing that was missed, because no server ran, is made up for while its start window is open; after that its jobs are
// recorded as EXPIRED.
package sched

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/plan"
	"github.com/lockfast/lockfast/internal/restjson"
)

// batch is how many resources are judged in one transaction.
const batch = 200

// maxAge is how old a missed firing may be to be recorded: lists of jobs go back as far.
const maxAge = 30 * 24 * time.Hour

// Resource is something that a plan may select.
type Resource struct {
	plan.Candidate
	Name string
}

// Resources knows what plans may select.
type Resources interface {
	// ResourcesTx returns resources of an account in a region in the order of their ARNs, from the first after one on.
	ResourcesTx(ctx context.Context, tx *meta.Tx, account, region, after string, limit int) ([]Resource, error)
	// ResourceTx finds one; false if it is not declared.
	ResourceTx(ctx context.Context, tx *meta.Tx, account, region, arn string) (Resource, bool, error)
}

// Settings knows for which types of resources an account has opted in.
type Settings interface {
	OptedInTx(ctx context.Context, tx *meta.Tx, account, region string) (func(resourceType string) bool, error)
}

// Job is a backup job that a rule makes.
type Job struct {
	Account, Region string
	Resource        Resource
	RoleARN         string
	Plan            plan.Plan
	Version         string // of the plan
	PlanName        string // in that version
	Rule            *backupapi.BackupRule
	At              time.Time // as scheduled
	NotBefore       time.Time // when it may start
	Missed          bool      // its start window is over: it is recorded as EXPIRED
}

// Jobs makes backup jobs.
type Jobs interface {
	AddPlannedTx(ctx context.Context, tx *meta.Tx, jobs []Job) error
}

// Options says what a [Scheduler] works with.
type Options struct {
	DB        *meta.DB
	Plans     *plan.Service
	Resources Resources
	Settings  Settings
	Jobs      Jobs
	Pager     *restjson.Pager
	Now       func() time.Time // policy clock
	Jitter    time.Duration    // jobs start within this time of the schedule, spread evenly; 0 is at once
}

// Scheduler is the motor of backup plans. Its methods may be called concurrently, and on several servers.
type Scheduler struct{ o Options }

// New makes a scheduler.
func New(o Options) *Scheduler { return &Scheduler{o} }

//go:embed migration
var migrations embed.FS

// Migrations returns the tables of the package.
func Migrations() meta.MigrationSet {
	return meta.MigrationSet{Package: "sched", Files: migrations}
}

// Tick fires all rules that are due and makes their jobs.
func (s *Scheduler) Tick(ctx context.Context) error {
	for _, step := range []func(context.Context) (bool, error){s.fire, s.work} {
		for more := true; more; {
			var err error
			if more, err = step(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// Idle returns how long nothing is due, at most a limit.
func (s *Scheduler) Idle(ctx context.Context, limit time.Duration) (time.Duration, error) {
	next, ok, err := s.o.Plans.NextDue(ctx)
	if err != nil || !ok {
		return limit, err
	}
	return min(limit, max(0, next.Sub(s.o.Now()))), nil
}

// fire fires the rule that has been due for longest, and reports whether there may be others.
func (s *Scheduler) fire(ctx context.Context) (more bool, err error) {
	err = s.o.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		now := s.o.Now()
		var d plan.Due
		if d, more, err = s.o.Plans.DueTx(ctx, tx, now); err != nil || !more {
			return err
		}
		return s.fireTx(ctx, tx, d, now)
	})
	return more, err
}

func (s *Scheduler) fireTx(ctx context.Context, tx *meta.Tx, d plan.Due, now time.Time) error {
	doc, err := s.o.Plans.DocumentTx(ctx, tx, d.Plan.ID, d.Plan.Version)
	if err != nil {
		return err
	}
	table, err := newTimetable(doc)
	if err != nil {
		return fmt.Errorf("plan %s: %w", d.Plan.ID, err)
	}
	rule, ok := table.find(d.RuleID)
	if !ok {
		return fmt.Errorf("plan %s has no rule %s", d.Plan.ID, d.RuleID)
	}
	next, _ := rule.schedule.Next(latest(d.At, now.Add(-maxAge)), rule.zone)
	fires := now.Sub(d.At) < maxAge && table.dropped(rule, d.At) == ""
	if fires {
		_, err := tx.Exec(ctx, `INSERT INTO sched_firing (plan_id, rule_id, at, account, region, version, after_arn)
			VALUES (?, ?, ?, ?, ?, ?, '')`, d.Plan.ID, d.RuleID, meta.Micros(d.At), d.Plan.Account, d.Plan.Region, d.Plan.Version)
		if err != nil {
			return fmt.Errorf("record that rule %s of plan %s fires: %w", d.RuleID, d.Plan.ID, err)
		}
	}
	return s.o.Plans.FiredTx(ctx, tx, d, next, fires)
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// firing is a row of sched_firing.
type firing struct {
	planID, ruleID  string
	at              time.Time
	account, region string
	version         string
	after           string
}

// work makes the jobs of one batch of the oldest firing, and reports whether there may be others.
func (s *Scheduler) work(ctx context.Context) (more bool, err error) {
	err = s.o.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		var f firing
		if f, more, err = oldest(ctx, tx); err != nil || !more {
			return err
		}
		return s.workTx(ctx, tx, f)
	})
	return more, err
}

// oldest reads and locks the oldest firing.
func oldest(ctx context.Context, tx *meta.Tx) (f firing, ok bool, err error) {
	var at int64
	err = tx.QueryRow(ctx, `SELECT plan_id, rule_id, at, account, region, version, after_arn FROM sched_firing
		ORDER BY at, plan_id, rule_id LIMIT 1`+tx.ForUpdate()).
		Scan(&f.planID, &f.ruleID, &at, &f.account, &f.region, &f.version, &f.after)
	if errors.Is(err, sql.ErrNoRows) {
		return f, false, nil
	}
	f.at = meta.FromMicros(at)
	return f, err == nil, err
}

func (s *Scheduler) workTx(ctx context.Context, tx *meta.Tx, f firing) error {
	resources, err := s.o.Resources.ResourcesTx(ctx, tx, f.account, f.region, f.after, batch)
	if err != nil {
		return err
	}
	jobs, err := s.jobs(ctx, tx, f, resources)
	if err != nil {
		return err
	}
	if err := s.o.Jobs.AddPlannedTx(ctx, tx, jobs); err != nil {
		return err
	}
	if len(resources) < batch {
		_, err = tx.Exec(ctx, "DELETE FROM sched_firing WHERE plan_id = ? AND rule_id = ? AND at = ?", f.planID, f.ruleID, meta.Micros(f.at))
	} else {
		_, err = tx.Exec(ctx, "UPDATE sched_firing SET after_arn = ? WHERE plan_id = ? AND rule_id = ? AND at = ?",
			resources[batch-1].ARN, f.planID, f.ruleID, meta.Micros(f.at))
	}
	if err != nil {
		return fmt.Errorf("record the progress of rule %s of plan %s: %w", f.ruleID, f.planID, err)
	}
	return nil
}

// jobs returns the jobs of a firing for those of some resources that are selected. A plan that was deleted meanwhile has no
// selections left, and so makes none.
func (s *Scheduler) jobs(ctx context.Context, tx *meta.Tx, f firing, resources []Resource) ([]Job, error) {
	doc, err := s.o.Plans.DocumentTx(ctx, tx, f.planID, f.version)
	if err != nil {
		return nil, err
	}
	selections, err := s.o.Plans.SelectionsTx(ctx, tx, f.planID)
	if err != nil {
		return nil, err
	}
	optedIn, err := s.o.Settings.OptedInTx(ctx, tx, f.account, f.region)
	if err != nil {
		return nil, err
	}
	table, err := newTimetable(doc)
	if err != nil {
		return nil, err
	}
	rule, ok := table.find(f.ruleID)
	if !ok {
		return nil, fmt.Errorf("version %s of plan %s has no rule %s", f.version, f.planID, f.ruleID)
	}
	missed := !s.o.Now().Before(f.at.Add(rule.window))
	var jobs []Job
	for _, r := range resources {
		role, ok := selectedBy(selections, r.Candidate, optedIn)
		if !ok {
			continue
		}
		jobs = append(jobs, Job{Account: f.account, Region: f.region, Resource: r, RoleARN: role,
			Plan: plan.Plan{ID: f.planID, Account: f.account, Region: f.region}, Version: f.version, PlanName: doc.BackupPlanName, Rule: rule.rule,
			At: f.at, NotBefore: f.at.Add(s.jitter(r.ARN, f, rule.window)), Missed: missed})
	}
	return jobs, nil
}

// selectedBy returns the role of the first selection that selects a resource.
func selectedBy(all []plan.Selection, r plan.Candidate, optedIn func(string) bool) (role string, ok bool) {
	for _, sel := range all {
		if sel.Judge(r, optedIn).Selected {
			return sel.Document.IamRoleArn, true
		}
	}
	return "", false
}

// jitter is how long after the schedule a job starts: less than half of its start window, and the same on every server.
func (s *Scheduler) jitter(arn string, f firing, window time.Duration) time.Duration {
	limit := min(s.o.Jitter, window/2)
	if limit <= 0 {
		return 0
	}
	h := fnv.New64a()
	fmt.Fprint(h, arn, f.ruleID, f.at.UnixMicro())
	return time.Duration(h.Sum64()%uint64(limit/time.Second+1)) * time.Second
}
