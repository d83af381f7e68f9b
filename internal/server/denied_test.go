package server_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/backup"

	"github.com/lockfast/lockfast/internal/iamapi"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/server"
	"github.com/lockfast/lockfast/internal/sigv4"
	"github.com/lockfast/lockfast/internal/wire"
)

// admin is the first account's administrator.
func (f *fixture) admin() sigv4.Keys {
	return sigv4.Keys{AccessKeyID: f.own.AccessKeyID, Secret: f.own.Secret}
}

// iam calls an operation of IAM that must succeed.
func (f *fixture) iam(op *wire.Descriptor, vs values) string {
	f.Helper()
	a := f.try(op, f.admin(), vs)
	if a.status != 200 {
		f.Fatalf("%s = %d %s", op.Name, a.status, a.body)
	}
	return a.body
}

// user makes a user without policies.
func (f *fixture) user(name string) sigv4.Keys {
	f.Helper()
	f.iam(iamapi.CreateUser.Descriptor, values{"username": name})
	out := f.iam(iamapi.CreateAccessKey.Descriptor, values{"username": name})
	return sigv4.Keys{AccessKeyID: between(out, "AccessKeyId"), Secret: between(out, "SecretAccessKey")}
}

// TestDenied_WithoutPolicies calls everything that there is as a user who may do nothing.
func TestDenied_WithoutPolicies(t *testing.T) {
	t.Parallel()
	f := start(t, options(t, t.TempDir()))
	keys := f.user("nobody")
	free := []string{"sts/GetCallerIdentity", "sts/GetSessionToken"}
	ops := server.Descriptors()
	for _, op := range ops {
		name := op.Service.Name + "/" + op.Name
		a := f.try(op, keys, values{})
		if slices.Contains(free, name) {
			if a.status != 200 {
				t.Errorf("%s = %d %s", name, a.status, a.body)
			}
			continue
		}
		want, status := "AccessDeniedException", 403
		switch op.Service.Protocol {
		case "query":
			want = "AccessDenied"
		case "json":
			status = 400
		}
		if a.status != status || a.name != want || !strings.Contains(a.body, "user/nobody is not authorized to perform: ") {
			t.Errorf("%s = %d %s %s", name, a.status, a.name, a.body)
		}
	}
	if len(ops) < 200 {
		t.Errorf("only %d operations were tried", len(ops))
	}
}

// TestDenied_AcrossAccounts lets the administrator of another account call everything with the names of things of the first
// one. None of them must be shown or changed.
func TestDenied_AcrossAccounts(t *testing.T) {
	t.Parallel()
	const first, second, secret = "000000000000", "111111111111", "of-the-first"
	f := start(t, options(t, t.TempDir()))
	theirs := own(f, lockfastapi.CreateAccount, &lockfastapi.CreateAccountInput{AccountId: second})
	keys := sigv4.Keys{AccessKeyID: theirs.AccessKeyId, Secret: theirs.SecretAccessKey}

	f.vault(secret)
	resource := f.directory(map[string]string{"file": "1"})
	job, point := f.startBackup(secret, resource)
	f.awaitBackup(job)
	task := own(f, lockfastapi.StartReclaim, &lockfastapi.StartReclaimInput{BackupVaultName: secret}).TaskId
	f.user(secret)
	key := f.iam(iamapi.CreateAccessKey.Descriptor, values{"username": secret})
	f.iam(iamapi.CreateGroup.Descriptor, values{"groupname": secret})
	role := between(f.iam(iamapi.CreateRole.Descriptor, values{"rolename": secret, "assumerolepolicydocument": `{"Version":"2012-10-17",
		"Statement":{"Effect":"Allow","Principal":{"AWS":"000000000000"},"Action":"sts:AssumeRole"}}`}), "Arn")
	document := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}}`
	policy := between(f.iam(iamapi.CreatePolicy.Descriptor, values{"policyname": secret, "policydocument": document}), "Arn")
	kmsKey := f.key()
	must(f.kms("CreateAlias", map[string]any{"AliasName": "alias/" + secret, "TargetKeyId": kmsKey}))(f)
	named := values{
		"keyid": kmsKey, "targetkeyid": kmsKey, "sourcekeyid": kmsKey, "destinationkeyid": kmsKey, "encryptionkeyarn": kmsKey,
		"aliasname":       "alias/" + secret,
		"backupvaultname": secret, "backupvaultarn": "arn:aws:backup:us-east-1:000000000000:backup-vault:" + secret,
		"sourcebackupvaultname": secret, "destinationbackupvaultarn": "arn:aws:backup:us-east-1:000000000000:backup-vault:" + secret,
		"recoverypointarn": point, "otherrecoverypointarn": point, "resourcearn": resource, "backupjobid": job, "jobid": job, "taskid": task,
		"rolename": secret, "rolearn": role, "username": secret, "groupname": secret, "policyarn": policy, "policysourcearn": "arn:aws:iam::000000000000:user/" + secret,
		"accesskeyid": between(key, "AccessKeyId"), "accountid": first, "byaccountid": first, "policydocument": document,
		"assumerolepolicydocument": `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"backup.amazonaws.com"},"Action":"sts:AssumeRole"}}`,
		"policyname":               "p", "versionid": "v1", "rolesessionname": "session", "directory": "/nowhere-" + secret,
		"iamrolearn": "arn:aws:iam::111111111111:role/service-role/AWSBackupDefaultServiceRole",
	}
	for _, op := range server.Descriptors() {
		a := f.try(op, keys, named)
		name := op.Service.Name + "/" + op.Name
		switch {
		case a.status >= 500:
			t.Errorf("%s = %d %s", name, a.status, a.body)
		case a.status >= 300: // refused; the message may repeat what was sent
		case strings.Contains(a.body, first), strings.Contains(a.body, job), strings.Contains(a.body, between(key, "SecretAccessKey")):
			t.Errorf("%s shows something of the first account: %s", name, a.body)
		}
	}
	f.unharmed(secret, point, role, policy)
	d := must(f.kms("DescribeKey", map[string]any{"KeyId": "alias/" + secret}))(f)["KeyMetadata"].(map[string]any)
	if d["Arn"] != kmsKey || d["KeyState"] != "Enabled" {
		t.Errorf("key = %v", d)
	}
}

// unharmed looks whether the things of the first account are as they were made.
func (f *fixture) unharmed(name, point, role, policy string) {
	f.Helper()
	p := must(f.sdk.DescribeRecoveryPoint(f.Context(), &backup.DescribeRecoveryPointInput{BackupVaultName: &name, RecoveryPointArn: &point}))(f)
	if p.Status != "COMPLETED" || p.Lifecycle != nil && p.Lifecycle.DeleteAfterDays != nil {
		f.Errorf("recovery point = %s, %+v", p.Status, p.Lifecycle)
	}
	v := must(f.sdk.DescribeBackupVault(f.Context(), &backup.DescribeBackupVaultInput{BackupVaultName: &name}))(f)
	if aws.ToInt64(&v.NumberOfRecoveryPoints) != 1 {
		f.Errorf("vault has %d recovery points", v.NumberOfRecoveryPoints)
	}
	if got := f.iam(iamapi.GetRole.Descriptor, values{"rolename": name}); between(got, "Arn") != role || !strings.Contains(got, "000000000000%22") {
		f.Errorf("role = %s", got)
	}
	if got := f.iam(iamapi.GetPolicy.Descriptor, values{"policyarn": policy}); between(got, "DefaultVersionId") != "v1" {
		f.Errorf("policy = %s", got)
	}
	if got := f.iam(iamapi.ListAccessKeys.Descriptor, values{"username": name}); strings.Count(got, "<Status>Active</Status>") != 2 {
		f.Errorf("access keys = %s", got)
	}
	f.iam(iamapi.GetGroup.Descriptor, values{"groupname": name})
}
