package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/blobtest"
	"github.com/lockfast/lockfast/blob/retry"
	"github.com/lockfast/lockfast/blob/s3"
	"github.com/lockfast/lockfast/blob/s3/s3test"
)

// disturbed opens a store behind a proxy.
func disturbed(t *testing.T, o s3.Options) (*retry.Store, *s3test.Proxy) {
	t.Helper()
	g := s3test.Start(t)
	p := s3test.StartProxy(t, g)
	l := g.Location(t)
	l.Endpoint = p.URL
	s := s3test.Open(t, l, o)
	return retry.New(s, retry.Options{Attempts: 6, Delay: time.Millisecond}), p
}

func TestConforms_UnderFaults(t *testing.T) {
	t.Parallel()
	g := s3test.Start(t)
	p := s3test.StartProxy(t, g)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	p.Disturb(func(r *http.Request) s3test.Disturbance {
		if rnd.IntN(8) > 0 {
			return s3test.None
		}
		if _, err := os.Stat(filepath.Join(g.Dir, r.URL.Path)); err == nil && r.Method == http.MethodPut {
			return s3test.None // the suite puts the same bytes again, which package retry takes for its own lost Put
		}
		return s3test.Passing(rnd)
	})
	blobtest.Run(t, func(t *testing.T) blob.Store {
		l := g.Location(t)
		l.Endpoint = p.URL
		var s *s3.Store
		err := errors.New("not tried")
		for try := 0; err != nil && try < 50; try++ {
			s, err = s3.Open(t.Context(), l, s3.Options{Credentials: s3test.Credentials()})
		}
		if err != nil {
			t.Fatal(err)
		}
		return seekable{retry.New(s, retry.Options{Attempts: 12, Delay: time.Millisecond, MaxDelay: 20 * time.Millisecond})}
	})
}

// seekable turns the readers of Puts into such as can be read again; with others a lost answer stays lost.
type seekable struct{ blob.Store }

func (s seekable) Put(ctx context.Context, name blob.Name, r io.Reader, size int64) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	return s.Store.Put(ctx, name, bytes.NewReader(data), size)
}

func TestPut_WhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]s3test.Disturbance{"reset": s3test.Lost, "half a word": s3test.HalfWord, "silence": s3test.Hung} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, p := disturbed(t, s3.Options{Stall: time.Second})
			p.First(1, http.MethodPut, d)
			put(t, s, "a", "ours")
			if got := p.Calls(http.MethodPut); got != 2 {
				t.Errorf("%d requests to put, want 2", got)
			}
			if data, err := get(t, s, "a"); data != "ours" || err != nil {
				t.Errorf("Get(a) = %q, %v, want ours", data, err)
			}
			// The answer to a Put of other bytes is lost as well: the blob that is there stays, and is not ours.
			p.First(1, http.MethodPut, d)
			err := s.Put(t.Context(), "a", strings.NewReader("else"), 4)
			if !errors.Is(err, blob.ErrExist) {
				t.Errorf("Put(a) of other bytes = %v, want %v", err, blob.ErrExist)
			}
		})
	}
}

// TestPut_OfLargeBodyWhoseAnswerIsLost: the gateway says that the name is taken before it has read the body, and cuts the
// connection, so that the answer of the repetition may be lost as well.
func TestPut_OfLargeBodyWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	s, p := disturbed(t, s3.Options{})
	data := make([]byte, 33<<20)
	for i := range 4 {
		p.First(1, http.MethodPut, s3test.Lost)
		name := blob.Name(fmt.Sprintf("large/%d", i))
		if err := s.Put(t.Context(), name, bytes.NewReader(data), int64(len(data))); err != nil {
			t.Errorf("Put %d = %v, want success", i, err)
		}
	}
}

func TestPassingFaults_AreRepeated(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]s3test.Disturbance{"busy": s3test.Busy, "reset": s3test.Reset, "lost": s3test.Lost, "page": s3test.Page, "silence": s3test.Hung} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := s3.Options{Stall: time.Minute} // no slow machine is silence
			if name == "silence" {
				o.Stall = time.Second
			}
			s, p := disturbed(t, o)
			p.First(2, http.MethodPut, d)
			put(t, s, "a", "x")
			p.First(2, http.MethodGet, d)
			if data, err := get(t, s, "a"); data != "x" || err != nil {
				t.Errorf("Get(a) = %q, %v, want x", data, err)
			}
			p.First(2, http.MethodGet, d)
			if got := names(t, s); len(got) != 1 {
				t.Errorf("List() = %v, want a", got)
			}
			p.First(2, http.MethodHead, d)
			if _, err := s.Stat(t.Context(), "a"); err != nil {
				t.Errorf("Stat(a): %v", err)
			}
			p.First(2, http.MethodDelete, d)
			if err := s.Delete(t.Context(), "a"); err != nil {
				t.Errorf("Delete(a): %v", err)
			}
		})
	}
}

func TestGet_OfBodyThatIsCut(t *testing.T) {
	t.Parallel()
	g := s3test.Start(t)
	p := s3test.StartProxy(t, g)
	l := g.Location(t)
	l.Endpoint = p.URL
	bare := s3test.Open(t, l, s3.Options{})
	data := make([]byte, 3<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data)
	put(t, bare, "a", string(data))
	p.First(1, http.MethodGet, s3test.Half)
	if got, err := get(t, bare, "a"); !errors.Is(err, blob.ErrUnavailable) || len(got) >= len(data) {
		t.Errorf("Get(a) = %d bytes, %v, want fewer than %d and %v", len(got), err, len(data), blob.ErrUnavailable)
	}
	s := retry.New(bare, retry.Options{Delay: time.Millisecond})
	p.First(2, http.MethodGet, s3test.Half)
	if got, err := get(t, s, "a"); err != nil || got != string(data) {
		t.Errorf("Get(a) through retry = %d bytes, %v, want %d", len(got), err, len(data))
	}
	if got := p.Calls(http.MethodGet); got != 3 {
		t.Errorf("%d requests to get, want 3: each goes on where the last was cut", got)
	}
}

func TestStall_EndsARequest(t *testing.T) {
	t.Parallel()
	g := s3test.Start(t)
	p := s3test.StartProxy(t, g)
	l := g.Location(t)
	l.Endpoint = p.URL
	s := s3test.Open(t, l, s3.Options{Stall: time.Second})
	p.Disturb(func(*http.Request) s3test.Disturbance { return s3test.Hung })
	_, err := s.Stat(t.Context(), "a")
	wantUnavailable(t, "Stat", err)
	wantUnavailable(t, "Put", s.Put(t.Context(), "b", strings.NewReader("x"), 1))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Delete(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Delete = %v, want %v", err, context.DeadlineExceeded)
	}
}

func TestReader_MayBeSlow(t *testing.T) {
	t.Parallel()
	g := s3test.Start(t)
	s := s3test.Open(t, g.Location(t), s3.Options{Stall: 500 * time.Millisecond})
	data := bytes.Repeat([]byte("slowly "), 1<<20)
	put(t, s, "a", string(data))
	r, err := s.Get(t.Context(), "a", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	time.Sleep(time.Second) // of the consumer; only the server's time counts
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
		t.Errorf("reading after a pause gave %d bytes, %v, want %d", len(got), err, len(data))
	}
}

func TestReaders_DoNotStarveRequests(t *testing.T) {
	t.Parallel()
	g := s3test.Start(t)
	s := s3test.Open(t, g.Location(t), s3.Options{Requests: 2})
	put(t, s, "a", strings.Repeat("x", 1<<20))
	for range 4 {
		r, err := s.Get(t.Context(), "a", 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
	}
	put(t, s, "b", "x")
}
