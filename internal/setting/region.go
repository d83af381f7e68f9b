package setting

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/events"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
)

// What a row of setting_region is about.
const (
	optIn      = "OPT_IN"
	management = "MANAGEMENT"
)

// managed are the types for which AWS lets an account choose full management; of those that Lockfast supports, all are
// managed, and the choice is kept without effect.
func managed() []string { return []string{"CloudFormation", "DSQL", "DynamoDB", "EFS"} }

// DescribeRegionSettings answers for which types of resources the account has opted in. All are, until somebody says
// otherwise.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DescribeRegionSettings.html.
func (s *Service) DescribeRegionSettings(ctx context.Context, _ *backupapi.DescribeRegionSettingsInput) (*backupapi.DescribeRegionSettingsOutput, error) {
	c := caller.From(ctx)
	out := &backupapi.DescribeRegionSettingsOutput{}
	err := s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) (err error) {
		if out.ResourceTypeOptInPreference, err = s.preferences(ctx, tx, c.Account, c.Region, optIn, s.types); err != nil {
			return err
		}
		out.ResourceTypeManagementPreference, err = s.preferences(ctx, tx, c.Account, c.Region, management, s.manageable())
		return err
	})
	return out, err
}

// manageable are the supported types with a management preference.
func (s *Service) manageable() []string {
	return slices.DeleteFunc(managed(), func(t string) bool { return !slices.Contains(s.types, t) })
}

// preferences reads the settings of a kind for types; true for those without one.
func (s *Service) preferences(ctx context.Context, tx *meta.Tx, account, region, kind string, types []string) (map[string]bool, error) {
	all := map[string]bool{}
	for _, t := range types {
		all[t] = true
	}
	rows, err := tx.Query(ctx, "SELECT type, enabled FROM setting_region WHERE account = ? AND region = ? AND kind = ?", account, region, kind)
	if err != nil {
		return nil, fmt.Errorf("read region settings: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var t string
		var enabled bool
		if err := rows.Scan(&t, &enabled); err != nil {
			return nil, fmt.Errorf("read region settings: %w", err)
		}
		if _, known := all[t]; known {
			all[t] = enabled
		}
	}
	return all, rows.Err()
}

// OptedInTx returns for which types of resources an account has opted in.
func (s *Service) OptedInTx(ctx context.Context, tx *meta.Tx, account, region string) (func(resourceType string) bool, error) {
	all, err := s.preferences(ctx, tx, account, region, optIn, s.types)
	return func(t string) bool { return all[t] }, err
}

// UpdateRegionSettings changes the settings for the types that are named; the others stay.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_UpdateRegionSettings.html.
func (s *Service) UpdateRegionSettings(ctx context.Context, in *backupapi.UpdateRegionSettingsInput) (*backupapi.UpdateRegionSettingsOutput, error) {
	kinds := []struct {
		name, kind string
		types      []string
		given      map[string]bool
	}{
		{"ResourceTypeOptInPreference", optIn, s.types, in.ResourceTypeOptInPreference},
		{"ResourceTypeManagementPreference", management, s.manageable(), in.ResourceTypeManagementPreference},
	}
	for _, k := range kinds {
		for _, t := range slices.Sorted(maps.Keys(k.given)) {
			if !slices.Contains(k.types, t) {
				return nil, backupapi.InvalidParameterValueExceptionf("%s: %s is not a resource type that has such a setting here; those are %v",
					k.name, t, k.types)
			}
		}
	}
	c := caller.From(ctx)
	return nil, s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		changed := false
		for _, k := range kinds {
			for _, t := range slices.Sorted(maps.Keys(k.given)) {
				_, err := tx.Exec(ctx, `INSERT INTO setting_region (account, region, kind, type, enabled) VALUES (?, ?, ?, ?, ?)
					ON CONFLICT (account, region, kind, type) DO UPDATE SET enabled = excluded.enabled`, c.Account, c.Region, k.kind, t, k.given[t])
				if err != nil {
					return fmt.Errorf("write region settings: %w", err)
				}
				changed = true
			}
		}
		if !changed || s.events == nil {
			return nil
		}
		return s.announce(ctx, tx, c)
	})
}

// announce tells that the settings of a region have changed.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/eventbridge.html.
func (s *Service) announce(ctx context.Context, tx *meta.Tx, c caller.Caller) error {
	now, err := s.preferences(ctx, tx, c.Account, c.Region, optIn, s.types)
	if err != nil {
		return err
	}
	return s.events.EnqueueTx(ctx, tx, events.Event{Type: events.RegionStateChange, Account: c.Account, Region: c.Region,
		Detail: events.Region{State: "MODIFIED", ModifiedAt: events.Time{Time: s.now()}, OptIn: now}})
}

// regionRoutes registers the operations on settings of a region.
func (s *Service) regionRoutes(r *restjson.Router) {
	restjson.Handle(r, backupapi.DescribeRegionSettings, s.DescribeRegionSettings,
		func(caller.Caller, *backupapi.DescribeRegionSettingsInput) []restjson.Access {
			return caller.OnAll("backup:DescribeRegionSettings")
		})
	restjson.Handle(r, backupapi.UpdateRegionSettings, s.UpdateRegionSettings,
		func(caller.Caller, *backupapi.UpdateRegionSettingsInput) []restjson.Access {
			return caller.OnAll("backup:UpdateRegionSettings")
		})
}
