package run_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/events"
	"github.com/lockfast/lockfast/internal/job"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
	"github.com/lockfast/lockfast/internal/registry"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/run"
	"github.com/lockfast/lockfast/internal/vault"
)

// The caller of these tests.
const (
	ownAccount, ownRegion = "000000000000", "us-east-1"
	ownRole               = "arn:aws:iam::000000000000:role/backup"
)

// aside stands for the nouns that these tests are not about.
type aside struct{}

func (aside) SetTagsTx(context.Context, *meta.Tx, string, string, map[string]string) error {
	return nil
}
func (aside) DropTagsTx(context.Context, *meta.Tx, string, string) error { return nil }
func (aside) TagsTx(context.Context, *meta.Tx, string, string) (map[string]string, error) {
	return nil, nil
}
func (aside) InUseTx(context.Context, *meta.Tx, string, string) (bool, error) { return false, nil }
func (aside) RoleUsable(context.Context, string, string) (bool, error)        { return true, nil }
func (aside) PutProtectedTx(context.Context, *meta.Tx, string, string, string, backupapi.ProtectedResource) error {
	return nil
}
func (aside) DropProtectedTx(context.Context, *meta.Tx, string, string, string, string) error {
	return nil
}

// world is a database with a vault, home, and a group, shop, of one directory.
type world struct {
	*testing.T
	ctx    context.Context
	jobs   *job.Service
	vaults *vault.Service
	worker *run.Composites
	asked  []caller.Access
	denied error
}

func newWorld(t *testing.T, tags map[string]string) *world {
	t.Helper()
	db := metatest.Open(t, meta.Options{URL: "sqlite::memory:"}, vault.Migrations(), job.Migrations(), registry.Migrations(),
		events.Migrations())
	pager := restjson.NewPager([]byte("key"))
	w := &world{T: t, ctx: caller.With(t.Context(), caller.Caller{Account: ownAccount, Region: ownRegion})}
	resources := registry.New(registry.Options{DB: db, Pager: pager, Now: time.Now, Region: ownRegion})
	w.vaults = vault.New(vault.Options{DB: db, Tags: aside{}, Protected: aside{}, Restores: aside{}, Pager: pager,
		Events: events.New(events.Options{DB: db})})
	w.jobs = job.New(job.Options{DB: db, Vaults: w.vaults, Resources: resources, Roles: aside{}, Pager: pager})
	w.worker = &run.Composites{DB: db, Jobs: w.jobs, Vaults: w.vaults, Resources: resources,
		Metrics: run.NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler),
		Authority: func(_ context.Context, _, _ string, rights []caller.Access) error {
			w.asked = append(w.asked, rights...)
			return w.denied
		}}
	if err := resources.Declare(t.Context(), ownAccount, []registry.Declared{
		{Path: "/srv/web"},
		{Type: registry.CloudFormation, Name: "shop", Members: []registry.Member{{Name: "web"}}, Tags: tags},
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.vaults.CreateBackupVault(w.ctx, &backupapi.CreateBackupVaultInput{BackupVaultName: "home"}); err != nil {
		t.Fatal(err)
	}
	return w
}

// start starts a backup job and lets it begin.
func (w *world) start(resource string, tags map[string]string) *backupapi.DescribeBackupJobOutput {
	w.Helper()
	out, err := w.jobs.StartBackupJob(w.ctx, &backupapi.StartBackupJobInput{BackupVaultName: "home", ResourceArn: resource,
		IamRoleArn: ownRole, RecoveryPointTags: tags})
	if err != nil {
		w.Fatal(err)
	}
	w.work(*out.BackupJobId)
	j, err := w.jobs.DescribeBackupJob(w.ctx, &backupapi.DescribeBackupJobInput{BackupJobId: *out.BackupJobId})
	if err != nil {
		w.Fatal(err)
	}
	return j
}

func (w *world) work(id string) {
	w.Helper()
	if err := w.worker.Work(w.ctx, &river.Job[job.RunComposite]{Args: job.RunComposite{JobID: id}}); err != nil {
		w.Fatal(err)
	}
}

// points returns how many recovery points there are.
func (w *world) points() int64 {
	w.Helper()
	v, err := w.vaults.DescribeBackupVault(w.ctx, &backupapi.DescribeBackupVaultInput{BackupVaultName: "home"})
	if err != nil {
		w.Fatal(err)
	}
	return *v.NumberOfRecoveryPoints
}

// wantFailed expects a job that has failed before it began.
func (w *world) wantFailed(j *backupapi.DescribeBackupJobOutput, message, category string) {
	w.Helper()
	if *j.State != backupapi.BackupJobStateFailed || !strings.Contains(*j.StatusMessage, message) || *j.MessageCategory != category {
		w.Errorf("job = %s, %v, %v, want FAILED by %q, %s", *j.State, *j.StatusMessage, *j.MessageCategory, message, category)
	}
	if n := w.points(); n != 0 || *j.NumberOfChildJobs != 0 {
		w.Errorf("a job that has not begun has %d recovery points and %d children", n, *j.NumberOfChildJobs)
	}
}

func TestComposites_AskForTheRightToSeeTheGroup(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	shop := registry.GroupARN(ownAccount, ownRegion, "shop")
	w.denied = errors.New("the role is not enough")
	w.wantFailed(w.start(shop, nil), "the role is not enough", "MISCELLANEOUS")
	if len(w.asked) != 1 || w.asked[0].Action != "cloudformation:DescribeStacks" || w.asked[0].Resource != shop {
		t.Errorf("asked for %+v", w.asked)
	}
	w.denied = nil
	if j := w.start(shop, nil); *j.State != backupapi.BackupJobStateRunning || *j.NumberOfChildJobs != 1 || w.points() != 1 {
		t.Errorf("job = %+v with %d recovery points, want it to run", j, w.points())
	}
}

func TestComposites_CannotBegin(t *testing.T) {
	t.Parallel()
	tags := map[string]string{}
	for c := 'A'; c < 'A'+50; c++ {
		tags[string(c)] = ""
	}
	w := newWorld(t, tags)
	w.wantFailed(w.start(registry.GroupARN(ownAccount, ownRegion, "nobody"), nil), "does not exist", "RESOURCE_NOT_FOUND")
	w.wantFailed(w.start(registry.GroupARN(ownAccount, ownRegion, "shop"), map[string]string{"more": ""}), "More than 50 tags specified", "LIMIT_EXCEEDED")
}

// River hands work out again that it has handed out before.
func TestComposites_MayRunAgainAtAnyTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	j := w.start(registry.GroupARN(ownAccount, ownRegion, "shop"), nil)
	for range 3 {
		w.work(*j.BackupJobId)
	}
	w.work("no such job")
	list, err := w.jobs.ListBackupJobs(w.ctx, &backupapi.ListBackupJobsInput{ByParentJobId: j.BackupJobId})
	if err != nil || len(list.BackupJobs) != 1 || w.points() != 1 {
		t.Fatalf("%d children and %d recovery points, %v, want one each", len(list.BackupJobs), w.points(), err)
	}
	if _, err := w.jobs.StopBackupJob(w.ctx, &backupapi.StopBackupJobInput{BackupJobId: *list.BackupJobs[0].BackupJobId}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		w.work(*j.BackupJobId)
		j, err = w.jobs.DescribeBackupJob(w.ctx, &backupapi.DescribeBackupJobInput{BackupJobId: *j.BackupJobId})
		if err != nil || *j.State != backupapi.BackupJobStateFailed || w.points() != 0 {
			t.Errorf("job = %+v, %v with %d recovery points, want FAILED and none", j, err, w.points())
		}
	}
}
