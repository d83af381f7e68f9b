package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/lockfast/lockfast/blob"
)

// Get implements [blob.Store]. Bytes come as they arrive; at the end of a whole blob they are compared with the checksum
// that the server keeps, if it keeps one.
func (s *Store) Get(ctx context.Context, name blob.Name, off, n int64) (io.ReadCloser, error) {
	if err := s.check(ctx, name); err != nil {
		return nil, err
	}
	if off < 0 || n == 0 || n > math.MaxInt64-off {
		return s.nothing(ctx, name, off, n) // no range of HTTP says this
	}
	r, err := s.get(ctx, name, off, n)
	if errors.Is(err, errOutside) {
		return s.nothing(ctx, name, off, n)
	}
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	return r, nil
}

// nothing answers a Get that can only be for an empty range of a blob, or for one outside it.
func (s *Store) nothing(ctx context.Context, name blob.Name, off, n int64) (io.ReadCloser, error) {
	info, err := s.Stat(ctx, name)
	if err == nil {
		n, err = blob.CheckRange(info.Size, off, n)
	}
	if err == nil && n > 0 {
		err = fmt.Errorf("the server refuses a range inside the %d bytes", info.Size)
	}
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	return io.NopCloser(bytes.NewReader(nil)), nil
}

func (s *Store) get(ctx context.Context, name blob.Name, off, n int64) (io.ReadCloser, error) {
	release, err := s.slot(ctx)
	if err != nil {
		return nil, err
	}
	defer release() // the reader does without, lest those who hold readers wait for each other
	w := newWatch(ctx, s.o.Stall)
	in := &s3.GetObjectInput{Bucket: &s.location.Bucket, Key: s.key(name)}
	switch {
	case n > 0:
		in.Range = aws.String(fmt.Sprintf("bytes=%d-%d", off, off+n-1))
	case off > 0:
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", off))
	}
	// The SDK's own verification is off: its error cannot be told from a lost connection.
	out, err := s.client.GetObject(w.inner, in,
		s3.WithAPIOptions(smithyhttp.SetHeaderValue("X-Amz-Checksum-Mode", "ENABLED")))
	if err != nil {
		defer w.end()
		return nil, w.explain(err)
	}
	w.pause()
	size, err := measure(out, in.Range != nil, off, n)
	if err != nil {
		defer w.end()
		return nil, errors.Join(err, out.Body.Close())
	}
	r := &reader{body: out.Body, watch: w, name: name, left: size}
	if sum := kept(out.ChecksumSHA256, out.ChecksumType); sum != nil && in.Range == nil {
		r.want, r.sum = sum, sha256.New()
	}
	return r, nil
}

// measure returns the length of an answer, which must be that of the range asked for.
func measure(out *s3.GetObjectOutput, ranged bool, off, n int64) (int64, error) {
	if out.ContentLength == nil || *out.ContentLength < 0 {
		return 0, errNoLength
	}
	length := *out.ContentLength
	first, total := int64(0), length
	if out.ContentRange != nil {
		var ok bool
		if first, total, ok = contentRange(*out.ContentRange); !ok {
			return 0, fmt.Errorf("the server answered with a malformed range %q", *out.ContentRange)
		}
	} else if ranged && (off != 0 || n != length) {
		return 0, errors.New("the server does not serve ranges")
	}
	n, err := blob.CheckRange(total, off, n)
	if err != nil {
		return 0, err
	}
	if first != off || length != n {
		return 0, fmt.Errorf("the server answered with %d bytes from %d instead of %d from %d", length, first, n, off)
	}
	return n, nil
}

// contentRange reads "bytes FIRST-LAST/TOTAL".
func contentRange(text string) (first, total int64, ok bool) {
	text, isBytes := strings.CutPrefix(text, "bytes ")
	span, all, hasTotal := strings.Cut(text, "/")
	begin, _, hasEnd := strings.Cut(span, "-")
	first, err1 := strconv.ParseInt(begin, 10, 64)
	total, err2 := strconv.ParseInt(all, 10, 64)
	return first, total, isBytes && hasTotal && hasEnd && err1 == nil && err2 == nil
}

// kept returns the checksum that the server keeps with an object; nil if there is none, or one of parts.
func kept(text *string, kind types.ChecksumType) []byte {
	sum, err := base64.StdEncoding.DecodeString(aws.ToString(text))
	if err != nil || len(sum) != sha256.Size || kind == types.ChecksumTypeComposite {
		return nil
	}
	return sum
}

// reader delivers exactly the bytes announced, or an error.
type reader struct {
	body  io.ReadCloser
	watch *watch
	name  blob.Name
	left  int64
	sum   hash.Hash // of what has been read; nil if there is nothing to compare it with
	want  []byte
	err   error // final
}

func (r *reader) Read(p []byte) (int, error) {
	if len(p) == 0 || r.err != nil {
		return 0, r.err
	}
	if r.left == 0 {
		r.err = r.verify()
		return 0, r.err
	}
	r.watch.moved()
	n, err := r.body.Read(p[:min(int64(len(p)), r.left)])
	r.watch.pause()
	r.left -= int64(n)
	if r.sum != nil {
		r.sum.Write(p[:n])
	}
	if err == io.EOF && r.left == 0 {
		return n, nil
	}
	if err != nil {
		r.err = fmt.Errorf("get %s: %w", r.name, r.cut(err))
	}
	return n, r.err
}

// cut words an answer that ends early.
func (r *reader) cut(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if ctx := r.watch.outer.Err(); ctx != nil {
		return ctx
	}
	if errors.Is(context.Cause(r.watch.inner), errStalled) {
		return r.watch.explain(err)
	}
	return fmt.Errorf("%w: %w, %d bytes before the end", blob.ErrUnavailable, err, r.left)
}

func (r *reader) verify() error {
	if r.sum != nil && !bytes.Equal(r.sum.Sum(nil), r.want) {
		return fmt.Errorf("get %s: %w", r.name, ErrChecksum)
	}
	return io.EOF
}

func (r *reader) Close() error {
	r.err = errClosed
	if r.left == 0 {
		r.watch.moved()
		_, _ = io.CopyN(io.Discard, r.body, 1) // meets the end, so that the connection can be used again
	}
	err := r.body.Close()
	r.watch.end()
	return err
}

var errClosed = errors.New("read after close")
