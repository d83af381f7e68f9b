package server_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/aws/aws-sdk-go-v2/service/backup/types"
	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/server"
)

// startCopy starts a copy of a recovery point of a vault.
func (f *fixture) startCopy(from, point, to string) *backup.StartCopyJobOutput {
	f.Helper()
	return must(f.sdk.StartCopyJob(f.Context(), copyOrder(from, point, to)))(f)
}

func copyOrder(from, point, to string) *backup.StartCopyJobInput {
	return &backup.StartCopyJobInput{SourceBackupVaultName: &from, RecoveryPointArn: &point, IamRoleArn: aws.String(role),
		DestinationBackupVaultArn: aws.String("arn:aws:backup:us-east-1:000000000000:backup-vault:" + to)}
}

// awaitCopy waits for the end of a copy job.
func (f *fixture) awaitCopy(id *string) (j *types.CopyJob) {
	f.Helper()
	f.eventually(func() bool {
		j = must(f.sdk.DescribeCopyJob(f.Context(), &backup.DescribeCopyJobInput{CopyJobId: id}))(f).CopyJob
		return j.State == types.CopyJobStateCompleted || j.State == types.CopyJobStateFailed || j.State == types.CopyJobStatePartial
	})
	return j
}

// copy copies a recovery point and returns the ARN of the copy.
func (f *fixture) copy(from, point, to string) string {
	f.Helper()
	j := f.awaitCopy(f.startCopy(from, point, to).CopyJobId)
	if j.State != types.CopyJobStateCompleted {
		f.Fatalf("copy job ended %s: %s", j.State, aws.ToString(j.StatusMessage))
	}
	return *j.DestinationRecoveryPointArn
}

// TestCopy_IsIndependentOfItsSource copies two versions of a directory into another vault, and deletes the first vault.
func TestCopy_IsIndependentOfItsSource(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o server.Options) { copyStory(start(t, o)) })
}

func copyStory(f *fixture) {
	home := filepath.Join(f.TempDir(), "home")
	write(f, home, map[string]string{"a/one": "1", "small": strings.Repeat("x", 700), "big": random(1, 3<<20)})
	f.vault("home")
	f.vault("offsite")
	arn := own(f, lockfastapi.RegisterResource, &lockfastapi.RegisterResourceInput{Path: new(home), Type: "EFS"}).ResourceArn
	first, before := f.backup("home", arn), tree(f, home)
	write(f, home, map[string]string{"a/two": "2", "other": random(2, 100<<10)})
	second, after := f.backup("home", arn), tree(f, home)
	must(f.sdk.TagResource(f.Context(), &backup.TagResourceInput{ResourceArn: &second, Tags: map[string]string{"team": "blue"}}))(f)

	made := map[string]map[string]string{f.copy("home", first, "offsite"): before}
	store := filepath.Join(f.options.Config.Data, "store")
	full := size(f, store)
	last := f.copy("home", second, "offsite")
	made[last] = after
	if grown := size(f, store) - full; grown > 1<<20 {
		f.Errorf("the copy of the second version takes %d bytes, want about the 100 KiB that changed", grown)
	}
	f.copied(second, last)
	for _, point := range []string{first, second} {
		must(f.sdk.DeleteRecoveryPoint(f.Context(), &backup.DeleteRecoveryPointInput{BackupVaultName: aws.String("home"), RecoveryPointArn: &point}))(f)
		f.gone("home", point)
	}
	f.reclaim("home")
	f.reclaim("offsite")
	f.verify("offsite")
	must(f.sdk.DeleteBackupVault(f.Context(), &backup.DeleteBackupVaultInput{BackupVaultName: aws.String("home")}))(f)
	for point, want := range made {
		if diff := cmp.Diff(want, f.restoredInto(point)); diff != "" {
			f.Errorf("restore of copy %s differs (%d bytes of difference)", point, len(diff))
		}
	}
}

// copied checks what is told of a copy that has the tags of its source.
func (f *fixture) copied(source, made string) {
	f.Helper()
	from := must(f.sdk.DescribeRecoveryPoint(f.Context(), &backup.DescribeRecoveryPointInput{
		BackupVaultName: aws.String("home"), RecoveryPointArn: &source}))(f)
	to := must(f.sdk.DescribeRecoveryPoint(f.Context(), &backup.DescribeRecoveryPointInput{
		BackupVaultName: aws.String("offsite"), RecoveryPointArn: &made}))(f)
	if source == made || aws.ToString(to.SourceBackupVaultArn) != *from.BackupVaultArn || !to.CreationDate.Equal(*from.CreationDate) ||
		*to.BackupSizeInBytes != *from.BackupSizeInBytes || to.Status != types.RecoveryPointStatusCompleted || from.SourceBackupVaultArn != nil {
		f.Errorf("copy = %+v of %+v", to, from)
	}
	tags := must(f.sdk.ListTags(f.Context(), &backup.ListTagsInput{ResourceArn: &made}))(f)
	if diff := cmp.Diff(map[string]string{"team": "blue"}, tags.Tags); diff != "" {
		f.Errorf("tags of the copy (-want +got):\n%s", diff)
	}
}

func TestCopy_IntoAnotherRegion(t *testing.T) {
	t.Parallel()
	f := start(t, options(t, t.TempDir()))
	home := filepath.Join(t.TempDir(), "home")
	write(t, home, map[string]string{"one": strings.Repeat("1", 5000)})
	f.vault("home")
	there := func(o *backup.Options) { o.Region = "eu-west-1" }
	must(f.sdk.CreateBackupVault(f.Context(), &backup.CreateBackupVaultInput{BackupVaultName: aws.String("far")}, there))(f)
	arn := own(f, lockfastapi.RegisterResource, &lockfastapi.RegisterResourceInput{Path: new(home), Type: "EFS"}).ResourceArn
	in := copyOrder("home", f.backup("home", arn), "far")
	if _, err := f.sdk.StartCopyJob(f.Context(), in); err == nil || !strings.Contains(err.Error(), "ResourceNotFoundException") {
		t.Errorf("copy into a vault of another region named in this one = %v, want ResourceNotFoundException", err)
	}
	in.DestinationBackupVaultArn = aws.String("arn:aws:backup:eu-west-1:000000000000:backup-vault:far")
	j := f.awaitCopy(must(f.sdk.StartCopyJob(f.Context(), in))(f).CopyJobId)
	made := aws.ToString(j.DestinationRecoveryPointArn)
	if !strings.HasPrefix(made, "arn:aws:backup:eu-west-1:000000000000:recovery-point:") {
		t.Fatalf("copy job ended %s: %s, copy %q", j.State, aws.ToString(j.StatusMessage), made)
	}
	p := must(f.sdk.DescribeRecoveryPoint(f.Context(), &backup.DescribeRecoveryPointInput{BackupVaultName: aws.String("far"),
		RecoveryPointArn: &made}, there))(f)
	if p.Status != types.RecoveryPointStatusCompleted {
		t.Errorf("copy in the other region is %s", p.Status)
	}
}

func TestCopy_NeedsTheRightsOfItsRole(t *testing.T) {
	t.Parallel()
	roles := &policies{}
	f := start(t, server.WithRoles(options(t, t.TempDir()), roles))
	home := filepath.Join(t.TempDir(), "home")
	write(t, home, map[string]string{"one": "1"})
	f.vault("home")
	f.vault("offsite")
	arn := own(f, lockfastapi.RegisterResource, &lockfastapi.RegisterResourceInput{Path: new(home), Type: "EFS"}).ResourceArn
	point := f.backup("home", arn)
	for _, action := range []string{"backup:CopyFromBackupVault", "backup:CopyIntoBackupVault"} {
		roles.take(false, action, 0)
		j := f.awaitCopy(f.startCopy("home", point, "offsite").CopyJobId)
		if j.State != types.CopyJobStateFailed || !strings.Contains(aws.ToString(j.StatusMessage), action) ||
			aws.ToString(j.MessageCategory) != "ACCESS_DENIED" {
			t.Errorf("copy job without %s = %s, %q, %s", action, j.State, aws.ToString(j.StatusMessage), aws.ToString(j.MessageCategory))
		}
	}
	v := must(f.sdk.DescribeBackupVault(f.Context(), &backup.DescribeBackupVaultInput{BackupVaultName: aws.String("offsite")}))(f)
	if v.NumberOfRecoveryPoints != 0 {
		t.Errorf("the vault holds %d recovery points after copies that failed, want none", v.NumberOfRecoveryPoints)
	}
}

func TestCopy_IsAskedForByTheVaultsPolicies(t *testing.T) {
	t.Parallel()
	f := start(t, options(t, t.TempDir()))
	home := filepath.Join(t.TempDir(), "home")
	write(t, home, map[string]string{"one": "1"})
	f.vault("home")
	f.vault("offsite")
	arn := own(f, lockfastapi.RegisterResource, &lockfastapi.RegisterResourceInput{Path: new(home), Type: "EFS"}).ResourceArn
	point := f.backup("home", arn)
	deny := func(vault, action, condition string) {
		t.Helper()
		policy := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":%q,"Resource":"*"%s}]}`, action, condition)
		must(f.sdk.PutBackupVaultAccessPolicy(f.Context(), &backup.PutBackupVaultAccessPolicyInput{BackupVaultName: &vault, Policy: &policy}))(f)
	}
	for _, test := range []struct{ vault, action, condition string }{
		{"offsite", "backup:CopyIntoBackupVault", ""},
		{"home", "backup:CopyFromBackupVault", ""},
		{"home", "backup:CopyFromBackupVault", `,"Condition":{"ForAllValues:ArnLike":{"backup:CopyTargets":"arn:aws:backup:*:*:backup-vault:off*"}}`},
		{"home", "backup:StartCopyJob", ""},
	} {
		deny(test.vault, test.action, test.condition)
		_, err := f.sdk.StartCopyJob(f.Context(), copyOrder("home", point, "offsite"))
		if err == nil || !strings.Contains(err.Error(), test.action) {
			t.Errorf("copy although vault %s denies %s%s = %v", test.vault, test.action, test.condition, err)
		}
		must(f.sdk.DeleteBackupVaultAccessPolicy(f.Context(), &backup.DeleteBackupVaultAccessPolicyInput{BackupVaultName: &test.vault}))(f)
	}
	deny("home", "backup:CopyFromBackupVault", `,"Condition":{"ForAllValues:ArnLike":{"backup:CopyTargets":"arn:aws:backup:*:*:backup-vault:other"}}`)
	f.copy("home", point, "offsite")
}

// TestCopy_KeepsItsSource lets a copy wait behind a backup of the same directory, meanwhile its source cannot be deleted.
func TestCopy_KeepsItsSource(t *testing.T) {
	t.Parallel()
	first, running, let := true, make(chan struct{}), make(chan struct{})
	f, arn := with(t, func(ctx context.Context) error {
		if first {
			first = false
			return nil
		}
		close(running)
		select {
		case <-let:
		case <-ctx.Done():
		}
		return ctx.Err()
	})
	f.vault("offsite")
	point := f.backup("home", arn)
	second, _ := f.startBackup("home", arn)
	<-running
	id := f.startCopy("home", point, "offsite").CopyJobId
	remove := func() error {
		_, err := f.sdk.DeleteRecoveryPoint(t.Context(), &backup.DeleteRecoveryPointInput{BackupVaultName: aws.String("home"), RecoveryPointArn: &point})
		return err
	}
	if busy := new(types.InvalidResourceStateException); !errors.As(remove(), &busy) {
		t.Errorf("DeleteRecoveryPoint of the source of a copy that waits is not refused by %T", busy)
	}
	if j := must(f.sdk.DescribeCopyJob(t.Context(), &backup.DescribeCopyJobInput{CopyJobId: id}))(f).CopyJob; j.State != types.CopyJobStateCreated {
		t.Errorf("copy beside a backup of the resource is %s, want CREATED", j.State)
	}
	close(let)
	f.awaitBackup(second)
	if j := f.awaitCopy(id); j.State != types.CopyJobStateCompleted {
		t.Errorf("copy job ended %s: %s", j.State, aws.ToString(j.StatusMessage))
	}
	if err := remove(); err != nil {
		t.Error(err)
	}
	f.gone("home", point)
}

// TestKill_Copy kills a server during copies. The next one ends them.
func TestKill_Copy(t *testing.T) {
	t.Parallel()
	dir, home := t.TempDir(), filepath.Join(t.TempDir(), "home")
	f := &fixture{T: t, patience: 3 * time.Minute}
	p := spawn(t, dir)
	f.connect(p.url, dir)
	f.vault("home")
	f.vault("offsite")
	write(t, home, map[string]string{"big": random(1, 8<<20), "small": "small"})
	want := tree(t, home)
	arn := own(f, lockfastapi.RegisterResource, &lockfastapi.RegisterResourceInput{Path: new(home), Type: "EFS"}).ResourceArn
	point := f.backup("home", arn)
	var copies []string
	for round := range 4 {
		id := f.startCopy("home", point, "offsite").CopyJobId
		time.Sleep(time.Duration(round*round*15) * time.Millisecond)
		p.kill()
		p = spawn(t, dir)
		f.connect(p.url, dir)
		j := f.awaitCopy(id)
		if j.State != types.CopyJobStateCompleted {
			t.Fatalf("round %d: copy job ended %s: %s", round, j.State, aws.ToString(j.StatusMessage))
		}
		copies = append(copies, *j.DestinationRecoveryPointArn)
	}
	defer p.kill()
	f.reclaim("offsite")
	f.verify("offsite")
	list := must(f.sdk.ListRecoveryPointsByBackupVault(t.Context(), &backup.ListRecoveryPointsByBackupVaultInput{BackupVaultName: aws.String("offsite")}))(f)
	if len(list.RecoveryPoints) != len(copies) {
		t.Errorf("the vault holds %d recovery points, want the %d copies", len(list.RecoveryPoints), len(copies))
	}
	for _, point := range copies {
		if diff := cmp.Diff(want, f.restoredInto(point)); diff != "" {
			t.Errorf("restore of copy %s differs (%d bytes of difference)", point, len(diff))
		}
	}
}
