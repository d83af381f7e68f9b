//go:build linux

package fs_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/fs"
)

// tmpfs mounts a file system of its own on a new directory.
func tmpfs(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("mount a tmpfs, which takes root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}

func TestPut_OnFullDisk(t *testing.T) {
	t.Parallel()
	root := tmpfs(t, "size=1m")
	s := openDir(t, root)
	data := strings.Repeat("x", 400<<10)
	put(t, s, "d/1", data)
	put(t, s, "d/2", data)
	for range 3 { // a failed Put gives its space back
		err := s.Put(t.Context(), "d/3", strings.NewReader(data), int64(len(data)))
		if !errors.Is(err, blob.ErrNoSpace) || !strings.Contains(err.Error(), root) {
			t.Fatalf("Put on a full disk = %v, want ErrNoSpace and the path", err)
		}
		put(t, s, "d/small", strings.Repeat("y", 150<<10))
		if err := s.Delete(t.Context(), "d/small"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Delete(t.Context(), "d/1"); err != nil {
		t.Errorf("Delete on a full disk: %v", err)
	}
	put(t, s, "d/3", data)
}

func TestPut_WithoutInodes(t *testing.T) {
	t.Parallel()
	s := openDir(t, tmpfs(t, "size=1m,nr_inodes=8"))
	var err error
	for i := 0; err == nil && i < 8; i++ {
		err = s.Put(t.Context(), blob.Name(fmt.Sprint(i)), strings.NewReader("x"), 1)
	}
	if !errors.Is(err, blob.ErrNoSpace) {
		t.Errorf("Put without a free inode = %v, want ErrNoSpace", err)
	}
	if err := s.Delete(t.Context(), "0"); err != nil {
		t.Errorf("Delete without a free inode: %v", err)
	}
}

func TestReadOnlyDisk(t *testing.T) {
	t.Parallel()
	root := tmpfs(t, "size=1m")
	put(t, openDir(t, root), "a", "x")
	if err := unix.Mount("none", root, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Mount("none", root, "tmpfs", unix.MS_REMOUNT, "")
	s, err := fs.Open(root, fs.Options{})
	if err != nil {
		t.Fatalf("Open of a read-only disk: %v", err)
	}
	defer s.Close()
	if r, err := s.Get(t.Context(), "a", 0, -1); err != nil {
		t.Errorf("Get from a read-only disk: %v", err)
	} else {
		r.Close()
	}
	err = s.Put(t.Context(), "b", strings.NewReader("x"), 1)
	if !errors.Is(err, blob.ErrPermission) || !strings.Contains(err.Error(), root) {
		t.Errorf("Put = %v, want ErrPermission and the path", err)
	}
	if err := s.Delete(t.Context(), "a"); !errors.Is(err, blob.ErrPermission) {
		t.Errorf("Delete = %v, want ErrPermission", err)
	}
}

// asNobody runs f without root's power over files, on a thread that ends with it.
func asNobody(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlock: the thread is not used again
		if os.Geteuid() == 0 {
			if _, err := unix.SetfsuidRetUid(65534); err != nil {
				panic(err)
			}
		}
		f()
	}()
	<-done
}

func TestPermissionDenied(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s := openDir(t, root)
	put(t, s, "d/a", "x")
	dir := filepath.Join(root, "d")
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(dir, 0o700)
	asNobody(func() {
		wants := func(call string, err error) {
			if !errors.Is(err, blob.ErrPermission) || !strings.Contains(err.Error(), root) {
				t.Errorf("%s = %v, want ErrPermission and the path", call, err)
			}
		}
		wants("Put", s.Put(t.Context(), "d/b", strings.NewReader("x"), 1))
		if os.Geteuid() != 0 {
			return // the rest needs files of someone else
		}
		_, err := s.Get(t.Context(), "d/a", 0, -1)
		wants("Get", err)
		_, err = s.Stat(t.Context(), "d/a")
		wants("Stat", err)
		wants("Delete", s.Delete(t.Context(), "d/a"))
		for _, err = range s.List(t.Context(), "") {
			break
		}
		wants("List", err)
	})
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if diff := len(names(t, s)); diff != 1 {
		t.Errorf("%d blobs afterwards, want 1", diff)
	}
}

// TestPut_KilledProcess kills a process that puts without end, at moments that are whatever they are, and looks at what
// it leaves.
func TestPut_KilledProcess(t *testing.T) {
	t.Parallel()
	var root string
	for round := range soak(t, 5) {
		if round%5 == 0 { // a few rounds meet what those before them left
			root = t.TempDir()
		}
		promised := putUntilKilled(t, root, round)
		s, err := fs.Open(root, fs.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if left, err := os.ReadDir(filepath.Join(root, ".tmp")); err != nil || len(left) > 0 {
			t.Errorf("Open left %v, %v in .tmp", left, err)
		}
		for _, name := range promised {
			if _, err := s.Stat(t.Context(), blob.Name(name)); err != nil {
				t.Errorf("blob that was put is gone: %v", err)
			}
		}
		found, err := all(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		for name, data := range found {
			if !bytes.Equal(data, killedData(string(name))) {
				t.Errorf("%s is partial: %d bytes", name, len(data))
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func killedData(name string) []byte { return bytes.Repeat([]byte(name), 20_000) }

// putUntilKilled returns the names whose Put had returned.
func putUntilKilled(t *testing.T, root string, round int) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestHelperPutForever$")
	cmd.Env = append(os.Environ(), "BLOB_FS_PUT_FOREVER="+root, fmt.Sprintf("BLOB_FS_ROUND=%d", round))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var names []string
	lines := bufio.NewScanner(out)
	for len(names) < 10+7*(round%5) && lines.Scan() {
		names = append(names, lines.Text())
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait() // killed
	if len(names) == 0 {
		t.Fatal("the helper put nothing")
	}
	return names
}

// TestHelperPutForever is the process that is killed, not a test.
func TestHelperPutForever(t *testing.T) {
	root := os.Getenv("BLOB_FS_PUT_FOREVER")
	if root == "" {
		t.Skip("runs only as a child of TestPut_KilledProcess")
	}
	s, err := fs.Open(root, fs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	lines := make(chan string)
	for w := range 3 {
		go func() {
			for i := 0; ; i++ {
				name := fmt.Sprintf("d/%02d/%s-%d-%d", i%3, os.Getenv("BLOB_FS_ROUND"), w, i)
				data := killedData(name)
				if err := s.Put(t.Context(), blob.Name(name), bytes.NewReader(data), int64(len(data))); err != nil {
					panic(err)
				}
				lines <- name
			}
		}()
	}
	for {
		if _, err := fmt.Println(<-lines); err != nil {
			return // the parent is gone
		}
	}
}

func BenchmarkPut(b *testing.B) {
	s, err := fs.Open(b.TempDir(), fs.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for _, size := range []int{4 << 10, 32 << 20} {
		b.Run(fmt.Sprint(size>>10, "KiB"), func(b *testing.B) {
			data := bytes.Repeat([]byte("0123456789abcdef"), size/16)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				name := blob.Name(fmt.Sprintf("d/%02x/%d-%d", i%256, size, i))
				if err := s.Put(b.Context(), name, bytes.NewReader(data), int64(size)); err != nil {
					b.Fatal(err)
				}
				i++
				if err := s.Delete(b.Context(), name); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
