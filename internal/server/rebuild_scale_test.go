package server_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/fs"
	"github.com/lockfast/lockfast/blob/s3"
	"github.com/lockfast/lockfast/blob/s3/s3test"
	"github.com/lockfast/lockfast/internal/keys"
	"github.com/lockfast/lockfast/internal/server"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
)

// TestRebuild_ManyPoints rebuilds a vault with many recovery points: 200 of them, or 5,000 with LOCKFAST_SOAK.
func TestRebuild_ManyPoints(t *testing.T) {
	t.Parallel()
	points := 200
	if os.Getenv("LOCKFAST_SOAK") != "" {
		points = 5000
	}
	dir := t.TempDir()
	store, err := fs.Open(filepath.Join(dir, "store"), fs.Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	manyPoints(t, store, filepath.Join(dir, "root.key"), points)
	rebuild(t, filepath.Join(dir, "store"), filepath.Join(dir, "root.key"), points)
}

// BenchmarkRebuild rebuilds the database from a vault in a directory and one in a bucket.
func BenchmarkRebuild(b *testing.B) {
	key := filepath.Join(b.TempDir(), "root.key")
	bench := func(name string, points int, store blob.Store, location string) {
		manyPoints(b, store, key, points)
		b.Run(fmt.Sprintf("%s/points=%d", name, points), func(b *testing.B) {
			for b.Loop() {
				rebuild(b, location, key, points)
			}
		})
	}
	dir := filepath.Join(b.TempDir(), "store")
	store, err := fs.Open(dir, fs.Options{Create: true})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	bench("directory", 5000, store, dir)
	b.Setenv("AWS_ACCESS_KEY_ID", s3test.AccessKey)
	b.Setenv("AWS_SECRET_ACCESS_KEY", s3test.SecretKey)
	l := s3test.Start(b).Location(b)
	bench("bucket", 1000, s3test.Open(b, l, s3.Options{}), l.String()+"?endpoint="+url.QueryEscape(l.Endpoint))
}

// manyPoints makes a vault with many recovery points, and a root key if there is none.
func manyPoints(t testing.TB, store blob.Store, key string, points int) {
	t.Helper()
	root, err := keys.Open(key)
	if errors.Is(err, os.ErrNotExist) {
		root, err = keys.Create(key)
	}
	if err != nil {
		t.Fatal(err)
	}
	id := uuid.New()
	v, err := repo.Create(t.Context(), blob.Prefix(store, id.String()), localledger.New(localledger.Options{}), root,
		repo.CreateOptions{UUID: id, DomainKey: root.Derive("domain of account 000000000000")})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if _, err := v.PutVaultState(t.Context(), repo.VaultRecord{Generation: 1, Name: "many", Account: "000000000000", Region: "us-east-1",
		Created: time.Unix(1, 0).UTC()}); err != nil {
		t.Fatal(err)
	}
	for n := range points {
		many(t, v, n)
	}
}

// rebuild makes a new database from a store.
func rebuild(t testing.TB, store, key string, points int) {
	t.Helper()
	c := server.DefaultConfig()
	c.Data, c.Store = t.TempDir(), store
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	report, err := server.Rebuild(t.Context(), server.RebuildOptions{Config: c, Key: key, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if report.RecoveryPoints != points || len(report.Damaged)+len(report.Foreign) > 0 {
		t.Errorf("Rebuild = %+v, want %d recovery points", report, points)
	}
}

// many makes a recovery point with one small file.
func many(t testing.TB, v *repo.Vault, n int) {
	t.Helper()
	w, err := v.NewWriter(t.Context(), repo.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(int64(n), 0).UTC()
	const resource = "arn:aws:elasticfilesystem:us-east-1:000000000000:file-system/fs-1"
	arn := fmt.Sprintf("arn:aws:backup:us-east-1:000000000000:recovery-point:%d", n)
	content, err := w.Small(t.Context(), []byte(arn))
	if err == nil {
		err = w.Tree().Put(t.Context(), repo.Entry{Key: []byte("f"), Content: content})
	}
	if err == nil {
		_, err = w.Commit(t.Context(), repo.Facts{Created: at, Resource: resource, Driver: "directory", Record: &repo.PointRecord{
			ARN: arn, Status: "COMPLETED", ResourceARN: resource, ResourceType: "EFS", Created: at, Initiated: at, Completed: at,
			Tags: map[string]string{"n": arn}, RoleARN: role}})
	}
	if err != nil {
		t.Fatal(err)
	}
}
