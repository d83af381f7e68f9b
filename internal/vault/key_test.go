package vault_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/events"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/vault"
)

const (
	keyPrefix  = "arn:aws:kms:eu-west-1:123456789012:key/"
	defaultKey = keyPrefix + "default"
	ownKey     = keyPrefix + "own"
)

// twoKeys are the default key and one of the users; any other cannot be used.
type twoKeys struct{}

func (twoKeys) VaultKeyTx(_ context.Context, _ *meta.Tx, _, _, named string) (string, bool, error) {
	switch named {
	case "", defaultKey:
		return defaultKey, false, nil
	case ownKey:
		return ownKey, true, nil
	}
	return "", false, fmt.Errorf("%w: KMS key %s does not exist", vault.ErrKey, named)
}

// withKeys runs a test on both databases with keys.
func withKeys(t *testing.T, test func(t *testing.T, f *fixture)) {
	t.Parallel()
	metatest.Run(t, func(t *testing.T, open func(*testing.T, ...meta.MigrationSet) *meta.DB) {
		f := newFixture(t, open(t, vault.Migrations(), events.Migrations()), 0)
		f.Service = vault.New(vault.Options{DB: f.db, Tags: f.others, Protected: f.others, Restores: f.others, Store: f.others,
			Authority: f.others, Events: f.events, Principals: f.others, Keys: twoKeys{}, Pager: restjson.NewPager([]byte("key")),
			Now: f.clock.now})
		test(t, f)
	})
}

func TestCreateBackupVault_KeepsItsKey(t *testing.T) {
	withKeys(t, func(t *testing.T, f *fixture) {
		for name, in := range map[string]*backupapi.CreateBackupVaultInput{
			"default": {}, "named": {EncryptionKeyArn: new(defaultKey)}, "own": {EncryptionKeyArn: new(ownKey), CreatorRequestId: new("r")},
		} {
			in.BackupVaultName = name
			if _, err := f.CreateBackupVault(f.ctx, in); err != nil {
				t.Fatal(err)
			}
		}
		type key [2]string // ARN and type
		want := map[string]key{"default": {defaultKey, "AWS_OWNED_KMS_KEY"}, "named": {defaultKey, "AWS_OWNED_KMS_KEY"},
			"own": {ownKey, "CUSTOMER_MANAGED_KMS_KEY"}}
		listed, described := map[string]key{}, map[string]key{}
		all, err := f.ListBackupVaults(f.ctx, &backupapi.ListBackupVaultsInput{})
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range all.BackupVaultList {
			listed[*v.BackupVaultName] = key{*v.EncryptionKeyArn, string(*v.EncryptionKeyType)}
			d, err := f.DescribeBackupVault(f.ctx, &backupapi.DescribeBackupVaultInput{BackupVaultName: *v.BackupVaultName})
			if err != nil {
				t.Fatal(err)
			}
			described[*v.BackupVaultName] = key{*d.EncryptionKeyArn, string(*d.EncryptionKeyType)}
		}
		if diff := cmp.Diff(want, listed); diff != "" {
			t.Error("listed:", diff)
		}
		if diff := cmp.Diff(want, described); diff != "" {
			t.Error("described:", diff)
		}
		users, err := f.VaultsOfKey(f.ctx, defaultKey)
		if err != nil || len(users) != 2 || users[0].Name != "default" || users[1].Name != "named" {
			t.Errorf("VaultsOfKey = %v, %v", users, err)
		}
		again := &backupapi.CreateBackupVaultInput{BackupVaultName: "own", EncryptionKeyArn: new(ownKey), CreatorRequestId: new("r")}
		if _, err := f.CreateBackupVault(f.ctx, again); err != nil {
			t.Errorf("repeated request = %v", err)
		}
		again.EncryptionKeyArn = nil
		_, err = f.CreateBackupVault(f.ctx, again)
		wantError(t, err, "AlreadyExistsException", "")
	})
}

func TestCreateBackupVault_WrongKey(t *testing.T) {
	withKeys(t, func(t *testing.T, f *fixture) {
		for name, arn := range map[string]string{
			"no ARN": "own", "another service": "arn:aws:backup:eu-west-1:123456789012:backup-vault:home",
			"an alias": "arn:aws:kms:eu-west-1:123456789012:alias/own", "another account": "arn:aws:kms:eu-west-1:000000000000:key/own",
			"another region": "arn:aws:kms:us-east-1:123456789012:key/own", "no such key": keyPrefix + "none", "empty": "",
		} {
			_, err := f.CreateBackupVault(f.ctx, &backupapi.CreateBackupVaultInput{BackupVaultName: "x1", EncryptionKeyArn: &arn})
			wantError(t, err, "InvalidParameterValueException", "")
			if t.Failed() {
				t.Fatal(name)
			}
		}
		if all, err := f.ListBackupVaults(f.ctx, &backupapi.ListBackupVaultsInput{}); err != nil || len(all.BackupVaultList) != 0 {
			t.Errorf("vaults = %v, %v, want none", all, err)
		}
	})
}

func TestRecoveryPoint_ReportsTheKeyOfItsVault(t *testing.T) {
	withKeys(t, func(t *testing.T, f *fixture) {
		_, err := f.CreateBackupVault(f.ctx, &backupapi.CreateBackupVaultInput{BackupVaultName: "own", EncryptionKeyArn: new(ownKey)})
		if err != nil {
			t.Fatal(err)
		}
		users, err := f.VaultsOfKey(f.ctx, ownKey)
		if err != nil {
			t.Fatal(err)
		}
		f.creating(users[0].UUID, 1)
		points, err := f.ListRecoveryPointsByBackupVault(f.ctx, &backupapi.ListRecoveryPointsByBackupVaultInput{BackupVaultName: "own"})
		if err != nil || len(points.RecoveryPoints) != 1 || *points.RecoveryPoints[0].EncryptionKeyArn != ownKey ||
			*points.RecoveryPoints[0].EncryptionKeyType != "CUSTOMER_MANAGED_KMS_KEY" {
			t.Errorf("recovery points = %+v, %v", points, err)
		}
		d, err := f.DescribeRecoveryPoint(f.ctx, &backupapi.DescribeRecoveryPointInput{BackupVaultName: "own",
			RecoveryPointArn: *points.RecoveryPoints[0].RecoveryPointArn})
		if err != nil || *d.EncryptionKeyArn != ownKey || *d.EncryptionKeyType != "CUSTOMER_MANAGED_KMS_KEY" {
			t.Errorf("recovery point = %+v, %v", d, err)
		}
	})
}
