package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/lockfastapi"
)

// deleteWait is how long to watch a deletion that was accepted.
const deleteWait = 2 * time.Minute

// deleteResult is the JSON form of a deletion.
type deleteResult struct {
	Type             string `json:"type"`
	RecoveryPointARN string `json:"recovery_point_arn"`
	Vault            string `json:"vault"`
	Deleted          bool   `json:"deleted"`
	DryRun           bool   `json:"dry_run"`
	UniqueBytes      *int64 `json:"unique_bytes"`
}

func newDelete(a *app) *cobra.Command {
	var vault string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "delete ARN",
		Short: "Delete a recovery point",
		Long: `Delete a recovery point for ever. Other recovery points stay whole. The space of data that no other needs comes
back by itself within minutes, or at once by ` + "`lockfast vault reclaim`" + `.

The role that made the recovery point has to allow it. If it does not, the recovery point stays, as EXPIRED with the
reason; delete it again once the role allows it.`,
		Example: `  lockfast delete --dry-run ARN
  lockfast delete ARN`,
		Args: positional(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkARN(args[0]); err != nil {
				return err
			}
			return a.with(cmd, func(ctx context.Context, c *client) error {
				return a.delete(ctx, c.at(args[0]), args[0], vault, dryRun)
			})
		},
	}
	cmd.Flags().StringVar(&vault, "vault", "", "vault of the recovery point (default: found by the ARN)")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be deleted, and delete nothing")
	return cmd
}

func (a *app) delete(ctx context.Context, c *client, arn, vault string, dryRun bool) error {
	p, err := c.findPoint(ctx, arn, vault)
	if err != nil {
		return err
	}
	result := deleteResult{Type: "result", RecoveryPointARN: arn, Vault: p.BackupVaultName, DryRun: dryRun,
		UniqueBytes: p.UniqueBytes}
	if !dryRun {
		in := &backupapi.DeleteRecoveryPointInput{BackupVaultName: p.BackupVaultName, RecoveryPointArn: arn}
		if _, err := call(ctx, c, backupapi.DeleteRecoveryPoint, in); err != nil {
			return fmt.Errorf("delete %s: %w", arn, err)
		}
		if err := a.awaitDeletion(ctx, c, in); err != nil {
			return err
		}
		result.Deleted = true
	}
	if a.out.json {
		return a.out.line(result)
	}
	verb := "deleted"
	if dryRun {
		verb = "would delete"
	}
	_, err = fmt.Fprintf(a.out.stdout, "%s %s from vault %s: %s, frees %s\n", verb, arn, p.BackupVaultName,
		local(p.CreationDate), sizeOr(p.UniqueBytes))
	return err
}

// findPoint finds a recovery point, in any vault if none is named.
func (c *client) findPoint(ctx context.Context, arn, vault string) (*lockfastapi.RecoveryPoint, error) {
	in := &lockfastapi.ListRecoveryPointsInput{RecoveryPointArn: &arn}
	if vault != "" {
		in.BackupVaultName = &vault
	}
	out, err := call(ctx, c, lockfastapi.ListRecoveryPoints, in)
	if err != nil {
		return nil, err
	}
	if len(out.RecoveryPoints) == 0 {
		return nil, fmt.Errorf("no recovery point %s; `lockfast list` shows those there are", arn)
	}
	return &out.RecoveryPoints[0], nil
}

// awaitDeletion watches an accepted deletion: the recovery point goes, or stays as EXPIRED with the reason.
func (a *app) awaitDeletion(ctx context.Context, c *client, in *backupapi.DeleteRecoveryPointInput) error {
	for start := time.Now(); time.Since(start) < deleteWait; {
		out, err := call(ctx, c, backupapi.DescribeRecoveryPoint, &backupapi.DescribeRecoveryPointInput{
			BackupVaultName: in.BackupVaultName, RecoveryPointArn: in.RecoveryPointArn})
		if isNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if deref(out.Status) == backupapi.RecoveryPointStatusExpired {
			return fmt.Errorf("delete %s: the data is kept: %s", in.RecoveryPointArn, deref(out.StatusMessage))
		}
		if err := pause(ctx, start); err != nil {
			return err
		}
	}
	a.out.note("lockfast: the deletion was accepted and goes on by itself")
	return nil
}
