package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/blobtest"
	"github.com/lockfast/lockfast/blob/retry"
	"github.com/lockfast/lockfast/blob/s3"
	"github.com/lockfast/lockfast/blob/s3/s3test"
)

// disturbance is what a proxy does to a request.
type disturbance int

const (
	none     disturbance = iota
	busy                 // 503 SlowDown, without effect
	reset                // the connection is cut before the server hears of it
	lost                 // the server does it, and the connection is cut before the answer
	hung                 // the server does it, and the answer never comes
	half                 // the connection is cut in the middle of the answer's body
	halfWord             // the same in the headers
	slow                 // the answer takes a moment
	htmlPage             // something between answers with a page of its own
)

// proxy stands between a store and a gateway.
type proxy struct {
	*httptest.Server
	gateway *httputil.ReverseProxy

	mu     sync.Mutex
	choose func(r *http.Request) disturbance // guarded by mu
	seen   map[string]int                    // guarded by mu; requests by method
}

func startProxy(t *testing.T, g *s3test.Gateway) *proxy {
	t.Helper()
	target, err := url.Parse(g.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{seen: map[string]int{}, choose: func(*http.Request) disturbance { return none }}
	p.gateway = &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // which is signed
	}, ErrorLog: log.New(io.Discard, "", 0)}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

// disturb has choose decide from now on.
func (p *proxy) disturb(choose func(r *http.Request) disturbance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.choose = choose
	clear(p.seen)
}

// first disturbs the first n requests of a method.
func (p *proxy) first(n int, method string, d disturbance) {
	p.disturb(func(r *http.Request) disturbance {
		if r.Method == method && p.seen[method] <= n {
			return d
		}
		return none
	})
}

func (p *proxy) calls(method string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen[method]
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.seen[r.Method]++
	d := p.choose(r)
	p.mu.Unlock()
	switch d {
	case none:
		p.gateway.ServeHTTP(w, r)
		return
	case busy:
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>")
		return
	case htmlPage:
		w.WriteHeader(http.StatusBadGateway)
		fmt.Fprint(w, "<html>bad gateway</html>")
		return
	case reset:
		cut(w, nil)
		return
	}
	answer := httptest.NewRecorder()
	p.gateway.ServeHTTP(answer, r)
	switch d {
	case lost:
		cut(w, nil)
	case hung:
		select {
		case <-r.Context().Done():
		case <-time.After(time.Minute):
		}
		cut(w, nil)
	case half, halfWord, slow:
		var raw bytes.Buffer
		result := answer.Result()
		result.ContentLength = int64(answer.Body.Len())
		body := answer.Body.Len()
		if r.Method == http.MethodHead {
			result.Request = r
			result.ContentLength, _ = strconv.ParseInt(answer.Header().Get("Content-Length"), 10, 64)
		}
		if err := result.Write(&raw); err != nil {
			panic(err)
		}
		switch d {
		case half:
			raw.Truncate(raw.Len() - (body+1)/2)
		case halfWord:
			raw.Truncate(20)
		case slow:
			time.Sleep(2 * time.Millisecond) // a moment, not a wait for anything
		}
		cut(w, raw.Bytes())
	}
}

// cut writes raw bytes and ends the connection.
func cut(w http.ResponseWriter, raw []byte) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	if len(raw) > 0 {
		_, _ = conn.Write(raw)
	} else if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // the other side gets a reset
	}
	conn.Close()
}

// disturbed opens a store behind a proxy.
func disturbed(t *testing.T, o s3.Options) (*retry.Store, *proxy) {
	t.Helper()
	g := s3test.Start(t)
	p := startProxy(t, g)
	l := g.Location(t)
	l.Endpoint = p.URL
	s := s3test.Open(t, l, o)
	return retry.New(s, retry.Options{Attempts: 6, Delay: time.Millisecond}), p
}

func TestConforms_UnderFaults(t *testing.T) {
	t.Parallel()
	g := s3test.Start(t)
	p := startProxy(t, g)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	p.disturb(func(r *http.Request) disturbance {
		if rnd.IntN(8) > 0 {
			return none
		}
		if _, err := os.Stat(filepath.Join(g.Dir, r.URL.Path)); err == nil && r.Method == http.MethodPut {
			return none // the suite puts the same bytes again, which package retry takes for its own lost Put
		}
		return []disturbance{busy, reset, lost, half, halfWord, slow, htmlPage}[rnd.IntN(7)]
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
	for name, d := range map[string]disturbance{"reset": lost, "half a word": halfWord, "silence": hung} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, p := disturbed(t, s3.Options{Stall: time.Second})
			p.first(1, http.MethodPut, d)
			put(t, s, "a", "ours")
			if got := p.calls(http.MethodPut); got != 2 {
				t.Errorf("%d requests to put, want 2", got)
			}
			if data, err := get(t, s, "a"); data != "ours" || err != nil {
				t.Errorf("Get(a) = %q, %v, want ours", data, err)
			}
			// The answer to a Put of other bytes is lost as well: the blob that is there stays, and is not ours.
			p.first(1, http.MethodPut, d)
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
		p.first(1, http.MethodPut, lost)
		name := blob.Name(fmt.Sprintf("large/%d", i))
		if err := s.Put(t.Context(), name, bytes.NewReader(data), int64(len(data))); err != nil {
			t.Errorf("Put %d = %v, want success", i, err)
		}
	}
}

func TestPassingFaults_AreRepeated(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]disturbance{"busy": busy, "reset": reset, "lost": lost, "page": htmlPage, "silence": hung} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := s3.Options{Stall: time.Minute} // no slow machine is silence
			if name == "silence" {
				o.Stall = time.Second
			}
			s, p := disturbed(t, o)
			p.first(2, http.MethodPut, d)
			put(t, s, "a", "x")
			p.first(2, http.MethodGet, d)
			if data, err := get(t, s, "a"); data != "x" || err != nil {
				t.Errorf("Get(a) = %q, %v, want x", data, err)
			}
			p.first(2, http.MethodGet, d)
			if got := names(t, s); len(got) != 1 {
				t.Errorf("List() = %v, want a", got)
			}
			p.first(2, http.MethodHead, d)
			if _, err := s.Stat(t.Context(), "a"); err != nil {
				t.Errorf("Stat(a): %v", err)
			}
			p.first(2, http.MethodDelete, d)
			if err := s.Delete(t.Context(), "a"); err != nil {
				t.Errorf("Delete(a): %v", err)
			}
		})
	}
}

func TestGet_OfBodyThatIsCut(t *testing.T) {
	t.Parallel()
	g := s3test.Start(t)
	p := startProxy(t, g)
	l := g.Location(t)
	l.Endpoint = p.URL
	bare := s3test.Open(t, l, s3.Options{})
	data := make([]byte, 3<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data)
	put(t, bare, "a", string(data))
	p.first(1, http.MethodGet, half)
	if got, err := get(t, bare, "a"); !errors.Is(err, blob.ErrUnavailable) || len(got) >= len(data) {
		t.Errorf("Get(a) = %d bytes, %v, want fewer than %d and %v", len(got), err, len(data), blob.ErrUnavailable)
	}
	s := retry.New(bare, retry.Options{Delay: time.Millisecond})
	p.first(2, http.MethodGet, half)
	if got, err := get(t, s, "a"); err != nil || got != string(data) {
		t.Errorf("Get(a) through retry = %d bytes, %v, want %d", len(got), err, len(data))
	}
	if got := p.calls(http.MethodGet); got != 3 {
		t.Errorf("%d requests to get, want 3: each goes on where the last was cut", got)
	}
}

func TestStall_EndsARequest(t *testing.T) {
	t.Parallel()
	g := s3test.Start(t)
	p := startProxy(t, g)
	l := g.Location(t)
	l.Endpoint = p.URL
	s := s3test.Open(t, l, s3.Options{Stall: time.Second})
	p.disturb(func(*http.Request) disturbance { return hung })
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
