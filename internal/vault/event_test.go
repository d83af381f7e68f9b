package vault_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/events"
)

// Shapes: https://docs.aws.amazon.com/aws-backup/latest/devguide/eventbridge.html
func TestEvents_OfAVault(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		f.vault("home")
		f.vault("other")
		policy := statement("Deny", `"*"`, "backup:DeleteRecoveryPoint", "*")
		_, err := f.PutBackupVaultAccessPolicy(f.ctx, &backupapi.PutBackupVaultAccessPolicyInput{BackupVaultName: "home", Policy: &policy})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.DeleteBackupVault(f.ctx, &backupapi.DeleteBackupVaultInput{BackupVaultName: "home"}); err != nil {
			t.Fatal(err)
		}
		list, err := f.events.List(f.ctx, events.Filter{Account: account, Region: region, Vault: "home", Type: events.VaultStateChange}, 10)
		if err != nil {
			t.Fatal(err)
		}
		slices.Reverse(list)
		var got []map[string]any
		for _, e := range list {
			var d struct {
				Resources []string
				Detail    map[string]any
			}
			if err := json.Unmarshal([]byte(e.Document), &d); err != nil {
				t.Fatal(err)
			}
			want := []string{"arn:aws:backup:" + region + ":" + account + ":backup-vault:home"}
			if diff := cmp.Diff(want, d.Resources); diff != "" || e.RecoveryPointArn != nil {
				t.Errorf("resources %s, recovery point %v", diff, e.RecoveryPointArn)
			}
			got = append(got, d.Detail)
		}
		want := []map[string]any{
			{"backupVaultName": "home", "state": "CREATED"},
			{"backupVaultName": "home", "state": "MODIFIED", "isLocked": "false"},
			{"backupVaultName": "home", "state": "DELETED"},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}
