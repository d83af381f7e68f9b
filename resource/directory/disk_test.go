package directory_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/resource"
	"github.com/lockfast/lockfast/resource/resourcetest"
	"golang.org/x/sys/unix"
)

// TestRestore_FailingDisk restores to a file system whose disk takes less than it promised: no write into a file fails,
// only those from the kernel to the disk do, at any time before the restore is done.
func TestRestore_FailingDisk(t *testing.T) {
	t.Parallel()
	v, root := resourcetest.NewVault(t), t.TempDir()
	random := make([]byte, 16<<20)
	rnd := rand.NewChaCha8([32]byte{})
	_, _ = rnd.Read(random)
	write(t, root+"/one/large", string(random))
	one, _ := capture(t, v, settled(), root+"/one", "")
	for i := range 240 {
		write(t, fmt.Sprintf("%s/many/%d", root, i), string(random[i<<16:(i+1)<<16]))
	}
	many, _ := capture(t, v, settled(), root+"/many", "")
	for _, id := range []repo.PointID{one, many} {
		target := failingDisk(t)
		_, err := settled().Restore(t.Context(), resource.Restore{
			Point: resourcetest.OpenPoint(t, v, id), Directory: target, Name: "r",
		})
		if !errors.Is(err, unix.EIO) && !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "write to disk") {
			t.Errorf("Restore of %s = %v, want the error of writing to disk", id, err)
		}
		if left, err := os.ReadDir(target); err != nil || len(left) != 1 || left[0].Name() != "lost+found" {
			t.Errorf("after Restore of %s there is %v, %v, want nothing", id, left, err)
		}
	}
}

// failingDisk returns the root of a file system of 32 MiB, on a disk that has room for 8 MiB and then fails.
func failingDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	mount(t, dir+"/disk", "size=8m")
	image, root := dir+"/disk/image", dir+"/root"
	must(t, os.Mkdir(root, 0o755))
	f, err := os.Create(image)
	must(t, err)
	must(t, f.Truncate(32<<20))
	must(t, f.Close())
	// All metadata is written, so that only data does not find room.
	for _, command := range []string{
		"mkfs.ext4 -q -O ^has_journal -E nodiscard,lazy_itable_init=0 " + image,
		"mount -o loop " + image + " " + root,
	} {
		args := strings.Fields(command)
		path, err := exec.LookPath(args[0])
		if err != nil {
			t.Skipf("%s: %v", filepath.Base(args[0]), err)
		}
		if out, err := exec.Command(path, args[1:]...).CombinedOutput(); err != nil {
			t.Skipf("%s: %v: %s", command, err, out)
		}
	}
	t.Cleanup(func() { _ = unix.Unmount(root, unix.MNT_DETACH) })
	return root
}
