package server_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/backup/types"
	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/lockfastapi"
)

// agingOrder asks for a recovery point that is moved to cold storage after a day.
func agingOrder(arn string) *backup.StartBackupJobInput {
	return &backup.StartBackupJobInput{BackupVaultName: aws.String("home"), ResourceArn: &arn, IamRoleArn: aws.String(role),
		Lifecycle: &types.Lifecycle{MoveToColdStorageAfterDays: aws.Int64(1), DeleteAfterDays: aws.Int64(91)}}
}

// aging makes such a recovery point.
func (f *fixture) aging(arn string) string {
	f.Helper()
	out := must(f.sdk.StartBackupJob(f.Context(), agingOrder(arn)))(f)
	j := f.awaitBackup(*out.BackupJobId)
	if j.State != types.BackupJobStateCompleted || aws.ToInt64(j.RecoveryPointLifecycle.MoveToColdStorageAfterDays) != 1 {
		f.Fatalf("job = %s, %q, lifecycle %+v", j.State, aws.ToString(j.StatusMessage), j.RecoveryPointLifecycle)
	}
	return *out.RecoveryPointArn
}

func (f *fixture) awaitCold(point string) {
	f.Helper()
	f.eventually(func() bool { return f.describe(point).StorageClass == types.StorageClassCold })
}

// coldPacks returns the files of cold packs in a store.
func coldPacks(t *testing.T, store string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(store, "*", "a", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestMoveToColdStorage has a recovery point moved to another directory when its time has come, and restores, browses,
// verifies and deletes it there.
//
// https://docs.aws.amazon.com/aws-backup/latest/devguide/API_Lifecycle.html
func TestMoveToColdStorage(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	now := time.Now()
	o := options(t, t.TempDir())
	o.Config.ColdStore = filepath.Join(t.TempDir(), "cold")
	o.Now = func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	f := start(t, o)
	f.vault("home")
	f.vault("offsite")
	home := filepath.Join(t.TempDir(), "home")
	write(t, home, map[string]string{"a/one": strings.Repeat("1", 5000), "big": random(1, 3<<20)})
	arn := own(f, lockfastapi.RegisterResource, &lockfastapi.RegisterResourceInput{Path: new(home), Type: "EFS"}).ResourceArn
	point, want := f.aging(arn), tree(t, home)
	d := f.describe(point)
	if at := d.CalculatedLifecycle.MoveToColdStorageAt; d.StorageClass != types.StorageClassWarm || !at.Equal(d.CreationDate.Add(24*time.Hour)) {
		t.Errorf("after the backup: %s, MoveToColdStorageAt %v, want WARM and a day later", d.StorageClass, at)
	}
	mu.Lock()
	now = now.Add(24*time.Hour + time.Minute)
	mu.Unlock()
	f.awaitCold(point)
	f.reclaim("home")
	store := o.Config.Data + "/store"
	if warm, _ := filepath.Glob(filepath.Join(store, "*", "d", "*", "*")); len(warm) > 0 || len(coldPacks(t, store)) > 0 {
		t.Errorf("the store holds contents after the move: %q, %q", warm, coldPacks(t, store))
	}
	if len(coldPacks(t, o.Config.ColdStore)) == 0 {
		t.Error("no cold packs are where they belong")
	}
	f.verify("home")
	if diff := cmp.Diff(want, f.restoredInto(point)); diff != "" {
		t.Errorf("restore from cold storage differs (%d bytes of difference)", len(diff))
	}
	listed := own(f, lockfastapi.ListRecoveryPoints, &lockfastapi.ListRecoveryPointsInput{RecoveryPointArn: &point}).RecoveryPoints
	if len(listed) != 1 || listed[0].StorageClass != "COLD" {
		t.Errorf("ListRecoveryPoints = %+v, want it COLD", listed)
	}
	_, err := f.sdk.StartCopyJob(t.Context(), copyOrder("home", point, "offsite"))
	f.wantError(err, "InvalidRequestException")

	// A backup against what is cold stores everything again.
	next := f.backup("home", arn)
	if diff := cmp.Diff(want, f.restoredInto(next)); diff != "" {
		t.Errorf("restore of the next backup differs (%d bytes of difference)", len(diff))
	}
	must(f.sdk.DeleteRecoveryPoint(t.Context(), &backup.DeleteRecoveryPointInput{BackupVaultName: aws.String("home"), RecoveryPointArn: &point}))(f)
	f.gone("home", point)
	f.reclaim("home")
	f.verify("home")
	if left := coldPacks(t, o.Config.ColdStore); len(left) > 0 {
		t.Errorf("cold packs are left: %q", left)
	}
}

// TestMoveToColdStorage_Killed kills a server that moves a recovery point to cold storage at random moments.
func TestMoveToColdStorage_Killed(t *testing.T) {
	t.Parallel()
	rounds := 3
	if os.Getenv("LOCKFAST_SOAK") != "" {
		rounds = 50
	}
	rng := rand.New(rand.NewPCG(seedOf(t), 1))
	dir, home := t.TempDir(), filepath.Join(t.TempDir(), "home")
	p := spawn(t, dir)
	f := &fixture{T: t, patience: 3 * time.Minute}
	f.connect(p.url, dir)
	f.vault("home")
	write(t, home, map[string]string{"same": random(1, 2<<20)})
	arn := own(f, lockfastapi.RegisterResource, &lockfastapi.RegisterResourceInput{Path: new(home), Type: "EFS"}).ResourceArn
	points := map[string]map[string]string{}
	for i := range 3 {
		write(t, home, map[string]string{"same": random(1, 2<<20), "other": random(uint64(i), 2<<20)})
		points[f.aging(arn)] = tree(t, home)
	}
	p.kill()
	ahead := clockAhead + "=25h"
	for range rounds {
		p = spawnAs(t, os.Args[0], dir, nil, ahead)
		f.connect(p.url, dir)
		time.Sleep(900*time.Millisecond + time.Duration(rng.IntN(600))*time.Millisecond) // the sweep begins after a second
		p.kill()
	}
	p = spawnAs(t, os.Args[0], dir, nil, ahead)
	defer p.kill()
	f.connect(p.url, dir)
	for point := range points {
		f.awaitCold(point)
	}
	f.reclaim("home")
	f.verify("home")
	f.check(points)
}
