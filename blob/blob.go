// Package blob stores named, immutable sequences of bytes ("blobs") on something durable: a directory, a bucket, memory.
//
// It is the ground on which package repo keeps recovery points, and small on purpose: five methods, and rules strict
// enough that a caller can reason about crashes.
//
//   - A blob is written once, whole. [Store.Put] never overwrites and there is no append; a name is free, or it shows
//     exactly the bytes of one Put. Nobody ever sees half a blob, not even after a power cut.
//   - What a returned Put or Delete did is durable: it survives a power cut at the next instant.
//   - A blob whose Put has not returned may be visible and may still vanish; so trust a blob found by List, Get or Stat
//     only when no Put of it can be under way. Opening a store makes durable whatever it shows.
//   - [Store.List] is ascending by full name in byte order, and its prefix is a prefix of the string, not a directory.
//   - Every method may be called from any number of goroutines.
//
// Open a store with one of the packages below this one, and wrap it as needed:
//
//	store, err := fs.Open("/srv/backup", fs.Options{})     // a directory
//	store := mem.New()                                     // memory, for tests
//	store = retry.New(store, retry.Options{})              // repeats what failed for a passing reason
//	store = blob.Prefix(store, "tenant-1")                 // a store inside a store
//
// Package fault wraps a store with faults for tests, and package blobtest is the suite that every implementation joins.
//
// The package knows nothing of what the bytes mean: it does not encrypt, compress, checksum or expire them.
package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"
)

// Errors that callers may test for with [errors.Is]. Any other error of a store is its own affair: a broken disk, a lost
// connection. After an error that is none of these the outcome of a Put or Delete may be unknown, see package retry.
var (
	// ErrNotExist says that there is no blob of that name.
	ErrNotExist = errors.New("blob does not exist")
	// ErrExist says that the name is taken. The blob that has it is durable.
	ErrExist = errors.New("blob exists")
	// ErrRange says that a range begins or ends outside the blob.
	ErrRange = errors.New("range outside the blob")
	// ErrNoSpace says that the store is full.
	ErrNoSpace = errors.New("no space left in the store")
	// ErrPermission says that the store refused access.
	ErrPermission = errors.New("no permission")
	// ErrRetained says that the blob is retained, see [Retainer], and cannot be deleted yet. It wraps ErrPermission.
	ErrRetained = fmt.Errorf("blob is retained: %w", ErrPermission)
	// ErrUnavailable says that the store cannot be reached now, of which its blobs know nothing.
	ErrUnavailable = errors.New("store is not available")
	// ErrInvalid says that the call itself is wrong: a malformed name, a negative size, a reader that does not hold
	// the size announced.
	ErrInvalid = errors.New("invalid call")
)

// MaxName is the greatest length of a [Name] in bytes.
const MaxName = 512

// Name names a blob: elements of [a-z0-9-_.] joined by slashes, at most [MaxName] bytes in all and 255 in an element.
// An element is not empty and does not begin with a dot, which leaves such names to implementations.
//
// A name is not the directory of another name: while a/b exists, and in some stores for ever after, a is not to be used.
type Name string

// Check returns nil for a well-formed name and else an [ErrInvalid] that says what is wrong with it.
func (n Name) Check() error {
	if n == "" {
		return fmt.Errorf("%w: empty name", ErrInvalid)
	}
	if len(n) > MaxName {
		return fmt.Errorf("%w: name of %d bytes, at most %d are allowed", ErrInvalid, len(n), MaxName)
	}
	for element := range strings.SplitSeq(string(n), "/") {
		if err := checkElement(element); err != nil {
			return fmt.Errorf("%w: name %q: %w", ErrInvalid, string(n), err)
		}
	}
	return nil
}

func checkElement(s string) error {
	if s == "" {
		return errors.New("empty element")
	}
	if s[0] == '.' {
		return errors.New("element begins with a dot")
	}
	if len(s) > 255 {
		return errors.New("element of more than 255 bytes")
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return fmt.Errorf("byte %q is not one of [a-z0-9-_.]", c)
		}
	}
	return nil
}

// Info describes a blob.
type Info struct {
	Name Name
	Size int64 // in bytes
}

// Store keeps blobs. See the package comment for the rules that hold for all methods. A context cancelled before a call
// ends it with the context's error and without effect; cancelled during a call, the call may end with either outcome,
// but an error of Put still means that nothing is visible (or, where a network is between, that the outcome is unknown).
type Store interface {
	// Put stores the size bytes of r under the name. When it returns nil, they are durable. It returns ErrExist, and
	// changes nothing, when the name is taken; of concurrent Puts of one name exactly one succeeds. It returns
	// ErrInvalid when r holds fewer or more bytes than size, ErrNoSpace when the store is full, and the error of r
	// when reading fails. Put does not keep r. A *bytes.Reader saves a copy in most stores, and lets retry repeat.
	Put(ctx context.Context, name Name, r io.Reader, size int64) error

	// Get returns n bytes of the blob from offset off, or all from there on if n is negative. It returns ErrNotExist,
	// and ErrRange for a range that is not wholly inside the blob (an empty range at its very end is inside). A
	// reader that cannot deliver all n bytes ends with an error that is not io.EOF. The caller closes the reader,
	// whose ReadAt, if it has one, counts from off.
	Get(ctx context.Context, name Name, off, n int64) (io.ReadCloser, error)

	// Stat describes a blob, or returns ErrNotExist.
	Stat(ctx context.Context, name Name) (Info, error)

	// List yields the blobs whose names begin with prefix, in ascending order. A blob put or deleted meanwhile may be
	// in the list or not; all others are, once. After an error the list ends.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]

	// Delete removes the blob, if there is one. When it returns nil, the blob is gone for good.
	Delete(ctx context.Context, name Name) error
}

// Retainer is a [Store] that can keep blobs from being deleted. What that is worth is for the implementation to say. Find it
// with [AsRetainer], which sees through wrappers.
type Retainer interface {
	// Retain keeps a blob until a time: a Delete before returns [ErrRetained] and changes nothing. It never shortens a
	// retention that reaches further. When it returns nil, the retention is durable and reaches at least until then. It
	// returns ErrNotExist for a blob that is not there, and [errors.ErrUnsupported] when the place where the store lies
	// cannot retain.
	Retain(ctx context.Context, name Name, until time.Time) error

	// RetainedUntil returns when the retention of a blob ends, of which the time may have come; zero if there is none. It
	// returns the errors of Retain.
	RetainedUntil(ctx context.Context, name Name) (time.Time, error)
}

// AsRetainer returns the power of a store, or of the one that it wraps, to retain blobs. A wrapper tells by a method
// Retainer() (Retainer, bool).
func AsRetainer(s Store) (Retainer, bool) {
	switch s := s.(type) {
	case Retainer:
		return s, true
	case interface{ Retainer() (Retainer, bool) }:
		return s.Retainer()
	}
	return nil, false
}

// CheckRange returns ErrRange unless off and n, as in [Store.Get], lie inside a blob of size bytes, and else the number
// of bytes to read.
func CheckRange(size, off, n int64) (int64, error) {
	if off < 0 || off > size || n > size-off {
		return 0, fmt.Errorf("%w: %d bytes from %d of %d", ErrRange, n, off, size)
	}
	if n < 0 {
		n = size - off
	}
	return n, nil
}
