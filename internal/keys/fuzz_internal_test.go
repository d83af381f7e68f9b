package keys

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func FuzzDecode(f *testing.F) {
	r, err := generate()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(r.encode())
	f.Add("lockfast-root-key-1:::")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := decode(text)
		if err != nil {
			return
		}
		again, err := decode(r.encode())
		if err != nil || again.key != r.key {
			t.Errorf("decode(encode(decode(%q))) = %v, %v", text, again, err)
		}
	})
}

func FuzzUnwrap(f *testing.F) {
	r, err := generate()
	if err != nil {
		f.Fatal(err)
	}
	wrapped, err := r.Wrap(f.Context(), []byte("key"), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(wrapped)
	f.Add([]byte{version})
	f.Fuzz(func(t *testing.T, wrapped []byte) {
		key, err := r.Unwrap(t.Context(), wrapped, nil)
		if err == nil && string(key) != "key" {
			t.Errorf("Unwrap(%x) = %x", wrapped, key)
		}
	})
}

func FuzzUnwrapLinked(f *testing.F) {
	r, err := generate()
	if err != nil {
		f.Fatal(err)
	}
	n := KeyName{Account: "000000000000", Region: "us-east-1", ID: "id", Version: 1}
	material, err := r.NewMaterial(f.Context(), n)
	if err != nil {
		f.Fatal(err)
	}
	k, err := r.OpenKey(f.Context(), n, material)
	if err != nil {
		f.Fatal(err)
	}
	wrapped, err := k.Wrap(f.Context(), []byte("key"), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(k.link, wrapped)
	f.Add([]byte{linkVersion, 0, 0, 0, 0, 255, 255}, []byte{keyVersion})
	f.Fuzz(func(t *testing.T, link, wrapped []byte) {
		key, err := r.UnwrapLinked(t.Context(), k.KeyID(), [][]byte{link}, wrapped, nil)
		if err == nil && string(key) != "key" {
			t.Errorf("UnwrapLinked(%x, %x) = %x", link, wrapped, key)
		}
	})
}

func FuzzParseSealed(f *testing.F) {
	f.Add("lockfast-sealed-root-key-1:0123456789abcdef:00000000:vault:v1:x")
	f.Add("lockfast-sealed-root-key-1:0123456789abcdef:" + checksum("0123456789abcdef:vault:v1:x d") + ":vault:v1:x d\n")
	f.Fuzz(func(t *testing.T, text string) {
		id, sealed, err := parseSealed(text)
		if err != nil {
			return
		}
		if again := sealedMagic + ":" + id + ":" + checksum(id+":"+sealed) + ":" + sealed; again != strings.TrimSpace(text) {
			t.Errorf("parseSealed(%q) = %q, %q", text, id, sealed)
		}
		versionOf(sealed)
	})
}

// FuzzTransitAnswer lets a transit service answer anything, to each of its requests: no key is sealed but by a ciphertext that says its version
// and fits into the line of a key file, what is unsealed is what the answer holds, and no error is longer than a screen.
func FuzzTransitAnswer(f *testing.F) {
	type seed struct {
		status int
		body   string
	}
	for _, s := range []seed{
		{200, `{"data":{"supports_encryption":true,"type":"aes256-gcm96","ciphertext":"vault:v1:eA==","plaintext":"a2V5"}}`},
		{200, `{"data":{"supports_encryption":true,"derived":true,"type":"aes256-gcm96","ciphertext":"vault:v4294967296:x","plaintext":"!"}}`},
		{200, `{"data":{"supports_encryption":true,"type":"aes256-gcm96","ciphertext":"vault:v1:x\n"}}`},
		{200, `{"data":null}`}, {200, `null`}, {200, `{"Data":[]}`}, {200, "<html>"}, {200, ""}, {200, "{} "}, {403, " "},
		{403, `{"errors":["permission denied"]}`}, {404, `{"errors":[]}`}, {400, `{"errors":"x"}`}, {503, `{"errors":["Vault is sealed"]}`},
		{307, "elsewhere"}, {429, ""}, {204, ""}, {500, `{"errors":["` + strings.Repeat("long ", 1000) + `"]}`},
		{200, `{"data":{"type":"` + strings.Repeat("\x01", 3000) + `"}}`}, {200, `{"data":{"type":"` + strings.Repeat("long", 1000) + `"}}`},
	} {
		f.Add(s.status, []byte(s.body))
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if status < 200 || status > 599 {
			return // nothing that ends an exchange
		}
		tr, err := NewTransit(TransitOptions{Address: "http://127.0.0.1:1", Key: "k", Getenv: func(string) string { return "token" },
			Wait: func(context.Context, time.Duration) error { return nil }})
		if err != nil {
			t.Fatal(err)
		}
		most := 0 // read of one answer
		tr.client.Transport = answering(func() *http.Response {
			var answer io.Reader = bytes.NewReader(body)
			if len(body) > 0 && body[len(body)-1] == ' ' { // one that does not end
				answer = io.MultiReader(answer, endless{})
			}
			return &http.Response{StatusCode: status, Body: io.NopCloser(&counted{Reader: answer, most: &most}), Header: http.Header{}}
		})
		sealed, err := tr.Seal(t.Context(), "id", []byte("key"))
		switch {
		case err == nil && (versionOf(sealed) == 0 || strings.ContainsAny(sealed, "\r\n")):
			t.Errorf("Seal = %q for %q", sealed, body)
		case err == nil:
			line := strings.Join([]string{sealedMagic, "0123456789abcdef", checksum("0123456789abcdef:" + sealed), sealed}, ":")
			if _, again, err := parseSealed(line); err != nil || again != strings.TrimSpace(sealed) {
				t.Errorf("parseSealed(%q) = %q, %v", line, again, err)
			}
		}
		plain, unsealErr := tr.Unseal(t.Context(), "id", "vault:v1:x")
		if unsealErr == nil && (status != http.StatusOK || len(plain) > len(body)) {
			t.Errorf("Unseal = %q for %d %q", plain, status, body)
		}
		for _, err := range []error{err, unsealErr} {
			if err != nil && (len(err.Error()) > 2000) {
				t.Errorf("error of %d bytes: %v", len(err.Error()), err)
			}
		}
		if most > transitAnswer+1 {
			t.Errorf("%d bytes of an answer were read, want at most %d", most, transitAnswer+1)
		}
	})
}

// answering is a transport that answers every request in the same way.
type answering func() *http.Response

func (a answering) RoundTrip(*http.Request) (*http.Response, error) { return a(), nil }

// counted notes the most that is read of one answer.
type counted struct {
	io.Reader
	n    int
	most *int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += n
	*c.most = max(*c.most, c.n)
	return n, err
}

// endless is an answer that does not end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}
