package server_test

import (
	"context"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/backup/types"

	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/server"
	"github.com/lockfast/lockfast/resource"
)

// hooked is a driver that does something before it captures.
type hooked struct {
	resource.Driver
	before func(context.Context) error
}

func (h hooked) Capture(ctx context.Context, c resource.Capture) (resource.Report, error) {
	if err := h.before(ctx); err != nil {
		return resource.Report{}, err
	}
	return h.Driver.Capture(ctx, c)
}

// with starts a server that does something before every capture, and registers a directory.
func with(t *testing.T, before func(context.Context) error) (f *fixture, arn string) {
	t.Helper()
	o := server.WithDriver(options(t, t.TempDir()), func(d resource.Driver) resource.Driver { return hooked{d, before} })
	f = start(t, o)
	f.vault("home")
	return f, f.directory(map[string]string{"one": "1"})
}

// directory makes and registers a directory.
func (f *fixture) directory(files map[string]string) (arn string) {
	f.Helper()
	home := filepath.Join(f.TempDir(), "home")
	write(f, home, files)
	return own(f, lockfastapi.RegisterResource, &lockfastapi.RegisterResourceInput{Path: new(home), Type: "EFS"}).ResourceArn
}

// points returns how many recovery points the vault has, of whatever status.
func (f *fixture) points() int64 {
	f.Helper()
	v := must(f.sdk.DescribeBackupVault(f.Context(), &backup.DescribeBackupVaultInput{BackupVaultName: aws.String("home")}))(f)
	return v.NumberOfRecoveryPoints
}

func TestStopBackupJob(t *testing.T) {
	t.Parallel()
	running := make(chan struct{}, 1)
	f, arn := with(t, func(ctx context.Context) error {
		running <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	})
	id, _ := f.startBackup("home", arn)
	<-running
	if n := f.points(); n != 1 {
		t.Errorf("a running job has %d recovery points, want one that is CREATING", n)
	}
	asked := time.Now()
	must(f.sdk.StopBackupJob(t.Context(), &backup.StopBackupJobInput{BackupJobId: &id}))(f)
	j := f.awaitBackup(id)
	if j.State != types.BackupJobStateAborted || aws.ToString(j.StatusMessage) != "Backup job was stopped by user." || j.CompletionDate == nil {
		t.Errorf("stopped job = %s, %q", j.State, aws.ToString(j.StatusMessage))
	}
	if took := time.Since(asked); took > 5*time.Second {
		t.Errorf("stopping took %s, want about a second at most", took)
	}
	if n := f.points(); n != 0 {
		t.Errorf("a stopped job left %d recovery points", n)
	}
}

func TestBackupJob_PanicInDriverFailsTheJobAlone(t *testing.T) {
	t.Parallel()
	var once sync.Once
	f, arn := with(t, func(context.Context) error {
		once.Do(func() { panic("no such luck") })
		return nil
	})
	id, _ := f.startBackup("home", arn)
	if j := f.awaitBackup(id); j.State != types.BackupJobStateFailed || !strings.Contains(aws.ToString(j.StatusMessage), "internal error") {
		t.Errorf("job = %s, %q, want FAILED by an internal error", j.State, aws.ToString(j.StatusMessage))
	}
	if n := f.points(); n != 0 {
		t.Errorf("a failed job left %d recovery points", n)
	}
	f.backup("home", arn)
}

// blocked changes options to those of a server whose captures do not end, and say when they begin.
func blocked(o server.Options) (_ server.Options, running chan struct{}) {
	running = make(chan struct{}, 1)
	return server.WithDriver(o, func(d resource.Driver) resource.Driver {
		return hooked{d, func(ctx context.Context) error {
			running <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		}}
	}), running
}

func TestShutdown_InterruptedJobIsDoneByTheNextServer(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o server.Options) {
		first, running := blocked(server.Impatient(o))
		f := start(t, first)
		f.vault("home")
		arn := f.directory(map[string]string{"one": "1"})
		id, _ := f.startBackup("home", arn)
		<-running
		f.stop()
		f = start(t, o)
		if j := f.awaitBackup(id); j.State != types.BackupJobStateCompleted {
			t.Errorf("job = %s, %q, want COMPLETED", j.State, aws.ToString(j.StatusMessage))
		}
	})
}

func TestShutdown_JobOfAPrivateServerEndsWithIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o, running := blocked(options(t, dir))
	o.Private = true
	f := start(t, o)
	f.vault("home")
	arn := f.directory(map[string]string{"one": "1"})
	id, _ := f.startBackup("home", arn)
	<-running
	f.stop()
	f = start(t, options(t, dir))
	if j := f.awaitBackup(id); j.State != types.BackupJobStateFailed || !strings.Contains(aws.ToString(j.StatusMessage), "interrupted") {
		t.Errorf("job = %s, %q, want FAILED as it was interrupted", j.State, aws.ToString(j.StatusMessage))
	}
	f.backup("home", arn)
}

// TestShutdown_LeavesNothingInMemory stops a server within a test that has not ended.
func TestShutdown_LeavesNothingInMemory(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o server.Options) {
		f := start(t, o)
		f.vault("home")
		f.restoredInto(f.backup("home", f.directory(map[string]string{"one": "1"})))
		f.reclaim("home")
		held := f.server.Held()
		f.stop()
		f = &fixture{T: t}
		var left []string
		defer func() {
			if len(left) > 0 {
				t.Errorf("in memory: %v", left)
			}
		}()
		f.eventually(func() bool {
			runtime.GC()
			left = held()
			return len(left) == 0
		})
	})
}

// hangUp closes the connections of the clients.
func (f *fixture) hangUp() {
	f.own.HTTP.CloseIdleConnections()
	f.sdkHTTP.CloseIdleConnections()
}

func TestDeleteAfterDays(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	now := time.Now()
	o := options(t, t.TempDir())
	o.Now = func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	f := start(t, o)
	f.vault("home")
	arn := f.directory(map[string]string{"one": "1"})
	kept := f.backup("home", arn)
	out := must(f.sdk.StartBackupJob(t.Context(), &backup.StartBackupJobInput{BackupVaultName: aws.String("home"),
		ResourceArn: &arn, IamRoleArn: aws.String(role), Lifecycle: &types.Lifecycle{DeleteAfterDays: aws.Int64(7)}}))(f)
	if j := f.awaitBackup(*out.BackupJobId); j.State != types.BackupJobStateCompleted {
		t.Fatalf("job = %s, %q", j.State, aws.ToString(j.StatusMessage))
	}
	mu.Lock()
	now = now.Add(7*24*time.Hour + time.Minute)
	mu.Unlock()
	f.gone("home", *out.RecoveryPointArn)
	must(f.sdk.DescribeRecoveryPoint(t.Context(), &backup.DescribeRecoveryPointInput{
		BackupVaultName: aws.String("home"), RecoveryPointArn: &kept}))(f)
}

func TestRestore_IntoNewFileSystem(t *testing.T) {
	t.Parallel()
	o := options(t, t.TempDir())
	placement := t.TempDir()
	o.Config.Placements = []server.Placement{{Name: "us-east-1a", Directory: placement}}
	f := start(t, o)
	f.vault("home")
	point := f.backup("home", f.directory(map[string]string{"one": "1", "two": "2"}))
	out := must(f.sdk.StartRestoreJob(t.Context(), &backup.StartRestoreJobInput{RecoveryPointArn: &point, IamRoleArn: aws.String(role),
		Metadata: map[string]string{"newFileSystem": "true", "file-system-id": "fs-1", "Encrypted": "false",
			"PerformanceMode": "generalPurpose", "CreationToken": "copy", "ItemsToRestore": `["/one","/absent"]`}}))(f)
	j := f.awaitRestore(*out.RestoreJobId)
	if j.Status != types.RestoreJobStatusCompleted || !strings.Contains(aws.ToString(j.StatusMessage), "1 items were skipped") {
		t.Fatalf("restore job = %s, %q", j.Status, aws.ToString(j.StatusMessage))
	}
	landed, err := filepath.Glob(filepath.Join(placement, "*", "aws-backup-restore_*", "*"))
	if err != nil || len(landed) != 1 || filepath.Base(landed[0]) != "one" {
		t.Errorf("the restore made %q, want the one item", landed)
	}
	made := own(f, lockfastapi.DescribeResource, &lockfastapi.DescribeResourceInput{ResourceArn: *j.CreatedResourceArn})
	if made.Name != "copy" || filepath.Dir(made.Path) != placement {
		t.Errorf("created resource = %+v", made)
	}
}

// TestBackup_LeavesNothingRunning is not parallel, as it looks at the goroutines of the process.
func TestBackup_LeavesNothingRunning(t *testing.T) {
	f := start(t, options(t, t.TempDir()))
	f.vault("home")
	arn := f.directory(map[string]string{"one": strings.Repeat("1", 600)})
	for range 3 {
		f.backup("home", arn)
	}
	stacks := make([]byte, 8<<20)
	f.eventually(func() bool {
		all := string(stacks[:runtime.Stack(stacks, true)])
		return !strings.Contains(all, "repo.(*Writer).") && !strings.Contains(all, "repo.(*session).")
	})
}
