package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestStoreRebuild_TakesTheColdStore: the flag counts for a rebuild as for the other commands on stores, so that a location that
// cannot be a cold store is refused.
func TestStoreRebuild_TakesTheColdStore(t *testing.T) {
	c := newCLI(t)
	home := filepath.Join(t.TempDir(), "home")
	write(t, home, map[string]string{"a": "first"})
	c.do(0, "backup", home)
	store, key := filepath.Join(c.data, "store"), filepath.Join(c.data, "root.key")
	code, _, stderr := lockfast(t, "store", "rebuild", store, "--key", key, "--data", filepath.Join(t.TempDir(), "new"), "--cold-store", store)
	if code == 0 || !strings.Contains(stderr, "cold_store") {
		t.Errorf("rebuild with the store as its own cold store = %d, %s, want a refusal that names cold_store", code, stderr)
	}
	code, stdout, stderr := lockfast(t, "store", "rebuild", store, "--key", key, "--data", filepath.Join(t.TempDir(), "new"),
		"--cold-store", t.TempDir())
	if code != 0 || !strings.Contains(stdout, "1 recovery points") {
		t.Errorf("rebuild with a cold store = %d\n%s%s", code, stdout, stderr)
	}
}
