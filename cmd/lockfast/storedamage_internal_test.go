package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// storeOfThree makes a store with two recovery points in one vault and one in another, and returns what `store list` shows of them.
func storeOfThree(t *testing.T) (c *cli, store, key string, all []map[string]any) {
	t.Helper()
	c = newCLI(t)
	home := filepath.Join(t.TempDir(), "home")
	write(t, home, map[string]string{"one": "1"})
	arn, _ := c.do(exitDone, "backup", home)
	c.do(exitDone, "copy", arn, "--to", "offsite")
	write(t, home, map[string]string{"two": "2"})
	c.do(exitDone, "backup", home)
	store, key = filepath.Join(c.data, "store"), filepath.Join(c.data, "root.key")
	if all = c.lines(exitDone, "result", "store", "list", store, "--key", key); len(all) != 3 {
		t.Fatalf("store list = %v, want three recovery points", all)
	}
	return c, store, key, all
}

// ruinFile leaves nothing of a file but its length.
func ruinFile(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err == nil {
		err = errors.Join(os.Remove(path), os.WriteFile(path, make([]byte, info.Size()), 0o400))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestStore_RuinedManifest ruins each manifest in turn: the others are listed and restored.
func TestStore_RuinedManifest(t *testing.T) {
	c, store, key, all := storeOfThree(t)
	for _, bad := range all {
		vault, point := bad["vault"].(string), bad["point"].(string)
		path := filepath.Join(store, vault, "r", point)
		was, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		ruinFile(t, path)
		out, stderr := c.do(exitFailed, "store", "list", store, "--key", key)
		if strings.Contains(out, point) || !strings.Contains(stderr, "r/"+point) || !strings.Contains(stderr, vault) {
			t.Errorf("store list = %q, %q, want %s in the second only", out, stderr, point)
		}
		if got := c.lines(exitFailed, "result", "store", "list", store, "--key", key); len(got) != 2 {
			t.Errorf("store list shows %v, want the two others", got)
		}
		named := c.lines(exitFailed, "error", "store", "list", store, "--key", key)
		if len(named) != 1 || named[0]["vault"] != vault || named[0]["point"] != point {
			t.Errorf("store list names %v, want %s of %s", named, point, vault)
		}
		for _, p := range all {
			want, to := exitDone, filepath.Join(t.TempDir(), "to")
			if p["point"] == point {
				want = exitFailed
			}
			_, stderr := c.do(want, "store", "restore", store, p["point"].(string), "--to", to, "--key", key)
			if named := strings.Contains(stderr, "r/"+point); named != (want == exitFailed) {
				t.Errorf("store restore of %s says %q", p["point"], stderr)
			}
			_, stderr = c.do(want, "store", "restore", store, p["recovery_point_arn"].(string), "--to", to+"2", "--key", key)
			if want == exitFailed && !strings.Contains(stderr, "r/"+point) {
				t.Errorf("store restore of %s says %q, want r/%s named", p["recovery_point_arn"], stderr, point)
			}
		}
		if err := errors.Join(os.Remove(path), os.WriteFile(path, was, 0o400)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStore_RuinedRefsetAndTree: a recovery point of which it cannot be told whether its packs are there is listed.
func TestStore_RuinedRefsetAndTree(t *testing.T) {
	c, store, key, all := storeOfThree(t)
	vault, point := all[0]["vault"].(string), all[0]["point"].(string)
	ruinFile(t, filepath.Join(store, vault, "f", point))
	packs, err := filepath.Glob(filepath.Join(store, vault, "m", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range packs {
		ruinFile(t, path)
	}
	out, stderr := c.do(exitDone, "store", "list", store, "--key", key)
	if !strings.Contains(out, point) || !strings.Contains(stderr, "f/"+point+" is damaged") {
		t.Errorf("store list = %q, %q, want %s in the first and its refset in the second", out, stderr, point)
	}
}

// TestStore_VaultWithoutKeys removes the key objects of one vault, and then of all: nobody can tell whether it was destroyed or is
// lost, so nothing that verifies or repairs may succeed. What the other vault holds is listed and restored.
func TestStore_VaultWithoutKeys(t *testing.T) {
	c, store, key, all := storeOfThree(t)
	vault := all[0]["vault"].(string)
	if err := os.RemoveAll(filepath.Join(store, vault, "k")); err != nil {
		t.Fatal(err)
	}
	for _, verb := range [][]string{{"verify"}, {"repair", "--take-over"}} {
		args := append([]string{"store", verb[0], store, "--key", key}, verb[1:]...)
		if _, stderr := c.do(exitFailed, args...); strings.Count(stderr, vault) != 1 || !strings.Contains(stderr, "no key object under k/") {
			t.Errorf("store %s says %q, want %s named once", verb[0], stderr, vault)
		}
		if lines := c.lines(exitFailed, "error", args...); len(lines) != 1 || !strings.Contains(lines[0]["message"].(string), vault) {
			t.Errorf("store %s --json says %v, want %s named", verb[0], lines, vault)
		}
	}
	out, stderr := c.do(exitDone, "store", "list", store, "--key", key)
	if strings.Contains(out, vault) || !strings.Contains(stderr, vault) {
		t.Errorf("store list = %q, %q, want %s in the second only", out, stderr, vault)
	}
	for _, p := range all {
		want := exitDone
		if p["vault"] == vault {
			want = exitFailed
		}
		c.do(want, "store", "restore", store, p["point"].(string), "--to", filepath.Join(t.TempDir(), "to"), "--key", key)
	}
	for _, p := range all {
		if err := os.RemoveAll(filepath.Join(store, p["vault"].(string), "k")); err != nil {
			t.Fatal(err)
		}
	}
	for _, verb := range []string{"list", "verify"} {
		if _, stderr := c.do(exitFailed, "store", verb, store, "--key", key); strings.Count(stderr, "no key object under k/") != 2 {
			t.Errorf("store %s says %q, want both vaults named", verb, stderr)
		}
	}
}

// TestStoreRepair_MissingIndex removes the index of a vault: the first repair makes it anew, and there is nothing left for the next.
func TestStoreRepair_MissingIndex(t *testing.T) {
	c, store, key, all := storeOfThree(t)
	segments, err := filepath.Glob(filepath.Join(store, "*-*-*-*-*", "x", "*", "*"))
	if err != nil || len(segments) != 3 {
		t.Fatalf("segments = %v, %v, want three", segments, err)
	}
	for _, path := range segments {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	c.do(exitDone, "store", "repair", store, "--key", key, "--take-over")
	if segments, err = filepath.Glob(filepath.Join(store, "*-*-*-*-*", "x", "*", "*")); err != nil || len(segments) != 2 {
		t.Errorf("segments after the repair = %v, %v, want one for each vault", segments, err)
	}
	if out, _ := c.do(exitDone, "store", "repair", store, "--key", key, "--take-over"); !strings.Contains(out, "nothing is damaged") {
		t.Errorf("the next repair says %q", out)
	}
	for _, p := range all {
		c.do(exitDone, "store", "restore", store, p["point"].(string), "--to", filepath.Join(t.TempDir(), "to"), "--key", key)
	}
}
