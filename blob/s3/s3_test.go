package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/blobtest"
	"github.com/lockfast/lockfast/blob/s3"
	"github.com/lockfast/lockfast/blob/s3/s3test"
)

func TestConforms(t *testing.T) {
	t.Parallel()
	g := s3test.Start(t)
	blobtest.Run(t, func(t *testing.T) blob.Store { return s3test.Open(t, g.Location(t), s3.Options{}) })
}

func TestConforms_WithVersions(t *testing.T) {
	t.Parallel()
	g := s3test.Start(t)
	blobtest.Run(t, func(t *testing.T) blob.Store {
		l := g.Location(t)
		g.KeepVersions(t, l.Bucket)
		return s3test.Open(t, l, s3.Options{})
	})
}

func put(t *testing.T, s blob.Store, name blob.Name, data string) {
	t.Helper()
	if err := s.Put(t.Context(), name, strings.NewReader(data), int64(len(data))); err != nil {
		t.Fatalf("Put(%s): %v", name, err)
	}
}

func get(t *testing.T, s blob.Store, name blob.Name) (string, error) {
	t.Helper()
	r, err := s.Get(t.Context(), name, 0, -1)
	if err != nil {
		return "", err
	}
	data, err := io.ReadAll(r)
	return string(data), errors.Join(err, r.Close())
}

func names(t *testing.T, s blob.Store) []blob.Name {
	t.Helper()
	names := []blob.Name{}
	for info, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatalf("List: %v", err)
		}
		names = append(names, info.Name)
	}
	return names
}

func TestDelete_LeavesNoVersions(t *testing.T) {
	t.Parallel()
	g := s3test.Start(t)
	l := g.Location(t)
	g.KeepVersions(t, l.Bucket)
	s := s3test.Open(t, l, s3.Options{})
	before := g.Versions(t, l.Bucket)
	for range 3 {
		put(t, s, "d/1", "x")
		put(t, s, "d/10", "x")
		for range 2 {
			if err := s.Delete(t.Context(), "d/1"); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Delete(t.Context(), "d/10"); err != nil {
			t.Fatal(err)
		}
	}
	if got := g.Versions(t, l.Bucket); got != before {
		t.Errorf("after all deletions the bucket holds %d versions, want %d as in the beginning", got, before)
	}
}

func TestList_OfManyPages(t *testing.T) {
	t.Parallel()
	g := s3test.Start(t)
	s := s3test.Open(t, g.Location(t), s3.Options{})
	want := []blob.Name{}
	var all sync.WaitGroup
	for i := range 1050 {
		name := blob.Name(fmt.Sprintf("d%d/%04d", i/1000, i))
		want = append(want, name)
		all.Go(func() {
			if err := s.Put(t.Context(), name, bytes.NewReader(nil), 0); err != nil {
				t.Errorf("Put(%s): %v", name, err)
			}
		})
	}
	all.Wait()
	if diff := cmp.Diff(want, names(t, s)); diff != "" {
		t.Errorf("List() (-want +got):\n%s", diff)
	}
	dirs := []string{}
	for dir, err := range s.Directories(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, dir)
	}
	if diff := cmp.Diff([]string{"d0", "d1"}, dirs); diff != "" {
		t.Errorf("Directories() (-want +got):\n%s", diff)
	}
}

func TestForeignObjects_AreLeftAlone(t *testing.T) {
	t.Parallel()
	g := s3test.Start(t)
	l := g.Location(t)
	s := s3test.Open(t, l, s3.Options{})
	for _, file := range []string{"README.md", "Upper/a", "a/.hidden/b", "../prefix2/a", "ok"} {
		path := filepath.Join(g.Dir, l.Bucket, l.Prefix, file)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("x"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]blob.Name{"ok"}, names(t, s)); diff != "" {
		t.Errorf("List() (-want +got):\n%s", diff)
	}
}

func TestGet_OfDamagedBlob(t *testing.T) {
	t.Parallel()
	g := s3test.Start(t)
	l := g.Location(t)
	s := s3test.Open(t, l, s3.Options{})
	put(t, s, "a", "some bytes")
	file := filepath.Join(g.Dir, l.Bucket, l.Prefix, "a")
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte("S"), 0)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	if data, err := get(t, s, "a"); !errors.Is(err, s3.ErrChecksum) || data != "Some bytes" {
		t.Errorf("Get(a) = %q, %v, want the bytes and %v", data, err, s3.ErrChecksum)
	}
}

func TestReadOnly(t *testing.T) {
	t.Parallel()
	g := s3test.Start(t)
	l := g.Location(t)
	s := s3test.Open(t, l, s3.Options{ReadOnly: true})
	if entries, err := os.ReadDir(filepath.Join(g.Dir, l.Bucket)); err != nil || len(entries) > 0 {
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), ".") {
				t.Errorf("opening read only has written %s", e.Name())
			}
		}
	}
	if err := s.Put(t.Context(), "a", bytes.NewReader(nil), 0); !errors.Is(err, blob.ErrPermission) {
		t.Errorf("Put = %v, want %v", err, blob.ErrPermission)
	}
	put(t, s3test.Open(t, l, s3.Options{}), "a", "x")
	if err := s.Delete(t.Context(), "a"); !errors.Is(err, blob.ErrPermission) {
		t.Errorf("Delete = %v, want %v", err, blob.ErrPermission)
	}
	if data, err := get(t, s, "a"); data != "x" || err != nil {
		t.Errorf("Get(a) = %q, %v, want x", data, err)
	}
}

func TestOpen_SaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	g := s3test.Start(t)
	l := g.Location(t)
	absent, away := l, l
	absent.Bucket = "no-such-bucket"
	away.Endpoint = "http://127.0.0.1:1"
	wrong := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: s3test.AccessKey, SecretAccessKey: "hunter2"}, nil
	})
	for name, c := range map[string]struct {
		location    s3.Location
		credentials aws.CredentialsProvider
		want        error
		text        string
	}{
		"no bucket":    {absent, s3test.Credentials(), blob.ErrUnavailable, "bucket"},
		"no server":    {away, s3test.Credentials(), blob.ErrUnavailable, "refused"},
		"wrong secret": {l, wrong, blob.ErrPermission, "SignatureDoesNotMatch"},
	} {
		for _, readOnly := range []bool{false, true} {
			_, err := s3.Open(t.Context(), c.location, s3.Options{Credentials: c.credentials, ReadOnly: readOnly})
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.location.String()) {
				t.Errorf("%s: Open = %v, want %v for %s", name, err, c.want, c.location)
				continue
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), s3test.AccessKey) {
				t.Errorf("%s: Open = %v, which shows a credential", name, err)
			}
			if !readOnly && !strings.Contains(err.Error(), c.text) {
				t.Errorf("%s: Open = %v, want the text %q", name, err, c.text)
			}
		}
	}
}

func TestOpen_WithUnknownProfile(t *testing.T) {
	t.Parallel()
	l := s3.Location{Bucket: "bucket", Endpoint: "http://127.0.0.1:1", PathStyle: true, Credential: "no-such-profile"}
	if _, err := s3.Open(t.Context(), l, s3.Options{}); err == nil || !strings.Contains(err.Error(), "no-such-profile") {
		t.Errorf("Open(%s) = %v, want an error that names the profile", l, err)
	}
}

func TestBucketThatVanishes_IsNotAnEmptyStore(t *testing.T) {
	t.Parallel()
	g := s3test.Start(t)
	l := g.Location(t)
	s := s3test.Open(t, l, s3.Options{})
	put(t, s, "a", "x")
	bucket := filepath.Join(g.Dir, l.Bucket)
	if err := os.Rename(bucket, bucket+"-elsewhere"); err != nil {
		t.Fatal(err)
	}
	_, err := s.Stat(t.Context(), "a")
	wantUnavailable(t, "Stat", err)
	_, err = s.Get(t.Context(), "a", 0, -1)
	wantUnavailable(t, "Get", err)
	_, err = s.Get(t.Context(), "a", 0, 0)
	wantUnavailable(t, "empty Get", err)
	wantUnavailable(t, "Delete", s.Delete(t.Context(), "a"))
	wantUnavailable(t, "Put", s.Put(t.Context(), "b", bytes.NewReader(nil), 0))
	for _, err = range s.List(t.Context(), "") {
	}
	wantUnavailable(t, "List", err)
}

func wantUnavailable(t *testing.T, call string, err error) {
	t.Helper()
	if !errors.Is(err, blob.ErrUnavailable) || errors.Is(err, blob.ErrNotExist) {
		t.Errorf("%s = %v, want %v", call, err, blob.ErrUnavailable)
	}
}
