package setting_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
	"github.com/lockfast/lockfast/internal/setting"
)

func run(t *testing.T, test func(t *testing.T, ctx context.Context, s *setting.Service, db *meta.DB)) {
	metatest.Run(t, func(t *testing.T, open func(*testing.T, ...meta.MigrationSet) *meta.DB) {
		db := open(t, setting.Migrations())
		test(t, as(t.Context(), "000000000000", "us-east-1"), setting.New(db, "000000000000", "CloudFormation", "EFS", "S3"), db)
	})
}

func as(ctx context.Context, account, region string) context.Context {
	return caller.With(ctx, caller.Caller{Account: account, Region: region})
}

func TestGetSupportedResourceTypes(t *testing.T) {
	run(t, func(t *testing.T, ctx context.Context, s *setting.Service, _ *meta.DB) {
		out, err := s.GetSupportedResourceTypes(ctx, &backupapi.GetSupportedResourceTypesInput{})
		if diff := cmp.Diff([]string{"CloudFormation", "EFS", "S3"}, out.ResourceTypes); err != nil || diff != "" {
			t.Error(err, diff)
		}
	})
}

func TestRegionSettings(t *testing.T) {
	run(t, func(t *testing.T, ctx context.Context, s *setting.Service, db *meta.DB) {
		describe := func(ctx context.Context) *backupapi.DescribeRegionSettingsOutput {
			out, err := s.DescribeRegionSettings(ctx, &backupapi.DescribeRegionSettingsInput{})
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		everything := &backupapi.DescribeRegionSettingsOutput{
			ResourceTypeOptInPreference:      map[string]bool{"CloudFormation": true, "EFS": true, "S3": true},
			ResourceTypeManagementPreference: map[string]bool{"CloudFormation": true, "EFS": true},
		}
		if diff := cmp.Diff(everything, describe(ctx)); diff != "" {
			t.Errorf("at first (-want +got):\n%s", diff)
		}
		for _, in := range []backupapi.UpdateRegionSettingsInput{
			{ResourceTypeOptInPreference: map[string]bool{"EFS": false, "S3": false}},
			{ResourceTypeOptInPreference: map[string]bool{"S3": true}, ResourceTypeManagementPreference: map[string]bool{"EFS": false}},
			{},
		} {
			if _, err := s.UpdateRegionSettings(ctx, &in); err != nil {
				t.Fatal(err)
			}
		}
		want := &backupapi.DescribeRegionSettingsOutput{
			ResourceTypeOptInPreference:      map[string]bool{"CloudFormation": true, "EFS": false, "S3": true},
			ResourceTypeManagementPreference: map[string]bool{"CloudFormation": true, "EFS": false},
		}
		if diff := cmp.Diff(want, describe(ctx)); diff != "" {
			t.Errorf("after updates (-want +got):\n%s", diff)
		}
		for _, other := range []context.Context{as(ctx, "111111111111", "us-east-1"), as(ctx, "000000000000", "eu-west-1")} {
			if diff := cmp.Diff(everything, describe(other)); diff != "" {
				t.Errorf("elsewhere (-want +got):\n%s", diff)
			}
		}
		err := db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
			in, err := s.OptedInTx(ctx, tx, "000000000000", "us-east-1")
			if err == nil && (in("EFS") || !in("S3") || in("Neptune")) {
				t.Errorf("opted in for EFS %v, S3 %v, Neptune %v, want S3 alone", in("EFS"), in("S3"), in("Neptune"))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestUpdateRegionSettings_RefusesUnknownTypes(t *testing.T) {
	run(t, func(t *testing.T, ctx context.Context, s *setting.Service, _ *meta.DB) {
		for _, in := range []backupapi.UpdateRegionSettingsInput{
			{ResourceTypeOptInPreference: map[string]bool{"Neptune": true}},
			{ResourceTypeManagementPreference: map[string]bool{"S3": true}},
		} {
			_, err := s.UpdateRegionSettings(ctx, &in)
			e, ok := errors.AsType[*backupapi.InvalidParameterValueException](err)
			if !ok || !strings.Contains(e.Message, "is not a resource type that has such a setting here") {
				t.Errorf("UpdateRegionSettings(%v) = %v", in, err)
			}
		}
	})
}
