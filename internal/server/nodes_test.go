package server_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/backup/types"
	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta/metatest"
	"github.com/lockfast/lockfast/internal/server"
	"github.com/lockfast/lockfast/resource"
)

// sharedLease is how long a server of several may be silent in tests: long for one that runs, short for the test.
const sharedLease = 6 * time.Second

// share changes a configuration to that of a server of several: store and root key are in one directory.
func share(c server.Config, dir string) server.Config {
	c.Store, c.KeyFile, c.ReclaimDelay = filepath.Join(dir, "store"), filepath.Join(dir, "root.key"), 100*time.Millisecond
	return c
}

// nodes starts two servers on one database and one store. wrap is given the number of the server.
func nodes(t *testing.T, change func(c *server.Config), wrap func(n int, d resource.Driver) resource.Driver) (all [2]*fixture, store string) {
	t.Helper()
	url, dir := metatest.PostgreSQL(t), t.TempDir()
	for n := range all {
		o := options(t, t.TempDir())
		o.Config = share(o.Config, dir)
		o.Config.Metadata = url
		change(&o.Config)
		o = server.WithDriver(o, func(d resource.Driver) resource.Driver { return wrap(n, d) })
		all[n] = start(t, server.WithLease(o, sharedLease))
		all[n].patience = 2 * time.Minute // which is what is promised
	}
	return all, filepath.Join(dir, "store")
}

// slow is a driver whose captures of resources of some names wait, and say on which server.
type slow struct {
	resource.Driver
	names   map[string]bool
	node    int
	running chan int
	release chan struct{}
}

func (s slow) Capture(ctx context.Context, c resource.Capture) (resource.Report, error) {
	if s.names[c.Resource.Name] {
		s.running <- s.node
		select {
		case <-s.release:
		case <-ctx.Done():
			return resource.Report{}, ctx.Err()
		}
	}
	return s.Driver.Capture(ctx, c)
}

// TestNodes_SpaceReturnsBesideBackupsOnBoth deletes by the API of one server while both of them are in the middle of backups,
// and awaits that the space returns.
func TestNodes_SpaceReturnsBesideBackupsOnBoth(t *testing.T) {
	t.Parallel()
	names := map[string]bool{"slow0": true, "slow1": true, "slow2": true}
	running, release := make(chan int, len(names)), make(chan struct{})
	all, store := nodes(t, func(c *server.Config) { c.BackupJobs = 2 }, func(n int, d resource.Driver) resource.Driver {
		return slow{d, names, n, running, release}
	})
	f := all[0]
	f.vault("home")
	home := filepath.Join(t.TempDir(), "home")
	write(t, home, map[string]string{"big": random(1, 8<<20), "small": "small"})
	arn := own(f, lockfastapi.RegisterResource, &lockfastapi.RegisterResourceInput{Path: &home, Type: "EFS"}).ResourceArn
	first := f.backup("home", arn)

	var jobs []string
	at := map[int]bool{}
	for name := range names { // two have room on a server, so three are on both
		arn, _ := f.member(name, map[string]string{"file": random(9, 2<<20), "own": name})
		id, _ := f.startBackup("home", arn)
		jobs = append(jobs, id)
		at[<-running] = true
	}
	if len(at) != 2 {
		t.Fatalf("slow backups run on %d servers, want both", len(at))
	}
	write(t, home, map[string]string{"big": random(2, 1<<20)})
	second := all[1].backup("home", arn)
	before := size(t, store)
	for n, point := range []string{first, second} {
		must(all[n].sdk.DeleteRecoveryPoint(t.Context(), &backup.DeleteRecoveryPointInput{
			BackupVaultName: aws.String("home"), RecoveryPointArn: &point}))(f)
	}
	f.eventually(func() bool { return before-size(t, store) > 8<<20 })
	for _, id := range jobs {
		j := must(f.sdk.DescribeBackupJob(t.Context(), &backup.DescribeBackupJobInput{BackupJobId: &id}))(f)
		if j.State != types.BackupJobStateRunning {
			t.Errorf("slow backup is %s, %q, want RUNNING beside the reclaim", j.State, aws.ToString(j.StatusMessage))
		}
	}
	close(release)
	for _, id := range jobs {
		if j := f.awaitBackup(id); j.State != types.BackupJobStateCompleted {
			t.Errorf("slow backup ended %s, %q", j.State, aws.ToString(j.StatusMessage))
		}
	}
	third := f.backup("home", arn)
	for _, f := range all {
		if diff := cmp.Diff(tree(t, home), f.restoredInto(third)); diff != "" {
			t.Errorf("restore differs (%d bytes of difference)", len(diff))
		}
	}
	f.verify("home")
}

// TestNodes_OneIsKilled kills one of two servers in the middle of a backup, and then one in the middle of a deletion and the
// reclaim after it. The other one ends every job and gives back the space.
func TestNodes_OneIsKilled(t *testing.T) {
	t.Parallel()
	rounds := 2
	if os.Getenv("LOCKFAST_SOAK") != "" {
		rounds = 40
	}
	rng := rand.New(rand.NewPCG(seedOf(t), 1))
	url, shared := metatest.PostgreSQL(t), t.TempDir()
	dirs := []string{t.TempDir(), t.TempDir()}
	alive := make([]*process, 2)
	revive := func(n int) {
		alive[n] = spawnAs(t, os.Args[0], dirs[n], nil, metadataAt+"="+url, sharedIn+"="+shared)
		t.Cleanup(alive[n].kill)
	}
	revive(0)
	revive(1)
	f := &fixture{T: t, patience: 2 * time.Minute}
	points, home, store := map[string]map[string]string{}, filepath.Join(t.TempDir(), "home"), filepath.Join(shared, "store")
	f.connect(alive[0].url, dirs[0])
	f.vault("home")
	pause := func(most int) { time.Sleep(time.Duration(rng.IntN(most)) * time.Millisecond) }
	for round := range rounds {
		dead := rng.IntN(2)
		f.connect(alive[1-dead].url, dirs[1-dead])
		write(t, home, map[string]string{fmt.Sprintf("file%d", round%3): random(uint64(round), 1<<20), "same": "same",
			"big": random(uint64(round+1), 6<<20)})
		want := tree(t, home)
		arn := own(f, lockfastapi.RegisterResource, &lockfastapi.RegisterResourceInput{Path: &home, Type: "EFS"}).ResourceArn
		job, point := f.startBackup("home", arn)
		f.eventually(func() bool { // one that no server has claimed is enqueued again later; see package job
			j := must(f.sdk.DescribeBackupJob(t.Context(), &backup.DescribeBackupJobInput{BackupJobId: &job}))(f)
			return j.State != types.BackupJobStateCreated && j.State != types.BackupJobStatePending
		})
		pause(100)
		alive[dead].kill()
		if j := f.awaitBackup(job); j.State != types.BackupJobStateCompleted {
			t.Fatalf("round %d: backup job ended %s: %s", round, j.State, aws.ToString(j.StatusMessage))
		}
		points[point] = want
		revive(dead)
		if len(points) < 2 && round < rounds-1 {
			continue
		}
		before := size(t, store)
		old := f.remove(points)
		pause(150)
		alive[1-dead].kill() // the one that was asked
		f.connect(alive[dead].url, dirs[dead])
		for _, point := range old {
			f.gone("home", point)
		}
		f.eventually(func() bool { return before-size(t, store) > 4<<20 })
		f.check(points)
		revive(1 - dead)
	}
	f.verify("home")
	for len(points) > 0 {
		for _, point := range f.remove(points) {
			f.gone("home", point)
		}
	}
	f.eventually(func() bool { return size(t, store) < 1<<20 })
}

// TestNodes_SQLiteIsForOne starts a second server, on a data directory of its own, that names the database of the first.
func TestNodes_SQLiteIsForOne(t *testing.T) {
	t.Parallel()
	o, other := options(t, t.TempDir()), options(t, t.TempDir())
	o.Config.Metadata = "sqlite:" + filepath.Join(t.TempDir(), "meta.db")
	other.Config.Metadata = o.Config.Metadata
	f := start(t, o)
	if err := other.Config.Check(); err != nil {
		t.Fatal(err)
	}
	other.Config.KeyFile = f.options.Config.KeyFile
	if _, err := server.Open(t.Context(), other); !errors.Is(err, server.ErrInUse) {
		t.Errorf("Open with the database of another server = %v, want %v", err, server.ErrInUse)
	}
	f.stop()
	start(t, other)
}
