package server_test

import (
	"testing"
	"time"

	"github.com/lockfast/lockfast/blob/s3/s3test"
	"github.com/lockfast/lockfast/internal/lockfastapi"
)

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
