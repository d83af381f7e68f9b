package reader_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/lockfast/lockfast/repo"
	"golang.org/x/sys/unix"
)

// A listing says what the recovery points of a golden vault restore to, without what depends on the machine or user.
type listing map[repo.PointID][]item

type item struct {
	Path   string            `json:"path"` // as a Go string, so that names in no encoding have one
	Mode   string            `json:"mode"`
	Size   int64             `json:"size,omitzero"`
	MTime  int64             `json:"mtime,omitzero"` // nanoseconds
	SHA256 string            `json:"sha256,omitzero"`
	Target string            `json:"target,omitzero"`
	Same   string            `json:"same,omitzero"` // first path that is the same file
	Xattrs map[string]string `json:"xattrs,omitzero"`
}

// list describes a tree, the root included, in the order of a walk.
func list(t *testing.T, root string) []item {
	t.Helper()
	var items []item
	first := map[uint64]string{}
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		it, err := describe(path)
		it.Path = strconv.QuoteToASCII(rel)
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		it.MTime = st.Mtim.Nano()
		if st.Nlink > 1 && st.Mode&unix.S_IFMT != unix.S_IFDIR {
			if it.Same = first[st.Ino]; it.Same == "" {
				first[st.Ino] = it.Path
			}
		}
		items = append(items, it)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return items
}

func describe(path string) (it item, err error) {
	info, err := os.Lstat(path)
	if err != nil {
		return it, err
	}
	it.Mode = info.Mode().String()
	switch {
	case info.Mode().IsRegular():
		it.Size = info.Size()
		data, err := os.ReadFile(path)
		if err != nil {
			return it, err
		}
		sum := sha256.Sum256(data)
		it.SHA256 = hex.EncodeToString(sum[:])
		it.Xattrs, err = xattrs(path)
		return it, err
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(path)
		if len(target) > 100 {
			sum := sha256.Sum256([]byte(target))
			target = "sha256:" + hex.EncodeToString(sum[:])
		}
		it.Target = strconv.QuoteToASCII(target)
		return it, err
	}
	return it, nil
}

// xattrs reads the attributes that golden vaults have.
func xattrs(path string) (map[string]string, error) {
	var found map[string]string
	for _, name := range []string{"user.small", "user.large"} {
		value := make([]byte, 64<<10)
		n, err := unix.Getxattr(path, name, value)
		if err == unix.ENODATA || err == unix.ENOTSUP {
			continue
		}
		if err != nil {
			return nil, err
		}
		if found == nil {
			found = map[string]string{}
		}
		sum := sha256.Sum256(value[:n])
		found[name] = hex.EncodeToString(sum[:])
	}
	return found, nil
}

// keepsXattrs reports whether attributes of users can be set in a directory, which not every file system allows.
func keepsXattrs(dir string) bool {
	return unix.Setxattr(dir, "user.probe", []byte("x"), 0) == nil
}

// load reads the listing of a golden vault, without attributes if the directory cannot have them.
func load(t *testing.T, vault, dir string) listing {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(vault, "listing.json"))
	if err != nil {
		t.Fatal(err)
	}
	var l listing
	if err := json.Unmarshal(data, &l); err != nil {
		t.Fatal(err)
	}
	if keepsXattrs(dir) {
		return l
	}
	for _, items := range l {
		for i := range items {
			items[i].Xattrs = nil
		}
	}
	return l
}
