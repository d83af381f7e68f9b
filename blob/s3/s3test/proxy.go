package s3test

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Disturbance is what a [Proxy] does to a request.
type Disturbance int

// The disturbances.
const (
	None     Disturbance = iota
	Busy                 // 503 SlowDown, without effect
	Reset                // the connection is cut before the server hears of it
	Lost                 // the server does it, and the connection is cut before the answer
	Hung                 // the server does it, and the answer never comes
	Half                 // the connection is cut in the middle of the answer's body
	HalfWord             // the same in the headers
	Slow                 // the answer takes a moment
	Page                 // something between answers with a page of its own
)

// Passing returns one of the disturbances that are over at once, all but None and Hung, by chance.
func Passing(rnd *rand.Rand) Disturbance {
	return []Disturbance{Busy, Reset, Lost, Half, HalfWord, Slow, Page}[rnd.IntN(7)]
}

// Proxy is a server that stands between a store and a gateway and disturbs requests. It ends with the test.
type Proxy struct {
	*httptest.Server
	gateway *httputil.ReverseProxy

	mu     sync.Mutex
	choose func(r *http.Request) Disturbance // guarded by mu
	seen   map[string]int                    // guarded by mu; requests by method
}

// StartProxy starts a proxy that disturbs nothing yet.
func StartProxy(t testing.TB, g *Gateway) *Proxy {
	t.Helper()
	p := &Proxy{seen: map[string]int{}, choose: func(*http.Request) Disturbance { return None }, gateway: g.Forward(t)}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

// Forward returns a handler that sends requests on to the gateway, as they were signed.
func (g *Gateway) Forward(t testing.TB) *httputil.ReverseProxy {
	t.Helper()
	target, err := url.Parse(g.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // which is signed
	}, ErrorLog: log.New(io.Discard, "", 0)}
}

// Disturb has choose decide from now on. Its calls do not overlap.
func (p *Proxy) Disturb(choose func(r *http.Request) Disturbance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.choose = choose
	clear(p.seen)
}

// First disturbs the first n requests of a method from now on.
func (p *Proxy) First(n int, method string, d Disturbance) {
	p.Disturb(func(r *http.Request) Disturbance {
		if r.Method == method && p.seen[method] <= n {
			return d
		}
		return None
	})
}

// Calls returns the number of requests of a method since the last call of Disturb or First.
func (p *Proxy) Calls(method string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen[method]
}

// ServeHTTP implements [http.Handler].
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.seen[r.Method]++
	d := p.choose(r)
	p.mu.Unlock()
	switch d {
	case None:
		p.gateway.ServeHTTP(w, r)
		return
	case Busy:
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>")
		return
	case Page:
		w.WriteHeader(http.StatusBadGateway)
		fmt.Fprint(w, "<html>bad gateway</html>")
		return
	case Reset:
		cut(w, nil)
		return
	}
	answer := httptest.NewRecorder()
	p.gateway.ServeHTTP(answer, r)
	switch d {
	case Lost:
		cut(w, nil)
	case Hung:
		select {
		case <-r.Context().Done():
		case <-time.After(time.Minute):
		}
		cut(w, nil)
	case Half, HalfWord, Slow:
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
		case Half:
			raw.Truncate(raw.Len() - (body+1)/2)
		case HalfWord:
			raw.Truncate(20)
		case Slow:
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
	_ = conn.Close() // the request is over
}
