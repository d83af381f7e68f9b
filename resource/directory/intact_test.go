package directory_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/resource"
	"github.com/lockfast/lockfast/resource/resourcetest"
	"golang.org/x/sys/unix"
)

// damagedVault backs up a tree of several nodes into a vault without parity, whose store it returns too.
func damagedVault(t *testing.T) (v *repo.Vault, s blob.Store, root string, id repo.PointID) {
	t.Helper()
	s, root = mem.New(), t.TempDir()
	v = resourcetest.OpenVault(t, s, repo.CreateOptions{
		UUID: [16]byte{3}, NoParity: true, DataPack: 512 << 10, MetaPack: 512 << 10,
		Chunk: chunk.Params{Min: 1 << 10, Avg: 4 << 10, Max: 16 << 10},
	})
	r := rand.New(rand.NewPCG(5, 5))
	text := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return string(b)
	}
	for i := range 30 {
		for j := range 40 {
			write(t, fmt.Sprintf("%s/d%02d/%s%02d", root, i, strings.Repeat("name", 40), j), text(600))
		}
	}
	write(t, root+"/large", text(300_000))
	write(t, root+"/medium", text(150_000))
	must(t, os.Link(root+"/large", root+"/link"))
	write(t, root+"/attributes", text(140_000))
	err := unix.Setxattr(root+"/attributes", "user.large", []byte(text(5000)), 0) // too large to stand in an entry
	if errors.Is(err, unix.ENOSPC) {                                              // as on ext4, which gives all attributes of a file a block of 4 KiB
		err = unix.Setxattr(root+"/attributes", "user.large", []byte(text(3000)), 0)
	}
	must(t, err)
	write(t, root+"/inline", "small")
	id, _ = capture(t, v, settled(), root, "")
	return v, s, root, id
}

// flip changes a byte of every object under a prefix, at a part of its length.
func flip(t *testing.T, s blob.Store, prefix string, part float64) {
	t.Helper()
	var names []blob.Name
	for i, err := range s.List(t.Context(), prefix) {
		must(t, err)
		names = append(names, i.Name)
	}
	for _, name := range names {
		rc, err := s.Get(t.Context(), name, 0, -1)
		must(t, err)
		b, err := io.ReadAll(rc)
		must(t, err)
		b = bytes.Clone(b)
		b[int(part*float64(len(b)))] ^= 4
		must(t, s.Delete(t.Context(), name))
		must(t, s.Put(t.Context(), name, bytes.NewReader(b), int64(len(b))))
	}
}

// TestRestore_Intact damages contents and nodes. Every file that is restored is whole, every other one is accounted for,
// and without the option nothing is restored and the error names an item.
func TestRestore_Intact(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"d/", "m/"} {
		for _, part := range []float64{0.01, 0.2, 0.4, 0.6} {
			t.Run(fmt.Sprintf("%s %v", prefix[:1], part), func(t *testing.T) {
				t.Parallel()
				v, s, root, id := damagedVault(t)
				flip(t, s, prefix, part)
				p := resourcetest.OpenPoint(t, v, id)
				order := resource.Restore{Point: p, Directory: t.TempDir(), Name: "whole"}
				_, err := settled().Restore(t.Context(), order)
				if !errors.Is(err, repo.ErrDamaged) || !strings.Contains(err.Error(), "intact") {
					t.Fatalf("Restore without Intact = %v, want ErrDamaged", err)
				}
				if left, _ := os.ReadDir(order.Directory); len(left) > 0 {
					t.Errorf("Restore without Intact left %v", left)
				}
				order.Name, order.Intact = "intact", true
				out, err := settled().Restore(t.Context(), order)
				if err != nil && strings.Contains(err.Error(), "all entries") {
					return // the root node: nothing can be restored
				}
				must(t, err)
				checkIntact(t, root, out)
			})
		}
	}
}

// checkIntact compares what was restored with the source, and what is missing with what was skipped.
func checkIntact(t *testing.T, root string, out resource.Outcome) {
	t.Helper()
	restored := 0
	must(t, filepath.WalkDir(out.Path, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(out.Path, path)
		must(t, err)
		got, err := os.ReadFile(path)
		must(t, err)
		want, err := os.ReadFile(filepath.Join(root, name))
		must(t, err)
		if !bytes.Equal(got, want) {
			t.Errorf("%s was restored with other bytes", name)
		}
		restored++
		return nil
	}))
	if restored == 0 || len(out.Skipped) == 0 {
		t.Errorf("%d files restored, %d items skipped, want some of both", restored, len(out.Skipped))
	}
	accounted := 0
	for _, s := range out.Skipped {
		n := 0
		if _, err := fmt.Sscanf(s.Reason, "damaged in the store: this item and the %d after it", &n); err != nil {
			n = 0
		}
		if !s.Partial {
			accounted += n + 1
		}
		if _, err := os.Lstat(filepath.Join(out.Path, string(s.Path))); n == 0 && !s.Partial && err == nil {
			t.Errorf("%s is there and was skipped: %s", s.Path, s.Reason)
		}
	}
	total := 0
	must(t, filepath.WalkDir(root, func(_ string, d fs.DirEntry, err error) error {
		if err == nil {
			total++
		}
		return err
	}))
	if int(out.Items)+accounted != total {
		t.Errorf("%d items restored and %d accounted for of %d", out.Items, accounted, total)
	}
}

func TestRestore_IntactItems(t *testing.T) {
	t.Parallel()
	v, s, root, id := damagedVault(t)
	flip(t, s, "d/", 0.3)
	p := resourcetest.OpenPoint(t, v, id)
	for _, item := range []string{"inline", "large", "medium", "d07"} {
		order := resource.Restore{Point: p, Directory: t.TempDir(), Name: "x", Items: [][]byte{[]byte(item)}, Intact: true}
		out, err := settled().Restore(t.Context(), order)
		must(t, err)
		if got, err := os.ReadFile(filepath.Join(out.Path, item)); err == nil {
			want, err := os.ReadFile(filepath.Join(root, item))
			must(t, err)
			if !bytes.Equal(got, want) {
				t.Errorf("%s was restored with other bytes", item)
			}
		} else if item == "inline" {
			t.Errorf("%s: %v", item, err)
		}
	}
}

// TestRestore_IntactItemWithoutRoot loses the first leaf of the tree, with the entry of the root: an item of another leaf is
// restored all the same, and one of that leaf is not, with an error that names what is damaged.
func TestRestore_IntactItemWithoutRoot(t *testing.T) {
	t.Parallel()
	v, s, _, id := damagedVault(t)
	flip(t, s, "m/", 0.01)
	p := resourcetest.OpenPoint(t, v, id)
	order := resource.Restore{Point: p, Directory: t.TempDir(), Name: "x", Items: [][]byte{[]byte("inline")}, Intact: true}
	out, err := settled().Restore(t.Context(), order)
	must(t, err)
	if got, err := os.ReadFile(filepath.Join(out.Path, "inline")); string(got) != "small" || err != nil {
		t.Errorf("inline was restored as %q, %v", got, err)
	}
	if len(out.Skipped) == 0 {
		t.Error("nothing is said of the root, which is lost")
	}
	order.Name, order.Items = "y", [][]byte{[]byte("d00")}
	_, err = settled().Restore(t.Context(), order)
	if !errors.Is(err, repo.ErrDamaged) || !strings.Contains(err.Error(), "d00") || !strings.Contains(err.Error(), "m/") ||
		!strings.Contains(err.Error(), "repair the vault") {
		t.Errorf("Restore of what is lost = %v, want it to name d00, an object and what to do", err)
	}
}

// TestRestore_IntactOfWholePoint is a restore like any other.
func TestRestore_IntactOfWholePoint(t *testing.T) {
	t.Parallel()
	v, _, root, id := damagedVault(t)
	out := resourcetest.Restore(t, v, settled(), id, resource.Restore{Directory: t.TempDir(), Name: "x", Intact: true})
	same(t, root, out.Path)
	if len(out.Skipped) > 0 {
		t.Errorf("skipped: %s", reasons(out.Skipped))
	}
}
