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
	"github.com/lockfast/lockfast/internal/restjson"
)

// listed are the tables whose one row is copied, with the columns that differ: expressions of n.i, from 1.
var listed = []struct {
	table   string
	columns map[string]string
}{
	{"backup_job", map[string]string{"id": number, "created_at": "created_at - n.i"}},
	{"restore_job", map[string]string{"id": number, "created_at": "created_at - n.i"}},
	{"copy_job", map[string]string{"id": number, "created_at": "created_at - n.i"}},
	{"protected_resource", map[string]string{"arn": "arn || " + number}},
	{"plan", map[string]string{"id": number, "created_at": "created_at - n.i"}},
	{"plan_version", map[string]string{"plan_id": number}},
}

const number = "SUBSTR(CAST(1000000000000 + n.i AS TEXT), 2)"

// BenchmarkLists measures pages of 100 items of lists with 100,000 items: the first, and the 900th. Run it with -benchtime=1x.
func BenchmarkLists(b *testing.B) {
	binary, err := filepath.Abs("../bin/lockfast")
	if err != nil {
		b.Fatal(err)
	}
	for name, create := range map[string]func(testing.TB) string{"SQLite": metatest.SQLite, "PostgreSQL": metatest.PostgreSQL} {
		b.Run(name, func(b *testing.B) {
			s := &apiServer{binary: binary, data: filepath.Join(b.TempDir(), "data"), url: create(b)}
			resource := s.rows(b)
			c := s.start(b)
			defer s.stop(b)
			for _, l := range lists(resource) {
				l.measure(b, c)
			}
		})
	}
}

// rows makes one row of each table through the API, and copies it. It returns the ARN of the resource.
func (s *apiServer) rows(b *testing.B) string {
	b.Helper()
	point := s.point(b)
	c, ctx := s.start(b), b.Context()
	const role = "arn:aws:iam::000000000000:role/service-role/AWSBackupDefaultServiceRole"
	d := must(b, call(ctx, c, backupapi.DescribeRecoveryPoint, &backupapi.DescribeRecoveryPointInput{BackupVaultName: "big", RecoveryPointArn: point}))
	must(b, call(ctx, c, lockfastapi.RestoreToDirectory, &lockfastapi.RestoreToDirectoryInput{
		RecoveryPointArn: point, Directory: filepath.Join(b.TempDir(), "to")}))
	must(b, call(ctx, c, backupapi.CreateBackupVault, &backupapi.CreateBackupVaultInput{BackupVaultName: "other"}))
	must(b, call(ctx, c, backupapi.StartCopyJob, &backupapi.StartCopyJobInput{RecoveryPointArn: point, SourceBackupVaultName: "big",
		DestinationBackupVaultArn: "arn:aws:backup:us-east-1:000000000000:backup-vault:other", IamRoleArn: role}))
	must(b, call(ctx, c, backupapi.CreateBackupPlan, &backupapi.CreateBackupPlanInput{BackupPlan: backupapi.BackupPlanInput{
		BackupPlanName: "all", Rules: []backupapi.BackupRuleInput{{RuleName: "daily", TargetBackupVaultName: "big"}}}}))
	time.Sleep(2 * time.Second) // for the jobs
	s.stop(b)
	db, err := meta.Open(ctx, meta.Options{URL: s.url})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	for _, l := range listed {
		err := db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error { return multiply(ctx, tx, l.table, l.columns) })
		if err != nil {
			b.Fatalf("%s: %v", l.table, err)
		}
	}
	return *d.ResourceArn
}

// multiply copies the first row of a table with other values in some columns.
func multiply(ctx context.Context, tx *meta.Tx, table string, other map[string]string) error {
	rows, err := tx.Query(ctx, "SELECT * FROM "+table)
	if err != nil {
		return err
	}
	columns, err := rows.Columns()
	rows.Close()
	if err != nil {
		return err
	}
	values := slices.Clone(columns)
	for i, c := range columns {
		if text, ok := other[c]; ok {
			values[i] = text
		}
	}
	_, err = tx.Exec(ctx, fmt.Sprintf(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
		INSERT INTO %s (%s) SELECT %s FROM (SELECT * FROM %s ORDER BY 1, 2, 3 LIMIT 1) AS one, n`,
		points-1, table, strings.Join(columns, ", "), strings.Join(values, ", "), table))
	return err
}

// aList is a list with its filters; page reads the page after a token.
type aList struct {
	name  string
	empty bool // nothing fulfils the filters
	page  func(ctx context.Context, c *restjson.Client, token *string) (items int, next *string, err error)
}

func lists(resource string) []aList {
	backups := func(name string, in backupapi.ListBackupJobsInput) aList {
		return aList{name, strings.HasSuffix(name, "=none"), func(ctx context.Context, c *restjson.Client, token *string) (int, *string, error) {
			in := in
			in.MaxResults, in.NextToken = new(pageSize), token
			out, err := restjson.Call(ctx, c, backupapi.ListBackupJobs, &in)
			if err != nil {
				return 0, nil, err
			}
			return len(out.BackupJobs), out.NextToken, nil
		}}
	}
	return []aList{
		backups("ListBackupJobs", backupapi.ListBackupJobsInput{}),
		backups("ListBackupJobs/ByState", backupapi.ListBackupJobsInput{ByState: new(backupapi.BackupJobStateCompleted)}),
		backups("ListBackupJobs/ByResourceArn", backupapi.ListBackupJobsInput{ByResourceArn: &resource}),
		backups("ListBackupJobs/ByBackupVaultName", backupapi.ListBackupJobsInput{ByBackupVaultName: new("big")}),
		backups("ListBackupJobs/ByResourceType,ByMessageCategory", backupapi.ListBackupJobsInput{ByResourceType: new("EFS"), ByMessageCategory: new("SUCCESS")}),
		backups("ListBackupJobs/ByResourceType=none", backupapi.ListBackupJobsInput{ByResourceType: new("S3")}),
		backups("ListBackupJobs/ByMessageCategory=none", backupapi.ListBackupJobsInput{ByMessageCategory: new("JOB_EXPIRED")}),
		backups("ListBackupJobs/ByState=none", backupapi.ListBackupJobsInput{ByState: new(backupapi.BackupJobStateFailed)}),
		{"ListRestoreJobs", false, func(ctx context.Context, c *restjson.Client, token *string) (int, *string, error) {
			out, err := restjson.Call(ctx, c, backupapi.ListRestoreJobs, &backupapi.ListRestoreJobsInput{MaxResults: new(pageSize), NextToken: token})
			if err != nil {
				return 0, nil, err
			}
			return len(out.RestoreJobs), out.NextToken, nil
		}},
		{"ListCopyJobs", false, func(ctx context.Context, c *restjson.Client, token *string) (int, *string, error) {
			out, err := restjson.Call(ctx, c, backupapi.ListCopyJobs, &backupapi.ListCopyJobsInput{MaxResults: new(pageSize), NextToken: token})
			if err != nil {
				return 0, nil, err
			}
			return len(out.CopyJobs), out.NextToken, nil
		}},
		{"ListProtectedResources", false, func(ctx context.Context, c *restjson.Client, token *string) (int, *string, error) {
			out, err := restjson.Call(ctx, c, backupapi.ListProtectedResources, &backupapi.ListProtectedResourcesInput{MaxResults: new(pageSize), NextToken: token})
			if err != nil {
				return 0, nil, err
			}
			return len(out.Results), out.NextToken, nil
		}},
		{"ListBackupPlans", false, func(ctx context.Context, c *restjson.Client, token *string) (int, *string, error) {
			out, err := restjson.Call(ctx, c, backupapi.ListBackupPlans, &backupapi.ListBackupPlansInput{MaxResults: new(pageSize), NextToken: token})
			if err != nil {
				return 0, nil, err
			}
			return len(out.BackupPlansList), out.NextToken, nil
		}},
	}
}

// measure reports the median time of the first page and of the 900th.
func (l aList) measure(b *testing.B, c *restjson.Client) {
	b.Run(l.name, func(b *testing.B) {
		var late *string
		for range 899 {
			items, next, err := l.page(b.Context(), c, late)
			if err == nil && next == nil && l.empty {
				break
			}
			if err != nil || items != pageSize || next == nil {
				b.Fatalf("page of %d items, more %v, %v", items, next != nil, err)
			}
			late = next
		}
		for name, token := range map[string]*string{"page1-ms": nil, "page900-ms": late} {
			var took []time.Duration
			for range 51 {
				begun := time.Now()
				if _, _, err := l.page(b.Context(), c, token); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(begun))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[25].Microseconds())/1000, name)
		}
		b.ReportMetric(0, "ns/op")
	})
}
