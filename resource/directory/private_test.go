package directory_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/lockfast/lockfast/resource"
	"github.com/lockfast/lockfast/resource/directory"
	"github.com/lockfast/lockfast/resource/resourcetest"
)

// Whoever may declare a resource must not read by it what the service keeps, such as its keys.
func TestPrivate(t *testing.T) {
	t.Parallel()
	v, root := resourcetest.NewVault(t), t.TempDir()
	data, key := filepath.Join(root, "service"), filepath.Join(root, "keys", "root.key")
	write(t, filepath.Join(data, "store", "object"), "secret")
	write(t, key, "secret")
	write(t, filepath.Join(root, "keys", "other"), "public")
	write(t, filepath.Join(root, "file"), "public")
	links := t.TempDir()
	must(t, os.Symlink(data, filepath.Join(links, "service")))
	d := directory.New(directory.Options{Private: []string{filepath.Join(links, "service"), key, filepath.Join(root, "absent")}})

	t.Run("is left out of a tree that holds it", func(t *testing.T) {
		id, report := capture(t, v, d, root, "")
		want := "\"keys/root.key\" false belongs to the backup service itself\n\"service\" false belongs to the backup service itself\n"
		if got := reasons(report.Skipped); got != want {
			t.Errorf("skipped:\n%swant:\n%s", got, want)
		}
		to := restored(t, v, id)
		for path, want := range map[string]bool{"file": true, "keys/other": true, "keys/root.key": false, "service": false} {
			if _, err := os.Lstat(filepath.Join(to, path)); errors.Is(err, os.ErrNotExist) == want {
				t.Errorf("%s is in the recovery point: %v, want %v", path, !want, want)
			}
		}
	})
	for _, path := range []string{data, filepath.Join(data, "store"), filepath.Join(links, "service"), filepath.Join(links, "service", "store")} {
		t.Run("is no tree to be captured: "+filepath.Base(path), func(t *testing.T) {
			if _, err := d.Probe(t.Context(), at(path)); !errors.Is(err, resource.ErrPermission) {
				t.Errorf("Probe(%s) = %v, want no permission", path, err)
			}
			if _, err := d.Capture(t.Context(), resource.Capture{Resource: at(path)}); !errors.Is(err, resource.ErrPermission) {
				t.Errorf("Capture(%s) = %v, want no permission", path, err)
			}
		})
	}
	id, _ := capture(t, v, d, filepath.Join(root, "keys"), "")
	point := resourcetest.OpenPoint(t, v, id)
	for name, order := range map[string]resource.Restore{
		"under a name": {Directory: data, Name: "x"}, "deeper": {Directory: filepath.Join(links, "service", "store"), Name: "x"},
		"as a new directory": {Into: filepath.Join(data, "x")},
	} {
		t.Run("takes nothing: "+name, func(t *testing.T) {
			order.Point = point
			if _, err := d.Restore(t.Context(), order); !errors.Is(err, resource.ErrPermission) {
				t.Errorf("Restore = %v, want no permission", err)
			}
			if _, err := os.Lstat(filepath.Join(data, "x")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("something was restored: %v", err)
			}
		})
	}
}
