package metatest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// server is a running PostgreSQL server.
type server struct {
	dir string // holds the data, the socket and the log
	// alive is the end of a pipe. When it closes, at the latest with the
	// process, the guard stops the server and removes dir.
	alive *os.File
}

// shared starts the server of this process, once.
var shared = sync.OnceValues(start)

// guard runs the server as its child and stops it by its process id when
// standard input ends.
const guard = `
trap '' INT TERM HUP
"$1/postgres" -D "$2/data" -k "$2" -c listen_addresses= -c fsync=off -c synchronous_commit=off \
	-c full_page_writes=off -c deadlock_timeout=100ms -c max_connections=200 -c shared_buffers=32MB </dev/null >"$2/log" 2>&1 &
pid=$!
cat >/dev/null
kill -QUIT $pid
wait $pid
rm -rf "$2"
`

func start() (*server, error) {
	bin, err := findBinaries()
	if err != nil {
		return nil, err
	}
	attr, uid, gid, err := unprivileged()
	if err != nil {
		return nil, err
	}
	s := &server{}
	// Not TMPDIR: the user postgres must reach it, and a socket's path is short.
	if s.dir, err = os.MkdirTemp("/tmp", "lockfast-pg"); err != nil {
		return nil, err
	}
	if err := os.Chown(s.dir, uid, gid); err != nil {
		return nil, err
	}
	init := exec.Command(filepath.Join(bin, "initdb"), "-D", filepath.Join(s.dir, "data"),
		"-U", "lockfast", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
	init.SysProcAttr, init.Dir = attr, s.dir
	if out, err := init.CombinedOutput(); err != nil {
		os.RemoveAll(s.dir)
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	return s, s.launch(bin, attr)
}

func (s *server) launch(bin string, attr *syscall.SysProcAttr) error {
	in, out, err := os.Pipe()
	if err != nil {
		return err
	}
	defer in.Close()
	s.alive = out
	c := exec.Command("/bin/sh", "-c", guard, "guard", bin, s.dir)
	c.Stdin, c.Dir, c.SysProcAttr = in, s.dir, attr
	if err := c.Start(); err != nil {
		return err
	}
	go func() { _ = c.Wait() }() // it ends when this process does
	return s.await()
}

// await waits until the server answers.
func (s *server) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		err := s.exec(ctx, "SELECT 1")
		if err == nil {
			return nil
		}
		log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
		if ctx.Err() != nil || bytes.Contains(log, []byte("FATAL:  could not")) {
			s.alive.Close()
			return fmt.Errorf("start postgres: %w\n%s", err, log)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (s *server) url(database string) string {
	return "postgres://lockfast@/" + database + "?host=" + s.dir
}

func findBinaries() (string, error) {
	if p, err := exec.LookPath("initdb"); err == nil {
		if p, err = filepath.EvalSymlinks(p); err == nil && exists(filepath.Join(filepath.Dir(p), "postgres")) {
			return filepath.Dir(p), nil
		}
	}
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	best, version := "", 0
	for _, d := range dirs {
		n, err := strconv.Atoi(filepath.Base(filepath.Dir(d)))
		if err == nil && n > version && exists(filepath.Join(d, "initdb")) {
			best, version = d, n
		}
	}
	if best == "" {
		return "", errors.New("initdb is neither in PATH nor in /usr/lib/postgresql/*/bin; install the PostgreSQL server")
	}
	return best, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// unprivileged is how to run the server, which refuses root: as user postgres
// when root, else as oneself; and outside of the terminal's process group.
func unprivileged() (attr *syscall.SysProcAttr, uid, gid int, err error) {
	attr = &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() != 0 {
		return attr, os.Getuid(), os.Getgid(), nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, 0, 0, err
	}
	if uid, err = strconv.Atoi(u.Uid); err != nil {
		return nil, 0, 0, err
	}
	if gid, err = strconv.Atoi(u.Gid); err != nil {
		return nil, 0, 0, err
	}
	attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return attr, uid, gid, nil
}
