package e2e_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/backup/types"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/lockfast/lockfast/internal/meta/metatest"
)

// configured starts a server with a configuration file.
func configured(t *testing.T, text string) *server {
	t.Helper()
	file := filepath.Join(t.TempDir(), "lockfast.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return serve(t, "--config", file)
}

func TestCatalogue_Boto3(t *testing.T) {
	t.Parallel()
	s := configured(t, fmt.Sprintf("placements:\n- {name: here, directory: %q}\n", t.TempDir()))
	dir, arn := s.protect(t)
	s.story(t, dir, arn, python(t), "boto3/catalogue.py")
}

// point makes a recovery point, the only one of a new vault.
func (s *server) point(t *testing.T) (*backup.Client, *backup.DeleteRecoveryPointInput) {
	t.Helper()
	_, resource := s.protect(t)
	c, vault := s.client(t), aws.String("kept")
	if _, err := c.CreateBackupVault(t.Context(), &backup.CreateBackupVaultInput{BackupVaultName: vault}); err != nil {
		t.Fatal(err)
	}
	job, err := c.StartBackupJob(t.Context(), &backup.StartBackupJobInput{BackupVaultName: vault, ResourceArn: &resource,
		IamRoleArn: aws.String("arn:aws:iam::000000000000:role/service-role/AWSBackupDefaultServiceRole")})
	if err != nil {
		t.Fatal(err)
	}
	until(t, "backup", func() (*backup.DescribeBackupJobOutput, error) {
		return c.DescribeBackupJob(t.Context(), &backup.DescribeBackupJobInput{BackupJobId: job.BackupJobId})
	}, func(j *backup.DescribeBackupJobOutput, err error) bool {
		return err == nil && j.State == types.BackupJobStateCompleted
	})
	return c, &backup.DeleteRecoveryPointInput{BackupVaultName: vault, RecoveryPointArn: job.RecoveryPointArn}
}

// wantUnavailable expects that a deletion is refused for now.
func wantUnavailable(t *testing.T, c *backup.Client, in *backup.DeleteRecoveryPointInput) {
	t.Helper()
	_, err := c.DeleteRecoveryPoint(t.Context(), in)
	if e := (*types.ServiceUnavailableException)(nil); !errors.As(err, &e) {
		t.Errorf("DeleteRecoveryPoint = %v, want ServiceUnavailableException", err)
	}
}

// wantKept expects that the recovery point is as it was, and can be deleted now.
func wantKept(t *testing.T, c *backup.Client, in *backup.DeleteRecoveryPointInput) {
	t.Helper()
	describe := func() (*backup.DescribeRecoveryPointOutput, error) {
		return c.DescribeRecoveryPoint(t.Context(), &backup.DescribeRecoveryPointInput{
			BackupVaultName: in.BackupVaultName, RecoveryPointArn: in.RecoveryPointArn})
	}
	p, err := describe()
	if err != nil || p.Status != types.RecoveryPointStatusCompleted {
		t.Fatalf("DescribeRecoveryPoint = %+v, %v, want it COMPLETED", p, err)
	}
	if _, err := c.DeleteRecoveryPoint(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	until(t, "deletion", describe, func(_ *backup.DescribeRecoveryPointOutput, err error) bool {
		e := (*types.ResourceNotFoundException)(nil)
		return errors.As(err, &e)
	})
}

// T-36: https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DeleteRecoveryPoint.html
func TestUnavailable_Store(t *testing.T) {
	t.Parallel()
	s := serve(t)
	c, in := s.point(t)
	store, away := filepath.Join(s.data, "store"), t.TempDir()
	move(t, store, away) // as if its disk was not mounted
	wantUnavailable(t, c, in)
	s.story(t, away, "", python(t), "boto3/unavailable.py", *in.BackupVaultName, *in.RecoveryPointArn)
	move(t, away, store)
	wantKept(t, c, in)
}

// move moves everything in a directory into another one.
func move(t *testing.T, from, to string) {
	t.Helper()
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.Rename(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
}

// T-36: https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DeleteRecoveryPoint.html
func TestUnavailable_Database(t *testing.T) {
	t.Parallel()
	direct := metatest.PostgreSQL(t)
	u, err := url.Parse(direct)
	if err != nil {
		t.Fatal(err)
	}
	link, q := filepath.Join(t.TempDir(), "pg"), u.Query()
	sockets := q.Get("host")
	if err := os.Symlink(sockets, link); err != nil {
		t.Fatal(err)
	}
	q.Set("host", link)
	u.RawQuery = q.Encode()
	s := configured(t, fmt.Sprintf("metadata: %q\n", u.String()))
	c, in := s.point(t)
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("pgx", direct)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	_, err = db.ExecContext(context.WithoutCancel(t.Context()), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	if err != nil {
		t.Fatal(err)
	}
	wantUnavailable(t, c, in)
	if err := os.Symlink(sockets, link); err != nil {
		t.Fatal(err)
	}
	wantKept(t, c, in)
}
