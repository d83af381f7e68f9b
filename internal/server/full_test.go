package server_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/backup/types"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/lockfast/lockfast/internal/lockfastapi"
)

// TestFullDisk deletes a recovery point through the API when not a byte is free on the disk of database and store, and
// awaits that its space comes back.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	disk := tmpfs(t, "128m")
	o := options(t, filepath.Join(disk, "data"))
	o.Config.ReclaimDelay = 100 * time.Millisecond
	f := start(t, o)
	f.vault("home")
	home := filepath.Join(t.TempDir(), "home")
	write(t, home, map[string]string{"big": random(1, 48<<20), "small": "small"})
	arn := own(f, lockfastapi.RegisterResource, &lockfastapi.RegisterResourceInput{Path: &home, Type: "EFS"}).ResourceArn
	gone := f.backup("home", arn)
	write(t, home, map[string]string{"big": random(2, 1<<20)})
	stays := f.backup("home", arn)
	want := tree(t, home)

	fillUp(t, filepath.Join(disk, "other"))
	write(t, home, map[string]string{"more": random(3, 8<<20)})
	id, _, err := try(f, arn)
	if err == nil { // the reserve was enough for the records of a job
		if j := f.awaitBackup(id); j.State != types.BackupJobStateFailed {
			t.Errorf("backup on a full disk ended %s, %q, want FAILED", j.State, aws.ToString(j.StatusMessage))
		}
	}
	before := size(t, filepath.Join(disk, "data", "store"))
	must(f.sdk.DeleteRecoveryPoint(t.Context(), &backup.DeleteRecoveryPointInput{
		BackupVaultName: aws.String("home"), RecoveryPointArn: &gone}))(f)
	f.eventually(func() bool { return before-size(t, filepath.Join(disk, "data", "store")) > 40<<20 })
	if diff := cmp.Diff(want, f.restoredInto(stays)); diff != "" {
		t.Errorf("restore differs (%d bytes of difference)", len(diff))
	}
	f.backup("home", arn)
	f.verify("home")
}

// try starts a backup, which may fail.
func try(f *fixture, resource string) (id, point string, err error) {
	out, err := f.sdk.StartBackupJob(f.Context(), &backup.StartBackupJobInput{
		BackupVaultName: aws.String("home"), ResourceArn: &resource, IamRoleArn: aws.String(role)})
	if err != nil {
		return "", "", err
	}
	return *out.BackupJobId, *out.RecoveryPointArn, nil
}

// fillUp appends to a file until the disk has no byte left.
func fillUp(t *testing.T, name string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for n := 1 << 20; n > 0; {
		_, err := f.Write(make([]byte, n))
		if errors.Is(err, unix.ENOSPC) {
			n /= 16
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// TestFullDisk_StartsAgain starts a server when its disk has not a byte left: else nobody could delete anything.
func TestFullDisk_StartsAgain(t *testing.T) {
	t.Parallel()
	disk := tmpfs(t, "64m")
	o := options(t, filepath.Join(disk, "data"))
	f := start(t, o)
	f.vault("home")
	home := filepath.Join(t.TempDir(), "home")
	write(t, home, map[string]string{"small": "small"})
	arn := own(f, lockfastapi.RegisterResource, &lockfastapi.RegisterResourceInput{Path: &home, Type: "EFS"}).ResourceArn
	gone := f.backup("home", arn)
	f.stop()
	fillUp(t, filepath.Join(disk, "other"))

	f = start(t, o)
	must(f.sdk.DeleteRecoveryPoint(t.Context(), &backup.DeleteRecoveryPointInput{
		BackupVaultName: aws.String("home"), RecoveryPointArn: &gone}))(f)
	f.eventually(func() bool {
		out := must(f.sdk.ListRecoveryPointsByBackupVault(f.Context(), &backup.ListRecoveryPointsByBackupVaultInput{BackupVaultName: aws.String("home")}))(f)
		return len(out.RecoveryPoints) == 0
	})
}
