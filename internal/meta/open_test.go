package meta_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
)

func TestOpen_NamesWhatIsWrongButNoPassword(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tests := []struct{ name, url, want string }{
		{"other database", "mysql://root:sesame@localhost/x", "want \"sqlite:PATH\""},
		{"no path", "sqlite:", "needs a path"},
		{"no folder", "sqlite:" + filepath.Join(dir, "none", "meta.db"), filepath.Join("none", "meta.db")},
		{"folder", "sqlite:" + dir, dir},
		{"malformed URL", "postgres://u:sesame@host:port/x", "not a valid PostgreSQL URL"},
		{"nobody there", "postgres://u:sesame@127.0.0.1:1/x", "postgres://127.0.0.1:1/x"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			db, err := meta.Open(t.Context(), meta.Options{URL: test.url})
			if err == nil {
				t.Fatalf("Open = %v", db)
			}
			if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "sesame") {
				t.Errorf("Open = %q, want it to contain %q and no password", err, test.want)
			}
		})
	}
}

func TestString_HidesPassword(t *testing.T) {
	t.Parallel()
	url := metatest.PostgreSQL(t)
	db, err := meta.Open(t.Context(), meta.Options{URL: strings.Replace(url, "lockfast@", "lockfast:sesame@", 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if s := fmt.Sprint(db); strings.Contains(s, "sesame") || !strings.HasPrefix(s, "postgres:///") {
		t.Errorf("String() = %q", s)
	}
}

func TestOpen_PathWithSpecialCharacters(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a?b.db", "50%20 #.db", "é.db"} {
		path := filepath.Join(t.TempDir(), name)
		metatest.Open(t, meta.Options{URL: "sqlite:" + path})
		if found, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*.db")); err != nil || len(found) != 1 || found[0] != path {
			t.Errorf("Open(%q) made %q, %v", path, found, err)
		}
	}
}

// TestOpen_ManyAtOnce opens new databases, which each must be put into WAL mode, from several sides at once.
func TestOpen_ManyAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for n := range 50 {
		url := fmt.Sprintf("sqlite:%s/%d.db", dir, n)
		var g errgroup.Group
		for range 6 {
			g.Go(func() error {
				db, err := meta.Open(t.Context(), meta.Options{URL: url})
				if err != nil {
					return err
				}
				return db.Close()
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOpen_NotADatabase(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "meta.db")
	write(t, path, strings.Repeat("not a database\n", 1000))
	db, err := meta.Open(t.Context(), meta.Options{URL: "sqlite:" + path})
	if err == nil {
		err = errors.Join(db.Migrate(t.Context()), db.Close())
	}
	if err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("Open = %v, want an error naming %s", err, path)
	}
}

func TestOpen_AsksForRoomOnAFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("mount a tmpfs, which takes root: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	filler := filepath.Join(dir, "filler")
	write(t, filler, strings.Repeat("x", 64<<10))
	url := "sqlite:" + filepath.Join(dir, "meta.db")
	_, err := meta.Open(t.Context(), meta.Options{URL: url, Full: func() bool { return false }})
	if err == nil || !strings.Contains(err.Error(), "is its disk full?") {
		t.Errorf("Open without room = %v, want an error that tells of the disk", err)
	}
	db, err := meta.Open(t.Context(), meta.Options{URL: url, Full: func() bool { return os.Remove(filler) == nil }})
	if err != nil {
		t.Fatalf("Open with room made: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}
