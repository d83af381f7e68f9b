package iam_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/iam"
)

// written puts rights into words: "action resource", names of the same thing by "=", alternatives by "|".
func written(rights []caller.Access) (lines []string) {
	for _, r := range rights {
		line := strings.Join(append([]string{r.Action + " " + r.Resource}, r.Also...), " = ")
		for _, or := range written(r.Or) {
			line += " | " + or
		}
		lines = append(lines, line)
	}
	return lines
}

const (
	madePoint = "arn:aws:backup:eu-west-1:000000000000:recovery-point:1eb3b5e7-9eb0-435a-a80b-108b488b0d45"
	stream    = "arn:aws:backup:eu-west-1:000000000000:recovery-point:continuous:x-00000001"
	snapshot  = "arn:aws:ec2:eu-west-1::snapshot/snap-1"
	explicit  = " | backup:DeleteRecoveryPoint " + madePoint
)

// TestRights holds the tables of rights to what AWS's managed policies for the service grant.
func TestRights(t *testing.T) {
	t.Parallel()
	type rights = []string
	const of = "arn:aws:"
	for _, c := range []struct {
		name                    string
		use                     iam.Use
		backup, restore, remove rights // restore makes something new
	}{
		{"EFS", iam.Use{ResourceType: "EFS", ResourceARN: of + "elasticfilesystem:eu-west-1:000000000000:file-system/fs-1", PointARN: madePoint},
			rights{"elasticfilesystem:Backup arn:aws:elasticfilesystem:eu-west-1:000000000000:file-system/fs-1"},
			rights{"elasticfilesystem:Restore arn:aws:elasticfilesystem:eu-west-1:000000000000:file-system/*"},
			rights{"elasticfilesystem:Backup arn:aws:elasticfilesystem:eu-west-1:000000000000:file-system/fs-1" + explicit}},
		{"EBS", iam.Use{ResourceType: "EBS", ResourceARN: of + "ec2:eu-west-1:000000000000:volume/vol-1", PointARN: snapshot},
			rights{"ec2:CreateSnapshot arn:aws:ec2:eu-west-1:000000000000:volume/vol-1 = " + snapshot},
			rights{"ec2:CreateVolume arn:aws:ec2:eu-west-1:000000000000:volume/*"},
			rights{"ec2:DeleteSnapshot " + snapshot}},
		{"EC2", iam.Use{ResourceType: "EC2", ResourceARN: of + "ec2:eu-west-1:000000000000:instance/i-1", PointARN: of + "ec2:eu-west-1::image/ami-1"},
			rights{"ec2:CreateImage arn:aws:ec2:eu-west-1:000000000000:instance/i-1 = arn:aws:ec2:eu-west-1::image/ami-1"},
			rights{"ec2:RunInstances arn:aws:ec2:eu-west-1:000000000000:instance/*"},
			rights{"ec2:DeregisterImage arn:aws:ec2:eu-west-1::image/ami-1", "ec2:DeleteSnapshot arn:aws:ec2:eu-west-1::snapshot/*"}},
		{"RDS", iam.Use{ResourceType: "RDS", ResourceARN: of + "rds:eu-west-1:000000000000:db:a", PointARN: of + "rds:eu-west-1:000000000000:snapshot:awsbackup:job-1"},
			rights{"rds:CreateDBSnapshot arn:aws:rds:eu-west-1:000000000000:db:a = arn:aws:rds:eu-west-1:000000000000:snapshot:awsbackup:job-1"},
			rights{"rds:RestoreDBInstanceFromDBSnapshot arn:aws:rds:eu-west-1:000000000000:db:*"},
			rights{"rds:DeleteDBSnapshot arn:aws:rds:eu-west-1:000000000000:snapshot:awsbackup:job-1"}},
		{"RDS, continuous", iam.Use{ResourceType: "RDS", ResourceARN: of + "rds:eu-west-1:000000000000:db:a", PointARN: stream, Continuous: true},
			rights{"rds:ModifyDBInstance arn:aws:rds:eu-west-1:000000000000:db:a"},
			rights{"rds:RestoreDBInstanceToPointInTime arn:aws:rds:eu-west-1:000000000000:db:*"},
			rights{"rds:ModifyDBInstance arn:aws:rds:eu-west-1:000000000000:db:a",
				"rds:DeleteDBInstanceAutomatedBackup arn:aws:rds:eu-west-1:000000000000:auto-backup:*"}},
		{"Aurora", iam.Use{ResourceType: "Aurora", ResourceARN: of + "rds:eu-west-1:000000000000:cluster:a", PointARN: of + "rds:eu-west-1:000000000000:cluster-snapshot:awsbackup:job-1"},
			rights{"rds:CreateDBClusterSnapshot arn:aws:rds:eu-west-1:000000000000:cluster:a = arn:aws:rds:eu-west-1:000000000000:cluster-snapshot:awsbackup:job-1"},
			rights{"rds:RestoreDBClusterFromSnapshot arn:aws:rds:eu-west-1:000000000000:cluster:*"},
			rights{"rds:DeleteDBClusterSnapshot arn:aws:rds:eu-west-1:000000000000:cluster-snapshot:awsbackup:job-1"}},
		{"Aurora, continuous", iam.Use{ResourceType: "Aurora", ResourceARN: of + "rds:eu-west-1:000000000000:cluster:a", PointARN: stream, Continuous: true},
			rights{"rds:ModifyDBCluster arn:aws:rds:eu-west-1:000000000000:cluster:a"},
			rights{"rds:RestoreDBClusterToPointInTime arn:aws:rds:eu-west-1:000000000000:cluster:*"},
			rights{"rds:ModifyDBCluster arn:aws:rds:eu-west-1:000000000000:cluster:a",
				"rds:DeleteDBClusterAutomatedBackup arn:aws:rds:eu-west-1:000000000000:cluster-auto-backup:*"}},
		{"S3", iam.Use{ResourceType: "S3", ResourceARN: of + "s3:::docs", PointARN: madePoint},
			rights{"s3:GetObject arn:aws:s3:::docs/*", "s3:ListBucket arn:aws:s3:::docs | s3:ListBucketVersions arn:aws:s3:::docs"},
			rights{"s3:CreateBucket arn:aws:s3:::*", "s3:PutObject arn:aws:s3:::*/*"},
			rights{"s3:GetBucketVersioning arn:aws:s3:::docs" + explicit}},
		{"S3, continuous", iam.Use{ResourceType: "S3", ResourceARN: of + "s3:::docs", PointARN: stream, Continuous: true},
			rights{"s3:GetObject arn:aws:s3:::docs/*", "s3:ListBucket arn:aws:s3:::docs | s3:ListBucketVersions arn:aws:s3:::docs",
				"events:PutRule arn:aws:events:eu-west-1:000000000000:rule/AwsBackupManagedRule*"},
			rights{"s3:CreateBucket arn:aws:s3:::*", "s3:PutObject arn:aws:s3:::*/*"},
			rights{"events:RemoveTargets arn:aws:events:eu-west-1:000000000000:rule/AwsBackupManagedRule*",
				"events:DeleteRule arn:aws:events:eu-west-1:000000000000:rule/AwsBackupManagedRule*"}},
		{"DynamoDB", iam.Use{ResourceType: "DynamoDB", ResourceARN: of + "dynamodb:eu-west-1:000000000000:table/t", PointARN: of + "dynamodb:eu-west-1:000000000000:table/t/backup/1-1"},
			rights{"dynamodb:CreateBackup arn:aws:dynamodb:eu-west-1:000000000000:table/t"},
			rights{"dynamodb:RestoreTableFromBackup arn:aws:dynamodb:eu-west-1:000000000000:table/t/backup/1-1"},
			rights{"dynamodb:DeleteBackup arn:aws:dynamodb:eu-west-1:000000000000:table/t/backup/1-1"}},
		{"DynamoDB, advanced", iam.Use{ResourceType: "DynamoDB", ResourceARN: of + "dynamodb:eu-west-1:000000000000:table/t", PointARN: madePoint},
			rights{"dynamodb:StartAwsBackupJob arn:aws:dynamodb:eu-west-1:000000000000:table/t"},
			rights{"dynamodb:RestoreTableFromAwsBackup arn:aws:dynamodb:eu-west-1:000000000000:table/*"},
			rights{"dynamodb:StartAwsBackupJob arn:aws:dynamodb:eu-west-1:000000000000:table/t" + explicit}},
		{"FSx", iam.Use{ResourceType: "FSx", ResourceARN: of + "fsx:eu-west-1:000000000000:file-system/fs-1", PointARN: of + "fsx:eu-west-1:000000000000:backup/backup-1"},
			rights{"fsx:CreateBackup arn:aws:fsx:eu-west-1:000000000000:file-system/fs-1 = arn:aws:fsx:eu-west-1:000000000000:backup/backup-1"},
			rights{"fsx:CreateFileSystemFromBackup arn:aws:fsx:eu-west-1:000000000000:backup/backup-1"},
			rights{"fsx:DeleteBackup arn:aws:fsx:eu-west-1:000000000000:backup/backup-1"}},
		{"Redshift", iam.Use{ResourceType: "Redshift", ResourceARN: of + "redshift:eu-west-1:000000000000:cluster:c", PointARN: of + "redshift:eu-west-1:000000000000:snapshot:c/awsbackup:job-1"},
			rights{"redshift:CreateClusterSnapshot arn:aws:redshift:eu-west-1:000000000000:snapshot:c/awsbackup:job-1 = arn:aws:redshift:eu-west-1:000000000000:cluster:c"},
			rights{"redshift:RestoreFromClusterSnapshot arn:aws:redshift:eu-west-1:000000000000:snapshot:c/awsbackup:job-1"},
			rights{"redshift:DeleteClusterSnapshot arn:aws:redshift:eu-west-1:000000000000:snapshot:c/awsbackup:job-1"}},
		{"CloudFormation", iam.Use{ResourceType: "CloudFormation", ResourceARN: of + "cloudformation:eu-west-1:000000000000:stack/s/1", PointARN: madePoint},
			rights{"cloudformation:DescribeStacks arn:aws:cloudformation:eu-west-1:000000000000:stack/s/1"},
			rights{"cloudformation:CreateChangeSet arn:aws:cloudformation:eu-west-1:000000000000:stack/*/*"},
			rights{"cloudformation:DescribeStacks arn:aws:cloudformation:eu-west-1:000000000000:stack/s/1" + explicit}},
		{"VirtualMachine", iam.Use{ResourceType: "VirtualMachine", ResourceARN: of + "backup-gateway:eu-west-1:000000000000:vm/vm-1", PointARN: madePoint},
			rights{"backup-gateway:Backup arn:aws:backup-gateway:eu-west-1:000000000000:vm/vm-1"},
			rights{"backup-gateway:Restore arn:aws:backup-gateway:eu-west-1:000000000000:hypervisor/*"},
			rights{"backup-gateway:Backup arn:aws:backup-gateway:eu-west-1:000000000000:vm/vm-1" + explicit}},
		{"Storage Gateway", iam.Use{ResourceType: "Storage Gateway", ResourceARN: of + "storagegateway:eu-west-1:000000000000:gateway/g/volume/v", PointARN: snapshot},
			rights{"storagegateway:CreateSnapshot arn:aws:storagegateway:eu-west-1:000000000000:gateway/g/volume/v"},
			rights{"storagegateway:CreateStorediSCSIVolume arn:aws:storagegateway:eu-west-1:000000000000:gateway/* | storagegateway:CreateCachediSCSIVolume arn:aws:storagegateway:eu-west-1:000000000000:gateway/*"},
			rights{"ec2:DeleteSnapshot " + snapshot}},
		{"unknown", iam.Use{ResourceType: "Timestream", ResourceARN: of + "timestream:eu-west-1:000000000000:database/d", PointARN: madePoint},
			rights{"backup:StartBackupJob arn:aws:timestream:eu-west-1:000000000000:database/d"},
			rights{"backup:StartRestoreJob " + madePoint},
			rights{"backup:DeleteRecoveryPoint " + madePoint}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.use.Account = "000000000000"
			if diff := cmp.Diff(c.backup, written(iam.BackupRights(c.use))); diff != "" {
				t.Errorf("backup (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.remove, written(iam.DeleteRights(c.use))); diff != "" {
				t.Errorf("delete (-want +got):\n%s", diff)
			}
			fresh := c.use
			fresh.ResourceARN = ""
			if diff := cmp.Diff(c.restore, written(iam.RestoreRights(fresh))); diff != "" {
				t.Errorf("restore (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRestoreRights_IntoAResource(t *testing.T) {
	t.Parallel()
	const home = "arn:aws:elasticfilesystem:eu-west-1:000000000000:file-system/fs-2"
	got := written(iam.RestoreRights(iam.Use{ResourceType: "EFS", ResourceARN: home, PointARN: madePoint}))
	if diff := cmp.Diff([]string{"elasticfilesystem:Restore " + home}, got); diff != "" {
		t.Error(diff)
	}
}

func TestCopyRights(t *testing.T) {
	t.Parallel()
	const from, to = "arn:aws:backup:eu-west-1:000000000000:backup-vault:home", "arn:aws:backup:eu-west-1:000000000000:backup-vault:offsite"
	rights := iam.CopyRights(madePoint, from, to)
	want := []string{"backup:CopyFromBackupVault " + madePoint + " = " + from, "backup:CopyIntoBackupVault " + to}
	if diff := cmp.Diff(want, written(rights)); diff != "" {
		t.Errorf("rights (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string][]string{"backup:copytargets": {to}}, rights[0].Keys); diff != "" {
		t.Errorf("condition keys (-want +got):\n%s", diff)
	}
}
