package server_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
	"github.com/lockfast/lockfast/internal/server"
)

// TestOpen_RefusesTheStoreOfALostDatabase removes the database of a store. No server starts on a new one, however often it
// is tried, and nothing is replaced; what the error says brings everything back.
func TestOpen_RefusesTheStoreOfALostDatabase(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o server.Options) {
		f := start(t, o)
		f.vault("home")
		point := f.backup("home", f.directory(map[string]string{"one": "1"}))
		f.written()
		f.stop()
		c := &f.options.Config
		if strings.HasPrefix(c.Metadata, "sqlite:") {
			files, err := filepath.Glob(filepath.Join(c.Data, "meta.db*"))
			if err != nil || len(files) == 0 {
				t.Fatalf("files of the database = %v, %v", files, err)
			}
			for _, name := range files {
				if err := os.Remove(name); err != nil {
					t.Fatal(err)
				}
			}
		} else {
			c.Metadata = metatest.PostgreSQL(t)
		}
		before := contents(f, c.Data)
		delete(before, "lock")
		for _, private := range []bool{false, true, false} {
			f.options.Private = private
			s, err := server.Open(t.Context(), f.options)
			if err == nil {
				t.Fatal("a server started on a new database beside a full store")
			}
			if s != nil {
				t.Error("Open returned a server and an error")
			}
			for _, want := range []string{c.Store, "lockfast store rebuild " + c.Store + " --key " + c.KeyFile, "--data", "database "} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Open = %v, want it to say %q", err, want)
				}
			}
			after := contents(f, c.Data)
			delete(after, "lock")
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("a refused start changed the data directory:\n%s", diff)
			}
		}
		if _, err := server.Rebuild(t.Context(), server.RebuildOptions{Config: *c, Key: c.KeyFile, Log: o.Log}); err != nil {
			t.Fatal(err)
		}
		f.options.Private = false
		f = start(t, f.options)
		if got := tree(t, f.restoredTo(point)); got["one"] == "" {
			t.Errorf("restore = %v, want what was backed up", got)
		}
	})
}

// TestOpen_RefusesTheStoreOfAnotherServer: a server whose database is new does not share a store with one that is in use.
func TestOpen_RefusesTheStoreOfAnotherServer(t *testing.T) {
	t.Parallel()
	f := start(t, options(t, t.TempDir()))
	f.vault("home")
	f.backup("home", f.directory(map[string]string{"one": "1"}))
	o := options(t, t.TempDir())
	o.Config.Store, o.Config.KeyFile = f.options.Config.Store, f.options.Config.KeyFile
	if err := o.Config.Check(); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "another server") {
		t.Errorf("Open = %v, want the store of another server refused", err)
	}
}

// TestOpen_OnANewDatabase: neither what is no vault nor a store that is away keeps a first server from starting.
func TestOpen_OnANewDatabase(t *testing.T) {
	t.Parallel()
	first := start(t, options(t, t.TempDir()))
	key := first.options.Config.KeyFile
	remains := t.TempDir()
	write(t, remains, map[string]string{"0b4c1b6e-0a37-4a3f-8f2c-0f2b6a4f2c11/d/ab/pack": "x", "lost+found/file": "x", "other/format": "x"})
	for name, store := range map[string]string{
		"remains":      remains,
		"absent":       filepath.Join(t.TempDir(), "absent"),
		"out of reach": "s3://bucket/prefix?path_style=true&endpoint=http://127.0.0.1:1",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(t, t.TempDir())
			o.Config.Store, o.Config.KeyFile = store, key
			f := start(t, o)
			vaults, err := f.sdk.ListBackupVaults(t.Context(), &backup.ListBackupVaultsInput{})
			if err != nil || len(vaults.BackupVaultList) != 0 {
				t.Errorf("ListBackupVaults = %v, %v, want none", vaults, err)
			}
		})
	}
}

// TestServe_WithADatabaseOlderThanItsStore restores a copy of the database from before a backup. The backup is not lost by a
// deletion, a reclaim, a repair or the end of the vault, and a rebuild brings it back.
func TestServe_WithADatabaseOlderThanItsStore(t *testing.T) {
	t.Parallel()
	o := options(t, t.TempDir())
	o.Config.Store = filepath.Join(t.TempDir(), "store")
	f := start(t, o)
	o = f.options
	f.vault("home")
	first := f.backup("home", f.directory(map[string]string{"one": random(1, 1<<20)}))
	f.written()
	f.stop()
	file := filepath.Join(o.Config.Data, "meta.db")
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	f = start(t, o)
	second := f.backup("home", f.directory(map[string]string{"one": random(1, 1<<20), "two": "2"}))
	f.written()
	f.stop()
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := os.Remove(file + suffix); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(file, old, 0o600); err != nil {
		t.Fatal(err)
	}
	f = start(t, o)
	refused := func(id string) {
		t.Helper()
		task := f.ended(id)
		if why := aws.ToString(task.StatusMessage); task.State != lockfastapi.TaskStateFailed ||
			!strings.Contains(why, "is in the store and not in the database, which is older than the store") || !strings.Contains(why, "store rebuild") {
			t.Errorf("%s ended %s: %s, want it to say that the database is older than the store", task.Kind, task.State, why)
		}
	}
	for level := range 4 {
		refused(own(f, lockfastapi.StartVerification, &lockfastapi.StartVerificationInput{BackupVaultName: "home", Level: &level}).TaskId)
	}
	if err := f.delete("home", first); err != nil {
		t.Fatal(err)
	}
	f.gone("home", first)
	refused(own(f, lockfastapi.StartReclaim, &lockfastapi.StartReclaimInput{BackupVaultName: "home"}).TaskId)
	refused(own(f, lockfastapi.StartRepair, &lockfastapi.StartRepairInput{BackupVaultName: "home"}).TaskId)
	if _, err := f.sdk.DeleteBackupVault(t.Context(), &backup.DeleteBackupVaultInput{BackupVaultName: aws.String("home")}); err != nil {
		t.Fatal(err)
	}
	f.eventually(func() bool {
		n, err := f.server.Erasing(t.Context())
		return err == nil && n == 0
	})
	f.stop()
	l := &lost{options: o}
	r, report, err := l.rebuild(t, filepath.Join(t.TempDir(), "new"), "sqlite")
	if err != nil || report.RecoveryPoints != 1 {
		t.Fatalf("Rebuild = %+v, %v, want the second recovery point", report, err)
	}
	f = start(t, server.Options{Config: r.Config, Log: o.Log})
	f.task(own(f, lockfastapi.StartReclaim, &lockfastapi.StartReclaimInput{BackupVaultName: "home"}).TaskId)
	if got := tree(t, f.restoredTo(second)); got["two"] == "" {
		t.Errorf("restore = %v, want what was backed up", got)
	}
}

// TestServe_WithAJournalChangedByHand takes an entry out of the journal. A verification says so, nothing else minds, and a rebuild
// puts it right.
func TestServe_WithAJournalChangedByHand(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o server.Options) {
		o.Config.Store = filepath.Join(t.TempDir(), "store")
		f := start(t, o)
		f.vault("home")
		first := f.backup("home", f.directory(map[string]string{"one": "1"}))
		f.backup("home", f.directory(map[string]string{"two": "2"}))
		level := 0
		verification := func() string {
			return own(f, lockfastapi.StartVerification, &lockfastapi.StartVerificationInput{BackupVaultName: "home", Level: &level}).TaskId
		}
		f.task(verification())
		f.written()
		f.stop()
		o = f.options
		db, err := meta.Open(t.Context(), meta.Options{URL: o.Config.Metadata})
		if err != nil {
			t.Fatal(err)
		}
		err = db.Update(t.Context(), func(ctx context.Context, tx *meta.Tx) error {
			_, err := tx.Exec(ctx, "DELETE FROM ledger_journal WHERE number = 2")
			return err
		})
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		f = start(t, o)
		task := f.ended(verification())
		why := aws.ToString(task.StatusMessage)
		for _, want := range []string{"entry 2 is missing or was changed", "journal of commits and deletions", "store rebuild"} {
			if task.State != lockfastapi.TaskStateFailed || !strings.Contains(why, want) {
				t.Errorf("verification ended %s: %s, want it to say %q", task.State, why, want)
			}
		}
		f.task(own(f, lockfastapi.StartReclaim, &lockfastapi.StartReclaimInput{BackupVaultName: "home"}).TaskId)
		f.stop()
		metadata := "sqlite"
		if !strings.HasPrefix(o.Config.Metadata, "sqlite") {
			metadata = metatest.PostgreSQL(t)
		}
		r, report, err := (&lost{options: o}).rebuild(t, filepath.Join(t.TempDir(), "new"), metadata)
		if err != nil || report.RecoveryPoints != 2 {
			t.Fatalf("Rebuild = %+v, %v, want both recovery points", report, err)
		}
		f = start(t, server.Options{Config: r.Config, Log: o.Log})
		f.task(verification())
		f.restoredTo(first)
		f.backup("home", f.directory(map[string]string{"three": "3"}))
		f.task(verification())
	})
}
