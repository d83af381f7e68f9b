// Package fs is a [blob.Store] in a directory.
//
// A blob is a file of the blob's name below the root, so the tree can be looked at, copied and restored with ordinary
// tools. A directory of the operating system has no write-once protection: files are made with mode 0400, which guards
// against accidents and not against the administrator. So a [Store] is no [blob.Retainer]: a promise that the owner of the
// directory can break with one command would be none.
//
// # Writing
//
// Put writes a file of its own in .tmp/<session>, syncs it, links it to its final name, which fails if the name is taken,
// syncs the directory of the final name, and removes the first name. So a final name never shows a part of a blob, and
// once Put has returned neither bytes nor name depend on anything in memory. New directories are synced into their
// parents before anything is put into them. Syncs of one directory are shared by the calls that wait for it.
//
// PutStream does the same with a file that grows as the blob is made.
//
// On Linux a large blob that is put with [blob.PastCache] goes past the page cache (O_DIRECT) where the file system says that it can,
// all but the end. That saves processor time, and leaves the cache to others: who reads the blob for the first time reads it from the
// disk.
//
// An error of a sync is final: the file is given up and a repeated Put writes a new one. A directory whose sync failed
// accepts no Put or Delete until the store is opened again, because a later success would prove nothing.
//
// # Opening and closing
//
// A session is a directory in .tmp which its process holds locked from its first Put or Delete until Close. Several
// processes may use one root; whether that makes sense is for the layer above to decide, which has locks of its own.
// Open looks for sessions that nobody holds: their processes were killed, and may have left a name visible that is not
// durable yet. Then Open first syncs the whole file system, lest something be seen now and vanish later, and removes the
// temporary files. So Close stores when done; it saves the next Open that work. On file systems without locks (some
// network ones) leftovers stay, which costs their space and a sync at each Open.
//
// # What is not a blob
//
// Files whose names are no [blob.Name], such as lost+found or anything that begins with a dot, are left alone and not
// listed. A symbolic link, device or FIFO with a well-formed name is an error for Get and List. Links never lead out of
// the root. Empty directories stay when their last blob is deleted.
package fs

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"

	"github.com/lockfast/lockfast/blob"
)

// Options of a [Store]. The zero value is a good choice.
type Options struct {
	// Create makes the root directory if it is missing. Without it a missing root is an error, as becomes a disk that
	// is not mounted.
	Create bool
	// System is the file system to use instead of [OS](root), which then only serves messages. Close closes it.
	System System
}

// Store is a [blob.Store] in a directory.
type Store struct {
	root string
	sys  System
	dirs *group

	mu      sync.Mutex
	known   map[string]bool // guarded by mu; directories durable in their parents
	session *session        // guarded by mu; nil until the first Put
}

// Open opens the store in the directory root.
func Open(root string, o Options) (*Store, error) {
	sys, err := openSystem(root, o)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", explain(err))
	}
	s := &Store{root: root, sys: sys, dirs: newGroup(sys.SyncDir), known: map[string]bool{".": true}}
	if err := sweep(sys); err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", root, explain(err)), sys.Close())
	}
	return s, nil
}

func openSystem(root string, o Options) (System, error) {
	if o.System != nil {
		return o.System, nil
	}
	if o.Create {
		if err := makeRoot(root); err != nil {
			return nil, err
		}
	}
	return OS(root)
}

// makeRoot makes the root and whatever is missing above it, durably.
func makeRoot(root string) error {
	root, err := filepath.Abs(root)
	if err != nil {
		return err
	}
	if _, err := os.Stat(root); !errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(root)
	if err := makeRoot(parent); err != nil {
		return err
	}
	if err := os.Mkdir(root, dirMode); err != nil && !errors.Is(err, iofs.ErrExist) {
		return err
	}
	f, err := os.Open(parent)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Close ends the session and the system. Readers that are open stay usable. No other call may follow or run beside it.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	switch {
	case s.session == nil:
	case s.dirs.broken():
		s.session.release() // its directory stays, so that the next Open syncs
	default:
		err = s.session.end()
	}
	return errors.Join(err, s.sys.Close())
}

// Get implements [blob.Store]. The reader is also an io.ReaderAt and io.Seeker, and reads without a buffer in between.
func (s *Store) Get(ctx context.Context, name blob.Name, off, n int64) (io.ReadCloser, error) {
	if err := check(ctx, name); err != nil {
		return nil, err
	}
	f, err := s.sys.Open(string(name))
	if err != nil {
		return nil, s.missing("get", name, err)
	}
	n, err = blob.CheckRange(f.Size(), off, n)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", name, errors.Join(err, f.Close()))
	}
	return &section{SectionReader: io.NewSectionReader(f, off, n), Closer: f}, nil
}

// section is a range of a file. A file that has become shorter than its range is an error and not an early end.
type section struct {
	*io.SectionReader
	io.Closer
}

func (s *section) Read(p []byte) (int, error) {
	n, err := s.SectionReader.Read(p)
	if err == io.EOF {
		if at, _ := s.Seek(0, io.SeekCurrent); at < s.Size() {
			err = io.ErrUnexpectedEOF
		}
	}
	return n, err
}

// missing words the error of looking a blob up. A directory of that name is no blob either.
func (s *Store) missing(op string, name blob.Name, err error) error {
	if absent(err) || s.isDirectory(name) {
		return fmt.Errorf("%s %s: %w", op, name, blob.ErrNotExist)
	}
	return fmt.Errorf("%s %s: %w", op, name, explain(err))
}

func (s *Store) isDirectory(name blob.Name) bool {
	entry, err := s.sys.Stat(string(name))
	return err == nil && entry.Kind == Directory
}

// Stat implements [blob.Store].
func (s *Store) Stat(ctx context.Context, name blob.Name) (blob.Info, error) {
	if err := check(ctx, name); err != nil {
		return blob.Info{}, err
	}
	entry, err := s.sys.Stat(string(name))
	if err == nil && entry.Kind != Regular {
		err = errNotRegular
	}
	if err != nil {
		return blob.Info{}, s.missing("stat", name, err)
	}
	return blob.Info{Name: name, Size: entry.Size}, nil
}

// Delete implements [blob.Store]. It syncs even if there is nothing to delete: another's removal may still be volatile.
func (s *Store) Delete(ctx context.Context, name blob.Name) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	entry, err := s.sys.Stat(string(name))
	if err == nil && entry.Kind == Directory {
		return nil
	}
	_, _ = s.begin() // on a full disk there may be no room for a session, and deleting is what helps
	if err == nil {
		err = s.sys.Remove(string(name))
	}
	if err != nil && !absent(err) {
		return fmt.Errorf("delete %s: %w", name, explain(err))
	}
	if err := s.dirs.Sync(path.Dir(string(name))); err != nil && !absent(err) {
		return fmt.Errorf("delete %s: %w", name, explain(err))
	}
	return nil
}

func check(ctx context.Context, name blob.Name) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return name.Check()
}
