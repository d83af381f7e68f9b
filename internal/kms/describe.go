package kms

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/kmsapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/wire"
)

// CreateKey makes a key for symmetric encryption, the only kind there is here.
//
// See https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateKey.html.
func (s *Service) CreateKey(ctx context.Context, in *kmsapi.CreateKeyInput) (*kmsapi.CreateKeyOutput, error) {
	if err := checkKind(in); err != nil {
		return nil, err
	}
	c := caller.From(ctx)
	k := key{id: uuid.NewString(), account: c.Account, region: c.Region, manager: kmsapi.KeyManagerTypeCustomer, state: enabled,
		description: deref(in.Description), policy: defaultPolicy(c.Account), created: s.now(), version: 1}
	if in.Policy != nil {
		k.policy = *in.Policy
	}
	err := s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		var err error
		if k.policyIDs, err = s.checkPolicy(ctx, tx, k, k.policy, deref(in.BypassPolicyLockoutSafetyCheck)); err != nil {
			return err
		}
		if err := s.insert(ctx, tx, k); err != nil {
			return err
		}
		return putTags(ctx, tx, k, in.Tags)
	})
	if err != nil {
		return nil, err
	}
	return &kmsapi.CreateKeyOutput{KeyMetadata: k.metadata()}, nil
}

func checkKind(in *kmsapi.CreateKeyInput) error {
	unlike := func(name, value, want string) error {
		if value == "" || value == want {
			return nil
		}
		return kmsapi.UnsupportedOperationExceptionf("%s %s is not supported: keys are %s.", name, value, want)
	}
	err := errors.Join(
		unlike("KeySpec", string(deref(in.KeySpec)), string(kmsapi.KeySpecSymmetricDefault)),
		unlike("CustomerMasterKeySpec", string(deref(in.CustomerMasterKeySpec)), string(kmsapi.KeySpecSymmetricDefault)),
		unlike("KeyUsage", string(deref(in.KeyUsage)), string(kmsapi.KeyUsageTypeEncryptDecrypt)),
		unlike("Origin", string(deref(in.Origin)), string(kmsapi.OriginTypeAwsKms)))
	switch {
	case err != nil:
		return err
	case deref(in.MultiRegion):
		return kmsapi.UnsupportedOperationExceptionf("MultiRegion is not supported: a key belongs to one Region.")
	case in.CustomKeyStoreId != nil || in.XksKeyId != nil:
		return kmsapi.UnsupportedOperationExceptionf("Custom key stores are not supported.")
	}
	return nil
}

// insert adds a key with its first version.
func (s *Service) insert(ctx context.Context, tx *meta.Tx, k key) error {
	_, err := tx.Exec(ctx, "INSERT INTO kms_key ("+keyColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		k.id, k.account, k.region, k.manager, k.description, k.state, k.policy, k.policyIDs, micros(k.created), k.version,
		k.rotationDays, micros(k.rotateAt), k.windowDays, micros(k.deleteAt))
	if err != nil {
		return fmt.Errorf("insert KMS key: %w", err)
	}
	return s.addVersion(ctx, tx, k)
}

// metadata is the key as operations show it.
func (k key) metadata() *kmsapi.KeyMetadata {
	m := &kmsapi.KeyMetadata{
		AWSAccountId: &k.account, KeyId: k.id, Arn: new(k.arn()), CreationDate: &k.created, Description: &k.description,
		Enabled: new(k.state == enabled), KeyManager: &k.manager, KeyState: new(kmsapi.KeyState(k.state)),
		KeyUsage: new(kmsapi.KeyUsageTypeEncryptDecrypt), KeySpec: new(kmsapi.KeySpecSymmetricDefault),
		CustomerMasterKeySpec: new(kmsapi.CustomerMasterKeySpecSymmetricDefault), Origin: new(kmsapi.OriginTypeAwsKms),
		EncryptionAlgorithms: []kmsapi.EncryptionAlgorithmSpec{kmsapi.EncryptionAlgorithmSpecSymmetricDefault},
		MultiRegion:          new(false),
	}
	if k.state == destroying {
		m.KeyState = new(kmsapi.KeyStatePendingDeletion)
	}
	if !k.deleteAt.IsZero() {
		m.DeletionDate = &k.deleteAt
	}
	return m
}

// DescribeKey answers the fields of a key. Asked by its alias for the key of vaults for which none was named, it makes
// that key, if there is none yet.
//
// See https://docs.aws.amazon.com/kms/latest/APIReference/API_DescribeKey.html.
func (s *Service) DescribeKey(ctx context.Context, in *kmsapi.DescribeKeyInput) (*kmsapi.DescribeKeyOutput, error) {
	if err := noGrants(in.GrantTokens); err != nil {
		return nil, err
	}
	k, err := s.read(ctx, in.KeyId)
	c := caller.From(ctx)
	_, missing := errors.AsType[*kmsapi.NotFoundException](err)
	if missing && (in.KeyId == defaultAlias || in.KeyId == aliasARN(c.Account, c.Region, defaultAlias)) {
		err = s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
			k, err = s.defaultKey(ctx, tx, c.Account, c.Region)
			return err
		})
	}
	if err != nil {
		return nil, err
	}
	return &kmsapi.DescribeKeyOutput{KeyMetadata: k.metadata()}, nil
}

// ListKeys lists the keys of the account in the region by id.
//
// See https://docs.aws.amazon.com/kms/latest/APIReference/API_ListKeys.html.
func (s *Service) ListKeys(ctx context.Context, in *kmsapi.ListKeysInput) (*kmsapi.ListKeysOutput, error) {
	page, err := openPage(ctx, s, kmsapi.ListKeys, in)
	if err != nil {
		return nil, err
	}
	c := caller.From(ctx)
	var found []key
	err = s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		found, err = selectKeys(ctx, tx, " WHERE account = ? AND region = ? AND id > ? ORDER BY id LIMIT ?",
			c.Account, c.Region, after(page), page.Limit+1)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &kmsapi.ListKeysOutput{Keys: []kmsapi.KeyListEntry{}}
	found, out.Truncated, out.NextMarker = cut(page, found, func(k key) string { return k.id })
	for _, k := range found {
		out.Keys = append(out.Keys, kmsapi.KeyListEntry{KeyArn: new(k.arn()), KeyId: &k.id})
	}
	return out, nil
}

// UpdateKeyDescription replaces the description of a key.
//
// See https://docs.aws.amazon.com/kms/latest/APIReference/API_UpdateKeyDescription.html.
func (s *Service) UpdateKeyDescription(ctx context.Context, in *kmsapi.UpdateKeyDescriptionInput) (*kmsapi.UpdateKeyDescriptionOutput, error) {
	if err := byKeyOnly(in.KeyId); err != nil {
		return nil, err
	}
	_, err := s.change(ctx, in.KeyId, func(ctx context.Context, tx *meta.Tx, k key) error {
		return set(ctx, tx, k, "description = ?", in.Description)
	})
	return nil, err
}

// byKeyOnly refuses aliases, which most operations that change a key do not take.
func byKeyOnly(ref string) error {
	if strings.HasPrefix(ref, aliasPrefix) || strings.Contains(ref, ":"+aliasPrefix) {
		return kmsapi.InvalidArnExceptionf("%s is an alias: the operation needs the id or the ARN of a key.", ref)
	}
	return nil
}

// noGrants refuses tokens of grants, of which there are none.
func noGrants(tokens []string) error {
	if len(tokens) > 0 {
		return kmsapi.InvalidGrantTokenExceptionf("There are no grants.")
	}
	return nil
}

// openPage reads what page of its list the input of an operation asks for.
func openPage[In, Out any](ctx context.Context, s *Service, op wire.Operation[In, Out], in *In) (*restjson.Page, error) {
	page, err := restjson.OpenPage(ctx, s.o.Pager, op, in)
	if bad, ok := errors.AsType[*wire.Invalid](err); ok && bad.Member == op.Pages.Token {
		return nil, kmsapi.InvalidMarkerExceptionf("%s", bad.Text)
	}
	return page, err
}

// after is the sort key of the last item of the page before, or empty.
func after(p *restjson.Page) string {
	if len(p.After) == 0 {
		return ""
	}
	return p.After[0]
}

// cut shortens a list that was read longer than the page, and makes the marker of the page that follows.
func cut[T any](p *restjson.Page, items []T, sortKey func(T) string) (page []T, truncated *bool, marker *string) {
	if len(items) <= p.Limit {
		return items, new(false), nil
	}
	items = items[:p.Limit]
	return items, new(true), p.Next(sortKey(items[p.Limit-1]))
}

// deref is an optional value, zero by default.
func deref[T any](v *T) (zero T) {
	if v == nil {
		return zero
	}
	return *v
}
