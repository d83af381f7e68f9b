package server_test

import (
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/backup/types"
	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/blob/fs"
	"github.com/lockfast/lockfast/blob/fs/crashfs"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/server"
	"github.com/lockfast/lockfast/resource"
)

// survives starts a server on what a cut has left, and expects that it ends everything that was under way and that
// everything that clients were told is so.
func (w *world) survives(t *testing.T, c cut) {
	image := w.images[c.image]
	dir, disk := t.TempDir(), w.disk.State(c.step, c.variant)
	for from, to := range map[string]string{
		image.database: "meta.db", filepath.Join(w.dir, "root.key"): "root.key",
		server.CredentialsFile(w.dir): filepath.Base(server.CredentialsFile(w.dir)),
	} {
		data, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, to), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	w.reopened(t, options(t, dir), disk, image.promises)
	w.rebuilt(t, w.disk.State(c.step, c.variant), image)
}

// rebuilt rebuilds the database from what a cut has left of the store, and expects every recovery point that clients were
// promised, with its data. Parents, which have none, follow their promise within seconds.
func (w *world) rebuilt(t *testing.T, disk *crashfs.Disk, i image) {
	p := i.promises
	o := options(t, t.TempDir())
	if err := o.Config.Check(); err != nil {
		t.Fatal(err)
	}
	r := server.RebuildOptions{Config: o.Config, Key: filepath.Join(w.dir, "root.key"), Log: o.Log}
	if _, err := server.Rebuild(t.Context(), r.WithSystem(disk)); err != nil {
		if len(p.completed) > 0 || !strings.Contains(err.Error(), "there is no vault") && !strings.Contains(err.Error(), "no such file") {
			t.Errorf("rebuild: %v", err)
		}
		return
	}
	f := start(t, server.WithCuts(server.WithDriver(o, func(d resource.Driver) resource.Driver {
		return elsewhere{Driver: d, home: fmt.Sprintf("%s.%d", w.home, p.generation), from: w.out, to: t.TempDir()}
	}), nil, disk))
	defer f.stop()
	db, err := sql.Open("sqlite", filepath.Join(o.Config.Data, "meta.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	f.settled(db) // deletions that were accepted go on
	lost, err := sql.Open("sqlite", i.database)
	if err != nil {
		t.Fatal(err)
	}
	defer lost.Close()
	parents := query(t, lost, "SELECT arn FROM recovery_point WHERE is_parent")
	there := map[string]bool{}
	for _, v := range f.all() {
		there[*v.RecoveryPointArn] = true
		if v.Status == types.RecoveryPointStatusCompleted && aws.ToString(v.IamRoleArn) != role {
			t.Errorf("recovery point %s has lost its role: %s", *v.RecoveryPointArn, aws.ToString(v.IamRoleArn))
		}
	}
	for point := range p.completed {
		if !there[point] && !slices.Contains(parents, point) {
			t.Errorf("recovery point %s is not in the rebuilt database", point)
		}
	}
	w.restorable(f, p)
	for _, v := range must(f.sdk.ListBackupVaults(f.Context(), &backup.ListBackupVaultsInput{}))(f).BackupVaultList {
		f.reclaim(*v.BackupVaultName)
		f.verify(*v.BackupVaultName)
	}
}

// reopened is survives for a data directory and a disk.
func (w *world) reopened(t *testing.T, o server.Options, disk *crashfs.Disk, p promises) {
	home := fmt.Sprintf("%s.%d", w.home, p.generation)
	f := start(t, server.WithCuts(server.WithDriver(o, func(d resource.Driver) resource.Driver {
		return elsewhere{Driver: d, home: home, from: w.out, to: t.TempDir()}
	}), nil, disk))
	db, err := sql.Open("sqlite", filepath.Join(o.Config.Data, "meta.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	f.settled(db)
	f.keeps(p)
	w.restorable(f, p)
	w.usable(f, p)
	f.stop()
	clean(t, db, disk)
}

// settled waits until nothing is under way any more. Besides what the API shows, it looks at the queue.
func (f *fixture) settled(db *sql.DB) {
	f.Helper()
	var left []string
	for range 6000 { // a minute; looks are counted, since a busy machine may stand still
		left = query(f.T, db, `SELECT kind || ' ' || state || ' ' || attempt || ' ' || coalesce(errors, '') FROM river_job
				WHERE state NOT IN ('completed', 'cancelled', 'discarded')
			UNION ALL SELECT 'backup job ' || state FROM backup_job WHERE state IN ('CREATED', 'PENDING', 'RUNNING', 'ABORTING')
			UNION ALL SELECT 'restore job ' || state FROM restore_job WHERE state IN ('PENDING', 'RUNNING')
			UNION ALL SELECT 'task ' || state FROM task WHERE state = 'RUNNING'
			UNION ALL SELECT 'recovery point ' || status FROM recovery_point WHERE status NOT IN ('COMPLETED', 'EXPIRED')
			UNION ALL SELECT 'deletions' FROM vault WHERE deleting_since > 0`)
		if len(left) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	f.Fatalf("still under way: %q", left)
}

// query returns the rows of a statement, a text each.
func query(t *testing.T, db *sql.DB, text string) (all []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), text)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var row string
		if err := rows.Scan(&row); err != nil {
			t.Fatal(err)
		}
		all = append(all, row)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// keeps expects what clients were told.
func (f *fixture) keeps(p promises) {
	f.Helper()
	for name, exists := range p.vaults {
		_, err := f.sdk.DescribeBackupVault(f.Context(), &backup.DescribeBackupVaultInput{BackupVaultName: &name})
		if exists != (err == nil) {
			f.Errorf("vault %s: %v, want it to exist: %t", name, err, exists)
		}
	}
	held := map[string]bool{}
	for _, point := range f.all() {
		held[*point.RecoveryPointArn] = true
		expired := point.Status == types.RecoveryPointStatusExpired
		if p.expired[*point.RecoveryPointArn] && !expired || expired && aws.ToString(point.StatusMessage) == "" {
			f.Errorf("recovery point %s is %s, %q", *point.RecoveryPointArn, point.Status, aws.ToString(point.StatusMessage))
		}
		if p.deleted[*point.RecoveryPointArn] {
			f.Errorf("recovery point %s is there, although its deletion was accepted", *point.RecoveryPointArn)
		}
	}
	for point := range p.expired {
		if !held[point] {
			f.Errorf("recovery point %s was EXPIRED and is lost", point)
		}
	}
	for point := range p.completed {
		if !held[point] {
			f.Errorf("recovery point %s was COMPLETED and is lost", point)
		}
	}
	jobs := map[string]bool{}
	for _, j := range must(f.sdk.ListBackupJobs(f.Context(), &backup.ListBackupJobsInput{}))(f).BackupJobs {
		jobs[*j.BackupJobId] = true
		if failed := j.State == types.BackupJobStateFailed; failed && strings.Contains(aws.ToString(j.StatusMessage), errFault.Error()) {
			continue
		} else if j.State != types.BackupJobStateCompleted {
			f.Errorf("backup job ended %s: %s", j.State, aws.ToString(j.StatusMessage))
		} else if !held[*j.RecoveryPointArn] && !p.unwanted[*j.RecoveryPointArn] {
			f.Errorf("the recovery point of backup job %s is lost", *j.BackupJobId)
		}
	}
	for id := range p.jobs {
		if !jobs[id] {
			f.Errorf("backup job %s was accepted and is lost", id)
		}
	}
	for id := range p.restores {
		if j := f.awaitRestore(id); j.Status != types.RestoreJobStatusCompleted &&
			!strings.Contains(aws.ToString(j.StatusMessage), errFault.Error()) {
			f.Errorf("restore job ended %s: %s", j.Status, aws.ToString(j.StatusMessage))
		}
	}
}

// all returns the recovery points of all vaults, whose counts must be right.
func (f *fixture) all() (all []types.RecoveryPointByBackupVault) {
	f.Helper()
	for _, v := range must(f.sdk.ListBackupVaults(f.Context(), &backup.ListBackupVaultsInput{}))(f).BackupVaultList {
		list := must(f.sdk.ListRecoveryPointsByBackupVault(f.Context(), &backup.ListRecoveryPointsByBackupVaultInput{
			BackupVaultName: v.BackupVaultName}))(f).RecoveryPoints
		if v.NumberOfRecoveryPoints != int64(len(list)) {
			f.Errorf("vault %s has %d recovery points by its count, and %d in the list", *v.BackupVaultName,
				v.NumberOfRecoveryPoints, len(list))
		}
		all = append(all, list...)
	}
	return all
}

// restorable restores every recovery point and compares it with what was backed up.
func (w *world) restorable(f *fixture, p promises) {
	f.Helper()
	for _, point := range f.all() {
		if point.IsParent {
			continue // its children are there, too
		}
		generation, known := w.points[*point.RecoveryPointArn]
		if !known {
			generation = p.generation
		}
		if diff := cmp.Diff(w.trees[generation], f.restoredInto(*point.RecoveryPointArn)); diff != "" {
			f.Errorf("restore of %s differs (%d bytes of difference)", *point.RecoveryPointArn, len(diff))
		}
	}
}

// usable backs up once more, if there is something to back up to, and reclaims; then nothing dead is left.
func (w *world) usable(f *fixture, p promises) {
	f.Helper()
	for _, v := range must(f.sdk.ListBackupVaults(f.Context(), &backup.ListBackupVaultsInput{}))(f).BackupVaultList {
		f.verify(*v.BackupVaultName)
		for _, r := range own(f, lockfastapi.ListResources, &lockfastapi.ListResourcesInput{}).Resources {
			point := f.backup(*v.BackupVaultName, r.ResourceArn)
			f.reclaim(*v.BackupVaultName)
			if r.Type == "CloudFormation" {
				continue
			}
			if diff := cmp.Diff(w.trees[p.generation], f.restoredInto(point)); diff != "" {
				f.Errorf("restore of a new backup differs (%d bytes of difference)", len(diff))
			}
		}
		f.reclaim(*v.BackupVaultName)
		f.verify(*v.BackupVaultName)
		u := own(f, lockfastapi.GetVaultUsage, &lockfastapi.GetVaultUsageInput{BackupVaultName: *v.BackupVaultName})
		if u.DeadBytes != 0 {
			f.Errorf("vault %s has %d dead bytes after a reclaim", *v.BackupVaultName, u.DeadBytes)
		}
	}
}

// clean expects that the store holds what the ledger says and nothing else.
func clean(t *testing.T, db *sql.DB, disk *crashfs.Disk) {
	t.Helper()
	want := map[string]bool{}
	for _, text := range []string{
		// Forgotten ones, of state 5, have rows for other servers to learn of them, and must not be in the store.
		"SELECT vault || '/object ' || lower(hex(id)) || ' state ' || state FROM ledger_object WHERE state < 5",
		"SELECT vault || '/manifest ' || id FROM ledger_point", "SELECT vault || '/refset ' || id FROM ledger_point",
		"SELECT vault || '/state ' || id FROM ledger_point", // of data; those of parents follow
		"SELECT vault_uuid || '/state ' || state_id FROM recovery_point WHERE state_written > 0 AND state_id <> ''",
		"SELECT uuid || '/state of the vault' FROM vault WHERE state_written > 0",
	} {
		for _, row := range query(t, db, text) {
			want[strings.TrimSuffix(row, " state 2")] = true // live
		}
	}
	store, err := fs.Open("", fs.Options{System: disk})
	if err != nil {
		t.Fatal(err)
	}
	vaults := query(t, db, "SELECT uuid FROM vault")
	got := map[string]bool{}
	for info, err := range store.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if vault, _, _ := strings.Cut(string(info.Name), "/"); !slices.Contains(vaults, vault) {
			t.Errorf("the store still holds %s of a vault that was deleted", info.Name)
		} else if entry, counts := row(string(info.Name)); counts {
			got[entry] = true
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the store differs from the ledger (-ledger +store):\n%s", diff)
	}
	unknown := query(t, db, `SELECT 'ledger of vault ' || vault FROM ledger_vault WHERE vault NOT IN (SELECT uuid FROM vault)
		UNION ALL SELECT 'session ' || id || ' of kind ' || kind || ' in state ' || state FROM ledger_session
			WHERE NOT (kind = 3 AND state = 2)
		UNION ALL SELECT 'recovery point ' || id FROM ledger_point WHERE id NOT IN (SELECT store_id FROM recovery_point)`)
	if len(unknown) > 0 {
		t.Errorf("the ledger still holds %q", unknown)
	}
	if left, err := disk.ReadDir(".tmp"); err == nil && len(left) > 0 {
		t.Errorf("the store still holds temporary files: %v", left)
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// row is what clean calls an object; counts is false for what every vault has.
func row(name string) (entry string, counts bool) {
	vault, rest, _ := strings.Cut(name, "/")
	kind, _, _ := strings.Cut(rest, "/")
	base := path.Base(rest)
	switch kind {
	case "format", "format.2", "k", "c":
		return "", false
	case "v":
		return vault + "/state of the vault", true
	case "p":
		base, _, _ = strings.Cut(base, "-")
		return vault + "/state " + base, true
	case "r":
		return vault + "/manifest " + base, true
	case "f":
		base, _, _ = strings.Cut(base, ".")
		return vault + "/refset " + base, true
	}
	if _, err := hex.DecodeString(base); err != nil || len(base) != 32 {
		return "unknown " + name, true
	}
	return vault + "/object " + base, true
}
