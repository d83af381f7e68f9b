package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/lockfastapi"
)

// copyResult is the JSON form of a finished copy.
type copyResult struct {
	Type             string `json:"type"`
	SourceARN        string `json:"source_recovery_point_arn"`
	RecoveryPointARN string `json:"recovery_point_arn"`
	Vault            string `json:"vault"`
	JobID            string `json:"copy_job_id"`
	Items            int64  `json:"items"`
	Bytes            int64  `json:"bytes"`
	BytesStored      int64  `json:"bytes_stored"`
}

// copyOrder is what a copy is asked for with.
type copyOrder struct {
	vault string // of the recovery point; empty = found by the ARN
	to    string // name or ARN of the vault that receives it
	role  string // empty = the default one
	days  int64  // retention; 0 = that of the recovery point
}

func newCopy(a *app) *cobra.Command {
	var o copyOrder
	cmd := &cobra.Command{
		Use:   "copy ARN --to VAULT",
		Short: "Copy a recovery point into another vault",
		Long: `Copy a recovery point into another vault and print the ARN of the copy.

Only data that the other vault does not have travels, and it is sealed with the keys of that vault. The copy is complete:
deleting either leaves the other whole. It keeps the creation date and the tags of the recovery point, and its retention
unless --keep-days gives another one, which counts from that date, too. A composite recovery point is copied with those that
are nested in it.

A vault of another account is named by its ARN. Its access policy has to allow backup:CopyIntoBackupVault, and the account
that the server is configured with has to set isCrossAccountBackupEnabled (aws backup update-global-settings).`,
		Example: `  lockfast copy ARN --to offsite
  lockfast copy ARN --to arn:aws:backup:eu-west-1:000000000000:backup-vault:far --keep-days 365`,
		Args: positional(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.to == "" {
				return usagef("copy: --to VAULT is missing")
			}
			if cmd.Flags().Changed("keep-days") && o.days < 1 {
				return usagef("copy: --keep-days %d is not at least 1", o.days)
			}
			if err := checkARN(args[0]); err != nil {
				return err
			}
			return a.with(cmd, func(ctx context.Context, c *client) error {
				return a.copy(ctx, c.at(args[0]), args[0], o)
			})
		},
	}
	cmd.Flags().StringVar(&o.to, "to", "", "name or ARN of the vault that receives the copy; a name is made on first use")
	cmd.Flags().StringVar(&o.vault, "vault", "", "vault of the recovery point (default: found by the ARN)")
	cmd.Flags().StringVar(&o.role, "role", "", "ARN of the role to copy with (default: AWSBackupDefaultServiceRole)")
	cmd.Flags().Int64Var(&o.days, "keep-days", 0, "days after its creation date at which the copy is deleted")
	return cmd
}

func (a *app) copy(ctx context.Context, c *client, arn string, o copyOrder) error {
	p, err := c.findPoint(ctx, arn, o.vault)
	if err != nil {
		return err
	}
	in := &backupapi.StartCopyJobInput{SourceBackupVaultName: p.BackupVaultName, RecoveryPointArn: arn, IamRoleArn: o.role,
		DestinationBackupVaultArn: o.to}
	if in.IamRoleArn == "" {
		in.IamRoleArn = defaultRole(arn)
	}
	if !strings.HasPrefix(o.to, "arn:") {
		if err := c.ensureVault(ctx, o.to); err != nil {
			return err
		}
		in.DestinationBackupVaultArn = vaultBeside(arn, c.region, o.to)
	}
	if o.days > 0 {
		in.Lifecycle = &backupapi.Lifecycle{DeleteAfterDays: &o.days}
	}
	job, err := call(ctx, c, backupapi.StartCopyJob, in)
	if err != nil {
		return fmt.Errorf("copy %s: %w", arn, err)
	}
	detail, err := a.follow(ctx, c, deref(job.CopyJobId), arn, nil)
	if err != nil {
		return err
	}
	if err := jobError("copy "+arn, detail); err != nil {
		return err
	}
	return a.printCopy(ctx, c, in, detail)
}

// vaultBeside is the ARN of a vault of the account that a recovery point belongs to.
func vaultBeside(point, region, name string) string {
	account := ""
	if parts := strings.SplitN(point, ":", 6); len(parts) == 6 {
		account = parts[4]
	}
	return "arn:aws:backup:" + region + ":" + account + ":backup-vault:" + name
}

func (a *app) printCopy(ctx context.Context, c *client, in *backupapi.StartCopyJobInput, d *lockfastapi.DescribeJobDetailOutput) error {
	out, err := call(ctx, c, backupapi.DescribeCopyJob, &backupapi.DescribeCopyJobInput{CopyJobId: d.JobId})
	if err != nil {
		return err
	}
	made := deref(out.CopyJob.DestinationRecoveryPointArn)
	_, vault, _ := strings.Cut(in.DestinationBackupVaultArn, ":backup-vault:")
	if a.out.json {
		return a.out.line(copyResult{Type: "result", SourceARN: in.RecoveryPointArn, RecoveryPointARN: made, Vault: vault,
			JobID: d.JobId, Items: d.Items, Bytes: d.BytesRead, BytesStored: d.BytesStored})
	}
	a.out.note("%s: %d items, %s, %s stored", vault, d.Items, size(d.BytesRead), size(d.BytesStored))
	_, err = fmt.Fprintln(a.out.stdout, made)
	return err
}
