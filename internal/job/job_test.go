package job_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/events"
	"github.com/lockfast/lockfast/internal/job"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/wire"
	"github.com/lockfast/lockfast/resource"
)

const (
	account     = "123456789012"
	region      = "eu-west-1"
	dataARN     = "arn:aws:elasticfilesystem:eu-west-1:123456789012:file-system/fs-00000000000000001"
	otherARN    = "arn:aws:elasticfilesystem:eu-west-1:123456789012:file-system/fs-00000000000000002"
	role        = "arn:aws:iam::123456789012:role/service-role/AWSBackupDefaultServiceRole"
	pointARN    = "arn:aws:backup:eu-west-1:123456789012:recovery-point:1eb3b5e7-9eb0-435a-a80b-108b488b0d45"
	offsiteUUID = "0a1d2e1e-8d0c-4c52-9a2c-3a2a1b2c3d4e"
	vaultUUID   = "5c1d2e1e-8d0c-4c52-9a2c-3a2a1b2c3d4e"
)

// others stands for the nouns that jobs work with: a vault, home, with one recovery point, and another one, offsite.
type others struct {
	placement string   // directory of the placement z1, if any
	optedOut  string   // type of resources that the region's settings leave out
	nested    []string // recovery points in those that are composite
	more      map[string]backupapi.DescribeRecoveryPointOutput
}

func (o *others) VaultUUIDTx(_ context.Context, _ *meta.Tx, _, _, name string) (string, error) {
	if name == "offsite" {
		return offsiteUUID, nil
	}
	if name != "home" {
		return "", backupapi.ResourceNotFoundExceptionf("Backup vault %s does not exist", name)
	}
	return vaultUUID, nil
}

func (o *others) RestorableTx(_ context.Context, _ *meta.Tx, _, _, arn string) (*backupapi.DescribeRecoveryPointOutput, error) {
	if d, ok := o.more[arn]; ok {
		return new(d), nil
	}
	if arn != pointARN {
		return nil, backupapi.ResourceNotFoundExceptionf("Recovery point %s does not exist", arn)
	}
	return &backupapi.DescribeRecoveryPointOutput{
		RecoveryPointArn: new(arn), BackupVaultName: new("home"), ResourceArn: new(dataARN), ResourceType: new("EFS"),
		IamRoleArn: new(role), CreationDate: new(start.Add(-time.Hour)), BackupSizeInBytes: new(int64(1000)),
	}, nil
}

func (o *others) RoleOfPoint(_ context.Context, _, _, arn string) (string, error) {
	if arn != pointARN {
		return "", nil
	}
	return role, nil
}

func (o *others) NestedTx(context.Context, *meta.Tx, string, string) ([]string, error) {
	return o.nested, nil
}

func (o *others) CopyableTx(ctx context.Context, tx *meta.Tx, _, _, vault, arn string, l *backupapi.Lifecycle,
) (*backupapi.DescribeRecoveryPointOutput, int64, error) {
	if _, err := o.VaultUUIDTx(ctx, tx, "", "", vault); err != nil {
		return nil, 0, err
	}
	d, err := o.RestorableTx(ctx, tx, "", "", arn)
	if err != nil {
		return nil, 0, err
	}
	d.BackupVaultArn, d.ResourceName = new("arn:aws:backup:eu-west-1:123456789012:backup-vault:"+vault), new("data")
	if d.StatusMessage != nil {
		return d, 0, backupapi.InvalidRequestExceptionf("%s", *d.StatusMessage)
	}
	if l == nil || l.DeleteAfterDays == nil || *l.DeleteAfterDays < 0 {
		return d, 7, nil
	}
	return d, *l.DeleteAfterDays, o.CheckLifecycle(l)
}

func (o *others) CheckLifecycle(l *backupapi.Lifecycle) error {
	if l != nil && l.MoveToColdStorageAfterDays != nil {
		return backupapi.InvalidRequestExceptionf("no cold storage")
	}
	return nil
}

func (o *others) ColdAfterDays(*backupapi.Lifecycle, string) int64 { return 0 }

func (o *others) CopyColdAfterDays(*backupapi.DescribeRecoveryPointOutput, *backupapi.Lifecycle, int64) (int64, error) {
	return 0, nil
}

func (o *others) TypeOf(arn string) (string, bool) {
	if strings.Contains(arn, ":stack/") {
		return "CloudFormation", true
	}
	return "EFS", strings.Contains(arn, ":file-system/")
}

func (o *others) LookupTx(_ context.Context, _ *meta.Tx, _, _, arn string) (resource.Resource, bool, error) {
	if arn != dataARN && arn != otherARN {
		return resource.Resource{}, false, nil
	}
	return resource.Resource{ARN: arn, Type: "EFS", Name: "data"}, true, nil
}

func (o *others) OptedInTx(context.Context, *meta.Tx, string, string) (func(string) bool, error) {
	return func(t string) bool { return t != o.optedOut }, nil
}

func (o *others) RoleUsable(_ context.Context, _, arn string) (bool, error) { return arn == role, nil }

func (o *others) Placement(name string) (string, bool) {
	return o.placement, o.placement != "" && (name == "" || name == "z1")
}

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

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
	*job.Service
	t      *testing.T
	ctx    context.Context
	db     *meta.DB
	clock  *clock
	others *others
}

func newFixture(t *testing.T, db *meta.DB) *fixture {
	f := &fixture{t: t, ctx: as(t.Context(), account, region), db: db, clock: &clock{t: start}, others: &others{}}
	f.Service = f.service(0)
	return f
}

// service makes a service with leases of some length; negative ones are over at once.
func (f *fixture) service(lease time.Duration) *job.Service {
	return job.New(job.Options{
		DB: f.db, Settings: f.others, Vaults: f.others, Resources: f.others, Roles: f.others, Placements: f.others,
		Pager: restjson.NewPager([]byte("key")), Now: f.clock.now, Lease: lease, Management: account,
		Events: events.New(events.Options{DB: f.db, Now: f.clock.now}),
	})
}

func as(ctx context.Context, account, region string) context.Context {
	return caller.With(ctx, caller.Caller{Account: account, Region: region})
}

// run runs a test on both databases.
func run(t *testing.T, test func(t *testing.T, f *fixture)) {
	t.Parallel()
	metatest.Run(t, func(t *testing.T, open func(*testing.T, ...meta.MigrationSet) *meta.DB) {
		test(t, newFixture(t, open(t, job.Migrations(), events.Migrations())))
	})
}

func (f *fixture) update(fn func(context.Context, *meta.Tx) error) {
	f.t.Helper()
	if err := f.db.Update(f.ctx, fn); err != nil {
		f.t.Fatal(err)
	}
}

func backupInput() *backupapi.StartBackupJobInput {
	return &backupapi.StartBackupJobInput{BackupVaultName: "home", ResourceArn: dataARN, IamRoleArn: role}
}

// backup starts a backup job and returns its id.
func (f *fixture) backup(arn string) string {
	f.t.Helper()
	in := backupInput()
	in.ResourceArn = arn
	out, err := f.StartBackupJob(f.ctx, in)
	if err != nil {
		f.t.Fatal(err)
	}
	return *out.BackupJobId
}

// claim tries to claim a backup job.
func (f *fixture) claim(s *job.Service, id string) (job.Backup, job.Lease, job.Verdict) {
	f.t.Helper()
	var (
		b job.Backup
		l job.Lease
		v job.Verdict
	)
	f.update(func(ctx context.Context, tx *meta.Tx) (err error) {
		b, l, v, err = s.ClaimBackupTx(ctx, tx, id)
		return err
	})
	return b, l, v
}

// running starts a backup job and claims it.
func (f *fixture) running(arn string) (string, job.Lease) {
	f.t.Helper()
	id := f.backup(arn)
	_, l, v := f.claim(f.Service, id)
	if v != job.Claimed {
		f.t.Fatalf("verdict = %d, want Claimed", v)
	}
	return id, l
}

func (f *fixture) complete(l job.Lease, r job.Result) error {
	return f.db.Update(f.ctx, func(ctx context.Context, tx *meta.Tx) error { return f.CompleteTx(ctx, tx, l, r) })
}

func (f *fixture) describe(id string) *backupapi.DescribeBackupJobOutput {
	f.t.Helper()
	out, err := f.DescribeBackupJob(f.ctx, &backupapi.DescribeBackupJobInput{BackupJobId: id})
	if err != nil {
		f.t.Fatal(err)
	}
	return out
}

func (f *fixture) wantState(id string, want backupapi.BackupJobState, message, category string) {
	f.t.Helper()
	d := f.describe(id)
	got := [3]string{string(*d.State), text(d.StatusMessage), text(d.MessageCategory)}
	if want := [3]string{string(want), message, category}; got != want {
		f.t.Errorf("job = %q, want %q", got, want)
	}
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// enqueued counts the times that a job was enqueued.
func (f *fixture) enqueued(id string) (n int) {
	f.t.Helper()
	f.update(func(ctx context.Context, tx *meta.Tx) error {
		rows, err := tx.Query(ctx, "SELECT CAST(args AS TEXT) FROM river_job")
		if err != nil {
			return err
		}
		defer rows.Close()
		n = 0
		for rows.Next() {
			var args string
			if err := rows.Scan(&args); err != nil {
				return err
			}
			if strings.Contains(args, id) {
				n++
			}
		}
		return rows.Err()
	})
	return n
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
