package keys

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"
)

// Limits of the talk with a transit service.
const (
	transitAnswer  = 64 << 10         // bytes of an answer that are read
	transitTimeout = 10 * time.Second // for one request
	transitTries   = 5
	transitPause   = 500 * time.Millisecond // before the second try; twice as long before each further one
)

// TransitOptions says where a transit service is.
type TransitOptions struct {
	Address   string // https://HOST:PORT
	Mount     string // of the secrets engine; empty is transit
	Key       string // its name
	Namespace string // empty for the root namespace
	TokenFile string // read at every use; empty: BAO_TOKEN or VAULT_TOKEN
	CAFile    string // certificates (PEM) by which the service is known; empty: those of the system
	Insecure  bool   // allows plain HTTP beyond loopback

	Getenv func(string) string // nil is os.Getenv
	// Wait passes the time between two tries; nil does so by the clock.
	Wait func(ctx context.Context, d time.Duration) error
}

// Transit is a [Sealer]: a key in the transit secrets engine of OpenBao or HashiCorp Vault, which never leaves it. The
// key's type is one with authenticated additional data, such as aes256-gcm96. The token needs read on keys/KEY and update
// on encrypt/KEY and decrypt/KEY. See https://openbao.org/api-docs/secret/transit/.
type Transit struct {
	o      TransitOptions
	client *http.Client
}

var transitName = regexp.MustCompile(`^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$`)

// NewTransit checks the options. It makes no request.
func NewTransit(o TransitOptions) (*Transit, error) {
	if o.Mount == "" {
		o.Mount = "transit"
	}
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.Wait == nil {
		o.Wait = sleep
	}
	u, err := url.Parse(o.Address)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" {
		return nil, fmt.Errorf("address: want https://HOST:PORT")
	}
	if host := u.Hostname(); u.Scheme == "http" && !o.Insecure && host != "localhost" && host != "127.0.0.1" && host != "::1" {
		return nil, fmt.Errorf("address: %s is reached without encryption, and root keys are sent there; use https", host)
	}
	o.Address = strings.TrimSuffix(o.Address, "/")
	if !transitName.MatchString(o.Mount) || strings.Contains(o.Mount, "..") {
		return nil, fmt.Errorf("mount: %q is no path of a secrets engine", o.Mount)
	}
	if !transitName.MatchString(o.Key) || strings.ContainsAny(o.Key, "/") || strings.Contains(o.Key, "..") {
		return nil, fmt.Errorf("key: %q is no name of a transit key", o.Key)
	}
	t := &Transit{o: o, client: &http.Client{Timeout: transitTimeout, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // a token goes nowhere else
	}}}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file: %s holds no certificate", o.CAFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	t.client.Transport = transport
	return t, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// String names the key.
func (t *Transit) String() string {
	return fmt.Sprintf("transit key %s of %s at %s", t.o.Key, t.o.Mount, t.o.Address)
}

// derivedFlag, after the ciphertext, says that the key is a derived one, which wants a context.
const derivedFlag = "d"

// Seal implements [Sealer].
func (t *Transit) Seal(ctx context.Context, id string, text []byte) (string, error) {
	var key struct {
		Derived            bool   `json:"derived"`
		SupportsEncryption bool   `json:"supports_encryption"`
		Type               string `json:"type"`
	}
	if err := t.call(ctx, http.MethodGet, "keys", nil, &key); err != nil {
		return "", fmt.Errorf("read %s: %w", t, err)
	}
	if !key.SupportsEncryption || !strings.Contains(key.Type, "gcm") && !strings.Contains(key.Type, "chacha20") {
		return "", fmt.Errorf("%s is of type %.40q, which does not bind additional data; make one of type aes256-gcm96", t, key.Type)
	}
	in := t.binding(id, key.Derived)
	in["plaintext"] = base64.StdEncoding.EncodeToString(text)
	var out struct {
		Ciphertext string `json:"ciphertext"`
	}
	if err := t.call(ctx, http.MethodPost, "encrypt", in, &out); err != nil {
		return "", fmt.Errorf("encrypt with %s: %w", t, err)
	}
	if versionOf(out.Ciphertext) == 0 || strings.ContainsAny(out.Ciphertext, "\r\n") {
		return "", fmt.Errorf("encrypt with %s: the answer holds no ciphertext", t)
	}
	if key.Derived {
		return out.Ciphertext + " " + derivedFlag, nil
	}
	return out.Ciphertext, nil
}

// Unseal implements [Sealer].
func (t *Transit) Unseal(ctx context.Context, id, sealed string) ([]byte, error) {
	ciphertext, flag, _ := strings.Cut(sealed, " ")
	in := t.binding(id, flag == derivedFlag)
	in["ciphertext"] = ciphertext
	var out struct {
		Plaintext string `json:"plaintext"`
	}
	if err := t.call(ctx, http.MethodPost, "decrypt", in, &out); err != nil {
		return nil, fmt.Errorf("decrypt with %s: %w", t, err)
	}
	text, err := base64.StdEncoding.DecodeString(out.Plaintext)
	if err != nil {
		return nil, fmt.Errorf("decrypt with %s: the answer is not in base64", t)
	}
	return text, nil
}

// binding is what a sealed key is bound to.
func (t *Transit) binding(id string, derived bool) map[string]string {
	in := map[string]string{"associated_data": base64.StdEncoding.EncodeToString([]byte("lockfast root key " + id))}
	if derived {
		in["context"] = base64.StdEncoding.EncodeToString([]byte("lockfast root key"))
	}
	return in
}

// call makes a request, again if it fails for a passing reason.
func (t *Transit) call(ctx context.Context, method, op string, in map[string]string, out any) error {
	token, err := t.token()
	if err != nil {
		return err
	}
	var body []byte
	if in != nil {
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	for try, pause := 1, transitPause; ; try, pause = try+1, 2*pause {
		passing, err := t.request(ctx, method, op, token, body, out)
		if err == nil || !passing || try == transitTries || ctx.Err() != nil {
			return err
		}
		if err := t.o.Wait(ctx, pause); err != nil {
			return err
		}
	}
}

// request makes one request. passing says of an error that another try may do better.
func (t *Transit) request(ctx context.Context, method, op, token string, body []byte, out any) (passing bool, err error) {
	address := t.o.Address + "/v1/" + t.o.Mount + "/" + op + "/" + t.o.Key
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	req.Header.Set("X-Vault-Token", token)
	req.Header.Set("X-Vault-Request", "true")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if t.o.Namespace != "" {
		req.Header.Set("X-Vault-Namespace", t.o.Namespace)
	}
	res, err := t.client.Do(req)
	if err != nil {
		return true, unreached(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, transitAnswer+1))
	switch {
	case err != nil:
		return true, unreached(err)
	case len(data) > transitAnswer:
		return false, fmt.Errorf("the answer is longer than %d bytes; is the address that of the service?", transitAnswer)
	case res.StatusCode != http.StatusOK:
		return res.StatusCode == http.StatusTooManyRequests || res.StatusCode >= 500, refusal(res.StatusCode, data)
	}
	answer := struct{ Data any }{out}
	if err := json.Unmarshal(data, &answer); err != nil {
		return false, errors.New("the answer is not in JSON; is the address that of the service?")
	}
	return false, nil
}

// unreached words an error of the connection, without the request's URL, which says nothing new.
func unreached(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	return fmt.Errorf("the transit service is not reached: %w", err)
}

// refusal words an answer other than 200 and says what to do about it. Errors of the service hold no secrets; their length
// is bounded all the same.
func refusal(status int, data []byte) error {
	var answer struct{ Errors []string }
	_ = json.Unmarshal(data, &answer) // what is no JSON has nothing to say
	said := strings.Join(strings.Fields(strings.Join(answer.Errors, "; ")), " ")
	if len(said) > 500 {
		said = said[:500] + "..."
	}
	advice := ""
	switch {
	case status == http.StatusForbidden:
		advice = "the token is refused: is it valid, and does its policy allow read on keys/KEY, update on encrypt/KEY and decrypt/KEY?"
	case status == http.StatusNotFound:
		advice = "there is no such key, engine or namespace"
	case status == http.StatusServiceUnavailable && (said == "" || strings.Contains(strings.ToLower(said), "sealed")):
		advice = "the service is sealed or in maintenance: unseal it"
	case status >= 300 && status < 400:
		advice = "the service redirects, which is not followed: give the address of the active node"
	case status == http.StatusBadRequest:
		advice = "is it the key that sealed the root key, and are its old versions still allowed to decrypt?"
	}
	text := fmt.Sprintf("the transit service answered %d %s", status, http.StatusText(status))
	for _, more := range []string{said, advice} {
		if more != "" {
			text += ": " + more
		}
	}
	return errors.New(text)
}

// maxToken bounds what is read of a token file.
const maxToken = 8 << 10

// token reads the token, which may have been renewed since the last use.
func (t *Transit) token() (string, error) {
	if t.o.TokenFile == "" {
		for _, name := range []string{"BAO_TOKEN", "VAULT_TOKEN"} {
			if token := t.o.Getenv(name); token != "" {
				return token, nil
			}
		}
		return "", errors.New("there is no token: set token_file, BAO_TOKEN or VAULT_TOKEN")
	}
	f, err := os.Open(t.o.TokenFile)
	if err != nil {
		return "", fmt.Errorf("token file: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxToken))
	if err != nil {
		return "", fmt.Errorf("token file: %w", err)
	}
	token := strings.TrimSpace(string(data))
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("token file %s: it does not hold a token", t.o.TokenFile)
	}
	return token, nil
}
