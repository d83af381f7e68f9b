package iam

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/lockfast/lockfast/internal/iamapi"
	"github.com/lockfast/lockfast/internal/meta"
)

func noKey(id string) error {
	return iamapi.NoSuchEntityExceptionf("The Access Key with id %s cannot be found.", id)
}

func keyStatus(active bool) iamapi.StatusType {
	if active {
		return iamapi.StatusTypeActive
	}
	return iamapi.StatusTypeInactive
}

// CreateAccessKey gives a user an access key. Its secret is answered now and never again.
func (s *Service) CreateAccessKey(ctx context.Context, in *iamapi.CreateAccessKeyInput) (
	*iamapi.CreateAccessKeyOutput, error,
) {
	id, secret := "AKIA"+letters(16), newSecret()
	wrapped, err := s.keys.Wrap(ctx, []byte(secret), bindTo(id))
	if err != nil {
		return nil, err
	}
	out := &iamapi.CreateAccessKeyOutput{}
	return out, s.edit(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		e, err := userTx(ctx, tx, in.UserName)
		if err != nil {
			return err
		}
		n, err := countTx(ctx, tx, "iam_access_key WHERE account = ? AND user_name = ?", account, e.name)
		if err == nil && n >= maxKeys {
			err = quota("AccessKeysPerUser", maxKeys)
		}
		if err != nil {
			return err
		}
		at := now()
		out.AccessKey = iamapi.AccessKey{AccessKeyId: id, SecretAccessKey: secret, Status: iamapi.StatusTypeActive, UserName: e.name,
			CreateDate: new(meta.FromMicros(at))}
		_, err = execTx(ctx, tx, "INSERT INTO iam_access_key (id, account, user_name, secret, active, created_at) VALUES (?, ?, ?, ?, TRUE, ?)",
			id, account, e.name, wrapped, at)
		return err
	})
}

// ListAccessKeys lists the access keys of a user without their secrets.
func (s *Service) ListAccessKeys(ctx context.Context, in *iamapi.ListAccessKeysInput) (
	*iamapi.ListAccessKeysOutput, error,
) {
	page, err := openPage(ctx, s, iamapi.ListAccessKeys, in, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &iamapi.ListAccessKeysOutput{}
	return out, s.view(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		e, err := userTx(ctx, tx, in.UserName)
		if err != nil {
			return err
		}
		all, err := selectTx(ctx, tx, func(rows *sql.Rows) (iamapi.AccessKeyMetadata, error) {
			var (
				id      string
				active  bool
				created int64
			)
			err := rows.Scan(&id, &active, &created)
			return iamapi.AccessKeyMetadata{AccessKeyId: &id, CreateDate: new(meta.FromMicros(created).Truncate(time.Second)),
				Status: new(keyStatus(active)), UserName: &e.name}, err
		}, "SELECT id, active, created_at FROM iam_access_key WHERE account = ? AND user_name = ? AND id > ? ORDER BY id LIMIT ?",
			account, e.name, after(page, 0), page.Limit+1)
		out.AccessKeyMetadata, out.IsTruncated, out.Marker = cut(page, all, func(k iamapi.AccessKeyMetadata) []string { return []string{*k.AccessKeyId} })
		return err
	})
}

// UpdateAccessKey switches an access key on or off, which counts from the next request on.
func (s *Service) UpdateAccessKey(ctx context.Context, in *iamapi.UpdateAccessKeyInput) (
	*iamapi.UpdateAccessKeyOutput, error,
) {
	if in.Status == iamapi.StatusTypeExpired {
		return nil, iamapi.InvalidInputExceptionf("The status of an access key can be set to Active or Inactive.")
	}
	return nil, s.editKey(ctx, in.UserName, in.AccessKeyId, "UPDATE iam_access_key SET active = ? WHERE account = ? AND user_name = ? AND id = ?",
		in.Status == iamapi.StatusTypeActive)
}

// DeleteAccessKey removes an access key.
func (s *Service) DeleteAccessKey(ctx context.Context, in *iamapi.DeleteAccessKeyInput) (
	*iamapi.DeleteAccessKeyOutput, error,
) {
	return nil, s.editKey(ctx, in.UserName, in.AccessKeyId, "DELETE FROM iam_access_key WHERE account = ? AND user_name = ? AND id = ?")
}

// editKey runs a statement that changes one access key of a user.
func (s *Service) editKey(ctx context.Context, user *string, id, statement string, args ...any) error {
	return s.edit(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		e, err := userTx(ctx, tx, user)
		if err != nil {
			return err
		}
		n, err := execTx(ctx, tx, statement, append(args, account, e.name, id)...)
		if err == nil && n == 0 {
			err = noKey(id)
		}
		return err
	})
}

// GetAccessKeyLastUsed answers when, where and for which service an access key was used last.
func (s *Service) GetAccessKeyLastUsed(ctx context.Context, in *iamapi.GetAccessKeyLastUsedInput) (
	*iamapi.GetAccessKeyLastUsedOutput, error,
) {
	out := &iamapi.GetAccessKeyLastUsedOutput{AccessKeyLastUsed: &iamapi.AccessKeyLastUsed{}, UserName: new(string)}
	return out, s.view(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		var used int64
		last := out.AccessKeyLastUsed
		err := tx.QueryRow(ctx, "SELECT user_name, used_at, used_region, used_service FROM iam_access_key WHERE account = ? AND id = ?",
			account, in.AccessKeyId).Scan(out.UserName, &used, &last.Region, &last.ServiceName)
		if used == 0 {
			last.Region, last.ServiceName = "N/A", "N/A"
		} else {
			last.LastUsedDate = new(meta.FromMicros(used).Truncate(time.Second))
		}
		return orNotFound(err, noKey(in.AccessKeyId))
	})
}

// keyOwner is the ARN of the user with an access key, or "*".
func (s *Service) keyOwner(ctx context.Context, id string) (owner string, err error) {
	err = s.view(ctx, func(ctx context.Context, tx *meta.Tx, account string) error {
		var name, path string
		err := tx.QueryRow(ctx, `SELECT u.name, u.path FROM iam_user u JOIN iam_access_key k ON k.account = u.account AND k.user_name = u.name
			WHERE k.account = ? AND k.id = ?`, account, id).Scan(&name, &path)
		owner = userKind.arn(account, path, name)
		if errors.Is(err, sql.ErrNoRows) {
			owner, err = "*", nil
		}
		return err
	})
	return owner, err
}
