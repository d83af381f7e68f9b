package e2e_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/backup/types"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// TestCold_Boto3 makes a recovery point a month older behind the back of the server, which has no other way to live
// through one.
func TestCold_Boto3(t *testing.T) {
	t.Parallel()
	cold := filepath.Join(t.TempDir(), "cold")
	s := serve(t, "--lifecycle-interval", "1s", "--cold-store", cold)
	dir, arn := s.protect(t)
	const vault = "aging"
	s.story(t, dir, arn, recentPython(t), "boto3/cold.py", vault)
	c := s.client(t)
	listed, err := c.ListRecoveryPointsByBackupVault(t.Context(),
		&backup.ListRecoveryPointsByBackupVaultInput{BackupVaultName: aws.String(vault)})
	if err != nil || len(listed.RecoveryPoints) != 1 {
		t.Fatalf("ListRecoveryPointsByBackupVault = %+v, %v, want one", listed, err)
	}
	point := listed.RecoveryPoints[0].RecoveryPointArn
	s.age(t)
	until(t, "move to cold storage", func() (*backup.DescribeRecoveryPointOutput, error) {
		return c.DescribeRecoveryPoint(t.Context(), &backup.DescribeRecoveryPointInput{BackupVaultName: aws.String(vault), RecoveryPointArn: point})
	}, func(p *backup.DescribeRecoveryPointOutput, err error) bool {
		return err == nil && p.StorageClass == types.StorageClassCold
	})
	s.readCold(t, cold, *point)
	s.story(t, dir, arn, recentPython(t), "boto3/cold.py", vault, *point)
}

// readCold reads a cold recovery point from its two places alone.
func (s *server) readCold(t *testing.T, cold, point string) {
	t.Helper()
	with := []string{filepath.Join(s.data, "store"), "--key", filepath.Join(s.data, "root.key"), "--cold-store", cold}
	store := func(verb string, more ...string) string {
		return s.lockfast(t, append(append([]string{"store", verb}, with...), more...)...)
	}
	if list := store("list"); strings.Count(list, "COLD") != 1 {
		t.Errorf("store list = %s, want one COLD", list)
	}
	store("verify")
	to := filepath.Join(t.TempDir(), "restored")
	s.lockfast(t, "store", "restore", with[0], point, "--to", to, with[1], with[2], with[3], with[4])
	if got, err := os.ReadFile(filepath.Join(to, "a", "one")); err != nil || string(got) != "1" {
		t.Errorf("restored file = %q, %v", got, err)
	}
}

// age makes every recovery point 31 days older.
func (s *server) age(t *testing.T) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.data, "meta.db")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	const month = 31 * 24 * 3600 * 1_000_000
	_, err = db.ExecContext(t.Context(), `UPDATE recovery_point SET created_at = created_at - ?, cold_at = cold_at - ?,
		delete_at = delete_at - ?`, month, month, month)
	if err != nil {
		t.Fatal(err)
	}
}
