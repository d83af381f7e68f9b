package fs

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"math"
	"path"

	"github.com/lockfast/lockfast/blob"
)

// Put implements [blob.Store]. A reader with a WriteTo method, such as *bytes.Reader, is written without a copy.
func (s *Store) Put(ctx context.Context, name blob.Name, r io.Reader, size int64) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	if size < 0 {
		return fmt.Errorf("put %s: %w: size %d", name, blob.ErrInvalid, size)
	}
	return s.putAs(ctx, name, r, size)
}

// PutStream implements [blob.Streamer].
func (s *Store) PutStream(ctx context.Context, name blob.Name, r io.Reader) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	return s.putAs(ctx, name, r, unknown)
}

func (s *Store) putAs(ctx context.Context, name blob.Name, r io.Reader, size int64) error {
	if err := s.put(ctx, string(name), r, size); err != nil {
		return fmt.Errorf("put %s: %w", name, explain(err))
	}
	return nil
}

// unknown is the size of a blob that is as long as its reader.
const unknown = -1

func (s *Store) put(ctx context.Context, name string, r io.Reader, size int64) error {
	// Asked early, because a taken name should not cost the writing of all the bytes.
	if _, err := s.sys.Stat(name); err == nil {
		return s.taken(name)
	} else if !absent(err) {
		return err
	}
	tmp, f, err := s.create()
	if err != nil {
		return err
	}
	defer func() { _ = s.sys.Remove(tmp) }() // what stays behind is swept by a later Open
	if w, ok := f.(cacheAvoider); ok && blob.IsPastCache(ctx) {
		w.pastCache()
	}
	err = fill(ctx, f, r, size)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.publish(tmp, name)
}

// taken returns ErrExist once it is true for good: the Put that took the name may not have synced it yet.
func (s *Store) taken(name string) error {
	if err := s.dirs.Sync(path.Dir(name)); err != nil {
		return err
	}
	return blob.ErrExist
}

func fill(ctx context.Context, f io.Writer, r io.Reader, size int64) error {
	w := &exact{ctx: ctx, w: f, left: size}
	var buf []byte
	if size == unknown {
		w.left = math.MaxInt64
	}
	if _, ok := r.(io.WriterTo); !ok {
		buf = make([]byte, min(max(w.left, 512), 256<<10))
	}
	if _, err := io.CopyBuffer(w, r, buf); err != nil {
		return err
	}
	if w.left > 0 && size != unknown {
		return fmt.Errorf("%w: %d bytes, %d announced", blob.ErrInvalid, size-w.left, size)
	}
	return nil
}

// exact passes on the bytes announced and not one more, in pieces between which the context is looked at.
type exact struct {
	ctx  context.Context
	w    io.Writer
	left int64
}

func (e *exact) Write(p []byte) (int, error) {
	if int64(len(p)) > e.left {
		return 0, fmt.Errorf("%w: more bytes than announced", blob.ErrInvalid)
	}
	const piece = 8 << 20
	done := 0
	for done < len(p) {
		if err := e.ctx.Err(); err != nil {
			return done, err
		}
		n, err := e.w.Write(p[done:min(done+piece, len(p))])
		done += n
		e.left -= int64(n)
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// publish gives the finished file its final name.
func (s *Store) publish(tmp, name string) error {
	dir := path.Dir(name)
	if err := s.ensure(dir); err != nil {
		return err
	}
	err := s.sys.Link(tmp, name)
	if errors.Is(err, iofs.ErrNotExist) { // someone has removed the directory since we made it
		s.forget(dir)
		if err := s.ensure(dir); err != nil {
			return err
		}
		err = s.sys.Link(tmp, name)
	}
	if errors.Is(err, iofs.ErrExist) {
		return s.taken(name)
	}
	if err != nil {
		return err
	}
	if err := s.dirs.Sync(dir); err != nil {
		// Nobody may find what is not durable. Should the power fail before this removal is durable, the whole blob
		// may be there: whoever gets an error for a Put must expect either.
		return errors.Join(err, s.sys.Remove(name))
	}
	return nil
}

// ensure makes the directory and those above it, and returns when all their names are durable.
func (s *Store) ensure(dir string) error {
	s.mu.Lock()
	known := s.known[dir]
	s.mu.Unlock()
	if known {
		return nil
	}
	parent := path.Dir(dir)
	if err := s.ensure(parent); err != nil {
		return err
	}
	if err := s.sys.Mkdir(dir); err != nil && !errors.Is(err, iofs.ErrExist) {
		return err
	}
	if err := s.dirs.Sync(parent); err != nil {
		return err
	}
	s.mu.Lock()
	s.known[dir] = true
	s.mu.Unlock()
	return nil
}

// forget drops what is known of the directory and those above it.
func (s *Store) forget(dir string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ; dir != "."; dir = path.Dir(dir) {
		delete(s.known, dir)
	}
}
