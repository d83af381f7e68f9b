package server_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/fs"
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
	root, err := keys.Create(filepath.Join(dir, "root.key"))
	if err != nil {
		t.Fatal(err)
	}
	store, err := fs.Open(filepath.Join(dir, "store"), fs.Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	id := uuid.New()
	v, err := repo.Create(t.Context(), blob.Prefix(store, id.String()), localledger.New(localledger.Options{}), root,
		repo.CreateOptions{UUID: id, DomainKey: root.Derive("domain of account 000000000000")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.PutVaultState(t.Context(), repo.VaultRecord{Generation: 1, Name: "many", Account: "000000000000", Region: "us-east-1",
		Created: time.Unix(1, 0).UTC()}); err != nil {
		t.Fatal(err)
	}
	for n := range points {
		many(t, v, n)
	}
	v.Close()
	o := options(t, filepath.Join(dir, "new"))
	o.Config.Store = filepath.Join(dir, "store")
	if err := o.Config.Check(); err != nil {
		t.Fatal(err)
	}
	report, err := server.Rebuild(t.Context(), server.RebuildOptions{Config: o.Config, Key: filepath.Join(dir, "root.key"), Log: o.Log})
	if err != nil {
		t.Fatal(err)
	}
	if report.RecoveryPoints != points || len(report.Damaged)+len(report.Foreign) > 0 {
		t.Errorf("Rebuild = %+v, want %d recovery points", report, points)
	}
}

// many makes a recovery point with one small file.
func many(t *testing.T, v *repo.Vault, n int) {
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
