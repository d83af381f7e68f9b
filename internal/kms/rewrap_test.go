package kms_test

import (
	"context"
	"errors"
	"testing"

	"github.com/lockfast/lockfast/internal/kms"
	"github.com/lockfast/lockfast/internal/kmsapi"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
)

func TestRewrapVaults_LooksAtEachVaultOnceForEachVersion(t *testing.T) {
	run(t, func(f *fixture) {
		k := f.create()
		f.hung = []kms.HungVault{{UUID: "one", Account: account, KeyARN: *k.Arn}, {UUID: "two", Account: account}}
		pass := func() (n int) {
			f.Helper()
			f.rewraps = nil
			if err := f.RewrapVaults(f.ctx); err != nil {
				f.Errorf("RewrapVaults = %v", err)
			}
			return len(f.rewraps)
		}
		if n := pass(); n != 2 || f.rewraps[1] != "two by "+f.root.Fingerprint() {
			f.Errorf("first pass: %v", f.rewraps)
		}
		if n := pass(); n != 0 {
			f.Errorf("a pass without a change: %v", f.rewraps)
		}
		do(f.RotateKey(f.ctx, &lockfastapi.RotateKeyInput{KeyId: k.KeyId}))(f)
		if n := pass(); n != 1 || f.rotated != 1 {
			f.Errorf("after a rotation, told %d times: %v", f.rotated, f.rewraps)
		}
		do(f.RotateKey(f.ctx, &lockfastapi.RotateKeyInput{KeyId: k.KeyId}))(f)
		f.refusal = errors.New("store is away")
		if err := f.RewrapVaults(f.ctx); !errors.Is(err, f.refusal) {
			f.Errorf("RewrapVaults without the store = %v", err)
		}
		f.refusal = nil
		if n := pass(); n != 1 {
			f.Errorf("after a pass that failed: %v", f.rewraps)
		}
		f.hung = append(f.hung[1:], kms.HungVault{UUID: "three", Account: account, KeyARN: *k.Arn})
		f.absent = true
		for range 2 {
			if n := pass(); n != 1 {
				f.Errorf("a vault that is not in the store yet: %v", f.rewraps)
			}
		}
	})
}

func TestRewrapVaults_LeavesDestroyedKeysAlone(t *testing.T) {
	run(t, func(f *fixture) {
		k := f.create()
		f.hung = []kms.HungVault{{UUID: "one", Account: account, KeyARN: *k.Arn}}
		do(f.ScheduleKeyDeletion(f.ctx, &kmsapi.ScheduleKeyDeletionInput{KeyId: k.KeyId, PendingWindowInDays: new(7)}))(f)
		f.during = func() {
			f.pass(8 * 24 * 60 * 60 * 1e9)
			if err := f.Expire(f.ctx); err != nil {
				f.Fatal(err)
			}
		}
		_, unusable := errors.AsType[*kms.Unusable](f.RewrapVaults(f.ctx))
		if !unusable {
			f.Error("RewrapVaults left what it wrote although the key was destroyed meanwhile")
		}
		f.during, f.rewraps = nil, nil
		if err := f.RewrapVaults(f.ctx); err != nil || len(f.rewraps) > 0 {
			f.Errorf("RewrapVaults of a destroyed key = %v, %v", err, f.rewraps)
		}
	})
}

func TestDomain_StaysTheSame(t *testing.T) {
	run(t, func(f *fixture) {
		first := do(f.Domain(f.ctx, account))(f)
		if want := f.root.Derive("domain of account " + account); first != want {
			f.Error("Domain is not what the vaults from before have")
		}
		if again := do(f.Domain(f.ctx, account))(f); again != first {
			f.Error("Domain changed")
		}
		if other := do(f.Domain(f.ctx, "000000000001"))(f); other == first {
			f.Error("two accounts have one domain")
		}
		if err := f.RewrapRecords(f.ctx); err != nil {
			f.Error(err)
		}
		err := f.db.Update(f.ctx, func(ctx context.Context, tx *meta.Tx) error {
			_, err := tx.Exec(ctx, "UPDATE kms_domain SET wrapped = (SELECT wrapped FROM kms_domain WHERE account = '000000000001') WHERE account = ?", account)
			return err
		})
		if _, bad := f.Domain(f.ctx, account); err != nil || bad == nil {
			f.Errorf("Domain of another account in its row = %v, %v", err, bad)
		}
	})
}
