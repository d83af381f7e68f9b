package vault_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/events"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/vault"
	"github.com/lockfast/lockfast/internal/wire"
	"github.com/lockfast/lockfast/repo"
)

const (
	account = "123456789012"
	region  = "eu-west-1"
	dataARN = "arn:aws:elasticfilesystem:eu-west-1:123456789012:file-system/fs-00000000000000001"
	role    = "arn:aws:iam::123456789012:role/service-role/AWSBackupDefaultServiceRole"
)

// others stands for the nouns that a vault works with, and remembers what they were told.
type others struct {
	sync.Mutex
	tags      map[string]map[string]string
	protected map[string]string // vault UUID + resource -> newest recovery point
	inUse     map[string]bool
	measure   repo.Measure
	freed     map[string]repo.Freed // by vault and the recovery points' names in the store
	unfreed   map[string]error      // by vault: why it cannot be measured
	coverage  repo.Coverage
	// unreachable is what is the matter with the store.
	unreachable error
	refusal     string   // why roles allow no deletion
	broken      error    // what is the matter with roles
	asked       []string // recovery points for which roles were asked
}

func (o *others) SetTagsTx(_ context.Context, _ *meta.Tx, _, arn string, tags map[string]string) error {
	o.Lock()
	defer o.Unlock()
	o.tags[arn] = tags
	return nil
}

func (o *others) DropTagsTx(_ context.Context, _ *meta.Tx, _, arn string) error {
	o.Lock()
	defer o.Unlock()
	delete(o.tags, arn)
	return nil
}

func (o *others) TagsTx(_ context.Context, _ *meta.Tx, _, arn string) (map[string]string, error) {
	o.Lock()
	defer o.Unlock()
	return o.tags[arn], nil
}

func (o *others) PutProtectedTx(_ context.Context, _ *meta.Tx, _, _, vaultUUID string, r backupapi.ProtectedResource) error {
	o.Lock()
	defer o.Unlock()
	o.protected[vaultUUID+*r.ResourceArn] = *r.LastRecoveryPointArn
	return nil
}

func (o *others) DropProtectedTx(_ context.Context, _ *meta.Tx, _, _, vaultUUID, arn string) error {
	o.Lock()
	defer o.Unlock()
	delete(o.protected, vaultUUID+arn)
	return nil
}

func (o *others) InUseTx(_ context.Context, _ *meta.Tx, _, arn string) (bool, error) {
	o.Lock()
	defer o.Unlock()
	return o.inUse[arn], nil
}

func (o *others) Measure(context.Context, string, func(repo.PointID) bool) (repo.Measure, error) {
	return o.measure, nil
}

func (o *others) WouldFree(_ context.Context, vaultUUID string, points []repo.PointID) (repo.Freed, error) {
	return o.freed[fmt.Sprint(vaultUUID, points)], o.unfreed[vaultUUID]
}

func (o *others) Coverage(_ context.Context, _ string, within time.Duration) (repo.Coverage, error) {
	c := o.coverage
	c.PacksKnown = int64(within / (24 * time.Hour)) // for the test to see what was asked for
	return c, nil
}

func (o *others) DeleteAuthority(_ context.Context, p vault.Point) (string, error) {
	o.Lock()
	defer o.Unlock()
	o.asked = append(o.asked, p.ARN)
	return o.refusal, o.broken
}

// refuse sets why roles allow no deletion.
func (o *others) refuse(why string) {
	o.Lock()
	defer o.Unlock()
	o.refusal = why
}

func (o *others) Reachable(context.Context, string) error { return o.unreachable }

// clock is a policy clock that stands still until it is moved.
type clock struct {
	sync.Mutex
	t time.Time
}

func (c *clock) now() time.Time {
	c.Lock()
	defer c.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.Lock()
	defer c.Unlock()
	c.t = c.t.Add(d)
}

type fixture struct {
	*vault.Service
	t      *testing.T
	ctx    context.Context
	db     *meta.DB
	others *others
	clock  *clock
	events *events.Service
}

func newFixture(t *testing.T, db *meta.DB, quota int) *fixture {
	f := &fixture{
		t: t, db: db, ctx: as(t.Context(), account, region),
		others: &others{tags: map[string]map[string]string{}, protected: map[string]string{}, inUse: map[string]bool{}},
		clock:  &clock{t: time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)},
	}
	f.events = events.New(events.Options{DB: db, Now: f.clock.now})
	f.Service = f.with(f.others, quota)
	return f
}

// with makes a service on the database that asks somebody else about roles.
func (f *fixture) with(a vault.Authority, quota int) *vault.Service {
	return vault.New(vault.Options{
		DB: f.db, Tags: f.others, Protected: f.others, Restores: f.others, Store: f.others, Authority: a, Events: f.events,
		Principals: f.others,
		Pager:      restjson.NewPager([]byte("key")), Now: f.clock.now, Quota: quota,
	})
}

func as(ctx context.Context, account, region string) context.Context {
	return caller.With(ctx, caller.Caller{Account: account, Region: region})
}

// run runs a test on both databases.
func run(t *testing.T, test func(t *testing.T, f *fixture)) {
	t.Parallel()
	metatest.Run(t, func(t *testing.T, open func(*testing.T, ...meta.MigrationSet) *meta.DB) {
		test(t, newFixture(t, open(t, vault.Migrations(), events.Migrations()), 0))
	})
}

// vault makes a vault and returns its UUID.
func (f *fixture) vault(name string) string {
	f.t.Helper()
	if _, err := f.CreateBackupVault(f.ctx, &backupapi.CreateBackupVaultInput{BackupVaultName: name}); err != nil {
		f.t.Fatal(err)
	}
	var id string
	f.update(func(ctx context.Context, tx *meta.Tx) (err error) {
		id, err = f.VaultUUIDTx(ctx, tx, account, region, name)
		return err
	})
	return id
}

func (f *fixture) update(fn func(context.Context, *meta.Tx) error) {
	f.t.Helper()
	if err := f.db.Update(f.ctx, fn); err != nil {
		f.t.Fatal(err)
	}
}

func pointARN(n int) string {
	return fmt.Sprintf("arn:aws:backup:%s:%s:recovery-point:00000000-0000-4000-8000-%012d", region, account, n)
}

// creating makes recovery point n of a vault, which is CREATING.
func (f *fixture) creating(id string, n int) string {
	f.t.Helper()
	f.update(func(ctx context.Context, tx *meta.Tx) error {
		_, err := f.CreatePointTx(ctx, tx, newPoint(id, n))
		return err
	})
	return pointARN(n)
}

func newPoint(id string, n int) vault.NewPoint {
	return vault.NewPoint{
		VaultUUID: id, ARN: pointARN(n), ResourceARN: dataARN, ResourceType: "EFS", ResourceName: "data", RoleARN: role,
		JobID: fmt.Sprint("job-", n), InitiatedAt: time.Date(2026, 3, 1, 11, 0, 0, 0, time.UTC),
	}
}

func completion(n int) vault.Completion {
	return vault.Completion{
		StoreID: fmt.Sprintf("%032x", n), LogicalBytes: 1000, StoredBytes: 100,
		Metadata: map[string]string{"file-system-id": "fs-1"}, Tags: map[string]string{"k": "v"},
	}
}

// completed makes recovery point n of a vault.
func (f *fixture) completed(id string, n int) string {
	f.t.Helper()
	arn := f.creating(id, n)
	f.update(func(ctx context.Context, tx *meta.Tx) error {
		return f.CompletePointTx(ctx, tx, id, arn, completion(n))
	})
	return arn
}

// wantError checks the name and the text of an API error.
func wantError(t *testing.T, err error, name, text string) {
	t.Helper()
	api, ok := errors.AsType[wire.APIError](err)
	if !ok || api.ErrorName() != name {
		t.Errorf("error = %v, want %s", err, name)
		return
	}
	if want := name + ": " + text; text != "" && err.Error() != want {
		t.Errorf("error = %q, want %q", err, want)
	}
}

func TestCreateBackupVault(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		in := &backupapi.CreateBackupVaultInput{
			BackupVaultName: "home", CreatorRequestId: new("req-1"), BackupVaultTags: map[string]string{"a": "b"},
		}
		made, err := f.CreateBackupVault(f.ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		arn := "arn:aws:backup:eu-west-1:123456789012:backup-vault:home"
		want := &backupapi.CreateBackupVaultOutput{BackupVaultArn: &arn, BackupVaultName: new("home"), CreationDate: new(f.clock.now())}
		if diff := cmp.Diff(want, made); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(in.BackupVaultTags, f.others.tags[arn]); diff != "" {
			t.Error("tags:", diff)
		}
		f.clock.add(time.Hour)
		if again, err := f.CreateBackupVault(f.ctx, in); err != nil || !cmp.Equal(made, again) {
			t.Errorf("repeated request = %v, %v, want the first answer", again, err)
		}

		in.BackupVaultTags = nil
		_, err = f.CreateBackupVault(f.ctx, in)
		wantError(t, err, "AlreadyExistsException", "Backup vault with the same name already exists")
		if exists, ok := errors.AsType[*backupapi.AlreadyExistsException](err); !ok || exists.Arn != arn || exists.CreatorRequestId != "req-1" {
			t.Errorf("error = %+v, want the existing vault's Arn and CreatorRequestId", exists)
		}

		_, err = f.CreateBackupVault(f.ctx, &backupapi.CreateBackupVaultInput{BackupVaultName: "x1", CreatorRequestId: new("a b")})
		wantError(t, err, "InvalidParameterValueException", "")
		for _, ctx := range []context.Context{as(f.ctx, account, "us-east-1"), as(f.ctx, "000000000000", region)} {
			_, err = f.DescribeBackupVault(ctx, &backupapi.DescribeBackupVaultInput{BackupVaultName: "home"})
			wantError(t, err, "ResourceNotFoundException", "Backup vault home does not exist")
		}
	})
}

func TestCreateBackupVault_QuotaHoldsInARace(t *testing.T) {
	t.Parallel()
	metatest.Run(t, func(t *testing.T, open func(*testing.T, ...meta.MigrationSet) *meta.DB) {
		f := newFixture(t, open(t, vault.Migrations(), events.Migrations()), 3)
		errs := make([]error, 8)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() {
				_, errs[i] = f.CreateBackupVault(f.ctx, &backupapi.CreateBackupVaultInput{BackupVaultName: fmt.Sprint("vault-", i)})
			})
		}
		wg.Wait()
		made := 0
		for _, err := range errs {
			if err == nil {
				made++
				continue
			}
			wantError(t, err, "LimitExceededException", "The limit of 3 backup vaults per account and Region is reached")
		}
		if made != 3 {
			t.Errorf("%d vaults were made, want 3", made)
		}
	})
}

func TestDescribeBackupVault(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		f.creating(id, 1)
		got, err := f.DescribeBackupVault(f.ctx, &backupapi.DescribeBackupVaultInput{BackupVaultName: "home", BackupVaultAccountId: new(account)})
		if err != nil {
			t.Fatal(err)
		}
		want := &backupapi.DescribeBackupVaultOutput{
			BackupVaultArn: new("arn:aws:backup:eu-west-1:123456789012:backup-vault:home"), BackupVaultName: new("home"),
			CreationDate: new(f.clock.now()), EncryptionKeyType: new(backupapi.EncryptionKeyTypeAwsOwnedKmsKey), Locked: new(false),
			NumberOfRecoveryPoints: new(int64(1)), VaultState: new(backupapi.VaultStateAvailable), VaultType: new(backupapi.VaultTypeBackupVault),
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		_, err = f.DescribeBackupVault(f.ctx, &backupapi.DescribeBackupVaultInput{BackupVaultName: "home", BackupVaultAccountId: new("000000000000")})
		if _, denied := errors.AsType[*wire.Denied](err); !denied {
			t.Errorf("vault of another account: %v, want a refusal", err)
		}
	})
}

func TestListBackupVaults_PagesByName(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		for _, name := range []string{"b1", "a1", "C1", "d1", "c1"} {
			f.vault(name)
		}
		var got []string
		in := &backupapi.ListBackupVaultsInput{MaxResults: new(2)}
		for {
			out, err := f.ListBackupVaults(f.ctx, in)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range out.BackupVaultList {
				got = append(got, *v.BackupVaultName)
			}
			if in.NextToken = out.NextToken; in.NextToken == nil {
				break
			}
		}
		if diff := cmp.Diff([]string{"C1", "a1", "b1", "c1", "d1"}, got); diff != "" {
			t.Error(diff)
		}
		for _, in := range []*backupapi.ListBackupVaultsInput{
			{ByShared: new(true)}, {ByVaultType: new(backupapi.VaultTypeLogicallyAirGappedBackupVault)},
		} {
			if out, err := f.ListBackupVaults(f.ctx, in); err != nil || out.BackupVaultList == nil || len(out.BackupVaultList) != 0 {
				t.Errorf("ListBackupVaults(%+v) = %+v, %v, want an empty list", in, out, err)
			}
		}
		_, err := f.ListBackupVaults(f.ctx, &backupapi.ListBackupVaultsInput{NextToken: new("x")})
		if _, bad := errors.AsType[*wire.Invalid](err); !bad {
			t.Errorf("foreign token: %v", err)
		}
	})
}

func TestDeleteBackupVault(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		arn := f.creating(id, 1)
		in := &backupapi.DeleteBackupVaultInput{BackupVaultName: "home"}
		_, err := f.DeleteBackupVault(f.ctx, in)
		wantError(t, err, "InvalidRequestException", "Backup vault cannot be deleted because it contains recovery points.")
		if e, ok := errors.AsType[*backupapi.InvalidRequestException](err); !ok || e.Code != "ERROR_9101" || e.Context != "1" {
			t.Errorf("error = %+v, want Code ERROR_9101 and Context 1", e)
		}
		for range 2 {
			f.update(func(ctx context.Context, tx *meta.Tx) error { return f.DropCreatingTx(ctx, tx, id, arn) })
		}
		if _, err := f.DeleteBackupVault(f.ctx, in); err != nil {
			t.Fatal(err)
		}
		if len(f.others.tags) != 0 {
			t.Errorf("tags left: %v", f.others.tags)
		}
		_, err = f.DeleteBackupVault(f.ctx, in)
		wantError(t, err, "ResourceNotFoundException", "Backup vault home does not exist")
		if again := f.vault("home"); again == id {
			t.Error("a vault made anew has the UUID of the old one")
		}
		if _, err := f.Vault(f.ctx, id); !errors.Is(err, vault.ErrNotFound) {
			t.Errorf("Vault(old) = %v, want ErrNotFound", err)
		}
	})
}
