package job_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/job"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/wire"
)

func TestStartBackupJob(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		in := backupInput()
		in.Lifecycle = &backupapi.Lifecycle{DeleteAfterDays: new(int64(30))}
		in.StartWindowMinutes, in.RecoveryPointTags = new(int64(60)), map[string]string{"a": "b"}
		out, err := f.StartBackupJob(f.ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		want := &backupapi.DescribeBackupJobOutput{
			AccountId: new(account), BackupJobId: out.BackupJobId, BackupVaultName: new("home"),
			BackupVaultArn: new("arn:aws:backup:eu-west-1:123456789012:backup-vault:home"), ResourceArn: new(dataARN),
			ResourceType: new("EFS"), ResourceName: new("data"), IamRoleArn: new(role), State: new(backupapi.BackupJobStateCreated),
			CreationDate: &start, InitiationDate: &start, StartBy: new(start.Add(time.Hour)), PercentDone: new("0.0"),
			BackupSizeInBytes: new(int64(0)), BytesTransferred: new(int64(0)), IsParent: new(false), IsEncrypted: new(true),
			VaultType: new("BACKUP_VAULT"), VaultLockState: new("UNLOCKED"), RecoveryPointArn: out.RecoveryPointArn,
			RecoveryPointLifecycle: &backupapi.Lifecycle{DeleteAfterDays: new(int64(30))},
		}
		if diff := cmp.Diff(want, f.describe(*out.BackupJobId)); diff != "" {
			t.Error(diff)
		}
		if n := f.enqueued(*out.BackupJobId); n != 1 {
			t.Errorf("enqueued %d times, want once", n)
		}
		b, err := f.Backup(f.ctx, *out.BackupJobId)
		if err != nil || b.VaultUUID != vaultUUID || b.Tags["a"] != "b" || b.DeleteAfterDays != 30 {
			t.Errorf("Backup = %+v, %v", b, err)
		}
		for _, ctx := range []context.Context{as(f.ctx, account, "us-east-1"), as(f.ctx, "000000000000", region)} {
			_, err := f.DescribeBackupJob(ctx, &backupapi.DescribeBackupJobInput{BackupJobId: *out.BackupJobId})
			wantError(t, err, "ResourceNotFoundException", "Backup job "+*out.BackupJobId+" does not exist")
		}
	})
}

func TestStartBackupJob_Errors(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		type input = backupapi.StartBackupJobInput
		tests := []struct {
			name       string
			change     func(*input)
			want, text string
		}{
			{"unknown vault", func(in *input) { in.BackupVaultName = "absent" }, "ResourceNotFoundException", "Backup vault absent does not exist"},
			{"malformed ARN", func(in *input) { in.ResourceArn = "foo" }, "InvalidParameterValueException", ""},
			{"unsupported type", func(in *input) { in.ResourceArn = "arn:aws:s3:::bucket" }, "InvalidParameterValueException", "Unsupported resource type: arn:aws:s3:::bucket"},
			{"start window", func(in *input) { in.StartWindowMinutes = new(int64(59)) }, "InvalidParameterValueException", "StartWindowMinutes must be between 60 and 52560000: 59"},
			{"complete window", func(in *input) { in.CompleteWindowMinutes = new(int64(52_560_001)) }, "InvalidParameterValueException", ""},
			{"lifecycle", func(in *input) { in.Lifecycle = &backupapi.Lifecycle{MoveToColdStorageAfterDays: new(int64(1))} }, "InvalidRequestException", ""},
			{"role", func(in *input) { in.IamRoleArn = "arn:aws:iam::123456789012:role/x" }, "InvalidParameterValueException", "IAM Role arn:aws:iam::123456789012:role/x cannot be assumed by AWS Backup"},
			{"reserved tag", func(in *input) { in.RecoveryPointTags = map[string]string{"AWS:x": ""} }, "InvalidParameterValueException", ""},
			{"tag character", func(in *input) { in.RecoveryPointTags = map[string]string{"x": "a\nb"} }, "InvalidParameterValueException", ""},
			{"long tag", func(in *input) { in.RecoveryPointTags = map[string]string{"x": strings.Repeat("ä", 257)} }, "InvalidParameterValueException", `RecoveryPointTags: the value of "x" has more than 256 characters`},
			{"air-gapped vault", func(in *input) { in.LogicallyAirGappedBackupVaultArn = new("arn") }, "InvalidRequestException", ""},
			{"options", func(in *input) { in.BackupOptions = map[string]string{"WindowsVSS": "enabled"} }, "InvalidRequestException", ""},
			{"index", func(in *input) { in.Index = new(backupapi.IndexEnabled) }, "InvalidRequestException", ""},
		}
		for _, tt := range tests {
			in := backupInput()
			in.IdempotencyToken = new(tt.name)
			tt.change(in)
			_, err := f.StartBackupJob(f.ctx, in)
			wantError(t, err, tt.want, tt.text)
			ok := backupInput()
			ok.IdempotencyToken = new(tt.name)
			if _, err := f.StartBackupJob(f.ctx, ok); err != nil {
				t.Errorf("%s: the refused request has used up its token: %v", tt.name, err)
			}
		}
	})
}

func TestStartBackupJob_IdempotencyToken(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		in := backupInput()
		in.IdempotencyToken = new("token")
		first, err := f.StartBackupJob(f.ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		f.clock.add(time.Hour)
		if again, err := f.StartBackupJob(f.ctx, in); err != nil || !cmp.Equal(first, again) {
			t.Errorf("same request = %+v, %v, want %+v", again, err, first)
		}
		other := backupInput()
		other.IdempotencyToken, other.RecoveryPointTags = new("token"), map[string]string{"a": "b"}
		_, err = f.StartBackupJob(f.ctx, other)
		wantError(t, err, "InvalidParameterValueException", `IdempotencyToken "token" was used by a request with other parameters`)
		elsewhere, err := f.StartBackupJob(as(f.ctx, "000000000000", region), in)
		if err != nil || *elsewhere.BackupJobId == *first.BackupJobId {
			t.Errorf("another account's request = %+v, %v, want a job of its own", elsewhere, err)
		}
	})
}

func TestStartBackupJob_IdempotencyTokenRace(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		ids := make([]string, 8)
		var wg sync.WaitGroup
		for i := range ids {
			wg.Go(func() {
				in := backupInput()
				in.IdempotencyToken = new("token")
				out, err := f.StartBackupJob(f.ctx, in)
				if err != nil {
					t.Error(err)
					return
				}
				ids[i] = *out.BackupJobId
			})
		}
		wg.Wait()
		for _, id := range ids {
			if id != ids[0] {
				t.Errorf("jobs %v, want one", ids)
			}
		}
		list, err := f.ListBackupJobs(f.ctx, &backupapi.ListBackupJobsInput{})
		if err != nil || len(list.BackupJobs) != 1 {
			t.Errorf("%d jobs, %v, want one", len(list.BackupJobs), err)
		}
	})
}

func TestListBackupJobs_Filters(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		waiting := f.backup(otherARN)
		f.clock.add(time.Minute)
		done, l := f.running(dataARN)
		if err := f.complete(l, job.Result{}); err != nil {
			t.Fatal(err)
		}
		f.clock.add(time.Minute)
		failed, l := f.running(dataARN)
		f.update(func(ctx context.Context, tx *meta.Tx) error { return f.FailTx(ctx, tx, l, "resource x does not exist") })
		end := f.clock.now()

		type input = backupapi.ListBackupJobsInput
		tests := []struct {
			name string
			in   *input
			want []string
		}{
			{"newest first", &input{}, []string{failed, done, waiting}},
			{"account", &input{ByAccountId: new(account)}, []string{failed, done, waiting}},
			{"state", &input{ByState: new(backupapi.BackupJobStateCompleted)}, []string{done}},
			{"resource", &input{ByResourceArn: new(otherARN)}, []string{waiting}},
			{"type", &input{ByResourceType: new("EBS")}, nil},
			{"vault", &input{ByBackupVaultName: new("home")}, []string{failed, done, waiting}},
			{"other vault", &input{ByBackupVaultName: new("other")}, nil},
			{"created after", &input{ByCreatedAfter: &start}, []string{failed, done}},
			{"created before", &input{ByCreatedBefore: &end}, []string{done, waiting}},
			{"completed after", &input{ByCompleteAfter: new(end.Add(-time.Minute))}, []string{failed}},
			{"completed before", &input{ByCompleteBefore: &end}, []string{done}},
			{"category", &input{ByMessageCategory: new("ResourceNotFound")}, []string{failed}},
			{"success", &input{ByMessageCategory: new("Success")}, []string{done}},
			{"unknown category", &input{ByMessageCategory: new("x")}, nil},
			{"parent", &input{ByParentJobId: new("x")}, nil},
		}
		for _, tt := range tests {
			out, err := f.ListBackupJobs(f.ctx, tt.in)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, j := range out.BackupJobs {
				got = append(got, *j.BackupJobId)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s: %s", tt.name, diff)
			}
		}
		_, err := f.ListBackupJobs(f.ctx, &input{ByAccountId: new("000000000000")})
		if _, denied := errors.AsType[*wire.Denied](err); !denied {
			t.Errorf("another account: %v, want a refusal", err)
		}
		f.clock.add(30*24*time.Hour - 30*time.Second)
		if out, err := f.ListBackupJobs(f.ctx, &input{}); err != nil || len(out.BackupJobs) != 1 {
			t.Errorf("after 30 days: %d jobs, %v, want one", len(out.BackupJobs), err)
		}
	})
}

func TestListBackupJobs_PagesSurviveNewJobs(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		for i := range 25 {
			f.backup(dataARN)
			if i%3 == 0 {
				f.clock.add(time.Second)
			}
		}
		seen := map[string]int{}
		in := &backupapi.ListBackupJobsInput{MaxResults: new(4)}
		for {
			out, err := f.ListBackupJobs(f.ctx, in)
			if err != nil {
				t.Fatal(err)
			}
			for _, j := range out.BackupJobs {
				seen[*j.BackupJobId]++
			}
			f.clock.add(time.Second)
			f.backup(dataARN)
			if in.NextToken = out.NextToken; in.NextToken == nil {
				break
			}
		}
		if len(seen) != 25 {
			t.Errorf("%d jobs listed, want the 25 that were there at first", len(seen))
		}
		for id, n := range seen {
			if n != 1 {
				t.Errorf("%s was listed %d times", id, n)
			}
		}
	})
}

func TestStopBackupJob(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		stop := func(id string) error {
			_, err := f.StopBackupJob(f.ctx, &backupapi.StopBackupJobInput{BackupJobId: id})
			return err
		}
		waiting := f.backup(dataARN)
		if err := stop(waiting); err != nil {
			t.Fatal(err)
		}
		f.wantState(waiting, backupapi.BackupJobStateAborted, "Backup job was stopped by user.", "MISCELLANEOUS")
		if d := f.describe(waiting); d.CompletionDate == nil || d.RecoveryPointArn != nil {
			t.Errorf("aborted job = %+v, want a CompletionDate and no recovery point", d)
		}
		wantError(t, stop(waiting), "InvalidRequestException", "Backup job "+waiting+" cannot be stopped: its state is ABORTED")
		wantError(t, stop("x"), "ResourceNotFoundException", "Backup job x does not exist")

		id, l := f.running(dataARN)
		for range 2 {
			if err := stop(id); err != nil {
				t.Fatal(err)
			}
		}
		f.wantState(id, backupapi.BackupJobStateAborting, "", "")
		if signal, err := f.Heartbeat(f.ctx, l, job.Progress{}); signal != job.Stop || err != nil {
			t.Errorf("Heartbeat = %d, %v, want Stop", signal, err)
		}
		if err := f.complete(l, job.Result{}); !errors.Is(err, job.ErrAborting) {
			t.Errorf("CompleteTx of a stopped job = %v, want ErrAborting", err)
		}
		f.update(func(ctx context.Context, tx *meta.Tx) error { return f.AbortTx(ctx, tx, l) })
		f.wantState(id, backupapi.BackupJobStateAborted, "Backup job was stopped by user.", "MISCELLANEOUS")

		id, l = f.running(dataARN)
		if err := stop(id); err != nil {
			t.Fatal(err)
		}
		f.update(func(ctx context.Context, tx *meta.Tx) error { return f.FailTx(ctx, tx, l, "context canceled") })
		f.wantState(id, backupapi.BackupJobStateAborted, "Backup job was stopped by user.", "MISCELLANEOUS")
	})
}

func TestMergeTags(t *testing.T) {
	t.Parallel()
	many := map[string]string{}
	for i := range 50 {
		many[fmt.Sprint(i)] = "resource"
	}
	merged, err := job.MergeTags(many, map[string]string{"0": "job"})
	if err != nil || len(merged) != 50 || merged["0"] != "job" {
		t.Errorf("MergeTags = %v, %v, want 50 with the job's tag winning", merged, err)
	}
	_, err = job.MergeTags(many, map[string]string{"x": "job"})
	if want := "More than 50 tags specified: the resource and the backup job have 51 together."; err == nil || err.Error() != want {
		t.Errorf("MergeTags = %v, want %s", err, want)
	} else if c := job.Category(job.Failed, err.Error()); c != "LIMIT_EXCEEDED" {
		t.Errorf("category = %s", c)
	}
}

func TestCategory(t *testing.T) {
	t.Parallel()
	tests := []struct {
		state         job.State
		message, want string
	}{
		{job.Completed, "", "SUCCESS"},
		{job.Completed, "3 items were skipped.", "MISCELLANEOUS"},
		{job.Failed, "IAM Role x cannot be assumed by AWS Backup", "ACCESS_DENIED"},
		{job.Failed, "Insufficient privileges: role x does not allow a:Do on y", "ACCESS_DENIED"},
		{job.Failed, "resource arn:x does not exist", "RESOURCE_NOT_FOUND"},
		{job.Expired, "Backup job expired before completion.", "JOB_EXPIRED"},
		{job.Failed, "Backup job failed because there was a running job for the same resource.", "CONCURRENT_JOB"},
		{job.Failed, "unsupported resource type S3", "RESOURCE_NOT_SUPPORTED"},
		{job.Failed, "the disk is on fire", "MISCELLANEOUS"},
	}
	for _, tt := range tests {
		if got := job.Category(tt.state, tt.message); got != tt.want {
			t.Errorf("Category(%s, %q) = %s, want %s", tt.state, tt.message, got, tt.want)
		}
	}
}

func TestStartBackupJob_OfATypeThatIsOptedOut(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		f.others.optedOut = "EFS"
		_, err := f.StartBackupJob(f.ctx, backupInput())
		e, ok := errors.AsType[*backupapi.InvalidRequestException](err)
		if !ok || !strings.Contains(e.Message, "not opted in for resources of type EFS") {
			t.Errorf("StartBackupJob = %v, want InvalidRequestException", err)
		}
	})
}
