package vault_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/vault"
)

func TestRoutes(t *testing.T) {
	t.Parallel()
	backup := restjson.New(restjson.Options{Service: backupapi.Service})
	own := restjson.New(restjson.Options{Service: lockfastapi.Service})
	vault.New(vault.Options{}).Routes(backup, own)
	want := []string{
		"CreateBackupVault", "DeleteBackupVault", "DeleteBackupVaultAccessPolicy", "DeleteRecoveryPoint", "DescribeBackupVault",
		"DescribeRecoveryPoint", "DisassociateRecoveryPoint", "DisassociateRecoveryPointFromParent",
		"GetBackupVaultAccessPolicy", "GetRecoveryPointRestoreMetadata", "ListBackupVaults",
		"ListRecoveryPointsByBackupVault", "ListRecoveryPointsByResource", "PutBackupVaultAccessPolicy",
		"UpdateRecoveryPointLifecycle",
	}
	if diff := cmp.Diff(want, backup.Operations()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"DescribeDeletion", "GetVaultUsage", "GetVaultVerification", "ListRecoveryPoints"}, own.Operations()); diff != "" {
		t.Error(diff)
	}
}
