package e2e_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/backup/types"
)

// client is the AWS SDK for Go, set up by nothing but an endpoint and keys.
func (s *server) client(t *testing.T) *backup.Client {
	t.Helper()
	keys := s.credentials(t)
	return backup.New(backup.Options{
		BaseEndpoint:     aws.String(s.url),
		Region:           "us-east-1",
		RetryMaxAttempts: 1,
		Credentials:      aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return keys, nil }),
	})
}

// credentials reads what the first start wrote.
func (s *server) credentials(t *testing.T) aws.Credentials {
	t.Helper()
	f, err := os.Open(filepath.Join(s.data, "credentials"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var keys aws.Credentials
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), "=")
		switch strings.TrimSpace(name) {
		case "aws_access_key_id":
			keys.AccessKeyID = strings.TrimSpace(value)
		case "aws_secret_access_key":
			keys.SecretAccessKey = strings.TrimSpace(value)
		}
	}
	return keys
}

// until polls read until done, for at most a minute.
func until[T any](t *testing.T, what string, read func() (T, error), done func(T, error) bool) T {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		value, err := read()
		if done(value, err) {
			return value
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen within a minute; last: %+v, %v", what, value, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// backUp runs one backup job to its end and returns the recovery point's ARN.
func backUp(t *testing.T, c *backup.Client, vault, resource string) string {
	t.Helper()
	started, err := c.StartBackupJob(t.Context(), &backup.StartBackupJobInput{
		BackupVaultName: &vault, ResourceArn: &resource, IamRoleArn: aws.String(roleARN(resource)),
	})
	if err != nil {
		t.Fatal(err)
	}
	job := until(t, "the end of the backup job", func() (*backup.DescribeBackupJobOutput, error) {
		return c.DescribeBackupJob(t.Context(), &backup.DescribeBackupJobInput{BackupJobId: started.BackupJobId})
	}, func(job *backup.DescribeBackupJobOutput, err error) bool {
		return err == nil && job.CompletionDate != nil
	})
	if job.State != types.BackupJobStateCompleted {
		t.Fatalf("backup job ended %s: %s", job.State, aws.ToString(job.StatusMessage))
	}
	return *job.RecoveryPointArn
}

func roleARN(resource string) string {
	return "arn:aws:iam::" + strings.Split(resource, ":")[4] + ":role/service-role/AWSBackupDefaultServiceRole"
}

func TestStory_GoSDK(t *testing.T) {
	t.Parallel()
	s := serve(t)
	c := s.client(t)
	s.mainJob(t, func(t *testing.T, y *story, part string) {
		if part == "end" {
			endWithSDK(t, c, y)
			return
		}
		first, second := backUpTwice(t, c, y)
		describe(t, c, y, first, second)
		restoreTo(t, c, y, first, "first", nil)
		restoreTo(t, c, y, second, "second", nil)
		restoreTo(t, c, y, first, "item", map[string]string{"ItemsToRestore": fmt.Sprintf("[%q]", y.item)})
		remove(t, c, y, first)
	})
}

func backUpTwice(t *testing.T, c *backup.Client, y *story) (first, second string) {
	t.Helper()
	if _, err := c.CreateBackupVault(t.Context(), &backup.CreateBackupVaultInput{BackupVaultName: &y.vault}); err != nil {
		t.Fatal(err)
	}
	first = backUp(t, c, y.vault, y.arn)
	change := exec.Command("sh", "change.sh")
	change.Env = append(os.Environ(), y.env()...)
	if out, err := change.CombinedOutput(); err != nil {
		t.Fatalf("change.sh: %v\n%s", err, out)
	}
	return first, backUp(t, c, y.vault, y.arn)
}

// describe looks at the two recovery points in every way, tags the first and gives the second a lifecycle.
func describe(t *testing.T, c *backup.Client, y *story, first, second string) {
	t.Helper()
	ctx, want := t.Context(), []string{second, first}
	var listed, ofResource, jobs []string
	pages := backup.NewListRecoveryPointsByBackupVaultPaginator(c,
		&backup.ListRecoveryPointsByBackupVaultInput{BackupVaultName: &y.vault, MaxResults: aws.Int32(1)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		must(t, err)
		for _, p := range page.RecoveryPoints {
			listed = append(listed, *p.RecoveryPointArn)
		}
	}
	byResource, err := c.ListRecoveryPointsByResource(ctx, &backup.ListRecoveryPointsByResourceInput{ResourceArn: &y.arn})
	must(t, err)
	for _, p := range byResource.RecoveryPoints {
		ofResource = append(ofResource, *p.RecoveryPointArn)
	}
	byVault, err := c.ListBackupJobs(ctx, &backup.ListBackupJobsInput{ByBackupVaultName: &y.vault, ByState: types.BackupJobStateCompleted})
	must(t, err)
	for _, j := range byVault.BackupJobs {
		jobs = append(jobs, *j.RecoveryPointArn)
	}
	for what, got := range map[string][]string{"of the vault": listed, "of the resource": ofResource, "of the jobs": jobs} {
		if !slices.Equal(got, want) {
			t.Errorf("recovery points %s = %v, want %v", what, got, want)
		}
	}
	protected, err := c.ListProtectedResources(ctx, &backup.ListProtectedResourcesInput{})
	must(t, err)
	if len(protected.Results) != 1 || *protected.Results[0].ResourceArn != y.arn {
		t.Errorf("ListProtectedResources = %+v, want %s", protected.Results, y.arn)
	}
	_, err = c.TagResource(ctx, &backup.TagResourceInput{ResourceArn: &first, Tags: map[string]string{"kind": "first", "too": "much"}})
	must(t, err)
	_, err = c.UntagResource(ctx, &backup.UntagResourceInput{ResourceArn: &first, TagKeyList: []string{"too"}})
	must(t, err)
	tags, err := c.ListTags(ctx, &backup.ListTagsInput{ResourceArn: &first})
	must(t, err)
	if want := map[string]string{"kind": "first"}; !maps.Equal(tags.Tags, want) {
		t.Errorf("ListTags = %v, want %v", tags.Tags, want)
	}
	_, err = c.UpdateRecoveryPointLifecycle(ctx, &backup.UpdateRecoveryPointLifecycleInput{
		BackupVaultName: &y.vault, RecoveryPointArn: &second, Lifecycle: &types.Lifecycle{DeleteAfterDays: aws.Int64(30)}})
	must(t, err)
	point, err := c.DescribeRecoveryPoint(ctx, &backup.DescribeRecoveryPointInput{BackupVaultName: &y.vault, RecoveryPointArn: &second})
	must(t, err)
	if point.Status != types.RecoveryPointStatusCompleted || *point.ResourceArn != y.arn ||
		point.CalculatedLifecycle.DeleteAt.Sub(*point.CreationDate) != 30*24*time.Hour {
		t.Errorf("DescribeRecoveryPoint = %+v, want COMPLETED, of %s, with 30 days", point, y.arn)
	}
}

// restoreTo restores a recovery point and moves the directory that it makes to its name in the story.
func restoreTo(t *testing.T, c *backup.Client, y *story, point, name string, more map[string]string) {
	t.Helper()
	metadata := map[string]string{"file-system-id": y.arn[strings.LastIndex(y.arn, "/")+1:], "newFileSystem": "false"}
	maps.Copy(metadata, more)
	restore, err := c.StartRestoreJob(t.Context(), &backup.StartRestoreJobInput{
		RecoveryPointArn: &point, IamRoleArn: aws.String(roleARN(y.arn)), Metadata: metadata,
	})
	must(t, err)
	done := until(t, "the end of the restore job", func() (*backup.DescribeRestoreJobOutput, error) {
		return c.DescribeRestoreJob(t.Context(), &backup.DescribeRestoreJobInput{RestoreJobId: restore.RestoreJobId})
	}, func(job *backup.DescribeRestoreJobOutput, err error) bool {
		return err == nil && job.CompletionDate != nil
	})
	if done.Status != types.RestoreJobStatusCompleted {
		t.Fatalf("restore job ended %s: %s", done.Status, aws.ToString(done.StatusMessage))
	}
	made, err := filepath.Glob(filepath.Join(y.data, "aws-backup-restore_*"))
	if err != nil || len(made) != 1 {
		t.Fatalf("restored directories = %v, %v, want one", made, err)
	}
	must(t, os.Rename(made[0], filepath.Join(y.restored, name)))
}

// remove deletes a recovery point and waits until it is not found.
func remove(t *testing.T, c *backup.Client, y *story, point string) {
	t.Helper()
	_, err := c.DeleteRecoveryPoint(t.Context(), &backup.DeleteRecoveryPointInput{BackupVaultName: &y.vault, RecoveryPointArn: &point})
	must(t, err)
	until(t, "the deletion", func() (*backup.DescribeRecoveryPointOutput, error) {
		return c.DescribeRecoveryPoint(t.Context(), &backup.DescribeRecoveryPointInput{BackupVaultName: &y.vault, RecoveryPointArn: &point})
	}, func(_ *backup.DescribeRecoveryPointOutput, err error) bool {
		_, gone := errors.AsType[*types.ResourceNotFoundException](err)
		return gone
	})
}

func endWithSDK(t *testing.T, c *backup.Client, y *story) {
	t.Helper()
	left, err := c.ListRecoveryPointsByBackupVault(t.Context(), &backup.ListRecoveryPointsByBackupVaultInput{BackupVaultName: &y.vault})
	if err != nil || len(left.RecoveryPoints) != 1 {
		t.Fatalf("ListRecoveryPointsByBackupVault = %+v, %v, want the second alone", left, err)
	}
	second := *left.RecoveryPoints[0].RecoveryPointArn
	restoreTo(t, c, y, second, "again", nil)
	remove(t, c, y, second)
	_, err = c.DeleteBackupVault(t.Context(), &backup.DeleteBackupVaultInput{BackupVaultName: &y.vault})
	must(t, err)
}
