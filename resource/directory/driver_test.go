package directory_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockfast/lockfast/resource"
	"github.com/lockfast/lockfast/resource/directory"
	"github.com/lockfast/lockfast/resource/resourcetest"
	"golang.org/x/sys/unix"
)

// later is a clock for which everything in a test is old, so that nothing is racy.
func later() time.Time { return time.Now().Add(time.Hour) }

func settled() *directory.Driver { return directory.New(directory.Options{Now: later}) }

func at(path string) resource.Resource {
	return resource.Resource{ARN: "arn:test", Type: directory.Name, Address: map[string]string{directory.PathKey: path}}
}

func TestSuite(t *testing.T) {
	t.Parallel()
	resourcetest.Run(t, settled(), newSubject)
}

func newSubject(t *testing.T) resourcetest.Subject {
	root := filepath.Join(t.TempDir(), "source")
	if err := os.Mkdir(root, 0o751); err != nil {
		t.Fatal(err)
	}
	resourcetest.MakeTree(t, root)
	targets := t.TempDir()
	var n, rounds atomic.Int64
	return resourcetest.Subject{
		Resource: at(root),
		Missing:  at(filepath.Join(root, "missing")),
		Change:   func(t *testing.T) { change(t, root, int(rounds.Add(1))) },
		Target: func(t *testing.T) resource.Restore {
			return resource.Restore{Directory: targets, Name: fmt.Sprintf("restored-%d", n.Add(1))}
		},
		Compare: func(t *testing.T, o resource.Outcome) []string {
			if len(o.Skipped) > 0 {
				t.Errorf("restore skipped %v", o.Skipped)
			}
			return resourcetest.CompareTrees(t, root, o.Path)
		},
		Empty: func(t *testing.T, _ resource.Restore) (left []string) {
			entries, err := os.ReadDir(targets)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				left = append(left, e.Name()+" is left")
			}
			return left
		},
	}
}

// change changes a tree of resourcetest in every way that there is.
func change(t *testing.T, root string, round int) {
	t.Helper()
	path := func(name string) string { return filepath.Join(root, name) }
	links := []string{"links", "links renamed"}
	for _, err := range []error{
		os.WriteFile(path("files/513"), fmt.Append(nil, "round ", round), 0o644),
		os.WriteFile(path(fmt.Sprintf("files/new %d", round)), []byte("new"), 0o644),
		os.Chmod(path("files/4096"), os.FileMode(0o600+round)),
		os.MkdirAll(path(fmt.Sprintf("round/%d/sub", round)), 0o700),
		os.Chtimes(path("files/1"), time.Time{}, time.Unix(int64(round), 5)),
		swap(path("swapped"), round),
		os.Rename(path(links[(round+1)%2]), path(links[round%2])),
		os.Link(path("files/512"), path(fmt.Sprintf("owners/link %d", round))),
		unix.Setxattr(path("files/1048576"), "user.round", fmt.Append(nil, round), 0),
		os.Remove(path(fmt.Sprintf("files/%d", 131071+round-1))),
	} {
		if err != nil {
			t.Error(err)
		}
	}
}

func swap(path string, round int) error {
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	if round%2 == 0 {
		return os.MkdirAll(filepath.Join(path, "below"), 0o755)
	}
	return os.WriteFile(path, []byte("file"), 0o644)
}
