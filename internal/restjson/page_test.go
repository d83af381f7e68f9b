package restjson_test

import (
	"context"
	"encoding/base64"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/restjson"
)

func as(account, region string) context.Context {
	return caller.With(context.Background(), caller.Caller{Account: account, Region: region})
}

func open(ctx context.Context, p *restjson.Pager, in *backupapi.ListBackupJobsInput) (*restjson.Page, error) {
	return restjson.OpenPage(ctx, p, backupapi.ListBackupJobs, in)
}

func TestOpenPage(t *testing.T) {
	t.Parallel()
	p := restjson.NewPager([]byte("key"))
	ctx := as("1", "r")
	filter := new(backupapi.BackupJobStateRunning)
	first, err := open(ctx, p, &backupapi.ListBackupJobsInput{ByState: filter})
	if err != nil || first.After != nil || first.Limit != 1000 {
		t.Fatalf("first page = %+v, %v", first, err)
	}
	token := first.Next("2024", "id \x00é")
	second, err := open(ctx, p, &backupapi.ListBackupJobsInput{ByState: new(backupapi.BackupJobStateRunning), MaxResults: new(5), NextToken: token})
	if err != nil || second.Limit != 5 {
		t.Fatalf("second page = %+v, %v", second, err)
	}
	if diff := cmp.Diff([]string{"2024", "id \x00é"}, second.After); diff != "" {
		t.Error(diff)
	}
	bare := &backupapi.ListBackupJobsInput{ByState: filter, NextToken: token}
	other := *bare
	other.ByState = nil
	changed := *bare
	raw := []byte(*token)
	raw[len(raw)-1] ^= 1
	changed.NextToken = new(string(raw))
	for what, open := range map[string]func() (*restjson.Page, error){
		"another account": func() (*restjson.Page, error) { return open(as("2", "r"), p, bare) },
		"another region":  func() (*restjson.Page, error) { return open(as("1", "s"), p, bare) },
		"another filter":  func() (*restjson.Page, error) { return open(ctx, p, &other) },
		"another key":     func() (*restjson.Page, error) { return open(ctx, restjson.NewPager([]byte("KEY")), bare) },
		"a changed token": func() (*restjson.Page, error) { return open(ctx, p, &changed) },
		"another operation": func() (*restjson.Page, error) {
			return restjson.OpenPage(ctx, p, backupapi.ListCopyJobs, &backupapi.ListCopyJobsInput{NextToken: token})
		},
	} {
		if page, err := open(); err == nil {
			t.Errorf("a token was accepted for %s: %+v", what, page)
		}
	}
}

func TestFingerprint_LeavesOutTheToken(t *testing.T) {
	t.Parallel()
	in := backupapi.StartBackupJobInput{BackupVaultName: "v", IdempotencyToken: new("a"), RecoveryPointTags: map[string]string{"a": "b", "c": "d"}}
	again := in
	again.IdempotencyToken = new("b")
	other := in
	other.BackupVaultName = "w"
	print := func(in *backupapi.StartBackupJobInput) string {
		return restjson.Fingerprint(backupapi.StartBackupJob, in)
	}
	if print(&in) != print(&again) || print(&in) == print(&other) {
		t.Errorf("fingerprints = %s, %s, %s, want two equal ones and another", print(&in), print(&again), print(&other))
	}
}

func FuzzOpenPage(f *testing.F) {
	p := restjson.NewPager([]byte("key"))
	first, err := open(as("1", "r"), p, &backupapi.ListBackupJobsInput{})
	if err != nil {
		f.Fatal(err)
	}
	good := *first.Next("2024", "id")
	f.Add(good)
	f.Add(good[:2] + "\r" + good[2:])
	f.Add("")
	f.Add("!")
	f.Add(base64.RawURLEncoding.EncodeToString(make([]byte, 40)))
	f.Fuzz(func(t *testing.T, token string) {
		page, err := open(as("1", "r"), p, &backupapi.ListBackupJobsInput{NextToken: &token})
		if err == nil && token != "" && token != good {
			t.Errorf("OpenPage accepted %q as %v", token, page.After)
		}
	})
}
