package server

import (
	"context"
	"errors"
	"fmt"

	"github.com/lockfast/lockfast/internal/kms"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/vault"
	"github.com/lockfast/lockfast/repo"
)

// keyLinks answers the questions between keys, vaults and the store, as [links] does those of the others.
type keyLinks struct{ *links }

// PrincipalIDsTx implements kms.Principals.
func (l keyLinks) PrincipalIDsTx(ctx context.Context, tx *meta.Tx, principals []string) (map[string]string, error) {
	ids, unknown, err := l.iam.ResolvePrincipalsTx(ctx, tx, principals)
	if err == nil && unknown != "" {
		err = fmt.Errorf("%s: %w", unknown, kms.ErrPrincipal)
	}
	return ids, err
}

// VaultKeyTx implements vault.Keys.
func (l keyLinks) VaultKeyTx(ctx context.Context, tx *meta.Tx, account, region, named string) (string, bool, error) {
	keyARN, customer, err := l.nouns.keys.VaultKeyTx(ctx, tx, account, region, named)
	if bad, ok := errors.AsType[*kms.Unusable](err); ok {
		if bad.Destroyed() {
			return "", false, fmt.Errorf("%w: KMS key %s does not exist", vault.ErrKey, named)
		}
		return "", false, fmt.Errorf("%w: %w", vault.ErrKey, bad)
	}
	return keyARN, customer, err
}

// VaultsOfKey implements kms.Vaults.
func (l keyLinks) VaultsOfKey(ctx context.Context, keyARN string) (names []string, err error) {
	all, err := l.nouns.vaults.VaultsOfKey(ctx, keyARN)
	for _, v := range all {
		names = append(names, v.Name)
	}
	return names, err
}

// Shred implements kms.Vaults.
func (l keyLinks) Shred(ctx context.Context, keyARN string) error {
	all, err := l.nouns.vaults.VaultsOfKey(ctx, keyARN)
	if err != nil {
		return err
	}
	for _, v := range all {
		if err := l.store.Shred(ctx, v.UUID); err != nil {
			return err
		}
	}
	return nil
}

// HungVaults implements kms.Vaults.
func (l keyLinks) HungVaults(ctx context.Context) (list []kms.HungVault, err error) {
	all, err := l.nouns.vaults.All(ctx)
	for _, v := range all {
		list = append(list, kms.HungVault{UUID: v.UUID, Account: v.Account, KeyARN: v.KeyARN})
	}
	return list, err
}

// Rewrap implements kms.Vaults. What is written has to be opened by the root key without the one that it replaces.
func (l keyLinks) Rewrap(ctx context.Context, vaultUUID string, to repo.Renewer, still func(context.Context) (bool, error)) (bool, error) {
	return l.store.Rewrap(ctx, vaultUUID, repo.RewrapOptions{Open: l.root, To: to, Proof: l.root.Alone(), Still: still})
}

// KeyRotated implements kms.Vaults.
func (l keyLinks) KeyRotated() { l.rotated.Store(true) }

// KeyChanged implements kms.Vaults. What cannot be done now is done by the background within a minute.
func (l keyLinks) KeyChanged(ctx context.Context) {
	_ = l.store.DropUnusable(context.WithoutCancel(ctx))
}

// CheckVaultKey implements run.VaultKeys.
func (l keyLinks) CheckVaultKey(ctx context.Context, vaultUUID string) error {
	return l.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		k, err := l.nouns.vaults.KeyOfTx(ctx, tx, vaultUUID)
		if err != nil || k.KeyARN == "" {
			return err
		}
		return l.nouns.keys.CheckUsableTx(ctx, tx, k.KeyARN)
	})
}

// VaultWrapper implements run.VaultKeys.
func (l keyLinks) VaultWrapper(ctx context.Context, vaultUUID string) (w repo.KeyWrapper, err error) {
	err = l.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		w = nil
		k, err := l.nouns.vaults.KeyOfTx(ctx, tx, vaultUUID)
		if err != nil || k.KeyARN == "" {
			return err
		}
		opened, err := l.nouns.keys.WrapperTx(ctx, tx, k.KeyARN)
		if err == nil {
			w = opened
		}
		return err
	})
	return w, err
}
