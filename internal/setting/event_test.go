package setting_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/events"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/setting"
)

// Shape: https://docs.aws.amazon.com/aws-backup/latest/devguide/eventbridge.html
func TestUpdateRegionSettings_IsTold(t *testing.T) {
	run(t, func(t *testing.T, ctx context.Context, s *setting.Service, db *meta.DB) {
		for _, in := range []backupapi.UpdateRegionSettingsInput{{}, {ResourceTypeOptInPreference: map[string]bool{"S3": false}}} {
			if _, err := s.UpdateRegionSettings(ctx, &in); err != nil {
				t.Fatal(err)
			}
		}
		list, err := events.New(events.Options{DB: db}).List(ctx, events.Filter{Account: "000000000000", Region: "us-east-1"}, 10)
		if err != nil || len(list) != 1 {
			t.Fatalf("List = %v, %v, want one", list, err)
		}
		var got struct {
			Type      string `json:"detail-type"`
			Resources []string
			Detail    struct {
				State      string
				ModifiedAt string
				OptIn      map[string]bool `json:"ResourceTypeOptInPreference"`
			}
		}
		if err := json.Unmarshal([]byte(list[0].Document), &got); err != nil {
			t.Fatal(err)
		}
		want := got
		want.Type, want.Resources, want.Detail.State = events.RegionStateChange, []string{}, "MODIFIED"
		want.Detail.OptIn = map[string]bool{"CloudFormation": true, "EFS": true, "S3": false}
		if diff := cmp.Diff(want, got); diff != "" || got.Detail.ModifiedAt == "" {
			t.Errorf("event of %q (-want +got):\n%s", got.Detail.ModifiedAt, diff)
		}
	})
}
