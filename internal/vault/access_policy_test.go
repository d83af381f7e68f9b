package vault_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/vault"
)

// PrincipalIDsTx knows the user alice only.
func (o *others) PrincipalIDsTx(_ context.Context, _ *meta.Tx, principals []string) (map[string]string, error) {
	ids := map[string]string{}
	for _, p := range principals {
		switch name, isUser := strings.CutPrefix(p, "AWS:arn:aws:iam::"+account+":user/"); {
		case isUser && name == "alice":
			ids[strings.TrimPrefix(p, "AWS:")] = "AIDAALICE"
		case strings.HasPrefix(p, "AWS:arn:"):
			return nil, fmt.Errorf("%s: %w", p, vault.ErrPrincipal)
		}
	}
	return ids, nil
}

func statement(effect, principal, action, resource string) string {
	return fmt.Sprintf(`{"Version": "2012-10-17", "Statement": {"Effect": %q, "Principal": %s, "Action": %q, "Resource": %q}}`,
		effect, principal, action, resource)
}

// See https://docs.aws.amazon.com/aws-backup/latest/devguide/create-a-vault-access-policy.html.
func TestBackupVaultAccessPolicy(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		f.vault("home")
		name := "home"
		_, err := f.GetBackupVaultAccessPolicy(f.ctx, &backupapi.GetBackupVaultAccessPolicyInput{BackupVaultName: name})
		wantError(t, err, "ResourceNotFoundException", "Backup vault home has no access policy")
		for _, text := range []string{
			statement("Deny", `"*"`, "backup:DeleteRecoveryPoint", "*"),
			statement("Allow", `{"AWS": "arn:aws:iam::`+account+`:user/alice"}`, "backup:StartBackupJob", "arn:aws:ec2:*:*:snapshot/*"),
		} {
			if _, err := f.PutBackupVaultAccessPolicy(f.ctx, &backupapi.PutBackupVaultAccessPolicyInput{BackupVaultName: name, Policy: &text}); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			got, err := f.GetBackupVaultAccessPolicy(f.ctx, &backupapi.GetBackupVaultAccessPolicyInput{BackupVaultName: name})
			if err != nil || *got.Policy != text || *got.BackupVaultName != name {
				t.Errorf("GetBackupVaultAccessPolicy = %+v, %v, want %s as it was put", got, err, text)
			}
		}
		for range 2 {
			if _, err := f.DeleteBackupVaultAccessPolicy(f.ctx, &backupapi.DeleteBackupVaultAccessPolicyInput{BackupVaultName: name}); err != nil {
				t.Errorf("DeleteBackupVaultAccessPolicy: %v", err)
			}
		}
		_, err = f.GetBackupVaultAccessPolicy(f.ctx, &backupapi.GetBackupVaultAccessPolicyInput{BackupVaultName: name})
		wantError(t, err, "ResourceNotFoundException", "")
	})
}

func TestPutBackupVaultAccessPolicy_Errors(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		f.vault("home")
		for name, c := range map[string]struct{ vault, policy, want string }{
			"no policy":         {"home", "", "MissingParameterValueException"},
			"no JSON":           {"home", "{", "InvalidParameterValueException"},
			"any action":        {"home", statement("Deny", `"*"`, "*", "*"), "InvalidParameterValueException"},
			"any backup action": {"home", statement("Deny", `"*"`, "backup:*", "*"), "InvalidParameterValueException"},
			"action of another": {"home", statement("Deny", `"*"`, "s3:GetObject", "*"), "InvalidParameterValueException"},
			"unknown effect":    {"home", statement("Maybe", `"*"`, "backup:DeleteRecoveryPoint", "*"), "InvalidParameterValueException"},
			"no principal": {"home", `{"Statement": [{"Effect": "Deny", "Action": "backup:DeleteRecoveryPoint", "Resource": "*"}]}`,
				"InvalidParameterValueException"},
			"absent principal": {"home", statement("Deny", `{"AWS": "arn:aws:iam::`+account+`:role/gone"}`, "backup:DeleteRecoveryPoint", "*"),
				"InvalidParameterValueException"},
			"absent vault": {"absent", statement("Deny", `"*"`, "backup:DeleteRecoveryPoint", "*"), "ResourceNotFoundException"},
		} {
			_, err := f.PutBackupVaultAccessPolicy(f.ctx, &backupapi.PutBackupVaultAccessPolicyInput{BackupVaultName: c.vault, Policy: &c.policy})
			t.Log(name, err)
			wantError(t, err, c.want, "")
		}
		absent := statement("Deny", `{"AWS": "arn:aws:iam::`+account+`:role/gone"}`, "backup:DeleteRecoveryPoint", "*")
		_, err := f.PutBackupVaultAccessPolicy(f.ctx, &backupapi.PutBackupVaultAccessPolicyInput{BackupVaultName: "home", Policy: &absent})
		wantError(t, err, "InvalidParameterValueException", "Provided principal is not valid")
		_, err = f.DeleteBackupVaultAccessPolicy(f.ctx, &backupapi.DeleteBackupVaultAccessPolicyInput{BackupVaultName: "absent"})
		wantError(t, err, "ResourceNotFoundException", "")
	})
}

func TestAccessPolicies_OfTheVaultOrOfTheVaultsThatHoldThePoint(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		texts := map[string]string{}
		for i, name := range []string{"one", "two"} {
			id := f.vault(name)
			f.creating(id, i)
			if name == "one" {
				f.creating(id, 2)
			}
			texts[name] = statement("Deny", `{"AWS": "arn:aws:iam::`+account+`:user/alice"}`, "backup:DeleteRecoveryPoint",
				"arn:aws:backup:*:*:recovery-point:"+name)
			_, err := f.PutBackupVaultAccessPolicy(f.ctx, &backupapi.PutBackupVaultAccessPolicyInput{BackupVaultName: name, Policy: new(texts[name])})
			if err != nil {
				t.Fatal(err)
			}
		}
		f.vault("none")
		vaultARN := func(name string) string { return "arn:aws:backup:" + region + ":" + account + ":backup-vault:" + name }
		for _, c := range []struct {
			access caller.Access
			want   []string
		}{
			{caller.On("backup:DescribeBackupVault", vaultARN("one"))[0], []string{"one"}},
			{caller.On("backup:DeleteRecoveryPoint", pointARN(0), vaultARN("two"))[0], []string{"two"}},
			{caller.On("backup:DeleteRecoveryPoint", pointARN(0), vaultARN("none"))[0], nil},
			{caller.On("backup:StartRestoreJob", pointARN(1))[0], []string{"two"}},
			{caller.On("backup:StartRestoreJob", pointARN(2))[0], []string{"one"}},
			{caller.On("backup:StartRestoreJob", pointARN(7))[0], nil},
			{caller.OnAll("backup:ListBackupVaults")[0], nil},
		} {
			found, err := f.AccessPolicies(f.ctx, account, region, c.access)
			if err != nil {
				t.Fatal(err)
			}
			var got, want []string
			for _, p := range found {
				got = append(got, p.On+" "+p.Text)
				if diff := cmp.Diff(map[string]string{"arn:aws:iam::" + account + ":user/alice": "AIDAALICE"}, p.IDs); diff != "" {
					t.Error(diff)
				}
			}
			for _, name := range c.want {
				want = append(want, vaultARN(name)+" "+texts[name])
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("AccessPolicies(%+v): %s", c.access, diff)
			}
		}
	})
}
