package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/wire"
)

// defaultVault is the vault of a backup that names none.
const defaultVault = "Default"

// backupResult is the JSON form of one finished backup.
type backupResult struct {
	Type             string `json:"type"`
	Path             string `json:"path"`
	RecoveryPointARN string `json:"recovery_point_arn"`
	ResourceARN      string `json:"resource_arn"`
	Vault            string `json:"vault"`
	JobID            string `json:"backup_job_id"`
	Items            int64  `json:"items"`
	Skipped          int64  `json:"skipped"`
	BytesRead        int64  `json:"bytes_read"`
	BytesStored      int64  `json:"bytes_stored"`
}

func newBackup(a *app) *cobra.Command {
	var vault string
	cmd := &cobra.Command{
		Use:   "backup PATH...",
		Short: "Back up directories",
		Long: `Back up each directory, one after the other, and print the ARNs of the recovery points.

A directory that the server does not know yet is registered as a resource of type EFS. Only what changed since the last
backup of the directory is read and stored; every recovery point is complete all the same.`,
		Example: `  lockfast backup /srv/home
  lockfast backup --vault offsite --json /srv/home /srv/mail`,
		Args: positional(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if slices.Contains(args, "") { // a shell variable that is not set must not mean the working directory
				return usagef("backup: a path is empty")
			}
			if err := checkVault(vault); err != nil {
				return err
			}
			return a.with(cmd, func(ctx context.Context, c *client) error {
				return a.backup(ctx, c, vault, args)
			})
		},
	}
	cmd.Flags().StringVar(&vault, "vault", defaultVault, "vault to back up into, made on first use")
	return cmd
}

func (a *app) backup(ctx context.Context, c *client, vault string, paths []string) error {
	if err := c.checkHere(); err != nil {
		return err
	}
	done := map[string]bool{}
	return a.over(paths, func(path string) error {
		abs, err := filepath.Abs(path)
		if err != nil || done[abs] {
			return err
		}
		done[abs] = true
		return a.backupOne(ctx, c, vault, abs)
	})
}

// checkVault catches names that no vault can have.
func checkVault(name string) error {
	if err := wire.Validate(backupapi.CreateBackupVault.Input, &backupapi.CreateBackupVaultInput{BackupVaultName: name}); err != nil {
		return usageError{err}
	}
	return nil
}

// ensureVault makes a vault unless it exists.
func (c *client) ensureVault(ctx context.Context, name string) error {
	_, err := call(ctx, c, backupapi.DescribeBackupVault, &backupapi.DescribeBackupVaultInput{BackupVaultName: name})
	if !isNotFound(err) {
		return err
	}
	_, err = call(ctx, c, backupapi.CreateBackupVault, &backupapi.CreateBackupVaultInput{BackupVaultName: name})
	if e, ok := errors.AsType[*apiError](err); ok && e.cause.Name == "AlreadyExistsException" {
		return nil // another command was faster
	}
	return err
}

// backupOne backs a directory up into a vault, which it makes if there is none.
func (a *app) backupOne(ctx context.Context, c *client, vault, path string) error {
	r, err := call(ctx, c, lockfastapi.RegisterResource, &lockfastapi.RegisterResourceInput{Path: new(path), Type: "EFS"})
	if err != nil {
		return fmt.Errorf("back up %s: %w", path, err)
	}
	if err := c.ensureVault(ctx, vault); err != nil { // not before there is something to back up
		return err
	}
	job, err := call(ctx, c, backupapi.StartBackupJob, &backupapi.StartBackupJobInput{
		BackupVaultName: vault, ResourceArn: r.ResourceArn, IamRoleArn: defaultRole(r.ResourceArn)})
	if err != nil {
		return fmt.Errorf("back up %s: %w", path, err)
	}
	id := deref(job.BackupJobId)
	detail, err := a.follow(ctx, c, id, path, func(ctx context.Context) error {
		_, err := call(ctx, c, backupapi.StopBackupJob, &backupapi.StopBackupJobInput{BackupJobId: id})
		return err
	})
	if err != nil {
		return err
	}
	if err := jobError("back up "+path, detail); err != nil {
		return err
	}
	if err := a.printBackup(vault, path, r.ResourceArn, deref(job.RecoveryPointArn), detail); err != nil {
		return err
	}
	return a.nameSkipped(ctx, c, detail)
}

func (a *app) printBackup(vault, path, resource, arn string, d *lockfastapi.DescribeJobDetailOutput) error {
	if a.out.json {
		return a.out.line(backupResult{Type: "result", Path: path, RecoveryPointARN: arn, ResourceARN: resource,
			Vault: vault, JobID: d.JobId, Items: d.Items, Skipped: d.SkippedItems, BytesRead: d.BytesRead,
			BytesStored: d.BytesStored})
	}
	a.out.note("%s: %d items, %s read, %s stored", path, d.Items, size(d.BytesRead), size(d.BytesStored))
	_, err := fmt.Fprintln(a.out.stdout, arn)
	return err
}
