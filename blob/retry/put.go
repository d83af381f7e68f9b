package retry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/lockfast/lockfast/blob"
)

// Put implements [blob.Store]. See the package comment for what it does when an attempt may have succeeded unseen.
func (s *Store) Put(ctx context.Context, name blob.Name, r io.Reader, size int64) error {
	seeker, ok := r.(io.ReadSeeker)
	if !ok {
		return s.store.Put(ctx, name, r, size)
	}
	start, err := seeker.Seek(0, io.SeekCurrent)
	if err != nil { // such as a pipe that is called a file
		return s.store.Put(ctx, name, r, size)
	}
	for failures := 1; ; failures++ {
		src := &source{r: seeker}
		err := s.store.Put(ctx, name, src.reader(), size)
		if err == nil || src.err != nil {
			return err
		}
		if failures > 1 && (errors.Is(err, blob.ErrExist) || !s.permanent(err) && s.has(ctx, name)) {
			return s.settle(ctx, name, seeker, start, size, fmt.Errorf("put %s: %w", name, blob.ErrExist))
		}
		if err := s.again(ctx, failures, err); err != nil {
			return err
		}
		if _, err := seeker.Seek(start, io.SeekStart); err != nil {
			return fmt.Errorf("put %s again: %w", name, err)
		}
	}
}

// has reports whether a blob is there. A server that answers that a name is taken before it has read a large body cuts
// the connection, and the client may never see the answer.
func (s *Store) has(ctx context.Context, name blob.Name) bool {
	_, err := s.store.Stat(ctx, name)
	return err == nil
}

// source notes an error of the caller's reader, which repeating would not mend.
type source struct {
	r   io.Reader
	err error
}

// reader returns r itself where it cannot fail, because stores spare themselves a copy for the likes of *bytes.Reader.
func (s *source) reader() io.Reader {
	switch s.r.(type) {
	case *bytes.Reader, *strings.Reader:
		return s.r
	case *io.SectionReader, *blob.Hashed: // they may fail, and are then tried again in vain
		return s.r
	}
	return s
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// settle returns nil if the blob has the bytes that were to be put, and else taken, which says that it exists.
func (s *Store) settle(
	ctx context.Context, name blob.Name, r io.ReadSeeker, start, size int64, taken error,
) error {
	info, err := s.Stat(ctx, name)
	if err != nil {
		return err
	}
	if info.Size != size {
		return taken
	}
	if _, err := r.Seek(start, io.SeekStart); err != nil {
		return fmt.Errorf("put %s again: %w", name, err)
	}
	there, err := s.Get(ctx, name, 0, -1)
	if err != nil {
		return err
	}
	defer there.Close()
	same, err := equal(there, io.LimitReader(r, size))
	if err != nil {
		return fmt.Errorf("put %s: compare with what is there: %w", name, err)
	}
	if !same {
		return taken
	}
	return nil
}

func equal(a, b io.Reader) (bool, error) {
	const size = 256 << 10
	p, q := make([]byte, size), make([]byte, size)
	for {
		n, err1 := io.ReadFull(a, p)
		m, err2 := io.ReadFull(b, q)
		if !bytes.Equal(p[:n], q[:m]) {
			return false, errors.Join(failure(err1), failure(err2))
		}
		if err1 != nil || err2 != nil {
			return true, errors.Join(failure(err1), failure(err2))
		}
	}
}

// failure leaves of the errors of io.ReadFull those that are not the end. An early end is a difference in length, which
// the bytes show.
func failure(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}
