package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"

	"github.com/lockfast/lockfast/blob"
)

// maxPut is the greatest object that one PutObject takes.
const maxPut = 5 << 30

// Put implements [blob.Store]. After an error that is none of package blob's, or [blob.ErrUnavailable], the blob may
// have been stored, see package retry.
func (s *Store) Put(ctx context.Context, name blob.Name, r io.Reader, size int64) error {
	err := s.check(ctx, name)
	if err != nil {
		return err
	}
	if err = s.writable(); err == nil {
		err = s.put(ctx, name, r, size)
	}
	if err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	return nil
}

func (s *Store) put(ctx context.Context, name blob.Name, r io.Reader, size int64) error {
	body, err := newBody(r, size)
	if err != nil {
		return err
	}
	defer body.detach()
	if err := ctx.Err(); err != nil {
		return err
	}
	var until time.Time
	if s.o.Retain != nil {
		until = s.o.Retain(name)
	}
	err = s.putKey(ctx, *s.key(name), body, until)
	if errors.Is(err, errConflict) {
		// Another request for the name is under way, or has just won.
		if _, statErr := s.Stat(ctx, name); statErr == nil {
			return blob.ErrExist
		}
	}
	return err
}

// putKey makes the one request of a Put. until is the end of the object's retention, or zero.
func (s *Store) putKey(ctx context.Context, key string, b *body, until time.Time) error {
	sum, err := b.sum()
	if err != nil {
		return err
	}
	return s.call(ctx, func(ctx context.Context, w *watch) error {
		b.moved = w.moved
		in := &s3.PutObjectInput{
			Bucket: &s.location.Bucket, Key: &key, Body: b, ContentLength: aws.Int64(b.Size()), IfNoneMatch: aws.String("*"),
			ContentType:    aws.String("application/octet-stream"),
			ChecksumSHA256: aws.String(base64.StdEncoding.EncodeToString(sum[:])),
		}
		if !until.IsZero() {
			in.ObjectLockMode, in.ObjectLockRetainUntilDate = s.mode(), aws.Time(wholeSecond(until))
		}
		_, err := s.client.PutObject(ctx, in, withPayloadHash(hex.EncodeToString(sum[:])))
		return err
	})
}

// withPayloadHash spares the signer hashing the body again.
func withPayloadHash(sum string) func(*s3.Options) {
	return s3.WithAPIOptions(func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("PayloadHash", func(
			ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler,
		) (middleware.InitializeOutput, middleware.Metadata, error) {
			return next.HandleInitialize(v4.SetPayloadHash(ctx, sum), in)
		}), middleware.Before)
	})
}

// body is what a Put sends. The transport may still read it after the request has ended, when the reader belongs to the
// caller of Put again; so detach cuts it off.
type body struct {
	mu       sync.Mutex
	r        *io.SectionReader  // guarded by mu
	detached bool               // guarded by mu
	known    *[sha256.Size]byte // SHA-256 of the bytes, if the caller of Put knows it
	moved    func()             // called for every Read; set before the request
}

var errDetached = errors.New("read after the end of the request")

// newBody takes a reader of exactly size bytes.
func newBody(r io.Reader, size int64) (*body, error) {
	if size < 0 {
		return nil, fmt.Errorf("%w: size %d", blob.ErrInvalid, size)
	}
	if size > maxPut {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are allowed", blob.ErrInvalid, size, int64(maxPut))
	}
	section, left := section(r)
	if section == nil {
		data, err := readAll(r, size)
		if err != nil {
			return nil, err
		}
		section, left = io.NewSectionReader(bytes.NewReader(data), 0, size), size
	}
	if left != size {
		return nil, fmt.Errorf("%w: %d bytes, %d announced", blob.ErrInvalid, left, size)
	}
	b := &body{r: section, moved: func() {}}
	if h, ok := r.(*blob.Hashed); ok && section.Size() == h.Size() {
		b.known = new(h.Sum())
	}
	return b, nil
}

// section returns what is left of a reader that can be read again, and nil for another.
func section(r io.Reader) (*io.SectionReader, int64) {
	switch r := r.(type) {
	case *bytes.Reader:
		return io.NewSectionReader(r, r.Size()-int64(r.Len()), int64(r.Len())), int64(r.Len())
	case *io.SectionReader:
		if at, err := r.Seek(0, io.SeekCurrent); err == nil {
			return io.NewSectionReader(r, at, r.Size()-at), r.Size() - at
		}
	case *strings.Reader:
		return io.NewSectionReader(r, r.Size()-int64(r.Len()), int64(r.Len())), int64(r.Len())
	case *blob.Hashed:
		return section(r.SectionReader)
	}
	return nil, 0
}

// readAll reads exactly size bytes, and trusts size only as far as bytes arrive.
func readAll(r io.Reader, size int64) ([]byte, error) {
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

// sum returns the SHA-256 of the bytes.
func (b *body) sum() (sum [sha256.Size]byte, err error) {
	if b.known != nil {
		return *b.known, nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, b); err != nil {
		return sum, err
	}
	_, err = b.Seek(0, io.SeekStart)
	h.Sum(sum[:0])
	return sum, err
}

func (b *body) Size() int64 { return b.r.Size() }

func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.detached {
		return 0, errDetached
	}
	b.moved()
	return b.r.Read(p)
}

func (b *body) Seek(offset int64, whence int) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.detached {
		return 0, errDetached
	}
	return b.r.Seek(offset, whence)
}

func (b *body) detach() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.detached = true
}
