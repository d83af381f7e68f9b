package query_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/query"
	"github.com/lockfast/lockfast/internal/sigv4"
	"github.com/lockfast/lockfast/internal/stsapi"
	"github.com/lockfast/lockfast/internal/wire"
)

// users knows alice, who may do nothing.
type users struct{}

func (users) Lookup(_ context.Context, id, _ string) (string, caller.Caller, error) {
	if id != "AKIAALICE" {
		return "", caller.Caller{}, sigv4.ErrUnknownKey
	}
	return "secret", caller.Caller{Account: "000000000000", ARN: "arn:aws:iam::000000000000:user/alice", UserID: "AIDA"}, nil
}

func (users) Authorize(context.Context, caller.Caller, []query.Access) error {
	return &wire.Denied{Message: "alice may do nothing"}
}

func serve(t *testing.T, register func(r *query.Router)) (url string, log *bytes.Buffer) {
	t.Helper()
	log = &bytes.Buffer{}
	r := query.New(query.Options{Service: stsapi.Service, Credentials: users{}, Authorizer: users{}, Log: slog.New(slog.NewTextHandler(log, nil)), MaxBody: 4096})
	register(r)
	r.Unimplemented(stsapi.Operations()...)
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	return s.URL, log
}

func identity(ctx context.Context, _ *stsapi.GetCallerIdentityInput) (*stsapi.GetCallerIdentityOutput, error) {
	c := caller.From(ctx)
	return &stsapi.GetCallerIdentityOutput{Account: &c.Account, Arn: &c.ARN, UserId: &c.UserID}, nil
}

func register(r *query.Router) { query.Handle(r, stsapi.GetCallerIdentity, identity, query.Anybody) }

func request(t *testing.T, method, url, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	sigv4.Sign(req, []byte(body), sigv4.Keys{AccessKeyID: "AKIAALICE", Secret: "secret"}, "eu-north-1", "sts", time.Now())
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
	id := resp.Header.Get("x-amzn-RequestId")
	if id == "" || resp.Header.Get("Content-Type") != "text/xml" {
		t.Errorf("headers = %v", resp.Header)
	}
	return resp.StatusCode, strings.ReplaceAll(string(text), id, "ID")
}

const namespace = `xmlns="https://sts.amazonaws.com/doc/2011-06-15/"`

const alice = `<GetCallerIdentityResponse ` + namespace + `><GetCallerIdentityResult><Account>000000000000</Account>` +
	`<Arn>arn:aws:iam::000000000000:user/alice</Arn><UserId>AIDA</UserId></GetCallerIdentityResult>` +
	`<ResponseMetadata><RequestId>ID</RequestId></ResponseMetadata></GetCallerIdentityResponse>`

func TestGetCallerIdentity_CannotBeDenied(t *testing.T) {
	t.Parallel()
	url, _ := serve(t, register)
	if status, body := answer(t, request(t, "POST", url+"/", "Action=GetCallerIdentity&Version=2011-06-15")); status != 200 || body != alice {
		t.Errorf("answer = %d %s", status, body)
	}
}

func TestGetCallerIdentity_Presigned(t *testing.T) {
	t.Parallel()
	url, _ := serve(t, register)
	req, err := http.NewRequest("GET", url+"/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Expires=60", nil)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(nil)
	creds := aws.Credentials{AccessKeyID: "AKIAALICE", SecretAccessKey: "secret"}
	signed, _, err := v4.NewSigner().PresignHTTP(t.Context(), creds, req, hex.EncodeToString(sum[:]), "sts", "us-east-1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	req, _ = http.NewRequest("GET", signed, nil)
	if status, body := answer(t, req); status != 200 || body != alice {
		t.Errorf("answer = %d %s", status, body)
	}
}

func failed(fault, code, message string) string {
	return `<ErrorResponse ` + namespace + `><Error><Type>` + fault + `</Type><Code>` + code + `</Code><Message>` + message +
		`</Message></Error><RequestId>ID</RequestId></ErrorResponse>`
}

func TestServe_Refuses(t *testing.T) {
	t.Parallel()
	url, _ := serve(t, register)
	unsigned := request(t, "POST", url, "")
	unsigned.Header.Del("Authorization")
	wrong := request(t, "POST", url, "")
	wrong.Header.Set("X-Amz-Date", time.Now().Add(time.Second).UTC().Format("20060102T150405Z"))
	cases := []struct {
		what   string
		req    *http.Request
		status int
		want   string
	}{
		{"unsigned", unsigned, 403, failed("Sender", "MissingAuthenticationToken", "Missing Authentication Token")},
		{"no action", request(t, "POST", url, ""), 400, failed("Sender", "MissingAction", "The parameter Action is missing.")},
		{"unknown action", request(t, "POST", url, "Action=%3CNo%3E&Version=2011-06-15"), 400,
			failed("Sender", "InvalidAction", "Could not find operation &lt;No&gt; for version 2011-06-15")},
		{"other version", request(t, "POST", url, "Action=GetCallerIdentity&Version=1999"), 400,
			failed("Sender", "InvalidAction", "Could not find operation GetCallerIdentity for version 1999")},
		{"missing member", request(t, "POST", url, "Action=AssumeRole&RoleSessionName=ab"), 400,
			failed("Sender", "ValidationError", "1 validation error detected: Value null at &#39;roleArn&#39; failed to satisfy constraint: "+
				"Member must not be null")},
		{"bad member", request(t, "POST", url, "Action=AssumeRole&RoleArn=arn:aws:iam::1:role/abc&RoleSessionName=a%20b"), 400,
			failed("Sender", "ValidationError", "1 validation error detected: Value &#39;a b&#39; at &#39;roleSessionName&#39; failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]*")},
		{"bad entry", request(t, "POST", url, "Action=AssumeRole&RoleArn=arn:aws:iam::1:role/abc&RoleSessionName=ab&Tags.member.1.Key=a&"+
			"Tags.member.1.Value=&Tags.member.2.Key=%26&Tags.member.2.Value="), 400,
			failed("Sender", "ValidationError", "1 validation error detected: Value &#39;&amp;&#39; at &#39;tags.2.member.key&#39; failed "+
				"to satisfy constraint: Member must satisfy regular expression pattern: [\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]+")},
		{"incomplete entry", request(t, "POST", url, "Action=AssumeRole&RoleArn=arn:aws:iam::1:role/abc&RoleSessionName=ab&"+
			"Tags.member.1.Value=a"), 400,
			failed("Sender", "ValidationError", "1 validation error detected: Value null at &#39;tags.1.member.key&#39; failed to satisfy "+
				"constraint: Member must not be null")},
		{"denied", request(t, "POST", url, "Action=AssumeRole&RoleArn=arn:aws:iam::1:role/abc&RoleSessionName=ab"), 403,
			failed("Sender", "AccessDenied", "alice may do nothing")},
		{"bad form", request(t, "POST", url, "Action=%zz"), 400, failed("Sender", "MalformedQueryString", `The parameters cannot be read: invalid URL escape &#34;%zz&#34;.`)},
		{"large", request(t, "POST", url, strings.Repeat("a", 5000)), 413, failed("Sender", "RequestEntityTooLarge", "The body of a request can have 4096 bytes at most.")},
	}
	for _, c := range cases {
		status, body := answer(t, c.req)
		if diff := cmp.Diff(c.want, body); status != c.status || diff != "" {
			t.Errorf("%s: answer = %d, want %d; body (-want +got):\n%s", c.what, status, c.status, diff)
		}
	}
	if status, body := answer(t, wrong); status != 403 || !strings.Contains(body, "<Code>SignatureDoesNotMatch</Code>") {
		t.Errorf("wrong signature: answer = %d %s", status, body)
	}
}

func TestServe_UnimplementedIsInvalidAction(t *testing.T) {
	t.Parallel()
	r := query.New(query.Options{Service: stsapi.Service, Credentials: users{}, Authorizer: everybody{}, Log: slog.New(slog.DiscardHandler)})
	r.Unimplemented(stsapi.Operations()...)
	s := httptest.NewServer(r)
	defer s.Close()
	status, body := answer(t, request(t, "POST", s.URL, "Action=GetSessionToken"))
	if want := failed("Sender", "InvalidAction", "Lockfast does not implement GetSessionToken."); status != 400 || body != want {
		t.Errorf("answer = %d %s", status, body)
	}
}

type everybody struct{}

func (everybody) Authorize(context.Context, caller.Caller, []query.Access) error { return nil }

func TestServe_HidesOtherErrors(t *testing.T) {
	t.Parallel()
	for what, fail := range map[string]func() error{
		"error": func() error { return errors.New("disk: secret path") },
		"panic": func() error { panic("sts: secret path") },
	} {
		url, log := serve(t, func(r *query.Router) {
			query.Handle(r, stsapi.GetCallerIdentity,
				func(context.Context, *stsapi.GetCallerIdentityInput) (*stsapi.GetCallerIdentityOutput, error) {
					return nil, fail()
				}, query.Anybody)
		})
		status, body := answer(t, request(t, "POST", url, "Action=GetCallerIdentity"))
		if want := failed("Receiver", "InternalFailure", "The request failed inside the server. Its request id is ID."); status != 500 || body != want {
			t.Errorf("%s: answer = %d %s", what, status, body)
		}
		if !strings.Contains(log.String(), "secret path") {
			t.Errorf("%s: log = %s", what, log)
		}
	}
}

func assume(got *stsapi.AssumeRoleInput) func(r *query.Router) {
	return func(r *query.Router) {
		query.Handle(r, stsapi.AssumeRole, func(_ context.Context, in *stsapi.AssumeRoleInput) (*stsapi.AssumeRoleOutput, error) {
			*got = *in
			return &stsapi.AssumeRoleOutput{Credentials: &stsapi.Credentials{
				AccessKeyId: "ASIAEXAMPLE", SecretAccessKey: "<&>", SessionToken: "t", Expiration: time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC),
			}, PackedPolicySize: new(0)}, nil
		}, query.Anybody)
	}
}

func TestServe_ReadsListsAndWritesStructures(t *testing.T) {
	t.Parallel()
	var got stsapi.AssumeRoleInput
	url, _ := serve(t, assume(&got))
	want := stsapi.AssumeRoleInput{
		RoleArn: "arn:aws:iam::1:role/abc", RoleSessionName: "ab", DurationSeconds: new(900), Policy: new("a b+c"),
		Tags: []stsapi.Tag{{Key: "k1"}, {Key: "k2", Value: "v2"}}, TransitiveTagKeys: []string{"k1"}, PolicyArns: []stsapi.PolicyDescriptorType{},
	}
	status, body := answer(t, request(t, "POST", url, "Action=AssumeRole&RoleArn=arn:aws:iam::1:role/abc&RoleSessionName=ab&DurationSeconds=900&Policy=a+b%2Bc"+
		"&Tags.member.1.Key=k1&Tags.member.1.Value=&Tags.member.2.Value=v2&Tags.member.2.Key=k2&Tags.member.4.Key=lost&TransitiveTagKeys.member.1=k1&Unknown.member.1=x&PolicyArns="))
	if diff := cmp.Diff(want, got); status != 200 || diff != "" {
		t.Errorf("answer = %d %s\n%s", status, body, diff)
	}
	wantBody := `<AssumeRoleResponse ` + namespace + `><AssumeRoleResult><Credentials><AccessKeyId>ASIAEXAMPLE</AccessKeyId><Expiration>2026-01-02T03:04:05.006Z</Expiration>` +
		`<SecretAccessKey>&lt;&amp;&gt;</SecretAccessKey><SessionToken>t</SessionToken></Credentials><PackedPolicySize>0</PackedPolicySize></AssumeRoleResult>` +
		`<ResponseMetadata><RequestId>ID</RequestId></ResponseMetadata></AssumeRoleResponse>`
	if diff := cmp.Diff(wantBody, body); diff != "" {
		t.Error(diff)
	}
}

func FuzzForm(f *testing.F) {
	r := query.New(query.Options{Service: stsapi.Service, Credentials: users{}, Authorizer: everybody{}, Log: slog.New(slog.DiscardHandler), MaxBody: 1 << 20})
	assume(new(stsapi.AssumeRoleInput))(r)
	f.Add("Action=AssumeRole&RoleArn=arn:aws:iam::1:role/abc&RoleSessionName=ab&Tags.member.1.Key=k")
	f.Add("Action=AssumeRole&Tags.member.1=&Tags.member.1.Key.member.1=x&Tags.entry.1.key=a&DurationSeconds=1e9")
	f.Add("Action=%&;&=")
	f.Fuzz(func(t *testing.T, form string) {
		req := httptest.NewRequest("POST", "/", strings.NewReader(form))
		sigv4.Sign(req, []byte(form), sigv4.Keys{AccessKeyID: "AKIAALICE", Secret: "secret"}, "us-east-1", "sts", time.Now())
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		if w.Code >= 500 || xml.Unmarshal(w.Body.Bytes(), new(struct{})) != nil {
			t.Errorf("form %q was answered by %d %s", form, w.Code, w.Body)
		}
	})
}
