// Package s3test runs versitygw, a server that speaks S3 over a directory, for the tests of what speaks S3. The binary is
// put into .cache/bin by scripts/setup.sh.
package s3test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sys/unix"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/s3"
)

const binary = "versitygw-1.8.0"

// The credentials that a gateway accepts.
const (
	AccessKey = "lockfast-test"
	SecretKey = "correct-horse-battery-staple"
)

// Gateway is a running server. It ends with the test.
type Gateway struct {
	Endpoint string // http://127.0.0.1:PORT
	Dir      string // in which each bucket is a directory

	address string
	args    []string
	buckets atomic.Int64
	process *exec.Cmd
	ended   chan struct{} // closed when the process has
}

// Start starts a server that is empty.
func Start(t testing.TB) *Gateway {
	t.Helper()
	dir := t.TempDir()
	g := &Gateway{Dir: filepath.Join(dir, "data"), args: []string{"posix", "--versioning-dir", filepath.Join(dir, "versions")}}
	for _, sub := range []string{"data", "versions", "meta"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Setxattr(g.Dir, "user.test", []byte("x"), 0); err != nil {
		g.args = []string{"posix", "--sidecar", filepath.Join(dir, "meta")} // and no versions
	}
	for try := 1; ; try++ {
		g.address = freePort(t)
		err := g.run(t)
		if err == nil {
			break
		}
		if try == 3 { // someone may have taken the port meanwhile
			t.Fatal(err)
		}
	}
	g.Endpoint = "http://" + g.address
	t.Cleanup(g.Stop)
	return g
}

func freePort(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return address
}

// run starts the process and waits until it answers.
func (g *Gateway) run(t testing.TB) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	path := filepath.Join(root, ".cache", "bin", binary)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s is missing, which `make test` installs: %v", binary, err)
	}
	args := append([]string{"--port", g.address, "--quiet", "--health", "/health"}, g.args...)
	g.process = exec.Command(path, append(args, g.Dir)...)
	g.process.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+AccessKey, "ROOT_SECRET_KEY="+SecretKey)
	var out bytes.Buffer
	g.process.Stdout, g.process.Stderr = &out, &out
	dieWithParent(g.process)
	if err := g.process.Start(); err != nil {
		return err
	}
	g.ended = make(chan struct{})
	go func() {
		_ = g.process.Wait()
		close(g.ended)
	}()
	for tries := 600; tries > 0; tries-- { // a minute
		if g.healthy(t.Context()) {
			return nil
		}
		select {
		case <-g.ended:
			tries = 0
		case <-time.After(100 * time.Millisecond): // another process has to get ready
		}
	}
	g.Stop()
	return fmt.Errorf("%s does not answer: %s", binary, strings.TrimSpace(out.String()))
}

func (g *Gateway) healthy(ctx context.Context) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.address+"/health", nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no go.mod above the test")
		}
	}
}

// Stop kills the server, whose buckets stay.
func (g *Gateway) Stop() {
	_ = g.process.Process.Kill() // it may have ended already
	<-g.ended
}

// Restart starts the server again, at the same address.
func (g *Gateway) Restart(t testing.TB) {
	t.Helper()
	if err := g.run(t); err != nil {
		t.Fatal(err)
	}
}

// Location makes a bucket, and returns the location of a store in it.
func (g *Gateway) Location(t testing.TB) s3.Location {
	t.Helper()
	l := s3.Location{Bucket: fmt.Sprintf("bucket-%d", g.buckets.Add(1)), Prefix: "a/prefix", Endpoint: g.Endpoint,
		PathStyle: true}
	if _, err := g.Client().CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: &l.Bucket}); err != nil {
		t.Fatal(err)
	}
	return l
}

// Locked makes a bucket with object lock, and returns the location of a store in it. It skips the test where the server
// cannot.
func (g *Gateway) Locked(t testing.TB) s3.Location {
	t.Helper()
	if g.args[1] != "--versioning-dir" {
		t.Skip("locks need versions, and those extended attributes, which the file system of temporary files lacks")
	}
	l := s3.Location{Bucket: fmt.Sprintf("locked-%d", g.buckets.Add(1)), Prefix: "a/prefix", Endpoint: g.Endpoint, PathStyle: true}
	_, err := g.Client().CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: &l.Bucket, ObjectLockEnabledForBucket: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// KeepVersions makes a bucket keep the versions of its objects. It skips the test where the server cannot.
func (g *Gateway) KeepVersions(t testing.TB, bucket string) {
	t.Helper()
	if g.args[1] != "--versioning-dir" {
		t.Skip("versions need extended attributes, which the file system of temporary files lacks")
	}
	_, err := g.Client().PutBucketVersioning(t.Context(), &awss3.PutBucketVersioningInput{Bucket: &bucket,
		VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}})
	if err != nil {
		t.Fatal(err)
	}
}

// Versions returns the number of versions and deletion markers in a bucket.
func (g *Gateway) Versions(t testing.TB, bucket string) int {
	t.Helper()
	out, err := g.Client().ListObjectVersions(t.Context(), &awss3.ListObjectVersionsInput{Bucket: &bucket})
	if err != nil {
		t.Fatal(err)
	}
	return len(out.Versions) + len(out.DeleteMarkers)
}

// Credentials returns what the server accepts.
func Credentials() aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: AccessKey, SecretAccessKey: SecretKey}, nil
	})
}

// Open opens a store with the server's credentials.
func Open(t testing.TB, l s3.Location, o s3.Options) *s3.Store {
	t.Helper()
	o.Credentials = Credentials()
	s, err := s3.Open(t.Context(), l, o)
	for range 5 {
		if !errors.Is(err, blob.ErrUnavailable) {
			break
		}
		s, err = s3.Open(t.Context(), l, o) // the gateway of a busy machine may be slower than o.Stall
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}
