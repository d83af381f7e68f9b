package main_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
)

// selected is how many resources one rule selects.
const selected = 10_000

// BenchmarkSchedule measures how long a server of the real binary takes to make jobs of 10,000 resources that one rule
// selects. Run it with -benchtime=1x.
func BenchmarkSchedule(b *testing.B) {
	binary, err := filepath.Abs("../bin/lockfast")
	if err != nil {
		b.Fatal(err)
	}
	for name, create := range map[string]func(testing.TB) string{"SQLite": metatest.SQLite, "PostgreSQL": metatest.PostgreSQL} {
		b.Run(name, func(b *testing.B) {
			s := &apiServer{binary: binary, data: filepath.Join(b.TempDir(), "data"), url: create(b)}
			s.plan(b)
			begun := time.Now()
			c := s.start(b)
			defer s.stop(b)
			for jobs := 0; jobs < selected; {
				time.Sleep(250 * time.Millisecond)
				jobs = 0
				in := &backupapi.ListBackupJobsInput{}
				for more := true; more; more = in.NextToken != nil {
					page := must(b, call(b.Context(), c, backupapi.ListBackupJobs, in))
					jobs, in.NextToken = jobs+len(page.BackupJobs), page.NextToken
				}
			}
			b.ReportMetric(time.Since(begun).Seconds(), "s/10000-jobs")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// plan makes a plan through the API with a rule that selects everything, declares resources by copying the row of one, and
// makes the rule due. The server has ended then.
func (s *apiServer) plan(b *testing.B) {
	b.Helper()
	s.point(b)
	c := s.start(b)
	made := must(b, call(b.Context(), c, backupapi.CreateBackupPlan, &backupapi.CreateBackupPlanInput{BackupPlan: backupapi.BackupPlanInput{
		BackupPlanName: "all", Rules: []backupapi.BackupRuleInput{{RuleName: "hourly", TargetBackupVaultName: "big",
			ScheduleExpression: new("cron(0 * ? * * *)")}}}}))
	must(b, call(b.Context(), c, backupapi.CreateBackupSelection, &backupapi.CreateBackupSelectionInput{BackupPlanId: *made.BackupPlanId,
		BackupSelection: backupapi.BackupSelection{SelectionName: "all",
			IamRoleArn: "arn:aws:iam::000000000000:role/service-role/AWSBackupDefaultServiceRole",
			ListOfTags: []backupapi.Condition{{ConditionType: "STRINGEQUALS", ConditionKey: "backup", ConditionValue: "hourly"}}}}))
	must(b, call(b.Context(), c, lockfastapi.RegisterResource, &lockfastapi.RegisterResourceInput{
		Type: "EFS", Path: new(b.TempDir()), Tags: map[string]string{"backup": "hourly"}}))
	s.stop(b)
	db, err := meta.Open(b.Context(), meta.Options{URL: s.url})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	if err := db.Update(b.Context(), copyResources); err != nil {
		b.Fatal(err)
	}
}

func copyResources(ctx context.Context, tx *meta.Tx) error {
	rows, err := tx.Query(ctx, "SELECT * FROM resource")
	if err != nil {
		return err
	}
	columns, err := rows.Columns()
	rows.Close()
	if err != nil {
		return err
	}
	values := slices.Clone(columns)
	values[slices.Index(columns, "arn")] = "'arn:aws:elasticfilesystem:us-east-1:000000000000:file-system/fs-' || SUBSTR(CAST(1000000000000 + n.i AS TEXT), 2)"
	_, err = tx.Exec(ctx, fmt.Sprintf(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
		INSERT INTO resource (%s) SELECT %s FROM resource, n WHERE tags LIKE '%%hourly%%'`,
		selected-1, strings.Join(columns, ", "), strings.Join(values, ", ")))
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "UPDATE plan_rule SET next_at = ?", meta.Micros(time.Now().Add(-time.Second)))
	return err
}
