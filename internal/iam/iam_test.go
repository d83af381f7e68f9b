package iam_test

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/iam"
	"github.com/lockfast/lockfast/internal/keys"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/sigv4"
	"github.com/lockfast/lockfast/internal/stsapi"
	"github.com/lockfast/lockfast/internal/wire"
	"github.com/lockfast/lockfast/repo"
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

func TestEnsureAdministrator_MakesOneKeyAndKeepsIt(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, db *meta.DB) {
		k := rootKey(t)
		s := iam.New(iam.Options{DB: db, Keys: k})
		id, secret, created, err := s.EnsureAdministrator(t.Context(), account)
		if err != nil || !created {
			t.Fatalf("created = %v, %v", created, err)
		}
		if !regexp.MustCompile(`^AKIA[A-Z2-7]{16}$`).MatchString(id) || len(secret) != 40 {
			t.Errorf("id %q, secret of %d characters", id, len(secret))
		}
		again, same, created, err := iam.New(iam.Options{DB: db, Keys: k}).EnsureAdministrator(t.Context(), account)
		if err != nil || created || again != id || same != secret {
			t.Errorf("second start: %s, created = %v, %v, want %s", again, created, err, id)
		}
		got, c, err := s.Lookup(t.Context(), id, "")
		if err != nil || got != secret {
			t.Fatalf("Lookup(%s): %v", id, err)
		}
		want := caller.Caller{Account: account, ARN: "arn:aws:iam::000000000000:user/administrator", UserID: c.UserID, AccessKeyID: id}
		if diff := cmp.Diff(want, c); diff != "" || !regexp.MustCompile(`^AIDA[A-Z2-7]{17}$`).MatchString(c.UserID) {
			t.Errorf("caller (-want +got):\n%s", diff)
		}
	})
}

func TestEnsureAdministrator_ManyProcessesAtOnce(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, db *meta.DB) {
		k := rootKey(t)
		ids := make([]string, 8)
		var g errgroup.Group
		for i := range ids {
			g.Go(func() (err error) {
				ids[i], _, _, err = iam.New(iam.Options{DB: db, Keys: k}).EnsureAdministrator(t.Context(), account)
				return err
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		for _, id := range ids {
			if id != ids[0] {
				t.Errorf("ids = %q, want all equal", ids)
			}
		}
	})
}

func TestEnsureAdministrator_SecretIsNotReadableWithoutTheRootKey(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, db *meta.DB) {
		id, secret, _, err := iam.New(iam.Options{DB: db, Keys: rootKey(t)}).EnsureAdministrator(t.Context(), account)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := iam.New(iam.Options{DB: db, Keys: rootKey(t)}).EnsureAdministrator(t.Context(), account); !errors.Is(err, repo.ErrWrongKey) {
			t.Errorf("EnsureAdministrator with another root key = %v, want %v", err, repo.ErrWrongKey)
		}
		var stored []byte
		err = db.View(t.Context(), func(ctx context.Context, tx *meta.Tx) error {
			return tx.QueryRow(ctx, "SELECT secret FROM iam_access_key WHERE id = ?", id).Scan(&stored)
		})
		if err != nil || bytes.Contains(stored, []byte(secret)) {
			t.Errorf("stored secret is readable: %v", err)
		}
	})
}

func TestEnsureAdministrator_BadAccount(t *testing.T) {
	t.Parallel()
	s := iam.New(iam.Options{DB: metatest.Open(t, meta.Options{URL: metatest.SQLite(t)}, iam.Migrations()), Keys: rootKey(t)})
	for _, a := range []string{"", "123", "12345678901a", "1234567890123"} {
		if _, _, _, err := s.EnsureAdministrator(t.Context(), a); err == nil {
			t.Errorf("EnsureAdministrator(%q) succeeded", a)
		}
	}
}

func TestLookup_Refuses(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, db *meta.DB) {
		k := rootKey(t)
		id, _, _, err := iam.New(iam.Options{DB: db, Keys: k}).EnsureAdministrator(t.Context(), account)
		if err != nil {
			t.Fatal(err)
		}
		s := iam.New(iam.Options{DB: db, Keys: k})
		if _, _, err := s.Lookup(t.Context(), "AKIANOBODY", ""); !errors.Is(err, sigv4.ErrUnknownKey) {
			t.Errorf("unknown key: %v", err)
		}
		if _, _, err := s.Lookup(t.Context(), id, "token"); !errors.Is(err, sigv4.ErrUnknownKey) {
			t.Errorf("key with a token: %v", err)
		}
		err = db.Update(t.Context(), func(ctx context.Context, tx *meta.Tx) error {
			_, err := tx.Exec(ctx, "UPDATE iam_access_key SET active = FALSE")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Lookup(t.Context(), id, ""); !errors.Is(err, sigv4.ErrInactive) {
			t.Errorf("inactive key: %v", err)
		}
	})
}

func TestAuthorize(t *testing.T) {
	t.Parallel()
	s := iam.New(iam.Options{})
	admin := caller.Caller{Account: account, ARN: "arn:aws:iam::000000000000:user/administrator"}
	other := caller.Caller{Account: account, ARN: "arn:aws:iam::000000000000:user/guest"}
	vault := "arn:aws:backup:us-east-1:000000000000:backup-vault:v"
	foreign := "arn:aws:backup:us-east-1:111111111111:backup-vault:v"
	tests := []struct {
		name      string
		c         caller.Caller
		resources []string
		ok        bool
	}{
		{"administrator", admin, []string{vault, "*", "arn:aws:ec2:us-east-1::snapshot/snap-1", "nonsense"}, true},
		{"other account's vault", admin, []string{vault, foreign}, false},
		{"another user", other, []string{vault}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var asked []caller.Access
			for _, r := range test.resources {
				asked = append(asked, caller.Access{Action: "backup:DeleteBackupVault", Resource: r})
			}
			err := s.Authorize(t.Context(), test.c, asked)
			if _, denied := errors.AsType[*wire.Denied](err); denied == test.ok || (err == nil) != test.ok {
				t.Errorf("Authorize = %v, want ok = %v", err, test.ok)
			}
		})
	}
	if s.Authorize(t.Context(), caller.Caller{}, []caller.Access{{Action: "a", Resource: "*"}}) == nil {
		t.Error("nobody was authorised")
	}
}

func TestRoleUsable_DefaultRoleOfTheAccountOnly(t *testing.T) {
	t.Parallel()
	s := iam.New(iam.Options{})
	if err := s.RoleUsable(t.Context(), account, "arn:aws:iam::000000000000:role/service-role/AWSBackupDefaultServiceRole"); err != nil {
		t.Error(err)
	}
	for _, r := range []string{"", "arn:aws:iam::000000000000:role/x", iam.DefaultRole("111111111111")} {
		err := s.RoleUsable(t.Context(), account, r)
		if !errors.Is(err, iam.ErrRole) || err.Error() != "IAM Role "+r+" cannot be assumed by AWS Backup" {
			t.Errorf("RoleUsable(%q) = %v", r, err)
		}
	}
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
