package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lockfast/lockfast/internal/keys"
)

func TestKeyExport_WritesAKitThatOpensTheStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root, err := keys.Create(filepath.Join(dir, "root.key"))
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(dir, "kit.txt")
	var out strings.Builder
	export := func() error {
		a := &app{out: &output{stdout: &out, stderr: &out}}
		cmd := newRoot(a)
		cmd.SetArgs([]string{"key", "export", "--to", to, "--data", dir})
		return cmd.ExecuteContext(t.Context())
	}
	if err := export(); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "lockfast-root-key-1:") || !strings.Contains(out.String(), root.KeyID()) {
		t.Errorf("printed %q, want the id of the key and not the key", &out)
	}
	info, err := os.Stat(to)
	if err != nil || info.Mode() != 0o600 {
		t.Fatalf("mode = %v, %v, want 0600", info.Mode(), err)
	}
	text, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) { // as somebody does who follows the kit
		if strings.HasPrefix(line, "lockfast-root-key-1:") {
			if err := os.WriteFile(filepath.Join(dir, "typed.key"), []byte(line), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	again, err := keys.Open(filepath.Join(dir, "typed.key"))
	if err != nil || again.KeyID() != root.KeyID() {
		t.Errorf("key of the kit = %v, %v, want %v", again, err, root)
	}
	if err := export(); err == nil || !strings.Contains(err.Error(), "exists") {
		t.Errorf("second export = %v, want a refusal", err)
	}
	if after, err := os.ReadFile(to); err != nil || string(after) != string(text) {
		t.Errorf("the kit changed: %v", err)
	}
}
