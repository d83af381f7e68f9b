package fs

import (
	"errors"
	"io"
)

// System is the file system under a [Store]: the calls that it makes and what it relies on them for. [OS] is the real one;
// package crashfs has one that forgets, at a power cut, what was not synced. Paths are relative to the root, separated by
// slashes; "." is the root. Errors are those of package os: a test with errors.Is for fs.ErrExist, fs.ErrNotExist or
// fs.ErrPermission works. All methods may be called concurrently.
type System interface {
	// Create makes a new, empty file for writing. It fails if the path exists.
	Create(path string) (Writer, error)
	// Open opens a file for reading. It fails for anything that is not a regular file, above all a symbolic link.
	Open(path string) (Reader, error)
	// Stat describes what is at the path and does not follow a symbolic link there.
	Stat(path string) (Entry, error)
	// ReadDir describes what a directory holds, in any order. What vanishes meanwhile is left out.
	ReadDir(path string) ([]Entry, error)

	// Link gives the file at path from the additional name to, at once or not at all. It fails if to exists.
	Link(from, to string) error
	// Mkdir makes a directory. It fails if the path exists.
	Mkdir(path string) error
	// Remove removes a file or an empty directory.
	Remove(path string) error

	// SyncDir makes durable which names the directory holds, as of the call. What the names stand for is another matter.
	SyncDir(path string) error
	// SyncAll makes durable everything under the root as of the call.
	SyncAll() error

	// Lock takes a lock of a directory that no other holds, and fails with [ErrLocked] instead of waiting. The lock ends
	// with Close or with the process. It need not survive a power cut.
	Lock(path string) (io.Closer, error)
	// Close ends the use of the system.
	Close() error
}

// ErrLocked is the error of [System.Lock] when another holds the lock.
var ErrLocked = errors.New("locked by another")

// Writer is a file being written, from its beginning to its end.
type Writer interface {
	io.Writer
	// Sync makes the bytes written so far durable, and the length with them. After an error of Sync nothing is known of
	// any byte of this file, and a second Sync that succeeds proves nothing.
	Sync() error
	Close() error
}

// cacheAvoider is a [Writer] that can write past the page cache. It is told before the first byte.
type cacheAvoider interface{ pastCache() }

// Reader is a file being read.
type Reader interface {
	io.ReaderAt
	Size() int64
	Close() error
}

// Entry describes a file or directory.
type Entry struct {
	Name string // last element of the path
	Kind Kind
	Size int64 // of a regular file
}

// Kind is what an [Entry] is.
type Kind int

// The kinds of entries. Other is everything that a store never makes, such as a symbolic link.
const (
	Regular Kind = iota
	Directory
	Other
)
