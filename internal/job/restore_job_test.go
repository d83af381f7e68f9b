package job_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/job"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
)

func restoreInput(metadata map[string]string) *backupapi.StartRestoreJobInput {
	return &backupapi.StartRestoreJobInput{RecoveryPointArn: pointARN, IamRoleArn: new(role), Metadata: metadata}
}

var here = map[string]string{"file-system-id": "fs-00000000000000001", "newFileSystem": "false"}

// restore starts a restore job and returns it.
func (f *fixture) restore(in *backupapi.StartRestoreJobInput) job.Restore {
	f.t.Helper()
	out, err := f.StartRestoreJob(f.ctx, in)
	if err != nil {
		f.t.Fatal(err)
	}
	r, err := f.Restore(f.ctx, *out.RestoreJobId)
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

func (f *fixture) claimRestore(id string) (job.Restore, job.Lease) {
	f.t.Helper()
	var (
		r job.Restore
		l job.Lease
		v job.Verdict
	)
	f.update(func(ctx context.Context, tx *meta.Tx) (err error) {
		r, l, v, err = f.ClaimRestoreTx(ctx, tx, id)
		return err
	})
	if v != job.Claimed {
		f.t.Fatalf("verdict = %d, want Claimed", v)
	}
	return r, l
}

func (f *fixture) inUse() (used bool) {
	f.t.Helper()
	f.update(func(ctx context.Context, tx *meta.Tx) (err error) {
		used, err = f.InUseTx(ctx, tx, account, pointARN)
		return err
	})
	return used
}

func TestRestoreJob(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		if f.inUse() {
			t.Error("recovery point is in use before any restore")
		}
		r := f.restore(restoreInput(here))
		want := job.Restore{
			ID: r.ID, Account: account, Region: region, VaultUUID: vaultUUID, VaultName: "home", PointARN: pointARN,
			PointCreatedAt: start.Add(-time.Hour), SourceARN: dataARN, ResourceType: "EFS", RoleARN: role, SizeBytes: 1000,
			Metadata: here, Target: job.Target{Resource: dataARN},
			Status: job.Status{State: job.Pending, CreatedAt: start, Progress: job.Progress{TotalBytes: 1000}},
		}
		if diff := cmp.Diff(want, r); diff != "" {
			t.Error(diff)
		}
		if !f.inUse() || f.enqueued(r.ID) != 1 {
			t.Errorf("in use = %v, enqueued %d times", f.inUse(), f.enqueued(r.ID))
		}
		_, l := f.claimRestore(r.ID)
		f.clock.add(90 * time.Second)
		if signal, err := f.Heartbeat(f.ctx, l, job.Progress{Items: 1, BytesRead: 500, TotalBytes: 1000}); signal != job.GoOn || err != nil {
			t.Errorf("Heartbeat = %d, %v, want GoOn", signal, err)
		}
		if err := f.RecordPath(f.ctx, l, "/srv/data/x"); err != nil {
			t.Error(err)
		}
		d, err := f.DescribeRestoreJob(f.ctx, &backupapi.DescribeRestoreJobInput{RestoreJobId: r.ID})
		if err != nil || *d.PercentDone != "50.00%" || *d.Status != backupapi.RestoreJobStatusRunning || *d.ExpectedCompletionTimeMinutes != 2 {
			t.Errorf("running job = %+v, %v", d, err)
		}
		if err := f.complete(l, job.Result{CreatedResourceARN: dataARN, CreatedPath: "/srv/data/y"}); err != nil {
			t.Fatal(err)
		}
		d, err = f.DescribeRestoreJob(f.ctx, &backupapi.DescribeRestoreJobInput{RestoreJobId: r.ID})
		wantOut := &backupapi.DescribeRestoreJobOutput{
			AccountId: new(account), RestoreJobId: &r.ID, RecoveryPointArn: new(pointARN), RecoveryPointCreationDate: new(start.Add(-time.Hour)),
			SourceResourceArn: new(dataARN), BackupVaultArn: new("arn:aws:backup:eu-west-1:123456789012:backup-vault:home"),
			ResourceType: new("EFS"), IamRoleArn: new(role), BackupSizeInBytes: new(int64(1000)), Status: new(backupapi.RestoreJobStatusCompleted),
			CreationDate: &start, CompletionDate: new(f.clock.now()), PercentDone: new("100.00%"), CreatedResourceArn: new(dataARN), IsParent: new(false),
		}
		if diff := cmp.Diff(wantOut, d); err != nil || diff != "" {
			t.Error(err, diff)
		}
		if f.inUse() {
			t.Error("recovery point is in use after the restore")
		}
		if err := f.RecordPath(f.ctx, l, "/x"); !errors.Is(err, job.ErrLost) {
			t.Errorf("RecordPath after the end = %v, want ErrLost", err)
		}
		f.update(func(ctx context.Context, tx *meta.Tx) error {
			created, point, took, err := f.LastRestoreTx(ctx, tx, account, region, dataARN)
			if !created.Equal(start) || !point.Equal(start.Add(-time.Hour)) || took != 90*time.Second {
				t.Errorf("LastRestoreTx = %v, %v, %v", created, point, took)
			}
			return err
		})
		m, err := f.GetRestoreJobMetadata(f.ctx, &backupapi.GetRestoreJobMetadataInput{RestoreJobId: r.ID})
		if diff := cmp.Diff(here, m.Metadata); err != nil || diff != "" {
			t.Error(err, diff)
		}
		for _, ctx := range []context.Context{as(f.ctx, account, "us-east-1"), as(f.ctx, "000000000000", region)} {
			_, err := f.DescribeRestoreJob(ctx, &backupapi.DescribeRestoreJobInput{RestoreJobId: r.ID})
			wantError(t, err, "ResourceNotFoundException", "Restore job "+r.ID+" does not exist")
			_, err = f.GetRestoreJobMetadata(ctx, &backupapi.GetRestoreJobMetadataInput{RestoreJobId: r.ID})
			wantError(t, err, "ResourceNotFoundException", "")
		}
	})
}

func TestStartRestoreJob_Targets(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		f.others.placement = "/srv/restore"
		base := map[string]string{"newFileSystem": "true", "file-system-id": "fs-1", "aws:backup:request-id": "x", "InformationalOnly:a": "b"}
		with := func(more ...string) map[string]string {
			m := map[string]string{}
			for k, v := range base {
				m[k] = v
			}
			for i := 0; i < len(more); i += 2 {
				m[more[i]] = more[i+1]
			}
			return m
		}
		tests := []struct {
			name     string
			metadata map[string]string
			want     job.Target
		}{
			{"new", base, job.Target{NewDirectory: "/srv/restore/restore-ID", Name: "restore-ID"}},
			{"named", with("CreationToken", "copy", "availabilityZoneName", "z1"), job.Target{NewDirectory: "/srv/restore/restore-ID", Name: "copy"}},
			{"any case", map[string]string{"NEWFILESYSTEM": "False", "File-System-Id": "fs-00000000000000002"}, job.Target{Resource: otherARN}},
			{"by ARN", map[string]string{"newFileSystem": "false", "file-system-id": otherARN}, job.Target{Resource: otherARN}},
			{"what is intact", with("lockfast:intact", "true"), job.Target{NewDirectory: "/srv/restore/restore-ID", Name: "restore-ID", Intact: true}},
			{"items", with("itemsToRestore", `["/a/b", "c//d/", "./e"]`), job.Target{NewDirectory: "/srv/restore/restore-ID", Name: "restore-ID", Items: []string{"a/b", "c/d", "e"}}},
			{"escaped items", with("itemsToRestore", `["/a\\xff//b", "a\\\\xff"]`, "lockfast:escaped", "true"), job.Target{NewDirectory: "/srv/restore/restore-ID", Name: "restore-ID", Items: []string{`a\xff/b`, `a\\xff`}, Escaped: true}},
			{"items that look escaped", with("itemsToRestore", `["a\\xff"]`), job.Target{NewDirectory: "/srv/restore/restore-ID", Name: "restore-ID", Items: []string{`a\xff`}}},
			{"the root as item", with("ItemsToRestore", `["a", "/"]`), job.Target{NewDirectory: "/srv/restore/restore-ID", Name: "restore-ID"}},
		}
		for _, tt := range tests {
			r := f.restore(restoreInput(tt.metadata))
			got := r.Target
			got.NewDirectory = strings.Replace(got.NewDirectory, r.ID, "ID", 1)
			got.Name = strings.Replace(got.Name, r.ID, "ID", 1)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s: %s", tt.name, diff)
			}
		}
		in := restoreInput(base)
		in.CopySourceTagsToRestoredResource, in.IamRoleArn, in.ResourceType = new(true), nil, new("EFS")
		if r := f.restore(in); !r.Target.SourceTags || r.RoleARN != role {
			t.Errorf("restore = %+v, want SourceTags, and the role of the recovery point", r)
		}
	})
}

func TestStartRestoreJob_Errors(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		type input = backupapi.StartRestoreJobInput
		set := func(key, value string) func(*input) {
			return func(in *input) {
				m := map[string]string{key: value}
				for k, v := range here {
					if k != key {
						m[k] = v
					}
				}
				in.Metadata = m
			}
		}
		tests := []struct {
			name       string
			change     func(*input)
			want, text string
		}{
			{"unknown recovery point", func(in *input) { in.RecoveryPointArn = pointARN + "0" }, "ResourceNotFoundException", "Recovery point " + pointARN + "0 does not exist"},
			{"unknown key", set("Colour", "red"), "InvalidParameterValueException", `Metadata has the unknown key "Colour"`},
			{"key twice", set("FILE-system-id", "fs-2"), "InvalidParameterValueException", ""},
			{"unknown target", set("file-system-id", "fs-x"), "InvalidParameterValueException", "Resource arn:aws:elasticfilesystem:eu-west-1:123456789012:file-system/fs-x, named by file-system-id, does not exist"},
			{"no target", func(in *input) { in.Metadata = map[string]string{"newFileSystem": "false"} }, "InvalidParameterValueException", ""},
			{"nothing", func(in *input) { in.Metadata = map[string]string{} }, "InvalidParameterValueException", "Metadata lacks newFileSystem"},
			{"not a boolean", set("newFileSystem", "maybe"), "InvalidParameterValueException", `Metadata has an invalid value for newFileSystem: "maybe"`},
			{"no placement", set("newFileSystem", "true"), "InvalidRequestException", "newFileSystem=true needs a placement, and none is configured"},
			{"performance mode", set("PerformanceMode", "ludicrous"), "InvalidParameterValueException", ""},
			{"key without encryption", set("KmsKeyId", "k"), "InvalidParameterValueException", ""},
			{"items not JSON", set("ItemsToRestore", "a"), "InvalidParameterValueException", `Metadata has an invalid value for ItemsToRestore: "a"`},
			{"items outside", set("ItemsToRestore", `["a/../../b"]`), "InvalidParameterValueException", ""},
			{"no items", set("ItemsToRestore", `[]`), "InvalidParameterValueException", ""},
			{"too long", set("CreationToken", strings.Repeat("x", 65)), "InvalidParameterValueException", ""},
			{"too big", set("ItemsToRestore", `["`+strings.Repeat("x", 200_000)+`"]`), "InvalidParameterValueException", ""},
			{"role", func(in *input) { in.IamRoleArn = new("arn:aws:iam::123456789012:role/x") }, "InvalidParameterValueException", "IAM Role arn:aws:iam::123456789012:role/x cannot be assumed by AWS Backup"},
			{"other type", func(in *input) { in.ResourceType = new("EBS") }, "InvalidParameterValueException", ""},
			{"tags into an existing resource", func(in *input) { in.CopySourceTagsToRestoredResource = new(true) }, "InvalidRequestException", ""},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				in := restoreInput(here)
				tt.change(in)
				_, err := f.StartRestoreJob(f.ctx, in)
				wantError(t, err, tt.want, tt.text)
			})
		}
		if f.inUse() {
			t.Error("a refused restore keeps the recovery point in use")
		}
		f.others.placement = "/srv"
		in := restoreInput(map[string]string{"newFileSystem": "true", "availabilityZoneName": "z9"})
		_, err := f.StartRestoreJob(f.ctx, in)
		wantError(t, err, "InvalidParameterValueException", `There is no placement of the name "z9", given by availabilityZoneName`)
		in.Metadata = map[string]string{"newFileSystem": "true", "Encrypted": "true"}
		_, err = f.StartRestoreJob(f.ctx, in)
		wantError(t, err, "InvalidRequestException", "")
	})
}

func TestStartRestoreJob_IdempotencyToken(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		in := restoreInput(here)
		in.IdempotencyToken = new("token")
		first := f.restore(in)
		if again := f.restore(in); again.ID != first.ID {
			t.Errorf("same request started %s, want %s", again.ID, first.ID)
		}
		other := restoreInput(map[string]string{"newFileSystem": "false", "file-system-id": "fs-00000000000000002"})
		other.IdempotencyToken = new("token")
		_, err := f.StartRestoreJob(f.ctx, other)
		wantError(t, err, "InvalidParameterValueException", "")
		backup := backupInput()
		backup.IdempotencyToken = new("token")
		if _, err := f.StartBackupJob(f.ctx, backup); err != nil {
			t.Errorf("the token of another operation: %v", err)
		}
	})
}

func TestRestoreToDirectory(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		out, err := f.RestoreToDirectory(f.ctx, &lockfastapi.RestoreToDirectoryInput{
			RecoveryPointArn: pointARN, Directory: "/srv//out/", Items: []string{"/a"}, IdempotencyToken: new("t")})
		if err != nil {
			t.Fatal(err)
		}
		r, l := f.claimRestore(out.RestoreJobId)
		if diff := cmp.Diff(job.Target{Into: "/srv/out", Items: []string{"a"}}, r.Target); diff != "" {
			t.Error(diff)
		}
		f.update(func(ctx context.Context, tx *meta.Tx) error { return f.FailTx(ctx, tx, l, "directory is not empty") })
		d, err := f.DescribeJobDetail(f.ctx, &lockfastapi.DescribeJobDetailInput{JobId: out.RestoreJobId})
		if err != nil || d.Kind != job.Restores || d.State != "FAILED" || *d.StatusMessage != "directory is not empty" {
			t.Errorf("detail = %+v, %v", d, err)
		}
		for name, in := range map[string]*lockfastapi.RestoreToDirectoryInput{
			"relative":      {RecoveryPointArn: pointARN, Directory: "out"},
			"outside":       {RecoveryPointArn: pointARN, Directory: "/out", Items: []string{"../a"}},
			"malformed ARN": {RecoveryPointArn: pointARN, Directory: "/o\x00ut"},
		} {
			_, err := f.RestoreToDirectory(f.ctx, in)
			if err == nil {
				t.Errorf("%s is accepted", name)
				continue
			}
			wantError(t, err, "InvalidParameterValueException", "")
		}
	})
}

func TestListRestoreJobs(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		var all []string
		for range 5 {
			r := f.restore(restoreInput(here))
			all = append([]string{r.ID}, all...)
			f.clock.add(time.Second)
		}
		_, l := f.claimRestore(all[0])
		if err := f.complete(l, job.Result{}); err != nil {
			t.Fatal(err)
		}
		type input = backupapi.ListRestoreJobsInput
		tests := []struct {
			name string
			in   *input
			want []string
		}{
			{"newest first", &input{MaxResults: new(2)}, all},
			{"status", &input{ByStatus: new(backupapi.RestoreJobStatusCompleted)}, all[:1]},
			{"type", &input{ByResourceType: new("EFS"), ByAccountId: new(account)}, all},
			{"created after", &input{ByCreatedAfter: &start}, all[:4]},
			{"created before", &input{ByCreatedBefore: new(start.Add(time.Second))}, all[4:]},
			{"completed after", &input{ByCompleteAfter: &start}, all[:1]},
			{"completed before", &input{ByCompleteBefore: new(start.Add(time.Hour))}, all[:1]},
			{"parent", &input{ByParentJobId: new("x")}, nil},
			{"testing plan", &input{ByRestoreTestingPlanArn: new("arn:aws:backup:us-east-1:123456789012:restore-testing-plan:x")}, nil},
		}
		for _, tt := range tests {
			var got []string
			for {
				out, err := f.ListRestoreJobs(f.ctx, tt.in)
				if err != nil {
					t.Fatal(err)
				}
				for _, j := range out.RestoreJobs {
					got = append(got, *j.RestoreJobId)
				}
				if tt.in.NextToken = out.NextToken; out.NextToken == nil {
					break
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s: %s", tt.name, diff)
			}
		}
		by := &backupapi.ListRestoreJobsByProtectedResourceInput{ResourceArn: dataARN, ByRecoveryPointCreationDateBefore: &start}
		if out, err := f.ListRestoreJobsByProtectedResource(f.ctx, by); err != nil || len(out.RestoreJobs) != 5 {
			t.Errorf("by resource: %+v, %v, want 5", out, err)
		}
		by.ByRecoveryPointCreationDateAfter = &start
		if out, err := f.ListRestoreJobsByProtectedResource(f.ctx, by); err != nil || len(out.RestoreJobs) != 0 {
			t.Errorf("by resource, later: %+v, %v, want none", out, err)
		}
		_, err := f.ListRestoreJobsByProtectedResource(f.ctx, &backupapi.ListRestoreJobsByProtectedResourceInput{ResourceArn: "foo"})
		wantError(t, err, "InvalidParameterValueException", "")
	})
}
