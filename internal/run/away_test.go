package run_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/events"
	"github.com/lockfast/lockfast/internal/job"
	"github.com/lockfast/lockfast/internal/keys"
	"github.com/lockfast/lockfast/internal/ledger"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
	"github.com/lockfast/lockfast/internal/registry"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/run"
	"github.com/lockfast/lockfast/internal/vault"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/resource"
)

// failing is a driver whose captures fail, after some progress.
type failing struct {
	resource.Driver
	err   error
	bytes int64
}

func (d *failing) Capture(_ context.Context, c resource.Capture) (resource.Report, error) {
	c.Progress(resource.Progress{Bytes: d.bytes})
	return resource.Report{}, d.err
}

// lenient accepts all tags.
type lenient struct{ aside }

func (lenient) CheckTags(map[string]string) error { return nil }

// awayKit is a server whose store, role and driver can be away.
type awayKit struct {
	*world
	backups *run.Backups
	now     time.Time
	store   error // why the store does not open
	driver  *failing
}

func away(t *testing.T, test func(t *testing.T, k *awayKit)) {
	t.Parallel()
	metatest.Run(t, func(t *testing.T, open func(*testing.T, ...meta.MigrationSet) *meta.DB) {
		db := open(t, vault.Migrations(), job.Migrations(), registry.Migrations(), events.Migrations(), ledger.Migrations())
		root, err := keys.Create(t.TempDir() + "/root.key")
		if err != nil {
			t.Fatal(err)
		}
		log, pager, ledgers := slog.New(slog.DiscardHandler), restjson.NewPager([]byte("key")), ledger.New(db, ledger.Options{})
		k := &awayKit{now: time.Now().UTC().Truncate(time.Second), driver: &failing{err: errors.New("broken")},
			world: &world{T: t, ctx: caller.With(t.Context(), caller.Caller{Account: ownAccount, Region: ownRegion})}}
		now := func() time.Time { return k.now }
		blobs := mem.New()
		store := run.NewStore(run.StoreOptions{Blobs: func() (blob.Store, error) { return blobs, k.store }, DB: db, Ledgers: ledgers,
			Keys: root, Domain: func(context.Context, string) ([32]byte, error) { return [32]byte{1}, nil },
			Repo: repo.Options{TempDir: t.TempDir()}, Log: log})
		resources := registry.New(registry.Options{DB: db, Tags: lenient{}, Pager: pager, Now: now, Region: ownRegion})
		told := events.New(events.Options{DB: db, Now: now})
		k.vaults = vault.New(vault.Options{DB: db, Tags: aside{}, Protected: aside{}, Restores: aside{}, Pager: pager, Events: told, Now: now})
		k.jobs = job.New(job.Options{DB: db, Events: told, Vaults: k.vaults, Resources: resources, Roles: aside{}, Pager: pager, Now: now})
		k.backups = &run.Backups{DB: db, Jobs: k.jobs, Vaults: k.vaults, Resources: resources, Ledgers: ledgers, Store: store,
			Drivers: map[string]run.Driver{registry.EFS: {Driver: k.driver, Name: "directory"}}, Sizes: &run.Sizes{Vaults: k.vaults, Log: log},
			Authority: func(context.Context, string, string, []caller.Access) error { return k.denied },
			Metrics:   run.NewMetrics(prometheus.NewRegistry()), Log: log}
		if err := resources.Declare(t.Context(), ownAccount, []registry.Declared{{Path: "/srv/web"}}); err != nil {
			t.Fatal(err)
		}
		if _, err := k.vaults.CreateBackupVault(k.ctx, &backupapi.CreateBackupVaultInput{BackupVaultName: "home"}); err != nil {
			t.Fatal(err)
		}
		test(t, k)
	})
}

// begin starts a backup job and works on it.
func (k *awayKit) begin() (id string) {
	k.Helper()
	out, err := k.jobs.StartBackupJob(k.ctx, &backupapi.StartBackupJobInput{BackupVaultName: "home",
		ResourceArn: registry.ARN(ownAccount, ownRegion, "/srv/web"), IamRoleArn: ownRole, StartWindowMinutes: new(int64(60))})
	if err != nil {
		k.Fatal(err)
	}
	k.workOn(*out.BackupJobId)
	return *out.BackupJobId
}

func (k *awayKit) workOn(id string) {
	k.Helper()
	if err := k.backups.Work(k.ctx, &river.Job[job.RunBackup]{Args: job.RunBackup{JobID: id}}); err != nil {
		k.Fatal(err)
	}
}

// wants expects a backup job in a state, with a part of its message, and no recovery point.
func (k *awayKit) wants(id string, state backupapi.BackupJobState, message string) {
	k.Helper()
	j, err := k.jobs.DescribeBackupJob(k.ctx, &backupapi.DescribeBackupJobInput{BackupJobId: id})
	if err != nil {
		k.Fatal(err)
	}
	if *j.State != state || !strings.Contains(*j.StatusMessage, message) {
		k.Errorf("job = %s, %s, want %s, %s", *j.State, *j.StatusMessage, state, message)
	}
	if n := k.points(); n != 0 {
		k.Errorf("there are %d recovery points, want none", n)
	}
}

func (k *awayKit) later(d time.Duration) {
	k.Helper()
	k.now = k.now.Add(d)
	if err := k.jobs.Sweep(k.ctx); err != nil {
		k.Fatal(err)
	}
}

func TestBackups_StoreThatComesBack(t *testing.T) {
	away(t, func(t *testing.T, k *awayKit) {
		k.store = errors.New("the bucket does not answer")
		id := k.begin()
		k.wants(id, backupapi.BackupJobStateCreated, "the bucket does not answer")
		k.store = nil
		k.later(time.Minute)
		k.workOn(id)
		k.wants(id, backupapi.BackupJobStateFailed, "broken") // the driver's, so it has come that far
	})
}

func TestBackups_StoreThatStaysAway(t *testing.T) {
	away(t, func(t *testing.T, k *awayKit) {
		k.store = errors.New("the bucket does not answer")
		id := k.begin()
		k.later(time.Hour)
		k.wants(id, backupapi.BackupJobStateExpired, "Backup job expired before completion. It could not begin: open vault")
	})
}

func TestBackups_AreTriedAgainForCausesThatPass(t *testing.T) {
	away(t, func(t *testing.T, k *awayKit) {
		for _, c := range []struct {
			name        string
			denied, err error
			bytes       int64
			want        backupapi.BackupJobState
		}{
			{"role", errors.New("role is gone"), nil, 0, backupapi.BackupJobStateFailed},
			{"database while the role is asked", fmt.Errorf("read role: %w", meta.ErrUnavailable), nil, 0, backupapi.BackupJobStateCreated},
			{"driver", nil, errors.New("disk is broken"), 0, backupapi.BackupJobStateFailed},
			{"store before data has moved", nil, fmt.Errorf("write pack: %w", blob.ErrUnavailable), 0, backupapi.BackupJobStateCreated},
			{"store after data has moved", nil, fmt.Errorf("write pack: %w", blob.ErrUnavailable), 10, backupapi.BackupJobStateFailed},
		} {
			k.denied, k.driver.err, k.driver.bytes = c.denied, c.err, c.bytes
			id := k.begin()
			t.Log(c.name)
			k.wants(id, c.want, errors.Join(c.denied, c.err).Error())
		}
	})
}
