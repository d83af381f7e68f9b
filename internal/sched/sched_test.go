package sched_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
	"github.com/lockfast/lockfast/internal/plan"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/sched"
	"github.com/lockfast/lockfast/internal/tag"
)

// world is what a scheduler works with, as tables of its own, so that transactions that are repeated count once.
type world struct {
	db        *meta.DB
	resources int        // how many resources there are
	failAfter int        // calls of AddPlannedTx until one fails; 0 is never
	mu        sync.Mutex // guards failAfter
}

func tables() meta.MigrationSet {
	return meta.MigrationSet{Package: "world", Files: fstest.MapFS{"9000_job.sql": {Data: []byte(
		"CREATE TABLE job (resource TEXT NOT NULL, rule TEXT NOT NULL, at BIGINT NOT NULL, missed BOOLEAN NOT NULL, role TEXT NOT NULL);")}}}
}

func arn(i int) string {
	return fmt.Sprintf("arn:aws:elasticfilesystem:us-east-1:000000000000:file-system/fs-%05d", i)
}

func (w *world) ResourcesTx(_ context.Context, _ *meta.Tx, _, _, after string, limit int) (all []sched.Resource, err error) {
	for i := range w.resources {
		if a := arn(i); a > after && len(all) < limit {
			all = append(all, sched.Resource{Candidate: plan.Candidate{ARN: a, Type: "EFS", Tags: map[string]string{"n": fmt.Sprint(i % 2)}}})
		}
	}
	return all, nil
}

func (w *world) ResourceTx(ctx context.Context, tx *meta.Tx, account, region, name string) (sched.Resource, bool, error) {
	all, err := w.ResourcesTx(ctx, tx, account, region, "", w.resources)
	for _, r := range all {
		if r.ARN == name {
			return r, true, err
		}
	}
	return sched.Resource{}, false, err
}

func (*world) OptedInTx(context.Context, *meta.Tx, string, string) (func(string) bool, error) {
	return func(string) bool { return true }, nil
}

var errKilled = errors.New("killed")

func (w *world) AddPlannedTx(ctx context.Context, tx *meta.Tx, jobs []sched.Job) error {
	for _, j := range jobs {
		_, err := tx.Exec(ctx, "INSERT INTO job (resource, rule, at, missed, role) VALUES (?, ?, ?, ?, ?)",
			j.Resource.ARN, j.Rule.RuleName, meta.Micros(j.At), j.Missed, j.RoleARN)
		if err != nil {
			return err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failAfter--; w.failAfter == 0 {
		return errKilled
	}
	return nil
}

func (w *world) VaultUUIDTx(context.Context, *meta.Tx, string, string, string) (string, error) {
	return "uuid", nil
}
func (w *world) CheckLifecycle(*backupapi.Lifecycle) error                          { return nil }
func (w *world) RoleUsable(context.Context, string, string) (bool, error)           { return true, nil }
func (w *world) TagsChangeable(context.Context, string, string) error               { return nil }
func (w *world) TagsChangedTx(context.Context, *meta.Tx, string, string) error      { return nil }
func (w *world) TaggableTx(context.Context, *meta.Tx, string, string) (bool, error) { return true, nil }
func (w *world) RoleMay(context.Context, string, string, []caller.Access) (string, error) {
	return "", nil
}

type kit struct {
	*world
	plans *plan.Service
	sched *sched.Scheduler
	id    string // of the plan
	now   time.Time
}

// begin is when the kit's plan is made. It is a Thursday.
var begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func run(t *testing.T, rules []backupapi.BackupRuleInput, test func(t *testing.T, ctx context.Context, k *kit)) {
	metatest.Run(t, func(t *testing.T, open func(*testing.T, ...meta.MigrationSet) *meta.DB) {
		db := open(t, tag.Migrations(), plan.Migrations(), sched.Migrations(), tables())
		w := &world{db: db, resources: 3}
		k := &kit{world: w, now: begin}
		now := func() time.Time { return k.now }
		pager := restjson.NewPager([]byte("key"))
		k.plans = plan.New(plan.Options{DB: db, Tags: tag.New(db, w, pager), CheckTags: tag.Check, Vaults: w, Roles: w, Pager: pager, Now: now})
		k.sched = sched.New(sched.Options{DB: db, Plans: k.plans, Resources: w, Settings: w, Jobs: w, Pager: pager, Now: now})
		ctx := caller.With(t.Context(), caller.Caller{Account: "000000000000", Region: "us-east-1"})
		made, err := k.plans.CreateBackupPlan(ctx, &backupapi.CreateBackupPlanInput{
			BackupPlan: backupapi.BackupPlanInput{BackupPlanName: "p", Rules: rules}})
		if err != nil {
			t.Fatal(err)
		}
		k.id = *made.BackupPlanId
		test(t, ctx, k)
	})
}

func (k *kit) selects(t *testing.T, ctx context.Context, name, role string, tags ...backupapi.Condition) {
	t.Helper()
	_, err := k.plans.CreateBackupSelection(ctx, &backupapi.CreateBackupSelectionInput{BackupPlanId: k.id,
		BackupSelection: backupapi.BackupSelection{SelectionName: name, IamRoleArn: role, ListOfTags: tags}})
	if err != nil {
		t.Fatal(err)
	}
	k.now = k.now.Add(time.Second)
}

// tick moves the clock and returns the jobs there are, as "day hour:minute rule resource".
func (k *kit) tick(t *testing.T, ctx context.Context, to time.Time) []string {
	t.Helper()
	k.now = to
	if err := k.sched.Tick(ctx); err != nil {
		t.Fatal(err)
	}
	return k.jobs(t, ctx)
}

func (k *kit) jobs(t *testing.T, ctx context.Context) (all []string) {
	t.Helper()
	err := k.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		rows, err := tx.Query(ctx, "SELECT at, rule, resource, missed, role FROM job ORDER BY at, rule, resource")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var at int64
			var rule, resource, role string
			var missed bool
			if err := rows.Scan(&at, &rule, &resource, &missed, &role); err != nil {
				return err
			}
			text := meta.FromMicros(at).Format("02 15:04 ") + rule + " " + resource[len(resource)-1:] + " " + role
			if missed {
				text += " missed"
			}
			all = append(all, text)
		}
		return rows.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func daily(window int64) []backupapi.BackupRuleInput {
	return []backupapi.BackupRuleInput{{RuleName: "daily", TargetBackupVaultName: "home", StartWindowMinutes: &window}}
}

func TestTick_MakesAJobOfEachSelectedResource(t *testing.T) {
	run(t, daily(60), func(t *testing.T, ctx context.Context, k *kit) {
		odd := backupapi.Condition{ConditionType: "STRINGEQUALS", ConditionKey: "n", ConditionValue: "1"}
		k.selects(t, ctx, "odd", "first", odd)
		k.selects(t, ctx, "odd-again", "second", odd)
		if got := k.tick(t, ctx, begin.Add(5*time.Hour-1)); len(got) != 0 {
			t.Errorf("jobs before the time: %v", got)
		}
		idle, err := k.sched.Idle(ctx, time.Minute)
		if err != nil || idle > time.Microsecond {
			t.Errorf("Idle = %v, %v just before a rule is due", idle, err)
		}
		for range 2 {
			if diff := cmp.Diff([]string{"01 05:00 daily 1 first"}, k.tick(t, ctx, begin.Add(5*time.Hour))); diff != "" {
				t.Errorf("jobs (-want +got):\n%s", diff)
			}
		}
		k.selects(t, ctx, "all", "third")
		want := []string{"01 05:00 daily 1 first", "02 05:00 daily 0 third", "02 05:00 daily 1 first", "02 05:00 daily 2 third"}
		if diff := cmp.Diff(want, k.tick(t, ctx, begin.Add(30*time.Hour-1))); diff != "" {
			t.Errorf("jobs (-want +got):\n%s", diff)
		}
		out, err := k.plans.GetBackupPlan(ctx, &backupapi.GetBackupPlanInput{BackupPlanId: k.id})
		if err != nil || out.LastExecutionDate == nil || !out.LastExecutionDate.Equal(begin.Add(29*time.Hour)) {
			t.Errorf("LastExecutionDate = %v, %v", out.LastExecutionDate, err)
		}
	})
}

func TestTick_AfterDowntime(t *testing.T) {
	run(t, daily(60), func(t *testing.T, ctx context.Context, k *kit) {
		k.resources = 1
		k.selects(t, ctx, "all", "r")
		want := []string{"01 05:00 daily 0 r missed", "02 05:00 daily 0 r missed", "03 05:00 daily 0 r"}
		if diff := cmp.Diff(want, k.tick(t, ctx, begin.Add(53*time.Hour+59*time.Minute))); diff != "" {
			t.Errorf("jobs (-want +got):\n%s", diff)
		}
		if got := len(k.tick(t, ctx, begin.AddDate(0, 3, 0))); got != 3+30 {
			t.Errorf("%d jobs after three months without a server, want those of 30 days and 3", got)
		}
		if idle, err := k.sched.Idle(ctx, 24*time.Hour); err != nil || idle != 5*time.Hour {
			t.Errorf("Idle = %v, %v, want 5h", idle, err)
		}
	})
}

func TestTick_OfPlansThatChange(t *testing.T) {
	run(t, daily(60), func(t *testing.T, ctx context.Context, k *kit) {
		k.resources = 1
		k.selects(t, ctx, "all", "r")
		doc := backupapi.BackupPlanInput{BackupPlanName: "p", Rules: daily(60)}
		doc.Rules[0].ScheduleExpression = new("cron(0 7 ? * * *)")
		k.now = begin.Add(6 * time.Hour) // the first firing is due, and nobody has noticed
		if _, err := k.plans.UpdateBackupPlan(ctx, &backupapi.UpdateBackupPlanInput{BackupPlanId: k.id, BackupPlan: doc}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"01 07:00 daily 0 r"}, k.tick(t, ctx, begin.Add(7*time.Hour))); diff != "" {
			t.Errorf("jobs (-want +got):\n%s", diff)
		}
		sel, err := k.plans.ListBackupSelections(ctx, &backupapi.ListBackupSelectionsInput{BackupPlanId: k.id})
		if err != nil {
			t.Fatal(err)
		}
		_, err = k.plans.DeleteBackupSelection(ctx, &backupapi.DeleteBackupSelectionInput{
			BackupPlanId: k.id, SelectionId: *sel.BackupSelectionsList[0].SelectionId})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.plans.DeleteBackupPlan(ctx, &backupapi.DeleteBackupPlanInput{BackupPlanId: k.id}); err != nil {
			t.Fatal(err)
		}
		if got := len(k.tick(t, ctx, begin.AddDate(0, 0, 2))); got != 1 {
			t.Errorf("%d jobs after the plan is deleted, want 1", got)
		}
	})
}

func TestTick_DropsOverlappingFirings(t *testing.T) {
	rules := []backupapi.BackupRuleInput{
		{RuleName: "hourly", TargetBackupVaultName: "home", ScheduleExpression: new("cron(0 * ? * * *)"), StartWindowMinutes: new(int64(60)),
			Lifecycle: &backupapi.Lifecycle{DeleteAfterDays: new(int64(1))}},
		{RuleName: "long", TargetBackupVaultName: "home", ScheduleExpression: new("cron(0 0/12 ? * * *)"), StartWindowMinutes: new(int64(480)),
			Lifecycle: &backupapi.Lifecycle{DeleteAfterDays: new(int64(7))}},
	}
	run(t, rules, func(t *testing.T, ctx context.Context, k *kit) {
		k.resources = 1
		k.selects(t, ctx, "all", "r")
		for hour := range 24 {
			k.tick(t, ctx, begin.Add(time.Duration(24+hour)*time.Hour))
		}
		counts := map[string]int{}
		for _, j := range k.jobs(t, ctx) {
			if j[:2] == "02" {
				counts[j[9:13]]++
			}
		}
		if diff := cmp.Diff(map[string]int{"hour": 8, "long": 2}, counts); diff != "" {
			t.Errorf("jobs of a day (-want +got):\n%s", diff)
		}
	})
}

// TestTick_CutAnywhere: a server that dies while it makes jobs loses none and makes none twice.
func TestTick_CutAnywhere(t *testing.T) {
	run(t, daily(60), func(t *testing.T, ctx context.Context, k *kit) {
		k.resources = 900
		k.selects(t, ctx, "all", "r")
		for day := range 6 {
			k.now = begin.Add(time.Duration(24*day+5) * time.Hour)
			k.failAfter = day
			if err := k.sched.Tick(ctx); err != nil && !errors.Is(err, errKilled) {
				t.Fatal(err)
			}
			if got := len(k.tick(t, ctx, k.now)); got != 900*(day+1) {
				t.Errorf("%d jobs on day %d, want %d", got, day+1, 900*(day+1))
			}
		}
	})
}

// TestTick_OnSeveralServers: rules fire once, whoever comes first.
func TestTick_OnSeveralServers(t *testing.T) {
	run(t, daily(60), func(t *testing.T, ctx context.Context, k *kit) {
		k.resources = 450
		k.selects(t, ctx, "all", "r")
		k.now = begin.Add(5 * time.Hour)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if err := k.sched.Tick(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got := len(k.jobs(t, ctx)); got != 450 {
			t.Errorf("%d jobs, want 450", got)
		}
	})
}

func TestExplainBackupPlan(t *testing.T) {
	rules := []backupapi.BackupRuleInput{
		{RuleName: "daily", TargetBackupVaultName: "home", Lifecycle: &backupapi.Lifecycle{DeleteAfterDays: new(int64(35))}},
		{RuleName: "first", TargetBackupVaultName: "home", ScheduleExpression: new("cron(0 6 1 * ? *)")},
		{RuleName: "past", TargetBackupVaultName: "home", ScheduleExpression: new("cron(0 6 1 * ? 2020)")},
	}
	run(t, rules, func(t *testing.T, ctx context.Context, k *kit) {
		k.selects(t, ctx, "odd", "first", backupapi.Condition{ConditionType: "STRINGEQUALS", ConditionKey: "n", ConditionValue: "1"})
		in := &lockfastapi.ExplainBackupPlanInput{BackupPlanId: k.id, MaxResults: new(2)}
		out, err := k.sched.ExplainBackupPlan(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		want := []lockfastapi.ExplainedRule{{RuleName: "daily", NextBackup: new(begin.Add(29 * time.Hour))},
			{RuleName: "first", NextBackup: new(begin.Add(6 * time.Hour))}, {RuleName: "past"}}
		if diff := cmp.Diff(want, out.Rules); diff != "" {
			t.Errorf("rules (-want +got):\n%s", diff)
		}
		in.NextToken = out.NextToken
		rest, err := k.sched.ExplainBackupPlan(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, r := range append(out.Resources, rest.Resources...) {
			got[r.ResourceArn] = fmt.Sprint(r.Selected, " ", r.Verdicts[0].Reason)
		}
		no, yes := "false Neither Resources nor ListOfTags matches it.", "true ListOfTags matches its tag n=1."
		if diff := cmp.Diff(map[string]string{arn(0): no, arn(1): yes, arn(2): no}, got); diff != "" || rest.NextToken != nil {
			t.Errorf("resources (-want +got):\n%s", diff)
		}
		one, err := k.sched.ExplainBackupPlan(ctx, &lockfastapi.ExplainBackupPlanInput{BackupPlanId: k.id, ResourceArn: new(arn(1))})
		if err != nil || len(one.Resources) != 1 || *one.Resources[0].SelectionName != "odd" || *one.Resources[0].IamRoleArn != "first" {
			t.Errorf("one resource: %+v, %v", one, err)
		}
		for plan, resource := range map[string]string{"none": arn(1), k.id: "none"} {
			_, err := k.sched.ExplainBackupPlan(ctx, &lockfastapi.ExplainBackupPlanInput{BackupPlanId: plan, ResourceArn: &resource})
			if err == nil {
				t.Errorf("ExplainBackupPlan(%s, %s) succeeded", plan, resource)
			}
		}
	})
}
