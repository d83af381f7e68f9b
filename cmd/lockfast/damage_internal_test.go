package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// marked returns the damage that the list says of the only recovery point of a vault.
func (c *cli) marked(vault string) string {
	c.Helper()
	lines := c.lines(exitDone, "result", "list", "--vault", vault)
	if len(lines) != 1 || lines[0]["status"] != "COMPLETED" || lines[0]["status_message"] != "" {
		c.Fatalf("list = %v, want one COMPLETED recovery point", lines)
	}
	d, _ := lines[0]["damage"].(map[string]any)
	if d == nil {
		return ""
	}
	if d["since"] == nil {
		c.Errorf("damage = %v, want since when", d)
	}
	return fmt.Sprint(d["paths"], d["more_paths"], d["unknown"])
}

// TestDamagedRecoveryPointsAreMarked damages many files of a recovery point, and undoes that.
func TestDamagedRecoveryPointsAreMarked(t *testing.T) {
	c := newCLI(t)
	home := filepath.Join(t.TempDir(), "home")
	files := map[string]string{}
	var paths []string
	for i := range 30 {
		name := fmt.Sprintf("f%02d", i)
		files[name] = strings.Repeat(name, 300)
		paths = append(paths, name)
	}
	write(t, home, files)
	arn, _ := c.do(exitDone, "backup", home)
	c.do(exitDone, "vault", "verify", "Default")
	if got := c.marked("Default"); got != "" {
		t.Errorf("damage of a sound recovery point = %s", got)
	}
	var sound []byte
	damageObjects(t, c.data, "d", func(b []byte) {
		sound = bytes.Clone(b[96:110])
		clear(b[96:110])
	})

	points := c.lines(exitFailed, "damaged_recovery_point", "vault", "verify", "Default")
	if len(points) != 1 || points[0]["recovery_point_arn"] != arn || fmt.Sprint(points[0]["paths"]) != fmt.Sprint(paths) {
		t.Errorf("verify --json names %v, want all files of %s", points, arn)
	}
	if objects := c.lines(exitFailed, "damage", "vault", "verify", "Default"); len(objects) != 1 {
		t.Errorf("verify --json names objects %v, want one", objects)
	}
	if _, stderr := c.do(exitFailed, "vault", "verify", "Default"); !strings.Contains(stderr, "and 10 more") || !strings.Contains(stderr, "--json") {
		t.Errorf("verify says %q, want how many more and where they are", stderr)
	}
	if got, want := c.marked("Default"), fmt.Sprint(paths, 0, false); got != want {
		t.Errorf("damage = %s, want %s", got, want)
	}
	out, _ := c.do(exitDone, "list")
	if !strings.Contains(out, "Damaged since 20") || !strings.Contains(out, "f00, f01, f02, 27 more") {
		t.Errorf("list says %q, want since when and what", out)
	}
	if _, stderr := c.do(exitFailed, "vault", "verify", "Default", "--status"); !strings.Contains(stderr, arn) {
		t.Errorf("verify --status says %q, want %s", stderr, arn)
	}

	c.do(exitFailed, "vault", "verify", "Default", "--level", "0")
	if c.marked("Default") == "" {
		t.Error("a verification that sees less has removed the mark")
	}
	damageObjects(t, c.data, "d", func(b []byte) { copy(b[96:110], sound) })
	c.do(exitDone, "vault", "verify", "Default")
	if got := c.marked("Default"); got != "" {
		t.Errorf("damage after a verification that found none = %s", got)
	}
}

// TestDamagedManifestsAreNamedByARN ruins the manifest of a recovery point that the database knows.
func TestDamagedManifestsAreNamedByARN(t *testing.T) {
	c := newCLI(t)
	home := filepath.Join(t.TempDir(), "home")
	write(t, home, map[string]string{"one": "1"})
	arn, _ := c.do(exitDone, "backup", home)
	damageObjects(t, c.data, "r", func(b []byte) { clear(b) })
	points := c.lines(exitFailed, "damaged_recovery_point", "vault", "verify", "Default")
	if len(points) != 1 || points[0]["recovery_point_arn"] != arn || points[0]["unknown"] != true {
		t.Errorf("verify names %v, want %s", points, arn)
	}
	lost := c.lines(exitFailed, "lost", "vault", "repair", "Default")
	if len(lost) != 1 || fmt.Sprint(lost[0]["recovery_points"]) != "["+arn+"]" {
		t.Errorf("repair names %v, want %s", lost, arn)
	}
}
