package setting

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
)

// crossAccount is the global setting that lets backups be copied to other accounts.
const crossAccount = "isCrossAccountBackupEnabled"

// globals are the global settings, and whether Lockfast can do what they turn on.
func globals() map[string]bool {
	return map[string]bool{crossAccount: true, "isMpaEnabled": false, "isDelegatedAdministratorEnabled": false}
}

// DescribeGlobalSettings answers the settings of all accounts together, which are an organization here.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_DescribeGlobalSettings.html.
func (s *Service) DescribeGlobalSettings(ctx context.Context, _ *backupapi.DescribeGlobalSettingsInput) (*backupapi.DescribeGlobalSettingsOutput, error) {
	out := &backupapi.DescribeGlobalSettingsOutput{}
	err := s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		out.GlobalSettings, out.LastUpdateTime = map[string]string{}, nil
		for name := range globals() {
			out.GlobalSettings[name] = "false"
		}
		rows, err := tx.Query(ctx, "SELECT name, value, updated_at FROM setting_global")
		if err != nil {
			return fmt.Errorf("read global settings: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var name, value string
			var updated int64
			if err := rows.Scan(&name, &value, &updated); err != nil {
				return fmt.Errorf("read global settings: %w", err)
			}
			out.GlobalSettings[name] = value
			if at := meta.FromMicros(updated); out.LastUpdateTime == nil || at.After(*out.LastUpdateTime) {
				out.LastUpdateTime = &at
			}
		}
		return rows.Err()
	})
	return out, err
}

// CrossAccount reports whether backups may be copied to other accounts.
func (s *Service) CrossAccount(ctx context.Context) (bool, error) {
	out, err := s.DescribeGlobalSettings(ctx, nil)
	return err == nil && out.GlobalSettings[crossAccount] == "true", err
}

// UpdateGlobalSettings changes the settings that are named. Only the management account may; it is the one that the server
// is configured with.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/API_UpdateGlobalSettings.html.
func (s *Service) UpdateGlobalSettings(ctx context.Context, in *backupapi.UpdateGlobalSettingsInput) (*backupapi.UpdateGlobalSettingsOutput, error) {
	if account := caller.From(ctx).Account; account != s.management {
		return nil, backupapi.InvalidRequestExceptionf("Account %s is not the management account of the organization: global settings are "+
			"changed in account %s", account, s.management)
	}
	names := slices.Sorted(maps.Keys(in.GlobalSettings))
	for _, name := range names {
		if err := checkGlobal(name, in.GlobalSettings[name]); err != nil {
			return nil, err
		}
	}
	return nil, s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		for _, name := range names {
			_, err := tx.Exec(ctx, `INSERT INTO setting_global (name, value, updated_at) VALUES (?, ?, ?)
				ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at`,
				name, in.GlobalSettings[name], meta.Micros(time.Now()))
			if err != nil {
				return fmt.Errorf("write global settings: %w", err)
			}
		}
		return nil
	})
}

// checkGlobal answers an API error for a setting that cannot be made.
func checkGlobal(name, value string) error {
	honoured, known := globals()[name]
	switch {
	case !known:
		return backupapi.InvalidParameterValueExceptionf("GlobalSettings: %s is not a global setting; those are %v",
			name, slices.Sorted(maps.Keys(globals())))
	case value != "true" && value != "false":
		return backupapi.InvalidParameterValueExceptionf("GlobalSettings: %s must be true or false: %q", name, value)
	case value == "true" && !honoured:
		return backupapi.InvalidRequestExceptionf("GlobalSettings: %s cannot be true: this version of Lockfast does not have what it turns on", name)
	}
	return nil
}

// globalRoutes registers the operations on settings of all accounts together.
func (s *Service) globalRoutes(r *restjson.Router) {
	restjson.Handle(r, backupapi.DescribeGlobalSettings, s.DescribeGlobalSettings,
		func(caller.Caller, *backupapi.DescribeGlobalSettingsInput) []restjson.Access {
			return caller.OnAll("backup:DescribeGlobalSettings")
		})
	restjson.Handle(r, backupapi.UpdateGlobalSettings, s.UpdateGlobalSettings,
		func(caller.Caller, *backupapi.UpdateGlobalSettingsInput) []restjson.Access {
			return caller.OnAll("backup:UpdateGlobalSettings")
		})
}
