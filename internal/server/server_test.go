package server_test

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/backup/types"

	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/server"
	"github.com/lockfast/lockfast/internal/wire"
)

const role = "arn:aws:iam::000000000000:role/service-role/AWSBackupDefaultServiceRole"

func TestMain(m *testing.M) {
	if dir := os.Getenv(serveIn); dir != "" {
		serveHere(dir)
		return
	}
	m.Run()
}

// fixture is a server in this process, with clients.
type fixture struct {
	*testing.T
	server  *server.Server
	options server.Options
	sdk     *backup.Client
	sdkHTTP *http.Client
	own     *restjson.Client
	stop    func()

	patience time.Duration // how long to wait for what has to happen, if more than half a minute
}

// options returns the options of a server on a directory, with a port of the kernel's choice.
func options(t *testing.T, dir string) server.Options {
	t.Helper()
	c := server.DefaultConfig()
	c.Data, c.Listen, c.ReclaimDelay = dir, "127.0.0.1:0", time.Hour
	c.LifecycleInterval = time.Second
	return server.Options{Config: c, Log: slog.New(slog.NewTextHandler(testLog{t}, nil))}
}

// testLog sends a log to the output of a test, until it has ended.
type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	if l.t.Context().Err() == nil {
		l.t.Log(strings.TrimSpace(string(p)))
	}
	return len(p), nil
}

// start starts a server; it stops with the test, if it was not stopped before.
func start(t *testing.T, o server.Options) *fixture {
	t.Helper()
	if err := o.Config.Check(); err != nil {
		t.Fatal(err)
	}
	s, err := server.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	f := &fixture{T: t, server: s, options: o}
	running := f
	f.stop = func() {
		if running == nil {
			return
		}
		running.hangUp()
		running = nil // a test keeps its cleanups until its parent ends, which may start servers by the hundred
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve = %v", err)
		}
	}
	t.Cleanup(f.stop)
	f.connect(s.Address().URL, o.Config.Data)
	return f
}

// connect makes the clients.
func (f *fixture) connect(url, dir string) {
	f.Helper()
	key, err := server.ReadCredentials(server.CredentialsFile(dir), "default")
	if err != nil {
		f.Fatal(err)
	}
	f.own = &restjson.Client{URL: url, Region: "us-east-1", AccessKeyID: key.ID, Secret: key.Secret,
		HTTP: &http.Client{Transport: &http.Transport{}}}
	f.sdkHTTP = &http.Client{Transport: &http.Transport{}}
	f.sdk = backup.New(backup.Options{
		Region: "us-east-1", BaseEndpoint: &url, HTTPClient: f.sdkHTTP,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: key.ID, SecretAccessKey: key.Secret}, nil
		}),
	})
}

// own calls one of Lockfast's own operations.
func own[In, Out any](f *fixture, op wire.Operation[In, Out], in *In) *Out {
	f.Helper()
	out, err := restjson.Call(f.Context(), f.own, op, in)
	if err != nil {
		f.Fatalf("%s: %v", op.Name, err)
	}
	return out
}

// must fails the test for an error.
func must[T any](v T, err error) func(*fixture) T {
	return func(f *fixture) T {
		f.Helper()
		if err != nil {
			f.Fatal(err)
		}
		return v
	}
}

func (f *fixture) vault(name string) {
	f.Helper()
	must(f.sdk.CreateBackupVault(f.Context(), &backup.CreateBackupVaultInput{BackupVaultName: &name}))(f)
}

// startBackup starts a backup job and returns its id and recovery point.
func (f *fixture) startBackup(vault, resource string) (id, point string) {
	f.Helper()
	out := must(f.sdk.StartBackupJob(f.Context(), &backup.StartBackupJobInput{
		BackupVaultName: &vault, ResourceArn: &resource, IamRoleArn: aws.String(role)}))(f)
	return *out.BackupJobId, *out.RecoveryPointArn
}

// awaitBackup waits until a backup job has ended.
func (f *fixture) awaitBackup(id string) *backup.DescribeBackupJobOutput {
	f.Helper()
	var out *backup.DescribeBackupJobOutput
	f.eventually(func() bool {
		out = must(f.sdk.DescribeBackupJob(f.Context(), &backup.DescribeBackupJobInput{BackupJobId: &id}))(f)
		switch out.State {
		case types.BackupJobStateCompleted, types.BackupJobStateFailed, types.BackupJobStateAborted, types.BackupJobStateExpired,
			types.BackupJobStatePartial:
			return true
		}
		return false
	})
	return out
}

// backup makes a recovery point.
func (f *fixture) backup(vault, resource string) (point string) {
	f.Helper()
	id, point := f.startBackup(vault, resource)
	if j := f.awaitBackup(id); j.State != types.BackupJobStateCompleted {
		f.Fatalf("backup job ended %s: %s", j.State, aws.ToString(j.StatusMessage))
	}
	return point
}

// awaitRestore waits until a restore job has ended.
func (f *fixture) awaitRestore(id string) *backup.DescribeRestoreJobOutput {
	f.Helper()
	var out *backup.DescribeRestoreJobOutput
	f.eventually(func() bool {
		out = must(f.sdk.DescribeRestoreJob(f.Context(), &backup.DescribeRestoreJobInput{RestoreJobId: &id}))(f)
		switch out.Status {
		case types.RestoreJobStatusCompleted, types.RestoreJobStatusFailed, types.RestoreJobStatusAborted:
			return true
		}
		return false
	})
	return out
}

// gone waits until a recovery point does not exist any more.
func (f *fixture) gone(vault, point string) {
	f.Helper()
	f.eventually(func() bool {
		_, err := f.sdk.DescribeRecoveryPoint(f.Context(), &backup.DescribeRecoveryPointInput{
			BackupVaultName: &vault, RecoveryPointArn: &point})
		_, missing := errors.AsType[*types.ResourceNotFoundException](err)
		return missing
	})
}

// eventually waits until something holds.
func (f *fixture) eventually(holds func() bool) {
	f.Helper()
	deadline := time.Now().Add(max(f.patience, 30*time.Second))
	for !holds() {
		if time.Now().After(deadline) {
			f.Fatal("it does not happen")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// write makes files with their text, and the directories above them.
func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// tree returns what is in a directory: names with modes, and text of files or targets of links.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		text := info.Mode().String() + " " + info.ModTime().UTC().Format(time.RFC3339Nano) + " "
		switch {
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += string(data)
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			text += target
		}
		found[name] = text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// size adds up the files in a directory.
func size(t testing.TB, dir string) (total int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return present(err)
		}
		info, err := d.Info()
		if err == nil {
			total += info.Size()
		}
		return present(err)
	})
	if err != nil {
		t.Fatal(err)
	}
	return total
}

// present is err, unless it says that a file went while a server was at work.
func present(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
