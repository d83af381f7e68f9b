package resourcetest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// CompareTrees returns the differences between two directory trees, the roots included: type, mode, owner, modification
// time, attributes, link targets, device numbers, which names are one file, size, bytes, and data in place of holes. Inode numbers, change
// and access times are not compared. Sockets are left out.
func CompareTrees(t testing.TB, want, got string) []string {
	t.Helper()
	a, b := scan(t, want), scan(t, got)
	var differences []string
	for _, path := range slices.Sorted(maps.Keys(a)) {
		other, ok := b[path]
		if !ok {
			differences = append(differences, fmt.Sprintf("%q is missing", path))
			continue
		}
		for _, what := range slices.Sorted(maps.Keys(a[path])) {
			if a[path][what] != other[what] {
				differences = append(differences, fmt.Sprintf("%q: %s is %s, want %s", path, what, other[what], a[path][what]))
			}
		}
		if a[path]["size"] != "" && other["size"] == a[path]["size"] {
			if d := compareFiles(t, filepath.Join(want, path), filepath.Join(got, path)); d != "" {
				differences = append(differences, fmt.Sprintf("%q: %s", path, d))
			}
		}
		for what := range other {
			if _, ok := a[path][what]; !ok {
				differences = append(differences, fmt.Sprintf("%q: %s is %s, want none", path, what, other[what]))
			}
		}
	}
	for _, path := range slices.Sorted(maps.Keys(b)) {
		if _, ok := a[path]; !ok {
			differences = append(differences, fmt.Sprintf("%q is new", path))
		}
	}
	return differences
}

// compareFiles compares the contents of two files of the same size.
func compareFiles(t testing.TB, want, got string) string {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(want, &st); err != nil {
		t.Fatal(err)
	}
	wantData, wantHash, err := contents(want, st.Size)
	if err != nil {
		t.Fatal(err)
	}
	gotData, gotHash, err := contents(got, st.Size)
	if err != nil {
		t.Fatal(err)
	}
	if wantHash != gotHash {
		return "bytes differ"
	}
	return filled(wantData, gotData, st.Size)
}

// scan describes every item of a tree by path.
func scan(t testing.TB, root string) map[string]map[string]string {
	t.Helper()
	items := map[string]map[string]string{}
	first := map[[2]uint64]string{}
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT == unix.S_IFSOCK {
			return nil
		}
		item, err := describe(path, &st)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if st.Nlink > 1 && st.Mode&unix.S_IFMT != unix.S_IFDIR {
			id := [2]uint64{st.Dev, st.Ino}
			if _, ok := first[id]; !ok {
				first[id] = name
			}
			item["first name"] = first[id]
		}
		items[name] = item
		return nil
	})
	if err != nil {
		t.Fatalf("scan %s: %v", root, err)
	}
	return items
}

func describe(path string, st *unix.Stat_t) (map[string]string, error) {
	item := map[string]string{
		"mode":  fmt.Sprintf("%o", st.Mode),
		"owner": fmt.Sprintf("%d:%d", st.Uid, st.Gid),
		"mtime": fmt.Sprintf("%d.%09d", st.Mtim.Sec, st.Mtim.Nsec),
	}
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		item["target"], err = os.Readlink(path)
	case unix.S_IFCHR, unix.S_IFBLK:
		item["device"] = fmt.Sprint(st.Rdev)
	case unix.S_IFREG:
		item["size"] = fmt.Sprint(st.Size)
	}
	if err != nil {
		return nil, err
	}
	return item, attributes(path, item)
}

func attributes(path string, item map[string]string) error {
	list := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, list)
	if err == unix.ENOTSUP {
		return nil
	}
	if err != nil {
		return err
	}
	for name := range strings.SplitSeq(string(bytes.TrimSuffix(list[:n], []byte{0})), "\x00") {
		if name == "" {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return err
		}
		item["attribute "+name] = fmt.Sprintf("%d bytes %x", n, sha256.Sum256(value[:n]))
	}
	return nil
}

// contents returns where the data of a file is, and a hash of those blocks of 4 KiB that are not zeros.
func contents(path string, size int64) (ranges []span, hash string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	h := sha256.New()
	for off := int64(0); off < size; {
		start, err := unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
		if err == unix.ENXIO {
			break
		}
		if err != nil {
			return nil, "", err
		}
		end, err := unix.Seek(int(f.Fd()), start, unix.SEEK_HOLE)
		if err != nil {
			return nil, "", err
		}
		ranges = append(ranges, span{start, end})
		if err := hashBlocks(h, f, start&^4095, end); err != nil {
			return nil, "", err
		}
		off = end
	}
	return ranges, fmt.Sprintf("%x", h.Sum(nil)), nil
}

func hashBlocks(h io.Writer, f io.ReaderAt, start, end int64) error {
	block, zero := make([]byte, 4096), make([]byte, 4096)
	for off := start; off < end; off += 4096 {
		n, err := f.ReadAt(block, off)
		if err != nil && err != io.EOF {
			return err
		}
		if !bytes.Equal(block[:n], zero[:n]) {
			fmt.Fprintf(h, "%d %x ", off, sha256.Sum256(block[:n]))
		}
	}
	return nil
}

// span is a range of a file that holds data.
type span struct{ start, end int64 }

// filled returns the first range of got that is a hole in want. A restore may leave out zeros, and small files may be
// filled.
func filled(want, got []span, size int64) string {
	if size <= 128<<10 {
		return ""
	}
	for _, g := range got {
		covered := g.start
		for _, w := range want {
			if w.start <= covered && covered < w.end {
				covered = w.end
			}
		}
		if covered < g.end {
			return fmt.Sprintf("data from %d to %d where there is a hole", covered, g.end)
		}
	}
	return ""
}
