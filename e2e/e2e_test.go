// Package e2e runs the clients that people have against a real server of the
// real binary: boto3, the aws command line, the AWS SDKs for Go and JavaScript.
package e2e_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// binary is the program under test, built once by TestMain.
var binary string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "lockfast-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "lockfast")
	build := exec.Command("go", "build", "-o", binary, "../cmd/lockfast")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// server is one running `lockfast serve`.
type server struct {
	url  string
	data string   // its data directory
	more []string // variables of its environment, and that of the command line, besides what is usual
	cmd  *exec.Cmd
}

// serve starts a server on a kernel-chosen port and stops it with the test.
func serve(t *testing.T, args ...string) *server {
	t.Helper()
	s := &server{data: filepath.Join(t.TempDir(), "data")}
	s.start(t, args...)
	t.Cleanup(func() { s.stop(t) })
	return s
}

func (s *server) start(t *testing.T, args ...string) {
	t.Helper()
	s.cmd = exec.Command(binary, append([]string{"serve", "--data", s.data, "--listen", "127.0.0.1:0"}, args...)...)
	s.cmd.Env = append(os.Environ(), s.more...)
	s.cmd.Stderr = &logWriter{t: t}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	const prefix = "lockfast: serving on "
	if err != nil || !strings.HasPrefix(line, prefix) {
		s.cmd.Process.Kill()
		s.cmd.Wait()
		t.Fatalf("serve printed %q (%v), want %q", line, err, prefix)
	}
	s.url = strings.TrimSpace(strings.TrimPrefix(line, prefix))
}

// stop ends the server as an operator would and expects a clean exit.
func (s *server) stop(t *testing.T) {
	t.Helper()
	s.cmd.Process.Signal(syscall.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("serve ended with %v, want exit status 0", err)
	}
}

// env is the environment of a client: nothing of the user's AWS set-up.
func (s *server) env(more ...string) []string {
	env := []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + os.TempDir(),
		"AWS_ENDPOINT_URL=" + s.url,
		"AWS_SHARED_CREDENTIALS_FILE=" + filepath.Join(s.data, "credentials"),
		"AWS_CONFIG_FILE=" + os.DevNull,
		"AWS_DEFAULT_REGION=us-east-1",
		"AWS_REGION=us-east-1",
		"AWS_EC2_METADATA_DISABLED=true",
		"PYTHONDONTWRITEBYTECODE=1",
	}
	return append(env, more...)
}

// lockfast runs the command line against the server and returns its output.
func (s *server) lockfast(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Env = s.env(append(s.more, "LOCKFAST_DATA="+s.data)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("lockfast %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// protect makes a directory with a few files and registers it.
func (s *server) protect(t *testing.T) (dir, arn string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range map[string]string{"a/one": "1", "a/b/two": strings.Repeat("two\n", 100_000), "three": ""} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	return dir, s.lockfast(t, "resource", "add", "--type", "EFS", "--path", dir)
}

// story runs a client program about a directory that is registered and fails with what it printed.
func (s *server) story(t *testing.T, dir, arn, program string, args ...string) {
	t.Helper()
	s.run(t, []string{"DATA=" + dir, "RESOURCE_ARN=" + arn}, program, args...)
}

// run runs a client program with these variables besides those of env.
func (s *server) run(t *testing.T, env []string, program string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = s.env(env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
}

// python returns an interpreter that has boto3.
func python(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(name, "-c", "import boto3").Run() == nil {
			return name
		}
	}
	t.Fatal("no python3 with boto3: make test installs it")
	return ""
}

// recentPython is python with a boto3 that knows AWS_ENDPOINT_URL and the operations of the last years. Debian 12's does not; what
// those stories show is shown by the other SDKs and in Go as well.
func recentPython(t *testing.T) string {
	t.Helper()
	name := python(t)
	version := "import boto3, sys; sys.exit(tuple(map(int, boto3.__version__.split('.')[:2])) < (1, 40))"
	if exec.Command(name, "-c", version).Run() != nil {
		t.Skip("boto3 is older than 1.40; pip install --upgrade boto3")
	}
	return name
}

// logWriter sends the server's log to the test's output.
type logWriter struct{ t *testing.T }

func (w *logWriter) Write(p []byte) (int, error) {
	w.t.Logf("server: %s", strings.TrimRight(string(p), "\n"))
	return len(p), nil
}
