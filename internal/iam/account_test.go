package iam_test

import (
	"bytes"
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/iam"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/repo"
)

func TestEnsureAccount_MakesOneKeyAndKeepsIt(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, db *meta.DB) {
		k := rootKey(t)
		s := iam.New(iam.Options{DB: db, Keys: k})
		admin, err := s.EnsureAccount(t.Context(), account)
		if err != nil || !admin.Created {
			t.Fatalf("EnsureAccount = %v, %v", admin.Created, err)
		}
		if !regexp.MustCompile(`^AKIA[A-Z2-7]{16}$`).MatchString(admin.AccessKeyID) || len(admin.Secret) != 40 {
			t.Errorf("id %q, secret of %d characters", admin.AccessKeyID, len(admin.Secret))
		}
		again, err := iam.New(iam.Options{DB: db, Keys: k}).EnsureAccount(t.Context(), account)
		if want := (iam.Administrator{AccessKeyID: admin.AccessKeyID, Secret: admin.Secret}); err != nil || again != want {
			t.Errorf("second start: %+v, %v, want the same key", again, err)
		}
		got, c, err := s.Lookup(t.Context(), admin.AccessKeyID, "")
		if err != nil || got != admin.Secret {
			t.Fatalf("Lookup(%s): %v", admin.AccessKeyID, err)
		}
		want := caller.Caller{Account: account, ARN: "arn:aws:iam::000000000000:user/administrator", UserID: c.UserID,
			AccessKeyID: admin.AccessKeyID, Kind: caller.User, Name: "administrator"}
		if diff := cmp.Diff(want, c); diff != "" || !regexp.MustCompile(`^AIDA[A-Z2-7]{17}$`).MatchString(c.UserID) {
			t.Errorf("caller (-want +got):\n%s", diff)
		}
		if err := s.Authorize(t.Context(), c, caller.OnAll("backup:ListBackupVaults")); err != nil {
			t.Error(err)
		}
		if err := s.RoleUsable(t.Context(), account, iam.DefaultRole(account)); err != nil {
			t.Error(err)
		}
	})
}

func TestEnsureAccount_ManyProcessesAtOnce(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, db *meta.DB) {
		k := rootKey(t)
		ids := make([]string, 8)
		var g errgroup.Group
		for i := range ids {
			g.Go(func() error {
				admin, err := iam.New(iam.Options{DB: db, Keys: k}).EnsureAccount(t.Context(), account)
				ids[i] = admin.AccessKeyID
				return err
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		for _, id := range ids {
			if id == "" || id != ids[0] {
				t.Errorf("ids = %q, want all equal", ids)
			}
		}
	})
}

func TestEnsureAccount_SecretIsNotReadableWithoutTheRootKey(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, db *meta.DB) {
		admin, err := iam.New(iam.Options{DB: db, Keys: rootKey(t)}).EnsureAccount(t.Context(), account)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := iam.New(iam.Options{DB: db, Keys: rootKey(t)}).EnsureAccount(t.Context(), account); !errors.Is(err, repo.ErrWrongKey) {
			t.Errorf("EnsureAccount with another root key = %v, want %v", err, repo.ErrWrongKey)
		}
		var stored []byte
		err = db.View(t.Context(), func(ctx context.Context, tx *meta.Tx) error {
			return tx.QueryRow(ctx, "SELECT secret FROM iam_access_key WHERE id = ?", admin.AccessKeyID).Scan(&stored)
		})
		if err != nil || bytes.Contains(stored, []byte(admin.Secret)) {
			t.Errorf("stored secret is readable: %v", err)
		}
	})
}

func TestEnsureAccount_BadAccount(t *testing.T) {
	t.Parallel()
	s := iam.New(iam.Options{DB: metatest.Open(t, meta.Options{URL: metatest.SQLite(t)}, iam.Migrations()), Keys: rootKey(t)})
	for _, a := range []string{"", "123", "12345678901a", "1234567890123"} {
		if _, err := s.EnsureAccount(t.Context(), a); err == nil {
			t.Errorf("EnsureAccount(%q) succeeded", a)
		}
	}
}

func TestEnsureAccount_CompletesAnOlderOneOnce(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, db *meta.DB) {
		w := newWorld(t, db)
		w.exec("INSERT INTO iam_account (id, created_at) VALUES (?, 1)", account)
		w.exec("INSERT INTO iam_user (account, name, user_id, created_at, administrator) VALUES (?, 'administrator', 'AIDAOLD', 1, TRUE)",
			account)
		admin := caller.Caller{Account: account, ARN: "arn:aws:iam::000000000000:user/administrator", UserID: "AIDAOLD", Kind: caller.User}
		if _, err := w.EnsureAccount(t.Context(), account); err != nil {
			t.Fatal(err)
		}
		w.allows(admin, "backup:ListBackupVaults", "*")
		if err := w.RoleUsable(t.Context(), account, iam.DefaultRole(account)); err != nil {
			t.Error(err)
		}
		w.exec("DELETE FROM iam_attachment WHERE kind = 'user'")
		w.exec("DELETE FROM iam_role")
		got, err := w.EnsureAccount(t.Context(), account)
		if err != nil || got != (iam.Administrator{}) {
			t.Errorf("EnsureAccount = %+v, %v, want no key", got, err)
		}
		w.Forget()
		w.denies(admin, "backup:ListBackupVaults", "*", "because no identity-based policy allows the backup:ListBackupVaults action")
		if err := w.RoleUsable(t.Context(), account, iam.DefaultRole(account)); !errors.Is(err, iam.ErrRole) {
			t.Errorf("RoleUsable of the deleted default role = %v", err)
		}
	})
}

func TestRestoreAdministrator(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, db *meta.DB) {
		w := newWorld(t, db)
		first, err := w.EnsureAccount(t.Context(), account)
		if err != nil {
			t.Fatal(err)
		}
		for _, lose := range []string{"DELETE FROM iam_access_key", "DELETE FROM iam_user"} {
			w.exec("DELETE FROM iam_access_key")
			w.exec(lose)
			if lost, err := w.EnsureAccount(t.Context(), account); err != nil || lost.AccessKeyID != "" {
				t.Errorf("EnsureAccount without a key = %+v, %v", lost, err)
			}
			again, err := w.RestoreAdministrator(t.Context(), account)
			if err != nil || again.AccessKeyID == first.AccessKeyID {
				t.Fatalf("RestoreAdministrator = %v, %v", again.AccessKeyID, err)
			}
			_, c, err := w.Lookup(t.Context(), again.AccessKeyID, "")
			if err != nil {
				t.Fatal(err)
			}
			w.allows(c, "backup:ListBackupVaults", "*")
		}
	})
}

// The name of an administrator who was deleted may belong to somebody else by now.
func TestRestoreAdministrator_WhoseNameIsTaken(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, db *meta.DB) {
		w := newWorld(t, db)
		if _, err := w.EnsureAccount(t.Context(), account); err != nil {
			t.Fatal(err)
		}
		w.exec("DELETE FROM iam_access_key")
		w.exec("DELETE FROM iam_attachment")
		w.exec("UPDATE iam_user SET administrator = FALSE, name = 'Administrator'")
		again, err := w.RestoreAdministrator(t.Context(), account)
		if err != nil {
			t.Fatal(err)
		}
		_, c, err := w.Lookup(t.Context(), again.AccessKeyID, "")
		if err != nil || !strings.HasPrefix(c.Name, "administrator-") {
			t.Fatalf("the new key is that of %q, %v", c.Name, err)
		}
		w.allows(c, "backup:ListBackupVaults", "*")
	})
}

func TestCreateAccount(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, db *meta.DB) {
		s := iam.New(iam.Options{DB: db, Keys: rootKey(t), Account: account, Pager: restjson.NewPager([]byte("key"))})
		if _, err := s.EnsureAccount(t.Context(), account); err != nil {
			t.Fatal(err)
		}
		out, err := s.CreateAccount(t.Context(), &lockfastapi.CreateAccountInput{AccountId: other})
		if err != nil {
			t.Fatal(err)
		}
		secret, c, err := s.Lookup(t.Context(), out.AccessKeyId, "")
		if err != nil || secret != out.SecretAccessKey || c.ARN != out.AdministratorArn || c.Account != other {
			t.Errorf("Lookup = %+v, %v", c, err)
		}
		if err := s.RoleUsable(t.Context(), other, iam.DefaultRole(other)); err != nil {
			t.Error(err)
		}
		_, err = s.CreateAccount(t.Context(), &lockfastapi.CreateAccountInput{AccountId: other})
		if _, ok := errors.AsType[*lockfastapi.AlreadyExistsException](err); !ok {
			t.Errorf("CreateAccount again = %v", err)
		}
		list, err := s.ListAccounts(t.Context(), &lockfastapi.ListAccountsInput{MaxResults: new(1)})
		if err != nil || len(list.Accounts) != 1 || list.Accounts[0].AccountId != account || list.NextToken == nil {
			t.Fatalf("ListAccounts = %+v, %v", list, err)
		}
		list, err = s.ListAccounts(t.Context(), &lockfastapi.ListAccountsInput{MaxResults: new(1), NextToken: list.NextToken})
		if err != nil || len(list.Accounts) != 1 || list.Accounts[0].AccountId != other || list.NextToken != nil {
			t.Fatalf("second page = %+v, %v", list, err)
		}
	})
}
