package iam

import (
	"strings"

	"github.com/lockfast/lockfast/arn"
	"github.com/lockfast/lockfast/internal/caller"
)

// Use is what the service uses a role for.
type Use struct {
	Account string
	// ResourceType is the type of the resource as AWS Backup names it, such as "EFS".
	ResourceType string
	// ResourceARN is the resource that is backed up, or that the recovery point was made of; of a restore the resource
	// that receives it, or empty for a new one.
	ResourceARN string
	// PointARN is the recovery point. Its form tells kinds of backups of a type apart.
	PointARN   string
	Continuous bool // of the recovery point
}

// The tables of this file name, for each type of resource, the action that stands for the whole of the work: the one
// that reads, makes or deletes, of those that AWS's managed policies for the service grant. The rest of what AWS would
// need there is never done here, so a role that lacks it is good enough.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/security-iam-awsmanpol.html.

// BackupRights are what a role has to allow for a backup.
func BackupRights(u Use) []caller.Access {
	switch u.ResourceType {
	case "EFS":
		return caller.On("elasticfilesystem:Backup", u.ResourceARN)
	case "EBS":
		return caller.On("ec2:CreateSnapshot", u.ResourceARN, u.PointARN)
	case "EC2":
		return caller.On("ec2:CreateImage", u.ResourceARN, u.PointARN)
	case "RDS":
		if u.Continuous {
			return caller.On("rds:ModifyDBInstance", u.ResourceARN)
		}
		return caller.On("rds:CreateDBSnapshot", u.ResourceARN, u.PointARN)
	case "Aurora", "DocumentDB", "Neptune":
		if u.Continuous {
			return caller.On("rds:ModifyDBCluster", u.ResourceARN)
		}
		return caller.On("rds:CreateDBClusterSnapshot", u.ResourceARN, u.PointARN)
	case "S3":
		rights := append(caller.On("s3:GetObject", u.ResourceARN+"/*"), either("s3:ListBucket", u.ResourceARN,
			caller.On("s3:ListBucketVersions", u.ResourceARN)...))
		if u.Continuous {
			rights = append(rights, caller.On("events:PutRule", u.managedRules())...)
		}
		return rights
	case "DynamoDB":
		if u.native("dynamodb") {
			return caller.On("dynamodb:CreateBackup", u.ResourceARN)
		}
		return caller.On("dynamodb:StartAwsBackupJob", u.ResourceARN)
	case "FSx":
		return caller.On("fsx:CreateBackup", u.ResourceARN, u.PointARN)
	case "Redshift":
		return caller.On("redshift:CreateClusterSnapshot", u.PointARN, u.ResourceARN)
	case "Redshift Serverless":
		return caller.On("redshift-serverless:CreateSnapshot", u.ResourceARN)
	case "CloudFormation":
		return caller.On("cloudformation:DescribeStacks", u.ResourceARN)
	case "VirtualMachine":
		return caller.On("backup-gateway:Backup", u.ResourceARN)
	case "Storage Gateway":
		return caller.On("storagegateway:CreateSnapshot", u.ResourceARN)
	}
	return caller.On("backup:StartBackupJob", u.ResourceARN) // no driver has the type
}

// RestoreRights are what a role has to allow for a restore.
func RestoreRights(u Use) []caller.Access {
	switch u.ResourceType {
	case "EFS":
		return caller.On("elasticfilesystem:Restore", u.target("elasticfilesystem", "file-system/*"))
	case "EBS":
		return caller.On("ec2:CreateVolume", u.target("ec2", "volume/*"))
	case "EC2":
		return caller.On("ec2:RunInstances", u.target("ec2", "instance/*"))
	case "RDS":
		if u.Continuous {
			return caller.On("rds:RestoreDBInstanceToPointInTime", u.target("rds", "db:*"))
		}
		return caller.On("rds:RestoreDBInstanceFromDBSnapshot", u.target("rds", "db:*"))
	case "Aurora", "DocumentDB", "Neptune":
		if u.Continuous {
			return caller.On("rds:RestoreDBClusterToPointInTime", u.target("rds", "cluster:*"))
		}
		return caller.On("rds:RestoreDBClusterFromSnapshot", u.target("rds", "cluster:*"))
	case "S3":
		if u.ResourceARN == "" {
			return append(caller.On("s3:CreateBucket", "arn:aws:s3:::*"), caller.On("s3:PutObject", "arn:aws:s3:::*/*")...)
		}
		return caller.On("s3:PutObject", u.ResourceARN+"/*")
	case "DynamoDB":
		if u.native("dynamodb") {
			return caller.On("dynamodb:RestoreTableFromBackup", u.PointARN)
		}
		return caller.On("dynamodb:RestoreTableFromAwsBackup", u.target("dynamodb", "table/*"))
	case "FSx":
		return caller.On("fsx:CreateFileSystemFromBackup", u.PointARN)
	case "Redshift":
		return caller.On("redshift:RestoreFromClusterSnapshot", u.PointARN)
	case "Redshift Serverless":
		return caller.On("redshift-serverless:RestoreFromSnapshot", u.PointARN)
	case "CloudFormation":
		return caller.On("cloudformation:CreateChangeSet", u.target("cloudformation", "stack/*/*"))
	case "VirtualMachine":
		return caller.On("backup-gateway:Restore", u.target("backup-gateway", "hypervisor/*"))
	case "Storage Gateway":
		target := u.target("storagegateway", "gateway/*")
		return []caller.Access{either("storagegateway:CreateStorediSCSIVolume", target,
			caller.On("storagegateway:CreateCachediSCSIVolume", target)...)}
	}
	return caller.On("backup:StartRestoreJob", u.PointARN)
}

// CopyRights are what a role has to allow for a copy of a recovery point from one vault into another.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/create-cross-account-backup.html.
func CopyRights(pointARN, from, to string) []caller.Access {
	out := caller.Access{Action: "backup:CopyFromBackupVault", Resource: pointARN, Also: []string{from},
		Keys: map[string][]string{"backup:copytargets": {to}}}
	return append([]caller.Access{out}, caller.On("backup:CopyIntoBackupVault", to)...)
}

// DeleteRights are what a role has to allow for the deletion of a recovery point that was made with it. AWS's policies
// for roles hold no right to delete what AWS Backup itself stores; for these types it takes the right to back up, which
// tells a role that still serves from one that was stripped, or explicitly backup:DeleteRecoveryPoint.
func DeleteRights(u Use) []caller.Access {
	switch u.ResourceType {
	case "EBS", "Storage Gateway":
		return caller.On("ec2:DeleteSnapshot", u.PointARN)
	case "EC2":
		return append(caller.On("ec2:DeregisterImage", u.PointARN),
			caller.On("ec2:DeleteSnapshot", "arn:aws:ec2:"+u.point().Region+"::snapshot/*")...)
	case "RDS":
		if u.Continuous {
			return append(caller.On("rds:ModifyDBInstance", u.ResourceARN),
				caller.On("rds:DeleteDBInstanceAutomatedBackup", u.of("rds", "auto-backup:*"))...)
		}
		return caller.On("rds:DeleteDBSnapshot", u.PointARN)
	case "Aurora", "DocumentDB", "Neptune":
		if u.Continuous {
			return append(caller.On("rds:ModifyDBCluster", u.ResourceARN),
				caller.On("rds:DeleteDBClusterAutomatedBackup", u.of("rds", "cluster-auto-backup:*"))...)
		}
		return caller.On("rds:DeleteDBClusterSnapshot", u.PointARN)
	case "FSx":
		return caller.On("fsx:DeleteBackup", u.PointARN)
	case "Redshift":
		return caller.On("redshift:DeleteClusterSnapshot", u.PointARN)
	case "Redshift Serverless":
		return caller.On("redshift-serverless:DeleteSnapshot", u.PointARN)
	case "S3":
		if u.Continuous {
			return append(caller.On("events:RemoveTargets", u.managedRules()), caller.On("events:DeleteRule", u.managedRules())...)
		}
		return u.stored("s3:GetBucketVersioning")
	case "DynamoDB":
		if u.native("dynamodb") {
			return caller.On("dynamodb:DeleteBackup", u.PointARN)
		}
		return u.stored("dynamodb:StartAwsBackupJob")
	case "EFS":
		return u.stored("elasticfilesystem:Backup")
	case "CloudFormation":
		return u.stored("cloudformation:DescribeStacks")
	case "VirtualMachine":
		return u.stored("backup-gateway:Backup")
	}
	return caller.On("backup:DeleteRecoveryPoint", u.PointARN)
}

// stored is the right to delete what AWS Backup itself stores: an action on the resource, or to delete explicitly.
func (u Use) stored(action string) []caller.Access {
	return []caller.Access{either(action, u.ResourceARN, caller.On("backup:DeleteRecoveryPoint", u.PointARN)...)}
}

func either(action, resource string, or ...caller.Access) caller.Access {
	return caller.Access{Action: action, Resource: resource, Or: or}
}

// point is the ARN of the recovery point in its parts.
func (u Use) point() arn.ARN {
	a, _ := arn.Parse(u.PointARN) // what cannot be parsed has no parts, and no role allows anything on it
	return a
}

// native reports whether the recovery point belongs to the service that made it, rather than to AWS Backup.
func (u Use) native(service string) bool { return u.point().Service == service }

// of names things of a service in the account, in the region of the recovery point.
func (u Use) of(service, resource string) string {
	return strings.Join([]string{"arn:aws", service, u.point().Region, u.Account, resource}, ":")
}

// target names what receives a restore.
func (u Use) target(service, fresh string) string {
	if u.ResourceARN != "" {
		return u.ResourceARN
	}
	return u.of(service, fresh)
}

// managedRules are the rules by which AWS Backup hears of changes in buckets.
func (u Use) managedRules() string { return u.of("events", "rule/AwsBackupManagedRule*") }
