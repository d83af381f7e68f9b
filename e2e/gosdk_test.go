package e2e_test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
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
	dir, arn := s.protect(t)
	c := s.client(t)
	ctx := t.Context()
	vault := aws.String("go-sdk")

	if _, err := c.CreateBackupVault(ctx, &backup.CreateBackupVaultInput{BackupVaultName: vault}); err != nil {
		t.Fatal(err)
	}
	want := t.TempDir()
	if out, err := exec.Command("cp", "-a", dir+"/.", want).CombinedOutput(); err != nil {
		t.Fatalf("copy the first version: %v\n%s", err, out)
	}
	first := backUp(t, c, *vault, arn)
	if err := os.WriteFile(filepath.Join(dir, "three"), []byte("now it has bytes"), 0o600); err != nil {
		t.Fatal(err)
	}
	second := backUp(t, c, *vault, arn)

	restore, err := c.StartRestoreJob(ctx, &backup.StartRestoreJobInput{
		RecoveryPointArn: &first, IamRoleArn: aws.String(roleARN(arn)),
		Metadata: map[string]string{"file-system-id": arn[strings.LastIndex(arn, "/")+1:], "newFileSystem": "false"},
	})
	if err != nil {
		t.Fatal(err)
	}
	done := until(t, "the end of the restore job", func() (*backup.DescribeRestoreJobOutput, error) {
		return c.DescribeRestoreJob(ctx, &backup.DescribeRestoreJobInput{RestoreJobId: restore.RestoreJobId})
	}, func(job *backup.DescribeRestoreJobOutput, err error) bool {
		return err == nil && job.CompletionDate != nil
	})
	if done.Status != types.RestoreJobStatusCompleted {
		t.Fatalf("restore job ended %s: %s", done.Status, aws.ToString(done.StatusMessage))
	}
	restored, err := filepath.Glob(filepath.Join(dir, "aws-backup-restore_*"))
	if err != nil || len(restored) != 1 {
		t.Fatalf("restored directories = %v, %v, want one", restored, err)
	}
	if out, err := exec.Command("diff", "-r", want, restored[0]).CombinedOutput(); err != nil {
		t.Errorf("the restored tree differs: %v\n%s", err, out)
	}

	for _, point := range []string{first, second} {
		in := &backup.DeleteRecoveryPointInput{BackupVaultName: vault, RecoveryPointArn: &point}
		if _, err := c.DeleteRecoveryPoint(ctx, in); err != nil {
			t.Fatal(err)
		}
		until(t, "the deletion", func() (*backup.DescribeRecoveryPointOutput, error) {
			return c.DescribeRecoveryPoint(ctx, &backup.DescribeRecoveryPointInput{BackupVaultName: vault, RecoveryPointArn: &point})
		}, func(_ *backup.DescribeRecoveryPointOutput, err error) bool {
			_, gone := errors.AsType[*types.ResourceNotFoundException](err)
			return gone
		})
	}
	if _, err := c.DeleteBackupVault(ctx, &backup.DeleteBackupVaultInput{BackupVaultName: vault}); err != nil {
		t.Error(err)
	}
}
