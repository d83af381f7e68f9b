// Package s3 is a [blob.Store] in a bucket of Amazon S3 or of a server that speaks its protocol.
//
// A blob is an object whose key is the prefix of the [Location] and the blob's name, so a bucket can be looked at and
// copied with ordinary tools. Objects whose keys are no [blob.Name] below the prefix are left alone and not listed.
//
// # What the server must be able to do
//
//   - PutObject with If-None-Match: *, as AWS documents it in
//     https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html: a blob is never overwritten, and of
//     concurrent Puts of one name one succeeds. [Open] tries it out and refuses a server that ignores it; nothing that
//     a client can do by itself would be as safe.
//   - Read after write and ordered listings, both as AWS has them. A listing out of order is an error.
//   - An object is durable when PutObject has answered. AWS promises that; of a gateway to a file system it is to be
//     found out whether it syncs.
//
// # Requests
//
// A Put is one request, whatever the size, so that there are never parts of an upload to clean up; the limit is the
// 5 GiB of PutObject. Bytes are sent with their SHA-256, which the server verifies and, where it can, keeps; [Store.Sum]
// tells it, and a blob read as a whole is compared with it, see [ErrChecksum]. A reader given to Put that is none of
// *bytes.Reader, *strings.Reader, *io.SectionReader and *[blob.Hashed] is first read into memory.
//
// The store repeats nothing: wrap it with package retry, which also settles a Put whose answer was lost. A request on
// which nothing moves for a while is given up ([Options]), and at most so many are made at once.
//
// Where the bucket keeps versions, Delete removes all versions of the object, so that the space comes back. What an
// object lock protects stays, and Delete returns [blob.ErrRetained].
//
// # Credentials
//
// They come from where the AWS SDKs look: the environment, the shared files, the machine's role. A location names a
// profile at most and never holds a secret. AWS_ENDPOINT_URL is not heeded, because whoever sets it may mean another
// service; the location says which server to use.
package s3

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/lockfast/lockfast/blob"
)

// ErrChecksum says that the bytes of a blob are not those that were put. It comes after all bytes, instead of io.EOF.
var ErrChecksum = errors.New("bytes differ from the checksum kept with them")

// Options of a [Store]. The zero value is a good choice.
type Options struct {
	// ReadOnly opens a store to read it only: Open writes nothing, Put and Delete return ErrPermission.
	ReadOnly bool
	// Requests is the number of requests at once, not counting open readers; 0 means 16.
	Requests int
	// Stall is how long nothing may move on a request before it is given up; 0 means a minute.
	Stall time.Duration
	// Retain says until when a blob that is put is to be retained, by an object lock that is put with it; the zero time is
	// not at all. With Retain, Open refuses a bucket that was not made with object lock. Nil retains nothing at Put.
	Retain func(name blob.Name) time.Time
	// Compliance locks in mode COMPLIANCE, which nobody can undo, instead of GOVERNANCE.
	Compliance bool
	// Credentials are used instead of those that the SDK finds.
	Credentials aws.CredentialsProvider
}

// Store is a [blob.Store] in a bucket.
type Store struct {
	client    *s3.Client
	location  Location
	prefix    string // of keys; empty or with a slash at the end
	o         Options
	slots     chan struct{}
	versioned bool // the bucket keeps versions
}

// Open opens the store at a location, whose bucket exists. Unless it is to be read only, Open makes sure that the
// server does not overwrite, for which it leaves one small object below the prefix.
func Open(ctx context.Context, l Location, o Options) (*Store, error) {
	if o.Requests <= 0 {
		o.Requests = 16
	}
	if o.Stall <= 0 {
		o.Stall = time.Minute
	}
	client, err := newClient(ctx, l, o.Credentials)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", l, err)
	}
	s := &Store{client: client, location: l, o: o, slots: make(chan struct{}, o.Requests)}
	if l.Prefix != "" {
		s.prefix = l.Prefix + "/"
	}
	if o.ReadOnly {
		err = s.bucket(ctx)
	} else {
		err = errors.Join(s.askVersions(ctx), s.askLock(ctx), s.probe(ctx))
	}
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", l, err)
	}
	return s, nil
}

// bucket returns nil if the bucket is there.
func (s *Store) bucket(ctx context.Context) error {
	err := s.call(ctx, func(ctx context.Context, _ *watch) error {
		_, err := s.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &s.location.Bucket})
		return err
	})
	if errors.Is(err, blob.ErrNotExist) {
		return fmt.Errorf("%w: bucket %s does not exist", blob.ErrUnavailable, s.location.Bucket)
	}
	return err
}

// askVersions learns whether deleted objects go on taking space as old versions.
func (s *Store) askVersions(ctx context.Context) error {
	return s.call(ctx, func(ctx context.Context, _ *watch) error {
		out, err := s.client.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &s.location.Bucket})
		if isCode(err, "NotImplemented", "MethodNotAllowed", "VersioningNotConfigured") {
			return nil // a server without versions
		}
		if err != nil {
			return fmt.Errorf("ask whether bucket %s keeps versions: %w", s.location.Bucket, explain(err))
		}
		s.versioned = out.Status == types.BucketVersioningStatusEnabled || out.Status == types.BucketVersioningStatusSuspended
		return nil
	})
}

// probeKey is the key, below the prefix, of the object with which [Open] tries the server out. It is no blob's name.
const probeKey = ".lockfast/write-once"

// probe refuses a server that overwrites.
func (s *Store) probe(ctx context.Context) error {
	text := "Lockfast finds out with this object whether the server honours If-None-Match.\n"
	for range 2 { // the first time the object may not be there yet
		body, err := newBody(strings.NewReader(text), int64(len(text)))
		if err != nil {
			return err
		}
		err = s.putKey(ctx, s.prefix+probeKey, body, time.Time{})
		body.detach()
		switch {
		case errors.Is(err, blob.ErrExist), errors.Is(err, errConflict):
			return nil
		case err != nil:
			return fmt.Errorf("write to bucket %s: %w", s.location.Bucket, err)
		}
	}
	return fmt.Errorf("%w: the server ignores If-None-Match and would overwrite objects; it cannot hold a store",
		errors.ErrUnsupported)
}

func (s *Store) key(name blob.Name) *string { return aws.String(s.prefix + string(name)) }

// check is what every call begins with.
func (s *Store) check(ctx context.Context, name blob.Name) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return name.Check()
}

// writable refuses changes to a store that is read only.
func (s *Store) writable() error {
	if s.o.ReadOnly {
		return fmt.Errorf("%w: the store is opened to be read only", blob.ErrPermission)
	}
	return nil
}

// Stat implements [blob.Store].
func (s *Store) Stat(ctx context.Context, name blob.Name) (blob.Info, error) {
	if err := s.check(ctx, name); err != nil {
		return blob.Info{}, err
	}
	out, err := s.head(ctx, name, "")
	if err == nil && (out.ContentLength == nil || *out.ContentLength < 0) {
		err = errNoLength
	}
	if err != nil {
		return blob.Info{}, fmt.Errorf("stat %s: %w", name, err)
	}
	return blob.Info{Name: name, Size: *out.ContentLength}, nil
}

// head asks for an object without its bytes.
func (s *Store) head(ctx context.Context, name blob.Name, mode types.ChecksumMode) (out *s3.HeadObjectOutput, err error) {
	in := &s3.HeadObjectInput{Bucket: &s.location.Bucket, Key: s.key(name), ChecksumMode: mode}
	err = s.call(ctx, func(ctx context.Context, _ *watch) (err error) {
		out, err = s.client.HeadObject(ctx, in)
		return err
	})
	if errors.Is(err, blob.ErrNotExist) {
		// The answer to HEAD does not tell a missing object from a missing bucket, of which nothing follows.
		if bucketErr := s.bucket(ctx); bucketErr != nil {
			err = bucketErr
		}
	}
	return out, err
}

// Delete implements [blob.Store].
func (s *Store) Delete(ctx context.Context, name blob.Name) error {
	err := s.check(ctx, name)
	if err != nil {
		return err
	}
	if err = s.writable(); err == nil {
		if s.versioned {
			err = s.deleteVersions(ctx, name)
		} else {
			err = s.deleteKey(ctx, *s.key(name), nil)
		}
		err = s.retained(ctx, *s.key(name), err)
	}
	if err != nil {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	return nil
}

func (s *Store) deleteKey(ctx context.Context, key string, version *string) error {
	err := s.call(ctx, func(ctx context.Context, _ *watch) error {
		_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.location.Bucket, Key: &key, VersionId: version})
		return err
	})
	if errors.Is(err, blob.ErrNotExist) {
		return nil
	}
	return err
}

// deleteVersions removes all versions of an object and the markers of earlier deletions.
func (s *Store) deleteVersions(ctx context.Context, name blob.Name) error {
	key := s.key(name)
	in := &s3.ListObjectVersionsInput{Bucket: &s.location.Bucket, Prefix: key}
	for {
		var out *s3.ListObjectVersionsOutput
		err := s.call(ctx, func(ctx context.Context, _ *watch) (err error) {
			out, err = s.client.ListObjectVersions(ctx, in)
			return err
		})
		if err != nil {
			return err
		}
		var versions []*string
		for _, v := range out.Versions {
			if aws.ToString(v.Key) == *key {
				versions = append(versions, v.VersionId)
			}
		}
		for _, m := range out.DeleteMarkers {
			if aws.ToString(m.Key) == *key {
				versions = append(versions, m.VersionId)
			}
		}
		for _, v := range versions {
			if err := s.deleteKey(ctx, *key, v); err != nil {
				return err
			}
		}
		if !aws.ToBool(out.IsTruncated) || aws.ToString(out.NextKeyMarker) > *key {
			return nil
		}
		in.KeyMarker, in.VersionIdMarker = out.NextKeyMarker, out.NextVersionIdMarker
	}
}
