package browse_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/browse"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/wire"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/resource"
	"github.com/lockfast/lockfast/resource/directory"
	"github.com/lockfast/lockfast/resource/resourcetest"
)

// points finds recovery points of one vault by ARNs that are short names.
type points struct {
	vault *repo.Vault
	ids   map[string]repo.PointID
}

func (p points) OpenPoint(ctx context.Context, _, _, arn string) (*repo.Point, error) {
	id, ok := p.ids[arn]
	if !ok {
		return nil, lockfastapi.ResourceNotFoundExceptionf("Recovery point %s does not exist", arn)
	}
	return p.vault.OpenPoint(ctx, id)
}

type fixture struct {
	*browse.Service
	t      *testing.T
	ctx    context.Context
	root   string
	driver *directory.Driver
	points points
}

func newFixture(t *testing.T) *fixture {
	p := points{vault: resourcetest.NewVault(t), ids: map[string]repo.PointID{}}
	return &fixture{
		Service: browse.New(p, restjson.NewPager([]byte("key"))), t: t, root: t.TempDir(), driver: directory.New(directory.Options{}),
		ctx: caller.With(t.Context(), caller.Caller{Account: "123456789012", Region: "us-east-1"}), points: p,
	}
}

func (f *fixture) write(path, text string) {
	f.t.Helper()
	path = filepath.Join(f.root, path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		f.t.Fatal(err)
	}
}

// capture makes a recovery point of the tree under a name.
func (f *fixture) capture(name string, parent repo.PointID) repo.PointID {
	f.t.Helper()
	order := resource.Capture{Resource: resource.Resource{Type: "EFS", Address: map[string]string{"path": f.root}}}
	f.points.ids[name], _ = resourcetest.Capture(f.t, f.points.vault, f.driver, order, parent)
	return f.points.ids[name]
}

// list reads all pages of a listing, as lines.
func (f *fixture) list(in lockfastapi.ListItemsInput) []string {
	f.t.Helper()
	var lines []string
	for {
		out, err := f.ListItems(f.ctx, &in)
		if err != nil {
			f.t.Fatal(err)
		}
		for _, i := range out.Items {
			line := fmt.Sprintf("%s %s %d", i.Type, i.DisplayPath, i.Size)
			if i.LinkTarget != nil {
				line += " -> " + string(i.LinkTarget)
			}
			lines = append(lines, line)
		}
		if in.NextToken = out.NextToken; out.NextToken == nil {
			return lines
		}
	}
}

func wantError(t *testing.T, err error, name string) {
	t.Helper()
	if api, ok := errors.AsType[wire.APIError](err); !ok || api.ErrorName() != name {
		t.Errorf("error = %v, want %s", err, name)
	}
}

func TestListItems(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.write("a/one", "1")
	f.write("a/b/two", "22")
	f.write("a/b/c/three", "333")
	f.write("a.txt", "text")
	f.write("a\x01", "after a and before a.txt")
	f.write("bad\xff", "")
	if err := errors.Join(os.Symlink("a/one", filepath.Join(f.root, "link")), syscall.Mkfifo(filepath.Join(f.root, "pipe"), 0o600),
		os.Link(filepath.Join(f.root, "a.txt"), filepath.Join(f.root, "same"))); err != nil {
		t.Fatal(err)
	}
	f.capture("p", "")
	top := []string{"dir a 0", "file a\\x01 24", "file a.txt 4", "file bad\\xff 0", "link link 0 -> a/one", "fifo pipe 0", "file same 4"}
	below := []string{"dir a/b 0", "dir a/b/c 0", "file a/b/c/three 3", "file a/b/two 2", "file a/one 1"}
	tests := []struct {
		name      string
		path      *string
		recursive bool
		want      []string
	}{
		{"root", nil, false, top},
		{"root by name", new("/"), false, top},
		{"everything", nil, true, append(append([]string{top[0]}, below...), top[1:]...)},
		{"directory", new("a"), false, []string{"dir a/b 0", "file a/one 1"}},
		{"directory with slashes", new("/a/"), false, []string{"dir a/b 0", "file a/one 1"}},
		{"all below a directory", new("a"), true, below},
		{"file", new("a/one"), true, []string{"file a/one 1"}},
	}
	for _, tt := range tests {
		for _, limit := range []int{1, 2, 1000} {
			got := f.list(lockfastapi.ListItemsInput{RecoveryPointArn: "p", Path: tt.path, Recursive: &tt.recursive, MaxResults: &limit})
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s, pages of %d: %s", tt.name, limit, diff)
			}
		}
	}
	out, err := f.ListItems(f.ctx, &lockfastapi.ListItemsInput{RecoveryPointArn: "p", Path: new("bad\xff")})
	if err != nil || len(out.Items) != 1 || string(out.Items[0].Path) != "bad\xff" || out.Items[0].Mode&0o777 != 0o644 {
		t.Errorf("name that is not UTF-8 = %+v, %v", out, err)
	}
	_, err = f.ListItems(f.ctx, &lockfastapi.ListItemsInput{RecoveryPointArn: "p", Path: new("none")})
	wantError(t, err, "ResourceNotFoundException")
	_, err = f.ListItems(f.ctx, &lockfastapi.ListItemsInput{RecoveryPointArn: "p", Path: new("a/../b")})
	wantError(t, err, "InvalidParameterValueException")
	_, err = f.ListItems(f.ctx, &lockfastapi.ListItemsInput{RecoveryPointArn: "q"})
	wantError(t, err, "ResourceNotFoundException")
}

func TestGetItem(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	big := strings.Repeat("0123456789abcdef", 1<<16)
	f.write("d/big", big)
	f.write("empty", "")
	f.capture("p", "")
	for path, want := range map[string]string{"d/big": big, "/empty": ""} {
		out, err := f.GetItem(f.ctx, &lockfastapi.GetItemInput{RecoveryPointArn: "p", Path: path})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(out.Body)
		if err := errors.Join(err, out.Body.Close()); err != nil || string(got) != want || *out.ContentLength != int64(len(want)) {
			t.Errorf("GetItem(%s) = %d bytes, ContentLength %d, %v, want %d bytes", path, len(got), *out.ContentLength, err, len(want))
		}
	}
	for path, want := range map[string]string{"d": "InvalidParameterValueException", "none": "ResourceNotFoundException", "..": "InvalidParameterValueException"} {
		_, err := f.GetItem(f.ctx, &lockfastapi.GetItemInput{RecoveryPointArn: "p", Path: path})
		wantError(t, err, want)
	}
}

func TestCompareRecoveryPoints(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.write("changed", "before")
	f.write("gone/file", "x")
	f.write("kept", "x")
	f.write("mode", "x")
	older := f.capture("old", "")
	f.write("changed", "afterwards")
	f.write("new", "abc")
	if err := errors.Join(os.RemoveAll(filepath.Join(f.root, "gone")), os.Chmod(filepath.Join(f.root, "mode"), 0o600)); err != nil {
		t.Fatal(err)
	}
	f.capture("new", older)

	compare := func(from, to string, limit int) []string {
		t.Helper()
		lines := []string{}
		in := &lockfastapi.CompareRecoveryPointsInput{RecoveryPointArn: from, OtherRecoveryPointArn: to, MaxResults: &limit}
		for {
			out, err := f.CompareRecoveryPoints(f.ctx, in)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range out.Changes {
				if c.DisplayPath != "" && c.DisplayPath != "/" && c.DisplayPath != "." { // the root's time
					lines = append(lines, fmt.Sprintf("%s %s %s %s", c.Change, c.DisplayPath, size(c.SizeBefore), size(c.SizeAfter)))
				}
			}
			if in.NextToken = out.NextToken; out.NextToken == nil {
				return lines
			}
		}
	}
	want := []string{"changed changed 6 10", "removed gone 0 -", "removed gone/file 1 -", "metadata mode 1 1", "added new - 3"}
	for _, limit := range []int{1, 2, 1000} {
		if diff := cmp.Diff(want, compare("old", "new", limit)); diff != "" {
			t.Errorf("pages of %d: %s", limit, diff)
		}
	}
	if diff := cmp.Diff([]string{}, compare("new", "new", 1000)); diff != "" {
		t.Error("with itself:", diff)
	}
	for _, in := range []*lockfastapi.CompareRecoveryPointsInput{
		{RecoveryPointArn: "old", OtherRecoveryPointArn: "none"}, {RecoveryPointArn: "none", OtherRecoveryPointArn: "new"},
	} {
		_, err := f.CompareRecoveryPoints(f.ctx, in)
		wantError(t, err, "ResourceNotFoundException")
	}
}

func size(n *int64) string {
	if n == nil {
		return "-"
	}
	return fmt.Sprint(*n)
}
