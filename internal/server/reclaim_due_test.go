package server_test

import (
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockfast/lockfast/blob/s3/s3test"
	"github.com/lockfast/lockfast/internal/lockfastapi"
)

// TestReclaim_IsDueWhenTheMinimumTimeEnds deletes a recovery point in cold storage, where its data has to stay for some days.
func TestReclaim_IsDueWhenTheMinimumTimeEnds(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	now := time.Now()
	advance := func(d time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(d)
	}
	o := options(t, t.TempDir())
	o.Config.ColdStore = filepath.Join(t.TempDir(), "cold")
	o.Config.ColdMinimumDays = 10
	o.Now = func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	f := start(t, o)
	f.vault("home")
	point := f.aging(f.directory(map[string]string{"one": strings.Repeat("1", 5000), "big": random(1, 1<<20)}))
	advance(24*time.Hour + time.Minute)
	f.awaitCold(point)
	f.eventually(func() bool { return f.delete("home", point) == nil }) // the move may not have let go of it yet
	f.gone("home", point)
	f.reclaim("home")
	if len(coldPacks(t, o.Config.ColdStore)) == 0 {
		t.Fatal("cold packs are gone before their minimum time")
	}
	advance(10 * 24 * time.Hour)
	f.eventually(func() bool { return len(coldPacks(t, o.Config.ColdStore)) == 0 })
}

// TestStoreRetention_IsToldInSizes asks for sizes where packs are locked.
func TestStoreRetention_IsToldInSizes(t *testing.T) {
	g := s3test.Start(t)
	t.Setenv("AWS_ACCESS_KEY_ID", s3test.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", s3test.SecretKey)
	l := g.Locked(t)
	o := options(t, t.TempDir())
	o.Config.Store = "s3://" + l.Bucket + "/" + l.Prefix + "?path_style=true&endpoint=" + g.Endpoint
	o.Config.StoreRetention = time.Hour
	f := start(t, o)
	f.vault("home")
	point := f.backup("home", f.directory(map[string]string{"one": random(1, 100_000)}))
	preview := own(f, lockfastapi.DescribeDeletion, &lockfastapi.DescribeDeletionInput{RecoveryPointArns: []string{point}}).Vaults
	if len(preview) != 1 || preview[0].FreedBytes == 0 || preview[0].RetainedBytes != preview[0].FreedBytes {
		t.Errorf("DescribeDeletion = %+v, want all of it retained", preview)
	}
	if err := f.delete("home", point); err != nil {
		t.Fatal(err)
	}
	f.gone("home", point)
	f.reclaim("home")
	usage := own(f, lockfastapi.GetVaultUsage, &lockfastapi.GetVaultUsageInput{BackupVaultName: "home"})
	if usage.DeadBytes < 100_000 || usage.RetainedBytes != usage.DeadBytes {
		t.Errorf("GetVaultUsage = %+v, want all that is dead retained", usage)
	}
}
