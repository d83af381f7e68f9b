package iam_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/iam"
	"github.com/lockfast/lockfast/internal/policy"
)

const aws = "arn:aws:iam::aws:policy/"

func TestManagedPolicies(t *testing.T) {
	t.Parallel()
	found := map[string]bool{}
	for _, p := range iam.ManagedPolicies() {
		found[p.ARN] = true
		if _, err := policy.Parse(p.Document, policy.Identity); err != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
		if p.ARN != "arn:aws:iam::aws:policy"+p.Path+p.Name || len(p.ID) != 21 || !strings.HasPrefix(p.ID, "ANPA") ||
			p.Description == "" || p.Created.IsZero() || p.Versions != 1 || p.Path[len(p.Path)-1] != '/' {
			t.Errorf("policy = %+v", p)
		}
	}
	for _, name := range []string{
		"service-role/AWSBackupServiceRolePolicyForBackup", "service-role/AWSBackupServiceRolePolicyForRestores",
		"AWSBackupServiceRolePolicyForS3Backup", "AWSBackupServiceRolePolicyForS3Restore", "AWSBackupServiceRolePolicyForIndexing",
		"AWSBackupServiceRolePolicyForItemRestores", "AWSBackupServiceRolePolicyForScans", "AWSBackupFullAccess",
		"AWSBackupOperatorAccess", "AWSBackupAuditAccess", "AWSBackupOrganizationAdminAccess", "AWSBackupSearchOperatorAccess",
		"aws-service-role/AWSBackupServiceLinkedRolePolicyForBackup", "aws-service-role/AWSServiceRolePolicyForBackupRestoreTesting",
		"aws-service-role/AWSServiceRolePolicyForBackupReports", "AdministratorAccess", "ReadOnlyAccess", "PowerUserAccess",
		"IAMFullAccess", "IAMReadOnlyAccess",
	} {
		if !found[aws+name] {
			t.Errorf("policy %s is missing", name)
		}
	}
}

// TestManagedPolicies_GrantUsers holds what https://docs.aws.amazon.com/aws-backup/latest/devguide/security-iam-awsmanpol.html
// says of the policies for people.
func TestManagedPolicies_GrantUsers(t *testing.T) {
	t.Parallel()
	w := sqlite(t)
	const accounts = "arn:aws:lockfast::000000000000:account/111111111111"
	passes := caller.Pass(new(iam.DefaultRole(account)))[0]
	elsewhere := passes
	elsewhere.Keys = map[string][]string{"iam:passedtoservice": {"ec2.amazonaws.com"}}
	linked := caller.Access{Action: "iam:CreateServiceLinkedRole", Resource: linkedRole,
		Keys: map[string][]string{"iam:awsservicename": {caller.ServiceName}}}
	on := func(action, resource string) caller.Access { return caller.Access{Action: action, Resource: resource} }
	tests := []struct {
		policy         string
		allows, denies []caller.Access
	}{
		{"AdministratorAccess", []caller.Access{on("backup:DeleteRecoveryPoint", point), on("lockfast:CreateAccount", accounts), linked}, nil},
		{"AWSBackupFullAccess",
			[]caller.Access{on("backup:DeleteRecoveryPoint", point), on("backup:PutBackupVaultAccessPolicy", vault), passes, linked,
				on("lockfast:GetItem", point), on("lockfast:ListItems", point)},
			[]caller.Access{elsewhere, on("iam:CreateRole", "*"), on("ec2:DeleteSnapshot", point), on("lockfast:CreateAccount", accounts),
				on("lockfast:ListAccounts", "*"), on("lockfast:RegisterResource", "*"), on("lockfast:RestoreToDirectory", point)}},
		{"AWSBackupOperatorAccess",
			[]caller.Access{on("backup:StartBackupJob", vault), on("backup:StartRestoreJob", point), on("backup:DescribeRecoveryPoint", point),
				on("backup:CreateBackupSelection", "*"), passes},
			[]caller.Access{on("backup:DeleteRecoveryPoint", point), on("backup:DeleteBackupVault", vault), on("backup:CreateBackupVault", vault),
				on("backup:UpdateRecoveryPointLifecycle", point), elsewhere, linked}},
		{"AWSBackupAuditAccess", []caller.Access{on("backup:CreateFramework", "*")}, []caller.Access{on("backup:StartBackupJob", vault)}},
		{"AWSBackupOrganizationAdminAccess", []caller.Access{on("backup:UpdateGlobalSettings", "*")}, []caller.Access{on("backup:StartBackupJob", vault)}},
		{"AWSBackupSearchOperatorAccess", []caller.Access{on("backup-search:StartSearchJob", "*")}, []caller.Access{on("backup:StartRestoreJob", point)}},
		{"ReadOnlyAccess",
			[]caller.Access{on("backup:ListBackupVaults", "*"), on("iam:GetRole", "*"), on("lockfast:ListResources", "*")},
			[]caller.Access{on("backup:DeleteRecoveryPoint", point), on("iam:CreateRole", "*"), on("lockfast:ListAccounts", accounts), passes}},
		{"PowerUserAccess", []caller.Access{on("backup:DeleteRecoveryPoint", point), on("lockfast:RegisterResource", "*")},
			[]caller.Access{on("iam:CreateUser", "*"), on("lockfast:CreateAccount", accounts), passes}},
		{"IAMFullAccess", []caller.Access{on("iam:CreateUser", "*"), passes}, []caller.Access{on("backup:ListBackupVaults", "*")}},
		{"IAMReadOnlyAccess", []caller.Access{on("iam:ListUsers", "*")}, []caller.Access{on("iam:CreateUser", "*"), passes}},
	}
	for _, test := range tests {
		u := w.user(account, test.policy)
		w.exec("INSERT INTO iam_attachment (account, kind, entity, policy_arn) VALUES (?, 'user', ?, ?)", account, test.policy, aws+test.policy)
		for _, a := range test.allows {
			if err := w.ask(u, a); err != nil {
				t.Error(err)
			}
		}
		for _, a := range test.denies {
			if w.ask(u, a) == nil {
				t.Errorf("%s allows %s on %s", test.policy, a.Action, a.Resource)
			}
		}
	}
}

// TestManagedPolicies_GrantRoles looks at what the default role may do with each type of resource.
func TestManagedPolicies_GrantRoles(t *testing.T) {
	t.Parallel()
	w := sqlite(t)
	if _, err := w.EnsureAccount(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	const owned = "us-east-1:000000000000:"
	may := func(action, resource string) error {
		return w.RoleMay(t.Context(), account, iam.DefaultRole(account), caller.On(action, resource))
	}
	for action, resource := range map[string]string{
		"elasticfilesystem:Backup": fileSystem, "elasticfilesystem:Restore": fileSystem,
		"ec2:CreateSnapshot": "arn:aws:ec2:" + owned + "volume/vol-1", "ec2:DeleteSnapshot": point, "ec2:CreateVolume": "*",
		"ec2:CreateImage": "arn:aws:ec2:" + owned + "instance/i-1", "ec2:DeregisterImage": "arn:aws:ec2:us-east-1::image/ami-1", "ec2:RunInstances": "*",
		"rds:CreateDBSnapshot": "arn:aws:rds:" + owned + "db:d", "rds:DeleteDBSnapshot": "arn:aws:rds:" + owned + "snapshot:awsbackup:job-1",
		"rds:ModifyDBInstance": "arn:aws:rds:" + owned + "db:d", "rds:DeleteDBInstanceAutomatedBackup": "arn:aws:rds:" + owned + "auto-backup:ab-1",
		"rds:RestoreDBInstanceFromDBSnapshot": "*", "rds:CreateDBClusterSnapshot": "arn:aws:rds:" + owned + "cluster:c",
		"rds:DeleteDBClusterSnapshot": "arn:aws:rds:" + owned + "cluster-snapshot:awsbackup:job-1", "rds:RestoreDBClusterFromSnapshot": "*",
		"dynamodb:CreateBackup": "arn:aws:dynamodb:" + owned + "table/t", "dynamodb:DeleteBackup": "arn:aws:dynamodb:" + owned + "table/t/backup/1",
		"dynamodb:StartAwsBackupJob": "arn:aws:dynamodb:" + owned + "table/t", "dynamodb:RestoreTableFromBackup": "*",
		"s3:GetObject": "arn:aws:s3:::b/k", "s3:ListBucket": "arn:aws:s3:::b", "s3:ListBucketVersions": "arn:aws:s3:::b", "s3:GetBucketVersioning": "arn:aws:s3:::b",
		"s3:PutObject": "arn:aws:s3:::b/k", "events:DeleteRule": "arn:aws:events:" + owned + "rule/AwsBackupManagedRule1",
		"fsx:CreateBackup": "arn:aws:fsx:" + owned + "file-system/fs-1", "fsx:DeleteBackup": "arn:aws:fsx:" + owned + "backup/backup-1",
		"redshift:CreateClusterSnapshot": "*", "redshift:DeleteClusterSnapshot": "arn:aws:redshift:" + owned + "snapshot:c/s",
		"redshift-serverless:DeleteSnapshot": "*", "cloudformation:DescribeStacks": "*", "cloudformation:CreateChangeSet": "*",
		"backup-gateway:Backup": "*", "backup-gateway:Restore": "*", "tag:GetResources": "*", "kms:GenerateDataKey": "*", "kms:Decrypt": "*",
		"backup:CopyFromBackupVault": point, "backup:CopyIntoBackupVault": vault, "backup:DescribeBackupVault": vault,
		"backup:TagResource": "arn:aws:backup:" + owned + "recovery-point:1",
	} {
		if err := may(action, resource); err != nil {
			t.Error(err)
		}
	}
	for action, resource := range map[string]string{
		"backup:DeleteRecoveryPoint": point, "iam:CreateServiceLinkedRole": linkedRole, "ec2:DeleteVpc": "*", "events:PutRule": "arn:aws:events:" + owned + "rule/other",
		"iam:PassRole": iam.DefaultRole(account),
	} {
		if err := may(action, resource); err == nil {
			t.Errorf("the default role may do %s", action)
		} else if _, ok := errors.AsType[*iam.RoleDenied](err); !ok {
			t.Error(err)
		}
	}
}
