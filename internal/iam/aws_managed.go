package iam

import (
	"crypto/sha256"
	"encoding/base32"
	"strings"
	"time"
)

// awsManagedAll returns the managed policies of AWS by their ARNs, with documents of our own.
func awsManagedAll() []ManagedPolicy {
	all := []string{
		"AdministratorAccess",
		"aws-service-role/AWSBackupServiceLinkedRolePolicyForBackup",
		"aws-service-role/AWSServiceRolePolicyForBackupReports",
		"aws-service-role/AWSServiceRolePolicyForBackupRestoreTesting",
		"service-role/AWSBackupServiceRolePolicyForBackup",
		"service-role/AWSBackupServiceRolePolicyForRestores",
	}
	return mapped(all, func(place string) ManagedPolicy {
		i := strings.LastIndex(place, "/") + 1
		sum := sha256.Sum256([]byte(place))
		return ManagedPolicy{
			ARN: awsPolicyPrefix + place, Name: place[i:], Path: "/" + place[:i],
			ID:       policyKind.prefix + base32.StdEncoding.EncodeToString(sum[:])[:17],
			Document: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`,
			Created:  time.Date(2019, 1, 1, 0, 0, 0, 0, time.UTC), Versions: 1,
		}
	})
}

// awsManaged finds a managed policy of AWS.
func awsManaged(arn string) (ManagedPolicy, bool) {
	for _, p := range awsManagedAll() {
		if p.ARN == arn {
			return p, true
		}
	}
	return ManagedPolicy{}, false
}
