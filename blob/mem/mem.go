// Package mem is a [blob.Store] in memory, for tests and for data that need not last.
//
// "Durable" means here: until the store is garbage. Beyond the contract it can copy itself, tell its size, and damage a
// blob, which tests of everything above it need.
package mem

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lockfast/lockfast/blob"
)

// Store is a [blob.Store] in memory.
type Store struct {
	mu    sync.RWMutex
	blobs map[blob.Name][]byte    // guarded by mu; the bytes never change
	until map[blob.Name]time.Time // guarded by mu; retained ones
	now   func() time.Time        // guarded by mu; nil is time.Now
	sums  map[blob.Name][]byte    // guarded by mu; nil unless checksums are kept
}

// New returns an empty store.
func New() *Store {
	return &Store{blobs: map[blob.Name][]byte{}}
}

// Put implements [blob.Store].
func (s *Store) Put(ctx context.Context, name blob.Name, r io.Reader, size int64) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	if s.has(name) {
		return fmt.Errorf("put %s: %w", name, blob.ErrExist)
	}
	data, err := readAll(r, size)
	if err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.blobs[name]; ok {
		return fmt.Errorf("put %s: %w", name, blob.ErrExist)
	}
	s.blobs[name] = data
	if s.sums != nil {
		sum := sha256.Sum256(data)
		s.sums[name] = sum[:]
	}
	return nil
}

// PutStream implements [blob.Streamer].
func (s *Store) PutStream(ctx context.Context, name blob.Name, r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	return s.Put(ctx, name, bytes.NewReader(data), int64(len(data)))
}

func (s *Store) has(name blob.Name) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, ok := s.blobs[name]
	return ok
}

// readAll reads exactly size bytes, and trusts size only as far as bytes arrive.
func readAll(r io.Reader, size int64) ([]byte, error) {
	if size < 0 {
		return nil, fmt.Errorf("%w: size %d", blob.ErrInvalid, size)
	}
	var buf bytes.Buffer
	if size <= 64<<20 {
		buf.Grow(int(size) + bytes.MinRead)
	}
	n, err := buf.ReadFrom(io.LimitReader(r, size))
	if err != nil {
		return nil, err
	}
	if n < size {
		return nil, fmt.Errorf("%w: %d bytes, %d announced", blob.ErrInvalid, n, size)
	}
	if n, err := io.ReadFull(r, make([]byte, 1)); n > 0 {
		return nil, fmt.Errorf("%w: more bytes than the %d announced", blob.ErrInvalid, size)
	} else if err != io.EOF {
		return nil, err
	}
	return buf.Bytes(), nil
}

// Get implements [blob.Store]. The reader is also an io.ReaderAt, io.Seeker and io.WriterTo.
func (s *Store) Get(ctx context.Context, name blob.Name, off, n int64) (io.ReadCloser, error) {
	if err := check(ctx, name); err != nil {
		return nil, err
	}
	s.mu.RLock()
	data, ok := s.blobs[name]
	s.mu.RUnlock()
	if !ok {
		return nil, fmt.Errorf("get %s: %w", name, blob.ErrNotExist)
	}
	n, err := blob.CheckRange(int64(len(data)), off, n)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	return reader{bytes.NewReader(data[off : off+n])}, nil
}

type reader struct{ *bytes.Reader }

func (reader) Close() error { return nil }

// Stat implements [blob.Store].
func (s *Store) Stat(ctx context.Context, name blob.Name) (blob.Info, error) {
	if err := check(ctx, name); err != nil {
		return blob.Info{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	data, ok := s.blobs[name]
	if !ok {
		return blob.Info{}, fmt.Errorf("stat %s: %w", name, blob.ErrNotExist)
	}
	return blob.Info{Name: name, Size: int64(len(data))}, nil
}

// List implements [blob.Store]. It lists the store as it is when the iteration begins.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		for _, info := range s.infos(prefix) {
			if err := ctx.Err(); err != nil {
				yield(blob.Info{}, err)
				return
			}
			if !yield(info, nil) {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield(blob.Info{}, err)
		}
	}
}

func (s *Store) infos(prefix string) []blob.Info {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var infos []blob.Info
	for name, data := range s.blobs {
		if strings.HasPrefix(string(name), prefix) {
			infos = append(infos, blob.Info{Name: name, Size: int64(len(data))})
		}
	}
	slices.SortFunc(infos, func(a, b blob.Info) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return infos
}

// Delete implements [blob.Store].
func (s *Store) Delete(ctx context.Context, name blob.Name) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.now != nil {
		now = s.now()
	}
	if until := s.until[name]; now.Before(until) {
		return fmt.Errorf("delete %s: %w until %s", name, blob.ErrRetained, until.UTC().Format(time.RFC3339))
	}
	delete(s.blobs, name)
	delete(s.until, name)
	delete(s.sums, name)
	return nil
}

// Retain implements [blob.Retainer].
func (s *Store) Retain(ctx context.Context, name blob.Name, until time.Time) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.blobs[name]; !ok {
		return fmt.Errorf("retain %s: %w", name, blob.ErrNotExist)
	}
	if s.until == nil {
		s.until = map[blob.Name]time.Time{}
	}
	if until.After(s.until[name]) {
		s.until[name] = until
	}
	return nil
}

// RetainedUntil implements [blob.Retainer].
func (s *Store) RetainedUntil(ctx context.Context, name blob.Name) (time.Time, error) {
	if err := check(ctx, name); err != nil {
		return time.Time{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.blobs[name]; !ok {
		return time.Time{}, fmt.Errorf("read the retention of %s: %w", name, blob.ErrNotExist)
	}
	return s.until[name], nil
}

// KeepSums has the store keep the checksum of what is put from now on. Overwrite leaves it as it is.
func (s *Store) KeepSums() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sums == nil {
		s.sums = map[blob.Name][]byte{}
	}
}

// Keeps implements [blob.Summer].
func (s *Store) Keeps(blob.Name) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.sums != nil
}

// Sum implements [blob.Summer].
func (s *Store) Sum(ctx context.Context, name blob.Name) ([]byte, error) {
	if err := check(ctx, name); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if _, ok := s.blobs[name]; !ok {
		return nil, fmt.Errorf("ask for the checksum of %s: %w", name, blob.ErrNotExist)
	}
	return slices.Clone(s.sums[name]), nil
}

// SetClock sets the clock by which retentions end.
func (s *Store) SetClock(now func() time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = now
}

func check(ctx context.Context, name blob.Name) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return name.Check()
}

// Clone returns a copy of the store, which from then on goes its own way.
func (s *Store) Clone() *Store {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return &Store{blobs: maps.Clone(s.blobs), until: maps.Clone(s.until), now: s.now, sums: maps.Clone(s.sums)}
}

// Overwrite sets the bytes of a blob whether it exists or not, which no real store would do: it plants damage.
// The store keeps data, which must not change afterwards.
func (s *Store) Overwrite(name blob.Name, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blobs[name] = data
}

// Bytes returns the sum of the sizes of all blobs whose names begin with prefix.
func (s *Store) Bytes(prefix string) int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var sum int64
	for name, data := range s.blobs {
		if strings.HasPrefix(string(name), prefix) {
			sum += int64(len(data))
		}
	}
	return sum
}
