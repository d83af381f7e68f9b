package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/wire"
)

// client talks to a server.
type client struct {
	rest   *restjson.Client
	region string
	stop   func() error // ends a private server; nil for any other
}

// call calls an operation of the server. An input that breaks the operation's rules is a usage error.
func call[In, Out any](ctx context.Context, c *client, op wire.Operation[In, Out], in *In) (*Out, error) {
	out, err := restjson.Call(ctx, c.rest, op, in)
	if e, ok := errors.AsType[*wire.Error](err); ok {
		return nil, &apiError{e}
	}
	if invalid, ok := errors.AsType[*wire.Invalid](err); ok { // nothing was sent
		return nil, usageError{invalid}
	}
	if err != nil {
		return nil, fmt.Errorf("ask the server at %s: %w", c.rest.URL, err)
	}
	return out, nil
}

// apiError is a refusal by the server: people read its message, code tests its name.
type apiError struct{ cause *wire.Error }

func (e *apiError) Error() string {
	switch {
	case e.cause.Status >= http.StatusInternalServerError:
		return fmt.Sprintf("%s: %s (the server's log says more, request id %s)", e.cause.Name, e.cause.Message,
			e.cause.RequestID)
	case e.cause.Message == "":
		return e.cause.Name
	}
	return e.cause.Message
}

func (e *apiError) Unwrap() error { return e.cause }

// isNotFound reports whether the server said that a thing does not exist.
func isNotFound(err error) bool {
	e, ok := errors.AsType[*apiError](err)
	return ok && e.cause.Name == "ResourceNotFoundException"
}

// orList adds to the error about a vault that does not exist how to see those that do.
func orList(err error) error {
	if isNotFound(err) {
		return fmt.Errorf("%w; `lockfast vault list` shows those there are", err)
	}
	return err
}

// each calls page with one page token after the other until there is none.
func each(page func(token *string) (next *string, err error)) error {
	var token *string
	for {
		next, err := page(token)
		if err != nil || next == nil || *next == "" {
			return err
		}
		token = next
	}
}

// probe asks a server whether it is there.
func probe(ctx context.Context, c *http.Client, base string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/healthz", nil)
	if err != nil {
		return err
	}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET /healthz answers %s", resp.Status)
	}
	// What comes next has to go over this connection: a server that ends waits for those it has.
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	return err
}

// answers reports whether a server is there.
func answers(ctx context.Context, c *http.Client, base string) bool {
	return probe(ctx, c, base) == nil
}

// newHTTP returns an HTTP client of its own for a server. A certificate file makes it accept exactly that certificate, whatever
// names are in it: the address of a server on this host was read from the server's own data directory.
func newHTTP(server, certificate string) (*http.Client, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = nil
	t.MaxIdleConnsPerHost = 8
	switch bundle := os.Getenv("AWS_CA_BUNDLE"); {
	case !strings.HasPrefix(server, "https:"): // parsing all authorities of a system takes milliseconds
	case certificate != "":
		data, err := os.ReadFile(certificate)
		if err != nil {
			return nil, fmt.Errorf("read the server's certificate: %w", err)
		}
		block, _ := pem.Decode(data)
		if block == nil {
			return nil, fmt.Errorf("read the server's certificate: %s is not a PEM file", certificate)
		}
		t.TLSClientConfig = &tls.Config{
			InsecureSkipVerify: true, // replaced by the comparison below
			VerifyConnection: func(s tls.ConnectionState) error {
				if string(s.PeerCertificates[0].Raw) != string(block.Bytes) {
					return fmt.Errorf("the server's certificate is not the one in %s", certificate)
				}
				return nil
			},
		}
	case bundle != "":
		data, err := os.ReadFile(bundle)
		if err != nil {
			return nil, fmt.Errorf("read AWS_CA_BUNDLE: %w", err)
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(data)
		t.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	return &http.Client{Transport: t}, nil
}

// checkHere refuses a server on another host: paths in a request are paths on the server's host.
func (c *client) checkHere() error {
	u, err := url.Parse(c.rest.URL)
	if err != nil {
		return err
	}
	ips, err := net.LookupIP(u.Hostname())
	if err != nil {
		return fmt.Errorf("look up the server's host: %w", err)
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	for _, ip := range ips {
		if ip.IsLoopback() {
			return nil
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.Equal(ip) {
				return nil
			}
		}
	}
	return fmt.Errorf("the server at %s runs on another host, but paths are looked up where the server runs; "+
		"run this command on that host", c.rest.URL)
}
