package kms_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/keys"
	"github.com/lockfast/lockfast/internal/kms"
	"github.com/lockfast/lockfast/internal/kmsapi"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/wire"
	"github.com/lockfast/lockfast/repo"
)

const (
	account = "000000000000"
	region  = "eu-north-1"
)

// fixture is a service with a clock, and the vaults of its keys.
type fixture struct {
	*testing.T
	*kms.Service
	db  *meta.DB
	ctx context.Context
	log bytes.Buffer

	time     time.Time
	vaults   map[string][]string // by key
	shredded []string
	lost     error // of Shred
	changed  int

	root    *keys.Root
	hung    []kms.HungVault
	rewraps []string // vaults, with what wraps their keys
	refusal error    // of Rewrap
	absent  bool     // vaults have nothing in the store
	during  func()   // called by Rewrap before it asks whether the keys may stay
	rotated int
}

func (f *fixture) HungVaults(context.Context) ([]kms.HungVault, error) { return f.hung, nil }
func (f *fixture) KeyRotated()                                         { f.rotated++ }

func (f *fixture) Rewrap(ctx context.Context, vaultUUID string, to repo.Renewer, still func(context.Context) (bool, error)) (bool, error) {
	f.rewraps = append(f.rewraps, vaultUUID+" by "+to.(kms.Renewer).Fingerprint())
	if f.during != nil {
		f.during()
	}
	may, err := still(ctx)
	if err == nil && !may {
		err = repo.ErrDestroyed
	}
	if err := errors.Join(f.refusal, err); err != nil {
		return false, err
	}
	return !f.absent, nil
}

func (f *fixture) VaultsOfKey(_ context.Context, keyARN string) ([]string, error) {
	return f.vaults[keyARN], nil
}

func (f *fixture) Shred(_ context.Context, keyARN string) error {
	f.shredded = append(f.shredded, keyARN)
	return f.lost
}

func (f *fixture) KeyChanged(context.Context) { f.changed++ }

// PrincipalIDsTx knows everybody but nobody.
func (f *fixture) PrincipalIDsTx(_ context.Context, _ *meta.Tx, principals []string) (map[string]string, error) {
	for _, p := range principals {
		if strings.HasSuffix(p, "user/nobody") {
			return nil, kms.ErrPrincipal
		}
	}
	return map[string]string{}, nil
}

func (f *fixture) pass(d time.Duration) { f.time = f.time.Add(d) }

func run(t *testing.T, test func(f *fixture)) {
	t.Parallel()
	metatest.Run(t, func(t *testing.T, open func(*testing.T, ...meta.MigrationSet) *meta.DB) {
		root, err := keys.Create(filepath.Join(t.TempDir(), "root.key"))
		if err != nil {
			t.Fatal(err)
		}
		f := &fixture{T: t, root: root, db: open(t, kms.Migrations()), time: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), vaults: map[string][]string{}}
		f.Service = kms.New(kms.Options{DB: f.db, Root: root, Principals: f, Vaults: f, Pager: restjson.NewPager([]byte("key")),
			Now: func() time.Time { return f.time }, Log: slog.New(slog.NewTextHandler(&f.log, nil))})
		f.ctx = caller.With(t.Context(), caller.Caller{Account: account, Region: region, ARN: "arn:aws:iam::" + account + ":user/alice",
			UserID: "AIDAALICE", Kind: caller.User})
		test(f)
	})
}

// do fails the test for an error.
func do[T any](v T, err error) func(*fixture) T {
	return func(f *fixture) T {
		f.Helper()
		if err != nil {
			f.Fatal(err)
		}
		return v
	}
}

func (f *fixture) create() *kmsapi.KeyMetadata {
	f.Helper()
	return do(f.CreateKey(f.ctx, &kmsapi.CreateKeyInput{}))(f).KeyMetadata
}

func (f *fixture) state(ref string) kmsapi.KeyState {
	f.Helper()
	return *do(f.DescribeKey(f.ctx, &kmsapi.DescribeKeyInput{KeyId: ref}))(f).KeyMetadata.KeyState
}

// refused checks the name of an API error.
func (f *fixture) refused(err error, name string) {
	f.Helper()
	api, ok := errors.AsType[wire.APIError](err)
	if !ok || api.ErrorName() != name {
		f.Errorf("error = %v, want %s", err, name)
	}
}

func (f *fixture) usable(arn string) error {
	return f.db.View(f.ctx, func(ctx context.Context, tx *meta.Tx) error { return f.CheckUsableTx(ctx, tx, arn) })
}

func TestDescribeKey_ByEachOfItsNames(t *testing.T) {
	run(t, func(f *fixture) {
		in := &kmsapi.CreateKeyInput{Description: new("for homes"), KeySpec: new(kmsapi.KeySpecSymmetricDefault),
			Tags: []kmsapi.Tag{{TagKey: "a", TagValue: "1"}}}
		k := do(f.CreateKey(f.ctx, in))(f).KeyMetadata
		arn := "arn:aws:kms:" + region + ":" + account + ":key/" + k.KeyId
		want := &kmsapi.KeyMetadata{AWSAccountId: new(account), Arn: &arn, KeyId: k.KeyId, CreationDate: &f.time,
			CustomerMasterKeySpec: new(kmsapi.CustomerMasterKeySpecSymmetricDefault), Description: new("for homes"), Enabled: new(true),
			EncryptionAlgorithms: []kmsapi.EncryptionAlgorithmSpec{"SYMMETRIC_DEFAULT"}, KeyManager: new(kmsapi.KeyManagerTypeCustomer),
			KeySpec: new(kmsapi.KeySpecSymmetricDefault), KeyState: new(kmsapi.KeyStateEnabled),
			KeyUsage: new(kmsapi.KeyUsageTypeEncryptDecrypt), MultiRegion: new(false), Origin: new(kmsapi.OriginTypeAwsKms)}
		do(f.CreateAlias(f.ctx, &kmsapi.CreateAliasInput{AliasName: "alias/homes", TargetKeyId: k.KeyId}))(f)
		for _, ref := range []string{k.KeyId, arn, "alias/homes", "arn:aws:kms:" + region + ":" + account + ":alias/homes"} {
			got := do(f.DescribeKey(f.ctx, &kmsapi.DescribeKeyInput{KeyId: ref}))(f)
			if diff := cmp.Diff(want, got.KeyMetadata); diff != "" {
				f.Errorf("DescribeKey(%s) (-want +got):\n%s", ref, diff)
			}
		}
		do(f.UpdateKeyDescription(f.ctx, &kmsapi.UpdateKeyDescriptionInput{KeyId: arn, Description: "changed"}))(f)
		if got := do(f.DescribeKey(f.ctx, &kmsapi.DescribeKeyInput{KeyId: arn}))(f).KeyMetadata; *got.Description != "changed" {
			f.Errorf("Description = %q", *got.Description)
		}
		for ref, name := range map[string]string{
			"none": "NotFoundException", "alias/none": "NotFoundException", "arn:aws:kms:" + region + ":" + account + ":key/none": "NotFoundException",
			"arn:aws:kms:us-east-1:" + account + ":key/" + k.KeyId:   "NotFoundException",
			"arn:aws:kms:" + region + ":111111111111:key/" + k.KeyId: "NotFoundException",
			"arn:aws:backup:" + region + ":" + account + ":key/x":    "InvalidArnException", "arn:x": "InvalidArnException",
			"arn:aws:kms:" + region + ":" + account + ":grant/x": "InvalidArnException",
		} {
			_, err := f.DescribeKey(f.ctx, &kmsapi.DescribeKeyInput{KeyId: ref})
			f.refused(err, name)
		}
		other := caller.With(f.ctx, caller.Caller{Account: "111111111111", Region: region})
		_, err := f.DescribeKey(other, &kmsapi.DescribeKeyInput{KeyId: k.KeyId})
		f.refused(err, "NotFoundException")
	})
}

func TestCreateKey_Refuses(t *testing.T) {
	run(t, func(f *fixture) {
		for _, in := range []*kmsapi.CreateKeyInput{
			{KeySpec: new(kmsapi.KeySpecRsa2048)}, {CustomerMasterKeySpec: new(kmsapi.CustomerMasterKeySpecRsa2048)},
			{KeyUsage: new(kmsapi.KeyUsageTypeSignVerify)}, {Origin: new(kmsapi.OriginTypeExternal)}, {MultiRegion: new(true)},
			{CustomKeyStoreId: new("x")}, {XksKeyId: new("x")},
		} {
			_, err := f.CreateKey(f.ctx, in)
			f.refused(err, "UnsupportedOperationException")
		}
		_, err := f.CreateKey(f.ctx, &kmsapi.CreateKeyInput{Tags: []kmsapi.Tag{{TagKey: "aws:x", TagValue: "1"}}})
		f.refused(err, "TagException")
		if left := do(f.ListKeys(f.ctx, &kmsapi.ListKeysInput{}))(f).Keys; len(left) != 0 {
			f.Errorf("keys = %v, want none", left)
		}
	})
}

func TestKeyPolicy_IsKeptAsItWasPut(t *testing.T) {
	run(t, func(f *fixture) {
		k := f.create()
		got := do(f.GetKeyPolicy(f.ctx, &kmsapi.GetKeyPolicyInput{KeyId: k.KeyId}))(f)
		if !strings.Contains(*got.Policy, "arn:aws:iam::"+account+":root") || *got.PolicyName != "default" {
			f.Errorf("default policy = %s", *got.Policy)
		}
		text := ` {"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:user/alice"},"Action":"kms:*","Resource":"*"}]} `
		do(f.PutKeyPolicy(f.ctx, &kmsapi.PutKeyPolicyInput{KeyId: k.KeyId, Policy: text, PolicyName: new("default")}))(f)
		if got := do(f.GetKeyPolicy(f.ctx, &kmsapi.GetKeyPolicyInput{KeyId: k.KeyId}))(f); *got.Policy != text {
			f.Errorf("GetKeyPolicy = %q, want %q", *got.Policy, text)
		}
		if all, err := f.KeyPolicies(f.ctx, *k.Arn); err != nil || len(all) != 1 || all[0].Text != text {
			f.Errorf("KeyPolicies = %v, %v", all, err)
		}
		bob := strings.Replace(text, "alice", "bob", 1)
		for policy, name := range map[string]string{
			"{": "MalformedPolicyDocumentException", bob: "MalformedPolicyDocumentException",
			strings.Replace(text, "alice", "nobody", 1): "MalformedPolicyDocumentException", strings.Repeat(" ", 30000): "LimitExceededException",
		} {
			_, err := f.PutKeyPolicy(f.ctx, &kmsapi.PutKeyPolicyInput{KeyId: k.KeyId, Policy: policy})
			f.refused(err, name)
		}
		do(f.PutKeyPolicy(f.ctx, &kmsapi.PutKeyPolicyInput{KeyId: k.KeyId, Policy: bob, BypassPolicyLockoutSafetyCheck: new(true)}))(f)
		_, err := f.GetKeyPolicy(f.ctx, &kmsapi.GetKeyPolicyInput{KeyId: k.KeyId, PolicyName: new("other")})
		f.refused(err, "NotFoundException")
		if names := do(f.ListKeyPolicies(f.ctx, &kmsapi.ListKeyPoliciesInput{KeyId: k.KeyId}))(f).PolicyNames; !cmp.Equal(names, []string{"default"}) {
			f.Errorf("ListKeyPolicies = %v", names)
		}
	})
}

func TestState_FollowsTheOperations(t *testing.T) {
	run(t, func(f *fixture) {
		k := f.create()
		f.vaults[*k.Arn] = []string{"homes", "mail"}
		do(f.DisableKey(f.ctx, &kmsapi.DisableKeyInput{KeyId: k.KeyId}))(f)
		bad, ok := errors.AsType[*kms.Unusable](f.usable(*k.Arn))
		if !ok || bad.Destroyed() || f.state(k.KeyId) != "Disabled" || f.changed != 1 {
			f.Errorf("after DisableKey: %v, told %d times", bad, f.changed)
		}
		_, err := f.Encrypt(f.ctx, &kmsapi.EncryptInput{KeyId: k.KeyId, Plaintext: []byte("x")})
		f.refused(err, "DisabledException")
		_, err = f.EnableKeyRotation(f.ctx, &kmsapi.EnableKeyRotationInput{KeyId: k.KeyId})
		f.refused(err, "DisabledException")
		do(f.EnableKey(f.ctx, &kmsapi.EnableKeyInput{KeyId: k.KeyId}))(f)
		if err := f.usable(*k.Arn); err != nil || f.state(k.KeyId) != "Enabled" {
			f.Errorf("after EnableKey: %v", err)
		}
		for _, days := range []int{6, 31} {
			_, err = f.ScheduleKeyDeletion(f.ctx, &kmsapi.ScheduleKeyDeletionInput{KeyId: k.KeyId, PendingWindowInDays: &days})
			f.refused(err, "ValidationException")
		}
		_, err = f.CancelKeyDeletion(f.ctx, &kmsapi.CancelKeyDeletionInput{KeyId: k.KeyId})
		f.refused(err, "KMSInvalidStateException")
		out := do(f.ScheduleKeyDeletion(f.ctx, &kmsapi.ScheduleKeyDeletionInput{KeyId: k.KeyId, PendingWindowInDays: new(7)}))(f)
		want := &kmsapi.ScheduleKeyDeletionOutput{KeyId: k.Arn, KeyState: new(kmsapi.KeyStatePendingDeletion), PendingWindowInDays: new(7),
			DeletionDate: new(f.time.Add(7 * 24 * time.Hour))}
		if diff := cmp.Diff(want, out); diff != "" {
			f.Error(diff)
		}
		if text := f.log.String(); !strings.Contains(text, "homes") || !strings.Contains(text, "mail") {
			f.Errorf("the warning does not name the vaults: %s", text)
		}
		_, err = f.EnableKey(f.ctx, &kmsapi.EnableKeyInput{KeyId: k.KeyId})
		f.refused(err, "KMSInvalidStateException")
		_, err = f.ScheduleKeyDeletion(f.ctx, &kmsapi.ScheduleKeyDeletionInput{KeyId: k.KeyId})
		f.refused(err, "KMSInvalidStateException")
		_, err = f.GenerateDataKey(f.ctx, &kmsapi.GenerateDataKeyInput{KeyId: k.KeyId, KeySpec: new(kmsapi.DataKeySpecAes256)})
		f.refused(err, "KMSInvalidStateException")
		do(f.CancelKeyDeletion(f.ctx, &kmsapi.CancelKeyDeletionInput{KeyId: k.KeyId}))(f)
		if s := f.state(k.KeyId); s != "Disabled" {
			f.Errorf("after CancelKeyDeletion: %s, want Disabled", s)
		}
		_, err = f.DisableKey(f.ctx, &kmsapi.DisableKeyInput{KeyId: "alias/x"})
		f.refused(err, "InvalidArnException")
	})
}

func TestExpire_DestroysWhenTheWindowIsOver(t *testing.T) {
	run(t, func(f *fixture) {
		k, kept := f.create(), f.create()
		do(f.CreateAlias(f.ctx, &kmsapi.CreateAliasInput{AliasName: "alias/x", TargetKeyId: k.KeyId}))(f)
		f.vaults[*k.Arn] = []string{"homes"}
		do(f.ScheduleKeyDeletion(f.ctx, &kmsapi.ScheduleKeyDeletionInput{KeyId: k.KeyId, PendingWindowInDays: new(7)}))(f)
		f.pass(7*24*time.Hour - time.Second)
		if err := f.Expire(f.ctx); err != nil || len(f.shredded) != 0 {
			f.Fatalf("Expire a second early = %v, shredded %v", err, f.shredded)
		}
		f.pass(time.Second)
		f.lost = errors.New("store is away")
		if err := f.Expire(f.ctx); !errors.Is(err, f.lost) {
			f.Fatalf("Expire without the store = %v", err)
		}
		if s := f.state(k.KeyId); s != "PendingDeletion" {
			f.Errorf("state = %s while it is destroyed", s)
		}
		_, err := f.CancelKeyDeletion(f.ctx, &kmsapi.CancelKeyDeletionInput{KeyId: k.KeyId})
		f.refused(err, "KMSInvalidStateException")
		f.lost = nil
		if err := f.Expire(f.ctx); err != nil {
			f.Fatal(err)
		}
		for _, ref := range []string{k.KeyId, "alias/x"} {
			_, err = f.DescribeKey(f.ctx, &kmsapi.DescribeKeyInput{KeyId: ref})
			f.refused(err, "NotFoundException")
		}
		bad, ok := errors.AsType[*kms.Unusable](f.usable(*k.Arn))
		if !ok || !bad.Destroyed() || f.usable(*kept.Arn) != nil {
			f.Errorf("after Expire: %v", bad)
		}
		if diff := cmp.Diff([]string{*k.Arn, *k.Arn}, f.shredded); diff != "" {
			f.Error(diff)
		}
		if !strings.Contains(f.log.String(), "is destroyed") {
			f.Errorf("no warning: %s", &f.log)
		}
	})
}

func TestRotation_KeepsOldVersions(t *testing.T) {
	run(t, func(f *fixture) {
		k := f.create()
		blob := do(f.Encrypt(f.ctx, &kmsapi.EncryptInput{KeyId: k.KeyId, Plaintext: []byte("old")}))(f).CiphertextBlob
		var before *keys.Key
		var wrapped []byte
		err := f.db.View(f.ctx, func(ctx context.Context, tx *meta.Tx) (err error) {
			if before, err = f.WrapperTx(ctx, tx, *k.Arn); err == nil {
				wrapped, err = before.Wrap(ctx, []byte("vault key"), nil)
			}
			return err
		})
		if err != nil {
			f.Fatal(err)
		}
		if s := do(f.GetKeyRotationStatus(f.ctx, &kmsapi.GetKeyRotationStatusInput{KeyId: k.KeyId}))(f); *s.KeyRotationEnabled || s.NextRotationDate != nil {
			f.Errorf("rotation of a new key = %+v", s)
		}
		do(f.EnableKeyRotation(f.ctx, &kmsapi.EnableKeyRotationInput{KeyId: k.KeyId, RotationPeriodInDays: new(90)}))(f)
		s := do(f.GetKeyRotationStatus(f.ctx, &kmsapi.GetKeyRotationStatusInput{KeyId: *k.Arn}))(f)
		want := &kmsapi.GetKeyRotationStatusOutput{KeyId: k.Arn, KeyRotationEnabled: new(true), RotationPeriodInDays: new(90),
			NextRotationDate: new(f.time.Add(90 * 24 * time.Hour))}
		if diff := cmp.Diff(want, s); diff != "" {
			f.Error(diff)
		}
		version := func() int { return *do(f.ListKeyUse(f.ctx, &lockfastapi.ListKeyUseInput{}))(f).Keys[0].Version }
		for i, step := range []struct {
			wait time.Duration
			want int
		}{{0, 1}, {90 * 24 * time.Hour, 2}, {0, 2}, {90 * 24 * time.Hour, 3}} {
			f.pass(step.wait)
			if err := f.Expire(f.ctx); err != nil || version() != step.want {
				f.Errorf("%d: Expire = %v, version %d, want %d", i, err, version(), step.want)
			}
		}
		if out := do(f.RotateKey(f.ctx, &lockfastapi.RotateKeyInput{KeyId: k.KeyId}))(f); *out.Version != 4 {
			f.Errorf("RotateKey = version %d, want 4", *out.Version)
		}
		if got := do(f.Decrypt(f.ctx, &kmsapi.DecryptInput{CiphertextBlob: blob}))(f); string(got.Plaintext) != "old" {
			f.Errorf("Decrypt = %q", got.Plaintext)
		}
		if got, err := before.Unwrap(f.ctx, wrapped, nil); err != nil || string(got) != "vault key" {
			f.Errorf("Unwrap = %q, %v", got, err)
		}
		do(f.DisableKeyRotation(f.ctx, &kmsapi.DisableKeyRotationInput{KeyId: k.KeyId}))(f)
		f.pass(1000 * 24 * time.Hour)
		if err := f.Expire(f.ctx); err != nil || version() != 4 {
			f.Errorf("Expire = %v, version %d", err, version())
		}
		_, err = f.RotateKey(f.ctx, &lockfastapi.RotateKeyInput{KeyId: "none"})
		f.refused(err, "ResourceNotFoundException")
	})
}

func TestDataPlane_IsBoundToItsContext(t *testing.T) {
	run(t, func(f *fixture) {
		k, other := f.create(), f.create()
		bound := map[string]string{"a": "1", "b": "2"}
		out := do(f.Encrypt(f.ctx, &kmsapi.EncryptInput{KeyId: k.KeyId, Plaintext: []byte("text"), EncryptionContext: bound}))(f)
		if *out.KeyId != *k.Arn || bytes.Contains(out.CiphertextBlob, []byte("text")) {
			f.Errorf("Encrypt = %x of %s", out.CiphertextBlob, *out.KeyId)
		}
		for _, ref := range []*string{nil, &k.KeyId, k.Arn} {
			got := do(f.Decrypt(f.ctx, &kmsapi.DecryptInput{CiphertextBlob: out.CiphertextBlob, EncryptionContext: bound, KeyId: ref}))(f)
			if string(got.Plaintext) != "text" || *got.KeyId != *k.Arn {
				f.Errorf("Decrypt = %q", got.Plaintext)
			}
		}
		_, err := f.Decrypt(f.ctx, &kmsapi.DecryptInput{CiphertextBlob: out.CiphertextBlob, EncryptionContext: bound, KeyId: &other.KeyId})
		f.refused(err, "IncorrectKeyException")
		for _, c := range []map[string]string{nil, {"a": "1"}, {"a": "1b", "": "2"}, {"a": "2", "b": "1"}} {
			_, err := f.Decrypt(f.ctx, &kmsapi.DecryptInput{CiphertextBlob: out.CiphertextBlob, EncryptionContext: c})
			f.refused(err, "InvalidCiphertextException")
		}
		for i := range out.CiphertextBlob {
			bad := bytes.Clone(out.CiphertextBlob)
			bad[i] ^= 1
			if _, err := f.Decrypt(f.ctx, &kmsapi.DecryptInput{CiphertextBlob: bad, EncryptionContext: bound}); err == nil {
				f.Errorf("Decrypt with byte %d flipped succeeded", i)
			}
		}
		again := do(f.ReEncrypt(f.ctx, &kmsapi.ReEncryptInput{CiphertextBlob: out.CiphertextBlob, SourceEncryptionContext: bound,
			DestinationKeyId: other.KeyId}))(f)
		if got := do(f.Decrypt(f.ctx, &kmsapi.DecryptInput{CiphertextBlob: again.CiphertextBlob}))(f); string(got.Plaintext) != "text" || *got.KeyId != *other.Arn {
			f.Errorf("Decrypt after ReEncrypt = %q of %s", got.Plaintext, *got.KeyId)
		}
		data := do(f.GenerateDataKey(f.ctx, &kmsapi.GenerateDataKeyInput{KeyId: k.KeyId, KeySpec: new(kmsapi.DataKeySpecAes256)}))(f)
		if got := do(f.Decrypt(f.ctx, &kmsapi.DecryptInput{CiphertextBlob: data.CiphertextBlob}))(f); !bytes.Equal(got.Plaintext, data.Plaintext) || len(data.Plaintext) != 32 {
			f.Errorf("data key = %d bytes", len(data.Plaintext))
		}
		blind := do(f.GenerateDataKeyWithoutPlaintext(f.ctx, &kmsapi.GenerateDataKeyWithoutPlaintextInput{KeyId: k.KeyId, NumberOfBytes: new(7)}))(f)
		if got := do(f.Decrypt(f.ctx, &kmsapi.DecryptInput{CiphertextBlob: blind.CiphertextBlob}))(f); len(got.Plaintext) != 7 {
			f.Errorf("data key = %d bytes, want 7", len(got.Plaintext))
		}
		_, err = f.GenerateDataKey(f.ctx, &kmsapi.GenerateDataKeyInput{KeyId: k.KeyId})
		f.refused(err, "ValidationException")
		_, err = f.Encrypt(f.ctx, &kmsapi.EncryptInput{KeyId: k.KeyId, Plaintext: []byte("x"), DryRun: new(true)})
		f.refused(err, "DryRunOperationException")
		_, err = f.Encrypt(f.ctx, &kmsapi.EncryptInput{KeyId: k.KeyId, Plaintext: []byte("x"), GrantTokens: []string{"x"}})
		f.refused(err, "InvalidGrantTokenException")
	})
}

func TestAliases(t *testing.T) {
	run(t, func(f *fixture) {
		a, b := f.create(), f.create()
		for _, name := range []string{"alias/1", "alias/2", "alias/3"} {
			do(f.CreateAlias(f.ctx, &kmsapi.CreateAliasInput{AliasName: name, TargetKeyId: a.KeyId}))(f)
		}
		_, err := f.CreateAlias(f.ctx, &kmsapi.CreateAliasInput{AliasName: "alias/1", TargetKeyId: b.KeyId})
		f.refused(err, "AlreadyExistsException")
		for name, want := range map[string]string{"x": "ValidationException", "alias/a b": "ValidationException", "alias/": "ValidationException",
			"alias/aws/x": "InvalidAliasNameException"} {
			_, err := f.CreateAlias(f.ctx, &kmsapi.CreateAliasInput{AliasName: name, TargetKeyId: a.KeyId})
			f.refused(err, want)
		}
		_, err = f.CreateAlias(f.ctx, &kmsapi.CreateAliasInput{AliasName: "alias/4", TargetKeyId: "alias/1"})
		f.refused(err, "ValidationException")
		do(f.UpdateAlias(f.ctx, &kmsapi.UpdateAliasInput{AliasName: "alias/2", TargetKeyId: *b.Arn}))(f)
		do(f.DeleteAlias(f.ctx, &kmsapi.DeleteAliasInput{AliasName: "alias/3"}))(f)
		_, err = f.DeleteAlias(f.ctx, &kmsapi.DeleteAliasInput{AliasName: "alias/3"})
		f.refused(err, "NotFoundException")
		_, err = f.UpdateAlias(f.ctx, &kmsapi.UpdateAliasInput{AliasName: "alias/3", TargetKeyId: a.KeyId})
		f.refused(err, "NotFoundException")
		first := do(f.ListAliases(f.ctx, &kmsapi.ListAliasesInput{Limit: new(1)}))(f)
		second := do(f.ListAliases(f.ctx, &kmsapi.ListAliasesInput{Limit: new(1), Marker: first.NextMarker}))(f)
		if !*first.Truncated || *second.Truncated || *first.Aliases[0].AliasName != "alias/1" || *second.Aliases[0].AliasName != "alias/2" {
			f.Errorf("pages = %+v, %+v", first, second)
		}
		mine := do(f.ListAliases(f.ctx, &kmsapi.ListAliasesInput{KeyId: b.Arn}))(f)
		if len(mine.Aliases) != 1 || *mine.Aliases[0].TargetKeyId != b.KeyId {
			f.Errorf("aliases of a key = %+v", mine)
		}
		_, err = f.ListAliases(f.ctx, &kmsapi.ListAliasesInput{Marker: new("x")})
		f.refused(err, "InvalidMarkerException")
	})
}

func TestTags(t *testing.T) {
	run(t, func(f *fixture) {
		k := f.create()
		do(f.TagResource(f.ctx, &kmsapi.TagResourceInput{KeyId: k.KeyId, Tags: []kmsapi.Tag{{TagKey: "a", TagValue: "1"}, {TagKey: "b", TagValue: ""}}}))(f)
		do(f.TagResource(f.ctx, &kmsapi.TagResourceInput{KeyId: k.KeyId, Tags: []kmsapi.Tag{{TagKey: "a", TagValue: "2"}, {TagKey: "c", TagValue: "3"}}}))(f)
		do(f.UntagResource(f.ctx, &kmsapi.UntagResourceInput{KeyId: k.KeyId, TagKeys: []string{"b", "none"}}))(f)
		first := do(f.ListResourceTags(f.ctx, &kmsapi.ListResourceTagsInput{KeyId: k.KeyId, Limit: new(1)}))(f)
		second := do(f.ListResourceTags(f.ctx, &kmsapi.ListResourceTagsInput{KeyId: k.KeyId, Limit: new(1), Marker: first.NextMarker}))(f)
		if diff := cmp.Diff([]kmsapi.Tag{{TagKey: "a", TagValue: "2"}, {TagKey: "c", TagValue: "3"}}, append(first.Tags, second.Tags...)); diff != "" {
			f.Error(diff)
		}
		var many []kmsapi.Tag
		for i := range 49 {
			many = append(many, kmsapi.Tag{TagKey: strings.Repeat("k", i+1), TagValue: "x"})
		}
		_, err := f.TagResource(f.ctx, &kmsapi.TagResourceInput{KeyId: k.KeyId, Tags: many})
		f.refused(err, "LimitExceededException")
		_, err = f.TagResource(f.ctx, &kmsapi.TagResourceInput{KeyId: k.KeyId, Tags: []kmsapi.Tag{{TagKey: "x"}, {TagKey: "x"}}})
		f.refused(err, "TagException")
	})
}

func TestVaultKeyTx_MakesTheDefaultKeyOnce(t *testing.T) {
	run(t, func(f *fixture) {
		get := func(named string) (arn string, own bool, err error) {
			err = f.db.Update(f.ctx, func(ctx context.Context, tx *meta.Tx) error {
				arn, own, err = f.VaultKeyTx(ctx, tx, account, region, named)
				return err
			})
			return arn, own, err
		}
		const racers = 4
		arns, errs := make([]string, racers), make([]error, racers)
		var wg sync.WaitGroup
		for i := range racers {
			wg.Go(func() { arns[i], _, errs[i] = get("") })
		}
		wg.Wait()
		for i := range racers {
			if errs[i] != nil || arns[i] != arns[0] {
				f.Errorf("VaultKeyTx = %s, %v, want %s", arns[i], errs[i], arns[0])
			}
		}
		if all := do(f.ListKeys(f.ctx, &kmsapi.ListKeysInput{}))(f).Keys; len(all) != 1 {
			f.Errorf("keys = %v, want one", all)
		}
		d := do(f.DescribeKey(f.ctx, &kmsapi.DescribeKeyInput{KeyId: "alias/aws/backup"}))(f).KeyMetadata
		if *d.Arn != arns[0] || *d.KeyManager != kmsapi.KeyManagerTypeAws {
			f.Errorf("alias/aws/backup = %+v", d)
		}
		elsewhere := caller.With(f.ctx, caller.Caller{Account: account, Region: "us-east-1"})
		if d := do(f.DescribeKey(elsewhere, &kmsapi.DescribeKeyInput{KeyId: "alias/aws/backup"}))(f).KeyMetadata; *d.Arn == arns[0] {
			f.Error("one default key in two regions")
		}
		k := f.create()
		if arn, own, err := get(*k.Arn); arn != *k.Arn || !own || err != nil {
			f.Errorf("VaultKeyTx = %s, %v, %v", arn, own, err)
		}
		if _, own, err := get(arns[0]); own || err != nil {
			f.Errorf("VaultKeyTx of the default key by its ARN = %v, %v", own, err)
		}
		do(f.DisableKey(f.ctx, &kmsapi.DisableKeyInput{KeyId: k.KeyId}))(f)
		for _, name := range []string{*k.Arn, "arn:aws:kms:" + region + ":" + account + ":key/none", strings.Replace(*k.Arn, region, "us-east-1", 1)} {
			_, _, err := get(name)
			if _, ok := errors.AsType[*kms.Unusable](err); !ok {
				f.Errorf("VaultKeyTx(%s) = %v", name, err)
			}
		}
	})
}
