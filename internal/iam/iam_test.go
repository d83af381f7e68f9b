package iam_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/iam"
	"github.com/lockfast/lockfast/internal/keys"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/sigv4"
	"github.com/lockfast/lockfast/internal/stsapi"
)

var (
	_ restjson.Credentials        = (*iam.Service)(nil)
	_ restjson.Authorizer         = (*iam.Service)(nil)
	_ sigv4.Lookup[caller.Caller] = (*iam.Service)(nil).Lookup
)

const account = "000000000000"

func run(t *testing.T, test func(t *testing.T, db *meta.DB)) {
	t.Helper()
	metatest.Run(t, func(t *testing.T, open func(*testing.T, ...meta.MigrationSet) *meta.DB) {
		test(t, open(t, iam.Migrations()))
	})
}

func rootKey(t *testing.T) *keys.Root {
	t.Helper()
	k, err := keys.Create(filepath.Join(t.TempDir(), "root.key"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestLookup_Refuses(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, db *meta.DB) {
		k := rootKey(t)
		admin, err := iam.New(iam.Options{DB: db, Keys: k}).EnsureAccount(t.Context(), account)
		if err != nil {
			t.Fatal(err)
		}
		s := iam.New(iam.Options{DB: db, Keys: k})
		if _, _, err := s.Lookup(t.Context(), "AKIANOBODY", ""); !errors.Is(err, sigv4.ErrUnknownKey) {
			t.Errorf("unknown key: %v", err)
		}
		if _, _, err := s.Lookup(t.Context(), admin.AccessKeyID, "token"); !errors.Is(err, sigv4.ErrUnknownKey) {
			t.Errorf("key with a token: %v", err)
		}
		err = db.Update(t.Context(), func(ctx context.Context, tx *meta.Tx) error {
			_, err := tx.Exec(ctx, "UPDATE iam_access_key SET active = FALSE")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		s.Forget()
		if _, _, err := s.Lookup(t.Context(), admin.AccessKeyID, ""); !errors.Is(err, sigv4.ErrInactive) {
			t.Errorf("inactive key: %v", err)
		}
	})
}

func TestGetCallerIdentity(t *testing.T) {
	t.Parallel()
	ctx := caller.With(t.Context(), caller.Caller{Account: account, ARN: "arn", UserID: "AIDA"})
	out, err := iam.New(iam.Options{}).GetCallerIdentity(ctx, &stsapi.GetCallerIdentityInput{})
	if err != nil {
		t.Fatal(err)
	}
	if *out.Account != account || *out.Arn != "arn" || *out.UserId != "AIDA" {
		t.Errorf("GetCallerIdentity = %+v", out)
	}
}
