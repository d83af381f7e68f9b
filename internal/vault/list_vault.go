package vault

import (
	"context"
	"fmt"
	"strings"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
)

// ListBackupVaults lists the vaults of the account in the region by name.
func (s *Service) ListBackupVaults(ctx context.Context, in *backupapi.ListBackupVaultsInput) (*backupapi.ListBackupVaultsOutput, error) {
	page, err := restjson.OpenPage(ctx, s.pager, backupapi.ListBackupVaults, in)
	if err != nil {
		return nil, err
	}
	out := &backupapi.ListBackupVaultsOutput{BackupVaultList: []backupapi.BackupVaultListMember{}}
	other := in.ByVaultType != nil && *in.ByVaultType != backupapi.VaultTypeBackupVault
	if shared := in.ByShared != nil && *in.ByShared; shared || other {
		return out, nil // there are standard vaults of the account's own only
	}
	c := caller.From(ctx)
	f := filter{}
	f.add("account = ? AND region = ?", c.Account, c.Region)
	if page.After != nil {
		f.add("name > ?", page.After[0])
	}
	var vaults []Vault
	err = s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) (err error) {
		vaults, err = selectVaults(ctx, tx, f.where()+" ORDER BY name LIMIT ?", append(f.args, page.Limit+1)...)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(vaults) > page.Limit {
		vaults = vaults[:page.Limit]
		out.NextToken = page.Next(vaults[page.Limit-1].Name)
	}
	for _, v := range vaults {
		out.BackupVaultList = append(out.BackupVaultList, member(v))
	}
	return out, nil
}

func selectVaults(ctx context.Context, tx *meta.Tx, rest string, args ...any) ([]Vault, error) {
	rows, err := tx.Query(ctx, "SELECT "+vaultColumns+" FROM vault"+rest, args...)
	if err != nil {
		return nil, fmt.Errorf("list vaults: %w", err)
	}
	defer rows.Close()
	var all []Vault
	for rows.Next() {
		v, err := scanVault(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("list vaults: %w", err)
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

// filter collects conditions that must all hold, with their arguments.
type filter struct {
	conditions []string
	args       []any
}

func (f *filter) add(condition string, args ...any) {
	f.conditions = append(f.conditions, condition)
	f.args = append(f.args, args...)
}

func (f *filter) where() string { return " WHERE " + strings.Join(f.conditions, " AND ") }
