package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/lockfast/lockfast/repo/pack"
)

// lockfast runs a command line in this process.
func lockfast(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestEveryCommandHasHelpWithAnExample(t *testing.T) {
	t.Parallel()
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		if c.Short == "" || !strings.Contains(c.Example, "lockfast ") {
			t.Errorf("%s: no short help or no example", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	root := newRoot(&app{out: &output{}})
	root.InitDefaultHelpCmd() // as running it does
	root.InitDefaultCompletionCmd()
	visit(root)
	for _, args := range [][]string{{"help"}, {"completion"}, {"completion", "bash"}} {
		if c, _, err := root.Find(args); err != nil || c.Name() != args[len(args)-1] {
			t.Errorf("there is no command %v, and its help is not looked at", args)
		}
	}
}

func TestUsageErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args string
		want string
	}{
		"unknown command":     {"frobnicate", `unknown command "frobnicate"`},
		"unknown flag":        {"list --frob", "unknown flag: --frob"},
		"too few arguments":   {"backup", "requires at least 1 arg"},
		"too many arguments":  {"vault list x y", "at most 1"},
		"not an ARN":          {"delete nonsense", `"nonsense" is not the ARN of a recovery point`},
		"restore without to":  {"restore arn:aws:backup:us-east-1:000000000000:recovery-point:x", "--to DIR is missing"},
		"copy without to":     {"copy arn:aws:backup:us-east-1:000000000000:recovery-point:x", "--to VAULT is missing"},
		"copy for no days":    {"copy arn:aws:backup:us-east-1:000000000000:recovery-point:x --to y --keep-days 0", "is not at least 1"},
		"group without verb":  {"vault", "choose one of its commands"},
		"group with path":     {"resource add --type CloudFormation --path /x", "a group has no --path"},
		"group without name":  {"resource add --type CloudFormation --member x", "--name NAME of the group is missing"},
		"group of nothing":    {"resource add --type CloudFormation --name x", "--member NAME is missing"},
		"member of no group":  {"resource add --path /x --member y", "--member is for --type CloudFormation only"},
		"nothing to add":      {"resource add", "--path DIR is missing"},
		"bad tag":             {"resource add --path /x --tag y", `--tag "y" is not KEY=VALUE`},
		"name of a resource":  {"resource remove homes", `"homes" is not the ARN of a resource`},
		"name to test":        {"resource test homes", `"homes" is not the ARN of a resource`},
		"bad server":          {"list --server nonsense", `"nonsense" is not the URL of a server`},
		"store without a key": {"store list /x", "--key FILE is missing"},
		"bad level":           {"store verify /x --level 9 --key y", "9 is not between 0 and 3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, _, stderr := lockfast(t, append(strings.Fields(c.args), "--data", t.TempDir())...)
			if code != exitUsage || !strings.Contains(stderr, c.want) || !strings.Contains(stderr, "--help") {
				t.Errorf("lockfast %s = %d, %q, want %d and %q", c.args, code, stderr, exitUsage, c.want)
			}
		})
	}
}

func TestBackup_OfAnEmptyPathIsNotOfTheWorkingDirectory(t *testing.T) {
	t.Parallel()
	code, _, stderr := lockfast(t, "backup", "--data", t.TempDir(), t.TempDir(), "")
	if want := "a path is empty"; code != exitUsage || !strings.Contains(stderr, want) {
		t.Errorf("lockfast backup DIR '' = %d, %q, want %d and %q", code, stderr, exitUsage, want)
	}
}

func TestNoServerAtURL(t *testing.T) {
	t.Parallel()
	code, stdout, _ := lockfast(t, "list", "--json", "--server", "http://127.0.0.1:1")
	if code != exitFailed || !strings.Contains(stdout, `{"type":"error","message":"no Lockfast server answers at`) {
		t.Errorf("lockfast list --json = %d, %q, want %d and an error line", code, stdout, exitFailed)
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	code, stdout, _ := lockfast(t, "version")
	if code != exitDone || !strings.HasPrefix(stdout, "lockfast ") || !strings.Contains(stdout, "zstd of "+pack.ZstdModule) {
		t.Errorf("lockfast version = %d, %q", code, stdout)
	}
	code, stdout, _ = lockfast(t, "version", "--json")
	if code != exitDone || !strings.Contains(stdout, `"zstd":"`+pack.ZstdModule) {
		t.Errorf("lockfast version --json = %d, %q", code, stdout)
	}
}

func TestOver_TheWorstWins(t *testing.T) {
	t.Parallel()
	failure := errors.New("failure")
	for name, c := range map[string]struct {
		errs []error
		want error
	}{
		"all done":               {[]error{nil, nil}, nil},
		"skipped":                {[]error{errSkipped, nil}, errSkipped},
		"failure before skipped": {[]error{failure, errSkipped}, errReported},
		"failure after skipped":  {[]error{errSkipped, failure}, failure},
		"one failure":            {[]error{failure}, failure},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			a := &app{out: &output{stdout: &out, stderr: &out}}
			i := -1
			got := a.over(make([]string, len(c.errs)), func(string) error { i++; return c.errs[i] })
			if !errors.Is(got, c.want) {
				t.Errorf("over = %v, want %v", got, c.want)
			}
		})
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1048575: "1.0 MiB", 5 << 30: "5.0 GiB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %q, want %q", n, got, want)
		}
	}
}
