package iam

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/lockfast/lockfast/internal/meta"
)

const (
	defaultRolePath = "/service-role/"
	defaultRoleName = "AWSBackupDefaultServiceRole"

	administratorPolicy = awsPolicyPrefix + "AdministratorAccess"

	// trustsBackup lets AWS Backup assume a role.
	trustsBackup = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"backup.amazonaws.com"},` +
		`"Action":"sts:AssumeRole"}]}`
)

// Administrator is the access key of an account's administrator.
type Administrator struct {
	AccessKeyID, Secret string
	Created             bool // the account is new
}

// EnsureAccount makes sure that an account exists, with an administrator and the
// default role, and returns the administrator's oldest active access key. What
// an account has lost since it was made it does not get back: without a key the
// result is empty; [Service.RestoreAdministrator] makes one.
func (s *Service) EnsureAccount(ctx context.Context, account string) (Administrator, error) {
	if !isAccount(account) {
		return Administrator{}, fmt.Errorf("account %q: want 12 digits", account)
	}
	key, err := s.newAccessKey(ctx)
	if err != nil {
		return Administrator{}, fmt.Errorf("create account %s: %w", account, err)
	}
	var (
		created bool
		id      string
		wrapped []byte
	)
	err = s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) (err error) {
		if created, err = ensureAccountTx(ctx, tx, account, key); err != nil {
			return err
		}
		id, wrapped, err = oldestKey(ctx, tx, account)
		if errors.Is(err, sql.ErrNoRows) {
			id, err = "", nil
		}
		return err
	})
	s.known.expire()
	if s.db.IsDuplicate(err) { // another process was faster
		return s.EnsureAccount(ctx, account)
	}
	if err != nil || id == "" {
		return Administrator{}, err
	}
	secret, err := s.keys.Unwrap(ctx, wrapped, bindTo(id))
	if err != nil {
		return Administrator{}, fmt.Errorf("access key %s: %w", id, err)
	}
	return Administrator{AccessKeyID: id, Secret: string(secret), Created: created}, nil
}

// RestoreAdministrator gives an account's administrator a new access key, and
// makes the administrator again if there is none. It is for whoever holds the
// server's files and has lost every key.
func (s *Service) RestoreAdministrator(ctx context.Context, account string) (Administrator, error) {
	key, err := s.newAccessKey(ctx)
	if err != nil {
		return Administrator{}, fmt.Errorf("restore administrator: %w", err)
	}
	err = s.alter(ctx, func(ctx context.Context, tx *meta.Tx) error {
		var name string
		err := tx.QueryRow(ctx, "SELECT name FROM iam_user WHERE account = ? AND administrator", account).Scan(&name)
		if errors.Is(err, sql.ErrNoRows) {
			return insertAdministrator(ctx, tx, account, key)
		}
		if err != nil {
			return err
		}
		return key.insert(ctx, tx, account, name)
	})
	if err != nil {
		return Administrator{}, fmt.Errorf("restore administrator: %w", err)
	}
	return Administrator{AccessKeyID: key.id, Secret: key.secret}, nil
}

// ensureAccountTx makes an account, or completes one that is older than roles and policies.
func ensureAccountTx(ctx context.Context, tx *meta.Tx, account string, key *newKey) (created bool, err error) {
	var complete bool
	err = tx.QueryRow(ctx, "SELECT complete FROM iam_account WHERE id = ?"+tx.ForUpdate(), account).Scan(&complete)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return true, createAccountTx(ctx, tx, account, key)
	case err != nil || complete:
		return false, err
	}
	var name string
	err = tx.QueryRow(ctx, "SELECT name FROM iam_user WHERE account = ? AND administrator", account).Scan(&name)
	if err == nil {
		err = attach(ctx, tx, account, kindUser, name, administratorPolicy)
	}
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return false, err
	}
	var roles int
	err = tx.QueryRow(ctx, "SELECT COUNT(*) FROM iam_role WHERE account = ? AND lower(name) = lower(?)", account, defaultRoleName).Scan(&roles)
	if err == nil && roles == 0 {
		err = insertDefaultRole(ctx, tx, account)
	}
	if err != nil {
		return false, err
	}
	if err := touchTx(ctx, tx); err != nil {
		return false, err
	}
	_, err = tx.Exec(ctx, "UPDATE iam_account SET complete = TRUE WHERE id = ?", account)
	return false, err
}

func createAccountTx(ctx context.Context, tx *meta.Tx, account string, key *newKey) error {
	_, err := tx.Exec(ctx, "INSERT INTO iam_account (id, created_at, complete) VALUES (?, ?, TRUE)", account, meta.Micros(time.Now()))
	if err != nil {
		return err
	}
	if err := insertAdministrator(ctx, tx, account, key); err != nil {
		return err
	}
	return insertDefaultRole(ctx, tx, account)
}

// insertAdministrator makes an administrator. Its name may have been given to another user after an earlier one was deleted;
// that user gets no rights by it.
func insertAdministrator(ctx context.Context, tx *meta.Tx, account string, key *newKey) error {
	name := administrator
	taken, err := countTx(ctx, tx, "iam_user WHERE account = ? AND lower(name) = ?", account, name)
	if err != nil {
		return err
	}
	if taken > 0 {
		name += "-" + letters(6)
	}
	_, err = tx.Exec(ctx, "INSERT INTO iam_user (account, name, user_id, created_at, administrator) VALUES (?, ?, ?, ?, TRUE)",
		account, name, "AIDA"+letters(17), meta.Micros(time.Now()))
	if err != nil {
		return err
	}
	if err := attach(ctx, tx, account, kindUser, name, administratorPolicy); err != nil {
		return err
	}
	return key.insert(ctx, tx, account, name)
}

func insertDefaultRole(ctx context.Context, tx *meta.Tx, account string) error {
	r := newRole{account: account, name: defaultRoleName, path: defaultRolePath,
		description: "Provides AWS Backup permission to create backups and perform restores on your behalf across AWS services.",
		policies: []string{
			awsPolicyPrefix + "service-role/AWSBackupServiceRolePolicyForBackup",
			awsPolicyPrefix + "service-role/AWSBackupServiceRolePolicyForRestores",
			awsPolicyPrefix + "AWSBackupServiceRolePolicyForS3Backup",
			awsPolicyPrefix + "AWSBackupServiceRolePolicyForS3Restore",
		}}
	return r.insert(ctx, tx, meta.Micros(time.Now()))
}

// newRole is a role that trusts AWS Backup.
type newRole struct {
	account, name, path, description string
	policies                         []string
}

func (r *newRole) insert(ctx context.Context, tx *meta.Tx, now int64) error {
	_, err := tx.Exec(ctx, `INSERT INTO iam_role (account, name, path, role_id, trust, trust_ids, description, max_session, boundary,
		service, used_at, used_region, created_at) VALUES (?, ?, ?, ?, ?, '{}', ?, 3600, '', '', 0, '', ?)`,
		r.account, r.name, r.path, "AROA"+letters(17), trustsBackup, r.description, now)
	if err != nil {
		return err
	}
	for _, p := range r.policies {
		if err := attach(ctx, tx, r.account, kindRole, r.name, p); err != nil {
			return err
		}
	}
	return nil
}

func attach(ctx context.Context, tx *meta.Tx, account, kind, entity, policyARN string) error {
	_, err := tx.Exec(ctx, "INSERT INTO iam_attachment (account, kind, entity, policy_arn) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
		account, kind, entity, policyARN)
	return err
}

// newKey is an access key that is not stored yet.
type newKey struct {
	id, secret string
	wrapped    []byte
}

func (s *Service) newAccessKey(ctx context.Context) (*newKey, error) {
	k := &newKey{id: "AKIA" + letters(16), secret: newSecret()}
	var err error
	k.wrapped, err = s.keys.Wrap(ctx, []byte(k.secret), bindTo(k.id))
	return k, err
}

func (k *newKey) insert(ctx context.Context, tx *meta.Tx, account, user string) error {
	_, err := tx.Exec(ctx, "INSERT INTO iam_access_key (id, account, user_name, secret, active, created_at) VALUES (?, ?, ?, ?, TRUE, ?)",
		k.id, account, user, k.wrapped, meta.Micros(time.Now()))
	return err
}

func oldestKey(ctx context.Context, tx *meta.Tx, account string) (id string, wrapped []byte, err error) {
	err = tx.QueryRow(ctx, `SELECT k.id, k.secret FROM iam_access_key k
		JOIN iam_user u ON u.account = k.account AND u.name = k.user_name
		WHERE k.account = ? AND u.administrator AND k.active ORDER BY k.created_at, k.id LIMIT 1`, account).Scan(&id, &wrapped)
	return id, wrapped, err
}

// Empty reports whether there is no account yet: the database has never been used.
func (s *Service) Empty(ctx context.Context) (empty bool, err error) {
	err = s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		var n int
		err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM iam_account").Scan(&n)
		empty = n == 0
		return err
	})
	return empty, err
}
