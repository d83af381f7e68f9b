package kms

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/kmsapi"
	"github.com/lockfast/lockfast/internal/meta"
)

// aliasForm is the form of a name that users may give.
var aliasForm = regexp.MustCompile(`\Aalias/[a-zA-Z0-9/_-]+\z`)

// checkAlias refuses names that cannot be given, changed or removed.
func checkAlias(name string) error {
	switch {
	case !strings.HasPrefix(name, aliasPrefix):
		return validation("Invalid identifier: an alias begins with alias/: %s", name)
	case !aliasForm.MatchString(name):
		return validation("1 validation error detected: Value '%s' at 'aliasName' failed to satisfy constraint: "+
			"Member must satisfy regular expression pattern: ^alias/[a-zA-Z0-9/_-]+$", name)
	case strings.HasPrefix(name, reserved):
		return kmsapi.InvalidAliasNameExceptionf("%s is reserved: names that begin with %s belong to AWS.", name, reserved)
	}
	return nil
}

// CreateAlias gives a key another name.
//
// See https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateAlias.html.
func (s *Service) CreateAlias(ctx context.Context, in *kmsapi.CreateAliasInput) (*kmsapi.CreateAliasOutput, error) {
	if err := checkTarget(in.AliasName, in.TargetKeyId); err != nil {
		return nil, err
	}
	_, err := s.change(ctx, in.TargetKeyId, func(ctx context.Context, tx *meta.Tx, k key) error {
		made, err := putAlias(ctx, tx, k, in.AliasName, s)
		if err == nil && !made {
			err = kmsapi.AlreadyExistsExceptionf("An alias with the name %s already exists", aliasARN(k.account, k.region, in.AliasName))
		}
		return err
	})
	return nil, err
}

func checkTarget(name, target string) error {
	if err := checkAlias(name); err != nil {
		return err
	}
	if byKeyOnly(target) != nil {
		return validation("Aliases must refer to keys, not to aliases: %s", target)
	}
	return nil
}

// putAlias adds an alias; made is false if there is one of that name.
func putAlias(ctx context.Context, tx *meta.Tx, k key, name string, s *Service) (made bool, err error) {
	now := micros(s.now())
	res, err := tx.Exec(ctx, `INSERT INTO kms_alias (account, region, name, key_id, created_at, updated_at)
		VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`, k.account, k.region, name, k.id, now, now)
	if err != nil {
		return false, fmt.Errorf("insert alias: %w", err)
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// UpdateAlias makes an alias the name of another key.
//
// See https://docs.aws.amazon.com/kms/latest/APIReference/API_UpdateAlias.html.
func (s *Service) UpdateAlias(ctx context.Context, in *kmsapi.UpdateAliasInput) (*kmsapi.UpdateAliasOutput, error) {
	if err := checkTarget(in.AliasName, in.TargetKeyId); err != nil {
		return nil, err
	}
	_, err := s.change(ctx, in.TargetKeyId, func(ctx context.Context, tx *meta.Tx, k key) error {
		return oneAlias(ctx, tx, in.AliasName, "UPDATE kms_alias SET key_id = ?, updated_at = ?", k.id, micros(s.now()))
	})
	return nil, err
}

// DeleteAlias takes a name from a key.
//
// See https://docs.aws.amazon.com/kms/latest/APIReference/API_DeleteAlias.html.
func (s *Service) DeleteAlias(ctx context.Context, in *kmsapi.DeleteAliasInput) (*kmsapi.DeleteAliasOutput, error) {
	if err := checkAlias(in.AliasName); err != nil {
		return nil, err
	}
	return nil, s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		return oneAlias(ctx, tx, in.AliasName, "DELETE FROM kms_alias")
	})
}

// oneAlias runs a statement on an alias of the caller that must exist.
func oneAlias(ctx context.Context, tx *meta.Tx, name, statement string, args ...any) error {
	c := caller.From(ctx)
	res, err := tx.Exec(ctx, statement+" WHERE account = ? AND region = ? AND name = ?", append(args, c.Account, c.Region, name)...)
	if err != nil {
		return fmt.Errorf("change alias: %w", err)
	}
	n, err := res.RowsAffected()
	if err == nil && n == 0 {
		err = noAlias(c, name)
	}
	return err
}

// ListAliases lists the aliases of the account in the region, or of one key, by name.
//
// See https://docs.aws.amazon.com/kms/latest/APIReference/API_ListAliases.html.
func (s *Service) ListAliases(ctx context.Context, in *kmsapi.ListAliasesInput) (*kmsapi.ListAliasesOutput, error) {
	page, err := openPage(ctx, s, kmsapi.ListAliases, in)
	if err != nil {
		return nil, err
	}
	c := caller.From(ctx)
	where, args := "account = ? AND region = ? AND name > ?", []any{c.Account, c.Region, after(page)}
	var all []kmsapi.AliasListEntry
	err = s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		if in.KeyId != nil {
			k, err := find(ctx, tx, *in.KeyId, "")
			if err != nil {
				return err
			}
			where, args = where+" AND key_id = ?", append(args, k.id)
		}
		all, err = aliases(ctx, tx, where+" ORDER BY name LIMIT ?", append(args, page.Limit+1)...)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &kmsapi.ListAliasesOutput{Aliases: []kmsapi.AliasListEntry{}}
	all, out.Truncated, out.NextMarker = cut(page, all, func(a kmsapi.AliasListEntry) string { return *a.AliasName })
	out.Aliases = append(out.Aliases, all...)
	return out, nil
}

func aliases(ctx context.Context, tx *meta.Tx, where string, args ...any) ([]kmsapi.AliasListEntry, error) {
	rows, err := tx.Query(ctx, "SELECT account, region, name, key_id, created_at, updated_at FROM kms_alias WHERE "+where, args...)
	if err != nil {
		return nil, fmt.Errorf("list aliases: %w", err)
	}
	defer rows.Close()
	var all []kmsapi.AliasListEntry
	for rows.Next() {
		var account, region, name, id string
		var created, updated int64
		if err := rows.Scan(&account, &region, &name, &id, &created, &updated); err != nil {
			return nil, fmt.Errorf("list aliases: %w", err)
		}
		all = append(all, kmsapi.AliasListEntry{AliasArn: new(aliasARN(account, region, name)), AliasName: &name, TargetKeyId: &id,
			CreationDate: new(at(created)), LastUpdatedDate: new(at(updated))})
	}
	return all, rows.Err()
}
