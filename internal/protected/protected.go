// Package protected is the noun behind protected resources: those that have a
// recovery point. Its table is kept by whoever adds and removes recovery points,
// in the same transactions.
package protected

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"time"

	"github.com/lockfast/lockfast/arn"
	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/wire"
)

// Vaults knows the vaults.
type Vaults interface {
	// VaultUUID finds a vault by name; a missing one is an API error.
	VaultUUID(ctx context.Context, account, region, name string) (string, error)
}

// Restore is a finished restore of a resource.
type Restore struct {
	CreatedAt      time.Time
	Took           time.Duration
	PointCreatedAt time.Time // of the recovery point that was restored
}

// Restores knows the restores.
type Restores interface {
	// LatestRestore returns the newest completed restore of a resource; false if there is none.
	LatestRestore(ctx context.Context, account, region, resourceARN string) (Restore, bool, error)
}

// Service is the noun. Its methods may be called concurrently.
type Service struct {
	db       *meta.DB
	vaults   Vaults
	restores Restores
	pager    *restjson.Pager
}

// New makes the service.
func New(db *meta.DB, vaults Vaults, restores Restores, pager *restjson.Pager) *Service {
	return &Service{db, vaults, restores, pager}
}

//go:embed migration
var migrations embed.FS

// Migrations returns the tables of the package.
func Migrations() meta.MigrationSet {
	return meta.MigrationSet{Package: "protected", Files: migrations}
}

// Routes registers the operations.
func (s *Service) Routes(backup *restjson.Router) {
	restjson.Handle(backup, backupapi.ListProtectedResources, s.ListProtectedResources,
		func(caller.Caller, *backupapi.ListProtectedResourcesInput) []restjson.Access {
			return caller.OnAll("backup:ListProtectedResources")
		})
	restjson.Handle(backup, backupapi.ListProtectedResourcesByBackupVault, s.ListProtectedResourcesByBackupVault,
		func(c caller.Caller, in *backupapi.ListProtectedResourcesByBackupVaultInput) []restjson.Access {
			return caller.On("backup:ListProtectedResourcesByBackupVault",
				arn.Vault(c.Account, c.Region, in.BackupVaultName))
		})
	restjson.Handle(backup, backupapi.DescribeProtectedResource, s.DescribeProtectedResource,
		func(caller.Caller, *backupapi.DescribeProtectedResourceInput) []restjson.Access {
			return caller.OnAll("backup:DescribeProtectedResource")
		})
}

// PutProtectedTx records the newest recovery point of a resource, in a vault or, with an empty UUID, over all vaults.
func (s *Service) PutProtectedTx(ctx context.Context, tx *meta.Tx, account, region, vaultUUID string, r backupapi.ProtectedResource) error {
	_, err := tx.Exec(ctx, `INSERT INTO protected_resource (account, region, vault_uuid, arn, type, name, last_backup_at,
		last_vault_arn, last_point_arn) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (account, region, vault_uuid, arn) DO UPDATE SET type = excluded.type, name = excluded.name,
		last_backup_at = excluded.last_backup_at, last_vault_arn = excluded.last_vault_arn, last_point_arn = excluded.last_point_arn`,
		account, region, vaultUUID, text(r.ResourceArn), text(r.ResourceType), text(r.ResourceName), meta.Micros(*r.LastBackupTime),
		text(r.LastBackupVaultArn), text(r.LastRecoveryPointArn))
	if err != nil {
		return fmt.Errorf("record protected resource: %w", err)
	}
	return nil
}

// DropProtectedTx removes a resource that has no recovery point left, in a vault or over all.
func (s *Service) DropProtectedTx(ctx context.Context, tx *meta.Tx, account, region, vaultUUID, resourceARN string) error {
	_, err := tx.Exec(ctx, "DELETE FROM protected_resource WHERE account = ? AND region = ? AND vault_uuid = ? AND arn = ?",
		account, region, vaultUUID, resourceARN)
	if err != nil {
		return fmt.Errorf("remove protected resource: %w", err)
	}
	return nil
}

// ListProtectedResources lists the resources of the region that have a recovery point, in the order of their ARNs.
func (s *Service) ListProtectedResources(ctx context.Context, in *backupapi.ListProtectedResourcesInput) (*backupapi.ListProtectedResourcesOutput, error) {
	page, err := restjson.OpenPage(ctx, s.pager, backupapi.ListProtectedResources, in)
	if err != nil {
		return nil, err
	}
	list, next, err := s.list(ctx, "", page)
	if err != nil {
		return nil, err
	}
	return &backupapi.ListProtectedResourcesOutput{Results: list, NextToken: next}, nil
}

// ListProtectedResourcesByBackupVault lists the resources that have a recovery point in a vault.
func (s *Service) ListProtectedResourcesByBackupVault(ctx context.Context, in *backupapi.ListProtectedResourcesByBackupVaultInput) (*backupapi.ListProtectedResourcesByBackupVaultOutput, error) {
	c := caller.From(ctx)
	if in.BackupVaultAccountId != nil && *in.BackupVaultAccountId != c.Account {
		return nil, &wire.Denied{Message: "Insufficient privileges to perform this action."}
	}
	page, err := restjson.OpenPage(ctx, s.pager, backupapi.ListProtectedResourcesByBackupVault, in)
	if err != nil {
		return nil, err
	}
	vaultUUID, err := s.vaults.VaultUUID(ctx, c.Account, c.Region, in.BackupVaultName)
	if err != nil {
		return nil, err
	}
	list, next, err := s.list(ctx, vaultUUID, page)
	if err != nil {
		return nil, err
	}
	return &backupapi.ListProtectedResourcesByBackupVaultOutput{Results: list, NextToken: next}, nil
}

const columns = "arn, type, name, last_backup_at, last_vault_arn, last_point_arn"

func scan(row interface{ Scan(...any) error }) (backupapi.ProtectedResource, error) {
	var name, kind, title, vault, point string
	var at int64
	err := row.Scan(&name, &kind, &title, &at, &vault, &point)
	r := backupapi.ProtectedResource{
		ResourceArn: &name, ResourceType: &kind, LastBackupTime: new(meta.FromMicros(at)), LastBackupVaultArn: &vault,
		LastRecoveryPointArn: &point,
	}
	if title != "" {
		r.ResourceName = &title
	}
	return r, err
}

func (s *Service) list(ctx context.Context, vaultUUID string, page *restjson.Page) (list []backupapi.ProtectedResource, next *string, err error) {
	c, after := caller.From(ctx), ""
	if page.After != nil {
		after = page.After[0]
	}
	err = s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		list = []backupapi.ProtectedResource{}
		rows, err := tx.Query(ctx, "SELECT "+columns+` FROM protected_resource
			WHERE account = ? AND region = ? AND vault_uuid = ? AND arn > ? ORDER BY arn LIMIT ?`,
			c.Account, c.Region, vaultUUID, after, page.Limit+1)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			r, err := scan(rows)
			if err != nil {
				return err
			}
			list = append(list, r)
		}
		return rows.Err()
	})
	if len(list) > page.Limit {
		list = list[:page.Limit]
		next = page.Next(*list[page.Limit-1].ResourceArn)
	}
	return list, next, err
}

// DescribeProtectedResource describes a resource that has a recovery point.
func (s *Service) DescribeProtectedResource(ctx context.Context, in *backupapi.DescribeProtectedResourceInput) (*backupapi.DescribeProtectedResourceOutput, error) {
	if _, err := arn.Parse(in.ResourceArn); err != nil {
		return nil, backupapi.InvalidParameterValueExceptionf("ResourceArn: %v.", err)
	}
	c := caller.From(ctx)
	var r backupapi.ProtectedResource
	err := s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) (err error) {
		r, err = scan(tx.QueryRow(ctx, "SELECT "+columns+` FROM protected_resource
			WHERE account = ? AND region = ? AND vault_uuid = '' AND arn = ?`, c.Account, c.Region, in.ResourceArn))
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return nil, backupapi.ResourceNotFoundExceptionf("%s has no recovery point.", in.ResourceArn)
	}
	if err != nil {
		return nil, err
	}
	out := &backupapi.DescribeProtectedResourceOutput{
		ResourceArn: r.ResourceArn, ResourceType: r.ResourceType, ResourceName: r.ResourceName, LastBackupTime: r.LastBackupTime,
		LastBackupVaultArn: r.LastBackupVaultArn, LastRecoveryPointArn: r.LastRecoveryPointArn,
	}
	last, ok, err := s.restores.LatestRestore(ctx, c.Account, c.Region, in.ResourceArn)
	if err != nil {
		return nil, err
	}
	if ok {
		out.LatestRestoreExecutionTimeMinutes = new(int64((last.Took + time.Minute - 1) / time.Minute))
		out.LatestRestoreJobCreationDate, out.LatestRestoreRecoveryPointCreationDate = &last.CreatedAt, &last.PointCreatedAt
	}
	return out, nil
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
