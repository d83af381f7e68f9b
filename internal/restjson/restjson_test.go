package restjson_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/sigv4"
	"github.com/lockfast/lockfast/internal/wire"
)

// bench is a server with one user, alice, who may do everything but the actions in denied.
type bench struct {
	*httptest.Server
	router *restjson.Router
	client *restjson.Client
	denied map[string]error

	mu       sync.Mutex
	asked    []restjson.Access
	outcomes []restjson.Outcome
	log      bytes.Buffer // written under mu
}

func (b *bench) Lookup(_ context.Context, id, _ string) (string, caller.Caller, error) {
	if id != "AKIAALICE" {
		return "", caller.Caller{}, sigv4.ErrUnknownKey
	}
	return "secret", caller.Caller{Account: "000000000000", ARN: "arn:aws:iam::000000000000:user/alice", UserID: "AIDA", AccessKeyID: id}, nil
}

func (b *bench) Authorize(_ context.Context, _ caller.Caller, asked []restjson.Access) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = asked
	for _, a := range asked {
		if err := b.denied[a.Action]; err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.Write(p)
}

func (b *bench) logged() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.String()
}

func newBench(t *testing.T, service *wire.Service, register func(r *restjson.Router)) *bench {
	t.Helper()
	b := &bench{denied: map[string]error{}}
	b.router = restjson.New(restjson.Options{
		Service: service, Credentials: b, Authorizer: b, Log: slog.New(slog.NewTextHandler(b, nil)), MaxBody: 4096,
		Observe: func(_ context.Context, o restjson.Outcome) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.outcomes = append(b.outcomes, o)
		},
	})
	register(b.router)
	b.Server = httptest.NewServer(b.router)
	t.Cleanup(b.Close)
	b.client = &restjson.Client{URL: b.URL, Region: "eu-north-1", AccessKeyID: "AKIAALICE", Secret: "secret"}
	return b
}

// send sends a signed request and returns the answer with its body.
func (b *bench) send(t *testing.T, method, target, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, b.URL+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	sigv4.Sign(req, []byte(body), sigv4.Keys{AccessKeyID: "AKIAALICE", Secret: "secret"}, "eu-north-1", b.router.Service.Name, time.Now())
	return b.do(t, req)
}

func (b *bench) do(t *testing.T, req *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := b.Server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

func anything[In any](action string) func(caller.Caller, *In) []restjson.Access {
	return func(caller.Caller, *In) []restjson.Access { return []restjson.Access{{Action: action, Resource: "*"}} }
}

// deletes registers DeleteRecoveryPoint with a given answer.
func deletes(answer func(ctx context.Context, in *backupapi.DeleteRecoveryPointInput) error) func(r *restjson.Router) {
	return func(r *restjson.Router) {
		restjson.Handle(r, backupapi.DeleteRecoveryPoint,
			func(ctx context.Context, in *backupapi.DeleteRecoveryPointInput) (*backupapi.DeleteRecoveryPointOutput, error) {
				return nil, answer(ctx, in)
			},
			func(c caller.Caller, in *backupapi.DeleteRecoveryPointInput) []restjson.Access {
				return []restjson.Access{{Action: "backup:DeleteRecoveryPoint", Resource: in.RecoveryPointArn}}
			})
		r.Unimplemented(backupapi.Operations()...)
	}
}

const target = "/backup-vaults/v1/recovery-points/arn%3Aaws%3Aec2%3Aus-east-1%3A%3Asnapshot%2Fsnap-0123"

func TestServe_DeletesARecoveryPointWhoseARNHasASlash(t *testing.T) {
	t.Parallel()
	var got backupapi.DeleteRecoveryPointInput
	var from caller.Caller
	var id string
	b := newBench(t, backupapi.Service, deletes(func(ctx context.Context, in *backupapi.DeleteRecoveryPointInput) error {
		got, from, id = *in, caller.From(ctx), caller.RequestID(ctx)
		return nil
	}))
	resp, body := b.send(t, "DELETE", target, "")
	if resp.StatusCode != 200 || body != "" {
		t.Errorf("answer = %d %q, want 200 and nothing", resp.StatusCode, body)
	}
	want := backupapi.DeleteRecoveryPointInput{BackupVaultName: "v1", RecoveryPointArn: "arn:aws:ec2:us-east-1::snapshot/snap-0123"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	wantCaller := caller.Caller{
		Account: "000000000000", Region: "eu-north-1", ARN: "arn:aws:iam::000000000000:user/alice", UserID: "AIDA", AccessKeyID: "AKIAALICE",
	}
	if diff := cmp.Diff(wantCaller, from); diff != "" {
		t.Error(diff)
	}
	if header := resp.Header.Get("x-amzn-RequestId"); header == "" || header != id {
		t.Errorf("request id = %q in the header, %q inside", header, id)
	}
	if date, err := http.ParseTime(resp.Header.Get("Date")); err != nil || time.Since(date).Abs() > time.Minute {
		t.Errorf("Date = %q", resp.Header.Get("Date"))
	}
	if diff := cmp.Diff([]restjson.Access{{Action: "backup:DeleteRecoveryPoint", Resource: want.RecoveryPointArn}}, b.asked); diff != "" {
		t.Error(diff)
	}
}

func TestServe_Errors(t *testing.T) {
	t.Parallel()
	modelled := backupapi.InvalidRequestExceptionf("Backup vault cannot be deleted because it contains %s.", "recovery points")
	modelled.Code = "ERROR_9101"
	cases := []struct {
		what   string
		err    error
		status int
		name   string
		body   string
		logged string
	}{
		{"modelled", modelled, 400, "InvalidRequestException", `{"Code":"ERROR_9101","Message":"Backup vault cannot be deleted because it contains recovery points."}`, ""},
		{"wrapped", fmt.Errorf("delete: %w", backupapi.ResourceNotFoundExceptionf("no")), 400, "ResourceNotFoundException", `{"Message":"no"}`, ""},
		{"fault", backupapi.ServiceUnavailableExceptionf("later"), 500, "ServiceUnavailableException", `{"Message":"later"}`, "later"},
		{"all members", &backupapi.AlreadyExistsException{Arn: "a", Code: "b", Context: "c", CreatorRequestId: "d", Message: "é\"\n\x00\xff", Type: "f"}, 400,
			"AlreadyExistsException", `{"Arn":"a","Code":"b","Context":"c","CreatorRequestId":"d","Message":"é\"\n\u0000\ufffd","Type":"f"}`, ""},
		{"by name", wire.Errorf(400, "ThrottlingException", "Rate exceeded"), 400, "ThrottlingException", `{"Message":"Rate exceeded"}`, ""},
		{"denied later", &wire.Denied{Message: "no"}, 403, "AccessDeniedException", `{"Message":"no"}`, ""},
		{"bad page token", &wire.Invalid{Text: "bad"}, 400, "InvalidParameterValueException", `{"Message":"bad"}`, ""},
		{"any other", errors.New("disk: secret path"), 500, "InternalFailure", `{"Message":"The request failed inside the server. Its request id is ID."}`, "secret path"},
		{"deadline", fmt.Errorf("query: %w", context.DeadlineExceeded), 500, "ServiceUnavailableException",
			`{"Message":"The request took too long. Try again."}`, "query: context deadline exceeded"},
	}
	for _, c := range cases {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, backupapi.Service, deletes(func(context.Context, *backupapi.DeleteRecoveryPointInput) error { return c.err }))
			resp, body := b.send(t, "DELETE", target, "")
			wantAnswer(t, resp, body, c.status, c.name, c.body)
			if !strings.Contains(b.logged(), c.logged) || c.logged == "" && b.logged() != "" {
				t.Errorf("log = %q, want %q", b.logged(), c.logged)
			}
			if o := b.outcomes[0]; o.Operation != "DeleteRecoveryPoint" || o.Status != c.status || o.Error != c.name {
				t.Errorf("outcome = %+v", o)
			}
		})
	}
}

func wantAnswer(t *testing.T, resp *http.Response, body string, status int, name, want string) {
	t.Helper()
	id := resp.Header.Get("x-amzn-RequestId")
	if !regexp.MustCompile(`^[0-9a-f-]{36}$`).MatchString(id) {
		t.Errorf("x-amzn-RequestId = %q", id)
	}
	if got := resp.Header.Get("x-amzn-ErrorType"); resp.StatusCode != status || got != name {
		t.Errorf("answer = %d %s, want %d %s", resp.StatusCode, got, status, name)
	}
	if got := resp.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type = %q", got)
	}
	if got := strings.ReplaceAll(body, id, "ID"); got != want {
		t.Errorf("body = %s\nwant   %s", got, want)
	}
}

func TestServe_Refuses(t *testing.T) {
	t.Parallel()
	b := newBench(t, backupapi.Service, deletes(func(context.Context, *backupapi.DeleteRecoveryPointInput) error { return nil }))
	cases := []struct {
		method, target, body string
		status               int
		name, text           string
	}{
		{"GET", "/nothing/here?x=y", "", 404, "UnknownOperationException", `{"Message":"no operation at GET /nothing/here"}`},
		{"OPTIONS", "/backup-vaults", "", 404, "UnknownOperationException", `{"Message":"no operation at OPTIONS /backup-vaults"}`},
		{"DELETE", "/backup-vaults/x!!/recovery-points/a", "", 400, "InvalidParameterValueException",
			`{"Message":"Value 'x!!' at 'BackupVaultName' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-zA-Z0-9\\-\\_]{2,50}$"}`},
		{"DELETE", "/backup-vaults/vault/recovery-points/", "", 400, "MissingParameterValueException", `{"Message":"Missing required parameter: RecoveryPointArn"}`},
		{"GET", "/backup-jobs?maxResults=1001", "", 400, "InvalidParameterValueException",
			`{"Message":"Value '1001' at 'MaxResults' failed to satisfy constraint: Member must have value less than or equal to 1000"}`},
		{"GET", "/backup-jobs?maxResults=x", "", 400, "InvalidParameterValueException",
			`{"Message":"Value 'x' at 'MaxResults' failed to satisfy constraint: Member must be an integer"}`},
		{"GET", "/backup-jobs?createdAfter=x", "", 400, "InvalidParameterValueException",
			`{"Message":"Value 'x' at 'ByCreatedAfter' failed to satisfy constraint: Member must be a timestamp"}`},
		{"PUT", "/backup-jobs", `{"BackupVaultName":"vault","IamRoleArn":"a","ResourceArn":5}`, 400, "SerializationException",
			`{"Message":"ResourceArn: expected a string, found a number"}`},
		{"PUT", "/backup-jobs", `[]`, 400, "SerializationException", `{"Message":"body is not a JSON object but an array"}`},
		{"PUT", "/backup-jobs", `{"a"`, 400, "SerializationException", `{"Message":"body is not JSON: unexpected end"}`},
		{"PUT", "/backup-jobs", "", 400, "MissingParameterValueException", `{"Message":"Missing required parameter: BackupVaultName"}`},
		{"PUT", "/backup-jobs", strings.Repeat(" ", 4097), 413, "RequestEntityTooLargeException", `{"Message":"The body of a request can have 4096 bytes at most."}`},
		{"DELETE", "/backup/plans/p", "", 400, "UnknownOperationException", `{"Message":"Lockfast does not implement DeleteBackupPlan."}`},
	}
	for _, c := range cases {
		resp, body := b.send(t, c.method, c.target, c.body)
		wantAnswer(t, resp, body, c.status, c.name, c.text)
	}
	resp, body := b.send(t, "HEAD", "/backup-vaults", "")
	if resp.StatusCode != 404 || body != "" {
		t.Errorf("HEAD = %d %q", resp.StatusCode, body)
	}
}

func TestServe_ChecksTheSignatureBeforeAnythingElse(t *testing.T) {
	t.Parallel()
	b := newBench(t, backupapi.Service, deletes(func(context.Context, *backupapi.DeleteRecoveryPointInput) error { return nil }))
	for _, path := range []string{"/nothing", "/backup-vaults", target, "/lockfast/v1/resources"} {
		req, _ := http.NewRequest("GET", b.URL+path, nil)
		resp, body := b.do(t, req)
		wantAnswer(t, resp, body, 403, "MissingAuthenticationTokenException", `{"Message":"Missing Authentication Token"}`)
	}
	b.client.Secret = "wrong"
	_, err := restjson.Call(t.Context(), b.client, backupapi.DeleteRecoveryPoint, &backupapi.DeleteRecoveryPointInput{BackupVaultName: "vault", RecoveryPointArn: "a"})
	if e, ok := errors.AsType[*wire.Error](err); !ok || e.Name != "InvalidSignatureException" || e.Status != 403 || e.RequestID == "" {
		t.Errorf("Call with a wrong secret = %v", err)
	}
}

func TestServe_AuthorisesBeforeTheOperation(t *testing.T) {
	t.Parallel()
	b := newBench(t, backupapi.Service, deletes(func(context.Context, *backupapi.DeleteRecoveryPointInput) error {
		t.Error("operation was carried out")
		return nil
	}))
	b.denied["backup:DeleteRecoveryPoint"] = &wire.Denied{Message: "User: x is not authorized"}
	b.denied["backup:DeleteBackupPlan"] = &wire.Denied{Message: "no plans"}
	b.denied["backup:ListBackupPlans"] = errors.New("policy store is gone")
	b.denied["backup:ListFrameworks"] = fmt.Errorf("read policies: %w", meta.ErrUnavailable)
	b.denied["backup:ListReportPlans"] = fmt.Errorf("read policies: %w", blob.ErrUnavailable)
	resp, body := b.send(t, "DELETE", target, "")
	wantAnswer(t, resp, body, 403, "AccessDeniedException", `{"Message":"User: x is not authorized"}`)
	resp, body = b.send(t, "DELETE", "/backup/plans/p", "")
	wantAnswer(t, resp, body, 403, "AccessDeniedException", `{"Message":"no plans"}`)
	resp, body = b.send(t, "GET", "/backup/plans", "")
	wantAnswer(t, resp, body, 500, "InternalFailure", `{"Message":"The request failed inside the server. Its request id is ID."}`)
	for _, path := range []string{"/audit/frameworks", "/audit/report-plans"} {
		resp, body = b.send(t, "GET", path, "")
		wantAnswer(t, resp, body, 500, "ServiceUnavailableException",
			`{"Message":"The request could not be served because the server cannot reach its database or store. Try again later."}`)
	}
}

func TestServe_SurvivesAPanic(t *testing.T) {
	t.Parallel()
	b := newBench(t, backupapi.Service, deletes(func(context.Context, *backupapi.DeleteRecoveryPointInput) error { panic("vault: impossible") }))
	resp, body := b.send(t, "DELETE", target, "")
	wantAnswer(t, resp, body, 500, "InternalFailure", `{"Message":"The request failed inside the server. Its request id is ID."}`)
	if log := b.logged(); !strings.Contains(log, "vault: impossible") || !strings.Contains(log, resp.Header.Get("x-amzn-RequestId")) {
		t.Errorf("log = %s", log)
	}
}

func TestHandle_AsksForSomePermission(t *testing.T) {
	t.Parallel()
	b := newBench(t, backupapi.Service, func(r *restjson.Router) {
		restjson.Handle(r, backupapi.ListBackupVaults,
			func(context.Context, *backupapi.ListBackupVaultsInput) (*backupapi.ListBackupVaultsOutput, error) {
				return nil, nil
			},
			func(caller.Caller, *backupapi.ListBackupVaultsInput) []restjson.Access { return nil })
	})
	if resp, _ := b.send(t, "GET", "/backup-vaults", ""); resp.StatusCode != 500 {
		t.Errorf("an operation without permissions answered %d", resp.StatusCode)
	}
}

func TestServe_WritesOutputs(t *testing.T) {
	t.Parallel()
	created := time.UnixMilli(1568928754747)
	out := &backupapi.ListBackupVaultsOutput{}
	b := newBench(t, backupapi.Service, func(r *restjson.Router) {
		restjson.Handle(r, backupapi.ListBackupVaults,
			func(context.Context, *backupapi.ListBackupVaultsInput) (*backupapi.ListBackupVaultsOutput, error) {
				return out, nil
			},
			anything[backupapi.ListBackupVaultsInput]("backup:ListBackupVaults"))
	})
	if _, body := b.send(t, "GET", "/backup-vaults/", ""); body != `{"BackupVaultList":[]}` {
		t.Errorf("an empty list is %s", body)
	}
	out.BackupVaultList = []backupapi.BackupVaultListMember{
		{BackupVaultName: new("v"), CreationDate: &created, Locked: new(false), NumberOfRecoveryPoints: new(int64(0)), VaultType: new(backupapi.VaultTypeBackupVault)},
		{CreationDate: new(created.Truncate(time.Second))},
	}
	want := `{"BackupVaultList":[{"BackupVaultName":"v","CreationDate":1568928754.747,"Locked":false,"NumberOfRecoveryPoints":0,"VaultType":"BACKUP_VAULT"},{"CreationDate":1568928754}]}`
	if _, body := b.send(t, "GET", "/backup-vaults/", ""); body != want {
		t.Errorf("body = %s\nwant   %s", body, want)
	}
}

func TestServe_StreamsABody(t *testing.T) {
	t.Parallel()
	content := strings.Repeat("0123456789", 100_000)
	var fail error
	b := newBench(t, lockfastapi.Service, func(r *restjson.Router) {
		restjson.Handle(r, lockfastapi.GetItem, func(_ context.Context, in *lockfastapi.GetItemInput) (*lockfastapi.GetItemOutput, error) {
			if in.Path != "a/\xff b+c" {
				t.Errorf("path = %q", in.Path)
			}
			var body io.Reader = strings.NewReader(content)
			if fail != nil {
				body = io.MultiReader(body, errorReader{fail})
			}
			return &lockfastapi.GetItemOutput{Body: io.NopCloser(body), ContentLength: new(int64(len(content)))}, nil
		}, anything[lockfastapi.GetItemInput]("lockfast:GetItem"))
	})
	in := &lockfastapi.GetItemInput{RecoveryPointArn: "arn:x/y", Path: "a/\xff b+c"}
	out, err := restjson.Call(t.Context(), b.client, lockfastapi.GetItem, in)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	if got, err := io.ReadAll(out.Body); err != nil || string(got) != content || *out.ContentLength != int64(len(content)) {
		t.Errorf("read %d bytes of %d, %v", len(got), len(content), err)
	}
	if *out.ContentType != "application/octet-stream" {
		t.Errorf("Content-Type = %s", *out.ContentType)
	}
	fail = errors.New("pack is damaged")
	content = content[:1000]
	if out, err = restjson.Call(t.Context(), b.client, lockfastapi.GetItem, in); err == nil {
		defer out.Body.Close()
		_, err = io.ReadAll(out.Body)
	}
	if err == nil {
		t.Error("a body that broke off was read to its end")
	}
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

func TestRefuse(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(restjson.Refuse(wire.Errorf(404, "UnknownOperationException", "no service")))
	defer s.Close()
	resp, err := http.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	wantAnswer(t, resp, string(body), 404, "UnknownOperationException", `{"Message":"no service"}`)
}

func BenchmarkServe(b *testing.B) {
	x := &bench{denied: map[string]error{}}
	r := restjson.New(restjson.Options{Service: backupapi.Service, Credentials: x, Authorizer: x, Log: slog.New(slog.DiscardHandler)})
	deletes(func(context.Context, *backupapi.DeleteRecoveryPointInput) error { return nil })(r)
	req := httptest.NewRequest("DELETE", target, http.NoBody)
	sigv4.Sign(req, nil, sigv4.Keys{AccessKeyID: "AKIAALICE", Secret: "secret"}, "eu-north-1", "backup", time.Now())
	for b.Loop() {
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		if w.Code != 200 {
			b.Fatal(w.Body)
		}
	}
}
