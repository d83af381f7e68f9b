package directory_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/resource"
	"github.com/lockfast/lockfast/resource/directory"
	"github.com/lockfast/lockfast/resource/resourcetest"
)

// soak returns n, many times as many when LOCKFAST_SOAK is set.
func soak(n, many int) int {
	if os.Getenv("LOCKFAST_SOAK") == "" {
		return n
	}
	return n * many
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(text), 0o644))
}

func capture(t testing.TB, v *repo.Vault, d *directory.Driver, path string, parent repo.PointID) (repo.PointID, resource.Report) {
	t.Helper()
	return resourcetest.Capture(t, v, d, resource.Capture{Resource: at(path)}, parent)
}

// restored restores a whole recovery point to a new directory.
func restored(t testing.TB, v *repo.Vault, id repo.PointID) string {
	t.Helper()
	return restoreItems(t, v, id, nil).Path
}

func restoreItems(t testing.TB, v *repo.Vault, id repo.PointID, items [][]byte) resource.Outcome {
	t.Helper()
	order := resource.Restore{Directory: t.TempDir(), Name: "restored", Items: items}
	return resourcetest.Restore(t, v, settled(), id, order)
}

func same(t testing.TB, want, got string) {
	t.Helper()
	for i, d := range resourcetest.CompareTrees(t, want, got) {
		if t.Error(d); i == 20 {
			return
		}
	}
}

// info returns what a recovery point holds about one path.
func info(t testing.TB, v *repo.Vault, id repo.PointID, path string) (directory.Info, repo.Content) {
	t.Helper()
	key, err := directory.Key([]byte(path))
	must(t, err)
	e, err := resourcetest.OpenPoint(t, v, id).Lookup(context.Background(), key)
	if err != nil {
		t.Fatalf("look up %s: %v", path, err)
	}
	i, err := directory.DecodeMeta(e.Meta)
	must(t, err)
	return i, e.Content
}

// entry is a line of a recovery point that a test writes itself.
type entry struct {
	key  string
	info directory.Info
	data string
}

func file(key, data string) entry {
	return entry{key, directory.Info{Type: directory.File, Mode: 0o644, UID: uid(), GID: gid(), Nlink: 1, ModTime: time.Unix(1, 0)}, data}
}

func dir(key string) entry {
	return entry{key, directory.Info{Type: directory.Directory, Mode: 0o755, UID: uid(), GID: gid(), Nlink: 2, ModTime: time.Unix(1, 0)}, ""}
}

func link(key, target string) entry {
	return entry{key, directory.Info{Type: directory.Symlink, Mode: 0o777, UID: uid(), GID: gid(), Nlink: 1, ModTime: time.Unix(1, 0), LinkTarget: []byte(target)}, ""}
}

func uid() uint32 { return uint32(os.Geteuid()) }
func gid() uint32 { return uint32(os.Getegid()) }

// forge makes a recovery point of the entries given.
func forge(t testing.TB, v *repo.Vault, entries ...entry) repo.PointID {
	t.Helper()
	ctx := context.Background()
	w, err := v.NewWriter(ctx, repo.WriterOptions{})
	must(t, err)
	for _, e := range entries {
		c, err := w.Small(ctx, []byte(e.data))
		must(t, err)
		must(t, w.Tree().Put(ctx, repo.Entry{Key: []byte(e.key), Meta: e.info.AppendMeta(nil), Content: c}))
	}
	id, err := w.Commit(ctx, repo.Facts{Created: time.Now(), Driver: directory.Name})
	must(t, err)
	return id
}

// reasons lists skipped items as lines.
func reasons(skips []resource.Skip) string {
	var b bytes.Buffer
	for _, s := range skips {
		b.WriteString(strconv.Quote(string(s.Path)) + " " + strconv.FormatBool(s.Partial) + " " + s.Reason + "\n")
	}
	return b.String()
}
