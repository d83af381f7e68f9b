package job_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/job"
	"github.com/lockfast/lockfast/internal/meta"
)

const (
	shopARN  = "arn:aws:cloudformation:eu-west-1:123456789012:stack/shop/6f1d2b3c-0000-4000-8000-000000000000"
	innerARN = "arn:aws:cloudformation:eu-west-1:123456789012:stack/inner/6f1d2b3c-0000-4000-8000-000000000001"
)

func members() []job.Member {
	return []job.Member{{Name: "web", ResourceARN: dataARN}, {Name: "crm", ResourceARN: otherARN}}
}

// open lets a parent job begin with child jobs.
func (f *fixture) open(id string, members ...job.Member) (v job.Verdict) {
	f.t.Helper()
	f.update(func(ctx context.Context, tx *meta.Tx) error {
		b, verdict, err := f.OpenTx(ctx, tx, id)
		if v = verdict; err != nil || v != job.Claimed {
			return err
		}
		return f.AddChildrenTx(ctx, tx, b, members)
	})
	return v
}

// parent starts the backup of a group with two members, and returns its id and those of the children.
func (f *fixture) parent() (id, web, crm string) {
	f.t.Helper()
	id = f.backup(shopARN)
	f.clock.add(time.Minute)
	if v := f.open(id, members()...); v != job.Claimed {
		f.t.Fatalf("verdict = %d, want Claimed", v)
	}
	byName := f.children(id)
	return id, byName["web"].ID, byName["crm"].ID
}

func (f *fixture) children(id string) map[string]job.Backup {
	f.t.Helper()
	byName := map[string]job.Backup{}
	f.update(func(ctx context.Context, tx *meta.Tx) error {
		_, children, _, err := f.ChildrenTx(ctx, tx, id)
		for _, c := range children {
			byName[c.Member] = c
		}
		return err
	})
	return byName
}

// end ends a parent job if its children have ended.
func (f *fixture) end(id string) (v job.Verdict) {
	f.t.Helper()
	f.update(func(ctx context.Context, tx *meta.Tx) error {
		parent, children, verdict, err := f.ChildrenTx(ctx, tx, id)
		if v = verdict; err != nil || v != job.Claimed {
			return err
		}
		state, message := job.Outcome(parent, children)
		return f.EndParentTx(ctx, tx, parent, state, message)
	})
	return v
}

// finish claims a backup job and ends it, as FAILED if there is a message.
func (f *fixture) finish(id, message string) {
	f.t.Helper()
	_, l, v := f.claim(f.Service, id)
	if v != job.Claimed {
		f.t.Fatalf("verdict = %d, want Claimed", v)
	}
	f.update(func(ctx context.Context, tx *meta.Tx) error {
		if message != "" {
			return f.FailTx(ctx, tx, l, message)
		}
		return f.CompleteTx(ctx, tx, l, job.Result{Progress: job.Progress{Items: 2, BytesRead: 10, BytesStored: 5, TotalBytes: 10}})
	})
}

func TestStartBackupJob_OfAGroup(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		in := backupInput()
		in.ResourceArn, in.IdempotencyToken = shopARN, new("token")
		in.Lifecycle = &backupapi.Lifecycle{DeleteAfterDays: new(int64(30))}
		in.StartWindowMinutes, in.CompleteWindowMinutes = new(int64(60)), new(int64(90))
		in.RecoveryPointTags = map[string]string{"a": "b"}
		out, err := f.StartBackupJob(f.ctx, in)
		if err != nil || !*out.IsParent {
			t.Fatalf("StartBackupJob = %+v, %v, want a parent", out, err)
		}
		if again, err := f.StartBackupJob(f.ctx, in); err != nil || !cmp.Equal(out, again) {
			t.Errorf("same request = %+v, %v, want %+v", again, err, out)
		}
		id := *out.BackupJobId
		if d := f.describe(id); !*d.IsParent || *d.NumberOfChildJobs != 0 || *d.ResourceType != "CloudFormation" {
			t.Errorf("DescribeBackupJob before it begins = %+v", d)
		}
		f.clock.add(40 * time.Minute)
		if v := f.open(id, members()...); v != job.Claimed {
			t.Fatalf("verdict = %d, want Claimed", v)
		}
		if v := f.open(id, members()...); v != job.Taken {
			t.Errorf("verdict = %d of a second try, want Taken", v)
		}
		d := f.describe(id)
		if *d.State != backupapi.BackupJobStateRunning || *d.NumberOfChildJobs != 2 || d.ChildJobsInState["CREATED"] != 2 {
			t.Errorf("DescribeBackupJob of a running parent = %+v", d)
		}
		web := f.children(id)["web"]
		want := job.Backup{
			ID: web.ID, Account: account, Region: region, VaultUUID: vaultUUID, VaultName: "home", ResourceARN: dataARN,
			ResourceType: "EFS", ResourceName: "data", RoleARN: role, PointARN: web.PointARN, DeleteAfterDays: 30,
			Tags:      map[string]string{"a": "b"},
			Composite: job.Composite{ParentID: id, ParentPoint: *out.RecoveryPointArn, Member: "web"},
			Status: job.Status{State: job.Created, CreatedAt: start.Add(40 * time.Minute), StartBy: start.Add(90 * time.Minute),
				ExpireBy: start.Add(90 * time.Minute)},
		}
		if diff := cmp.Diff(want, web); diff != "" {
			t.Error(diff)
		}
		if n := f.enqueued(web.ID); n != 1 {
			t.Errorf("the child was enqueued %d times, want once", n)
		}
		if d := f.describe(web.ID); *d.IsParent || *d.ParentJobId != id || d.NumberOfChildJobs != nil {
			t.Errorf("DescribeBackupJob of a child = %+v", d)
		}
		for parent, want := range map[string]int{id: 2, web.ID: 0, "": 0} {
			list, err := f.ListBackupJobs(f.ctx, &backupapi.ListBackupJobsInput{ByParentJobId: &parent})
			if err != nil || len(list.BackupJobs) != want {
				t.Errorf("%d jobs by parent %q, %v, want %d", len(list.BackupJobs), parent, err, want)
			}
		}
	})
}

func TestParentJob_EndsWithItsLastChild(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		tests := []struct {
			name, web, crm string
			want           backupapi.BackupJobState
			message        string
			category       string
		}{
			{"all", "", "", backupapi.BackupJobStateCompleted, "", "SUCCESS"},
			{"one fails", "", "/srv/crm does not exist", backupapi.BackupJobStatePartial,
				"Member crm was not backed up: /srv/crm does not exist.", "RESOURCE_NOT_FOUND"},
			{"none", "no luck.", "no", backupapi.BackupJobStateFailed,
				"Member web was not backed up: no luck. Member crm was not backed up: no.", "MISCELLANEOUS"},
		}
		for _, tt := range tests {
			id, web, crm := f.parent()
			before := f.enqueued(id)
			if v := f.end(id); v != job.Busy {
				t.Errorf("%s: verdict = %d while the children wait, want Busy", tt.name, v)
			}
			f.finish(web, tt.web)
			if v := f.end(id); v != job.Busy {
				t.Errorf("%s: verdict = %d while a child waits, want Busy", tt.name, v)
			}
			f.finish(crm, tt.crm)
			if n := f.enqueued(id) - before; n < 2 {
				t.Errorf("%s: the parent was enqueued %d times, want once for each child", tt.name, n)
			}
			if v := f.end(id); v != job.Claimed {
				t.Errorf("%s: verdict = %d after the children, want Claimed", tt.name, v)
			}
			f.wantState(id, tt.want, tt.message, tt.category)
			if v := f.end(id); v != job.Taken {
				t.Errorf("%s: verdict = %d after the end, want Taken", tt.name, v)
			}
			d := f.describe(id)
			if made := tt.want != backupapi.BackupJobStateFailed; made != (d.RecoveryPointArn != nil) || d.CompletionDate == nil {
				t.Errorf("%s: RecoveryPointArn = %v, CompletionDate = %v", tt.name, d.RecoveryPointArn, d.CompletionDate)
			}
			if tt.want == backupapi.BackupJobStateCompleted && (*d.BytesTransferred != 10 || *d.PercentDone != "100.0") {
				t.Errorf("%s: %d bytes, %s percent, want those of the children", tt.name, *d.BytesTransferred, *d.PercentDone)
			}
		}
	})
}

func TestParentJob_ShowsTheProgressOfItsChildren(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id, web, crm := f.parent()
		f.finish(web, "")
		_, l, _ := f.claim(f.Service, crm)
		if _, err := f.Heartbeat(f.ctx, l, job.Progress{BytesRead: 10, BytesStored: 7, TotalBytes: 30}); err != nil {
			t.Fatal(err)
		}
		d := f.describe(id)
		if *d.PercentDone != "50.0" || *d.BytesTransferred != 12 || d.ChildJobsInState["RUNNING"] != 1 || d.ChildJobsInState["COMPLETED"] != 1 {
			t.Errorf("DescribeBackupJob = %s percent, %d bytes, %v", *d.PercentDone, *d.BytesTransferred, d.ChildJobsInState)
		}
		list, err := f.ListBackupJobs(f.ctx, &backupapi.ListBackupJobsInput{ByResourceArn: new(shopARN)})
		if err != nil || *list.BackupJobs[0].PercentDone != "50.0" {
			t.Errorf("ListBackupJobs = %+v, %v", list, err)
		}
	})
}

func TestStopBackupJob_OfAParent(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		stop := func(id string) error {
			_, err := f.StopBackupJob(f.ctx, &backupapi.StopBackupJobInput{BackupJobId: id})
			return err
		}
		id := f.backup(shopARN)
		f.open(id, job.Member{Name: "inner", ResourceARN: innerARN}, members()[1])
		inner := f.children(id)["inner"]
		if !inner.IsParent {
			t.Fatalf("child = %+v, want a parent itself", inner)
		}
		f.open(inner.ID, members()[0])
		web, crm := f.children(inner.ID)["web"].ID, f.children(id)["crm"].ID
		_, l, _ := f.claim(f.Service, web)
		if err := stop(id); err != nil {
			t.Fatal(err)
		}
		f.wantState(crm, backupapi.BackupJobStateAborted, "Backup job was stopped by user.", "MISCELLANEOUS")
		for _, running := range []string{id, inner.ID, web} {
			f.wantState(running, backupapi.BackupJobStateAborting, "", "")
		}
		if err := stop(id); err != nil {
			t.Errorf("stopping twice: %v", err)
		}
		f.update(func(ctx context.Context, tx *meta.Tx) error { return f.AbortTx(ctx, tx, l) })
		for _, parent := range []string{inner.ID, id} {
			if v := f.end(parent); v != job.Claimed {
				t.Errorf("verdict = %d, want Claimed", v)
			}
			f.wantState(parent, backupapi.BackupJobStateAborted, "Backup job was stopped by user.", "MISCELLANEOUS")
		}
		wantError(t, stop(id), "InvalidRequestException", "")
	})
}

func TestParentJob_StoppingAChildMakesItPartial(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id, web, crm := f.parent()
		if _, err := f.StopBackupJob(f.ctx, &backupapi.StopBackupJobInput{BackupJobId: web}); err != nil {
			t.Fatal(err)
		}
		f.finish(crm, "")
		f.end(id)
		f.wantState(id, backupapi.BackupJobStatePartial, "Member web was not backed up: Backup job was stopped by user.", "MISCELLANEOUS")
	})
}

func TestParentJob_MemberWaitsForAnotherBackupOfIt(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		_, lease := f.running(dataARN)
		id, web, _ := f.parent()
		if _, _, v := f.claim(f.Service, web); v != job.Busy {
			t.Errorf("verdict = %d for a member that is being backed up, want Busy", v)
		}
		second := f.backup(shopARN)
		if v := f.open(second, members()...); v != job.Busy {
			t.Errorf("verdict = %d for a group that is being backed up, want Busy", v)
		}
		before := f.enqueued(web)
		if err := f.complete(lease, job.Result{}); err != nil {
			t.Fatal(err)
		}
		if n := f.enqueued(web) - before; n != 1 {
			t.Errorf("the waiting child was enqueued %d times, want once", n)
		}
		for _, c := range f.children(id) {
			f.finish(c.ID, "")
		}
		before = f.enqueued(second)
		f.end(id)
		if n := f.enqueued(second) - before; n != 1 {
			t.Errorf("the waiting parent was enqueued %d times, want once", n)
		}
	})
}

func TestParentJob_Expires(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.backup(shopARN)
		running, _, _ := f.parent()
		f.clock.add(8*time.Hour + time.Minute)
		if v := f.open(id, members()...); v != job.TooLate {
			t.Errorf("verdict = %d after the start window, want TooLate", v)
		}
		f.wantState(id, backupapi.BackupJobStateExpired,
			"Backup job failed because there was a running job for the same resource.", "CONCURRENT_JOB")
		if err := f.Sweep(f.ctx); err != nil {
			t.Fatal(err)
		}
		f.end(running)
		f.wantState(running, backupapi.BackupJobStateExpired, "Backup job expired before completion.", "JOB_EXPIRED")
	})
}

// A server that was killed leaves no parent that nobody looks at.
func TestParentJob_IsLookedAtAgain(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id, web, crm := f.parent()
		f.finish(web, "")
		f.finish(crm, "")
		before := f.enqueued(id)
		if err := f.RestartAll(f.ctx); err != nil {
			t.Fatal(err)
		}
		if n := f.enqueued(id) - before; n != 1 {
			t.Errorf("enqueued %d times, want once", n)
		}
		if err := f.Sweep(f.ctx); err != nil {
			t.Fatal(err)
		}
		if n := f.enqueued(id) - before; n != 1 {
			t.Errorf("enqueued %d times after another sweep, want once", n)
		}
		if kinds := f.kinds(id); len(kinds) != 1 || kinds["job_run_composite"] == 0 {
			t.Errorf("work = %v, want that of parents", kinds)
		}
	})
}

// kinds counts the work that was enqueued for a job.
func (f *fixture) kinds(id string) map[string]int {
	f.t.Helper()
	kinds := map[string]int{}
	f.update(func(ctx context.Context, tx *meta.Tx) error {
		rows, err := tx.Query(ctx, "SELECT kind, CAST(args AS TEXT) FROM river_job")
		if err != nil {
			return err
		}
		defer rows.Close()
		clear(kinds)
		for rows.Next() {
			var kind, args string
			if err := rows.Scan(&kind, &args); err != nil {
				return err
			}
			if strings.Contains(args, id) {
				kinds[kind]++
			}
		}
		return rows.Err()
	})
	return kinds
}

// Children that end at the same moment do not both leave the end of the parent to the other.
func TestParentJob_RaceOfItsChildren(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		for range 5 {
			id, web, crm := f.parent()
			var wg sync.WaitGroup
			for _, child := range []string{web, crm} {
				_, l, _ := f.claim(f.Service, child)
				wg.Go(func() {
					if err := f.complete(l, job.Result{}); err != nil {
						t.Error(err)
						return
					}
					if f.enqueued(id) == 0 {
						t.Error("the parent was not enqueued")
					}
					f.end(id) // as the work that this child has enqueued
				})
			}
			wg.Wait()
			f.wantState(id, backupapi.BackupJobStateCompleted, "", "SUCCESS")
		}
	})
}

func TestOutcome_NamesSomeMembersOnly(t *testing.T) {
	t.Parallel()
	children := []job.Backup{{Status: job.Status{State: job.Partial, Message: "inner"}, Composite: job.Composite{Member: "group"}}}
	for range 12 {
		children = append(children, job.Backup{Status: job.Status{State: job.Failed, Message: strings.Repeat("ä", 1000)},
			Composite: job.Composite{Member: "m"}})
	}
	state, message := job.Outcome(job.Backup{Status: job.Status{State: job.Running}}, children)
	if state != job.Partial || !strings.HasPrefix(message, "Member group is incomplete: inner. Member m was not backed up: ää") ||
		!strings.HasSuffix(message, " 3 more members are missing or incomplete.") || len(message) > 8000 {
		t.Errorf("Outcome = %s, %d bytes: %.100q", state, len(message), message)
	}
}
