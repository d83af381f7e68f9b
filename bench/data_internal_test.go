package main

import (
	"crypto/sha256"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
)

// contents maps the files below dir to digests of their contents, and adds their sizes up.
func contents(t *testing.T, dir string) (digests map[string][32]byte, total int64) {
	t.Helper()
	digests = map[string][32]byte{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(filepath.Join(dir, path))
		digests[path] = sha256.Sum256(content)
		total += int64(len(content))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return digests, total
}

func different(digests map[string][32]byte) int {
	seen := map[[32]byte]bool{}
	for _, d := range digests {
		seen[d] = true
	}
	return len(seen)
}

func TestWriteFiles_MakesDifferentFilesInFolders(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := writeFiles(dir, 1001); err != nil {
		t.Fatal(err)
	}
	digests, total := contents(t, dir)
	if len(digests) != 1001 || different(digests) != 1001 || total != 1001<<12 {
		t.Errorf("writeFiles(1001) made %d files, %d of them different, %d bytes; want 1001, 1001, %d",
			len(digests), different(digests), total, 1001<<12)
	}
	folders, err := os.ReadDir(dir)
	if err != nil || len(folders) != 2 {
		t.Errorf("writeFiles(1001) made %d folders, %v, want 2", len(folders), err)
	}
}

func TestVersions_KeepHalfOfTheFiles(t *testing.T) {
	t.Parallel()
	v := versions{dir: t.TempDir(), size: 64 << 20, seed: 1}
	if err := v.write(1); err != nil {
		t.Fatal(err)
	}
	first, size := contents(t, v.dir)
	if size < v.size || size > v.size+4<<20 || different(first) != len(first) {
		t.Errorf("version 1 has %d bytes in %d files, %d of them different, want all of them, and %d bytes",
			size, len(first), different(first), v.size)
	}
	if err := v.write(2); err != nil {
		t.Fatal(err)
	}
	second, size2 := contents(t, v.dir)
	if len(second) != len(first) || size2 != size {
		t.Errorf("version 2 has %d files of %d bytes, want %d of %d", len(second), size2, len(first), size)
	}
	kept := 0
	for name, digest := range second {
		if first[name] == digest {
			kept++
		}
	}
	if share := float64(kept) / float64(len(first)); share < 0.35 || share > 0.65 {
		t.Errorf("version 2 keeps %d of %d files, want about half", kept, len(first))
	}
}

func TestVersions_AreTheSameInEveryRunAndDifferBySeed(t *testing.T) {
	t.Parallel()
	trees := make([]map[string][32]byte, 3)
	sizes := make([]int64, 3)
	for i, seed := range []uint64{1, 1, 2} {
		v := versions{dir: t.TempDir(), size: 8 << 20, seed: seed}
		if err := v.write(1); err != nil {
			t.Fatal(err)
		}
		trees[i], sizes[i] = contents(t, v.dir)
	}
	if diff := cmp.Diff(trees[0], trees[1]); diff != "" {
		t.Errorf("two trees of one seed differ\n%s", diff)
	}
	if len(trees[2]) != len(trees[0]) || sizes[2] != sizes[0] {
		t.Errorf("the tree of another seed has %d files of %d bytes, want %d of %d",
			len(trees[2]), sizes[2], len(trees[0]), sizes[0])
	}
	for name := range trees[0] {
		if trees[0][name] == trees[2][name] {
			t.Errorf("%s is the same in trees of two seeds", name)
		}
	}
}

func TestProse_CompressesAsTextDoes(t *testing.T) {
	t.Parallel()
	text := make([]byte, 1<<20)
	newProse().fill(text, 1, 1)
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	if ratio := float64(len(text)) / float64(len(encoder.EncodeAll(text, nil))); ratio < 2 || ratio > 5 {
		t.Errorf("zstd makes prose %.1f times smaller, want 2 to 5", ratio)
	}
}
