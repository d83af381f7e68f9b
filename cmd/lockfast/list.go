package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockfast/lockfast/internal/lockfastapi"
)

// pointLine is the JSON form of a recovery point.
type pointLine struct {
	Type             string    `json:"type"`
	RecoveryPointARN string    `json:"recovery_point_arn"`
	ResourceARN      string    `json:"resource_arn"`
	ResourceName     string    `json:"resource_name,omitempty"`
	Vault            string    `json:"vault"`
	Status           string    `json:"status"`
	StatusMessage    string    `json:"status_message"`
	Created          time.Time `json:"created"`
	LogicalBytes     *int64    `json:"logical_bytes"`
	StoredBytes      *int64    `json:"stored_bytes"`
	UniqueBytes      *int64    `json:"unique_bytes"`
}

func newList(a *app) *cobra.Command {
	var vault string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List recovery points with their sizes",
		Long: `List the recovery points of one vault or of all, newest first.

LOGICAL is the size of the files, STORED what their data takes in the vault, UNIQUE what deleting this recovery point
alone would free. REASON says why a recovery point could not be deleted (EXPIRED), or lacks something.`,
		Example: `  lockfast list
  lockfast list --vault offsite --json`,
		Args: positional(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, func(ctx context.Context, c *client) error { return a.list(ctx, c, vault) })
		},
	}
	cmd.Flags().StringVar(&vault, "vault", "", "only recovery points of this vault")
	return cmd
}

func (a *app) list(ctx context.Context, c *client, vault string) error {
	in := &lockfastapi.ListRecoveryPointsInput{}
	if vault != "" {
		in.BackupVaultName = &vault
	}
	table := tabwriter.NewWriter(a.out.stdout, 0, 0, 2, ' ', 0)
	if !a.out.json {
		fmt.Fprintln(table, "CREATED\tSTATUS\tLOGICAL\tSTORED\tUNIQUE\tVAULT\tRESOURCE\tRECOVERY POINT\tREASON")
	}
	err := each(func(token *string) (*string, error) {
		in.NextToken = token
		out, err := call(ctx, c, lockfastapi.ListRecoveryPoints, in)
		if err != nil {
			return nil, err
		}
		for i := range out.RecoveryPoints {
			if err := a.printPoint(table, &out.RecoveryPoints[i]); err != nil {
				return nil, err
			}
		}
		return out.NextToken, nil
	})
	if err != nil || a.out.json {
		return err
	}
	return table.Flush()
}

func (a *app) printPoint(table *tabwriter.Writer, p *lockfastapi.RecoveryPoint) error {
	if a.out.json {
		return a.out.line(pointLine{Type: "result", RecoveryPointARN: p.RecoveryPointArn, ResourceARN: p.ResourceArn,
			ResourceName: deref(p.ResourceName), Vault: p.BackupVaultName, Status: p.Status,
			StatusMessage: deref(p.StatusMessage), Created: p.CreationDate.UTC(), LogicalBytes: p.LogicalBytes,
			StoredBytes: p.StoredBytes, UniqueBytes: p.UniqueBytes})
	}
	resource := deref(p.ResourceName)
	if resource == "" {
		resource = p.ResourceArn
	}
	_, err := fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", local(p.CreationDate), p.Status,
		sizeOr(p.LogicalBytes), sizeOr(p.StoredBytes), sizeOr(p.UniqueBytes), p.BackupVaultName, resource,
		p.RecoveryPointArn, deref(p.StatusMessage))
	return err
}
