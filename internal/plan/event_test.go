package plan_test

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/events"
)

// Shapes: https://docs.aws.amazon.com/aws-backup/latest/devguide/eventbridge.html
func TestEvents(t *testing.T) {
	run(t, func(t *testing.T, ctx context.Context, k *kit) {
		made := k.create(t, ctx, daily("one"), "token")
		k.create(t, ctx, daily("one"), "token") // is the same request
		k.now = k.now.Add(time.Second)
		update := func() *backupapi.UpdateBackupPlanOutput {
			changed := daily("one")
			changed.Rules[0].StartWindowMinutes = new(int64(60))
			out, err := k.UpdateBackupPlan(ctx, &backupapi.UpdateBackupPlanInput{BackupPlanId: *made.BackupPlanId, BackupPlan: changed})
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		updated := update()
		update() // changes nothing
		if _, err := k.DeleteBackupPlan(ctx, &backupapi.DeleteBackupPlanInput{BackupPlanId: *made.BackupPlanId}); err != nil {
			t.Fatal(err)
		}
		list, err := k.events.List(ctx, events.Filter{Account: "000000000000", Region: "us-east-1", Type: events.PlanStateChange}, 10)
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
			if diff := cmp.Diff([]string{*made.BackupPlanArn}, d.Resources); diff != "" || e.RecoveryPointArn != nil {
				t.Errorf("resources %s, recovery point %v", diff, e.RecoveryPointArn)
			}
			got = append(got, d.Detail)
		}
		id := *made.BackupPlanId
		want := []map[string]any{
			{"backupPlanId": id, "versionId": *made.VersionId, "state": "CREATED", "creationDate": "2026-01-01T00:00:01.000Z",
				"backupVaultEvent": "BACKUP_PLAN_CREATED"},
			{"backupPlanId": id, "versionId": *updated.VersionId, "state": "MODIFIED", "modifiedAt": "2026-01-01T00:00:03.000Z",
				"backupVaultEvent": "BACKUP_PLAN_MODIFIED"},
			{"backupPlanId": id, "versionId": *updated.VersionId, "state": "DELETED", "deletionDate": "2026-01-01T00:00:03.000Z"},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
}
