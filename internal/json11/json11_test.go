package json11_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/json11"
	"github.com/lockfast/lockfast/internal/kmsapi"
	"github.com/lockfast/lockfast/internal/sigv4"
	"github.com/lockfast/lockfast/internal/wire"
)

// users knows alice, who may do everything but list aliases.
type users struct{}

func (users) Lookup(_ context.Context, id, _ string) (string, caller.Caller, error) {
	if id != "AKIAALICE" {
		return "", caller.Caller{}, sigv4.ErrUnknownKey
	}
	return "secret", caller.Caller{Account: "000000000000", ARN: "arn:aws:iam::000000000000:user/alice", UserID: "AIDA"}, nil
}

func (users) Authorize(_ context.Context, _ caller.Caller, asked []json11.Access) error {
	if asked[0].Action == "kms:ListAliases" {
		return &wire.Denied{Message: "alice may not"}
	}
	return nil
}

func serve(t *testing.T) (url string, log *bytes.Buffer) {
	t.Helper()
	log = &bytes.Buffer{}
	r := json11.New(json11.Options{Service: kmsapi.Service, Credentials: users{}, Authorizer: users{},
		Log: slog.New(slog.NewTextHandler(log, nil)), MaxBody: 4096})
	json11.Handle(r, kmsapi.DescribeKey, describe, func(caller.Caller, *kmsapi.DescribeKeyInput) []json11.Access {
		return caller.OnAll("kms:DescribeKey")
	})
	json11.Handle(r, kmsapi.EnableKey, func(context.Context, *kmsapi.EnableKeyInput) (*kmsapi.EnableKeyOutput, error) { return nil, nil },
		func(caller.Caller, *kmsapi.EnableKeyInput) []json11.Access { return caller.OnAll("kms:EnableKey") })
	r.Unimplemented(kmsapi.Operations()...)
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	return s.URL, log
}

func describe(_ context.Context, in *kmsapi.DescribeKeyInput) (*kmsapi.DescribeKeyOutput, error) {
	switch in.KeyId {
	case "none":
		return nil, kmsapi.NotFoundExceptionf("Key 'none' does not exist")
	case "broken":
		return nil, errors.New("secret cause")
	case "panic":
		panic("secret cause")
	}
	return &kmsapi.DescribeKeyOutput{KeyMetadata: &kmsapi.KeyMetadata{KeyId: in.KeyId, CreationDate: new(time.Unix(5, 0))}}, nil
}

func request(t *testing.T, url, method, target, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Amz-Target", target)
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	sigv4.Sign(req, []byte(body), sigv4.Keys{AccessKeyID: "AKIAALICE", Secret: "secret"}, "eu-north-1", "kms", time.Now())
	return req
}

func answer(t *testing.T, req *http.Request) (status int, body string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if kind := resp.Header.Get("Content-Type"); kind != "application/x-amz-json-1.1" {
		t.Errorf("Content-Type = %q", kind)
	}
	if resp.Header.Get("X-Amzn-Requestid") == "" {
		t.Error("no request id")
	}
	return resp.StatusCode, string(text)
}

func TestRouter_AnswersJSON(t *testing.T) {
	t.Parallel()
	url, _ := serve(t)
	status, body := answer(t, request(t, url+"/", "POST", "TrentService.DescribeKey", `{"KeyId":"a","Unknown":1}`))
	if want := `{"KeyMetadata":{"CreationDate":5,"KeyId":"a"}}`; status != 200 || body != want {
		t.Errorf("answer = %d %s, want %s", status, body, want)
	}
	if status, body := answer(t, request(t, url+"/", "POST", "TrentService.EnableKey", `{"KeyId":"a"}`)); status != 200 || body != "" {
		t.Errorf("answer without members = %d %q", status, body)
	}
}

func TestRouter_Errors(t *testing.T) {
	t.Parallel()
	url, log := serve(t)
	unsigned := request(t, url+"/", "POST", "TrentService.DescribeKey", `{"KeyId":"a"}`)
	unsigned.Header.Del("Authorization")
	forged := request(t, url+"/", "POST", "TrentService.DescribeKey", `{"KeyId":"a"}`)
	forged.Header.Set("Authorization", forged.Header.Get("Authorization")[:len(forged.Header.Get("Authorization"))-4]+"0000")
	stranger := request(t, url+"/", "POST", "TrentService.DescribeKey", `{}`)
	stranger.Header.Set("Authorization", strings.Replace(stranger.Header.Get("Authorization"), "AKIAALICE", "AKIABOB", 1))
	for _, test := range []struct {
		name   string
		req    *http.Request
		status int
		kind   string
		text   string
	}{
		{"modelled", request(t, url+"/", "POST", "TrentService.DescribeKey", `{"KeyId":"none"}`), 400, "NotFoundException", "Key 'none' does not exist"},
		{"denied", request(t, url+"/", "POST", "TrentService.ListAliases", `{}`), 400, "AccessDeniedException", "alice may not"},
		{"missing member", request(t, url+"/", "POST", "TrentService.DescribeKey", `{}`), 400, "ValidationException", "KeyId"},
		{"wrong type", request(t, url+"/", "POST", "TrentService.DescribeKey", `{"KeyId":1}`), 400, "SerializationException", "KeyId"},
		{"no JSON", request(t, url+"/", "POST", "TrentService.DescribeKey", `{`), 400, "SerializationException", ""},
		{"not implemented", request(t, url+"/", "POST", "TrentService.ListKeys", `{}`), 400, "UnknownOperationException", "ListKeys"},
		{"no such operation", request(t, url+"/", "POST", "TrentService.Sing", `{}`), 400, "UnknownOperationException", ""},
		{"another service", request(t, url+"/", "POST", "Other.DescribeKey", `{}`), 400, "UnknownOperationException", ""},
		{"no target", request(t, url+"/", "POST", "", `{}`), 400, "UnknownOperationException", ""},
		{"another path", request(t, url+"/x", "POST", "TrentService.DescribeKey", `{}`), 400, "UnknownOperationException", ""},
		{"another method", request(t, url+"/", "PUT", "TrentService.DescribeKey", `{}`), 400, "UnknownOperationException", ""},
		{"unsigned", unsigned, 400, "MissingAuthenticationTokenException", ""},
		{"forged", forged, 400, "InvalidSignatureException", ""},
		{"unknown key", stranger, 400, "UnrecognizedClientException", ""},
		{"too large", request(t, url+"/", "POST", "TrentService.DescribeKey", `{"KeyId":"`+strings.Repeat("x", 5000)+`"}`), 413, "RequestEntityTooLargeException", ""},
		{"broken", request(t, url+"/", "POST", "TrentService.DescribeKey", `{"KeyId":"broken"}`), 500, "InternalFailure", "request id"},
		{"panic", request(t, url+"/", "POST", "TrentService.DescribeKey", `{"KeyId":"panic"}`), 500, "InternalFailure", "request id"},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, body := answer(t, test.req)
			var got map[string]string
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Fatalf("%s: %v", body, err)
			}
			if status != test.status || got["__type"] != test.kind || !strings.Contains(got["message"], test.text) || len(got) != 2 {
				t.Errorf("answer = %d %s, want %d %s with %q", status, body, test.status, test.kind, test.text)
			}
			if strings.Contains(body, "secret cause") {
				t.Errorf("the client is told %s", body)
			}
		})
	}
	if n := strings.Count(log.String(), "secret cause"); n < 2 {
		t.Errorf("%d causes were logged, want 2: %s", n, log)
	}
}
