package fs_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/blobtest"
	"github.com/lockfast/lockfast/blob/fs"
	"github.com/lockfast/lockfast/blob/fs/crashfs"
)

func TestConforms(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(t *testing.T) blob.Store { return openDir(t, t.TempDir()) })
}

func TestConforms_OnSimulatedDisk(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(t *testing.T) blob.Store { return open(t, crashfs.New()) })
}

func openDir(t *testing.T, root string) *fs.Store {
	t.Helper()
	s, err := fs.Open(root, fs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	return s
}

func put(t *testing.T, s blob.Store, name blob.Name, data string) {
	t.Helper()
	if err := s.Put(t.Context(), name, strings.NewReader(data), int64(len(data))); err != nil {
		t.Fatalf("Put(%s): %v", name, err)
	}
}

func names(t *testing.T, s blob.Store) []blob.Name {
	t.Helper()
	names := []blob.Name{}
	for info, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatalf("List: %v", err)
		}
		names = append(names, info.Name)
	}
	return names
}

func TestOpen_MissingRoot(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "not", "there")
	_, err := fs.Open(root, fs.Options{})
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), root) {
		t.Errorf("Open(%s) = %v, want an error that names it", root, err)
	}
	s, err := fs.Open(root, fs.Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	put(t, s, "a", "x")
	file := filepath.Join(root, "a")
	if _, err := fs.Open(file, fs.Options{Create: true}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("Open(%s) = %v, want an error that names it", file, err)
	}
}

func TestLayout_IsPlainFiles(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s, err := fs.Open(root, fs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "d/00/ab", "some bytes")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	err = filepath.Walk(root, func(path string, info os.FileInfo, err error) error {
		rel, _ := filepath.Rel(root, path)
		got[rel] = info.Mode().String()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	delete(got, ".")
	want := map[string]string{".tmp": "drwx------", "d": "drwx------", "d/00": "drwx------", "d/00/ab": "-r--------"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files after a Put and Close (-want +got):\n%s", diff)
	}
}

func TestForeignFiles_AreLeftAlone(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, dir := range []string{"lost+found", ".git", "Upper/lower", "d"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"lost+found/a", ".git/a", "Upper/lower/a", "README.md", "d/.nfs0001", "d/\xff"} {
		if err := os.WriteFile(filepath.Join(root, file), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := openDir(t, root)
	put(t, s, "d/a", "x")
	if diff := cmp.Diff([]blob.Name{"d/a"}, names(t, s)); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
}

func TestSymbolicLinks_NeverLeadOut(t *testing.T) {
	t.Parallel()
	root, outside := t.TempDir(), t.TempDir()
	secret := filepath.Join(outside, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	inside := openDir(t, root)
	put(t, inside, "real", "x")
	for link, target := range map[string]string{
		"file": secret, "dir": outside, "up": "..", "loop": "loop", "near": "real", "dangling": "nothing",
	} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(root, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []blob.Name{
		"file", "near", "dir", "dir/secret", "up/secret", "loop", "loop/a", "dangling", "fifo",
	} {
		if _, err := inside.Get(t.Context(), name, 0, -1); err == nil {
			t.Errorf("Get(%s) reads through a link or a FIFO", name)
		} else if name == "file" && !strings.Contains(err.Error(), filepath.Join(root, "file")) {
			t.Errorf("Get(%s) = %v, want the path named", name, err)
		}
		if _, err := inside.Stat(t.Context(), name); err == nil {
			t.Errorf("Stat(%s) looks through a link", name)
		}
	}
	for _, name := range []blob.Name{"file", "dangling", "dir/new", "up/new", "loop/new"} {
		if err := inside.Put(t.Context(), name, strings.NewReader("y"), 1); err == nil {
			t.Errorf("Put(%s) writes through a link", name)
		}
	}
	if err := inside.Delete(t.Context(), "dir/secret"); err == nil {
		t.Error("Delete(dir/secret) deletes through a link")
	}
	if got, err := os.ReadFile(secret); err != nil || string(got) != "secret" {
		t.Errorf("the file outside is now %q, %v", got, err)
	}
	var last error
	for _, err := range inside.List(t.Context(), "near") {
		last = err
	}
	if last == nil || !strings.Contains(last.Error(), "near") {
		t.Errorf("List of a link = %v, want an error that names it", last)
	}
}

func TestRoot_MayBeSymbolicLink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	put(t, openDir(t, link), "a", "x")
	if _, err := os.Stat(filepath.Join(dir, "a")); err != nil {
		t.Error(err)
	}
}

func TestPut_IntoRemovedDirectories(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s := openDir(t, root)
	put(t, s, "d/00/a", "x")
	if err := os.RemoveAll(filepath.Join(root, "d")); err != nil {
		t.Fatal(err)
	}
	put(t, s, "d/00/b", "y")
	if err := os.RemoveAll(filepath.Join(root, ".tmp")); err != nil {
		t.Fatal(err)
	}
	put(t, s, "d/00/c", "z")
	if diff := cmp.Diff([]blob.Name{"d/00/b", "d/00/c"}, names(t, s)); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
}

func TestGet_OfFileCutShortMeanwhile(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s := openDir(t, root)
	put(t, s, "a", strings.Repeat("x", 1000))
	r, err := s.Get(t.Context(), "a", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	file := filepath.Join(root, "a")
	if err := errors.Join(os.Chmod(file, 0o600), os.Truncate(file, 10)); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("reading a file that shrank = %d bytes, %v, want ErrUnexpectedEOF", len(got), err)
	}
}

func TestOpen_SweepsLeftoversOfDeadSessionsOnly(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	live := openDir(t, root)
	r, w := io.Pipe()
	result := make(chan error)
	go func() { result <- live.Put(t.Context(), "slow", r, 6) }()
	if _, err := w.Write([]byte("abc")); err != nil {
		t.Fatal(err)
	}
	dead := filepath.Join(root, ".tmp", "dead")
	if err := os.Mkdir(dead, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dead, "1"), []byte("part"), 0o400); err != nil {
		t.Fatal(err)
	}
	second := openDir(t, root)
	if _, err := os.Stat(dead); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Stat of the dead session = %v, want it gone", err)
	}
	if _, err := w.Write([]byte("def")); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if err := <-result; err != nil {
		t.Errorf("Put while another store was opened: %v", err)
	}
	put(t, second, "other", "x")
	if diff := cmp.Diff([]blob.Name{"other", "slow"}, names(t, live)); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
}

// counting counts and holds up the syncs of directories.
type counting struct {
	fs.System
	mu    sync.Mutex
	count map[string]int
	gate  chan struct{}
}

func (c *counting) SyncDir(path string) error {
	c.mu.Lock()
	c.count[path]++
	c.mu.Unlock()
	if path == "d" {
		<-c.gate
	}
	return c.System.SyncDir(path)
}

func TestPut_SharesDirectorySyncs(t *testing.T) {
	t.Parallel()
	disk := &counting{System: crashfs.New(), count: map[string]int{}, gate: make(chan struct{}, 100)}
	s := open(t, disk)
	const puts = 50
	linked := make(chan struct{}, puts)
	disk.System.(*crashfs.Disk).Fail(func(op, path string) error {
		if op == "link" {
			linked <- struct{}{}
		}
		return nil
	})
	var all sync.WaitGroup
	for i := range puts {
		all.Go(func() {
			name := blob.Name("d/" + string(rune('a'+i%26)) + string(rune('a'+i/26)))
			if err := s.Put(t.Context(), name, bytes.NewReader(nil), 0); err != nil {
				t.Error(err)
			}
		})
	}
	for range puts { // all have their names and wait for a sync, or are about to
		<-linked
	}
	close(disk.gate)
	all.Wait()
	if got := disk.count["d"]; got < 1 || got > puts/2 {
		t.Errorf("%d Puts took %d syncs of their directory, want a few", puts, got)
	}
	if got := len(slices.Compact(names(t, s))); got != puts {
		t.Errorf("%d names, want %d", got, puts)
	}
}
