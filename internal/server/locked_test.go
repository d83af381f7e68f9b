package server_test

import (
	"strings"
	"testing"
	"time"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/s3/s3test"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/server"
)

func TestOpenBlobs_LocksPacksOnly(t *testing.T) {
	g := s3test.Start(t)
	t.Setenv("AWS_ACCESS_KEY_ID", s3test.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", s3test.SecretKey)
	l := g.Locked(t)
	location := "s3://" + l.Bucket + "/" + l.Prefix + "?path_style=true&endpoint=" + g.Endpoint
	blobs, err := server.OpenBlobs(t.Context(), location, server.BlobsOptions{Retention: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer blobs.Close()
	const vault = "0f5f2f0c-9f1e-4a55-8b5d-2f6f0e0c9a11/"
	for _, name := range []blob.Name{vault + "d/00/a", vault + "m/00/a", vault + "x/1/a", vault + "k/1-1", vault + "format", vault + "f/d"} {
		if err := blobs.Put(t.Context(), name, strings.NewReader("x"), 1); err != nil {
			t.Fatal(err)
		}
		err := blobs.Delete(t.Context(), name)
		if locked := strings.Contains(string(name), "/d/") || strings.Contains(string(name), "/m/"); (err != nil) != locked {
			t.Errorf("Delete(%s) = %v, locked: %v", name, err, locked)
		}
	}
	if _, ok := blob.AsRetainer(blob.Prefix(blobs, "a")); !ok {
		t.Error("AsRetainer does not see through the wrappers of a store")
	}
}

// TestStoreRetention_KeepsPacksOfDeletedRecoveryPoints deletes a recovery point whose packs are locked.
func TestStoreRetention_KeepsPacksOfDeletedRecoveryPoints(t *testing.T) {
	g := s3test.Start(t)
	t.Setenv("AWS_ACCESS_KEY_ID", s3test.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", s3test.SecretKey)
	l := g.Locked(t)
	o := options(t, t.TempDir())
	o.Config.Store = "s3://" + l.Bucket + "/" + l.Prefix + "?path_style=true&endpoint=" + g.Endpoint
	o.Config.StoreRetention = time.Hour
	f := start(t, o)
	f.vault("home")
	arn := f.directory(map[string]string{"one": strings.Repeat("1", 100_000)})
	first, second := f.backup("home", arn), f.backup("home", f.directory(map[string]string{"two": "2"}))
	if err := f.delete("home", first); err != nil {
		t.Fatal(err)
	}
	f.gone("home", first)
	task := f.task(own(f, lockfastapi.StartReclaim, &lockfastapi.StartReclaimInput{BackupVaultName: "home"}).TaskId)
	if task.Report["packs_retained"] == "" || task.Report["packs_removed"] != "0" {
		t.Errorf("reclaim reports %v, want packs that are retained", task.Report)
	}
	f.restoredTo(second)
	f.verify("home")
}
