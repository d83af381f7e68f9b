package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// The kernel sources that Debian packages: a tree and its successor.
const (
	source61  = "/usr/src/linux-source-6.1.tar.xz"
	source612 = "/usr/src/linux-source-6.12.tar.xz"
)

// treeStory protects a kernel's source tree over two versions of it.
func treeStory(ctx context.Context, o options, tools []tool, r *results) error {
	old, err := unpacked(ctx, o.work, "6.1", source61)
	if err != nil {
		return err
	}
	new, err := unpacked(ctx, o.work, "6.12", source612)
	if err != nil {
		return err
	}
	path := filepath.Join(o.work, "linux")
	if err := os.Rename(old, path); err != nil {
		return err
	}
	err = versionOne(ctx, tools, r, path)
	if err := errors.Join(err, os.Rename(path, old)); err != nil {
		return err
	}
	if err := os.Rename(new, path); err != nil {
		return err
	}
	err = versionTwo(ctx, o.work, tools, r, path)
	return errors.Join(err, os.Rename(path, new))
}

// versionOne backs the first version up twice.
func versionOne(ctx context.Context, tools []tool, r *results, path string) error {
	if err := prepareAll(ctx, tools, path); err != nil {
		return err
	}
	if err := backupAll(ctx, tools, r, "tree", "first backup", 1, path); err != nil {
		return err
	}
	return backupAll(ctx, tools, r, "tree", "unchanged backup", 2, path)
}

// versionTwo backs the second version up, restores it and deletes the first.
func versionTwo(ctx context.Context, work string, tools []tool, r *results, path string) error {
	if err := warm(path); err != nil {
		return err
	}
	if err := backupAll(ctx, tools, r, "tree", "second version", 3, path); err != nil {
		return err
	}
	if err := sizeAll(tools, r, "tree: stored, both versions"); err != nil {
		return err
	}
	if err := restoreAll(ctx, work, tools, r, "tree", 3, path); err != nil {
		return err
	}
	for _, t := range tools {
		settle()
		u, err := t.verify(ctx)
		if err != nil {
			return err
		}
		r.step("tree", "verify all bytes", t.name(), u)
	}
	for _, t := range tools {
		u, err := t.remove(ctx, 1, 2)
		if err != nil {
			return err
		}
		r.step("tree", "delete two and reclaim", t.name(), u)
	}
	return sizeAll(tools, r, "tree: stored after reclaim")
}

// sizeAll records what each tool stores.
func sizeAll(tools []tool, r *results, row string) error {
	for _, t := range tools {
		size, err := folderSize(t.store())
		if err != nil {
			return err
		}
		r.add(row, "MiB", t.name(), float64(size)/(1<<20))
	}
	return nil
}

// imageStory protects a disk image in which some blocks change.
func imageStory(ctx context.Context, o options, tools []tool, r *results) error {
	dir := filepath.Join(o.work, "images")
	image := filepath.Join(dir, "disk.img")
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := makeImage(ctx, filepath.Join(o.work, "usr-lib"), image, o.image); err != nil {
		return err
	}
	if err := prepareAll(ctx, tools, dir); err != nil {
		return err
	}
	if err := backupAll(ctx, tools, r, "image", "first backup", 1, dir); err != nil {
		return err
	}
	if err := scribble(image, 2000); err != nil {
		return err
	}
	if err := backupAll(ctx, tools, r, "image", "after 2,000 writes", 2, dir); err != nil {
		return err
	}
	if err := sizeAll(tools, r, "image: stored, both"); err != nil {
		return err
	}
	return restoreAll(ctx, o.work, tools, r, "image", 2, dir)
}

// makeImage makes a file system of so many MiB that holds /usr/lib, or as much of
// it, in the order of the walk, as such a file system takes.
func makeImage(ctx context.Context, staging, image string, size int64) error {
	room := size << 20 * 3400 / 4096
	if err := os.RemoveAll(staging); err != nil {
		return err
	}
	defer os.RemoveAll(staging)
	var total int64
	err := filepath.WalkDir("/usr/lib", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(staging, path)
		if d.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		info, err := d.Info()
		if err != nil || !info.Mode().IsRegular() || total+info.Size() > room {
			return err
		}
		total += info.Size()
		return copyFile(path, to)
	})
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "mkfs.ext4", "-q", "-d", staging, image, fmt.Sprintf("%dM", size)).CombinedOutput()
	if err != nil {
		return fmt.Errorf("mkfs.ext4: %w: %s", err, out)
	}
	return nil
}

func copyFile(from, to string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o644)
}

// scribble overwrites n random 4 KiB blocks, the same ones in every run.
func scribble(path string, n int) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	random := rand.NewChaCha8([32]byte{})
	where := rand.New(random)
	block := make([]byte, 4096)
	for range n {
		if _, err := random.Read(block); err != nil {
			return err
		}
		if _, err := f.WriteAt(block, where.Int64N(info.Size()/4096)*4096); err != nil {
			return err
		}
	}
	return f.Sync()
}

func prepareAll(ctx context.Context, tools []tool, path string) error {
	for _, t := range tools {
		if err := t.prepare(ctx); err != nil {
			return err
		}
	}
	return warm(path)
}

func backupAll(ctx context.Context, tools []tool, r *results, story, step string, point int, path string) error {
	for _, t := range tools {
		settle()
		u, err := t.backup(ctx, point, path)
		if err != nil {
			return err
		}
		r.step(story, step, t.name(), u)
	}
	return nil
}

// restoreAll restores a point with every tool; the time is the tool's, the
// comparison with the source comes after it. What was restored stays until the
// end: ext4 makes files slowly for half a minute after many were removed.
func restoreAll(ctx context.Context, work string, tools []tool, r *results, story string, point int, want string) error {
	all := filepath.Join(work, "restored")
	defer os.RemoveAll(all)
	for _, t := range tools {
		to := filepath.Join(all, story, t.name())
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		settle()
		u, err := t.restore(ctx, point, to)
		if err != nil {
			return err
		}
		r.step(story, "restore", t.name(), u)
		began := time.Now()
		settle() // Lockfast has done so itself
		r.add(story+": restore, on disk", "s", t.name(), u.wall.Seconds()+time.Since(began).Seconds())
		got := to
		if _, ours := t.(*lockfast); !ours { // the others restore below the full path
			got = filepath.Join(to, want)
		}
		if out, err := exec.CommandContext(ctx, "diff", "-r", "--no-dereference", want, got).CombinedOutput(); err != nil {
			return fmt.Errorf("%s restored something else: %w\n%.2000s", t.name(), err, out)
		}
	}
	return nil
}

// settle lets the kernel finish what the step before has written, so that no
// tool pays for another.
func settle() { unix.Sync() }

// unpacked returns the tree of a source archive, unpacked once per work folder.
func unpacked(ctx context.Context, work, version, archive string) (string, error) {
	dir := filepath.Join(work, "linux-"+version)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	partial := dir + ".partial"
	if err := os.MkdirAll(partial, 0o755); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "tar", "-xf", archive, "-C", partial, "--strip-components", "1")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("unpack %s: %w: %s", archive, err, out)
	}
	return dir, os.Rename(partial, dir)
}

// warm reads every file once: all tools then find the same page cache. It
// keeps this process small, since a child's peak memory starts from its parent's.
func warm(dir string) error {
	buffer := make([]byte, 1<<20)
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.CopyBuffer(io.Discard, struct{ io.Reader }{f}, buffer)
		return err
	})
}

// folderSize adds up the sizes of the files below dir.
func folderSize(dir string) (int64, error) {
	var total int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		total += info.Size()
		return err
	})
	return total, err
}
