package s3_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/s3"
	"github.com/lockfast/lockfast/blob/s3/s3test"
)

// oddServer is a server that knows as much of S3 as a test wants to bend.
type oddServer struct {
	mu      sync.Mutex
	objects map[string]bool                                          // guarded by mu
	put     func(w http.ResponseWriter, r *http.Request, there bool) // nil answers as it should be
	get     string                                                   // the answer to a listing
}

func (o *oddServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch there := o.objects[r.URL.Path]; {
	case r.Method == http.MethodPut:
		o.objects[r.URL.Path] = true
		switch {
		case o.put != nil:
			o.put(w, r, there)
		case there:
			w.WriteHeader(http.StatusPreconditionFailed)
			fmt.Fprint(w, "<Error><Code>PreconditionFailed</Code></Error>")
		}
	case r.Method == http.MethodHead && there:
		w.Header().Set("Content-Length", "1")
	case r.Method == http.MethodHead && strings.Count(r.URL.Path, "/") > 1:
		w.WriteHeader(http.StatusNotFound)
	case r.URL.Query().Has("list-type"):
		fmt.Fprint(w, o.get)
	case r.URL.Query().Has("versioning"):
		fmt.Fprint(w, "<VersioningConfiguration/>")
	}
}

func (o *oddServer) open(t *testing.T) (*s3.Store, error) {
	t.Helper()
	o.objects = map[string]bool{}
	server := httptest.NewServer(o)
	t.Cleanup(server.Close)
	return s3.Open(t.Context(), s3.Location{Bucket: "bucket", Endpoint: server.URL, PathStyle: true},
		s3.Options{Credentials: s3test.Credentials()})
}

func TestOpen_RefusesServerThatOverwrites(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(w http.ResponseWriter, r *http.Request, there bool){
		"ignores the condition": func(http.ResponseWriter, *http.Request, bool) {},
		"does not implement it": func(w http.ResponseWriter, _ *http.Request, _ bool) {
			w.WriteHeader(http.StatusNotImplemented)
			fmt.Fprint(w, "<Error><Code>NotImplemented</Code></Error>")
		},
	} {
		o := &oddServer{put: answer}
		if _, err := o.open(t); err == nil {
			t.Errorf("%s: Open succeeds, want an error", name)
		}
	}
	if _, err := new(oddServer).open(t); err != nil {
		t.Errorf("Open of a server that honours the condition: %v", err)
	}
}

func TestPut_ConflictWithAnother(t *testing.T) {
	t.Parallel()
	o := &oddServer{}
	s, err := o.open(t)
	if err != nil {
		t.Fatal(err)
	}
	wins := true // the other one
	o.put = func(w http.ResponseWriter, r *http.Request, _ bool) {
		o.objects[r.URL.Path] = wins
		w.WriteHeader(http.StatusConflict)
		fmt.Fprint(w, "<Error><Code>ConditionalRequestConflict</Code></Error>")
	}
	if err := s.Put(t.Context(), "a", strings.NewReader("x"), 1); !errors.Is(err, blob.ErrExist) {
		t.Errorf("Put(a) beside another that won = %v, want %v", err, blob.ErrExist)
	}
	wins = false
	if err := s.Put(t.Context(), "b", strings.NewReader("x"), 1); err == nil || errors.Is(err, blob.ErrExist) {
		t.Errorf("Put(b) beside another that failed = %v, want an error that may pass", err)
	}
}

func TestPut_ExplainsRefusals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int
		code   string
		want   error
	}{
		{507, "InsufficientStorage", blob.ErrNoSpace},
		{403, "QuotaExceeded", blob.ErrNoSpace},
		{507, "", blob.ErrNoSpace},
		{403, "AccessDenied", blob.ErrPermission},
		{403, "", blob.ErrPermission},
		{401, "", blob.ErrPermission},
		{404, "NoSuchBucket", blob.ErrUnavailable},
		{400, "RequestTimeout", blob.ErrUnavailable},
		{429, "", blob.ErrUnavailable},
		{500, "InternalError", blob.ErrUnavailable},
		{503, "SlowDown", blob.ErrUnavailable},
		{504, "", blob.ErrUnavailable},
	} {
		o := &oddServer{}
		s, err := o.open(t)
		if err != nil {
			t.Fatal(err)
		}
		o.put = func(w http.ResponseWriter, _ *http.Request, _ bool) {
			w.WriteHeader(c.status)
			if c.code != "" {
				fmt.Fprintf(w, "<Error><Code>%s</Code><Message>no</Message></Error>", c.code)
			}
		}
		if err := s.Put(t.Context(), "a", strings.NewReader("x"), 1); !errors.Is(err, c.want) {
			t.Errorf("Put answered with %d %s = %v, want %v", c.status, c.code, err, c.want)
		}
	}
}

func TestPut_SaysWhatItSends(t *testing.T) {
	t.Parallel()
	o := &oddServer{}
	s, err := o.open(t)
	if err != nil {
		t.Fatal(err)
	}
	var header http.Header
	var body string
	o.put = func(_ http.ResponseWriter, r *http.Request, _ bool) {
		data, _ := io.ReadAll(r.Body)
		header, body = r.Header, string(data)
	}
	put(t, s, "a", "some bytes")
	sum := sha256.Sum256([]byte("some bytes"))
	if got := header.Get("X-Amz-Content-Sha256"); got != hex.EncodeToString(sum[:]) || body != "some bytes" {
		t.Errorf("X-Amz-Content-Sha256 = %s for %q, want %x", got, body, sum)
	}
	if header.Get("X-Amz-Checksum-Sha256") == "" || header.Get("If-None-Match") != "*" {
		t.Errorf("the headers of Put lack the checksum or the condition: %v", header)
	}
}

func TestList_OutOfOrder(t *testing.T) {
	t.Parallel()
	o := &oddServer{get: "<ListBucketResult><Contents><Key>b</Key><Size>1</Size></Contents>" +
		"<Contents><Key>a</Key><Size>1</Size></Contents></ListBucketResult>"}
	s, err := o.open(t)
	if err != nil {
		t.Fatal(err)
	}
	for _, err = range s.List(t.Context(), "") {
	}
	if err == nil || !strings.Contains(err.Error(), "lists a after b") {
		t.Errorf("List() of a server that does not sort = %v, want an error that says so", err)
	}
}
