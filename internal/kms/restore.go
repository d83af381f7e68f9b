package kms

import (
	"context"
	"errors"
	"fmt"

	"github.com/lockfast/lockfast/internal/keys"
	"github.com/lockfast/lockfast/internal/kmsapi"
	"github.com/lockfast/lockfast/internal/meta"
)

// RestoreTx records a version of a key that was found in a store, where it wraps the key of a vault. Its policy, description,
// tags and aliases are not known there: it gets the default ones. own says that it is a key that users manage. It may be
// repeated, with the same version or others.
func (s *Service) RestoreTx(ctx context.Context, tx *meta.Tx, n keys.KeyName, material []byte, own bool) error {
	if _, err := s.o.Root.OpenKey(ctx, n, material); err != nil {
		return err
	}
	k, there, err := byARN(ctx, tx, n.ARN(), "")
	if err != nil {
		return err
	}
	if !there {
		k = s.restored(n, own)
		_, err := tx.Exec(ctx, "INSERT INTO kms_key ("+keyColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			k.id, k.account, k.region, k.manager, k.description, k.state, k.policy, k.policyIDs, micros(k.created), k.version,
			k.rotationDays, micros(k.rotateAt), k.windowDays, micros(k.deleteAt))
		if err != nil {
			return fmt.Errorf("restore KMS key %s: %w", n.ARN(), err)
		}
	}
	_, err = tx.Exec(ctx, "INSERT INTO kms_key_version (key_id, version, material, created_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
		k.id, n.Version, material, micros(s.now()))
	if err == nil && n.Version > k.version {
		err = set(ctx, tx, k, "version = ?", n.Version)
	}
	if err == nil && !own {
		_, err = putAlias(ctx, tx, k, defaultAlias, s)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("restore KMS key %s", n.ARN()), err)
	}
	return nil
}

// RestoreDomainTx records the domain key of an account, as a vault of it has it. The first one counts.
func (s *Service) RestoreDomainTx(ctx context.Context, tx *meta.Tx, account string, domain [32]byte) error {
	wrapped, err := s.o.Root.Wrap(ctx, domain[:], bindDomain(account))
	if err == nil {
		_, err = tx.Exec(ctx, "INSERT INTO kms_domain (account, wrapped) VALUES (?, ?) ON CONFLICT DO NOTHING", account, wrapped)
	}
	if err != nil {
		return fmt.Errorf("restore domain of account %s: %w", account, err)
	}
	return nil
}

// restored is a key of which only a version is known.
func (s *Service) restored(n keys.KeyName, own bool) key {
	k := key{id: n.ID, account: n.Account, region: n.Region, manager: kmsapi.KeyManagerTypeAws, state: enabled, version: n.Version,
		description: "Default key that protects my Backup data when no other key is defined", created: s.now(),
		policy: managedPolicy(n.Account, n.Region), policyIDs: "{}", rotationDays: defaultPeriod, rotateAt: s.nextRotation(defaultPeriod)}
	if own {
		k.manager, k.description, k.policy = kmsapi.KeyManagerTypeCustomer, "Found in the store by a rebuild", defaultPolicy(n.Account)
		k.rotationDays, k.rotateAt = 0, s.nextRotation(0)
	}
	return k
}
