package job_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/job"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/restjson"
)

func TestRoutes(t *testing.T) {
	t.Parallel()
	backup := restjson.New(restjson.Options{Service: backupapi.Service})
	own := restjson.New(restjson.Options{Service: lockfastapi.Service})
	job.New(job.Options{}).Routes(backup, own)
	want := []string{
		"DescribeBackupJob", "DescribeRestoreJob", "GetRestoreJobMetadata", "ListBackupJobs", "ListRestoreJobs",
		"ListRestoreJobsByProtectedResource", "StartBackupJob", "StartRestoreJob", "StopBackupJob",
	}
	if diff := cmp.Diff(want, backup.Operations()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"DescribeJobDetail", "ListSkippedItems", "RestoreToDirectory"}, own.Operations()); diff != "" {
		t.Error(diff)
	}
}
