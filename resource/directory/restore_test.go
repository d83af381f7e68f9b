package directory_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/resource"
	"github.com/lockfast/lockfast/resource/directory"
	"github.com/lockfast/lockfast/resource/resourcetest"
	"golang.org/x/sys/unix"
)

func TestRestore_Items(t *testing.T) {
	t.Parallel()
	v, root := resourcetest.NewVault(t), t.TempDir()
	write(t, root+"/a/b/one", "1")
	write(t, root+"/a/b/two", strings.Repeat("2", 5000))
	write(t, root+"/a/b.txt", "beside")
	write(t, root+"/a/c/three", "3")
	write(t, root+"/z", "last")
	must(t, os.Link(root+"/a/b/two", root+"/links"))
	must(t, os.Link(root+"/a/b/two", root+"/links2"))
	must(t, os.Chmod(root+"/a", 0o2750))
	must(t, os.Chtimes(root+"/a", time.Unix(1, 2), time.Unix(3, 4)))
	id, _ := capture(t, v, settled(), root, "")
	for name, c := range map[string]struct {
		items, paths, missing []string
	}{
		"one file":              {items: []string{"a/b/one"}, paths: []string{".", "a", "a/b", "a/b/one"}},
		"directory":             {items: []string{"/a/b/"}, paths: []string{".", "a", "a/b", "a/b/one", "a/b/two"}},
		"name that is a prefix": {items: []string{"a/b.txt"}, paths: []string{".", "a", "a/b.txt"}},
		"overlapping": {
			items: []string{"z", "a/b/one", "a/b", "z", "a/c/three"},
			paths: []string{".", "a", "a/b", "a/b/one", "a/b/two", "a/c", "a/c/three", "z"},
		},
		"later names of a file": {items: []string{"links2", "links"}, paths: []string{".", "links", "links2"}},
		"missing": {
			items: []string{"z", "A/b", "a/b/*", "a/b/one/x"}, paths: []string{".", "z"},
			missing: []string{"A/b", "a/b/*", "a/b/one/x"},
		},
		"root": {items: []string{"/"}, paths: []string{".", "a", "a/b", "a/b/one", "a/b/two", "a/b.txt", "a/c", "a/c/three", "links", "links2", "z"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var items [][]byte
			for _, i := range c.items {
				items = append(items, []byte(i))
			}
			o := restoreItems(t, v, id, items)
			var paths, missing []string
			must(t, filepath.WalkDir(o.Path, func(path string, _ os.DirEntry, err error) error {
				rel, _ := filepath.Rel(o.Path, path)
				paths = append(paths, rel)
				return err
			}))
			for _, m := range o.Missing {
				missing = append(missing, string(m))
			}
			if diff := cmp.Diff([][]string{c.paths, c.missing}, [][]string{paths, missing}); diff != "" {
				t.Errorf("restored and missing (-want +got):\n%s", diff)
			}
			if o.Items != int64(len(paths)) {
				t.Errorf("Items = %d, want %d", o.Items, len(paths))
			}
			for _, d := range resourcetest.CompareTrees(t, root, o.Path) {
				if !strings.HasSuffix(d, "is missing") && !strings.Contains(d, "first name") {
					t.Error(d)
				}
			}
			if len(paths) == 3 && paths[1] == "links" {
				a, b := lstat(t, o.Path+"/links"), lstat(t, o.Path+"/links2")
				if a.Ino != b.Ino || a.Nlink != 2 {
					t.Error("links are not one file")
				}
			}
		})
	}
}

func lstat(t *testing.T, path string) unix.Stat_t {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Lstat(path, &st))
	return st
}

func TestRestore_BadItems(t *testing.T) {
	t.Parallel()
	v := resourcetest.NewVault(t)
	id := forge(t, v, dir(""), file("a", "x"))
	for _, item := range []string{"../a", "a/..", "a\x00", "nothing"} {
		target := t.TempDir()
		_, err := settled().Restore(t.Context(), resource.Restore{
			Point: resourcetest.OpenPoint(t, v, id), Directory: target, Name: "r", Items: [][]byte{[]byte(item)},
		})
		if err == nil || !strings.Contains(err.Error(), directory.Display([]byte(item))) {
			t.Errorf("Restore(%q) = %v, want an error that names it", item, err)
		}
		empty(t, target)
	}
}

func empty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		t.Errorf("%s is left in the target", e.Name())
	}
}

// TestRestore_Attacks restores recovery points that try to write elsewhere.
func TestRestore_Attacks(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	write(t, outside+"/victim", "untouched")
	device := entry{"d", directory.Info{Type: directory.File, Nlink: 1, Mode: 0o644}, ""}
	device.info.LinkTarget = []byte("x")
	for name, entries := range map[string][]entry{
		"dot dot":               {dir(""), file("..", "x")},
		"dot dot below":         {dir(""), dir("a"), dir("a\x00.."), file("a\x00..\x00b", "x")},
		"dot":                   {dir(""), file(".", "x")},
		"slash":                 {dir(""), file("a/b", "x")},
		"absolute":              {dir(""), file(outside+"/victim", "x")},
		"empty name":            {dir(""), dir("a"), file("a\x00", "x")},
		"empty first name":      {dir(""), file("\x00a", "x")},
		"link, then file below": {dir(""), link("a", outside), file("a\x00victim", "x")},
		"link, then dir below":  {dir(""), link("a", outside), dir("a\x00b"), file("a\x00b\x00c", "x")},
		"file below a file":     {dir(""), file("a", "x"), file("a\x00b", "x")},
		"no directory":          {dir(""), file("a\x00b", "x")},
		"no root":               {file("a", "x")},
		"root is a link":        {link("", outside), file("victim", "x")},
		"root is a file":        {file("", "x")},
		"name too long":         {dir(""), file(strings.Repeat("n", 256), "x")},
		"file with a target":    {dir(""), device},
		"empty recovery point":  {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, target := resourcetest.NewVault(t), t.TempDir()
			p := resourcetest.OpenPoint(t, v, forge(t, v, entries...))
			_, err := settled().Restore(t.Context(), resource.Restore{Point: p, Directory: target, Name: "r"})
			if err == nil || name != "name too long" && !errors.Is(err, resource.ErrMalformed) {
				t.Errorf("Restore = %v, want ErrMalformed", err)
			}
			empty(t, target)
		})
	}
	t.Cleanup(func() {
		got, err := os.ReadFile(outside + "/victim")
		if err != nil || string(got) != "untouched" {
			t.Errorf("victim is %q, %v", got, err)
		}
	})
}

// TestRestore_ForgedHardLinks gives different things one inode number.
func TestRestore_ForgedHardLinks(t *testing.T) {
	t.Parallel()
	v := resourcetest.NewVault(t)
	numbered := func(e entry) entry {
		e.info.Nlink, e.info.Inode = 3, 7
		return e
	}
	id := forge(t, v, dir(""), numbered(link("a", "/etc/passwd")), numbered(file("b", "x")), numbered(dir("c")), file("c\x00d", "y"))
	path := restored(t, v, id)
	if st := lstat(t, path+"/b"); st.Mode&unix.S_IFMT != unix.S_IFLNK {
		t.Errorf("b has mode %o, want the link it was said to be", st.Mode)
	}
	if got, err := os.ReadFile(path + "/c/d"); err != nil || string(got) != "y" {
		t.Errorf("c/d = %q, %v", got, err)
	}
}

func TestRestore_Into(t *testing.T) {
	t.Parallel()
	v, root := resourcetest.NewVault(t), t.TempDir()
	resourcetest.MakeTree(t, root)
	id, _ := capture(t, v, settled(), root, "")
	broken := forge(t, v, dir(""), dir("a"), file("a\x00b", "x"), file("b\x00c", "x"))
	into := func(id repo.PointID, path string) error {
		_, err := settled().Restore(t.Context(), resource.Restore{Point: resourcetest.OpenPoint(t, v, id), Into: path})
		return err
	}
	base := t.TempDir()
	must(t, into(id, base+"/absent"))
	same(t, root, base+"/absent")
	must(t, os.Mkdir(base+"/empty", 0o777))
	must(t, into(id, base+"/empty/"))
	same(t, root, base+"/empty")
	if err := into(id, base+"/empty"); !errors.Is(err, resource.ErrExist) {
		t.Errorf("Restore into a full directory = %v, want ErrExist", err)
	}
	same(t, root, base+"/empty")
	write(t, base+"/file", "x")
	if err := into(id, base+"/file"); !errors.Is(err, resource.ErrWrongKind) {
		t.Errorf("Restore into a file = %v, want ErrWrongKind", err)
	}
	if err := into(id, base+"/no/such"); !errors.Is(err, resource.ErrNotFound) {
		t.Errorf("Restore into a missing directory's = %v, want ErrNotFound", err)
	}
	must(t, os.Mkdir(base+"/keep", 0o751))
	for _, name := range []string{"keep", "gone"} {
		if err := into(broken, filepath.Join(base, name)); !errors.Is(err, resource.ErrMalformed) {
			t.Errorf("Restore of a malformed point = %v, want ErrMalformed", err)
		}
	}
	empty(t, base+"/keep")
	if st := lstat(t, base+"/keep"); st.Mode&0o7777 != 0o751 {
		t.Errorf("mode of the directory given is %o after a failure, want 751", st.Mode&0o7777)
	}
	if _, err := os.Lstat(base + "/gone"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("directory made for a failed restore is left: %v", err)
	}
}

// TestRestore_InheritedACL restores below a directory that passes an ACL and its group on.
func TestRestore_InheritedACL(t *testing.T) {
	t.Parallel()
	v, root, target := resourcetest.NewVault(t), t.TempDir(), t.TempDir()
	write(t, root+"/dir/file", "x")
	must(t, os.MkdirAll(root+"/dir/sub", 0o755))
	id, _ := capture(t, v, settled(), root, "")
	acl := "\x02\x00\x00\x00\x01\x00\x07\x00\xff\xff\xff\xff\x02\x00\x07\x00\xd2\x04\x00\x00\x04\x00\x07\x00\xff\xff\xff\xff" +
		"\x10\x00\x07\x00\xff\xff\xff\xff\x20\x00\x07\x00\xff\xff\xff\xff"
	if err := unix.Setxattr(target, "system.posix_acl_default", []byte(acl), 0); err != nil {
		t.Skipf("no ACLs here: %v", err)
	}
	if os.Geteuid() == 0 {
		must(t, os.Chown(target, 0, 1234))
	}
	must(t, unix.Chmod(target, 0o2775))
	o := resourcetest.Restore(t, v, settled(), id, resource.Restore{Directory: target, Name: "r"})
	same(t, root, o.Path)
}

func TestRestore_FullDisk(t *testing.T) {
	t.Parallel()
	target := filepath.Join(t.TempDir(), "small")
	mount(t, target, "size=4m,nr_inodes=1000")
	v, root := resourcetest.NewVault(t), t.TempDir()
	random := make([]byte, 64<<10)
	for i := range 200 {
		for j := range random {
			random[j] = byte(rand.Uint32())
		}
		write(t, fmt.Sprintf("%s/%d/file", root, i), string(random))
	}
	id, _ := capture(t, v, settled(), root, "")
	_, err := settled().Restore(t.Context(), resource.Restore{
		Point: resourcetest.OpenPoint(t, v, id), Directory: target, Name: "r",
	})
	if !errors.Is(err, resource.ErrNoSpace) || !strings.Contains(err.Error(), target+"/r") {
		t.Errorf("Restore = %v, want ErrNoSpace that names the target", err)
	}
	empty(t, target)
}

// TestRestore_Interrupted cancels restores after some progress.
func TestRestore_Interrupted(t *testing.T) {
	t.Parallel()
	v, root := resourcetest.NewVault(t), t.TempDir()
	for i := range 3000 {
		write(t, fmt.Sprintf("%s/%d/%d", root, i%50, i), strings.Repeat("x", i))
	}
	id, _ := capture(t, v, settled(), root, "")
	target := t.TempDir()
	for i := range soak(8, 20) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+i*5)*time.Millisecond)
		_, err := settled().Restore(ctx, resource.Restore{
			Point: resourcetest.OpenPoint(t, v, id), Directory: target, Name: "r",
		})
		cancel()
		if err == nil {
			same(t, root, target+"/r")
			must(t, os.RemoveAll(target+"/r"))
		} else if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Restore = %v, want DeadlineExceeded", err)
		}
		empty(t, target)
	}
}

func TestSweep(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	deep := base + "/.mine.partial"
	for range 300 {
		deep += "/d"
	}
	write(t, deep+"/file", "x")
	write(t, base+"/.aws-backup-restore_2026.partial/file", "x")
	write(t, base+"/.somebody.partial/file", "x")
	must(t, os.Symlink("/etc", base+"/.link.partial"))
	held, err := os.Open(base + "/.aws-backup-restore_2026.partial")
	must(t, err)
	must(t, unix.Flock(int(held.Fd()), unix.LOCK_EX))
	if n, err := directory.Sweep(t.Context(), base, nil); n != 0 || !errors.Is(err, resource.ErrExist) {
		t.Errorf("Sweep of one in use = %d, %v, want 0 and ErrExist", n, err)
	}
	held.Close()
	if n, err := directory.Sweep(t.Context(), base, []string{"mine", "other", "link", "../x"}); n != 1 || err != nil {
		t.Errorf("Sweep = %d, %v, want 1", n, err)
	}
	if n, err := directory.Sweep(t.Context(), base, nil); n != 1 || err != nil {
		t.Errorf("Sweep = %d, %v, want 1", n, err)
	}
	entries, err := os.ReadDir(base)
	must(t, err)
	if len(entries) != 2 || entries[0].Name() != ".link.partial" || entries[1].Name() != ".somebody.partial" {
		t.Errorf("left are %v, want only what no restore has left", entries)
	}
	if n, err := directory.Sweep(t.Context(), base+"/missing", nil); n != 0 || err != nil {
		t.Errorf("Sweep of a missing directory = %d, %v", n, err)
	}
}

// TestRestore_LeftoverOfKilledRestore restores under the name that a killed restore had.
func TestRestore_LeftoverOfKilledRestore(t *testing.T) {
	t.Parallel()
	v, target := resourcetest.NewVault(t), t.TempDir()
	id := forge(t, v, dir(""), file("a", "x"))
	write(t, target+"/.r.partial/old/file", "x")
	o := resourcetest.Restore(t, v, settled(), id, resource.Restore{Directory: target, Name: "r"})
	if _, err := os.Lstat(o.Path + "/old"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("leftover shows in the restored directory: %v", err)
	}
}

// TestRestore_ManyOfOneName starts restores under the same name at the same moment. Each is whole, or is told to take
// another name.
func TestRestore_ManyOfOneName(t *testing.T) {
	t.Parallel()
	v, target := resourcetest.NewVault(t), t.TempDir()
	id := forge(t, v, dir(""), file("a", "x"))
	for round := range 100 {
		name := fmt.Sprint("r", round)
		errs := make([]error, 4)
		var wg sync.WaitGroup
		for i := range errs {
			point := resourcetest.OpenPoint(t, v, id)
			wg.Go(func() {
				_, errs[i] = settled().Restore(t.Context(), resource.Restore{Point: point, Directory: target, Name: name})
			})
		}
		wg.Wait()
		made := 0
		for _, err := range errs {
			switch {
			case err == nil:
				made++
			case !errors.Is(err, resource.ErrExist):
				t.Errorf("Restore = %v, want ErrExist", err)
			}
		}
		if _, err := os.Lstat(target + "/" + name + "/a"); made > 1 || (err == nil) != (made == 1) {
			t.Errorf("%d restores completed under one name; looking for its file: %v", made, err)
		}
		if _, err := os.Lstat(target + "/." + name + ".partial"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a restore has left something: %v", err)
		}
	}
}
