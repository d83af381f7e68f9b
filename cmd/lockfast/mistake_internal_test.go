package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestDataDirectory_ThatIsAFileIsNamed(t *testing.T) {
	t.Setenv("AWS_ENDPOINT_URL", "")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want := "data directory " + file + ": not a directory; choose another with --data"
	for _, command := range []string{"serve", "list"} {
		code, _, stderr := lockfast(t, command, "--data", file)
		if code != exitFailed || !strings.Contains(stderr, want) {
			t.Errorf("lockfast %s = %d, %q, want %d and %q", command, code, stderr, exitFailed, want)
		}
	}
}

func TestVaultName_ThatIsMalformedIsAUsageError(t *testing.T) {
	c := newCLI(t)
	arn := "arn:aws:backup:us-east-1:000000000000:recovery-point:x"
	for _, args := range [][]string{
		{"backup", "--vault", "x!!", t.TempDir()}, {"list", "--vault", "x!!"}, {"delete", arn, "--vault", "x!!"},
		{"vault", "reclaim", "x!!"}, {"vault", "verify", "x!!"}, {"vault", "stats", "x!!"}, {"vault", "repair", "x!!"},
	} {
		_, stderr := c.do(exitUsage, args...)
		if !strings.HasPrefix(stderr, "lockfast: Value 'x!!' at 'BackupVaultName'") || !strings.Contains(stderr, "--help") {
			t.Errorf("lockfast %s says %q", strings.Join(args, " "), stderr)
		}
	}
	if resources := c.lines(exitDone, "result", "resource", "list"); len(resources) != 0 {
		t.Errorf("resources = %v, want none of a backup that was refused", resources)
	}
}

func TestBackup_OfNothingMakesNoVault(t *testing.T) {
	c := newCLI(t)
	c.do(exitFailed, "backup", filepath.Join(t.TempDir(), "absent"))
	if vaults := c.lines(exitDone, "result", "vault", "list"); len(vaults) != 0 {
		t.Errorf("vaults = %v, want none", vaults)
	}
}

func TestSeconds(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]float64{
		1281 * time.Millisecond: 1.281, 1280500 * time.Microsecond: 1.281, 4*time.Hour + 35*time.Millisecond: 14400.035, 0: 0,
	} {
		if got := seconds(d); got != want {
			t.Errorf("seconds(%s) = %v, want %v", d, got, want)
		}
	}
}
