package fs

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"path"
	"strings"
	"sync/atomic"
)

// tmpDir holds one directory for each session.
const tmpDir = ".tmp"

// session is a directory for temporary files that this store holds locked from its first Put or Delete until Close. A
// session that nobody holds tells the next Open that its process did not end in order.
type session struct {
	sys  System
	dir  string
	lock io.Closer // nil where there are no locks
	last atomic.Uint64
}

// begin returns the session and makes it if there is none.
func (s *Store) begin() (*session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session == nil {
		session, err := newSession(s.sys)
		if err != nil {
			return nil, err
		}
		s.session = session
	}
	return s.session, nil
}

// create makes a temporary file. If someone has removed the session's directory, a new session begins.
func (s *Store) create() (path string, f Writer, err error) {
	for range 2 {
		session, err := s.begin()
		if err != nil {
			return "", nil, err
		}
		path = fmt.Sprintf("%s/%d", session.dir, session.last.Add(1))
		f, err = s.sys.Create(path)
		if err == nil || !absent(err) {
			return path, f, err
		}
		s.abandon(session)
	}
	return "", nil, fmt.Errorf("directory %s vanishes again and again", tmpDir)
}

func (s *Store) abandon(lost *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session == lost {
		s.session = nil
		lost.release()
	}
}

// newSession makes a directory and locks it. Between the two a sweep may take the directory for a leftover, hold its lock
// and remove it; then the session tries again with another.
func newSession(sys System) (*session, error) {
	if err := sys.Mkdir(tmpDir); err != nil && !errors.Is(err, iofs.ErrExist) {
		return nil, err
	}
	for {
		s := &session{sys: sys, dir: tmpDir + "/" + strings.ToLower(rand.Text())}
		if err := sys.Mkdir(s.dir); err != nil {
			return nil, err
		}
		lock, err := sys.Lock(s.dir)
		if errors.Is(err, ErrLocked) || errors.Is(err, iofs.ErrNotExist) {
			continue
		}
		if err != nil {
			return s, nil //nolint:nilerr // no locks here; sweeps cannot lock it either
		}
		s.lock = lock
		if _, err := sys.Stat(s.dir); err == nil {
			return s, nil
		}
		if err := lock.Close(); err != nil {
			return nil, err
		}
	}
}

// end removes the directory, which says that all that the session did is durable.
func (s *session) end() error {
	defer s.release()
	return s.sys.Remove(s.dir)
}

func (s *session) release() {
	if s.lock != nil {
		s.lock.Close()
	}
}

// sweep removes the sessions that nobody holds: their processes were killed, and may have left names visible that are not
// durable, so first of all everything is synced. What cannot be removed stays, and is met again by the next Open.
func sweep(sys System) error {
	entries, err := sys.ReadDir(tmpDir)
	if err != nil {
		return nil //nolint:nilerr // no session has ever been here, or we may not look, and then not write either
	}
	var dead []*session
	unclear := false
	for _, entry := range entries {
		s := &session{sys: sys, dir: path.Join(tmpDir, entry.Name)}
		lock, err := sys.Lock(s.dir)
		if err == nil {
			s.lock = lock
			defer s.release()
			dead = append(dead, s)
		}
		unclear = unclear || err != nil && !errors.Is(err, ErrLocked)
	}
	if len(dead) == 0 && !unclear {
		return nil
	}
	if err := sys.SyncAll(); err != nil {
		return err
	}
	for _, s := range dead {
		s.clear()
	}
	return nil
}

func (s *session) clear() {
	files, err := s.sys.ReadDir(s.dir)
	if err != nil {
		return
	}
	for _, file := range files {
		if err := s.sys.Remove(path.Join(s.dir, file.Name)); err != nil {
			return
		}
	}
	_ = s.sys.Remove(s.dir) // see sweep
}
