package directory_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/resource"
	"github.com/lockfast/lockfast/resource/directory"
	"github.com/lockfast/lockfast/resource/resourcetest"
	"golang.org/x/sys/unix"
)

func TestCapture_WhatChangedJustNowIsReadAgain(t *testing.T) {
	t.Parallel()
	v, root := resourcetest.NewVault(t), t.TempDir()
	write(t, root+"/file", strings.Repeat("x", 2000))
	now := directory.New(directory.Options{})
	first, _ := capture(t, v, now, root, "")
	if i, _ := info(t, v, first, "file"); !i.Racy {
		t.Error("a file written just now is not marked racy")
	}
	second, report := capture(t, v, settled(), root, first)
	if report.BytesRead != 2000 {
		t.Errorf("racy file: read %d bytes, want 2000", report.BytesRead)
	}
	if i, _ := info(t, v, second, "file"); i.Racy {
		t.Error("a file that was read long after it was written is marked racy")
	}
	if _, report = capture(t, v, now, root, second); report.BytesRead != 0 {
		t.Errorf("settled file: read %d bytes, want 0", report.BytesRead)
	}
}

func TestCapture_ForgedTime(t *testing.T) {
	t.Parallel()
	v, root := resourcetest.NewVault(t), t.TempDir()
	write(t, root+"/file", "before")
	st, err := os.Stat(root + "/file")
	must(t, err)
	first, _ := capture(t, v, settled(), root, "")
	write(t, root+"/file", "after!")
	must(t, os.Chtimes(root+"/file", st.ModTime(), st.ModTime()))
	second, _ := capture(t, v, settled(), root, first)
	same(t, root, restored(t, v, second))
}

// TestCapture_RenamedDirectoryOfLinks moves the first name of a file away without touching its inode.
func TestCapture_RenamedDirectoryOfLinks(t *testing.T) {
	t.Parallel()
	v, root := resourcetest.NewVault(t), t.TempDir()
	write(t, root+"/a/file", strings.Repeat("linked ", 1000))
	must(t, os.Mkdir(root+"/b", 0o755))
	must(t, os.Link(root+"/a/file", root+"/b/file"))
	id, _ := capture(t, v, settled(), root, "")
	for _, rename := range [][2]string{{"a", "c"}, {"b", "a"}, {"c", "0"}} {
		must(t, os.Rename(filepath.Join(root, rename[0]), filepath.Join(root, rename[1])))
		id, _ = capture(t, v, settled(), root, id)
		same(t, root, restored(t, v, id))
	}
}

func TestCapture_FileThatChangesWhileItIsRead(t *testing.T) {
	t.Parallel()
	v, root := resourcetest.NewVault(t), t.TempDir()
	write(t, root+"/a", "before it")
	const size = 96 << 20 // so that reading it takes long, also for whoever changes it on a busy machine
	write(t, root+"/log", strings.Repeat("0123456789abcdef", size/16))
	write(t, root+"/z", "after it")
	stop, started := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	change := func() {
		f, err := os.OpenFile(root+"/log", os.O_RDWR, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			f.WriteAt([]byte{byte(i)}, int64(i*4099%(1<<20)))
			if i%7 == 0 {
				f.Truncate(int64(size - 1<<20 + i%1000*1024))
			}
			if i == 10 {
				started <- struct{}{}
			}
		}
	}
	for range 2 {
		wg.Go(change)
	}
	<-started
	<-started
	id, report := capture(t, v, settled(), root, "")
	close(stop)
	wg.Wait()
	want := "\"log\" true changed while it was read; stored as last read\n"
	if got := reasons(report.Skipped); got != want {
		t.Errorf("reported %q, want %q", got, want)
	}
	if reads := float64(report.BytesRead) / size; reads < 3.5 || reads > 4.5 {
		t.Errorf("read %d bytes, %.1f times the file, want it read once and then again three times", report.BytesRead, reads)
	}
	i, content := info(t, v, id, "log")
	if !i.Changed || content.Size < 1<<20 {
		t.Errorf("stored with Changed = %v and %d bytes, want true and at least 1 MiB", i.Changed, content.Size)
	}
	second, again := capture(t, v, settled(), root, id)
	if len(again.Skipped) > 0 || again.BytesRead < 1<<20 {
		t.Errorf("next capture read %d bytes and skipped %v, want the file read again", again.BytesRead, again.Skipped)
	}
	same(t, root, restored(t, v, second))
}

// TestCapture_BusyTree makes and removes files, directories and links under the walk.
func TestCapture_BusyTree(t *testing.T) {
	t.Parallel()
	v, root := resourcetest.NewVault(t), t.TempDir()
	for i := range 200 {
		write(t, fmt.Sprintf("%s/still/%03d", root, i), strings.Repeat("still ", i))
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for n := range 2 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				path := fmt.Sprintf("%s/busy%d/%d", root, i%20, n)
				switch i % 4 {
				case 0:
					os.MkdirAll(path, 0o755)
				case 1:
					os.WriteFile(path+"/file", make([]byte, i%3000), 0o644)
				case 2:
					os.Symlink("/", path+"/link")
				default:
					os.RemoveAll(filepath.Dir(path))
				}
			}
		})
	}
	var id repo.PointID
	for range soak(10, 100) {
		id, _ = capture(t, v, settled(), root, id)
	}
	close(stop)
	wg.Wait()
	same(t, root+"/still", restored(t, v, id)+"/still")
	id, report := capture(t, v, settled(), root, id)
	if len(report.Skipped) > 0 || report.Vanished > 0 {
		t.Errorf("quiet tree: skipped %v, %d vanished", report.Skipped, report.Vanished)
	}
	same(t, root, restored(t, v, id))
}

func TestCapture_RootThatCannotBeCaptured(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir+"/file", "")
	must(t, unix.Mkfifo(dir+"/fifo", 0o644))
	for path, want := range map[string]error{
		dir + "/missing": resource.ErrNotFound, dir + "/file": resource.ErrWrongKind, dir + "/fifo": resource.ErrWrongKind,
		dir + "/file/x": resource.ErrWrongKind, "relative": resource.ErrNotFound,
	} {
		if _, err := settled().Probe(t.Context(), at(path)); !errors.Is(err, want) || !strings.Contains(err.Error(), path) {
			t.Errorf("Probe(%s) = %v, want %v with the path", path, err, want)
		}
		if _, err := settled().Capture(t.Context(), resource.Capture{Resource: at(path)}); !errors.Is(err, want) {
			t.Errorf("Capture(%s) = %v, want %v", path, err, want)
		}
	}
}

func TestCapture_Socket(t *testing.T) {
	t.Parallel()
	v := resourcetest.NewVault(t)
	root, err := os.MkdirTemp("", "s") // the path of a socket is short
	must(t, err)
	defer os.RemoveAll(root)
	l, err := net.Listen("unix", root+"/socket")
	must(t, err)
	defer l.Close()
	id, _ := capture(t, v, settled(), root, "")
	if i, _ := info(t, v, id, "socket"); i.Type != directory.Socket {
		t.Errorf("type = %v, want socket", i.Type)
	}
	o := restoreItems(t, v, id, nil)
	if got, want := reasons(o.Skipped), "\"socket\" false sockets are not restored\n"; got != want {
		t.Errorf("restore reported %q, want %q", got, want)
	}
}

// TestCapture_LargeAttributes stores values beside the entry, on a file system that allows them.
func TestCapture_LargeAttributes(t *testing.T) {
	t.Parallel()
	root, err := os.MkdirTemp("/dev/shm", "lockfast")
	if err != nil {
		t.Skipf("no tmpfs to try it on: %v", err)
	}
	defer os.RemoveAll(root)
	for _, path := range []string{root + "/dir", root + "/dir2"} {
		must(t, os.Mkdir(path, 0o755))
	}
	write(t, root+"/file", "text")
	for _, path := range []string{root + "/file", root + "/dir"} {
		for i, size := range []int{4096, 4097, 65536, 50_000} {
			value := []byte(strings.Repeat(fmt.Sprint(i), size))
			if err := unix.Setxattr(path, fmt.Sprintf("user.%d", i), value, 0); err != nil {
				t.Skipf("tmpfs does not take large attributes: %v", err)
			}
		}
	}
	v := resourcetest.NewVault(t)
	first, _ := capture(t, v, settled(), root, "")
	second, _ := capture(t, v, settled(), root, first)
	for _, id := range []repo.PointID{first, second} {
		target, err := os.MkdirTemp("/dev/shm", "lockfast")
		must(t, err)
		defer os.RemoveAll(target)
		o := resourcetest.Restore(t, v, settled(), id, resource.Restore{Into: target})
		same(t, root, o.Path)
	}
}

func TestCapture_OtherFileSystem(t *testing.T) {
	t.Parallel()
	v, root := resourcetest.NewVault(t), t.TempDir()
	write(t, root+"/file", "here")
	mount(t, root+"/mnt", "")
	write(t, root+"/mnt/file", "there")
	id, report := capture(t, v, settled(), root, "")
	want := "\"mnt\" true mount point of another file system, not crossed\n"
	if got := reasons(report.Skipped); got != want || report.Items != 3 {
		t.Errorf("%d items, reported %q, want 3 and %q", report.Items, got, want)
	}
	if entries, err := os.ReadDir(restored(t, v, id) + "/mnt"); err != nil || len(entries) > 0 {
		t.Errorf("mount point was restored with %v, %v, want an empty directory", entries, err)
	}
	cross := directory.New(directory.Options{Now: later, CrossMounts: true})
	id, report = capture(t, v, cross, root, id)
	if report.Items != 4 || len(report.Skipped) > 0 {
		t.Errorf("crossing: %d items, skipped %v, want 4 and none", report.Items, report.Skipped)
	}
	same(t, root, restored(t, v, id))
}

// mount mounts a small file system until the end of the test.
func mount(t *testing.T, path, options string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount")
	}
	must(t, os.MkdirAll(path, 0o755))
	if err := unix.Mount("none", path, "tmpfs", 0, options); err != nil {
		t.Skipf("cannot mount: %v", err)
	}
	t.Cleanup(func() { must(t, unix.Unmount(path, unix.MNT_DETACH)) })
}

func TestCapture_DeepTree(t *testing.T) {
	t.Parallel()
	v, root := resourcetest.NewVault(t), t.TempDir()
	const depth = 4096
	fd, err := unix.Open(root, unix.O_DIRECTORY|unix.O_PATH, 0)
	must(t, err)
	for range depth {
		must(t, unix.Mkdirat(fd, "d", 0o755))
		next, err := unix.Openat(fd, "d", unix.O_DIRECTORY|unix.O_PATH, 0)
		must(t, err)
		unix.Close(fd)
		fd = next
	}
	f, err := unix.Openat(fd, "bottom", unix.O_CREAT|unix.O_WRONLY, 0o640)
	must(t, err)
	_, err = unix.Write(f, []byte(strings.Repeat("deep ", 1000)))
	must(t, err)
	unix.Close(f)
	unix.Close(fd)
	first, report := capture(t, v, settled(), root, "")
	if report.Items != depth+2 || len(report.Skipped) > 0 {
		t.Errorf("%d items, skipped %v, want %d and none", report.Items, report.Skipped, depth+2)
	}
	_, report = capture(t, v, settled(), root, first)
	if report.BytesRead != 0 {
		t.Errorf("unchanged: read %d bytes", report.BytesRead)
	}
	copied := restored(t, v, first)
	second, report := capture(t, v, settled(), copied, "")
	if report.Items != depth+2 {
		t.Errorf("restored %d items, want %d", report.Items, depth+2)
	}
	bottom := strings.Repeat("d/", depth) + "bottom"
	a, ac := info(t, v, first, bottom)
	b, bc := info(t, v, second, bottom)
	if a.ModTime != b.ModTime || a.Mode != b.Mode || ac.Size != bc.Size {
		t.Errorf("bottom restored as %+v, want %+v", b, a)
	}
	item := restoreItems(t, v, first, [][]byte{[]byte(bottom)})
	if item.Items != depth+2 || len(item.Missing) > 0 {
		t.Errorf("item restore made %d items, missing %v, want %d", item.Items, item.Missing, depth+2)
	}
}

func TestCapture_ManyEntriesInOneDirectory(t *testing.T) {
	t.Parallel()
	v, root := resourcetest.NewVault(t), t.TempDir()
	n := soak(50_000, 20)
	fd, err := unix.Open(root, unix.O_DIRECTORY, 0)
	must(t, err)
	defer unix.Close(fd)
	for i := range n {
		f, err := unix.Openat(fd, fmt.Sprintf("entry-%07d", i*7919%n), unix.O_CREAT|unix.O_WRONLY, 0o644)
		must(t, err)
		unix.Close(f)
	}
	start := time.Now()
	first, report := capture(t, v, settled(), root, "")
	if report.Items != int64(n+1) {
		t.Errorf("%d items, want %d", report.Items, n+1)
	}
	t.Logf("first: %v", time.Since(start))
	start = time.Now()
	must(t, os.Remove(root+"/entry-0000007"))
	second, report := capture(t, v, settled(), root, first)
	if report.Items != int64(n) {
		t.Errorf("%d items after one was removed, want %d", report.Items, n)
	}
	t.Logf("second: %v", time.Since(start))
	start = time.Now()
	copied := restored(t, v, second)
	t.Logf("restore: %v", time.Since(start))
	if n <= 50_000 {
		same(t, root, copied)
	}
	if _, report = capture(t, v, settled(), copied, ""); report.Items != int64(n) {
		t.Errorf("restored %d items, want %d", report.Items, n)
	}
}

func TestCapture_NamesOfOwners(t *testing.T) {
	t.Parallel()
	v, root := resourcetest.NewVault(t), t.TempDir()
	write(t, root+"/file", "")
	id, userName, groupName := own(t, root+"/file")
	_, report := capture(t, v, settled(), root, "")
	owners := directory.Owners(report.Metadata)
	for _, is := range [][3]string{
		{"owner." + id, report.Metadata["owner."+id], userName},
		{"group." + id, report.Metadata["group."+id], groupName},
		{"User", owners.User(number(t, id)), userName},
		{"Group", owners.Group(number(t, id)), groupName},
		{"unknown user", owners.User(4_000_000_000), "4000000000"},
		{"unknown group", owners.Group(4_000_000_000), "4000000000"},
	} {
		if is[1] != is[2] {
			t.Errorf("%s = %q, want %q", is[0], is[1], is[2])
		}
	}
}

// own gives the file to a user and a group of the same number with different names here, and returns all three. A
// process that is not root leaves it as it is.
func own(t *testing.T, path string) (id, userName, groupName string) {
	t.Helper()
	for n := range 1000 {
		if os.Geteuid() != 0 {
			n = os.Geteuid()
		}
		id = strconv.Itoa(n)
		u, err := user.LookupId(id)
		if err != nil {
			continue
		}
		g, err := user.LookupGroupId(id)
		if err != nil {
			continue
		}
		if os.Geteuid() != 0 {
			return id, u.Username, g.Name
		}
		if u.Username != g.Name {
			must(t, os.Chown(path, n, n))
			return id, u.Username, g.Name
		}
	}
	t.Skip("no user and group of the same number here")
	return "", "", ""
}

func number(t *testing.T, id string) uint32 {
	t.Helper()
	n, err := strconv.ParseUint(id, 10, 32)
	must(t, err)
	return uint32(n)
}
