package server_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/backup/types"
	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/server"
	"github.com/lockfast/lockfast/internal/sigv4"
)

// The tests of this file hold what https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DeleteRecoveryPoint.html
// says of the operation, sentence by sentence.

// withRoles runs a test with a server on either database, and what its roles allow.
func withRoles(t *testing.T, test func(f *fixture, p *policies, arn string)) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o server.Options) {
		p := &policies{}
		f := start(t, server.WithRoles(o, p))
		f.vault("home")
		test(f, p, f.directory(map[string]string{"one": "1", "two": "2"}))
	})
}

func (f *fixture) delete(vault, point string) error {
	_, err := f.sdk.DeleteRecoveryPoint(f.Context(), &backup.DeleteRecoveryPointInput{BackupVaultName: &vault, RecoveryPointArn: &point})
	return err
}

// raw sends a signed DELETE for a path that is escaped already, and returns status, type of error and body.
func (f *fixture) raw(path string) (status int, kind, body string) {
	f.Helper()
	req, err := http.NewRequestWithContext(f.Context(), http.MethodDelete, f.own.URL+path, nil)
	if err != nil {
		f.Fatal(err)
	}
	sigv4.Sign(req, nil, sigv4.Keys{AccessKeyID: f.own.AccessKeyID, Secret: f.own.Secret}, "us-east-1", "backup", time.Now())
	res, err := f.own.HTTP.Do(req)
	if err != nil {
		f.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		f.Fatal(err)
	}
	return res.StatusCode, res.Header.Get("X-Amzn-Errortype"), string(data)
}

func (f *fixture) describe(point string) *backup.DescribeRecoveryPointOutput {
	f.Helper()
	return must(f.sdk.DescribeRecoveryPoint(f.Context(), &backup.DescribeRecoveryPointInput{
		BackupVaultName: aws.String("home"), RecoveryPointArn: &point}))(f)
}

// expired waits until a recovery point is EXPIRED, which must have a reason.
func (f *fixture) expired(point, reason string) {
	f.Helper()
	f.eventually(func() bool { return f.describe(point).Status == types.RecoveryPointStatusExpired })
	if got := aws.ToString(f.describe(point).StatusMessage); got != reason {
		f.Errorf("StatusMessage = %q, want %q", got, reason)
	}
	listed := own(f, lockfastapi.ListRecoveryPoints, &lockfastapi.ListRecoveryPointsInput{RecoveryPointArn: &point}).RecoveryPoints
	if len(listed) != 1 || listed[0].Status != "EXPIRED" || aws.ToString(listed[0].StatusMessage) != reason {
		f.Errorf("ListRecoveryPoints = %+v", listed)
	}
}

// told returns the states that events told of a recovery point, in their order.
func (f *fixture) told(point string) (states []string) {
	f.Helper()
	in := &lockfastapi.ListEventsInput{RecoveryPointArn: &point, EventType: aws.String("Recovery Point State Change")}
	for _, e := range own(f, lockfastapi.ListEvents, in).Events {
		states = append([]string{*e.Status}, states...)
	}
	return states
}

// wantError expects an exception and a status of 400.
func (f *fixture) wantError(err error, name string) {
	f.Helper()
	if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "StatusCode: 400") {
		f.Errorf("error = %v, want %s with 400", err, name)
	}
}

func denied(action, on string) string {
	return fmt.Sprintf("Insufficient privileges: role %s does not allow %s on %s", role, action, on)
}

const noRole = "The role " + role + " does not exist or cannot be assumed by backup.amazonaws.com"

// If the role does not allow it, the answer is 200 with an empty body, the recovery point is not deleted and enters
// EXPIRED; it can be deleted by the same call once the role allows it (S3 and S4; T-20 to T-26).
func TestDelete_RefusedByTheRole(t *testing.T) {
	withRoles(t, func(f *fixture, p *policies, arn string) {
		point := f.backup("home", arn)
		want := f.restoredInto(point)
		for _, c := range []struct {
			gone   bool
			denied string
			reason string
		}{
			{false, "elasticfilesystem:Backup", denied("elasticfilesystem:Backup", arn)},
			{true, "", noRole},
		} {
			p.take(c.gone, c.denied, 0)
			status, kind, body := f.raw("/backup-vaults/home/recovery-points/" + sigv4.Escape(point))
			if status != 200 || kind != "" || body != "" {
				f.Errorf("DeleteRecoveryPoint = %d, %q, %q, want 200 and nothing else", status, kind, body)
			}
			f.expired(point, c.reason)
		}
		p.take(false, "elasticfilesystem:Backup", 0) // which restores do not need
		if diff := cmp.Diff(want, f.restoredInto(point)); diff != "" {
			f.Errorf("restore of what is EXPIRED (-want +got):\n%s", diff)
		}
		if n := f.points(); n != 1 {
			f.Errorf("the vault counts %d recovery points, want 1", n)
		}
		p.take(false, "", 0)
		if err := f.delete("home", point); err != nil {
			f.Fatal(err)
		}
		f.gone("home", point)
		if diff := cmp.Diff([]string{"CREATING", "COMPLETED", "EXPIRED", "DELETING", "DELETED"}, f.told(point)); diff != "" {
			f.Errorf("events (-want +got):\n%s", diff)
		}
		f.wantError(f.delete("home", point), "ResourceNotFoundException")
		if u := own(f, lockfastapi.GetVaultUsage, &lockfastapi.GetVaultUsageInput{BackupVaultName: "home"}); u.LogicalBytes != 0 {
			f.Errorf("the vault still holds %d bytes", u.LogicalBytes)
		}
	})
}

// If the permission is removed between acceptance and work, the deletion is unsuccessful and the recovery point enters
// EXPIRED (S5; T-27).
func TestDelete_RefusedByTheRoleAfterAcceptance(t *testing.T) {
	withRoles(t, func(f *fixture, p *policies, arn string) {
		for _, c := range []struct {
			gone   bool
			denied string
			reason string
		}{
			{false, "elasticfilesystem:Backup", denied("elasticfilesystem:Backup", arn)},
			{true, "", noRole},
		} {
			p.take(false, "", 0)
			point := f.backup("home", arn)
			p.take(c.gone, c.denied, 1)
			if err := f.delete("home", point); err != nil {
				f.Fatal(err)
			}
			f.expired(point, c.reason)
			if diff := cmp.Diff([]string{"CREATING", "COMPLETED", "DELETING", "EXPIRED"}, f.told(point)); diff != "" {
				f.Errorf("events (-want +got):\n%s", diff)
			}
			p.take(false, "", 0)
			if err := f.delete("home", point); err != nil {
				f.Fatal(err)
			}
			f.gone("home", point)
		}
	})
}

// Of calls at the same time one is accepted; the others are told that it is being deleted, or gone (S9; T-34).
func TestDelete_ManyAtOnce(t *testing.T) {
	withRoles(t, func(f *fixture, _ *policies, arn string) {
		point := f.backup("home", arn)
		errs := make([]error, 8)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() { errs[i] = f.delete("home", point) })
		}
		wg.Wait()
		accepted := 0
		for _, err := range errs {
			_, busy := errors.AsType[*types.InvalidResourceStateException](err)
			_, missing := errors.AsType[*types.ResourceNotFoundException](err)
			switch {
			case err == nil:
				accepted++
			case !busy && !missing:
				f.Errorf("DeleteRecoveryPoint = %v", err)
			}
		}
		if accepted != 1 {
			f.Errorf("%d calls were accepted, want 1", accepted)
		}
		f.gone("home", point)
	})
}

// Exceptions of calls that name nothing, or something wrong (S6 to S8; T-30 to T-33).
func TestDelete_WrongNames(t *testing.T) {
	withRoles(t, func(f *fixture, p *policies, arn string) {
		f.vault("other")
		point := f.backup("home", arn)
		p.take(true, "", 0) // which is asked after all this
		path := "/recovery-points/" + sigv4.Escape(point)
		for _, c := range []struct{ name, path, want string }{
			{"T-30, unknown ARN", "/backup-vaults/home" + path + "0", "ResourceNotFoundException"},
			{"T-30, ARN of another vault", "/backup-vaults/other" + path, "ResourceNotFoundException"},
			{"T-30, unknown vault", "/backup-vaults/absent" + path, "ResourceNotFoundException"},
			{"T-32, vault", "/backup-vaults/x%21%21" + path, "InvalidParameterValueException"},
			{"T-32, ARN", "/backup-vaults/home/recovery-points/foo", "InvalidParameterValueException"},
			{"T-33, vault", "/backup-vaults/" + path, "MissingParameterValueException"},
			{"T-33, ARN", "/backup-vaults/home/recovery-points/", "MissingParameterValueException"},
		} {
			if status, kind, body := f.raw(c.path); status != 400 || kind != c.want {
				f.Errorf("%s: %d %s %s, want 400 %s", c.name, status, kind, body, c.want)
			}
		}
		if d := f.describe(point); d.Status != types.RecoveryPointStatusCompleted {
			f.Errorf("recovery point is %s", d.Status)
		}
	})
}

// T-28: https://docs.aws.amazon.com/aws-backup/latest/devguide/deleting-backups.html
func TestDelete_ByLifecycleRefusedByTheRole(t *testing.T) {
	t.Parallel()
	o, p := options(t, t.TempDir()), &policies{}
	var mu sync.Mutex
	now := time.Now()
	o.Now = func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	f := start(t, server.WithRoles(o, p))
	f.vault("home")
	arn := f.directory(map[string]string{"one": "1"})
	point := f.backup("home", arn)
	must(f.sdk.UpdateRecoveryPointLifecycle(t.Context(), &backup.UpdateRecoveryPointLifecycleInput{BackupVaultName: aws.String("home"),
		RecoveryPointArn: &point, Lifecycle: &types.Lifecycle{DeleteAfterDays: aws.Int64(1)}}))(f)
	p.take(true, "", 0)
	mu.Lock()
	now = now.Add(24*time.Hour + time.Minute)
	mu.Unlock()
	f.expired(point, noRole)
	events := own(f, lockfastapi.ListEvents, &lockfastapi.ListEventsInput{RecoveryPointArn: &point, EventType: aws.String("RECOVERY_POINT_MODIFIED")}).Events
	if len(events) != 2 || *events[0].Status != "EXPIRED" || aws.ToString(events[0].StatusMessage) != noRole {
		t.Errorf("events = %+v, want the change of the lifecycle and then one for EXPIRED", events)
	}
	p.take(false, "", 0)
	if err := f.delete("home", point); err != nil {
		t.Fatal(err)
	}
	f.gone("home", point)
}

// What a role does not allow fails the job. See
// https://docs.aws.amazon.com/aws-backup/latest/devguide/security-iam-awsmanpol.html.
func TestJobs_RefusedByTheRole(t *testing.T) {
	withRoles(t, func(f *fixture, p *policies, arn string) {
		point := f.backup("home", arn)
		p.take(false, "elasticfilesystem:Backup", 0)
		id, _ := f.startBackup("home", arn)
		j := f.awaitBackup(id)
		if j.State != types.BackupJobStateFailed || aws.ToString(j.StatusMessage) != denied("elasticfilesystem:Backup", arn) ||
			aws.ToString(j.MessageCategory) != "ACCESS_DENIED" {
			f.Errorf("backup job = %s, %q, %s", j.State, aws.ToString(j.StatusMessage), aws.ToString(j.MessageCategory))
		}
		p.take(false, "elasticfilesystem:Restore", 0)
		metadata := map[string]string{"file-system-id": arn, "newFileSystem": "false"}
		in := &backup.StartRestoreJobInput{RecoveryPointArn: &point, IamRoleArn: aws.String(role), Metadata: metadata}
		r := f.awaitRestore(*must(f.sdk.StartRestoreJob(f.Context(), in))(f).RestoreJobId)
		if r.Status != types.RestoreJobStatusFailed || aws.ToString(r.StatusMessage) != denied("elasticfilesystem:Restore", arn) {
			f.Errorf("restore job = %s, %q", r.Status, aws.ToString(r.StatusMessage))
		}
		p.take(true, "", 0)
		in.IdempotencyToken = nil // another request
		_, err := f.sdk.StartRestoreJob(f.Context(), in)
		f.wantError(err, "InvalidParameterValueException: IAM Role "+role+" cannot be assumed by AWS Backup")
		_, err = f.sdk.StartBackupJob(f.Context(), &backup.StartBackupJobInput{
			BackupVaultName: aws.String("home"), ResourceArn: &arn, IamRoleArn: aws.String(role)})
		f.wantError(err, "InvalidParameterValueException: IAM Role "+role+" cannot be assumed by AWS Backup")
		if n := f.points(); n != 1 {
			f.Errorf("%d recovery points, want 1", n)
		}
	})
}
