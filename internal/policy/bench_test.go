package policy_test

import (
	"testing"

	"github.com/lockfast/lockfast/internal/policy"
)

// realistic returns ten policies as an operator of backups has them.
func realistic() []string {
	onlyBackup := `"Condition":{"StringEquals":{"iam:PassedToService":["backup.amazonaws.com","restore-testing.backup.amazonaws.com"]}}`
	return []string{
		document(`"Sid":"Operate","Effect":"Allow","Resource":"*","Action":["backup:Get*","backup:List*","backup:Describe*",
			"backup:CreateBackupSelection","backup:DeleteBackupSelection","backup:StartBackupJob","backup:StartRestoreJob",
			"backup:StartCopyJob","backup:StartScanJob","rds:DescribeDBInstances","ec2:DescribeVolumes","ec2:DescribeInstances",
			"dynamodb:ListTables","elasticfilesystem:DescribeFilesystems","fsx:DescribeFileSystems","tag:GetResources"]`,
			`"Effect":"Allow","Action":"iam:PassRole","Resource":["arn:aws:iam::*:role/*AwsBackup*",
			"arn:aws:iam::*:role/*AWSBackup*"],`+onlyBackup),
		document(`"Effect":"Allow","Action":["backup:DeleteRecoveryPoint","backup:UpdateRecoveryPointLifecycle"],
			"Resource":"arn:aws:backup:*:111111111111:recovery-point:*",
			"Condition":{"StringEquals":{"aws:ResourceTag/owner":"${aws:username}"}}`),
		document(`"Effect":"Deny","Action":["backup:DeleteBackupVault","backup:DeleteRecoveryPoint"],"Resource":"*",
			"Condition":{"NotIpAddress":{"aws:SourceIp":["10.0.0.0/8","192.168.0.0/16","2001:db8::/32"]}}`),
		document(`"Effect":"Deny","NotAction":["iam:ListMFADevices","iam:EnableMFADevice","sts:GetSessionToken"],"Resource":"*",
			"Condition":{"BoolIfExists":{"aws:MultiFactorAuthPresent":"false"}}`),
		document(`"Effect":"Allow","Action":["s3:GetObject*","s3:PutObject*","s3:ListBucket*","s3:DeleteObject"],
			"Resource":["arn:aws:s3:::team-${aws:username}","arn:aws:s3:::team-${aws:username}/*","arn:aws:s3:::shared/*"]`),
		document(`"Effect":"Allow","Action":["kms:Decrypt","kms:GenerateDataKey*","kms:DescribeKey","kms:ListAliases"],
			"Resource":"arn:aws:kms:*:111111111111:key/*","Condition":{"StringLike":{"kms:ViaService":"backup.*.amazonaws.com"}}`,
			`"Effect":"Allow","Action":"kms:CreateGrant","Resource":"*","Condition":{"Bool":{"kms:GrantIsForAWSResource":true}}`),
		document(`"Effect":"Allow","Action":["backup:CreateBackupVault","backup:TagResource"],"Resource":"*","Condition":
			{"ForAllValues:StringEquals":{"aws:TagKeys":["owner","env","cost"]},"Null":{"aws:RequestTag/owner":"false"}}`,
			`"Effect":"Deny","Action":"backup:UntagResource","Resource":"*","Condition":{"ForAnyValue:StringLike":{"aws:TagKeys":"own*"}}`),
		document(`"Effect":"Deny","Action":["backup:PutBackupVaultLockConfiguration","backup:DeleteBackupVaultLockConfiguration"],
			"Resource":"arn:aws:backup:*:*:backup-vault:prod-*",
			"Condition":{"NumericLessThan":{"backup:MinRetentionDays":"30"}}`,
			`"Effect":"Deny","Action":"backup:*","NotResource":"arn:aws:*:us-east-1:*:*","Condition":{"StringNotEquals":
			{"aws:RequestedRegion":["us-east-1","eu-west-1"]}}`),
		document(`"Effect":"Allow","Action":["iam:Get*","iam:List*","sts:AssumeRole","iam:SimulatePrincipalPolicy"],"Resource":"*"`,
			`"Effect":"Deny","Action":["iam:Create*","iam:Delete*","iam:Put*","iam:Attach*"],"Resource":"arn:aws:iam::*:role/aws-service-role/*"`),
		document(`"Effect":"Allow","Action":["sns:Publish","sns:List*","events:PutRule","events:PutTargets","logs:*"],"Resource":"*",
			"Condition":{"DateGreaterThan":{"aws:CurrentTime":"2020-01-01T00:00:00Z"}}`,
			`"Effect":"Deny","Action":"*","Resource":"*","Condition":{"ArnLike":{"aws:SourceArn":"arn:aws:sns:*:222222222222:*"}}`),
	}
}

// BenchmarkDecide measures decisions on one core. The first caller has ten policies; the second has a boundary besides,
// and asks for a recovery point that answers to its vault, which has an access policy.
func BenchmarkDecide(b *testing.B) {
	var identity []*policy.Document
	for _, text := range realistic() {
		identity = append(identity, mustParse(b, text, policy.Identity))
	}
	vault := mustParse(b, document(forbids(`"Principal":"*"`)+`,"Condition":{"ArnNotEquals":{"aws:PrincipalArn":["`+userARN+`","`+rootARN+`"]}}`,
		`"Effect":"Allow","Action":"backup:StartBackupJob","Resource":"`+vaultARN+`",`+aws(roleARN)), policy.Vault)
	r := policy.Request{
		Principal: user(), Action: deletes, Resources: []string{pointARN}, SameAccount: true,
		Context: policy.Values{
			"aws:username": {"ann"}, "aws:resourcetag/owner": {"ann"}, "aws:sourceip": {"10.1.2.3"}, "aws:principalarn": {userARN},
			"aws:multifactorauthpresent": {"true"}, "aws:requestedregion": {"us-east-1"}, "aws:currenttime": {"2030-01-01T00:00:00Z"},
		},
	}
	both := r
	both.Resources = []string{pointARN, vaultARN}
	for _, c := range []struct {
		name string
		r    policy.Request
		sets policy.Sets
	}{
		{"identity", r, policy.Sets{Identity: identity}},
		{"everything", both, policy.Sets{
			Identity: identity, Boundary: mustParse(b, document(allowAll), policy.Identity),
			Resource: []policy.Attached{{Document: vault}},
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if d := policy.Decide(&c.r, &c.sets); !d.Allowed {
					b.Fatalf("Decide = %+v, want to be allowed", d)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "decisions/s")
		})
	}
}
