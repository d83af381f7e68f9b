package blob

import (
	"context"
	"io"
	"iter"
	"strings"
	"time"
)

// Prefix returns the part of s whose names begin with the directory prefix, as a store of its own: its names go without
// the prefix. A slash at the end of prefix is optional; the empty prefix gives s itself. Errors of s name the whole name.
func Prefix(s Store, prefix string) Store {
	prefix = strings.TrimSuffix(prefix, "/")
	if prefix == "" {
		return s
	}
	return sub{store: s, prefix: prefix + "/"}
}

type sub struct {
	store  Store
	prefix string // ends with a slash
}

// whole gives the name in the outer store; the inner one is checked first, lest "" or "/x" name something outside.
func (s sub) whole(name Name) (Name, error) {
	return Name(s.prefix) + name, name.Check()
}

func (s sub) Put(ctx context.Context, name Name, r io.Reader, size int64) error {
	whole, err := s.whole(name)
	if err != nil {
		return err
	}
	return s.store.Put(ctx, whole, r, size)
}

func (s sub) Get(ctx context.Context, name Name, off, n int64) (io.ReadCloser, error) {
	whole, err := s.whole(name)
	if err != nil {
		return nil, err
	}
	return s.store.Get(ctx, whole, off, n)
}

func (s sub) Stat(ctx context.Context, name Name) (Info, error) {
	whole, err := s.whole(name)
	if err != nil {
		return Info{}, err
	}
	info, err := s.store.Stat(ctx, whole)
	if err != nil {
		return Info{}, err
	}
	return Info{Name: name, Size: info.Size}, nil
}

func (s sub) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		for info, err := range s.store.List(ctx, s.prefix+prefix) {
			if err != nil {
				yield(Info{}, err)
				return
			}
			info.Name = info.Name[len(s.prefix):]
			if !yield(info, nil) {
				return
			}
		}
	}
}

func (s sub) Delete(ctx context.Context, name Name) error {
	whole, err := s.whole(name)
	if err != nil {
		return err
	}
	return s.store.Delete(ctx, whole)
}

// Streamer lets [AsStreamer] see through.
func (s sub) Streamer() (Streamer, bool) {
	in, ok := AsStreamer(s.store)
	return subStreamer{s, in}, ok
}

type subStreamer struct {
	sub
	inner Streamer
}

func (s subStreamer) PutStream(ctx context.Context, name Name, r io.Reader) error {
	whole, err := s.whole(name)
	if err != nil {
		return err
	}
	return s.inner.PutStream(ctx, whole, r)
}

// Retainer lets [AsRetainer] see through.
func (s sub) Retainer() (Retainer, bool) {
	r, ok := AsRetainer(s.store)
	return subRetainer{s, r}, ok
}

// Summer lets [AsSummer] see through.
func (s sub) Summer() (Summer, bool) {
	inner, ok := AsSummer(s.store)
	return subSummer{s, inner}, ok
}

type subSummer struct {
	sub
	inner Summer
}

func (s subSummer) Keeps(name Name) bool {
	whole, err := s.whole(name)
	return err == nil && s.inner.Keeps(whole)
}

func (s subSummer) Sum(ctx context.Context, name Name) ([]byte, error) {
	whole, err := s.whole(name)
	if err != nil {
		return nil, err
	}
	return s.inner.Sum(ctx, whole)
}

type subRetainer struct {
	sub
	inner Retainer
}

func (s subRetainer) Retain(ctx context.Context, name Name, until time.Time) error {
	whole, err := s.whole(name)
	if err != nil {
		return err
	}
	return s.inner.Retain(ctx, whole, until)
}

func (s subRetainer) RetainedUntil(ctx context.Context, name Name) (time.Time, error) {
	whole, err := s.whole(name)
	if err != nil {
		return time.Time{}, err
	}
	return s.inner.RetainedUntil(ctx, whole)
}
