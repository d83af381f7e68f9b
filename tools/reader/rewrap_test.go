package reader_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/fs"
	"github.com/lockfast/lockfast/internal/keys"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
	"github.com/lockfast/lockfast/resource"
	"github.com/lockfast/lockfast/resource/directory"
	"github.com/lockfast/lockfast/resource/resourcetest"
)

// TestReader_RestoresAfterRotations wraps the keys of a vault anew by two versions of a KMS key, the second time under another
// root key, which alone is given to the reader then. What is stored after each rotation is sealed under a further vault key.
func TestReader_RestoresAfterRotations(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store, key := filepath.Join(dir, "store"), filepath.Join(dir, "test-root.key")
	ledger := localledger.New(localledger.Options{})
	v := newVaultWith(t, store, key, ledger)
	sources := map[repo.PointID]string{}
	capture := func(n byte) repo.PointID {
		source := t.TempDir()
		resourcetest.MakeTree(t, source)
		try(t, os.WriteFile(filepath.Join(source, "other"), bytes.Repeat([]byte{n}, 5000), 0o644))
		id, _ := resourcetest.Capture(t, v, driver(), resource.Capture{
			Resource: resource.Resource{ARN: "arn:test", Type: directory.Name, Address: map[string]string{directory.PathKey: source}},
		}, "")
		sources[id] = source
		return id
	}
	capture(0)
	s, err := fs.Open(store, fs.Options{})
	try(t, err)
	defer s.Close()
	vaults, err := filepath.Glob(filepath.Join(store, "*-*"))
	if try(t, err); len(vaults) != 1 {
		t.Fatalf("vaults %v, want one", vaults)
	}
	file := keys.File{Path: key}
	name := keys.KeyName{Account: "000000000000", Region: "us-east-1", ID: "9f0b8e0a-6f5e-4f9b-8a51-6a3f3b1d2c11"}
	for name.Version = 1; name.Version <= 2; name.Version++ {
		try(t, v.Close())
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
		sub := blob.Prefix(s, filepath.Base(vaults[0]))
		r, err := repo.Rewrap(t.Context(), sub, repo.RewrapOptions{Open: root, To: to, Proof: root.Alone()})
		if try(t, err); r.Wrapped != int(name.Version) || r.Epoch != name.Version+1 {
			t.Fatalf("Rewrap %d = %+v, want every key wrapped and an epoch begun", name.Version, r)
		}
		v, err = repo.Open(t.Context(), sub, ledger, root, repo.Options{})
		try(t, err)
		manifest, err := os.ReadFile(filepath.Join(vaults[0], "r", string(capture(byte(name.Version)))))
		if try(t, err); binary.LittleEndian.Uint32(manifest[12:]) != r.Epoch {
			t.Fatalf("a recovery point after rotation %d is not sealed under epoch %d", name.Version, r.Epoch)
		}
	}
	try(t, v.Close())
	run(t, 0, "verify", store, key)
	for id, source := range sources {
		target := filepath.Join(t.TempDir(), "restored")
		run(t, 0, "restore", store, key, string(id), target)
		for _, d := range resourcetest.CompareTrees(t, source, target) {
			t.Error(d)
		}
	}
}
