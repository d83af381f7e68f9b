package kms

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/keys"
	"github.com/lockfast/lockfast/internal/kmsapi"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
)

// Unusable is the error for a key that may not be used.
type Unusable struct {
	ARN   string
	State string // Disabled, PendingDeletion; empty for one that is destroyed
}

func (e *Unusable) Error() string {
	switch e.State {
	case "":
		return "KMS key " + e.ARN + " was deleted: what it encrypted cannot be read any more"
	case disabled:
		return "KMS key " + e.ARN + " is disabled"
	}
	return "KMS key " + e.ARN + " is pending deletion"
}

// Unwrap lets an operation of Lockfast that needs the data of a vault answer with it.
func (e *Unusable) Unwrap() error { return lockfastapi.InvalidRequestExceptionf("%s", e.Error()) }

// Destroyed reports whether the key is gone for ever.
func (e *Unusable) Destroyed() bool { return e.State == "" }

func unusable(k key, name string, ok bool) error {
	switch {
	case !ok:
		return &Unusable{ARN: name}
	case k.state != enabled:
		return &Unusable{ARN: name, State: k.state}
	}
	return nil
}

// CheckUsableTx is nil if a key may be used now, and else an [*Unusable].
func (s *Service) CheckUsableTx(ctx context.Context, tx *meta.Tx, keyARN string) error {
	k, ok, err := byARN(ctx, tx, keyARN, "")
	if err != nil {
		return err
	}
	return unusable(k, keyARN, ok)
}

// WrapperTx opens the version of a key that encrypts; the error for one that may not be used is an [*Unusable].
func (s *Service) WrapperTx(ctx context.Context, tx *meta.Tx, keyARN string) (*keys.Key, error) {
	k, ok, err := byARN(ctx, tx, keyARN, "")
	if err == nil {
		err = unusable(k, keyARN, ok)
	}
	if err != nil {
		return nil, err
	}
	return s.open(ctx, tx, k, k.version)
}

// VaultKeyTx finds the key for a new vault of an account: the one that is named or, without a name, the account's
// aws/backup, which is made on first need. The key stays as it is until the transaction ends. The error for a key that
// cannot be had is an [*Unusable]. own reports whether it is a key that the account's users manage.
func (s *Service) VaultKeyTx(ctx context.Context, tx *meta.Tx, account, region, named string) (keyARN string, own bool, err error) {
	if named == "" {
		k, err := s.defaultKey(ctx, tx, account, region)
		return k.arn(), false, err
	}
	k, ok, err := byARN(ctx, tx, named, tx.ForUpdate())
	if err == nil {
		err = unusable(k, named, ok && k.account == account)
	}
	return named, k.manager == kmsapi.KeyManagerTypeCustomer, err
}

// defaultKey returns the key of vaults for which none is named, and makes it if there is none.
func (s *Service) defaultKey(ctx context.Context, tx *meta.Tx, account, region string) (key, error) {
	c := caller.Caller{Account: account, Region: region}
	k, err := find(caller.With(ctx, c), tx, defaultAlias, "")
	if _, missing := errors.AsType[*kmsapi.NotFoundException](err); !missing {
		return k, err
	}
	k = key{id: uuid.NewString(), account: account, region: region, manager: kmsapi.KeyManagerTypeAws, state: enabled,
		description: "Default key that protects my Backup data when no other key is defined", policy: managedPolicy(account, region),
		policyIDs: "{}", created: s.now(), version: 1, rotationDays: defaultPeriod, rotateAt: s.nextRotation(defaultPeriod)}
	if err := s.insert(ctx, tx, k); err != nil {
		return key{}, err
	}
	made, err := putAlias(ctx, tx, k, defaultAlias, s)
	if err != nil || made {
		return k, err
	}
	if err := remove(ctx, tx, k); err != nil { // another transaction was faster
		return key{}, err
	}
	return find(caller.With(ctx, c), tx, defaultAlias, "")
}

// remove removes a key with all that belongs to it.
func remove(ctx context.Context, tx *meta.Tx, k key) error {
	for _, statement := range []string{
		"DELETE FROM kms_key_version WHERE key_id = ?",
		"DELETE FROM kms_alias WHERE key_id = ?",
		"DELETE FROM kms_tag WHERE key_id = ?",
		"DELETE FROM kms_key WHERE id = ?",
	} {
		if _, err := tx.Exec(ctx, statement, k.id); err != nil {
			return fmt.Errorf("remove KMS key %s: %w", k.arn(), err)
		}
	}
	return nil
}

// ListKeyUse lists the keys of the account in the region with what hangs on them.
func (s *Service) ListKeyUse(ctx context.Context, in *lockfastapi.ListKeyUseInput) (*lockfastapi.ListKeyUseOutput, error) {
	page, err := restjson.OpenPage(ctx, s.o.Pager, lockfastapi.ListKeyUse, in)
	if err != nil {
		return nil, err
	}
	c := caller.From(ctx)
	out := &lockfastapi.ListKeyUseOutput{Keys: []lockfastapi.KeyUse{}}
	err = s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		found, err := selectKeys(ctx, tx, " WHERE account = ? AND region = ? AND id > ? ORDER BY id LIMIT ?",
			c.Account, c.Region, after(page), page.Limit+1)
		if err != nil {
			return err
		}
		found, _, out.NextToken = cut(page, found, func(k key) string { return k.id })
		for _, k := range found {
			m := k.metadata()
			u := lockfastapi.KeyUse{KeyArn: m.Arn, State: new(string(*m.KeyState)), Manager: new(string(k.manager)),
				Description: m.Description, CreationDate: &k.created, Version: new(int(k.version)), DeletionDate: m.DeletionDate}
			names, err := aliases(ctx, tx, "key_id = ? ORDER BY name", k.id)
			if err != nil {
				return err
			}
			for _, a := range names {
				u.Aliases = append(u.Aliases, *a.AliasName)
			}
			out.Keys = append(out.Keys, u)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range out.Keys {
		if out.Keys[i].Vaults, err = s.o.Vaults.VaultsOfKey(ctx, *out.Keys[i].KeyArn); err != nil {
			return nil, err
		}
	}
	return out, nil
}
