package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRestore_ItemsWithAnyNames restores a name that is not UTF-8 and one that looks like its escape, in both forms.
func TestRestore_ItemsWithAnyNames(t *testing.T) {
	c := newCLI(t)
	home := filepath.Join(t.TempDir(), "home")
	names := []string{"caf\xe9/r\xff", `caf\xe9`, "plain"}
	write(t, home, map[string]string{names[0]: "bytes", names[1]: "text", names[2]: "plain"})
	arn, _ := c.lines(exitDone, "result", "backup", home)[0]["recovery_point_arn"].(string)
	for i, name := range names {
		shown, _ := c.do(exitDone, "ls", "-R", arn, name)
		printed := strings.Fields(shown)[len(strings.Fields(shown))-1]
		for _, args := range [][]string{{"--item", name}, {"--escaped", "--item", printed}} {
			to := filepath.Join(t.TempDir(), "to")
			c.do(exitDone, append([]string{"restore", arn, "--to", to}, args...)...)
			for j, other := range names {
				_, err := os.Lstat(filepath.Join(to, other))
				if i == j && err != nil || i != j && !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("restore %q: %q: %v", args, other, err)
				}
			}
		}
	}
	_, stderr := c.do(exitFailed, "restore", arn, "--to", filepath.Join(t.TempDir(), "to"), "--escaped", "--item", `caf\xzz`)
	if !strings.Contains(stderr, "malformed") {
		t.Errorf("restore of a malformed escape reports %q", stderr)
	}
}
