package vault

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/lockfast/lockfast/arn"
	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
)

// ErrKey is wrapped by errors of [Keys] for a key that a vault cannot have.
var ErrKey = errors.New("key cannot be used")

// Keys knows the keys that wrap the keys of vaults.
type Keys interface {
	// VaultKeyTx returns the ARN of the key for a new vault: the one that is named or, without a name, the account's
	// default, and whether users manage it. It stays usable until the transaction ends.
	VaultKeyTx(ctx context.Context, tx *meta.Tx, account, region, named string) (keyARN string, customer bool, err error)
}

// Key says by which KMS key the key of a vault is wrapped. A vault from a time when there was none has the zero Key: the
// root key wraps its key.
type Key struct {
	KeyARN      string
	CustomerKey bool // users manage it
}

// kind is what lists say about the key.
func (k Key) kind() *backupapi.EncryptionKeyType {
	if k.CustomerKey {
		return new(backupapi.EncryptionKeyTypeCustomerManagedKmsKey)
	}
	return new(backupapi.EncryptionKeyTypeAwsOwnedKmsKey)
}

// checkKeyARN refuses what does not name a key of the account in the region.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_CreateBackupVault.html.
func checkKeyARN(c caller.Caller, name string) error {
	a, err := arn.Parse(name)
	if err != nil {
		return backupapi.InvalidParameterValueExceptionf("EncryptionKeyArn: %v", err)
	}
	switch {
	case a.Service != "kms" || !strings.HasPrefix(a.Resource, "key/") || a.Partition != "aws":
		return backupapi.InvalidParameterValueExceptionf("EncryptionKeyArn must be the ARN of a KMS key, not of an alias or of anything else: %s", name)
	case a.Account != c.Account:
		return backupapi.InvalidParameterValueExceptionf("EncryptionKeyArn must name a key of account %s: %s", c.Account, name)
	case a.Region != c.Region:
		return backupapi.InvalidParameterValueExceptionf("EncryptionKeyArn must name a key of Region %s: %s", c.Region, name)
	}
	return nil
}

// giveKey chooses the key of a new vault.
func (s *Service) giveKey(ctx context.Context, tx *meta.Tx, v *Vault, named string) (err error) {
	if s.keys == nil {
		return nil
	}
	v.KeyARN, v.CustomerKey, err = s.keys.VaultKeyTx(ctx, tx, v.Account, v.Region, named)
	if errors.Is(err, ErrKey) {
		return backupapi.InvalidParameterValueExceptionf("EncryptionKeyArn: %v", err)
	}
	return err
}

// keyUse asks for what the caller must be allowed to do with the key of a new vault. The key of a vault for which none is
// named may be used by whoever may make vaults.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/create-a-vault.html.
func keyUse(c caller.Caller, name *string) (asked []caller.Access) {
	if name == nil || checkKeyARN(c, *name) != nil {
		return nil
	}
	for _, action := range []string{"kms:CreateGrant", "kms:DescribeKey", "kms:RetireGrant", "kms:Decrypt", "kms:GenerateDataKey"} {
		asked = append(asked, caller.Access{Action: action, Resource: *name, Keys: map[string][]string{
			"kms:calleraccount": {c.Account},
			"kms:viaservice":    {"backup." + c.Region + ".amazonaws.com"},
		}})
	}
	return asked
}

// VaultsOfKey returns the vaults whose keys a KMS key wraps, ordered by name.
func (s *Service) VaultsOfKey(ctx context.Context, keyARN string) (all []Vault, err error) {
	err = s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		all, err = selectVaults(ctx, tx, " WHERE key_arn = ? ORDER BY name, uuid", keyARN)
		return err
	})
	return all, err
}

// All returns every vault, ordered by UUID.
func (s *Service) All(ctx context.Context) (all []Vault, err error) {
	err = s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		all, err = selectVaults(ctx, tx, " ORDER BY uuid")
		return err
	})
	return all, err
}

// KeyOfTx returns the key of a vault. It is zero for a vault that is gone.
func (s *Service) KeyOfTx(ctx context.Context, tx *meta.Tx, vaultUUID string) (Key, error) {
	v, err := byUUID(ctx, tx, vaultUUID, "")
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	if err != nil {
		return Key{}, fmt.Errorf("key of vault %s: %w", vaultUUID, err)
	}
	return v.Key, nil
}
