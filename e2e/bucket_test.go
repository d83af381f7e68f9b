package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	iofs "io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/backup/types"
	smithy "github.com/aws/smithy-go"

	"github.com/lockfast/lockfast/blob/s3/s3test"
)

// TestStoreInABucket: a server whose store is in a bucket backs up, deletes, gives space back and restores; it says so when
// the bucket is away, goes on when it is back, and the bucket and the key alone are enough to restore.
func TestStoreInABucket(t *testing.T) {
	t.Parallel()
	s, g, location := inBucket(t)
	dir, arn := s.protect(t)
	write(t, filepath.Join(dir, "big"), noise(1, 8<<20))
	s.lockfast(t, "backup", dir)
	first := points(t, s, arn)[0]
	full := bytesBelow(t, g.Dir)
	if full < 8<<20 {
		t.Errorf("the bucket holds %d bytes after a backup, want at least 8 MiB", full)
	}
	write(t, filepath.Join(dir, "big"), noise(2, 1<<20))
	s.lockfast(t, "backup", dir)

	c := s.client(t)
	if _, err := c.DeleteRecoveryPoint(t.Context(), deletion(first)); err != nil {
		t.Fatal(err)
	}
	until(t, "the deletion", func() ([]string, error) { return points(t, s, arn), nil },
		func(arns []string, _ error) bool { return len(arns) == 1 })
	s.lockfast(t, "vault", "reclaim", "Default")
	if left := bytesBelow(t, g.Dir); left > full-6<<20 {
		t.Errorf("the bucket holds %d bytes after the reclaim and %d before, want 6 MiB less", left, full)
	}

	s.stop(t)
	s.start(t, "--store", location)
	last := points(t, s, arn)[0]
	same(t, s, dir, "restore", last, "--to")

	s.away(t, g, last)
	if got := s.ready(t); got != http.StatusOK {
		t.Errorf("/readyz answers %d with the bucket back, want 200", got)
	}
	s.lockfast(t, "vault", "verify", "Default")
	var vouched struct {
		Report struct {
			Packs   int64 `json:"packs"`
			Covered int64 `json:"packs_checksum"`
			Read    int64 `json:"packs_read"`
		} `json:"report"`
	}
	out := s.lockfast(t, "vault", "verify", "Default", "--level", "1", "--json")
	if err := json.Unmarshal([]byte(lastLine(out)), &vouched); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if r := vouched.Report; r.Packs == 0 || r.Covered != r.Packs || r.Read != 0 {
		t.Errorf("vault verify --level 1 --json = %s, want the checksums of the bucket to cover all packs", out)
	}
	if out := s.lockfast(t, "vault", "verify", "Default", "--level", "2"); !strings.Contains(out, "; of 0 only names, sizes, heads and trees") {
		t.Errorf("vault verify --level 2 = %s, want the checksums of the bucket to cover all packs", out)
	}
	s.lockfast(t, "backup", dir)

	s.stop(t)
	key := filepath.Join(s.data, "root.key")
	t.Cleanup(func() { s.start(t, "--store", location) }) // for the stop that follows
	if got := s.lockfast(t, "store", "list", location, "--key", key, "--json"); strings.Count(got, "\n") != 1 {
		t.Errorf("store list = %s, want two recovery points", got)
	}
	s.lockfast(t, "store", "verify", location, "--key", key)
	same(t, s, dir, "store", "restore", location, last, "--key", key, "--to")
}

// inBucket starts a server whose store is in a bucket, which its user's shared file has the keys for.
func inBucket(t *testing.T) (s *server, g *s3test.Gateway, location string) {
	t.Helper()
	g = s3test.Start(t)
	location = g.Location(t).String() + "?credential=vaults&endpoint=" + g.Endpoint
	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, ".aws"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(home, ".aws", "credentials"), fmt.Appendf(nil,
		"[vaults]\naws_access_key_id = %s\naws_secret_access_key = %s\n", s3test.AccessKey, s3test.SecretKey))
	s = &server{data: filepath.Join(t.TempDir(), "data"), more: []string{"HOME=" + home}}
	s.start(t, "--store", location)
	t.Cleanup(func() { s.stop(t) })
	return s, g, location
}

// TestStoreInABucket_KilledServer: what a server killed in the middle of a backup has sent is taken up or removed by the next.
func TestStoreInABucket_KilledServer(t *testing.T) {
	t.Parallel()
	s, g, location := inBucket(t)
	dir, arn := s.protect(t)
	s.lockfast(t, "backup", dir)
	before := bytesBelow(t, g.Dir)
	for i := range byte(3) {
		write(t, filepath.Join(dir, fmt.Sprintf("big-%d", i)), noise(i, 48<<20))
	}
	role, vault := roleARN(arn), "Default"
	started, err := s.client(t).StartBackupJob(t.Context(), &backup.StartBackupJobInput{BackupVaultName: &vault,
		ResourceArn: &arn, IamRoleArn: &role})
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the first pack", func() (int64, error) { return bytesBelow(t, g.Dir), nil },
		func(n int64, _ error) bool { return n > before+16<<20 })
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = s.cmd.Wait()
	s.start(t, "--store", location)
	job := until(t, "the end of the job", func() (*backup.DescribeBackupJobOutput, error) {
		return s.client(t).DescribeBackupJob(t.Context(), &backup.DescribeBackupJobInput{BackupJobId: started.BackupJobId})
	}, func(j *backup.DescribeBackupJobOutput, err error) bool { return err == nil && j.CompletionDate != nil })
	if job.State != types.BackupJobStateCompleted {
		t.Fatalf("the backup job that was interrupted ended %s: %v", job.State, job.StatusMessage)
	}
	s.lockfast(t, "vault", "reclaim", "Default")
	s.lockfast(t, "vault", "verify", "Default")
	if left := bytesBelow(t, g.Dir) - before; left > 152<<20 {
		t.Errorf("the bucket holds %d bytes more after 144 MiB were backed up, some twice", left)
	}
	same(t, s, dir, "restore", *job.RecoveryPointArn, "--to")
}

// away expects refusals that clients repeat while the bucket is away, and no change.
func (s *server) away(t *testing.T, g *s3test.Gateway, point string) {
	t.Helper()
	g.Stop()
	begun := time.Now()
	_, err := s.client(t).DeleteRecoveryPoint(t.Context(), deletion(point))
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != new(types.ServiceUnavailableException).ErrorCode() {
		t.Errorf("DeleteRecoveryPoint without the bucket = %v, want ServiceUnavailableException", err)
	}
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("the refusal took %s", took)
	}
	if got := s.ready(t); got != http.StatusServiceUnavailable {
		t.Errorf("/readyz answers %d without the bucket, want 503", got)
	}
	g.Restart(t)
}

func (s *server) ready(t *testing.T) int {
	t.Helper()
	response, err := http.Get(s.url + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

func deletion(point string) *backup.DeleteRecoveryPointInput {
	vault := "Default"
	return &backup.DeleteRecoveryPointInput{BackupVaultName: &vault, RecoveryPointArn: &point}
}

// points returns the recovery points of a resource, the newest first.
func points(t *testing.T, s *server, resource string) (arns []string) {
	t.Helper()
	out, err := s.client(t).ListRecoveryPointsByResource(t.Context(), &backup.ListRecoveryPointsByResourceInput{
		ResourceArn: &resource})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range out.RecoveryPoints {
		arns = append(arns, *p.RecoveryPointArn)
	}
	return arns
}

// same restores with a command that lacks the directory, and compares.
func same(t *testing.T, s *server, want string, command ...string) {
	t.Helper()
	to := filepath.Join(t.TempDir(), "restored")
	s.lockfast(t, append(command, to)...)
	if out, err := exec.Command("diff", "-r", want, to).CombinedOutput(); err != nil {
		t.Errorf("%v differs: %v\n%s", command[:2], err, out)
	}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o640); err != nil {
		t.Fatal(err)
	}
}

func bytesBelow(t *testing.T, dir string) (sum int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d iofs.DirEntry, err error) error {
		if errors.Is(err, iofs.ErrNotExist) {
			return nil // removed meanwhile
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if info, err := d.Info(); err == nil {
			sum += info.Size()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// noise returns bytes that do not compress, the same for the same seed.
func noise(seed byte, size int) []byte {
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(data)
	return data
}
