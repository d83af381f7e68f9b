package keys_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockfast/lockfast/internal/keys"
	"github.com/lockfast/lockfast/repo"
)

const token = "hvs.a-token-of-the-test"

// transit stands for the transit engine of OpenBao, in the exchanges that https://openbao.org/api-docs/secret/transit/
// documents.
type transit struct {
	*httptest.Server
	derived bool
	kind    string

	mu       sync.Mutex
	versions int                           // guarded by mu
	least    int                           // that decrypts; guarded by mu
	answers  []func(w http.ResponseWriter) // instead of the next ones; guarded by mu
	requests []string                      // guarded by mu
}

func newTransit(t *testing.T, tls bool) *transit {
	t.Helper()
	s := &transit{versions: 1, least: 1, kind: "aes256-gcm96"}
	if tls {
		s.Server = httptest.NewTLSServer(s)
	} else {
		s.Server = httptest.NewServer(s)
	}
	t.Cleanup(s.Close)
	return s
}

func refuse(status int, errs ...string) func(w http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"errors": append([]string{}, errs...)})
	}
}

func (s *transit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r.Method+" "+r.URL.Path+" "+r.Header.Get("X-Vault-Namespace"))
	if len(s.answers) > 0 {
		answer := s.answers[0]
		s.answers = s.answers[1:]
		answer(w)
		return
	}
	if r.Header.Get("X-Vault-Token") != token {
		refuse(403, "permission denied")(w)
		return
	}
	var in struct{ Plaintext, Ciphertext, Associated_data, Context string }
	_ = json.NewDecoder(r.Body).Decode(&in)
	reply := func(data map[string]any) {
		_ = json.NewEncoder(w).Encode(map[string]any{"request_id": "x", "lease_id": "", "data": data, "warnings": nil})
	}
	if (in.Context == "") == s.derived && r.Method == http.MethodPost {
		refuse(400, "missing 'context' for key derivation; the key was created using a derived key, which means additional, per-request information must be included")(w)
		return
	}
	switch r.Method + " " + r.URL.Path {
	case "GET /v1/transit/keys/lockfast":
		reply(map[string]any{"derived": s.derived, "supports_encryption": true, "type": s.kind, "latest_version": s.versions, "name": "lockfast"})
	case "POST /v1/transit/encrypt/lockfast":
		plain, _ := base64.StdEncoding.DecodeString(in.Plaintext)
		sealed := s.aead(s.versions).Seal(nil, nil, plain, []byte(in.Associated_data+in.Context))
		reply(map[string]any{"ciphertext": fmt.Sprintf("vault:v%d:%s", s.versions, base64.StdEncoding.EncodeToString(sealed)), "key_version": s.versions})
	case "POST /v1/transit/decrypt/lockfast":
		parts := strings.SplitN(in.Ciphertext, ":", 3)
		version, _ := strconv.Atoi(strings.TrimPrefix(parts[1], "v"))
		if version < s.least {
			refuse(400, "ciphertext or signature version is disallowed by policy (too old)")(w)
			return
		}
		sealed, _ := base64.StdEncoding.DecodeString(parts[2])
		plain, err := s.aead(version).Open(nil, nil, sealed, []byte(in.Associated_data+in.Context))
		if err != nil {
			refuse(400, "cipher: message authentication failed")(w)
			return
		}
		reply(map[string]any{"plaintext": base64.StdEncoding.EncodeToString(plain)})
	default:
		refuse(404)(w)
	}
}

func (s *transit) aead(version int) cipher.AEAD {
	block, err := aes.NewCipher([]byte(fmt.Sprintf("%032d", version)))
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return aead
}

// next has the next requests answered otherwise.
func (s *transit) next(answers ...func(w http.ResponseWriter)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers = answers
}

// rotate gives the key another version, and forbids older ones.
func (s *transit) rotate(forbid bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.versions++; forbid {
		s.least = s.versions
	}
}

func (s *transit) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// options name the service; waits are skipped.
func (s *transit) options(t *testing.T) keys.TransitOptions {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return keys.TransitOptions{Address: s.URL, Key: "lockfast", TokenFile: file,
		Wait: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }}
}

// file is a key file guarded by the service.
func (s *transit) file(t *testing.T, o keys.TransitOptions) keys.File {
	t.Helper()
	sealer, err := keys.NewTransit(o)
	if err != nil {
		t.Fatal(err)
	}
	return keys.File{Path: filepath.Join(t.TempDir(), "root.key"), Sealer: sealer, Seal: true}
}

func TestTransit_GuardsTheRootKey(t *testing.T) {
	t.Parallel()
	for _, derived := range []bool{false, true} {
		s := newTransit(t, false)
		s.derived = derived
		f := s.file(t, s.options(t))
		r, err := f.Create(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(f.Path)
		if err != nil || !strings.HasPrefix(string(text), "lockfast-sealed-root-key-1:"+r.KeyID()) {
			t.Fatalf("key file: %q, %v", text, err)
		}
		wrapped, err := r.Wrap(t.Context(), []byte("secret"), nil)
		if err != nil {
			t.Fatal(err)
		}
		again, err := f.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := again.Unwrap(t.Context(), wrapped, nil); err != nil || string(got) != "secret" {
			t.Errorf("Unwrap = %q, %v", got, err)
		}
		if _, err := keys.Open(f.Path); err == nil || !strings.Contains(err.Error(), "root_key") {
			t.Errorf("Open of a sealed file without the service = %v", err)
		}
	}
}

func TestTransit_BindsTheKeyToItsName(t *testing.T) {
	t.Parallel()
	s := newTransit(t, false)
	f, other := s.file(t, s.options(t)), s.file(t, s.options(t))
	for _, f := range []keys.File{f, other} {
		if _, err := f.Create(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	sealed, err := other.Sealer.Seal(t.Context(), "0123456789abcdef", []byte("lockfast-root-key-1:0123456789abcdef:x:y"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Sealer.Unseal(t.Context(), "fedcba9876543210", sealed); err == nil {
		t.Error("Unseal for another id succeeded")
	}
	text, err := os.ReadFile(f.Path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range text[:len(text)-1] {
		bad := []byte(string(text))
		bad[i] ^= 1
		if err := os.WriteFile(f.Path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Open(t.Context()); err == nil {
			t.Errorf("Open with byte %d flipped succeeded", i)
		}
	}
}

func TestTransit_SaysWhatToDo(t *testing.T) {
	t.Parallel()
	s := newTransit(t, false)
	f := s.file(t, s.options(t))
	if _, err := f.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		answers []func(w http.ResponseWriter)
		want    string // empty: it succeeds
	}{
		{"token refused", []func(http.ResponseWriter){refuse(403, "permission denied")}, "403 Forbidden: permission denied: the token is refused"},
		{"no such key", []func(http.ResponseWriter){refuse(400, "encryption key not found")}, "encryption key not found"},
		{"no such engine", []func(http.ResponseWriter){refuse(404)}, "no such key, engine"},
		{"sealed", repeat(5, refuse(503, "Vault is sealed")), "unseal it"},
		{"unsealed meanwhile", repeat(4, refuse(503, "Vault is sealed")), ""},
		{"busy", repeat(2, refuse(429, "request path exceeded rate limit")), ""},
		{"broken", repeat(5, refuse(500, "internal error")), "500 Internal Server Error: internal error"},
		{"redirect", []func(http.ResponseWriter){func(w http.ResponseWriter) {
			w.Header().Set("Location", "http://elsewhere.example/")
			w.WriteHeader(307)
		}}, "active node"},
		{"endless", []func(http.ResponseWriter){func(w http.ResponseWriter) {
			_, _ = w.Write([]byte(strings.Repeat("x", 1<<20)))
		}}, "longer than"},
		{"page", []func(http.ResponseWriter){func(w http.ResponseWriter) { _, _ = w.Write([]byte("<html>")) }}, "not in JSON"},
		{"null", []func(http.ResponseWriter){func(w http.ResponseWriter) { _, _ = w.Write([]byte(`{"data":null}`)) }}, "not a root key"},
		{"other key", []func(http.ResponseWriter){func(w http.ResponseWriter) {
			_, _ = w.Write([]byte(`{"data":{"plaintext":"bm90aGluZw=="}}`))
		}}, "not a root key"},
		{"no base64", []func(http.ResponseWriter){func(w http.ResponseWriter) {
			_, _ = w.Write([]byte(`{"data":{"plaintext":"%"}}`))
		}}, "base64"},
	}
	for _, test := range tests {
		s.next(test.answers...)
		_, err := f.Open(t.Context())
		switch {
		case test.want == "" && err != nil, test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: Open = %v, want %q", test.name, err, test.want)
		case err != nil && (strings.Contains(err.Error(), token) || !strings.Contains(err.Error(), f.Path)):
			t.Errorf("%s: Open = %v, with the token or without the file", test.name, err)
		}
	}
	s.Close()
	if _, err := f.Open(t.Context()); err == nil || !strings.Contains(err.Error(), "not reached") {
		t.Errorf("Open without the service = %v", err)
	}
}

func repeat(n int, answer func(http.ResponseWriter)) (all []func(http.ResponseWriter)) {
	for range n {
		all = append(all, answer)
	}
	return all
}

func TestTransit_NeedsAToken(t *testing.T) {
	t.Parallel()
	s := newTransit(t, false)
	o := s.options(t)
	file := o.TokenFile
	o.Getenv = func(name string) string { return map[string]string{"VAULT_TOKEN": token}[name] }
	o.TokenFile = ""
	if _, err := s.file(t, o).Create(t.Context()); err != nil {
		t.Errorf("Create with a token of the environment = %v", err)
	}
	o.Getenv = func(string) string { return "" }
	if _, err := s.file(t, o).Create(t.Context()); err == nil || !strings.Contains(err.Error(), "token_file") {
		t.Errorf("Create without a token = %v", err)
	}
	o.TokenFile = file
	for _, bad := range []string{"", "two\nlines", "wrong"} {
		if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.file(t, o).Create(t.Context()); err == nil || bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("Create with the token %q = %v", bad, err)
		}
	}
}

func TestTransit_TrustsTheCAFile(t *testing.T) {
	t.Parallel()
	s := newTransit(t, true)
	o := s.options(t)
	if _, err := s.file(t, o).Create(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("Create with an unknown certificate = %v", err)
	}
	o.CAFile, o.Namespace = filepath.Join(t.TempDir(), "ca.pem"), "teams/backup"
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(o.CAFile, block, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.file(t, o).Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	if seen := s.seen(); !strings.HasSuffix(seen[len(seen)-1], " teams/backup") {
		t.Errorf("requests without the namespace: %q", seen)
	}
}

func TestNewTransit_Refuses(t *testing.T) {
	t.Parallel()
	good := keys.TransitOptions{Address: "https://bao.example:8200", Key: "lockfast"}
	for name, change := range map[string]func(o *keys.TransitOptions){
		"address: want":  func(o *keys.TransitOptions) { o.Address = "bao.example" },
		"address: want ": func(o *keys.TransitOptions) { o.Address = "https://user:pass@bao.example" },
		"address: bao":   func(o *keys.TransitOptions) { o.Address = "http://bao.example:8200" },
		"mount:":         func(o *keys.TransitOptions) { o.Mount = "../sys" },
		"key:":           func(o *keys.TransitOptions) { o.Key = "" },
		"key: ":          func(o *keys.TransitOptions) { o.Key = "a/b" },
		"ca_file:":       func(o *keys.TransitOptions) { o.CAFile = "/nowhere" },
	} {
		o := good
		change(&o)
		if _, err := keys.NewTransit(o); err == nil || !strings.HasPrefix(err.Error(), strings.TrimSpace(name)) || strings.Contains(err.Error(), "pass@") {
			t.Errorf("NewTransit(%+v) = %v, want %s", o, err, name)
		}
	}
	if _, err := keys.NewTransit(good); err != nil {
		t.Error(err)
	}
	s := newTransit(t, false)
	s.kind = "rsa-4096"
	if _, err := s.file(t, s.options(t)).Create(t.Context()); err == nil || !strings.Contains(err.Error(), "aes256-gcm96") {
		t.Errorf("Create with a key of RSA = %v", err)
	}
}

func TestRenew_NeedsOldVersionsNoLonger(t *testing.T) {
	t.Parallel()
	s := newTransit(t, false)
	f := s.file(t, s.options(t))
	r, err := f.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if renewed, err := f.Renew(t.Context(), r); err != nil || renewed {
		t.Errorf("Renew without a new version = %v, %v", renewed, err)
	}
	s.rotate(false)
	if renewed, err := f.Renew(t.Context(), r); err != nil || !renewed {
		t.Errorf("Renew = %v, %v", renewed, err)
	}
	s.mu.Lock()
	s.least = 2
	s.mu.Unlock()
	if again, err := f.Open(t.Context()); err != nil || again.KeyID() != r.KeyID() {
		t.Errorf("Open = %v, %v", again, err)
	}
	s.rotate(true)
	if _, err := f.Open(t.Context()); err == nil || !strings.Contains(err.Error(), "old versions") {
		t.Errorf("Open of what a forbidden version sealed = %v", err)
	}
}

func TestRotate_FromFileToTransitAndBack(t *testing.T) {
	t.Parallel()
	s := newTransit(t, false)
	f := s.file(t, s.options(t))
	f.Seal = false
	first, err := f.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wrapped, err := first.Wrap(t.Context(), []byte("secret"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f.Seal = range []bool{true, false} {
		_, begun, err := f.Rotate(t.Context())
		if err != nil || !begun {
			t.Fatal(begun, err)
		}
		if sealed, err := f.Sealed(); err != nil || sealed != f.Seal {
			t.Errorf("Sealed = %v, %v, want %v", sealed, err, f.Seal)
		}
		if _, begun, err = f.Rotate(t.Context()); err != nil || begun {
			t.Errorf("a second Rotate = %v, %v", begun, err)
		}
		r, err := f.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		secret, err := r.Unwrap(t.Context(), wrapped, nil)
		if err != nil || string(secret) != "secret" || r.Wrapped(wrapped) {
			t.Fatalf("Unwrap = %q, %v", secret, err)
		}
		if wrapped, err = r.Wrap(t.Context(), secret, nil); err != nil || !r.Wrapped(wrapped) {
			t.Fatal(err)
		}
		old := r.Replaces()
		path, err := f.Retire(r)
		if err != nil {
			t.Fatal(err)
		}
		retired, err := keys.File{Path: path, Sealer: f.Sealer}.Open(t.Context())
		if err != nil || retired.KeyID() != old.KeyID() {
			t.Errorf("the retired key: %v, %v", retired, err)
		}
		if _, err := retired.Unwrap(t.Context(), wrapped, nil); !errors.Is(err, repo.ErrWrongKey) {
			t.Errorf("Unwrap by the retired key = %v", err)
		}
		if r, err = f.Open(t.Context()); err != nil || r.Replaces() != nil {
			t.Errorf("Open after the rotation = %v, %v", r, err)
		}
	}
}

// TestRotate_CutAnywhere leaves the files as a cut between any two steps would.
func TestRotate_CutAnywhere(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(path, next string) error{
		"nothing":      func(string, string) error { return nil },
		"new key only": func(path, next string) error { return os.Link(next, path+".next") },
		"both links": func(path, next string) error {
			return errors.Join(os.Link(next, path+".next"), os.Link(path, path+".old"))
		},
		"replaced": func(path, next string) error {
			return errors.Join(os.Rename(path, path+".old"), os.Link(next, path))
		},
	} {
		first, path := create(t)
		second, next := create(t)
		if err := leave(path, next); err != nil {
			t.Fatal(err)
		}
		f := keys.File{Path: path}
		for range 2 { // as the next start, and after another try
			r, err := f.Open(t.Context())
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			wrapped, err := first.Wrap(t.Context(), []byte("secret"), nil)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := r.Unwrap(t.Context(), wrapped, nil); err != nil || string(got) != "secret" {
				t.Errorf("%s: Unwrap of what the first key wrapped = %q, %v", name, got, err)
			}
			if r, _, err = f.Rotate(t.Context()); err != nil || r.Replaces() == nil || r.Replaces().KeyID() != first.KeyID() {
				t.Fatalf("%s: Rotate = %v, %v", name, r, err)
			}
			if name != "nothing" && r.KeyID() != second.KeyID() {
				t.Errorf("%s: Rotate drew another key", name)
			}
		}
	}
}

func TestOpen_ReadsARecoveryKit(t *testing.T) {
	t.Parallel()
	first, one := create(t)
	second, two := create(t)
	var kit strings.Builder
	kit.WriteString("RECOVERY KIT\n\n")
	for _, path := range []string{two, one} {
		line, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		kit.Write(line)
		kit.WriteString("some words\r\n")
	}
	path := filepath.Join(t.TempDir(), "kit.txt")
	if err := os.WriteFile(path, []byte(kit.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := keys.Open(path)
	if err != nil || r.KeyID() != second.KeyID() {
		t.Fatalf("Open = %v, %v", r, err)
	}
	wrapped, err := first.Wrap(t.Context(), []byte("secret"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := r.Unwrap(t.Context(), wrapped, nil); err != nil || string(got) != "secret" {
		t.Errorf("Unwrap = %q, %v", got, err)
	}
}
