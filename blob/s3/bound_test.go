package s3_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/s3"
	"github.com/lockfast/lockfast/blob/s3/s3test"
)

// turnstile stands between a store and a gateway and counts the requests that are under way, from when they arrive until
// just before they are answered. While it is shut, each waits until a token lets it on.
type turnstile struct {
	gateway *httputil.ReverseProxy
	tokens  chan struct{} // closed, it is open
	arrived chan struct{} // a value for each request

	mu     sync.Mutex
	inside int             // guarded by mu
	most   int             // guarded by mu
	kinds  map[string]bool // guarded by mu; methods, of those that had to wait
}

func (c *turnstile) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.inside++
	c.most = max(c.most, c.inside)
	c.kinds[r.Method] = true
	c.mu.Unlock()
	c.arrived <- struct{}{}
	<-c.tokens
	answer := httptest.NewRecorder()
	c.gateway.ServeHTTP(answer, r)
	c.mu.Lock()
	c.inside--
	c.mu.Unlock()
	for key, values := range answer.Header() {
		w.Header()[key] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes()) // a client that is gone says so itself
}

// await waits for the arrival of a request.
func (c *turnstile) await(t *testing.T, what string) {
	t.Helper()
	select {
	case <-c.arrived:
	case <-time.After(time.Minute):
		t.Fatalf("%s: no request arrives", what)
	}
}

// TestRequests_AreBounded has many callers at once and a server that answers one request at a time: as many requests as
// Options.Requests are under way, never more, and open readers are not among them.
func TestRequests_AreBounded(t *testing.T) {
	t.Parallel()
	const bound, callers = 5, 60
	g := s3test.Start(t)
	c := &turnstile{
		gateway: g.Forward(t), tokens: make(chan struct{}), arrived: make(chan struct{}, 100*callers), kinds: map[string]bool{},
	}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	open := sync.OnceFunc(func() { close(c.tokens) })
	t.Cleanup(open) // before the server closes, which waits for its requests
	l := g.Location(t)
	direct := s3test.Open(t, l, s3.Options{})
	for i := range callers {
		put(t, direct, blob.Name(fmt.Sprintf("there/%02d", i)), strings.Repeat("x", 1<<20))
	}
	l.Endpoint = server.URL
	s, err := openThrough(t.Context(), c, l, bound)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 * bound { // readers that nobody reads to the end
		go func() { c.tokens <- struct{}{} }()
		r, err := s.Get(t.Context(), "there/00", 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		c.await(t, "Get")
	}
	c.mu.Lock()
	c.most, c.kinds = 0, map[string]bool{}
	c.mu.Unlock()

	calls, ctx := errgroup.WithContext(t.Context())
	for i := range callers {
		calls.Go(func() error { return anyCall(ctx, s, i) })
	}
	for i := range bound {
		c.await(t, fmt.Sprintf("%d of %d requests are under way", i, bound))
	}
	for i := range callers { // each lets one go, whose place another one takes
		c.tokens <- struct{}{}
		if i < callers-bound {
			c.await(t, "a request was answered")
		}
	}
	open() // for the second requests of calls that take two
	if err := calls.Wait(); err != nil {
		t.Fatal(err)
	}
	if c.most != bound || len(c.kinds) != 4 {
		t.Errorf("up to %d requests at once by %v, want %d by all methods", c.most, c.kinds, bound)
	}
}

// openThrough opens a store through a turnstile, whose requests it lets on.
func openThrough(ctx context.Context, c *turnstile, l s3.Location, bound int) (*s3.Store, error) {
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case <-c.arrived:
				c.tokens <- struct{}{}
			case <-done:
				return
			}
		}
	}()
	return s3.Open(ctx, l, s3.Options{Requests: bound, Credentials: s3test.Credentials()})
}

// anyCall makes one of the calls of a store, by turns.
func anyCall(ctx context.Context, s *s3.Store, i int) error {
	there := blob.Name(fmt.Sprintf("there/%02d", i))
	switch i % 5 {
	case 0:
		return s.Put(ctx, blob.Name(fmt.Sprintf("new/%02d", i)), strings.NewReader("new"), 3)
	case 1:
		r, err := s.Get(ctx, there, 0, -1)
		if err != nil {
			return err
		}
		return r.Close()
	case 2:
		_, err := s.Stat(ctx, there)
		return err
	case 3:
		return s.Delete(ctx, there)
	}
	for _, err := range s.List(ctx, "there/") {
		if err != nil {
			return err
		}
	}
	return nil
}
