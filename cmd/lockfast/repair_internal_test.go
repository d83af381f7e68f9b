package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// damageObjects changes every object of a vault's part of the store whose name begins with prefix.
func damageObjects(t *testing.T, data, prefix string, change func(b []byte)) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(data, "store", "*-*-*-*-*", prefix, "*"))
	if err == nil && len(found) == 0 || prefix == "d" || prefix == "m" {
		found, err = filepath.Glob(filepath.Join(data, "store", "*-*-*-*-*", prefix, "*", "*"))
	}
	if err != nil || len(found) == 0 {
		t.Fatalf("objects under %s: %v, %v", prefix, found, err)
	}
	for _, path := range found {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		change(b)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o400); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRepairCommands damages what parity restores, and then what only a copy has.
func TestRepairCommands(t *testing.T) {
	c := newCLI(t)
	home := filepath.Join(t.TempDir(), "home")
	one, two := strings.Repeat("1", 600), strings.Repeat("2", 700)
	write(t, home, map[string]string{"one": one, "dir/two": two, "inline": "inline"})
	arn, _ := c.do(exitDone, "backup", home)
	if out, _ := c.do(exitDone, "vault", "repair", "Default"); !strings.Contains(out, "nothing is damaged") {
		t.Errorf("repair of a sound vault says %q", out)
	}
	c.do(exitDone, "copy", arn, "--to", "offsite")
	sector := func(b []byte) { clear(b[:min(4096, len(b))]) }
	for _, prefix := range []string{"m", "r", "f", "x/0"} {
		damageObjects(t, c.data, prefix, sector)
	}
	to := filepath.Join(t.TempDir(), "restored")
	c.do(exitDone, "restore", arn, "--to", to)
	if got := read(t, to, "one"); got != one {
		t.Errorf("file restored from a damaged vault = %q", got)
	}
	if _, stderr := c.do(exitFailed, "vault", "verify", "Default"); !strings.Contains(stderr, "damaged") {
		t.Errorf("verify of a damaged vault says %q", stderr)
	}
	for _, vault := range []string{"Default", "offsite"} {
		result := c.lines(exitDone, "result", "vault", "repair", vault, "--level", "3")
		report, _ := result[0]["report"].(map[string]any)
		if report["damaged_objects"] == 0.0 || report["manifests_written"] != 1.0 || report["contents_from_parity"] == 0.0 || report["lost_objects"] != 0.0 {
			t.Errorf("report of repair = %v", report)
		}
	}
	if _, stderr := c.do(exitUsage, "vault", "repair", "--level", "4"); !strings.Contains(stderr, "between 0 and 3") {
		t.Errorf("repair of level 4 says %q", stderr)
	}
	c.do(exitDone, "vault", "verify")
	c.lost(arn, home)
}

// lost damages contents of the vault Default beyond repair; the vault offsite has them.
func (c *cli) lost(arn, home string) {
	c.Helper()
	sound := filepath.Join(c.TempDir(), "sound")
	if err := os.CopyFS(sound, os.DirFS(filepath.Join(c.data, "store"))); err != nil {
		c.Fatal(err)
	}
	damageObjects(c.T, c.data, "d", func(b []byte) { clear(b[96:110]) }) // of both vaults
	_, stderr := c.do(exitFailed, "cat", arn, "one")
	if !strings.Contains(stderr, "one is damaged") {
		c.Errorf("cat of a damaged file says %q", stderr)
	}
	to := filepath.Join(c.TempDir(), "restored")
	if _, stderr := c.do(exitFailed, "restore", arn, "--to", to); !strings.Contains(stderr, "damaged") || !strings.Contains(stderr, "intact") ||
		!strings.Contains(stderr, "one") && !strings.Contains(stderr, "dir/two") {
		c.Errorf("restore that meets damage says %q", stderr)
	}
	if _, stderr := c.do(exitSkipped, "restore", arn, "--to", to, "--intact"); !strings.Contains(stderr, "one") || !strings.Contains(stderr, "dir/two") {
		c.Errorf("restore of what is intact says %q", stderr)
	}
	if got := read(c.T, to, "inline"); got != "inline" {
		c.Errorf("file restored from a damaged recovery point = %q", got)
	}
	for _, name := range []string{"one", "dir/two"} {
		if _, err := os.Stat(filepath.Join(to, name)); err == nil {
			c.Errorf("%s was restored, although it is damaged", name)
		}
	}
	lost := c.lines(exitFailed, "lost", "vault", "repair", "Default", "--from", "offsite")
	if len(lost) != 1 || fmt.Sprint(lost[0]["recovery_points"]) != "["+arn+"]" || fmt.Sprint(lost[0]["paths"]) != "[dir/two one]" {
		c.Errorf("lost = %v, want both files of %s", lost, arn)
	}
	c.fromAnotherStore(arn, sound)
}

// fromAnotherStore repairs the store by itself, from a copy that was made before it was damaged.
func (c *cli) fromAnotherStore(arn, sound string) {
	c.Helper()
	store, key := filepath.Join(c.data, "store"), filepath.Join(c.data, "root.key")
	to := filepath.Join(c.TempDir(), "intact")
	if _, stderr := c.do(exitSkipped, "store", "restore", store, arn, "--to", to, "--key", key, "--intact"); !strings.Contains(stderr, "dir/two") {
		c.Errorf("store restore --intact says %q", stderr)
	}
	c.do(exitUsage, "store", "repair", store, "--key", key)
	c.do(exitFailed, "store", "repair", store, "--key", key, "--take-over")
	results := c.lines(exitDone, "result", "store", "repair", store, "--key", key, "--take-over", "--from", sound)
	for _, r := range results {
		if report, _ := r["report"].(map[string]any); report["contents_from_source"] == 0.0 || report["lost_objects"] != 0.0 {
			c.Errorf("report of store repair = %v", r)
		}
	}
	c.do(exitDone, "store", "verify", store, "--key", key)
	whole := filepath.Join(c.TempDir(), "whole")
	c.do(exitDone, "store", "restore", store, arn, "--to", whole, "--key", key)
	if got := read(c.T, whole, "dir", "two"); got != strings.Repeat("2", 700) {
		c.Errorf("file restored after the repair = %q", got)
	}
}

// TestStatesAreWrittenAnew removes or ruins the states of a vault and of a recovery point, which the database knows: every
// verification names them, and a repair has them written.
func TestStatesAreWrittenAnew(t *testing.T) {
	c := newCLI(t)
	home := filepath.Join(t.TempDir(), "home")
	write(t, home, map[string]string{"one": "1"})
	c.do(exitDone, "backup", home)
	vault := filepath.Join(c.data, "store", "*-*-*-*-*")
	states := func() (found []string) {
		for _, kind := range []string{"p", "v"} {
			some, err := filepath.Glob(filepath.Join(vault, kind, "*"))
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, some...)
		}
		return found
	}
	c.do(exitDone, "vault", "verify", "Default") // the states are in the store when the server has stopped
	for _, way := range []struct {
		name, level string
		harm        func(path string) error
	}{
		{"missing", "0", os.Remove},
		{"ruined", "2", func(path string) error {
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			return errors.Join(os.Remove(path), os.WriteFile(path, make([]byte, info.Size()), 0o400))
		}},
	} {
		before := states()
		if len(before) != 2 {
			t.Fatalf("states = %q, want one of the recovery point and one of the vault", before)
		}
		for _, path := range before {
			if err := way.harm(path); err != nil {
				t.Fatal(err)
			}
		}
		_, stderr := c.do(exitFailed, "vault", "verify", "Default", "--level", way.level)
		for _, path := range before {
			name := filepath.Base(filepath.Dir(path)) + "/" + filepath.Base(path)
			if !strings.Contains(stderr, name) {
				t.Errorf("%s: verify says %q, want %s named", way.name, stderr, name)
			}
		}
		report, _ := c.lines(exitDone, "result", "vault", "repair", "Default")[0]["report"].(map[string]any)
		if report["states_written"] != 2.0 || report["lost_objects"] != 0.0 {
			t.Errorf("%s: report of repair = %v, want two states written", way.name, report)
		}
		c.do(exitDone, "vault", "verify", "Default")
		if out, _ := c.do(exitDone, "vault", "repair", "Default"); !strings.Contains(out, "nothing is damaged") {
			t.Errorf("%s: the next repair says %q", way.name, out)
		}
	}
}

// TestStoreCommandsPassOverAVaultThatCannotBeOpened ruins the keys of one vault of two.
func TestStoreCommandsPassOverAVaultThatCannotBeOpened(t *testing.T) {
	c := newCLI(t)
	home := filepath.Join(t.TempDir(), "home")
	write(t, home, map[string]string{"one": "1"})
	arn, _ := c.do(exitDone, "backup", home)
	c.do(exitDone, "copy", arn, "--to", "offsite")
	store, key := filepath.Join(c.data, "store"), filepath.Join(c.data, "root.key")
	all := c.lines(exitDone, "result", "store", "list", store, "--key", key)
	if len(all) != 2 {
		t.Fatalf("store list = %v, want two recovery points", all)
	}
	var ids []string // of the vaults: the first in order is the one that is ruined
	for _, line := range all {
		ids = append(ids, line["vault"].(string))
	}
	slices.Sort(ids)
	var kept, lost string
	for _, copied := range []string{"1-1", "1-2"} {
		ruined := filepath.Join(store, ids[0], "k", copied)
		if err := errors.Join(os.Remove(ruined), os.WriteFile(ruined, make([]byte, 300), 0o400)); err != nil {
			t.Fatal(err)
		}
	}
	for _, line := range all {
		if line["vault"] == ids[0] {
			lost = line["point"].(string)
		} else {
			kept = line["point"].(string)
		}
	}
	out, stderr := c.do(exitFailed, "store", "list", store, "--key", key)
	if !strings.Contains(out, kept) || strings.Contains(out, lost) || !strings.Contains(stderr, ids[0]) {
		t.Errorf("store list = %q, %q, want %s alone and vault %s named", out, stderr, kept, ids[0])
	}
	if out, _ := c.do(exitFailed, "store", "verify", store, "--key", key); !strings.Contains(out, ids[1]) {
		t.Errorf("store verify = %q, want vault %s", out, ids[1])
	}
	to := filepath.Join(t.TempDir(), "to")
	c.do(exitDone, "store", "restore", store, kept, "--to", to, "--key", key)
	if got := read(t, to, "one"); got != "1" {
		t.Errorf("restored file = %q", got)
	}
	c.do(exitFailed, "store", "restore", store, lost, "--to", filepath.Join(t.TempDir(), "none"), "--key", key)
}
