package server_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// TestLargeBody_IsAnsweredToClientsThatSendAllFirst: like botocore and http.client of Python, which send all of a body
// before they read, and Go's client, which does both at once.
func TestLargeBody_IsAnsweredToClientsThatSendAllFirst(t *testing.T) {
	t.Parallel()
	f := start(t, options(t, t.TempDir()))
	url := f.server.Address().URL
	const size = 12 << 20
	send := map[string]func(*http.Request) (*http.Response, error){
		"all first": func(r *http.Request) (*http.Response, error) {
			conn, err := net.Dial("tcp", r.URL.Host)
			if err != nil {
				return nil, err
			}
			t.Cleanup(func() { conn.Close() })
			conn.SetDeadline(time.Now().Add(time.Minute))
			if err := r.Write(conn); err != nil {
				return nil, fmt.Errorf("send all: %w", err)
			}
			return http.ReadResponse(bufio.NewReader(conn), r)
		},
		"Go": (&http.Transport{}).RoundTrip,
	}
	for name, c := range map[string]struct{ method, path, service, want string }{
		"backup":   {"PUT", "/backup-vaults/home", "backup", "RequestEntityTooLargeException"},
		"lockfast": {"POST", "/lockfast/v1/resources", "lockfast", "RequestEntityTooLargeException"},
		"iam":      {"POST", "/", "iam", "<Code>RequestEntityTooLarge</Code>"},
		"sts":      {"POST", "/", "sts", "<Code>RequestEntityTooLarge</Code>"},
		"kms":      {"POST", "/", "kms", "RequestEntityTooLargeException"},
		"tagging":  {"POST", "/", "tagging", "RequestEntityTooLargeException"},
		"unsigned": {"POST", "/nowhere", "", "RequestEntityTooLargeException"},
	} {
		for client, do := range send {
			for length, declared := range map[string]int64{"declared": size, "chunked": -1} {
				t.Run(name+"/"+client+"/"+length, func(t *testing.T) {
					r, err := http.NewRequestWithContext(t.Context(), c.method, url+c.path, io.LimitReader(zeros{}, size))
					if err != nil {
						t.Fatal(err)
					}
					r.ContentLength = declared
					if c.service != "" {
						r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/"+c.service+"/aws4_request, x")
					}
					answer, err := do(r)
					if err != nil {
						t.Fatal(err)
					}
					defer answer.Body.Close()
					body, err := io.ReadAll(answer.Body)
					text := answer.Header.Get("X-Amzn-Errortype") + string(body)
					if err != nil || answer.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(text, c.want) || !answer.Close {
						t.Errorf("answer = %s %s, %v, closing %t, want 413 with %s and the connection closed", answer.Status, text, err, answer.Close, c.want)
					}
				})
			}
		}
	}
}

// TestLargeBody_HasAnEnd: what is read of a body that is too large is bounded.
func TestLargeBody_HasAnEnd(t *testing.T) {
	t.Parallel()
	f := start(t, options(t, t.TempDir()))
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.server.Address().URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	const declared = 1 << 40
	fmt.Fprintf(conn, "PUT /backup-vaults/home HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", int64(declared))
	sent, err := io.Copy(conn, io.LimitReader(zeros{}, declared))
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) || sent > 256<<20 {
		t.Errorf("sent %d bytes, %v, want the connection closed after some 34 MiB", sent, err)
	}
}

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
