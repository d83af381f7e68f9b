package e2e_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestRebuild loses the database and the whole data directory but for a copy of the root key, and makes it anew from the
// store, a directory.
func TestRebuild(t *testing.T) {
	t.Parallel()
	store := filepath.Join(t.TempDir(), "store")
	s := &server{data: filepath.Join(t.TempDir(), "data")}
	s.start(t, "--store", store)
	t.Cleanup(func() { s.stop(t) })
	coldStart(t, s, store)
}

// TestRebuild_FromABucket is the same for a store in a bucket.
func TestRebuild_FromABucket(t *testing.T) {
	t.Parallel()
	s, _, location := inBucket(t)
	coldStart(t, s, location)
}

func coldStart(t *testing.T, s *server, location string) {
	t.Helper()
	dir, arn := s.protect(t)
	before, after := filepath.Join(t.TempDir(), "before.json"), filepath.Join(t.TempDir(), "after.json")
	s.story(t, dir, arn, recentPython(t), "boto3/rebuild.py", "make", before)
	point := s.newest(t)
	s.stop(t) // which writes what is not in the store yet
	key := filepath.Join(t.TempDir(), "root.key")
	if err := os.Rename(filepath.Join(s.data, "root.key"), key); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(s.data); err != nil { // the database is gone
		t.Fatal(err)
	}
	out := s.offline(t, "store", "rebuild", location, "--key", key, "--json")
	var report struct {
		Type           string
		Vaults         int
		RecoveryPoints int `json:"recovery_points"`
		Damaged        []string
		Assumed        []string
		NotRebuilt     []string `json:"not_rebuilt"`
		Elapsed        float64  `json:"elapsed_seconds"`
	}
	if err := json.Unmarshal([]byte(lastLine(out)), &report); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if report.Type != "result" || report.Vaults != 2 || report.RecoveryPoints != 2 || len(report.Damaged)+len(report.Assumed) > 0 ||
		len(report.NotRebuilt) == 0 || report.Elapsed <= 0 {
		t.Errorf("lockfast store rebuild printed %s", out)
	}
	s.start(t) // the store is in the new configuration file
	s.story(t, dir, arn, recentPython(t), "boto3/rebuild.py", "describe", after)
	if diff := cmp.Diff(readText(t, before), readText(t, after)); diff != "" {
		t.Errorf("after the rebuild things are described in another way (-before +after):\n%s", diff)
	}
	same(t, s, dir, "restore", point, "--to")
	s.lockfast(t, "backup", dir, "--vault", "home")
	s.lockfast(t, "delete", point, "--vault", "home")
	s.lockfast(t, "vault", "reclaim", "home")
	s.lockfast(t, "vault", "verify", "home")
	for _, command := range []string{"list", "verify"} {
		s.offline(t, "store", command, location, "--key", key)
	}
}

// newest returns the newest recovery point.
func (s *server) newest(t *testing.T) string {
	t.Helper()
	var newest struct {
		ARN     string `json:"recovery_point_arn"`
		Created time.Time
	}
	for line := range strings.Lines(s.lockfast(t, "list", "--vault", "home", "--json")) {
		p := newest
		if err := json.Unmarshal([]byte(line), &p); err != nil {
			t.Fatal(err)
		}
		if p.Created.After(newest.Created) {
			newest = p
		}
	}
	return newest.ARN
}

// offline runs a command that needs no server.
func (s *server) offline(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(binary, append(args, "--data", s.data)...)
	cmd.Env = append(os.Environ(), s.more...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("lockfast %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// lastLine is the result of a command that prints JSON: lines of progress come before it if it takes long.
func lastLine(out string) string {
	out = strings.TrimSpace(out)
	return out[strings.LastIndexByte(out, '\n')+1:]
}

func readText(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
