package server_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/backup/types"
	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta/metatest"
	"github.com/lockfast/lockfast/internal/server"
)

// serveIn makes the test binary a server on a data directory, that can be killed, metadataAt gives it a database, and
// clockAhead puts its policy clock forward. With sharedIn, the store and the root key are in that directory instead of the
// server's own, and leases are sharedLease.
const (
	serveIn    = "LOCKFAST_TEST_SERVE_IN"
	metadataAt = "LOCKFAST_TEST_METADATA"
	clockAhead = "LOCKFAST_TEST_CLOCK_AHEAD"
	sharedIn   = "LOCKFAST_TEST_SHARED_IN"
)

func serveHere(dir string) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	c := server.DefaultConfig()
	c.Data, c.Listen, c.ReclaimDelay = dir, "127.0.0.1:0", time.Second
	if url := os.Getenv(metadataAt); url != "" {
		c.Metadata = url
	}
	o := server.Options{Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	if shared := os.Getenv(sharedIn); shared != "" {
		c = share(c, shared)
		o = server.WithLease(o, sharedLease)
	}
	if ahead, err := time.ParseDuration(os.Getenv(clockAhead)); err == nil {
		o.Now = func() time.Time { return time.Now().Add(ahead) }
		c.LifecycleInterval = time.Second
	}
	err := c.Check()
	if o.Config = c; err == nil {
		var s *server.Server
		if s, err = server.Open(ctx, o); err == nil {
			fmt.Println(s.Address().URL)
			err = s.Serve(ctx)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// process is a server in a process of its own.
type process struct {
	cmd *exec.Cmd
	url string
}

func spawn(t *testing.T, dir string) *process {
	t.Helper()
	return spawnAs(t, os.Args[0], dir, nil)
}

func spawnAs(t *testing.T, binary, dir string, user *syscall.Credential, env ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(binary)}
	p.cmd.Env = append(append(os.Environ(), serveIn+"="+dir), env...)
	p.cmd.Stderr = testLog{t}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Credential: user}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("server did not start: %v", err)
	}
	p.url = strings.TrimSpace(line)
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// TestKill kills a server at random moments of a backup and a restore. After each, the next server has to end every job,
// show no half recovery point, and restore every one that was committed.
func TestKill(t *testing.T) {
	t.Parallel()
	rounds := 5
	if os.Getenv("LOCKFAST_SOAK") != "" {
		rounds = 100
	}
	killed(t, rounds, func(dir string) *process { return spawn(t, dir) })
}

// TestKill_PostgreSQL is TestKill for a server that may be one of several: nobody can tell that it is dead, so its jobs are
// taken up when their leases have run out.
func TestKill_PostgreSQL(t *testing.T) {
	t.Parallel()
	if os.Getenv("LOCKFAST_SOAK") == "" {
		t.Skip("waits for leases of a minute: make soak runs it")
	}
	url := metatest.PostgreSQL(t)
	killed(t, 2, func(dir string) *process { return spawnAs(t, os.Args[0], dir, nil, metadataAt+"="+url) })
}

func killed(t *testing.T, rounds int, spawn func(dir string) *process) {
	rng := rand.New(rand.NewPCG(seedOf(t), 1))
	dir, home := t.TempDir(), filepath.Join(t.TempDir(), "home")
	points := map[string]map[string]string{} // recovery points with what they must restore
	var deleting []string
	for round := range rounds {
		pause := func(most int) { time.Sleep(time.Duration(rng.IntN(most)) * time.Millisecond) }
		p := spawn(dir)
		f := &fixture{T: t, patience: 3 * time.Minute}
		f.connect(p.url, dir)
		write(t, home, map[string]string{
			fmt.Sprintf("dir%d/file", round%7): random(uint64(round), 1<<20), "same": "same", "big": random(uint64(round+1), 6<<20)})
		want := tree(t, home)
		if round == 0 {
			f.vault("home")
		}
		arn := own(f, lockfastapi.RegisterResource, &lockfastapi.RegisterResourceInput{Path: new(home), Type: "EFS"}).ResourceArn
		job, point := f.startBackup("home", arn)
		pause(120)
		p.kill()

		p = spawn(dir)
		f.connect(p.url, dir)
		if j := f.awaitBackup(job); j.State != types.BackupJobStateCompleted {
			t.Fatalf("round %d: backup job ended %s: %s", round, j.State, aws.ToString(j.StatusMessage))
		}
		points[point] = want
		p = f.interrupted(p, spawn, dir, rng, point)
		for _, point := range deleting {
			f.gone("home", point)
		}
		f.check(points)
		if deleting = nil; len(points) > 2 {
			deleting = f.remove(points)
			pause(80)
		}
		p.kill()
	}
	f := &fixture{T: t, patience: 3 * time.Minute}
	p := spawn(dir)
	defer p.kill()
	f.connect(p.url, dir)
	f.reclaim("home")
	f.verify("home")
	f.check(points)
}

// interrupted kills the server during a restore, which the next one, that it returns, has to end.
func (f *fixture) interrupted(p *process, spawn func(string) *process, dir string, rng *rand.Rand, point string) *process {
	f.Helper()
	to := filepath.Join(f.TempDir(), "restored")
	id := own(f, lockfastapi.RestoreToDirectory, &lockfastapi.RestoreToDirectoryInput{RecoveryPointArn: point, Directory: to}).RestoreJobId
	time.Sleep(time.Duration(rng.IntN(60)) * time.Millisecond)
	p.kill()
	p = spawn(dir)
	f.connect(p.url, dir)
	f.awaitRestore(id) // it completes, or fails because a part is there; it is not stuck
	return p
}

// check restores every recovery point there is and compares; there must be exactly those wanted.
func (f *fixture) check(points map[string]map[string]string) {
	f.Helper()
	list := must(f.sdk.ListRecoveryPointsByBackupVault(f.Context(), &backup.ListRecoveryPointsByBackupVaultInput{
		BackupVaultName: aws.String("home")}))(f)
	if len(list.RecoveryPoints) != len(points) {
		f.Errorf("the vault holds %d recovery points, want %d", len(list.RecoveryPoints), len(points))
	}
	for _, p := range list.RecoveryPoints {
		want, ok := points[*p.RecoveryPointArn]
		if !ok || p.Status != types.RecoveryPointStatusCompleted {
			f.Errorf("recovery point %s has the status %s, known: %t", *p.RecoveryPointArn, p.Status, ok)
			continue
		}
		if diff := cmp.Diff(want, f.restoredInto(*p.RecoveryPointArn)); diff != "" {
			f.Errorf("restore of %s differs (%d bytes of difference)", *p.RecoveryPointArn, len(diff))
		}
	}
}

// restoredInto restores a recovery point into a directory and returns what landed.
func (f *fixture) restoredInto(point string) map[string]string {
	f.Helper()
	return f.restoredBy("", point)
}

// restoredBy is restoredInto with a role, which is that of the recovery point if it is empty.
func (f *fixture) restoredBy(role, point string) map[string]string {
	f.Helper()
	to := filepath.Join(f.TempDir(), "restored")
	in := &lockfastapi.RestoreToDirectoryInput{RecoveryPointArn: point, Directory: to}
	if role != "" {
		in.IamRoleArn = &role
	}
	id := own(f, lockfastapi.RestoreToDirectory, in).RestoreJobId
	if j := f.awaitRestore(id); j.Status != types.RestoreJobStatusCompleted {
		f.Fatalf("restore job ended %s: %s", j.Status, aws.ToString(j.StatusMessage))
	}
	got := tree(f, to)
	if err := os.RemoveAll(to); err != nil {
		f.Fatal(err)
	}
	return got
}

// remove starts to delete one of the recovery points, and to reclaim its space.
func (f *fixture) remove(points map[string]map[string]string) []string {
	f.Helper()
	for point := range points {
		must(f.sdk.DeleteRecoveryPoint(f.Context(), &backup.DeleteRecoveryPointInput{
			BackupVaultName: aws.String("home"), RecoveryPointArn: &point}))(f)
		own(f, lockfastapi.StartReclaim, &lockfastapi.StartReclaimInput{BackupVaultName: "home"})
		delete(points, point)
		return []string{point}
	}
	return nil
}
