package server_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/backup"

	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/sigv4"
)

// TestTrail_HasCallsOfAllServices calls one operation of each service, and one with a wrong secret.
func TestTrail_HasCallsOfAllServices(t *testing.T) {
	t.Parallel()
	f := start(t, options(t, t.TempDir()))
	f.vault("home")
	if _, err := f.sdk.DescribeBackupVault(t.Context(), &backup.DescribeBackupVaultInput{BackupVaultName: aws.String("none")}); err == nil {
		t.Error("a vault that does not exist is described")
	}
	own(f, lockfastapi.ListResources, &lockfastapi.ListResourcesInput{})
	for _, secret := range []string{f.own.Secret, "wrong"} {
		body := "Action=GetCallerIdentity&Version=2011-06-15"
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.own.URL, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		sigv4.Sign(req, []byte(body), sigv4.Keys{AccessKeyID: f.own.AccessKeyID, Secret: secret}, "us-east-1", "sts", time.Now())
		resp, err := f.own.HTTP.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	var got []string
	for _, e := range own(f, lockfastapi.ListTrailEvents, &lockfastapi.ListTrailEventsInput{}).TrailEvents {
		var r struct {
			UserIdentity struct{ Type, AccessKeyID string }
		}
		if err := json.Unmarshal([]byte(e.TrailRecord), &r); err != nil {
			t.Fatal(err)
		}
		if r.UserIdentity.AccessKeyID != f.own.AccessKeyID {
			t.Errorf("%s has the access key %q", e.EventName, r.UserIdentity.AccessKeyID)
		}
		got = append(got, strings.Join([]string{e.EventSource, e.EventName, r.UserIdentity.Type, aws.ToString(e.ErrorCode)}, " "))
	}
	want := []string{
		"sts.amazonaws.com GetCallerIdentity Unknown SignatureDoesNotMatch",
		"sts.amazonaws.com GetCallerIdentity IAMUser ",
		"lockfast ListResources IAMUser ",
		"backup.amazonaws.com DescribeBackupVault IAMUser ResourceNotFoundException",
		"backup.amazonaws.com CreateBackupVault IAMUser ",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the trail has %q, want %q", got, want)
	}
}
