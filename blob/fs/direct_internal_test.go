//go:build linux

package fs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/sys/unix"

	"github.com/lockfast/lockfast/blob"
)

// These tests are white-box because a file does not show how it was written.

// ext4 mounts a file system with direct writes from an image of so many bytes in the directory.
func ext4(t *testing.T, images string, size int64) string {
	t.Helper()
	image, dir := filepath.Join(images, "image"), t.TempDir()
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, size)); err != nil {
		t.Fatal(err)
	}
	for _, argv := range [][]string{
		{"mkfs.ext4", "-q", "-O", "^has_journal", "-E", "nodiscard,lazy_itable_init=0", image},
		{"mount", "-o", "loop", image, dir},
	} {
		if out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Skipf("%s, which takes root, mkfs.ext4 and a loop device: %v\n%s", strings.Join(argv, " "), err, out)
		}
	}
	unmountAtEnd(t, dir)
	return dir
}

// memory mounts a file system without direct writes that has room for so many bytes.
func memory(t *testing.T, size int64) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Skipf("mount a tmpfs, which takes root: %v", err)
	}
	unmountAtEnd(t, dir)
	return dir
}

func unmountAtEnd(t *testing.T, dir string) {
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
}

func openAt(t *testing.T, root string) *Store {
	t.Helper()
	s, err := Open(root, Options{})
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

// bytesOf returns random bytes that begin at a page of memory.
func bytesOf(size int) []byte {
	b := make([]byte, max(size, 64<<10)) // of which the runtime makes whole pages
	_, _ = rand.NewChaCha8([32]byte{}).Read(b)
	return b[:size]
}

// pieces is a reader that hands its bytes over by WriteTo, in pieces of these lengths, the last of them again and again.
type pieces struct {
	io.Reader // never read from
	data      []byte
	lengths   []int
	err       error // at the end
}

func (p *pieces) WriteTo(w io.Writer) (done int64, err error) {
	for i := 0; done < int64(len(p.data)); i++ {
		rest := p.data[done:]
		n, err := w.Write(rest[:min(p.lengths[min(i, len(p.lengths)-1)], len(rest))])
		done += int64(n)
		if err != nil {
			return done, err
		}
	}
	return done, p.err
}

func TestPut_OfEveryLengthAndReader(t *testing.T) {
	t.Parallel()
	for kind, root := range map[string]func(*testing.T) string{
		"any":   (*testing.T).TempDir,
		"ext4":  func(t *testing.T) string { return ext4(t, t.TempDir(), 96<<20) },
		"tmpfs": func(t *testing.T) string { return memory(t, 96<<20) },
	} {
		t.Run(kind, func(t *testing.T) { putEveryLengthAndReader(t, root(t)) })
	}
}

func putEveryLengthAndReader(t *testing.T, root string) {
	const block, mib = 4096, 1 << 20
	s, all := openAt(t, root), bytesOf(32*mib+4712)
	for _, size := range []int{
		0, 1, block - 1, block, block + 1, directMin - 1, directMin, directMin + 1, directMin + block, 8*mib + 1,
		len(all) - 1,
	} {
		data, odd := all[:size], all[1:1+size] // at an address that is not for direct writes
		for _, c := range []struct {
			how  string
			r    io.Reader
			want []byte
		}{
			{"whole", bytes.NewReader(data), data},
			{"odd", bytes.NewReader(odd), odd},
			{"plain", struct{ io.Reader }{bytes.NewReader(data)}, data},
			{"halves", iotest.HalfReader(bytes.NewReader(data)), data},
			{"even-pieces", &pieces{data: data, lengths: []int{mib}}, data},
			{"odd-pieces", &pieces{data: data, lengths: []int{mib, 2*mib + block, mib + 1, 3, 4 * mib, mib - 1, 2 * mib}}, data},
			{"two-pieces", &pieces{data: data, lengths: []int{2 * mib, 64 * mib}}, data},
		} {
			name := blob.Name(fmt.Sprintf("%s/%d", c.how, size))
			if err := s.Put(blob.PastCache(t.Context()), name, c.r, int64(size)); err != nil {
				t.Errorf("Put(%s): %v", name, err)
				continue
			}
			if got, err := os.ReadFile(filepath.Join(root, string(name))); err != nil || !bytes.Equal(got, c.want) {
				t.Errorf("%s: %d bytes, %v, differ from the %d that were put", name, len(got), err, size)
			}
			if err := s.Delete(t.Context(), name); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestPut_OfReaderFailingAfterDirectWrites(t *testing.T) {
	t.Parallel()
	root := ext4(t, t.TempDir(), 64<<20)
	s := openAt(t, root)
	broken := errors.New("the reader broke")
	data := bytesOf(16 << 20)
	for _, before := range []int{8 << 20, 8<<20 + 100} {
		r := &pieces{data: data[:before], lengths: []int{8 << 20}, err: broken}
		if err := s.Put(blob.PastCache(t.Context()), "a", r, int64(len(data))); !errors.Is(err, broken) {
			t.Errorf("Put of a reader that fails after %d bytes = %v, want its error", before, err)
		}
		wantNothing(t, s, root)
	}
	if err := s.Put(blob.PastCache(t.Context()), "a", bytes.NewReader(data), int64(len(data))); err != nil {
		t.Errorf("Put afterwards: %v", err)
	}
}

// wantNothing checks that there is neither a blob a nor a temporary file.
func wantNothing(t *testing.T, s *Store, root string) {
	t.Helper()
	if _, err := s.Stat(t.Context(), "a"); !errors.Is(err, blob.ErrNotExist) {
		t.Errorf("Stat = %v, want ErrNotExist", err)
	}
	left, err := filepath.Glob(filepath.Join(root, tmpDir, "*", "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("temporary files %q, %v, want none", left, err)
	}
}

func TestPut_OfLargeBlobOnFullDisk(t *testing.T) {
	t.Parallel()
	root := ext4(t, t.TempDir(), 24<<20)
	s := openAt(t, root)
	data := bytesOf(32 << 20)
	for range 3 { // a failed Put gives its space back
		err := s.Put(blob.PastCache(t.Context()), "a", bytes.NewReader(data), int64(len(data)))
		if !errors.Is(err, blob.ErrNoSpace) || !strings.Contains(err.Error(), root) {
			t.Errorf("Put on a full disk = %v, want ErrNoSpace and the path", err)
		}
		wantNothing(t, s, root)
	}
	if err := s.Put(blob.PastCache(t.Context()), "a", bytes.NewReader(data[:12<<20]), 12<<20); err != nil {
		t.Errorf("Put of what fits: %v", err)
	}
}

// TestPut_OnDiskThatFailsInTheMiddle writes to a disk that promises more bytes than there are behind it.
func TestPut_OnDiskThatFailsInTheMiddle(t *testing.T) {
	t.Parallel()
	root := ext4(t, memory(t, 16<<20), 128<<20)
	s := openAt(t, root)
	data := bytesOf(32 << 20)
	w := created(t, root)
	if n, err := w.Write(data); err == nil {
		t.Errorf("direct Write = %d, nil, want the error of the disk", n)
	}
	if err := s.Put(blob.PastCache(t.Context()), "a", bytes.NewReader(data), int64(len(data))); err == nil {
		t.Error("Put on a disk that lost bytes = nil, want an error")
	}
	wantNothing(t, s, root)
}

// created makes an empty file in root to write to.
func created(t *testing.T, root string) *writer {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(root, "file"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &writer{File: f}
}

// writeAndLook writes p, wants it taken whole, and returns whether the file is set to direct writes then.
func writeAndLook(t *testing.T, w *writer, p []byte) bool {
	t.Helper()
	if n, err := w.Write(p); n != len(p) || err != nil {
		t.Fatalf("Write of %d bytes = %d, %v", len(p), n, err)
	}
	var flags int
	err := control(w.File, func(fd int) (err error) {
		flags, err = unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return flags&unix.O_DIRECT != 0
}

func wantContents(t *testing.T, w *writer, want []byte) {
	t.Helper()
	if err := w.Sync(); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(w.Name()); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the file has %d bytes, %v, which differ from the %d written", len(got), err, len(want))
	}
}

func TestWriter_IsDirectUntilAnOddPiece(t *testing.T) {
	t.Parallel()
	data := bytesOf(4*directMin + 100)
	for _, c := range []struct {
		file   string
		root   string
		direct bool
	}{
		{"ext4", ext4(t, t.TempDir(), 32<<20), true},
		{"tmpfs", memory(t, 32<<20), false}, // whose statx says nothing of direct writes
	} {
		w := created(t, c.root)
		for i, step := range []struct {
			from, to int
			direct   bool
		}{
			{0, directMin, c.direct},
			{directMin, 2 * directMin, c.direct},
			{2 * directMin, 3*directMin + 100, false},
			{3*directMin + 100, 4*directMin + 100, false},
		} {
			if got := writeAndLook(t, w, data[step.from:step.to]); got != step.direct {
				t.Errorf("on %s, after piece %d: direct %t, want %t", c.file, i, got, step.direct)
			}
		}
		wantContents(t, w, data)
	}
	w := created(t, ext4(t, t.TempDir(), 32<<20))
	if writeAndLook(t, w, data[:4096]) || writeAndLook(t, w, data[4096:][:directMin]) {
		t.Error("a file that begins with a small piece is written directly")
	}
	writeAndLook(t, w, data[4096+directMin:])
	wantContents(t, w, data)
}

func TestWriter_DirectPartOfAPiece(t *testing.T) {
	t.Parallel()
	data := bytesOf(2 * directMin)
	w := &writer{align: alignment{memory: 512, block: 4096}}
	for _, c := range []struct{ from, to, want int }{
		{0, directMin - 1, 0}, {0, directMin, directMin}, {0, directMin + 1, directMin},
		{512, directMin + 512 + 4095, directMin}, {0, directMin + 4096, directMin + 4096}, {511, 2 * directMin, 0},
	} {
		if got := w.fit(data[c.from:c.to]); got != c.want {
			t.Errorf("fit(bytes %d to %d) = %d, want %d", c.from, c.to, got, c.want)
		}
	}
	if a := alignmentOf(created(t, ext4(t, t.TempDir(), 32<<20)).File); a.memory == 0 || a.block != 4096 {
		t.Errorf("alignment of ext4 = %+v, want whole blocks of 4096 bytes", a)
	}
}

// TestWriter_RefusedByTheKernel lets the writer believe that any address and length will do, of which the kernel takes the
// first piece and refuses the next.
func TestWriter_RefusedByTheKernel(t *testing.T) {
	t.Parallel()
	data := bytesOf(4 * directMin)
	elsewhere := bytes.Clone(data[directMin-1 : 2*directMin])
	for what, odd := range map[string][]byte{
		"length":  data[directMin : 2*directMin+1],
		"address": elsewhere[1:],
	} {
		w := created(t, ext4(t, t.TempDir(), 32<<20))
		w.align = alignment{memory: 1, block: 1}
		if !writeAndLook(t, w, data[:directMin]) {
			t.Fatal("an aligned piece is not written directly")
		}
		if writeAndLook(t, w, odd) {
			t.Errorf("a piece of odd %s was not refused", what)
		}
		writeAndLook(t, w, data[directMin+len(odd):])
		wantContents(t, w, data)
	}
}

// spy notes the writers that a store makes.
type spy struct {
	System
	made []*writer
}

func (s *spy) Create(path string) (Writer, error) {
	w, err := s.System.Create(path)
	if err == nil {
		s.made = append(s.made, w.(*writer))
	}
	return w, err
}

// TestPut_IsDirectOnlyPastCache: what is likely to be read soon stays in memory.
func TestPut_IsDirectOnlyPastCache(t *testing.T) {
	t.Parallel()
	root := ext4(t, t.TempDir(), 32<<20)
	sys, err := OS(root)
	if err != nil {
		t.Fatal(err)
	}
	spied := &spy{System: sys}
	s, err := Open(root, Options{System: spied})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	data := bytesOf(2 * directMin)
	for _, c := range []struct {
		name blob.Name
		ctx  context.Context
		want bool
	}{{"usual", t.Context(), false}, {"past-cache", blob.PastCache(t.Context()), true}} {
		spied.made = nil
		if err := s.Put(c.ctx, c.name, bytes.NewReader(data), int64(len(data))); err != nil {
			t.Fatal(err)
		}
		if len(spied.made) != 1 || spied.made[0].direct != c.want {
			t.Errorf("Put of %s went past the cache: %t, want %t", c.name, !c.want, c.want)
		}
	}
}
