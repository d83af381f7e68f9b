//go:build linux

package fs

import (
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"testing"
)

// TestRenameNew is white-box because file systems without hard links are not at hand everywhere.
func TestRenameNew(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, dir := range []string{"a", "b"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"a/1", "a/2"} {
		if err := os.WriteFile(filepath.Join(root, file), []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sys, err := OS(root)
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close()
	s := sys.(*system)
	if err := s.renameNew("a/1", "b/1"); err != nil {
		t.Fatal(err)
	}
	if err := s.renameNew("a/2", "b/1"); !errors.Is(err, iofs.ErrExist) {
		t.Errorf("renameNew onto a file = %v, want ErrExist", err)
	}
	if got, err := os.ReadFile(filepath.Join(root, "b/1")); err != nil || string(got) != "a/1" {
		t.Errorf("b/1 = %q, %v, want a/1", got, err)
	}
	if err := s.renameNew("a/2", "c/1"); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("renameNew into no directory = %v, want ErrNotExist", err)
	}
}
