package job_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/job"
	"github.com/lockfast/lockfast/internal/meta"
)

const awayMessage = "store is not available"

// stop stops a backup job.
func (f *fixture) stop(id string) {
	f.t.Helper()
	if _, err := f.StopBackupJob(f.ctx, &backupapi.StopBackupJobInput{BackupJobId: id}); err != nil {
		f.t.Fatal(err)
	}
}

// putOff claims a backup job and puts it off.
func (f *fixture) putOff(id string) {
	f.t.Helper()
	_, l, v := f.claim(f.Service, id)
	if v != job.Claimed {
		f.t.Fatalf("verdict = %d, want Claimed", v)
	}
	f.update(func(ctx context.Context, tx *meta.Tx) error { return f.RetryTx(ctx, tx, l, awayMessage) })
}

func TestRetryTx_IsTriedAtLeastEveryTenMinutes(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.backup(dataARN)
		var pauses []string
		for range 10 {
			f.putOff(id)
			f.wantState(id, backupapi.BackupJobStateCreated, awayMessage, "")
			from, n := f.clock.now(), f.enqueued(id)
			for f.enqueued(id) == n {
				f.clock.add(5 * time.Second)
				f.sweep()
			}
			pauses = append(pauses, f.clock.now().Sub(from).String())
		}
		want := []string{"5s", "10s", "20s", "40s", "1m20s", "2m40s", "5m20s", "10m0s", "10m0s", "10m0s"}
		if diff := cmp.Diff(want, pauses); diff != "" {
			t.Errorf("pauses (-want +got):\n%s", diff)
		}
		if _, _, v := f.claim(f.Service, id); v != job.Claimed {
			t.Errorf("verdict = %d, want Claimed", v)
		}
		f.wantState(id, backupapi.BackupJobStateRunning, "", "")
	})
}

func TestRetryTx_IsOverWithTheStartWindow(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.backup(dataARN)
		f.putOff(id)
		f.clock.add(8 * time.Hour)
		f.sweep()
		f.wantState(id, backupapi.BackupJobStateExpired,
			"Backup job expired before completion. It could not begin: "+awayMessage+".", "JOB_EXPIRED")
		if diff := cmp.Diff([]string{"CREATED/", "RUNNING/BACKUP_JOB_STARTED", "CREATED/", "EXPIRED/BACKUP_JOB_EXPIRED"}, f.states(id)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}

func TestRetryTx_LetsOthersHaveTheResource(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		first, second := f.backup(dataARN), ""
		f.clock.add(time.Second)
		second = f.backup(dataARN)
		f.putOff(first)
		if n := f.enqueued(second); n != 2 {
			t.Errorf("the job behind was enqueued %d times, want 2", n)
		}
		if _, _, v := f.claim(f.Service, first); v != job.Busy {
			t.Errorf("verdict = %d of the job that was put off, want Busy", v)
		}
		if _, _, v := f.claim(f.Service, second); v != job.Claimed {
			t.Errorf("verdict = %d of the job behind, want Claimed", v)
		}
	})
}

func TestRetryTx_AfterAStop(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id, l := f.running(dataARN)
		f.stop(id)
		f.update(func(ctx context.Context, tx *meta.Tx) error { return f.RetryTx(ctx, tx, l, awayMessage) })
		f.wantState(id, backupapi.BackupJobStateAborted, "Backup job was stopped by user.", "MISCELLANEOUS")
		err := f.db.Update(f.ctx, func(ctx context.Context, tx *meta.Tx) error { return f.RetryTx(ctx, tx, l, awayMessage) })
		if !errors.Is(err, job.ErrLost) {
			t.Errorf("RetryTx of a job that has ended = %v, want ErrLost", err)
		}
	})
}

func TestStopBackupJob_InEveryState(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		later := f.scheduled()
		later.NotBefore = start.Add(10 * time.Minute)
		notYet := f.add(later).ID
		waiting, putOff := f.backup(otherARN), f.backup(dataARN)
		f.putOff(putOff)
		for _, id := range []string{notYet, waiting, putOff} {
			f.stop(id)
			f.wantState(id, backupapi.BackupJobStateAborted, "Backup job was stopped by user.", "MISCELLANEOUS")
			_, err := f.StopBackupJob(f.ctx, &backupapi.StopBackupJobInput{BackupJobId: id})
			wantError(t, err, "InvalidRequestException", "Backup job "+id+" cannot be stopped: its state is ABORTED")
		}
		id, web, crm := f.parent()
		f.putOff(web)
		_, l, _ := f.claim(f.Service, crm)
		f.stop(id)
		f.stop(id) // asks for the same
		f.wantState(web, backupapi.BackupJobStateAborted, "Backup job was stopped by user.", "MISCELLANEOUS")
		f.wantState(crm, backupapi.BackupJobStateAborting, "", "")
		if v := f.end(id); v != job.Busy {
			t.Errorf("verdict = %d of a parent with a child, want Busy", v)
		}
		f.update(func(ctx context.Context, tx *meta.Tx) error { return f.AbortTx(ctx, tx, l) })
		f.end(id)
		f.wantState(id, backupapi.BackupJobStateAborted, "Backup job was stopped by user.", "MISCELLANEOUS")
	})
}

// The children of a group have the completion window of their parent.
func TestParentJob_RunsOutOfTime(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		j := f.scheduled()
		j.ResourceARN, j.ResourceType, j.StartWindow, j.Copies = shopARN, "CloudFormation", 8*time.Hour, nil
		id := f.add(j).ID
		f.clock.add(time.Hour)
		if v := f.open(id, members()...); v != job.Claimed {
			t.Fatalf("verdict = %d, want Claimed", v)
		}
		children := f.children(id)
		web, crm := children["web"], children["crm"]
		_, l, _ := f.claim(f.Service, web.ID)
		f.clock.add(3*time.Hour - time.Second)
		if signal, err := f.Heartbeat(f.ctx, l, job.Progress{}); signal != job.GoOn || err != nil {
			t.Errorf("Heartbeat in time = %d, %v, want GoOn", signal, err)
		}
		f.clock.add(time.Second)
		if signal, err := f.Heartbeat(f.ctx, l, job.Progress{}); signal != job.OutOfTime || err != nil {
			t.Errorf("Heartbeat after the window = %d, %v, want OutOfTime", signal, err)
		}
		f.update(func(ctx context.Context, tx *meta.Tx) error { return f.ExpireTx(ctx, tx, l) })
		f.sweep()
		f.end(id)
		for _, id := range []string{web.ID, crm.ID, id} {
			f.wantState(id, backupapi.BackupJobStateExpired, "Backup job expired before completion.", "JOB_EXPIRED")
		}
	})
}
