package directory_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/lockfast/lockfast/resource"
	"github.com/lockfast/lockfast/resource/directory"
	"github.com/lockfast/lockfast/resource/resourcetest"
	"golang.org/x/sys/unix"
)

// TestAsNobody runs the tests of this file, and the suite, in a process without privileges.
func TestAsNobody(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("this process has no privileges; the tests run directly")
	}
	self, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	base, err := os.MkdirTemp("", "lockfast-nobody")
	must(t, err)
	defer os.RemoveAll(base)
	must(t, os.WriteFile(base+"/test", self, 0o755))
	must(t, os.Chown(base, 65534, 65534))
	cmd := exec.Command(base+"/test", "-test.run=^(TestUnprivileged_.*|TestSuite|TestRestore_Into|TestRestore_Attacks)$", "-test.v")
	cmd.Dir = base
	cmd.Env = append(os.Environ(), "TMPDIR="+base, "HOME="+base)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestUnprivileged_Unreadable") {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
}

func unprivileged(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		t.Skip("root may do everything; TestAsNobody runs this")
	}
	t.Parallel()
}

func TestUnprivileged_Unreadable(t *testing.T) {
	unprivileged(t)
	v, root := resourcetest.NewVault(t), t.TempDir()
	write(t, root+"/a", "readable")
	write(t, root+"/closed/file", "x")
	write(t, root+"/listed/file", "x")
	write(t, root+"/secret", "x")
	must(t, os.Chmod(root+"/secret", 0o200))
	must(t, os.Chmod(root+"/closed", 0o300))
	must(t, os.Chmod(root+"/listed", 0o600))
	t.Cleanup(func() {
		os.Chmod(root+"/closed", 0o700)
		os.Chmod(root+"/listed", 0o700)
	})
	id, report := capture(t, v, settled(), root, "")
	want := `"closed" true contents not listed: permission denied
"listed/file" false permission denied
"secret" false read: permission denied
`
	if got := reasons(report.Skipped); got != want || report.Items != 4 {
		t.Errorf("%d items, skipped:\n%swant 4 and:\n%s", report.Items, got, want)
	}
	second, report := capture(t, v, settled(), root, id)
	if got := reasons(report.Skipped); got != want {
		t.Errorf("second capture skipped:\n%swant:\n%s", got, want)
	}
	path := restored(t, v, second)
	for name, mode := range map[string]uint32{"closed": 0o300, "listed": 0o600, "a": 0o644} {
		if st := lstat(t, filepath.Join(path, name)); st.Mode&0o7777 != mode {
			t.Errorf("%s has mode %o, want %o", name, st.Mode&0o7777, mode)
		}
	}
	os.Chmod(path+"/closed", 0o700)
	os.Chmod(path+"/listed", 0o700)
}

func TestUnprivileged_Root(t *testing.T) {
	unprivileged(t)
	root := t.TempDir()
	must(t, os.Chmod(root, 0o300))
	if _, err := settled().Probe(t.Context(), at(root)); !errors.Is(err, resource.ErrPermission) || !strings.Contains(err.Error(), root) {
		t.Errorf("Probe = %v, want ErrPermission with the path", err)
	}
	if _, err := settled().Capture(t.Context(), resource.Capture{Resource: at(root)}); !errors.Is(err, resource.ErrPermission) {
		t.Errorf("Capture = %v, want ErrPermission", err)
	}
	must(t, os.Chmod(root, 0o500))
	v := resourcetest.NewVault(t)
	p := resourcetest.OpenPoint(t, v, forge(t, v, dir("")))
	for _, order := range []resource.Restore{{Directory: root, Name: "r"}, {Into: root + "/r"}} {
		order.Point = p
		if _, err := settled().Restore(t.Context(), order); !errors.Is(err, resource.ErrPermission) || !strings.Contains(err.Error(), root) {
			t.Errorf("Restore = %v, want ErrPermission with the path", err)
		}
	}
	must(t, os.Chmod(root, 0o700))
}

// TestUnprivileged_RestoreOfOthers restores what only root could restore in full.
func TestUnprivileged_RestoreOfOthers(t *testing.T) {
	unprivileged(t)
	v := resourcetest.NewVault(t)
	owned := func(e entry, mode uint32) entry {
		e.info.UID, e.info.GID, e.info.Mode = 0, 0, mode
		return e
	}
	device := file("device", "")
	device.info.Type, device.info.Major, device.info.Minor = directory.CharDevice, 1, 3
	trusted := file("trusted", "t")
	trusted.info.Xattrs = []directory.Xattr{{Name: []byte("trusted.x"), Value: []byte("1")}, {Name: []byte("user.x"), Value: []byte("2")}}
	id := forge(t, v, owned(dir(""), 0o755), owned(file("a", "1"), 0o644), owned(file("b", "2"), 0o444), device,
		owned(dir("locked"), 0), owned(file("locked\x00inside", "x"), 0o400), owned(file("set-id", "s"), 0o4755), trusted)
	o := restoreItems(t, v, id, nil)
	want := `"device" false char not made: operation not permitted
"trusted" true extended attribute trusted.x not restored here and on 0 more items: operation not permitted
"a" true owner not restored here and on 5 more items: operation not permitted
"set-id" true set-id bits not restored here and on 0 more items: the owner differs
`
	if got := reasons(o.Skipped); got != want {
		t.Errorf("skipped:\n%swant:\n%s", got, want)
	}
	for name, mode := range map[string]uint32{"a": 0o644, "b": 0o444, "locked": 0, "set-id": 0o755} {
		if st := lstat(t, filepath.Join(o.Path, name)); st.Mode&0o7777 != mode {
			t.Errorf("%s has mode %o, want %o", name, st.Mode&0o7777, mode)
		}
	}
	value := make([]byte, 9)
	if n, err := unix.Getxattr(o.Path+"/trusted", "user.x", value); err != nil || string(value[:n]) != "2" {
		t.Errorf("user.x = %q, %v, want 2", value[:max(n, 0)], err)
	}
	must(t, os.Chmod(o.Path+"/locked", 0o700))
}

// TestUnprivileged_FailureRemovesLockedDirectories fails after directories got modes that keep their owner out.
func TestUnprivileged_FailureRemovesLockedDirectories(t *testing.T) {
	unprivileged(t)
	v, target := resourcetest.NewVault(t), t.TempDir()
	locked := dir("a\x00locked")
	locked.info.Mode = 0
	id := forge(t, v, dir(""), dir("a"), locked, file("a\x00locked\x00x", "x"), link("b", "x"))
	write(t, target+"/r2/x", "") // in the way, but only at the end
	p := resourcetest.OpenPoint(t, v, id)
	_, err := settled().Restore(t.Context(), resource.Restore{Point: p, Directory: target, Name: "r2"})
	if !errors.Is(err, resource.ErrExist) {
		t.Errorf("Restore = %v, want ErrExist", err)
	}
	must(t, os.RemoveAll(target+"/r2"))
	must(t, os.MkdirAll(target+"/.r.partial/locked/below", 0o700))
	must(t, os.Chmod(target+"/.r.partial/locked", 0))
	if n, err := directory.Sweep(t.Context(), target, []string{"r"}); n != 1 || err != nil {
		t.Errorf("Sweep = %d, %v, want 1", n, err)
	}
	empty(t, target)
}
