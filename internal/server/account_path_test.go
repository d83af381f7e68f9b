package server_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/server"
	"github.com/lockfast/lockfast/internal/wire"
)

// TestAccounts_UseTheirPathsOnly lets the administrator of a second account name paths of the host.
func TestAccounts_UseTheirPathsOnly(t *testing.T) {
	t.Parallel()
	const tenant = "111111111111"
	root := t.TempDir()
	for _, dir := range []string{"tenant/home", "tenant-2", "secret"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"tenant/out": "secret", "in": "tenant/home"} {
		if err := os.Symlink(filepath.Join(root, to), filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	o := options(t, t.TempDir())
	o.Config.Accounts = []server.Account{{ID: tenant, Paths: []string{filepath.Join(root, "tenant")}}}
	f := start(t, o)
	made := own(f, lockfastapi.CreateAccount, &lockfastapi.CreateAccountInput{AccountId: tenant})
	theirs := *f.own
	theirs.AccessKeyID, theirs.Secret = made.AccessKeyId, made.SecretAccessKey
	for path, allowed := range map[string]bool{
		"tenant": true, "tenant/home": true, "in": true, "tenant-2": false, "secret": false, "tenant/out": false, "tenant/../secret": false,
		"absent": false, "": false,
	} {
		path = root + "/" + path
		_, err := restjson.Call(t.Context(), &theirs, lockfastapi.RegisterResource, &lockfastapi.RegisterResourceInput{Path: &path, Type: "EFS"})
		if e, ok := errors.AsType[*wire.Error](err); allowed && err != nil || !allowed && (!ok || e.Name != "AccessDeniedException") {
			t.Errorf("RegisterResource of %s = %v, allowed %t", path, err, allowed)
		}
		into := filepath.Join(path, "restored", "here")
		_, err = restjson.Call(t.Context(), &theirs, lockfastapi.RestoreToDirectory, &lockfastapi.RestoreToDirectoryInput{
			RecoveryPointArn: "arn:aws:backup:us-east-1:" + tenant + ":recovery-point:absent", Directory: into})
		e, ok := errors.AsType[*wire.Error](err)
		if want := map[bool]string{true: "ResourceNotFoundException", false: "AccessDeniedException"}[allowed]; !ok || e.Name != want {
			t.Errorf("RestoreToDirectory to %s = %v, want %s", into, err, want)
		}
	}
	f.directory(map[string]string{"file": "1"}) // the first account may use any
}
