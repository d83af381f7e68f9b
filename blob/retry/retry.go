// Package retry wraps a [blob.Store] and repeats what failed for a reason that may pass: a lost connection, a busy server,
// a disk that stumbled.
//
// Permanent are the errors of package blob (ErrNotExist, ErrExist, ErrRange, ErrNoSpace, ErrPermission, ErrInvalid), the end
// of the caller's context, errors of the reader given to Put, and what [Options.Permanent] says; they are returned at
// once. Anything else is repeated after a pause that doubles each time, with jitter, at most [Options.Attempts] times. As
// long as a reader or a listing makes progress it may go on for ever: it resumes where it stopped.
//
// # Put
//
// A Put that fails may have taken effect all the same, when only the answer was lost. A repetition then finds the name taken,
// and compares: if the blob there has the same bytes, the Put has succeeded; if not, someone else has the name, and the
// error is ErrExist. So two callers who put the same bytes under the same name may both succeed when the first attempt of
// one of them fails; callers who use names as claims put bytes of their own.
//
// Repeating takes a reader that can be read again, an io.Seeker. With another a Put is tried once.
package retry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/lockfast/lockfast/blob"
)

// Options of a [Store]. The zero value waits half a minute in all before it gives up.
type Options struct {
	Attempts  int              // tries of one call without progress; 0 means 8
	Delay     time.Duration    // longest pause before the second try; 0 means 200 ms
	MaxDelay  time.Duration    // limit of the doubling; 0 means 10 s
	Pause     func(err error)  // called before each pause, for logs; may be nil
	Permanent func(error) bool // further errors not to repeat; may be nil
}

// Store is a store that repeats.
type Store struct {
	store blob.Store
	o     Options
}

// New wraps a store.
func New(store blob.Store, o Options) *Store {
	if o.Attempts <= 0 {
		o.Attempts = 8
	}
	if o.Delay <= 0 {
		o.Delay = 200 * time.Millisecond
	}
	if o.MaxDelay <= 0 {
		o.MaxDelay = 10 * time.Second
	}
	return &Store{store: store, o: o}
}

func (s *Store) permanent(err error) bool {
	for _, is := range []error{
		blob.ErrNotExist, blob.ErrExist, blob.ErrRange, blob.ErrNoSpace, blob.ErrPermission, blob.ErrInvalid, errors.ErrUnsupported,
	} {
		if errors.Is(err, is) {
			return true
		}
	}
	return s.o.Permanent != nil && s.o.Permanent(err)
}

// again returns nil, after a pause, if a call is to be repeated that has failed with err for the given number of times
// in a row, and else the error to return.
func (s *Store) again(ctx context.Context, failures int, err error) error {
	if s.permanent(err) {
		return err
	}
	if ctx.Err() != nil {
		return ended(ctx, err)
	}
	if failures >= s.o.Attempts {
		return fmt.Errorf("%w, %d times in a row", err, failures)
	}
	if s.o.Pause != nil {
		s.o.Pause(err)
	}
	timer := time.NewTimer(s.delay(failures))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ended(ctx, err)
	case <-timer.C:
		return nil
	}
}

// ended returns the end of the context, with the error that there would have been time to repeat.
func ended(ctx context.Context, err error) error {
	if errors.Is(err, ctx.Err()) {
		return err
	}
	return fmt.Errorf("%w, after: %w", ctx.Err(), err)
}

// delay is between a half and the whole of a limit that doubles, so that many who fail together do not come back together.
func (s *Store) delay(failures int) time.Duration {
	limit := s.o.MaxDelay
	if shift := failures - 1; shift < 30 && s.o.Delay < limit>>shift {
		limit = s.o.Delay << shift
	}
	return limit/2 + rand.N(limit/2+1)
}

// do calls f until it succeeds or is not to be repeated.
func (s *Store) do(ctx context.Context, f func() error) error {
	for failures := 1; ; failures++ {
		err := f()
		if err == nil {
			return nil
		}
		if err := s.again(ctx, failures, err); err != nil {
			return err
		}
	}
}

// Stat implements [blob.Store].
func (s *Store) Stat(ctx context.Context, name blob.Name) (info blob.Info, err error) {
	err = s.do(ctx, func() (err error) {
		info, err = s.store.Stat(ctx, name)
		return err
	})
	return info, err
}

// Delete implements [blob.Store].
func (s *Store) Delete(ctx context.Context, name blob.Name) error {
	return s.do(ctx, func() error { return s.store.Delete(ctx, name) })
}

// List implements [blob.Store]. After an error it lists again and leaves out what it has yielded.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		var last blob.Name // yielded; names are not empty
		for failures := 1; ; failures++ {
			var failed error
			for info, err := range s.store.List(ctx, prefix) {
				if err != nil {
					failed = err
					break
				}
				if info.Name <= last {
					continue
				}
				if !yield(info, nil) {
					return
				}
				last, failures = info.Name, 1
			}
			if failed == nil {
				return
			}
			if err := s.again(ctx, failures, failed); err != nil {
				yield(blob.Info{}, err)
				return
			}
		}
	}
}

// Get implements [blob.Store]. The reader gets the rest anew after an error; it is not an io.ReaderAt.
func (s *Store) Get(ctx context.Context, name blob.Name, off, n int64) (io.ReadCloser, error) {
	r := &reader{
		open: func(done int64) (io.ReadCloser, error) {
			if n < 0 {
				return s.store.Get(ctx, name, off+done, -1)
			}
			return s.store.Get(ctx, name, off+done, n-done)
		},
		again: func(failures int, err error) error { return s.again(ctx, failures, err) },
		size:  n,
	}
	err := s.do(ctx, func() (err error) {
		r.r, err = r.open(0)
		return err
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// reader reads a range of a blob through as many readers as it takes.
type reader struct {
	open  func(done int64) (io.ReadCloser, error)
	again func(failures int, err error) error
	size  int64 // negative if not known

	r        io.ReadCloser // nil after a failure
	done     int64         // bytes read
	failures int           // since the last byte read
	err      error         // final
}

func (r *reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for r.err == nil {
		n, err := r.read(p)
		r.done += int64(n)
		if n > 0 {
			r.failures = 0
		}
		switch {
		case err == nil:
		case isEnd(err) && r.done >= r.size:
			r.err = err
		case isEnd(err):
			r.fail(io.ErrUnexpectedEOF)
		default:
			r.fail(err)
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, r.err
}

// read reads once, from a new reader if the last has failed.
func (r *reader) read(p []byte) (int, error) {
	if r.r == nil {
		next, err := r.open(r.done)
		if err != nil {
			return 0, fmt.Errorf("get again: %w", err)
		}
		r.r = next
	}
	return r.r.Read(p)
}

// isEnd tells the end of a blob from a lost connection, which may wrap io.EOF.
func isEnd(err error) bool { return err == io.EOF } //nolint:errorlint // see above

// fail decides whether an error is final, and else pauses.
func (r *reader) fail(err error) {
	if r.r != nil {
		r.r.Close() // nothing more is wanted from it
		r.r = nil
	}
	r.failures++
	r.err = r.again(r.failures, err)
}

func (r *reader) Close() error {
	r.err = errClosed
	if r.r == nil {
		return nil
	}
	err := r.r.Close()
	r.r = nil
	return err
}

var errClosed = errors.New("read after close")

// Retainer lets [blob.AsRetainer] see through.
func (s *Store) Retainer() (blob.Retainer, bool) {
	r, ok := blob.AsRetainer(s.store)
	return retainer{s, r}, ok
}

type retainer struct {
	s     *Store
	inner blob.Retainer
}

// Retain implements [blob.Retainer]. It may be repeated, as it only extends.
func (r retainer) Retain(ctx context.Context, name blob.Name, until time.Time) error {
	return r.s.do(ctx, func() error { return r.inner.Retain(ctx, name, until) })
}

// RetainedUntil implements [blob.Retainer].
func (r retainer) RetainedUntil(ctx context.Context, name blob.Name) (until time.Time, err error) {
	err = r.s.do(ctx, func() (err error) {
		until, err = r.inner.RetainedUntil(ctx, name)
		return err
	})
	return until, err
}

// Summer lets [blob.AsSummer] see through.
func (s *Store) Summer() (blob.Summer, bool) {
	inner, ok := blob.AsSummer(s.store)
	return summer{inner, s}, ok
}

type summer struct {
	blob.Summer
	s *Store
}

// Sum implements [blob.Summer].
func (r summer) Sum(ctx context.Context, name blob.Name) (sum []byte, err error) {
	err = r.s.do(ctx, func() (err error) {
		sum, err = r.Summer.Sum(ctx, name)
		return err
	})
	return sum, err
}
