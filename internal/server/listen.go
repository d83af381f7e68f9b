package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Limits of one connection. Bodies are bounded by the protocol packages; answers may stream for as long as they take.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 60 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
)

// listener accepts connections at the configured address, with TLS if there is a certificate.
type listener struct {
	net.Listener
	url  string
	http *http.Server
	done chan struct{} // closed when serve accepts no more

	mu   sync.Mutex
	open int        // connections; guarded by mu
	none *sync.Cond // signalled when the last of them goes
}

// listen binds the address. Nothing is accepted before [listener.serve].
func listen(c Config, log *slog.Logger) (*listener, error) {
	l := &listener{done: make(chan struct{}), http: &http.Server{
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}
	l.http.ConnState = l.count
	scheme := "http"
	if c.TLSCert != "" {
		pair, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
		if err != nil {
			return nil, fmt.Errorf("read certificate %s with key %s: %w", c.TLSCert, c.TLSKey, err)
		}
		l.http.TLSConfig = &tls.Config{
			Certificates: []tls.Certificate{pair},
			MinVersion:   tls.VersionTLS12,
			NextProtos:   []string{"h2", "http/1.1"},
		}
		scheme = "https"
	}
	l.none = sync.NewCond(&l.mu)
	var err error
	l.Listener, err = net.Listen("tcp", c.Listen)
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, fmt.Errorf("listen on %s: another program uses the port; stop it or choose another with --listen", c.Listen)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", c.Listen, err)
	}
	l.url = scheme + "://" + reachable(l.Addr().(*net.TCPAddr))
	return l, nil
}

// reachable names a listening address as a client on this host would.
func reachable(a *net.TCPAddr) string {
	ip := a.IP.String()
	switch {
	case a.IP.IsUnspecified() && a.IP.To4() == nil:
		ip = "::1"
	case a.IP.IsUnspecified():
		ip = "127.0.0.1"
	}
	return net.JoinHostPort(ip, fmt.Sprint(a.Port))
}

// serve accepts connections until the server is shut down or drained.
func (l *listener) serve(h http.Handler) error {
	defer close(l.done)
	l.http.Handler = h
	var err error
	if l.http.TLSConfig != nil {
		err = l.http.ServeTLS(l.Listener, "", "")
	} else {
		err = l.http.Serve(l.Listener)
	}
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (l *listener) count(_ net.Conn, s http.ConnState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch s {
	case http.StateNew:
		l.open++
	case http.StateClosed, http.StateHijacked:
		if l.open--; l.open == 0 {
			l.none.Broadcast()
		}
	}
}

// drain waits until every client has hung up, and then also for those that came meanwhile: who was answered once is served to
// the end.
func (l *listener) drain() {
	l.hungUp()
	_ = l.Close() // it was closed before
	<-l.done
	l.hungUp()
}

func (l *listener) hungUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.open > 0 {
		l.none.Wait()
	}
}
