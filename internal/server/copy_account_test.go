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

const (
	tenant     = "111111111111"
	tenantRole = "arn:aws:iam::" + tenant + ":role/service-role/AWSBackupDefaultServiceRole"
)

// other makes a second account and returns a fixture of its administrator.
func (f *fixture) other() *fixture {
	f.Helper()
	return f.as(own(f, lockfastapi.CreateAccount, &lockfastapi.CreateAccountInput{AccountId: tenant}))
}

// as is the fixture of an administrator, on the server that f is connected to now.
func (f *fixture) as(made *lockfastapi.CreateAccountOutput) *fixture {
	o, client := *f, *f.own
	client.AccessKeyID, client.Secret = made.AccessKeyId, made.SecretAccessKey
	o.own = &client
	o.sdk = backup.New(backup.Options{
		Region: "us-east-1", BaseEndpoint: &client.URL, HTTPClient: f.sdkHTTP,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: made.AccessKeyId, SecretAccessKey: made.SecretAccessKey}, nil
		}),
	})
	return &o
}

// admits sets the access policy of a vault to one that lets an account copy into it.
func (f *fixture) admits(vault, account string) {
	f.Helper()
	policy := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::%s:root"},
		"Action":"backup:CopyIntoBackupVault","Resource":"*"}]}`, account)
	must(f.sdk.PutBackupVaultAccessPolicy(f.Context(), &backup.PutBackupVaultAccessPolicyInput{BackupVaultName: &vault, Policy: &policy}))(f)
}

// crossAccount turns copies to other accounts on or off.
func (f *fixture) crossAccount(enabled string) {
	f.Helper()
	must(f.sdk.UpdateGlobalSettings(f.Context(), &backup.UpdateGlobalSettingsInput{
		GlobalSettings: map[string]string{"isCrossAccountBackupEnabled": enabled}}))(f)
}

func abroad(point string) *backup.StartCopyJobInput {
	in := copyOrder("home", point, "refuge")
	in.DestinationBackupVaultArn = aws.String("arn:aws:backup:us-east-1:" + tenant + ":backup-vault:refuge")
	return in
}

// wantFailedCopy starts a copy that has to fail.
func (f *fixture) wantFailedCopy(in *backup.StartCopyJobInput, category, message string) {
	f.Helper()
	j := f.awaitCopy(must(f.sdk.StartCopyJob(f.Context(), in))(f).CopyJobId)
	if j.State != types.CopyJobStateFailed || aws.ToString(j.MessageCategory) != category || !strings.Contains(aws.ToString(j.StatusMessage), message) {
		f.Errorf("copy job ended %s, %s, %q; want FAILED, %s, %q", j.State, aws.ToString(j.MessageCategory), aws.ToString(j.StatusMessage), category, message)
	}
}

// TestCopy_IntoAnotherAccount copies two versions of a directory into a vault of another account, which has admitted that,
// and deletes them in the first one.
func TestCopy_IntoAnotherAccount(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, o server.Options) {
		o.Config.Accounts = []server.Account{{ID: tenant, Paths: []string{"/"}}}
		f := start(t, o)
		theirs := f.other()
		theirs.vault("refuge")
		home := filepath.Join(t.TempDir(), "home")
		write(t, home, map[string]string{"a/one": "1", "small": strings.Repeat("x", 700), "big": random(1, 3<<20)})
		f.vault("home")
		arn := own(f, lockfastapi.RegisterResource, &lockfastapi.RegisterResourceInput{Path: new(home), Type: "EFS"}).ResourceArn
		first, before := f.backup("home", arn), tree(t, home)
		theirs.admits("refuge", "000000000000")
		f.crossAccount("true")
		made := map[string]map[string]string{f.copyAbroad(first): before}
		write(t, home, map[string]string{"a/two": "2", "other": random(2, 100<<10)})
		second, after := f.backup("home", arn), tree(t, home)
		store := filepath.Join(f.options.Config.Data, "store")
		full := size(t, store)
		last := f.copyAbroad(second)
		made[last] = after
		if grown := size(t, store) - full; grown > 1<<20 {
			t.Errorf("the copy of the second version takes %d bytes, want about the 100 KiB that changed", grown)
		}
		f.belongsTo(theirs, second, last)
		for _, point := range []string{first, second} {
			if err := f.deletePoint(point); err != nil {
				t.Fatal(err)
			}
			f.gone("home", point)
		}
		f.reclaim("home")
		theirs.reclaim("refuge")
		theirs.verify("refuge")
		for point, want := range made {
			if diff := cmp.Diff(want, theirs.restoredBy(tenantRole, point)); diff != "" {
				t.Errorf("restore of copy %s differs (%d bytes of difference)", point, len(diff))
			}
		}
		must(theirs.sdk.DeleteRecoveryPoint(t.Context(), &backup.DeleteRecoveryPointInput{BackupVaultName: aws.String("refuge"), RecoveryPointArn: &last}))(f)
		theirs.gone("refuge", last)
	})
}

func (f *fixture) copyAbroad(point string) string {
	f.Helper()
	j := f.awaitCopy(must(f.sdk.StartCopyJob(f.Context(), abroad(point)))(f).CopyJobId)
	if j.State != types.CopyJobStateCompleted {
		f.Fatalf("copy job ended %s: %s", j.State, aws.ToString(j.StatusMessage))
	}
	return *j.DestinationRecoveryPointArn
}

// belongsTo checks that a copy is the other account's, and its job this one's.
func (f *fixture) belongsTo(theirs *fixture, source, made string) {
	f.Helper()
	describe := func(who *fixture, vault, arn string) (*backup.DescribeRecoveryPointOutput, error) {
		return who.sdk.DescribeRecoveryPoint(f.Context(), &backup.DescribeRecoveryPointInput{BackupVaultName: &vault, RecoveryPointArn: &arn})
	}
	from, to := must(describe(f, "home", source))(f), must(describe(theirs, "refuge", made))(f)
	if !strings.HasPrefix(made, "arn:aws:backup:us-east-1:"+tenant+":recovery-point:") || !to.CreationDate.Equal(*from.CreationDate) ||
		*to.IamRoleArn != "arn:aws:iam::"+tenant+":role/aws-service-role/backup.amazonaws.com/AWSServiceRoleForBackup" ||
		*to.SourceBackupVaultArn != *from.BackupVaultArn || *to.ResourceArn != *from.ResourceArn || to.Status != types.RecoveryPointStatusCompleted {
		f.Errorf("copy = %+v of %+v", to, from)
	}
	for name, err := range map[string]error{
		"the copy, by the account of the source": errOf(describe(f, "refuge", made)),
		"the source, by the account of the copy": errOf(describe(theirs, "home", source)),
	} {
		if err == nil {
			f.Errorf("DescribeRecoveryPoint of %s was answered", name)
		}
	}
	jobs := must(theirs.sdk.ListCopyJobs(f.Context(), &backup.ListCopyJobsInput{}))(f)
	if len(jobs.CopyJobs) != 0 {
		f.Errorf("the account of the copy sees %d copy jobs", len(jobs.CopyJobs))
	}
}

func errOf[A any](_ A, err error) error { return err }

func TestCopy_IntoAnotherAccountIsRefused(t *testing.T) {
	t.Parallel()
	roles := &policies{}
	f := start(t, server.WithRoles(options(t, t.TempDir()), roles))
	theirs := f.other()
	theirs.vault("refuge")
	f.vault("home")
	point := f.backup("home", f.directory(map[string]string{"one": "1"}))
	refused := func(what string) {
		t.Helper()
		_, err := f.sdk.StartCopyJob(t.Context(), abroad(point))
		if err == nil || !strings.Contains(err.Error(), "AccessDenied") || !strings.Contains(err.Error(), "backup:CopyIntoBackupVault") {
			t.Errorf("copy %s = %v, want a refusal", what, err)
		}
	}
	refused("into a vault without an access policy")
	theirs.admits("refuge", "222222222222")
	refused("into a vault that admits somebody else")
	theirs.admits("refuge", "000000000000")
	f.wantFailedCopy(abroad(point), "FEATURE_NOT_ENABLED", "is not enabled for the organization")
	invalid := new(types.InvalidRequestException)
	_, err := theirs.sdk.UpdateGlobalSettings(t.Context(), &backup.UpdateGlobalSettingsInput{GlobalSettings: map[string]string{"isCrossAccountBackupEnabled": "true"}})
	if !errors.As(err, &invalid) {
		t.Errorf("UpdateGlobalSettings by a member account = %v, want InvalidRequestException", err)
	}
	f.crossAccount("true")
	for _, action := range []string{"backup:CopyFromBackupVault", "backup:CopyIntoBackupVault"} {
		roles.take(false, action, 0)
		f.wantFailedCopy(abroad(point), "ACCESS_DENIED", action)
	}
	roles.take(false, "", 0)
	in := abroad(point)
	in.DestinationBackupVaultArn = aws.String("arn:aws:backup:us-east-1:" + tenant + ":backup-vault:absent")
	if _, err := f.sdk.StartCopyJob(t.Context(), in); err == nil || !strings.Contains(err.Error(), "AccessDenied") {
		t.Errorf("copy into a vault that is not there = %v, want the refusal of one that does not admit it", err)
	}
	v := must(theirs.sdk.DescribeBackupVault(t.Context(), &backup.DescribeBackupVaultInput{BackupVaultName: aws.String("refuge")}))(f)
	if v.NumberOfRecoveryPoints != 0 {
		t.Errorf("the vault holds %d recovery points after copies that were refused", v.NumberOfRecoveryPoints)
	}
	list := own(theirs, lockfastapi.ListEvents, &lockfastapi.ListEventsInput{})
	for _, e := range list.Events {
		t.Errorf("the other account was told of %s", e.Document)
	}
	f.crossAccount("false")
	f.wantFailedCopy(abroad(point), "FEATURE_NOT_ENABLED", "is not enabled for the organization")
}

// TestCopy_WhenItsVaultHasGone lets copies wait behind a backup while the vaults that are to receive them are deleted.
func TestCopy_WhenItsVaultHasGone(t *testing.T) {
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
	theirs := f.other()
	theirs.vault("refuge")
	theirs.admits("refuge", "000000000000")
	f.crossAccount("true")
	point := f.backup("home", arn)
	id, _ := f.startBackup("home", arn)
	<-running
	here := f.startCopy("home", point, "offsite").CopyJobId
	there := must(f.sdk.StartCopyJob(t.Context(), abroad(point)))(f).CopyJobId
	must(f.sdk.DeleteBackupVault(t.Context(), &backup.DeleteBackupVaultInput{BackupVaultName: aws.String("offsite")}))(f)
	must(theirs.sdk.DeleteBackupVault(t.Context(), &backup.DeleteBackupVaultInput{BackupVaultName: aws.String("refuge")}))(f)
	close(let)
	f.awaitBackup(id)
	for id, want := range map[*string]string{here: "RESOURCE_NOT_FOUND", there: "ACCESS_DENIED"} {
		if j := f.awaitCopy(id); j.State != types.CopyJobStateFailed || aws.ToString(j.MessageCategory) != want {
			t.Errorf("copy into a vault that has gone ended %s, %s, %q, want %s", j.State, aws.ToString(j.MessageCategory), aws.ToString(j.StatusMessage), want)
		}
	}
	if err := f.deletePoint(point); err != nil {
		t.Errorf("deletion of the source after the copies have failed: %v", err)
	}
}

func TestCopy_WithAKeyThatIsDisabled(t *testing.T) {
	t.Parallel()
	f := start(t, options(t, t.TempDir()))
	key := f.key()
	for _, name := range []string{"home", "offsite"} {
		if err := f.keyVault(name, key); err != nil {
			t.Fatal(err)
		}
	}
	f.vault("plain")
	arn := f.directory(map[string]string{"one": "1"})
	closed := f.backup("home", arn)
	open := f.backup("plain", arn)
	must(f.kms("DisableKey", map[string]any{"KeyId": key}))(f)
	f.wantFailedCopy(copyOrder("home", closed, "plain"), "KMS_KEY_ERROR", "is disabled")
	f.wantFailedCopy(copyOrder("plain", open, "offsite"), "KMS_KEY_ERROR", "is disabled")
	must(f.kms("EnableKey", map[string]any{"KeyId": key}))(f)
	f.copy("home", closed, "offsite")
}

// TestKill_CopyOfAGroupIntoAnotherAccount kills a server during such copies. The next one ends them.
func TestKill_CopyOfAGroupIntoAnotherAccount(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := &fixture{T: t, patience: 3 * time.Minute}
	p := spawn(t, dir)
	f.connect(p.url, dir)
	made := own(f, lockfastapi.CreateAccount, &lockfastapi.CreateAccountInput{AccountId: tenant})
	f.as(made).vault("refuge")
	f.as(made).admits("refuge", "000000000000")
	f.crossAccount("true")
	f.vault("home")
	f.member("web", map[string]string{"big": random(1, 6<<20), "small": "small"})
	f.member("crm", map[string]string{"other": random(2, 2<<20)})
	parent := f.backup("home", f.group("shop", "web", "crm"))
	for round := range 3 {
		id := must(f.sdk.StartCopyJob(t.Context(), abroad(parent)))(f).CopyJobId
		time.Sleep(time.Duration(round*round*20) * time.Millisecond)
		p.kill()
		p = spawn(t, dir)
		f.connect(p.url, dir)
		j := f.awaitCopy(id)
		if j.State != types.CopyJobStateCompleted || j.ChildJobsInState["COMPLETED"] != 2 {
			t.Fatalf("round %d: copy job ended %s: %s", round, j.State, aws.ToString(j.StatusMessage))
		}
	}
	defer p.kill()
	theirs := f.as(made)
	theirs.reclaim("refuge")
	theirs.verify("refuge")
	list := must(theirs.sdk.ListRecoveryPointsByBackupVault(t.Context(), &backup.ListRecoveryPointsByBackupVaultInput{BackupVaultName: aws.String("refuge")}))(f)
	for _, p := range list.RecoveryPoints {
		if p.Status != types.RecoveryPointStatusCompleted {
			t.Errorf("%s is %s", *p.RecoveryPointArn, p.Status)
		}
	}
	if len(list.RecoveryPoints) != 9 {
		t.Errorf("the vault holds %d recovery points, want three copies of three", len(list.RecoveryPoints))
	}
}

// TestRebuild_OfACopyFromAnotherAccount loses the database of a server that has such a copy. The resource stays the other
// account's.
func TestRebuild_OfACopyFromAnotherAccount(t *testing.T) {
	t.Parallel()
	o := options(t, t.TempDir())
	o.Config.Store = filepath.Join(t.TempDir(), "store")
	f := start(t, o)
	theirs := f.other()
	theirs.vault("refuge")
	theirs.admits("refuge", "000000000000")
	f.crossAccount("true")
	f.vault("home")
	made := f.copyAbroad(f.backup("home", f.directory(map[string]string{"one": strings.Repeat("1", 5000)})))
	f.written()
	f.stop()
	l := &lost{options: o}
	r, report, err := l.rebuild(t, filepath.Join(t.TempDir(), "new"), "sqlite")
	if err != nil {
		t.Fatal(err)
	}
	if report.Vaults != 2 || report.RecoveryPoints != 2 || report.Resources != 1 || len(report.Foreign)+len(report.Damaged) > 0 {
		t.Errorf("Rebuild = %+v, want 2 vaults with 2 recovery points of one resource, and nothing foreign", report)
	}
	again := options(t, r.Config.Data)
	again.Config = r.Config
	f = start(t, again)
	points := must(f.sdk.ListRecoveryPointsByBackupVault(t.Context(), &backup.ListRecoveryPointsByBackupVaultInput{BackupVaultName: aws.String("home")}))(f)
	if len(points.RecoveryPoints) != 1 || *points.RecoveryPoints[0].RecoveryPointArn == made {
		t.Errorf("the first account has the recovery points %v after the rebuild", points.RecoveryPoints)
	}
}
