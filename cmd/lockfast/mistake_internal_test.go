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
		if !strings.Contains(stderr, "Value 'x!!' at 'BackupVaultName'") || !strings.Contains(stderr, "--help") {
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

func TestErrors_SayWhatToDoNext(t *testing.T) {
	c := newCLI(t)
	home := filepath.Join(t.TempDir(), "home")
	write(t, home, map[string]string{"one": "1"})
	arn, _ := c.do(exitDone, "backup", home)
	absent := "arn:aws:backup:us-east-1:000000000000:recovery-point:11111111-2222-3333-4444-555555555555"
	to := filepath.Join(t.TempDir(), "to")
	vaults := "Backup vault absent does not exist; `lockfast vault list` shows those there are"
	points := "no recovery point " + absent + "; `lockfast list` shows those there are"
	items := "The recovery point holds no item two. `lockfast ls " + arn + "` shows those there are"
	for _, m := range []struct {
		args []string
		want string
	}{
		{[]string{"list", "--vault", "absent"}, vaults},
		{[]string{"delete", arn, "--vault", "absent"}, vaults},
		{[]string{"vault", "reclaim", "absent"}, vaults},
		{[]string{"vault", "verify", "absent"}, vaults},
		{[]string{"vault", "verify", "--status", "absent"}, vaults},
		{[]string{"vault", "stats", "absent"}, vaults},
		{[]string{"vault", "repair", "absent"}, vaults},
		{[]string{"ls", absent}, points},
		{[]string{"ls", absent, "one"}, points},
		{[]string{"cat", absent, "one"}, points},
		{[]string{"diff", arn, absent}, points},
		{[]string{"diff", absent, arn}, points},
		{[]string{"delete", absent}, points},
		{[]string{"restore", absent, "--to", to}, points},
		{[]string{"ls", arn, "two"}, items},
		{[]string{"cat", arn, "two"}, items},
		{[]string{"restore", arn, "--to", home}, home + ": target exists: directory not empty; choose a directory that is absent or empty"},
	} {
		if _, stderr := c.do(exitFailed, m.args...); !strings.Contains(stderr, m.want) {
			t.Errorf("lockfast %s says %q, want %q", strings.Join(m.args, " "), stderr, m.want)
		}
	}
}

func TestErrors_OfADamagedDatabaseNameItAndTheRebuild(t *testing.T) {
	c := newCLI(t)
	home := filepath.Join(t.TempDir(), "home")
	write(t, home, map[string]string{"one": "1"})
	c.do(exitDone, "backup", home)
	file := filepath.Join(c.data, "meta.db")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := "database " + file + " is damaged; `lockfast store rebuild` makes a new one from the store"
	for name, damage := range map[string]func(b []byte){
		"no header": func(b []byte) { copy(b, "no database any more") },
		"pages":     func(b []byte) { clear(b[4096 : len(b)/2]) },
	} {
		b := append([]byte(nil), whole...)
		damage(b)
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"list"}, {"serve", "--listen", "127.0.0.1:0"}} {
			if _, stderr := c.do(exitFailed, args...); !strings.Contains(stderr, want) {
				t.Errorf("%s: lockfast %s says %q, want %q", name, args[0], stderr, want)
			}
		}
	}
}
