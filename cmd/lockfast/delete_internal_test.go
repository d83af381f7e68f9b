package main

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// TestDelete_AsksForAllBeforeItWaits deletes two recovery points, one of them named twice, and the refusal of another spoils
// neither.
func TestDelete_AsksForAllBeforeItWaits(t *testing.T) {
	c := newCLI(t)
	home := filepath.Join(t.TempDir(), "home")
	write(t, home, map[string]string{"a": "1"})
	var points []string
	for range 3 {
		point, _ := c.do(exitDone, "backup", home)
		points = append(points, point)
	}
	a := &app{out: &output{stdout: t.Output(), stderr: t.Output()}}
	root := newRoot(a)
	root.SetContext(t.Context())
	a.config.Data = c.data
	private, err := a.startPrivate(root)
	if err != nil {
		t.Fatal(err)
	}
	to, err := url.Parse(private.rest.URL)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var calls []string // guarded by mu
	forward := httputil.NewSingleHostReverseProxy(to)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		calls = append(calls, r.Method)
		mu.Unlock()
		if r.Method == http.MethodDelete && strings.Contains(r.URL.Path, points[0]) {
			w.Header().Set("X-Amzn-Errortype", "InvalidRequestException")
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		forward.ServeHTTP(w, r)
	}))
	stdout, stderr := c.do(exitFailed, "delete", points[0], points[1], points[2], points[1], "--server", proxy.URL)
	proxy.Close()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	if err := private.stop(); err != nil {
		t.Error(err)
	}
	if lines := strings.Split(stdout, "\n"); len(lines) != 2 || !strings.Contains(lines[0], points[1]) || !strings.Contains(lines[1], points[2]) {
		t.Errorf("delete printed %q", stdout)
	}
	if !strings.Contains(stderr, points[0]) {
		t.Errorf("delete complained %q", stderr)
	}
	first := slices.Index(calls, http.MethodDelete)
	if first < 0 || len(calls) < first+4 || !slices.Equal(calls[first:first+3], []string{"DELETE", "DELETE", "DELETE"}) {
		t.Errorf("calls = %v, want all deletions before anything is waited for", calls)
	}
	if list := c.lines(exitDone, "result", "list"); len(list) != 1 || list[0]["recovery_point_arn"] != points[0] {
		t.Errorf("list = %v", list)
	}
}
