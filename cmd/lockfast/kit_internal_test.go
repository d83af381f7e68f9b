package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestKeyRotate_WithoutAServer: nobody is there to wrap keys in the background, so the command does it before it ends.
func TestKeyRotate_WithoutAServer(t *testing.T) {
	c := newCLI(t)
	home := filepath.Join(t.TempDir(), "home")
	write(t, home, map[string]string{"a": "first"})
	c.do(0, "backup", home)
	objects := func() (names []string) {
		t.Helper()
		all, err := filepath.Glob(filepath.Join(c.data, "store", "*", "k", "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range all {
			names = append(names, filepath.Base(name))
		}
		return names
	}
	before := objects()
	c.do(0, "key", "rotate", "alias/aws/backup")
	if diff := cmp.Diff([]string{"1-3", "1-4", "2-1", "2-2"}, objects()); diff != "" {
		t.Errorf("key objects, %v before the rotation (-want +got):\n%s", before, diff)
	}
	write(t, home, map[string]string{"b": "second"})
	point := c.lines(0, "result", "backup", home)[0]["recovery_point_arn"].(string)
	to := filepath.Join(t.TempDir(), "to")
	c.do(0, "restore", point, "--to", to)
	if a, b := read(t, to, "a"), read(t, to, "b"); a != "first" || b != "second" {
		t.Errorf("restored %q and %q", a, b)
	}
}

// TestKit_IsEnoughWhereverTheRootKeyIs replaces the root key, moves it to a transit service and back, with keys of vaults that
// hang on a KMS key that was rotated, and restores each time from the objects with the kit alone.
func TestKit_IsEnoughWhereverTheRootKeyIs(t *testing.T) {
	c := newCLI(t)
	home := filepath.Join(t.TempDir(), "home")
	write(t, home, map[string]string{"a": "first"})
	point := c.lines(0, "result", "backup", home)[0]["recovery_point_arn"].(string)
	c.do(0, "key", "rotate", "alias/aws/backup")
	c.do(0, "backup", home, "--vault", "second")
	var kits []string
	proven := func(stage string) {
		t.Helper()
		kit := filepath.Join(t.TempDir(), "kit.txt")
		c.do(0, "key", "export", "--to", kit)
		kits = append(kits, kit)
		to := filepath.Join(t.TempDir(), "to")
		code, stdout, stderr := lockfast(t, "store", "restore", filepath.Join(c.data, "store"), point, "--to", to, "--key", kit)
		if code != 0 || read(t, to, "a") != "first" {
			t.Fatalf("%s: store restore with the kit = %d\n%s%s", stage, code, stdout, stderr)
		}
	}
	proven("a file")
	c.do(0, "key", "rotate-root")
	proven("another root key")
	service := httptest.NewServer(http.HandlerFunc(bound))
	defer service.Close()
	t.Setenv("VAULT_TOKEN", "s.token")
	settings := fmt.Sprintf("root_key: transit\ntransit_address: %s\ntransit_key: lockfast\n", service.URL)
	configure := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(c.data, "lockfast.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	configure(settings)
	if _, stderr := c.do(1, "list"); !strings.Contains(stderr, "rotate-root") {
		t.Errorf("list with a root key in the open: %s", stderr)
	}
	if out, _ := c.do(0, "key", "rotate-root"); !strings.Contains(out, "root.key.retired-") {
		t.Errorf("rotate-root printed %q", out)
	}
	c.do(0, "list")
	proven("a transit service")
	sealed := filepath.Join(c.data, "root.key")
	if code, _, stderr := lockfast(t, "store", "list", filepath.Join(c.data, "store"), "--key", sealed); code != 1 || !strings.Contains(stderr, "recovery kit") {
		t.Errorf("store list with the sealed key file = %d, %s", code, stderr)
	}
	configure(strings.Replace(settings, "root_key: transit", "root_key: file", 1))
	c.do(0, "key", "rotate-root")
	service.Close()
	configure("")
	c.do(0, "list")
	proven("a file again")
	code, _, stderr := lockfast(t, "store", "list", filepath.Join(c.data, "store"), "--key", kits[0])
	if code == 0 || !strings.Contains(stderr, "root key") {
		t.Errorf("store list with the first kit = %d, %s", code, stderr)
	}
}

// bound answers like a transit engine that does not encrypt: what it is given comes back with the same associated data only.
func bound(w http.ResponseWriter, r *http.Request) {
	in := map[string]string{}
	_ = json.NewDecoder(r.Body).Decode(&in)
	data := map[string]any{"supports_encryption": true, "type": "aes256-gcm96"}
	if in["plaintext"] != "" {
		data = map[string]any{"ciphertext": "vault:v1:" + in["associated_data"] + "." + in["plaintext"]}
	} else if plain, ok := strings.CutPrefix(in["ciphertext"], "vault:v1:"+in["associated_data"]+"."); ok && in["ciphertext"] != "" {
		data = map[string]any{"plaintext": plain}
	}
	if r.Header.Get("X-Vault-Token") != "s.token" {
		w.WriteHeader(http.StatusForbidden)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"data": data})
}
