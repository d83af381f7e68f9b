package job_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
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
		"DescribeBackupJob", "DescribeCopyJob", "DescribeRestoreJob", "GetRestoreJobMetadata", "ListBackupJobSummaries", "ListBackupJobs",
		"ListCopyJobSummaries", "ListCopyJobs", "ListRestoreJobSummaries", "ListRestoreJobs", "ListRestoreJobsByProtectedResource", "PutRestoreValidationResult", "StartBackupJob", "StartCopyJob", "StartRestoreJob", "StopBackupJob",
	}
	if diff := cmp.Diff(want, backup.Operations()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"DescribeJobDetail", "ListSkippedItems", "RestoreToDirectory"}, own.Operations()); diff != "" {
		t.Error(diff)
	}
}

// A restore without a role uses the one that made the recovery point, and takes the right to pass that one.
//
// See https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html.
func TestRoutes_RestoresPassTheRoleThatIsUsed(t *testing.T) {
	t.Parallel()
	backup := restjson.New(restjson.Options{Service: backupapi.Service})
	own := restjson.New(restjson.Options{Service: lockfastapi.Service})
	job.New(job.Options{Vaults: &others{}}).Routes(backup, own)
	const named = "arn:aws:iam::123456789012:role/named"
	for _, c := range []struct {
		point string
		role  *string
		want  []caller.Access
	}{
		{pointARN, nil, caller.Pass(new(role))},
		{pointARN, new(named), caller.Pass(new(named))},
		{pointARN + "0", nil, nil},
	} {
		for action, ask := range map[string]func(ctx context.Context) ([]caller.Access, error){
			"backup:StartRestoreJob": func(ctx context.Context) ([]caller.Access, error) {
				return backup.Find("StartRestoreJob").Access(ctx, &backupapi.StartRestoreJobInput{RecoveryPointArn: c.point, IamRoleArn: c.role})
			},
			"lockfast:RestoreToDirectory": func(ctx context.Context) ([]caller.Access, error) {
				return own.Find("RestoreToDirectory").Access(ctx, &lockfastapi.RestoreToDirectoryInput{RecoveryPointArn: c.point, IamRoleArn: c.role})
			},
		} {
			got, err := ask(caller.With(t.Context(), caller.Caller{Account: account, Region: region}))
			if diff := cmp.Diff(append(caller.On(action, c.point), c.want...), got); diff != "" || err != nil {
				t.Errorf("%s of %s (-want +got), %v:\n%s", action, c.point, err, diff)
			}
		}
	}
}

// See https://docs.aws.amazon.com/aws-backup/latest/devguide/create-a-vault-access-policy.html.
func TestRoutes_CopiesAskAtBothVaults(t *testing.T) {
	t.Parallel()
	backup := restjson.New(restjson.Options{Service: backupapi.Service})
	job.New(job.Options{}).Routes(backup, restjson.New(restjson.Options{Service: lockfastapi.Service}))
	got, err := backup.Find("StartCopyJob").Access(caller.With(t.Context(), caller.Caller{Account: account, Region: region}), copyInput())
	want := []caller.Access{
		{Action: "backup:StartCopyJob", Resource: pointARN, Also: []string{homeARN}},
		{Action: "backup:CopyFromBackupVault", Resource: pointARN, Also: []string{homeARN},
			Keys: map[string][]string{"backup:copytargets": {offsiteARN}}},
		{Action: "backup:CopyIntoBackupVault", Resource: offsiteARN},
	}
	if diff := cmp.Diff(append(want, caller.Pass(new(role))...), got); diff != "" || err != nil {
		t.Errorf("access (-want +got), %v:\n%s", err, diff)
	}
}
