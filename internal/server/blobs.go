package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/fs"
	"github.com/lockfast/lockfast/blob/retry"
	"github.com/lockfast/lockfast/blob/s3"
	"github.com/lockfast/lockfast/repo"
)

// openPatience is how long a bucket is tried that does not answer, when it is opened.
const openPatience = 10 * time.Second

// Blobs is an open store of vaults: a directory, or a bucket whose requests are repeated when they fail for a passing
// reason.
type Blobs struct {
	blob.Store
	location    string // for messages
	directories func(context.Context) ([]string, error)
	close       func() error
}

// BlobsOptions says how to open a store.
type BlobsOptions struct {
	Cold     string          // location of cold packs; empty = with everything else
	Create   bool            // makes a directory that is missing; a bucket must be there
	ReadOnly bool            // writes nothing to a bucket
	Repeated func(err error) // called when a request to a bucket is to be repeated; may be nil
	System   fs.System       // see [fs.Options]
	// Retention is how long packs are locked in a bucket from when they are written; 0 is not at all. Compliance makes
	// that a lock which nobody can undo.
	Retention  time.Duration
	Compliance bool
}

// OpenBlobs opens the store at a location: the path of a directory, or s3://BUCKET/PREFIX?..., see [s3.Parse].
func OpenBlobs(ctx context.Context, location string, o BlobsOptions) (*Blobs, error) {
	main, err := openLocation(ctx, location, o)
	if err != nil || o.Cold == "" {
		return main, err
	}
	cold, err := openLocation(ctx, o.Cold, o)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open cold storage: %w", err), main.Close())
	}
	b := *main
	b.Store = repo.ColdStore(main.Store, cold.Store)
	b.close = func() error { return errors.Join(main.Close(), cold.Close()) }
	return &b, nil
}

func openLocation(ctx context.Context, location string, o BlobsOptions) (*Blobs, error) {
	if inBucket(location) {
		return openBucket(ctx, location, o)
	}
	s, err := fs.Open(location, fs.Options{Create: o.Create, System: o.System})
	if err != nil {
		return nil, err
	}
	return &Blobs{Store: s, location: location, close: s.Close, directories: func(context.Context) ([]string, error) {
		return subdirectories(location, o.System)
	}}, nil
}

// inBucket tells the location of a bucket from the path of a directory.
func inBucket(location string) bool { return strings.HasPrefix(location, s3.Scheme) }

// bucketReaders is how many ranges a restore reads from a bucket at once. Each waits for an answer most of the time; 16 make a
// restore at 30 ms of distance about as fast as the decoding allows on two cores, and take up to 128 MiB.
const bucketReaders = 16

// RepoOptions tunes vaults for the place where they are.
func RepoOptions(location string) repo.Options {
	if inBucket(location) {
		return repo.Options{Readers: bucketReaders}
	}
	return repo.Options{}
}

func openBucket(ctx context.Context, location string, o BlobsOptions) (*Blobs, error) {
	l, err := s3.Parse(location)
	if err != nil {
		return nil, fmt.Errorf("location of the store: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, openPatience)
	defer cancel()
	var s *s3.Store
	for pause := 200 * time.Millisecond; ; pause *= 2 {
		s, err = s3.Open(ctx, l, s3.Options{ReadOnly: o.ReadOnly, Retain: o.retain(), Compliance: o.Compliance})
		if err == nil {
			break
		}
		if !errors.Is(err, blob.ErrUnavailable) || pause > time.Second {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(pause):
		}
	}
	again := retry.New(s, retry.Options{
		Pause: o.Repeated,
		// All bytes have been read by then, and what is read again would not be compared.
		Permanent: func(err error) bool { return errors.Is(err, s3.ErrChecksum) },
	})
	return &Blobs{Store: again, location: l.String(), close: func() error { return nil },
		directories: func(ctx context.Context) (dirs []string, err error) {
			for dir, err := range s.Directories(ctx) {
				if err != nil {
					return nil, err
				}
				dirs = append(dirs, dir)
			}
			return dirs, nil
		}}, nil
}

// retain says until when a blob is to be locked: packs are, whose names are UUID/d/..., UUID/m/... and UUID/a/....
func (o BlobsOptions) retain() func(name blob.Name) time.Time {
	if o.Retention == 0 || o.ReadOnly {
		return nil
	}
	return func(name blob.Name) time.Time {
		_, inVault, _ := strings.Cut(string(name), "/")
		if strings.HasPrefix(inVault, "d/") || strings.HasPrefix(inVault, "m/") || strings.HasPrefix(inVault, "a/") {
			return time.Now().Add(o.Retention)
		}
		return time.Time{}
	}
}

// subdirectories lists a directory, or the root of a system if that is not nil.
func subdirectories(dir string, system fs.System) (names []string, err error) {
	if system != nil {
		entries, err := system.ReadDir(".")
		for _, e := range entries {
			names = append(names, e.Name)
		}
		return names, err
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// Vaults returns the UUIDs below which there is something: those of vaults, whole or in part.
func (b *Blobs) Vaults(ctx context.Context) (ids []string, err error) {
	dirs, err := b.directories(ctx)
	for _, dir := range dirs {
		if uuid.Validate(dir) == nil {
			ids = append(ids, dir)
		}
	}
	return ids, err
}

// Place says where a vault is, for messages.
func (b *Blobs) Place(vault string) string {
	if inBucket(b.location) {
		return strings.TrimSuffix(b.location+"/"+vault, "/")
	}
	return filepath.Join(b.location, vault)
}

// Retainer lets [blob.AsRetainer] see through.
func (b *Blobs) Retainer() (blob.Retainer, bool) { return blob.AsRetainer(b.Store) }

// Streamer lets [blob.AsStreamer] see through.
func (b *Blobs) Streamer() (blob.Streamer, bool) { return blob.AsStreamer(b.Store) }

// Summer lets [blob.AsSummer] see through.
func (b *Blobs) Summer() (blob.Summer, bool) { return blob.AsSummer(b.Store) }

// Close ends the use of the store.
func (b *Blobs) Close() error { return b.close() }
