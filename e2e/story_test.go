package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// story is the main job, which every client goes through: it backs a directory up, changes it with change.sh, backs it up
// again, looks at all that can be listed, tags the first recovery point, gives the second a lifecycle, restores, and
// deletes the first. It moves each directory that a restore makes to a name in restored. The test compares them.
type story struct {
	data     string // the directory to protect
	arn      string // its ARN
	vault    string // the vault to make and, in the end, to delete
	first    string // a copy of data as it was for the first backup
	second   string // where change.sh copies what the second one is to capture
	item     string // the file below data to restore alone, changed between the backups
	restored string // where the client moves to what it restores: first, second, item and, after the reclaim, again
}

// client runs one part of a story: "work", which ends with the deletion of the first recovery point, or "end", which
// restores the second again and deletes it and the vault.
type client func(t *testing.T, y *story, part string)

// goneSize is what only the first recovery point of a story needs.
const goneSize = 2 << 20

func TestStory_Boto3(t *testing.T) {
	t.Parallel()
	s := serve(t)
	s.mainJob(t, s.program(python(t), "boto3/story.py"))
}

func TestStory_AWSCLI(t *testing.T) {
	t.Parallel()
	s := serve(t)
	s.mainJob(t, s.program("bash", "awscli/story.sh"))
}

func TestStory_JavaScript(t *testing.T) {
	t.Parallel()
	s := serve(t)
	s.mainJob(t, s.program("node", "js/story.mjs"))
}

// program is a client that is a program of its own.
func (s *server) program(name string, args ...string) client {
	return func(t *testing.T, y *story, part string) {
		t.Helper()
		s.run(t, append(y.env(), "RESOURCE_ARN="+y.arn, "VAULT="+y.vault, "ITEM="+y.item, "RESTORED="+y.restored),
			name, append(args, part)...)
	}
}

// env is what change.sh reads.
func (y *story) env() []string {
	return []string{"DATA=" + y.data, "SECOND=" + y.second}
}

// mainJob has the client go through the story and looks at what it restored, and at the space that comes back.
func (s *server) mainJob(t *testing.T, c client) {
	t.Helper()
	dir := t.TempDir()
	y := &story{
		data: filepath.Join(dir, "data"), first: filepath.Join(dir, "first"), second: filepath.Join(dir, "second"),
		restored: filepath.Join(dir, "restored"), vault: "story", item: "notes/007.txt",
	}
	if err := os.Mkdir(y.restored, 0o755); err != nil {
		t.Fatal(err)
	}
	plant(t, y.data)
	if out, err := exec.Command("cp", "-a", y.data, y.first).CombinedOutput(); err != nil {
		t.Fatalf("copy the first version: %v\n%s", err, out)
	}
	y.arn = s.lockfast(t, "resource", "add", "--type", "EFS", "--path", y.data)

	c(t, y, "work")
	first, second := entries(t, y.first), entries(t, y.second)
	if cmp.Equal(first, second) {
		t.Fatal("the client changed nothing between its backups")
	}
	differ(t, "first", first, entries(t, filepath.Join(y.restored, "first")))
	differ(t, "second", second, entries(t, filepath.Join(y.restored, "second")))
	item := entries(t, filepath.Join(y.restored, "item"))
	maps.DeleteFunc(item, func(_ string, e entry) bool { return e.Mode.IsDir() })
	differ(t, "item", map[string]entry{y.item: first[y.item]}, item)

	before := s.stored(t)
	s.lockfast(t, "vault", "reclaim", y.vault)
	if after := s.stored(t); before-after < goneSize {
		t.Errorf("the store shrank from %d to %d bytes by the first recovery point, want at least %d less", before, after, goneSize)
	}
	c(t, y, "end")
	differ(t, "second after the reclaim", second, entries(t, filepath.Join(y.restored, "again")))
}

// stored is the size of the objects in the store.
func (s *server) stored(t *testing.T) (size int64) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(s.data, "store"), func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return size
}

// plant makes the directory of a story: some hundred files, one of several MB, links, and modes that are not usual.
func plant(t *testing.T, root string) {
	t.Helper()
	random := rand.NewChaCha8([32]byte{'s', 't', 'o', 'r', 'y'})
	write := func(mode uint32, size int, names ...string) {
		content := make([]byte, size)
		random.Read(content)
		for _, name := range names {
			path := filepath.Join(root, name)
			must(t, os.MkdirAll(filepath.Dir(path), 0o755))
			must(t, os.WriteFile(path, content, 0o600))
			must(t, syscall.Chmod(path, mode))
		}
	}
	for i := range 250 {
		write(0o644, i*i/8, fmt.Sprintf("notes/%03d.txt", i))
	}
	for i := range 60 {
		write(0o640, 3000+i, fmt.Sprintf("pictures/%d/%03d.png", i%7, i))
	}
	write(0o600, 5<<20, "big.bin")
	write(0o400, goneSize, "gone.bin")
	write(0o4755, 10_000, "tool")
	write(0o2711, 1, "one byte")
	write(0o444, 0, "empty")
	write(0o604, 70_000, "twice", "notes/old/twice")
	write(0o666, 100, "caf\xe9", "new\nline", "日本語")
	must(t, os.MkdirAll(filepath.Join(root, "drop"), 0o755))
	must(t, syscall.Chmod(filepath.Join(root, "drop"), 0o1777))
	must(t, os.Link(filepath.Join(root, "tool"), filepath.Join(root, "drop", "same tool")))
	must(t, os.Symlink("notes/001.txt", filepath.Join(root, "pointer")))
	must(t, os.Symlink("../nowhere/at all", filepath.Join(root, "drop", "dangling")))
	must(t, os.Symlink("notes", filepath.Join(root, "to a directory")))
	when := time.Unix(1_000_000_000, 123_456_789)
	for _, name := range []string{"notes/000.txt", "pictures/3", "pictures", "empty"} {
		must(t, os.Chtimes(filepath.Join(root, name), when, when))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// entry is what a restore has to bring back of a file, directory or link.
type entry struct {
	Mode     fs.FileMode
	Owner    string
	Modified time.Time
	Target   string // of a symbolic link
	Content  [sha256.Size]byte
	Same     string // of further names of a file, the first
}

// entries describes all that is in root, itself included.
func entries(t *testing.T, root string) map[string]entry {
	t.Helper()
	all, names := map[string]entry{}, map[uint64]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		e := entry{Mode: info.Mode(), Owner: fmt.Sprintf("%d:%d", st.Uid, st.Gid), Modified: info.ModTime()}
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			e.Target, err = os.Readlink(path)
		case info.Mode().IsRegular():
			var content []byte
			content, err = os.ReadFile(path)
			e.Content = sha256.Sum256(content)
			if e.Same = names[st.Ino]; e.Same == "" {
				names[st.Ino] = name
			}
		}
		all[name] = e
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// differ fails unless what was restored is what was captured.
func differ(t *testing.T, what string, want, got map[string]entry) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the restored tree %q differs from what was captured (-want +got):\n%s", what, diff)
	}
}

// TestEntries_TellTreesApart: whatever differs in a restored tree is seen by the comparison of the stories.
func TestEntries_TellTreesApart(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "tree")
	plant(t, root)
	want := entries(t, root)
	if len(want) < 300 {
		t.Fatalf("the tree has %d entries, want some hundred", len(want))
	}
	for name, alter := range map[string]func(copy string) error{
		"a flipped byte": func(dir string) error {
			path := filepath.Join(dir, "big.bin")
			info, err := os.Stat(path)
			must(t, err)
			content, err := os.ReadFile(path)
			must(t, err)
			content[3<<20] ^= 1
			must(t, os.WriteFile(path, content, 0))
			return os.Chtimes(path, info.ModTime(), info.ModTime())
		},
		"a mode": func(dir string) error { return syscall.Chmod(filepath.Join(dir, "tool"), 0o755) },
		"a time": func(dir string) error {
			return os.Chtimes(filepath.Join(dir, "empty"), time.Time{}, time.Unix(1_000_000_000, 0))
		},
		"a file too few":    func(dir string) error { return os.Remove(filepath.Join(dir, "pictures/0/000.png")) },
		"a file too many":   func(dir string) error { return os.WriteFile(filepath.Join(dir, "drop/more"), nil, 0o600) },
		"a link elsewhere":  func(dir string) error { return relink(filepath.Join(dir, "pointer"), "notes/002.txt") },
		"no more hard link": func(dir string) error { return separate(filepath.Join(dir, "drop/same tool")) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "copy")
			if out, err := exec.Command("cp", "-a", root, dir).CombinedOutput(); err != nil {
				t.Fatalf("copy the tree: %v\n%s", err, out)
			}
			if diff := cmp.Diff(want, entries(t, dir)); diff != "" {
				t.Fatalf("a copy differs:\n%s", diff)
			}
			must(t, alter(dir))
			if cmp.Equal(want, entries(t, dir)) {
				t.Error("the comparison sees no difference")
			}
		})
	}
}

func relink(path, target string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return os.Symlink(target, path)
}

// separate makes a name of a file a file of its own with the same content, mode and time.
func separate(path string) error {
	out, err := exec.Command("sh", "-c", `cp -a "$1" "$1.new" && mv "$1.new" "$1"`, "sh", path).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}
