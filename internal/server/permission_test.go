package server_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/backup/types"

	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/restjson"
)

// nobody is a user who owns nothing.
const nobody = 65534

// open makes a directory that everybody can reach.
func open(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lockfast-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestBadInput_NoPermission runs a server that is not root.
func TestBadInput_NoPermission(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("becoming another user takes root")
	}
	dir := open(t)
	binary, data, home, secret := filepath.Join(dir, "server"), filepath.Join(dir, "data"), filepath.Join(dir, "home"), filepath.Join(dir, "secret")
	program, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(binary, program, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, home, map[string]string{"readable": "1", "unreadable": "2"})
	write(t, secret, map[string]string{"one": "1"})
	for path, mode := range map[string]os.FileMode{filepath.Join(home, "unreadable"): 0o600, secret: 0o700} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(data, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	p := spawnAs(t, binary, data, &syscall.Credential{Uid: nobody, Gid: nobody})
	defer p.kill()
	f := &fixture{T: t}
	f.connect(p.url, data)
	f.vault("home")

	_, err = restjson.Call(t.Context(), f.own, lockfastapi.RegisterResource, &lockfastapi.RegisterResourceInput{Path: new(secret), Type: "EFS"})
	if err == nil || !strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), "permission") {
		t.Errorf("RegisterResource of an unreadable directory = %v, want its name and permission", err)
	}
	arn := own(f, lockfastapi.RegisterResource, &lockfastapi.RegisterResourceInput{Path: new(home), Type: "EFS"}).ResourceArn
	id, point := f.startBackup("home", arn)
	if j := f.awaitBackup(id); j.State != types.BackupJobStateCompleted || !strings.Contains(aws.ToString(j.StatusMessage), "skipped") {
		t.Errorf("backup with an unreadable file = %s, %q", j.State, aws.ToString(j.StatusMessage))
	}
	left := own(f, lockfastapi.ListSkippedItems, &lockfastapi.ListSkippedItemsInput{JobId: id}).SkippedItems
	if len(left) != 1 || left[0].DisplayPath != "unreadable" || !strings.Contains(left[0].Reason, "permission") {
		t.Errorf("ListSkippedItems = %+v, want the unreadable file", left)
	}
	to := filepath.Join(secret, "restored")
	restore := own(f, lockfastapi.RestoreToDirectory, &lockfastapi.RestoreToDirectoryInput{RecoveryPointArn: point, Directory: to}).RestoreJobId
	if j := f.awaitRestore(restore); j.Status != types.RestoreJobStatusFailed || !strings.Contains(aws.ToString(j.StatusMessage), "permission") {
		t.Errorf("restore without permission = %s, %q", j.Status, aws.ToString(j.StatusMessage))
	}
	f.backup("home", arn)
}
