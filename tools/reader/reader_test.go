package reader_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/fs"
	"github.com/lockfast/lockfast/internal/keys"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
	"github.com/lockfast/lockfast/resource"
	"github.com/lockfast/lockfast/resource/directory"
	"github.com/lockfast/lockfast/resource/resourcetest"
	"golang.org/x/sys/unix"
)

// interpreter is the path of a Python, if possible one with the packages that make the reader fast; empty = none.
var interpreter = sync.OnceValue(func() string {
	for _, modules := range []string{"cryptography, zstandard", "sys"} {
		for _, name := range []string{"python3", "/usr/bin/python3"} {
			out, err := exec.Command(name, "-c", "import sys, "+modules+"; print(sys.executable)").Output()
			if err == nil {
				return strings.TrimSpace(string(out))
			}
		}
	}
	return ""
})

func python(t *testing.T) string {
	t.Helper()
	if interpreter() == "" {
		t.Fatal("no python3: make test installs it")
	}
	return interpreter()
}

// run runs the reader and demands its exit status.
func run(t *testing.T, status int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), python(t), append([]string{"."}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	err := cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != status {
		t.Fatalf("reader %v: status %d, %v, want %d\n%s", args, got, err, status, errs.String())
	}
	return out.String(), errs.String()
}

func TestReader_ReadsGoldenVaults(t *testing.T) {
	t.Parallel()
	for _, vault := range goldens(t) {
		t.Run(filepath.Base(vault), func(t *testing.T) {
			t.Parallel()
			store, key, targets := filepath.Join(vault, "store"), filepath.Join(vault, "test-root.key"), t.TempDir()
			want := load(t, vault, targets)
			out, _ := run(t, 0, "list", store, key)
			if n := strings.Count(out, "\n") - strings.Count(out, "\tGROUP\n"); n != len(want) {
				t.Errorf("reader lists %d recovery points with data, want %d:\n%s", n, len(want), out)
			}
			for id := range want {
				target := filepath.Join(targets, string(id))
				run(t, 0, "restore", store, key, string(id), target)
				if d := cmp.Diff(want[id], list(t, target)); d != "" {
					t.Errorf("recovery point %s restored by the reader (-want +got):\n%s", id, d)
				}
				checkHoles(t, target)
			}
			run(t, 0, "verify", store, key)
		})
	}
}

// newVault makes a vault with a new key.
func newVault(t *testing.T, store, key string) *repo.Vault {
	t.Helper()
	return newVaultWith(t, store, key, localledger.New(localledger.Options{}))
}

func newVaultWith(t *testing.T, store, key string, l repo.Ledger) *repo.Vault {
	t.Helper()
	root, err := keys.Create(key)
	try(t, err)
	s, err := fs.Open(store, fs.Options{Create: true})
	try(t, err)
	t.Cleanup(func() { s.Close() })
	name := uuid.New()
	v, err := repo.Create(t.Context(), blob.Prefix(s, name.String()), l, root,
		repo.CreateOptions{UUID: name, DomainKey: [32]byte{4}})
	try(t, err)
	t.Cleanup(func() { v.Close() })
	return v
}

// fresh makes a vault of one recovery point with everything that a tree can hold. It returns the source, the store and
// the key file.
func fresh(t *testing.T) (source, store, key string, id repo.PointID) {
	t.Helper()
	dir := t.TempDir()
	source, store, key = filepath.Join(dir, "source"), filepath.Join(dir, "store"), filepath.Join(dir, "test-root.key")
	try(t, os.Mkdir(source, 0o751))
	resourcetest.MakeTree(t, source)
	v := newVault(t, store, key)
	address := map[string]string{directory.PathKey: source}
	id, _ = resourcetest.Capture(t, v, driver(), resource.Capture{
		Resource: resource.Resource{ARN: "arn:test", Type: directory.Name, Address: address},
	}, "")
	return source, store, key, id
}

func TestReader_RestoresWhatTheCodeStored(t *testing.T) {
	t.Parallel()
	source, store, key, id := fresh(t)
	target := filepath.Join(t.TempDir(), "restored")
	run(t, 0, "restore", store, key, string(id), target)
	for _, d := range resourcetest.CompareTrees(t, source, target) {
		t.Error(d)
	}
}

// checkHoles demands that the sparse file of a golden vault, if it has one, is one when it is restored.
func checkHoles(t *testing.T, target string) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(target, "sparse"), &st); err == nil && st.Blocks*512 > st.Size/2 {
		t.Errorf("sparse file of %d bytes takes %d, want holes", st.Size, st.Blocks*512)
	}
}

// TestReader_WithoutPackages opens everything with AES in plain Python and zstd through the library.
func TestReader_WithoutPackages(t *testing.T) {
	t.Parallel()
	vault := filepath.Join(filepath.Dir(goldens(t)[0]), "v1-default")
	cmd := exec.CommandContext(t.Context(), python(t), ".", "verify", filepath.Join(vault, "store"),
		filepath.Join(vault, "test-root.key"))
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "LOCKFAST_READER_PURE=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("verify without packages: %v\n%s", err, out)
	}
}

func TestReader_Primitives(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), python(t), "vectors.py", "../../repo/testdata/v1")
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("vectors: %v\n%s", err, out)
	}
}

func TestReader_RestoresAroundDamage(t *testing.T) {
	t.Parallel()
	vault := filepath.Join(filepath.Dir(goldens(t)[0]), "v1-default")
	store, key, target := filepath.Join(vault, "store"), filepath.Join(vault, "test-root.key"), t.TempDir()
	name := flip(t, store, "d")
	out, _ := run(t, 0, "list", store, key)
	last := strings.Split(strings.TrimSpace(out), "\n")
	_, stderr := run(t, 1, "restore", store, key, last[len(last)-1][:32], target)
	if !strings.Contains(stderr, name) || !strings.Contains(stderr, "entry large") {
		t.Errorf("restore with %s damaged does not name it and what it holds:\n%s", name, stderr)
	}
	if _, err := os.Stat(filepath.Join(target, "part")); err != nil {
		t.Error(err)
	}
}

func TestReader_FindsColdPacksInAnotherPlace(t *testing.T) {
	t.Parallel()
	vault := filepath.Join(filepath.Dir(goldens(t)[0]), "v1-cold")
	store, key, cold := filepath.Join(vault, "store"), filepath.Join(vault, "test-root.key"), t.TempDir()
	packs, err := filepath.Glob(filepath.Join(store, "*-*", "a"))
	if try(t, err); len(packs) != 1 {
		t.Fatalf("cold packs stand in %v, want one directory", packs)
	}
	place := filepath.Join(cold, filepath.Base(filepath.Dir(packs[0])))
	try(t, os.Mkdir(place, 0o755), os.Rename(packs[0], filepath.Join(place, "a")))
	out, _ := run(t, 0, "list", store, key, "--cold", cold)
	if strings.Count(out, "\tCOLD\n") != 1 || strings.Count(out, "\tWARM\n") != 2 {
		t.Errorf("list = %s, want one COLD and two WARM", out)
	}
	run(t, 0, "verify", store, key, "--cold", cold)
	if _, stderr := run(t, 1, "verify", store, key); !strings.Contains(stderr, "packs of its refset are missing") {
		t.Errorf("verify without the cold packs says nothing of them:\n%s", stderr)
	}
}

func TestReader_WithAnotherKey(t *testing.T) {
	t.Parallel()
	key := filepath.Join(t.TempDir(), "other.key")
	_, err := keys.Create(key)
	try(t, err)
	_, stderr := run(t, 2, "list", filepath.Join(goldens(t)[0], "store"), key)
	if !strings.Contains(stderr, "k/1-1") || strings.Contains(stderr, "damaged: k/1-1") {
		t.Errorf("reader with another key does not tell it from damage:\n%s", stderr)
	}
}

// TestReader_OneKeyObjectIsEnough flips a bit in the suite of the newest key object, which is reported.
func TestReader_OneKeyObjectIsEnough(t *testing.T) {
	t.Parallel()
	source, store, key, id := fresh(t)
	found, err := filepath.Glob(filepath.Join(store, "*-*", "k", "1-2"))
	if try(t, err); len(found) != 1 {
		t.Fatalf("key objects %v, want one", found)
	}
	data, err := os.ReadFile(found[0])
	try(t, err)
	data[10] ^= 1
	try(t, os.Remove(found[0]), os.WriteFile(found[0], data, 0o444))
	target := filepath.Join(t.TempDir(), "restored")
	if _, stderr := run(t, 1, "restore", store, key, string(id), target); !strings.Contains(stderr, "damaged: k/1-2") {
		t.Errorf("the reader does not name k/1-2:\n%s", stderr)
	}
	for _, d := range resourcetest.CompareTrees(t, source, target) {
		t.Error(d)
	}
}

func TestReader_WithoutIndex(t *testing.T) {
	t.Parallel()
	vault := filepath.Join(filepath.Dir(goldens(t)[0]), "v1-files")
	indexes, err := filepath.Glob(filepath.Join(vault, "store", "*", "x"))
	if try(t, err); len(indexes) != 1 {
		t.Fatalf("indexes %v, want one", indexes)
	}
	try(t, os.RemoveAll(indexes[0]))
	run(t, 0, "verify", filepath.Join(vault, "store"), filepath.Join(vault, "test-root.key"))
}

// image is a source without holes.
type image struct{ *bytes.Reader }

func (i image) NextData(off int64) (start, end int64, err error) { return off, i.Size(), nil }

func TestReader_RestoresVolumesAndNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store, key := filepath.Join(dir, "store"), filepath.Join(dir, "root.key")
	v := newVault(t, store, key)
	data := bytes.Repeat([]byte("block"), 100_000)
	copy(data[300_000:], make([]byte, 100_000))
	w, err := v.NewWriter(t.Context(), repo.WriterOptions{})
	try(t, err)
	content, err := w.Stream(t.Context(), image{bytes.NewReader(data)}, repo.Content{})
	try(t, err, w.Tree().Put(t.Context(), repo.Entry{Key: []byte("disk"), Meta: []byte{1}, Content: content}))
	id, err := w.Commit(t.Context(), repo.Facts{Driver: "volume"})
	try(t, err)
	run(t, 0, "restore", store, key, string(id), filepath.Join(dir, "volume"))
	if got, err := os.ReadFile(filepath.Join(dir, "volume/disk")); err != nil || !bytes.Equal(got, data) {
		t.Errorf("restored image has %d bytes, %v, want those of the volume", len(got), err)
	}
	w, err = v.NewWriter(t.Context(), repo.WriterOptions{})
	try(t, err)
	id, err = w.Commit(t.Context(), repo.Facts{Driver: directory.Name})
	try(t, err)
	run(t, 0, "restore", store, key, string(id), filepath.Join(dir, "nothing"))
	run(t, 0, "verify", store, key)
}

// TestReader_NamesWhatIsDamaged flips one bit in an object of each kind; the reader names it, or reads around it.
func TestReader_NamesWhatIsDamaged(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind, command string
		status        int // without keys nothing can be read
	}{
		{"d", "verify", 1},
		{"m", "verify", 1},
		{"x", "verify", 1},
		{"r", "list", 1},
		{"f", "list", 1},
		{"k", "list", 2},
		{"format", "list", 2},
	} {
		t.Run(c.kind, func(t *testing.T) {
			t.Parallel()
			vault := filepath.Join(filepath.Dir(goldens(t)[0]), "v1-default")
			store := filepath.Join(vault, "store")
			name := flip(t, store, c.kind)
			stdout, stderr := run(t, c.status, c.command, store, filepath.Join(vault, "test-root.key"))
			if !strings.Contains(stderr, "damaged: "+name) {
				t.Errorf("reader with %s damaged does not name it:\n%s%s", name, stdout, stderr)
			}
		})
	}
}

// flip changes a bit in the middle of the last object of a kind, and returns its name.
func flip(t *testing.T, store, kind string) string {
	t.Helper()
	path := newest(t, store, kind)
	info, err := os.Stat(path)
	try(t, err)
	return flipAt(t, path, int(info.Size()/2))
}

// newest returns the path of the last object of a kind.
func newest(t *testing.T, store, kind string) string {
	t.Helper()
	var found []string
	for _, pattern := range []string{"*", "*/*", "*/*/*"} {
		names, err := filepath.Glob(filepath.Join(store, "*-*", strings.Replace(pattern, "*", kind, 1)))
		try(t, err)
		found = append(found, names...)
	}
	found = slices.DeleteFunc(found, func(name string) bool {
		info, err := os.Stat(name)
		return err != nil || info.IsDir()
	})
	if len(found) == 0 {
		t.Fatalf("no object of kind %s", kind)
	}
	return slices.Max(found)
}

// flipAt changes a bit of an object of the one vault in a store, and returns its name.
func flipAt(t *testing.T, path string, at int) string {
	t.Helper()
	data, err := os.ReadFile(path)
	try(t, err)
	data[at] ^= 1
	try(t, os.Remove(path), os.WriteFile(path, data, 0o600))
	_, rel, _ := strings.Cut(path, "/store/")
	_, name, _ := strings.Cut(rel, "/")
	return name
}
