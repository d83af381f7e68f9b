package trail_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/sigv4"
)

// essence is a record without what differs from run to run; it must be there.
func essence(t *testing.T, e lockfastapi.TrailEvent) map[string]any {
	t.Helper()
	r := decode(t, e.TrailRecord)
	for _, name := range []string{"eventID", "eventTime", "requestID", "sourceIPAddress", "userAgent"} {
		if s, ok := r[name].(string); !ok || s == "" {
			t.Errorf("record has %s = %v", name, r[name])
		}
		delete(r, name)
	}
	return r
}

func TestRecord_OfAChange(t *testing.T) {
	t.Parallel()
	each(t, func(f *fixture) {
		f.create("AKIAALICE", "aa")
		found := f.list("AKIAALICE", lockfastapi.ListTrailEventsInput{})
		if len(found) != 1 {
			f.Fatalf("%d calls are listed, want 1", len(found))
		}
		want := map[string]any{
			"eventVersion": "1.11", "eventSource": "backup.amazonaws.com", "eventName": "CreateBackupVault",
			"awsRegion": "eu-north-1", "eventType": "AwsApiCall", "managementEvent": true, "eventCategory": "Management",
			"readOnly": false, "recipientAccountId": account,
			"userIdentity": map[string]any{"type": "IAMUser", "principalId": "AIDAALICE", "userName": "alice",
				"arn": "arn:aws:iam::111111111111:user/alice", "accountId": account, "accessKeyId": "AKIAALICE"},
			"requestParameters": map[string]any{"backupVaultName": "aa", "backupVaultTags": "(redacted)",
				"creatorRequestId": "id"},
			"responseElements": map[string]any{"backupVaultName": "aa", "backupVaultArn": vaultA},
			"resources": []any{map[string]any{"ARN": vaultA, "accountId": account,
				"type": "AWS::Backup::BackupVault"}},
		}
		if diff := cmp.Diff(want, essence(f.T, found[0])); diff != "" {
			f.Error(diff)
		}
		e := found[0]
		if *e.UserName != "alice" || *e.AccessKeyId != "AKIAALICE" || e.ReadOnly || e.ErrorCode != nil || e.ResourceArns[0] != vaultA ||
			time.Since(e.EventTime) > time.Minute || *e.SourceIpAddress != "127.0.0.1" {
			f.Errorf("listed as %+v", e)
		}
	})
}

func TestRecord_OfARoleSession(t *testing.T) {
	t.Parallel()
	f := hooked(t, nil)
	f.describe("ASIAROBOT", "aa")
	found := f.list("AKIAALICE", lockfastapi.ListTrailEventsInput{UserName: new("night")})
	if len(found) != 1 {
		t.Fatalf("%d calls are listed, want 1", len(found))
	}
	got := essence(t, found[0])
	want := map[string]any{
		"type": "AssumedRole", "principalId": "AROAOPERATOR:night", "accountId": account, "accessKeyId": "ASIAROBOT",
		"arn": "arn:aws:sts::111111111111:assumed-role/Operator/night",
		"sessionContext": map[string]any{
			"sessionIssuer": map[string]any{"type": "Role", "principalId": "AROAOPERATOR", "userName": "Operator", "accountId": account,
				"arn": "arn:aws:iam::111111111111:role/Operator"},
			"attributes": map[string]any{"creationDate": "2026-03-01T12:00:00Z", "mfaAuthenticated": "false"},
		},
	}
	if diff := cmp.Diff(want, got["userIdentity"]); diff != "" {
		t.Error(diff)
	}
	if elements, ok := got["responseElements"]; !ok || elements != nil || got["readOnly"] != true {
		t.Errorf("a read has responseElements %v and readOnly %v", elements, got["readOnly"])
	}
}

func TestRecord_OfAFailure(t *testing.T) {
	t.Parallel()
	f := hooked(t, nil)
	for _, test := range []struct{ do, name, code, message string }{
		{"create", "taken", "AlreadyExistsException", "Backup vault taken exists."},
		{"create", "forbidden", "AccessDeniedException", "not allowed"},
		{"describe", "panic", "InternalFailure", ""},
	} {
		got := f.create
		if test.do == "describe" {
			got = f.describe
		}
		if name := got("AKIAALICE", test.name); name != test.code {
			t.Errorf("%s %s = %s, want %s", test.do, test.name, name, test.code)
		}
		found := f.list("AKIAALICE", lockfastapi.ListTrailEventsInput{ErrorsOnly: new(true), MaxResults: new(1)})
		if len(found) == 0 {
			t.Fatalf("%s: not listed", test.name)
		}
		r := essence(t, found[0])
		if r["errorCode"] != test.code || test.message != "" && r["errorMessage"] != test.message || r["responseElements"] != nil {
			t.Errorf("%s is recorded as %v", test.name, r)
		}
		if in := r["requestParameters"].(map[string]any); in["backupVaultName"] != test.name {
			t.Errorf("%s has the parameters %v", test.name, in)
		}
	}
}

func TestRecord_KeepsSecretsOut(t *testing.T) {
	t.Parallel()
	f := hooked(t, nil)
	form := url.Values{"Action": {"AssumeRole"}, "RoleArn": {"arn:aws:iam::111111111111:role/Operator"}, "RoleSessionName": {"night"}}.Encode()
	if status := f.send(f.request("POST", f.sts.URL+"/", form, "sts", "AKIAALICE", "secret")); status != http.StatusOK {
		t.Fatalf("AssumeRole = %d", status)
	}
	f.create("AKIAALICE", "aa")
	found := f.list("AKIAALICE", lockfastapi.ListTrailEventsInput{})
	if len(found) != 2 || found[1].EventSource != "sts.amazonaws.com" {
		t.Fatalf("listed are %v, want a call of sts and another one", found)
	}
	for _, e := range found {
		if strings.Contains(e.TrailRecord, "hunter") {
			t.Errorf("a secret is in %s", e.TrailRecord)
		}
	}
	if !strings.Contains(found[1].TrailRecord, `"accessKeyId":"ASIANEW"`) {
		t.Errorf("the new access key is not in %s", found[1].TrailRecord)
	}
}

func (f *fixture) request(method, target, body, service, key, secret string) *http.Request {
	f.Helper()
	req, err := http.NewRequestWithContext(f.Context(), method, target, strings.NewReader(body))
	if err != nil {
		f.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if key != "" {
		sigv4.Sign(req, []byte(body), sigv4.Keys{AccessKeyID: key, Secret: secret}, "eu-north-1", service, time.Now())
	}
	return req
}

func (f *fixture) send(req *http.Request) int {
	f.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		f.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

func TestRecord_OfWhatIsNoCall(t *testing.T) {
	t.Parallel()
	f := hooked(t, nil)
	for _, test := range []struct {
		name, path, key, secret, code string
		want                          map[string]any
	}{
		{"unsigned", "/backup-vaults/a", "", "", "MissingAuthenticationTokenException", map[string]any{
			"eventName": "DescribeBackupVault", "userIdentity": map[string]any{"type": "Unknown"}, "requestParameters": nil}},
		{"wrong secret", "/backup-vaults/a", "AKIAALICE", "guess", "InvalidSignatureException", map[string]any{
			"eventName": "DescribeBackupVault", "userIdentity": map[string]any{"type": "Unknown", "accessKeyId": "AKIAALICE"},
			"requestParameters": nil, "awsRegion": "eu-north-1"}},
		{"unknown path", "/nothing/here?secret=hunter2", "AKIAALICE", "secret", "UnknownOperationException", map[string]any{
			"eventName": "UnknownOperation", "additionalEventData": map[string]any{"method": "GET", "path": "/nothing/here"}}},
	} {
		f.send(f.request("GET", f.backup.URL+test.path, "", "backup", test.key, test.secret))
		found := f.list("AKIAALICE", lockfastapi.ListTrailEventsInput{ErrorsOnly: new(true), MaxResults: new(1)})
		if len(found) == 0 {
			t.Fatalf("%s: not listed", test.name)
		}
		got := decode(t, found[0].TrailRecord)
		if got["errorCode"] != test.code {
			t.Errorf("%s: errorCode is %v, want %s", test.name, got["errorCode"], test.code)
		}
		for name, want := range test.want {
			if diff := cmp.Diff(want, got[name]); diff != "" {
				t.Errorf("%s: %s: %s", test.name, name, diff)
			}
		}
	}
}

func TestRecord_AFloodOfUnknownCallersIsBounded(t *testing.T) {
	t.Parallel()
	f := hooked(t, nil)
	now := time.Now()
	f.now.Store(&now)
	const requests = 150
	for range requests {
		f.send(f.request("GET", f.backup.URL+"/backup-vaults/a", "", "backup", "", ""))
	}
	if got := f.metric("lockfast_trail_suppressed_total", ""); got != requests-100 {
		t.Errorf("%d requests were suppressed, want %d", got, requests-100)
	}
	later := now.Add(time.Second)
	f.now.Store(&later)
	f.send(f.request("GET", f.backup.URL+"/backup-vaults/last", "", "backup", "", ""))
	found := f.list("AKIAALICE", lockfastapi.ListTrailEventsInput{})
	if len(found) != 101 {
		t.Fatalf("%d requests were kept, want 101", len(found))
	}
	want := map[string]any{"suppressedEvents": float64(requests - 100)}
	if diff := cmp.Diff(want, decode(t, found[0].TrailRecord)["additionalEventData"]); diff != "" {
		t.Error(diff)
	}
}
