package reader_test

import (
	"path/filepath"
	"testing"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/fs"
	"github.com/lockfast/lockfast/internal/keys"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/resource/resourcetest"
)

// TestReader_RestoresAfterRotations wraps the key of a vault anew by two versions of a KMS key, the second time under another
// root key, which alone is given to the reader then.
func TestReader_RestoresAfterRotations(t *testing.T) {
	t.Parallel()
	source, store, key, id := fresh(t)
	s, err := fs.Open(store, fs.Options{})
	try(t, err)
	defer s.Close()
	file := keys.File{Path: key}
	name := keys.KeyName{Account: "000000000000", Region: "us-east-1", ID: "9f0b8e0a-6f5e-4f9b-8a51-6a3f3b1d2c11"}
	for name.Version = 1; name.Version <= 2; name.Version++ {
		root, err := file.Open(t.Context())
		try(t, err)
		if name.Version == 2 {
			root, _, err = file.Rotate(t.Context())
			try(t, err)
		}
		material, err := root.NewMaterial(t.Context(), name)
		try(t, err)
		to, err := root.OpenKey(t.Context(), name, material)
		try(t, err)
		vaults, err := filepath.Glob(filepath.Join(store, "*-*"))
		if try(t, err); len(vaults) != 1 {
			t.Fatalf("vaults %v, want one", vaults)
		}
		n, err := repo.Rewrap(t.Context(), blob.Prefix(s, filepath.Base(vaults[0])),
			repo.RewrapOptions{Open: root, To: to, Proof: root.Alone()})
		if try(t, err); n != 1 {
			t.Fatalf("Rewrap wrapped %d keys, want 1", n)
		}
	}
	target := filepath.Join(t.TempDir(), "restored")
	run(t, 0, "restore", store, key, string(id), target)
	for _, d := range resourcetest.CompareTrees(t, source, target) {
		t.Error(d)
	}
}
