package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrInUse says that another server works on the data directory, or on a database that only one may use.
var ErrInUse = errors.New("data directory is in use")

// Directory is a data directory that this process has locked.
type Directory struct {
	path string
	lock *os.File
}

// Address is the content of server.json: how to reach the running server of a data directory.
type Address struct {
	URL string `json:"url"`
	PID int    `json:"pid"`
	// Region is where declared resources live.
	Region string `json:"region"`
	// Certificate is the file of the server's certificate when it serves TLS. Commands on this host accept exactly it.
	Certificate string `json:"certificate,omitempty"`
}

// LockDirectory makes the data directory if it is absent and locks it until Close. When another process holds the
// lock, the error wraps [ErrInUse] and names the directory and the process.
func LockDirectory(path string) (*Directory, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	name := filepath.Join(path, "lock")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open data directory: %w", err)
	}
	err = lockFile(f)
	if errors.Is(err, unix.EWOULDBLOCK) {
		defer f.Close()
		return nil, fmt.Errorf("%w: %s belongs to the running server with pid %s; "+
			"stop it, talk to it with --server, or choose another directory with --data", ErrInUse, path, lockOwner(f))
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	d := &Directory{path: path, lock: f}
	if err := d.sign(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// lockDatabase locks a SQLite file for this process, until the file that it returns is closed. Two data directories may name
// one file, and a server believes that SQLite is its own: it takes over what it finds running there.
func lockDatabase(path string) (*os.File, error) {
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock database: %w", err)
	}
	err = lockFile(f)
	if err == nil {
		return f, nil
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = fmt.Errorf("%w: another server works with it; several servers share a database only if it is PostgreSQL", ErrInUse)
	}
	return nil, errors.Join(fmt.Errorf("database %s: %w", path, err), f.Close())
}

// lockFile locks a file without waiting for another server. It tries for a fifth of a second: a child of this process has what its
// parent had open, locks too, until it begins its own program.
func lockFile(f *os.File) (err error) {
	for range 20 {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return err
}

func lockOwner(f *os.File) string {
	buf := make([]byte, 20)
	n, _ := f.ReadAt(buf, 0)
	if pid, err := strconv.Atoi(strings.TrimSpace(string(buf[:n]))); err == nil {
		return strconv.Itoa(pid)
	}
	return "unknown"
}

// sign writes this process's id into the lock file and clears what a killed server left behind.
func (d *Directory) sign() error {
	if err := d.lock.Truncate(0); err != nil {
		return fmt.Errorf("write %s: %w", d.lock.Name(), err)
	}
	if _, err := d.lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		return fmt.Errorf("write %s: %w", d.lock.Name(), err)
	}
	return d.Withdraw()
}

// Path returns the name of the directory.
func (d *Directory) Path() string { return d.path }

// Announce writes server.json, so that commands on this host find the server. It need not be durable: no address outlives its
// server, and half of one is none to [ReadAddress].
func (d *Directory) Announce(a Address) error {
	data, err := json.Marshal(a)
	if err != nil {
		return err
	}
	name := filepath.Join(d.path, "server.json")
	if err := os.WriteFile(name, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// Withdraw removes server.json. It is idempotent.
func (d *Directory) Withdraw() error {
	err := os.Remove(filepath.Join(d.path, "server.json"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove server.json: %w", err)
	}
	return nil
}

// Close unlocks the directory, at once also if a process that is just being started still has the file open.
func (d *Directory) Close() error {
	return errors.Join(unix.Flock(int(d.lock.Fd()), unix.LOCK_UN), d.lock.Close())
}

// ReadAddress reads the server.json of a data directory; absent or unreadable text is [os.ErrNotExist].
func ReadAddress(dir string) (Address, error) {
	var a Address
	name := filepath.Join(dir, "server.json")
	data, err := os.ReadFile(name)
	if err != nil {
		return a, err
	}
	if json.Unmarshal(data, &a) != nil || a.URL == "" || a.PID <= 0 {
		return a, fmt.Errorf("%s is not a server's address: %w", name, os.ErrNotExist)
	}
	return a, nil
}

// writeFile replaces a file by rename, readable by its owner alone.
func writeFile(name string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
