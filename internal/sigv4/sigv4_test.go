package sigv4_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/lockfast/lockfast/internal/sigv4"
)

var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

const snapshot = "/backup-vaults/v%201/recovery-points/arn%3Aaws%3Aec2%3Aus-east-1%3A%3Asnapshot%2Fsnap-0123"

// lookup knows three keys: one permanent, one inactive, one of a session.
func lookup(_ context.Context, id, token string) (string, string, error) {
	switch {
	case id == "AKIAEXAMPLE" && token == "":
		return "wJalr/secret", "alice", nil
	case id == "AKIAINACTIVE":
		return "", "", sigv4.ErrInactive
	case id == "ASIASESSION" && token == "the+token/==":
		return "session-secret", "session", nil
	case id == "ASIASESSION" && token == "old":
		return "", "", sigv4.ErrExpired
	case id == "ASIASESSION" && token == "":
		return "session-secret", "session", nil // a careless lookup
	case id == "AKIABROKEN":
		return "", "", errDatabase
	}
	if !utf8.ValidString(id + token) {
		return "", "", errDatabase // as PostgreSQL answers
	}
	return "", "", sigv4.ErrUnknownKey
}

var errDatabase = errors.New("database is gone")

var alice = aws.Credentials{AccessKeyID: "AKIAEXAMPLE", SecretAccessKey: "wJalr/secret"}

func verifier(at time.Time) *sigv4.Verifier {
	return &sigv4.Verifier{
		Service: "backup", Region: func(r string) bool { return r != "mars-1" }, Now: func() time.Time { return at },
	}
}

// example is a request as a client builds it, before it is signed.
type example struct {
	method, target, body string
	header               map[string]string
	creds                aws.Credentials
	service, region      string
	at                   time.Time
}

func (e example) sign(t *testing.T) *http.Request {
	t.Helper()
	if e.creds.AccessKeyID == "" {
		e.creds = alice
	}
	if e.service == "" {
		e.service = "backup"
	}
	if e.region == "" {
		e.region = "us-east-1"
	}
	if e.at.IsZero() {
		e.at = now
	}
	r, err := http.NewRequest(e.method, "http://localhost:1975"+e.target, strings.NewReader(e.body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range e.header {
		r.Header.Set(k, v)
	}
	sum := sha256.Sum256([]byte(e.body))
	if err := v4.NewSigner().SignHTTP(t.Context(), e.creds, r, hex.EncodeToString(sum[:]), e.service, e.region, e.at); err != nil {
		t.Fatal(err)
	}
	return r
}

// receive sends a request through a real server, and returns what its handler saw.
func receive(t *testing.T, r *http.Request, check func(r *http.Request, body []byte)) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		check(r, body)
	}))
	defer s.Close()
	r.Host = r.URL.Host
	r.URL.Host = strings.TrimPrefix(s.URL, "http://")
	resp, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

func verify(t *testing.T, r *http.Request, at time.Time) (owner string, err error) {
	t.Helper()
	receive(t, r, func(r *http.Request, body []byte) {
		owner, _, err = sigv4.Verify(t.Context(), verifier(at), r, body, lookup)
	})
	return owner, err
}

func TestVerify_AcceptsTheSignaturesOfTheSDK(t *testing.T) {
	t.Parallel()
	session := aws.Credentials{AccessKeyID: "ASIASESSION", SecretAccessKey: "session-secret", SessionToken: "the+token/=="}
	cases := map[string]example{
		"plain":               {method: "GET", target: "/backup-vaults"},
		"trailing slash":      {method: "GET", target: "/backup-vaults/"},
		"escaped ARN":         {method: "DELETE", target: snapshot},
		"body":                {method: "PUT", target: "/backup-vaults/v1", body: `{"BackupVaultTags":{"ü":"é"}}`, header: map[string]string{"Content-Type": "application/json"}},
		"session token":       {method: "GET", target: snapshot, creds: session},
		"query":               {method: "GET", target: "/x/?maxResults=3&nextToken=a%2Bb%2Fc%3D%3D&shared=false"},
		"odd query":           {method: "GET", target: "/x?b=%C3%A9&a=%20%22&empty=&z=~-_.&a=%00%FF"},
		"bare query key":      {method: "POST", target: "/backup-vaults/v/mpaApprovalTeam?delete"},
		"odd path":            {method: "GET", target: "/resources/arn%3Aaws%3As3%3A%3A%3Ab%2Fa%20b%2Bc~d%2A%C3%A9%21%27%28%29"},
		"bare path bytes":     {method: "GET", target: "/resources/arn:aws:s3:::b/a!$&'()*+,;=@"},
		"dot segments":        {method: "GET", target: "/backup-vaults/../x/./y"},
		"empty segment":       {method: "GET", target: "/backup-vaults//x"},
		"spaces in header":    {method: "GET", target: "/x", header: map[string]string{"X-Amz-Note": "a   b  c"}},
		"five minutes behind": {method: "GET", target: "/x", at: now.Add(-sigv4.Skew)},
		"five minutes ahead":  {method: "GET", target: "/x", at: now.Add(sigv4.Skew)},
		"other region":        {method: "GET", target: "/x", region: "eu-north-1"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			owner, err := verify(t, c.sign(t), now)
			if err != nil {
				t.Fatal(err)
			}
			if want := map[bool]string{true: "session", false: "alice"}[c.creds.SessionToken != ""]; owner != want {
				t.Errorf("owner = %q, want %q", owner, want)
			}
		})
	}
}

// botocore and the JavaScript SDK sign the normalised path, but send the path as it is.
func TestVerify_AcceptsTheNormalisedPath(t *testing.T) {
	t.Parallel()
	r := example{method: "GET", target: "/x/y"}.sign(t)
	r.URL.Path = "/a/.././x//y"
	if _, err := verify(t, r, now); err != nil {
		t.Error(err)
	}
}

func TestVerify_AcceptsPresignedURLs(t *testing.T) {
	t.Parallel()
	sum := sha256.Sum256(nil)
	presign := func(expires string) *http.Request {
		r, err := http.NewRequest("GET", "http://localhost:1975"+snapshot+"?x=a%2Bb&X-Amz-Expires="+expires, nil)
		if err != nil {
			t.Fatal(err)
		}
		url, header, err := v4.NewSigner().PresignHTTP(t.Context(), alice, r, hex.EncodeToString(sum[:]), "backup", "us-east-1", now)
		if err != nil {
			t.Fatal(err)
		}
		r, err = http.NewRequest("GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header = header
		r.Header.Del("Host")
		return r
	}
	if owner, err := verify(t, presign("3600"), now.Add(59*time.Minute)); err != nil || owner != "alice" {
		t.Errorf("Verify(presigned) = %q, %v", owner, err)
	}
	wantFailure(t, "expired", mustFail(t, presign("3600"), now.Add(61*time.Minute)), "InvalidSignatureException", "Signature expired")
	wantFailure(t, "too long", mustFail(t, presign("604801"), now), "IncompleteSignatureException", "X-Amz-Expires")
}

func mustFail(t *testing.T, r *http.Request, at time.Time) error {
	t.Helper()
	_, err := verify(t, r, at)
	return err
}

func wantFailure(t *testing.T, what string, err error, name, text string) {
	t.Helper()
	f, ok := errors.AsType[*sigv4.Failure](err)
	if !ok || f.Name != name || !strings.Contains(f.Message, text) {
		t.Errorf("Verify(%s) = %v, want %s with %q", what, err, name, text)
	}
}

func TestVerify_Refuses(t *testing.T) {
	t.Parallel()
	get := example{method: "GET", target: "/x?a=b"}
	with := func(change func(e *example)) example {
		e := get
		change(&e)
		return e
	}
	const invalid, unknown = "InvalidSignatureException", "UnrecognizedClientException"
	cases := []struct {
		what       string
		e          example
		tamper     func(r *http.Request)
		name, text string
	}{
		{"wrong secret", with(func(e *example) { e.creds = aws.Credentials{AccessKeyID: "AKIAEXAMPLE", SecretAccessKey: "no"} }), nil, invalid, "does not match"},
		{"unknown key", with(func(e *example) { e.creds = aws.Credentials{AccessKeyID: "AKIANOBODY", SecretAccessKey: "no"} }), nil, unknown, "invalid."},
		{"inactive key", with(func(e *example) { e.creds = aws.Credentials{AccessKeyID: "AKIAINACTIVE", SecretAccessKey: "no"} }), nil, unknown, "invalid."},
		{"key that is not text", with(func(e *example) { e.creds = aws.Credentials{AccessKeyID: "AKIA\xff", SecretAccessKey: "no"} }), nil, unknown, "invalid."},
		{"session without token", with(func(e *example) {
			e.creds = aws.Credentials{AccessKeyID: "ASIASESSION", SecretAccessKey: "session-secret"}
		}), nil, unknown, "invalid."},
		{"token added", get, func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "x") }, invalid, "x-amz-security-token"},
		{"expired session", with(func(e *example) {
			e.creds = aws.Credentials{AccessKeyID: "ASIASESSION", SecretAccessKey: "session-secret", SessionToken: "old"}
		}), nil, "ExpiredTokenException", "expired"},
		{"stale clock", with(func(e *example) { e.at = now.Add(-6 * time.Minute) }), nil, invalid,
			"Signature expired: 20260304T050007Z is now earlier than 20260304T050107Z (20260304T050607Z - 5 min.)"},
		{"clock ahead", with(func(e *example) { e.at = now.Add(6 * time.Minute) }), nil, invalid, "Signature not yet current: 20260304T051207Z is still later than"},
		{"body changed", example{method: "PUT", target: "/x", body: "{}"}, func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("[]")) }, invalid, "does not match"},
		{"path changed", get, func(r *http.Request) { r.URL.Path = "/y" }, invalid, "does not match"},
		{"query changed", get, func(r *http.Request) { r.URL.RawQuery = "a=c" }, invalid, "does not match"},
		{"query added", get, func(r *http.Request) { r.URL.RawQuery = "a=b&a=c" }, invalid, "does not match"},
		{"method changed", get, func(r *http.Request) { r.Method = "DELETE" }, invalid, "does not match"},
		{"host changed", get, func(r *http.Request) { r.URL.Host = "elsewhere" }, invalid, "does not match"},
		{"signed header changed", get, func(r *http.Request) { r.Header.Set("X-Amz-Date", "20260304T050608Z") }, invalid, "does not match"},
		{"hash does not fit", get, func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", "00") }, invalid, "must be a 'SignedHeader'"},
		{"unsigned payload", with(func(e *example) { e.header = map[string]string{"X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD"} }), nil, "IncompleteSignatureException", "UNSIGNED-PAYLOAD"},
		{"other service", with(func(e *example) { e.service = "s3" }), nil, invalid, "correct service: 'backup'"},
		{"unserved region", with(func(e *example) { e.region = "mars-1" }), nil, invalid, "valid region"},
		{"odd region", with(func(e *example) { e.region = "No Region" }), nil, invalid, "valid region"},
		{"no signature", get, func(r *http.Request) { r.Header.Del("Authorization") }, "MissingAuthenticationTokenException", "Missing Authentication Token"},
		{"basic auth", get, func(r *http.Request) { r.SetBasicAuth("a", "b") }, "IncompleteSignatureException", "Unsupported AWS 'algorithm': 'Basic'"},
		{"signature version 4A", get, func(r *http.Request) { r.Header.Set("Authorization", "AWS4-ECDSA-P256-SHA256 Credential=a") }, "IncompleteSignatureException", "AWS4-ECDSA"},
		{"empty header", get, func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256") }, "IncompleteSignatureException",
			"Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter."},
		{"short credential", get, func(r *http.Request) {
			r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=00")
		}, "IncompleteSignatureException", "5 slash-delimited elements"},
		{"bad date", get, func(r *http.Request) { r.Header.Set("X-Amz-Date", "yesterday") }, "IncompleteSignatureException", "ISO-8601"},
		{"scope of another day", get, func(r *http.Request) { r.Header.Set("X-Amz-Date", "20260303T235959Z") }, invalid, "Date in Credential scope"},
		{"host not signed", get, func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "SignedHeaders=host;", "SignedHeaders=", 1))
		}, invalid, "'Host'"},
	}
	for _, c := range cases {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			r := c.e.sign(t)
			if c.tamper != nil {
				c.tamper(r)
			}
			host := r.URL.Host
			r.URL.Host = "localhost:1975"
			var err error
			receive(t, r, func(r *http.Request, body []byte) {
				r.Host = host
				_, _, err = sigv4.Verify(t.Context(), verifier(now), r, body, lookup)
			})
			wantFailure(t, c.what, err, c.name, c.text)
		})
	}
}

func TestVerify_KeepsTheSecretsOutOfTheDetail(t *testing.T) {
	t.Parallel()
	e := example{method: "GET", target: "/x", creds: aws.Credentials{AccessKeyID: "ASIASESSION", SecretAccessKey: "wrong", SessionToken: "the+token/=="}}
	f, ok := errors.AsType[*sigv4.Failure](mustFail(t, e.sign(t), now))
	if !ok || !strings.Contains(f.Detail, "x-amz-security-token:(token)\n") || strings.Contains(f.Detail, "the+token") {
		t.Errorf("detail = %q, want a canonical request without the token", f.Detail)
	}
}

func TestVerify_PassesOnErrorsOfTheLookup(t *testing.T) {
	t.Parallel()
	e := example{method: "GET", target: "/x", creds: aws.Credentials{AccessKeyID: "AKIABROKEN", SecretAccessKey: "x"}}
	if _, err := verify(t, e.sign(t), now); !errors.Is(err, errDatabase) {
		t.Errorf("Verify = %v, want %v", err, errDatabase)
	}
}

func TestSign_IsAcceptedByVerify(t *testing.T) {
	t.Parallel()
	for _, k := range []sigv4.Keys{
		{AccessKeyID: "AKIAEXAMPLE", Secret: "wJalr/secret"},
		{AccessKeyID: "ASIASESSION", Secret: "session-secret", SessionToken: "the+token/=="},
	} {
		body := []byte(`{"a":1}`)
		r, err := http.NewRequest("PUT", "http://localhost:1975"+snapshot+"?b=%20&a=%2B", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		sigv4.Sign(r, body, k, "us-east-1", "backup", now)
		if _, err := verify(t, r, now); err != nil {
			t.Error(err)
		}
	}
}

func TestScope(t *testing.T) {
	t.Parallel()
	got, ok := sigv4.Scope(example{method: "GET", target: "/x", service: "sts"}.sign(t))
	want := sigv4.Credential{AccessKeyID: "AKIAEXAMPLE", Date: "20260304", Region: "us-east-1", Service: "sts"}
	if !ok || got != want {
		t.Errorf("Scope = %v, %v, want %v", got, ok, want)
	}
	if _, ok := sigv4.Scope(httptest.NewRequest("GET", "/x", nil)); ok {
		t.Error("Scope of an unsigned request is true")
	}
}

func TestRawTarget(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string][2]string{
		"/a%2Fb//c/?x=%20&y": {"/a%2Fb//c/", "x=%20&y"},
		"http://h:1/a?b":     {"/a", "b"},
		"http://h":           {"", ""},
		"*":                  {"*", ""},
	} {
		r := &http.Request{RequestURI: uri}
		if path, query := sigv4.RawTarget(r); path != want[0] || query != want[1] {
			t.Errorf("RawTarget(%q) = %q, %q, want %q", uri, path, query, want)
		}
	}
}

func FuzzVerify(f *testing.F) {
	f.Add("AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20260304/us-east-1/backup/aws4_request, SignedHeaders=host;x-amz-date, Signature=00", "20260304T050607Z", "/a%2F?b=c&d", "")
	f.Add("AWS4-HMAC-SHA256 Credential=,SignedHeaders=,Signature=", "Mon, 02 Jan 2006 15:04:05 GMT", "//..//%zz?%&=", "00")
	f.Add("", "", "/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a/b/c/d/aws4_request&X-Amz-Date=20260304T050607Z&X-Amz-Expires=5&X-Amz-SignedHeaders=host&X-Amz-Signature=0", "x")
	f.Fuzz(func(t *testing.T, authorization, date, target, hash string) {
		r := &http.Request{Method: "GET", RequestURI: target, Host: "h", Header: http.Header{}}
		r.Header.Set("Authorization", authorization)
		r.Header.Set("X-Amz-Date", date)
		if hash != "" {
			r.Header.Set("X-Amz-Content-Sha256", hash)
		}
		if target == "" {
			return
		}
		sigv4.Scope(r)
		if owner, _, err := sigv4.Verify(t.Context(), verifier(now), r, nil, lookup); err == nil {
			t.Errorf("Verify accepted %q as %q", authorization, owner)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	r := httptest.NewRequest("GET", "http://localhost:1975"+snapshot, nil)
	r.RequestURI = ""
	sigv4.Sign(r, nil, sigv4.Keys{AccessKeyID: "AKIAEXAMPLE", Secret: "wJalr/secret"}, "us-east-1", "backup", now)
	v := verifier(now)
	for b.Loop() {
		if _, _, err := sigv4.Verify(b.Context(), v, r, nil, lookup); err != nil {
			b.Fatal(err)
		}
	}
}
