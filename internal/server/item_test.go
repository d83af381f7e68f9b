package server_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/backup/types"

	"github.com/lockfast/lockfast/internal/lockfastapi"
)

// TestStartRestoreJob_ItemsWithAnyNames names what is not UTF-8, and what looks like its escape, in metadata, which are text.
func TestStartRestoreJob_ItemsWithAnyNames(t *testing.T) {
	t.Parallel()
	f := start(t, options(t, t.TempDir()))
	f.vault("home")
	arn := f.directory(map[string]string{"caf\xe9": "bytes", `caf\xe9`: "text"})
	point := f.backup("home", arn)
	for _, c := range []struct{ item, escaped, name string }{
		{`["caf\\xe9"]`, "true", "caf\xe9"}, {`["caf\\xe9"]`, "false", `caf\xe9`}, {`["caf\\\\xe9"]`, "true", `caf\xe9`},
	} {
		out := must(f.sdk.StartRestoreJob(t.Context(), &backup.StartRestoreJobInput{RecoveryPointArn: &point, IamRoleArn: aws.String(role),
			Metadata: map[string]string{"file-system-id": arn, "newFileSystem": "false", "itemsToRestore": c.item, "lockfast:escaped": c.escaped}}))(f)
		if j := f.awaitRestore(*out.RestoreJobId); j.Status != types.RestoreJobStatusCompleted {
			t.Fatalf("restore of %s, escaped = %s: %s, %s", c.item, c.escaped, j.Status, aws.ToString(j.StatusMessage))
		}
		made := own(f, lockfastapi.DescribeJobDetail, &lockfastapi.DescribeJobDetailInput{JobId: *out.RestoreJobId}).CreatedPath
		var got []string
		for name := range tree(f, aws.ToString(made)) {
			if name != "." {
				got = append(got, name)
			}
		}
		if len(got) != 1 || got[0] != c.name {
			t.Errorf("restore of %s, escaped = %s, made %q, want %q", c.item, c.escaped, got, c.name)
		}
	}
}
