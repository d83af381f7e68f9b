package setting_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/setting"
	"github.com/lockfast/lockfast/internal/wire"
)

func TestGlobalSettings(t *testing.T) {
	run(t, func(t *testing.T, ctx context.Context, s *setting.Service, _ *meta.DB) {
		member := as(t.Context(), "111111111111", "eu-west-1")
		want := func(crossAccount string) {
			t.Helper()
			out, err := s.DescribeGlobalSettings(member, &backupapi.DescribeGlobalSettingsInput{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(map[string]string{"isCrossAccountBackupEnabled": crossAccount, "isMpaEnabled": "false",
				"isDelegatedAdministratorEnabled": "false"}, out.GlobalSettings); diff != "" {
				t.Errorf("settings (-want +got):\n%s", diff)
			}
			enabled, err := s.CrossAccount(ctx)
			if err != nil || enabled != (crossAccount == "true") {
				t.Errorf("CrossAccount = %v, %v", enabled, err)
			}
		}
		update := func(ctx context.Context, settings map[string]string) error {
			_, err := s.UpdateGlobalSettings(ctx, &backupapi.UpdateGlobalSettingsInput{GlobalSettings: settings})
			return err
		}
		want("false")
		if out, err := s.DescribeGlobalSettings(ctx, nil); err != nil || out.LastUpdateTime != nil {
			t.Errorf("LastUpdateTime before the first update = %v, %v", out.LastUpdateTime, err)
		}
		for _, test := range []struct {
			by       context.Context
			settings map[string]string
			err      string
		}{
			{member, map[string]string{"isCrossAccountBackupEnabled": "true"}, "InvalidRequestException"},
			{ctx, map[string]string{"isCrossAccountBackupEnabled": "True"}, "InvalidParameterValueException"},
			{ctx, map[string]string{"isCrossAccountBackupEnabled": ""}, "InvalidParameterValueException"},
			{ctx, map[string]string{"iscrossaccountbackupenabled": "true"}, "InvalidParameterValueException"},
			{ctx, map[string]string{"isCrossAccountBackupEnabled": "true", "isMpaEnabled": "true"}, "InvalidRequestException"},
			{ctx, map[string]string{"isDelegatedAdministratorEnabled": "true"}, "InvalidRequestException"},
		} {
			err := update(test.by, test.settings)
			if api, ok := errors.AsType[wire.APIError](err); !ok || api.ErrorName() != test.err {
				t.Errorf("UpdateGlobalSettings(%v) = %v, want %s", test.settings, err, test.err)
			}
		}
		want("false")
		began := time.Now().Add(-time.Minute)
		for _, value := range []string{"true", "true", "false"} {
			if err := update(ctx, map[string]string{"isCrossAccountBackupEnabled": value, "isMpaEnabled": "false"}); err != nil {
				t.Fatal(err)
			}
			want(value)
		}
		if err := update(ctx, nil); err != nil {
			t.Errorf("update of nothing = %v", err)
		}
		out, err := s.DescribeGlobalSettings(ctx, nil)
		if err != nil || out.LastUpdateTime == nil || out.LastUpdateTime.Before(began) {
			t.Errorf("LastUpdateTime = %v, %v", out.LastUpdateTime, err)
		}
	})
}
