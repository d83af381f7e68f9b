package directory

import (
	"bytes"
	"context"
	"testing"

	"golang.org/x/sys/unix"
)

// counter is a visitor that checks the order of keys.
type counter struct {
	t               *testing.T
	visited, bad, v int
	last            []byte
	reasons         []string
}

func (c *counter) visit(_ context.Context, n *node) error {
	if c.visited > 0 && bytes.Compare(c.last, n.key) >= 0 {
		c.t.Errorf("key %q follows %q", n.key, c.last)
	}
	c.last = append(c.last[:0], n.key...)
	c.visited++
	return nil
}
func (c *counter) skip(key []byte, reason error, partial bool) {
	c.bad++
	c.reasons = append(c.reasons, string(Path(key))+": "+reason.Error())
}
func (c *counter) vanish() { c.v++ }

func walkAll(t *testing.T, path string) *counter {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := &counter{t: t}
	if err := walk(context.Background(), fd, false, nil, c); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestWalk_DeepTree goes down and up again with fewer descriptors than levels.
func TestWalk_DeepTree(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	const depth = 4096
	fd, err := unix.Open(root, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range depth {
		for _, name := range []string{"d", "e"} {
			if err := unix.Mkdirat(fd, name, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		next, err := openDir(fd, cstr([]byte("d")))
		if err != nil {
			t.Fatal(err)
		}
		closeFD(fd)
		fd = next
	}
	closeFD(fd)
	c := walkAll(t, root)
	if want := 1 + 2*depth; c.visited != want || c.bad != 0 {
		t.Errorf("visited %d items and skipped %d (%v), want %d and 0", c.visited, c.bad, c.reasons, want)
	}
}
