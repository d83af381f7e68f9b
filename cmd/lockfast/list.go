package main

import (
	"context"
	"fmt"
	"io"
	"strings"
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
	Damage           *damage   `json:"damage"`
	StorageClass     string    `json:"storage_class"`
	Created          time.Time `json:"created"`
	LogicalBytes     *int64    `json:"logical_bytes"`
	StoredBytes      *int64    `json:"stored_bytes"`
	UniqueBytes      *int64    `json:"unique_bytes"`
	UniquePartBytes  *int64    `json:"unique_part_bytes"`
	SizesOutdated    bool      `json:"sizes_outdated"` // the vault has changed since unique_bytes and unique_part_bytes were computed
	IsParent         bool      `json:"is_parent"`
	ParentARN        string    `json:"parent_recovery_point_arn,omitempty"`
	Member           string    `json:"composite_member_identifier,omitempty"`
}

// damage is the JSON form of what cannot be restored of a recovery point.
type damage struct {
	Since   time.Time `json:"since"`
	Paths   []string  `json:"paths"`
	More    int64     `json:"more_paths"`
	Unknown bool      `json:"unknown"`
}

func damageOf(p *lockfastapi.RecoveryPoint) *damage {
	if p.Damage == nil {
		return nil
	}
	return &damage{p.Damage.FoundDate.UTC(), p.Damage.Paths, p.Damage.MorePaths, p.Damage.Unknown}
}

// reason says what is amiss with a recovery point.
func reason(p *lockfastapi.RecoveryPoint) string {
	var all []string
	if text := deref(p.StatusMessage); text != "" {
		all = append(all, text)
	}
	if p.Damage != nil {
		all = append(all, p.Damage.Message)
	}
	return strings.Join(all, "; ")
}

func newList(a *app) *cobra.Command {
	var vault string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List recovery points with their sizes",
		Long: `List the recovery points of one vault or of all, newest first.

LOGICAL is the size of the files, STORED what the data takes that they use in the vault, UNIQUE what deleting this recovery
point alone would free. A reclaim that is asked for frees PARTS in addition: small files, by their size before compression,
in bundles with files that others need. CLASS is WARM, or COLD for what is in cold storage. The recovery point of a group has
no data of its own and shows the sums of its members, which follow it, indented. Sizes show - until they are computed, some
seconds after a change, and a ~ while UNIQUE and PARTS are those from before it. REASON says why a recovery point could not be deleted (EXPIRED), or lacks something,
or since when verifications know that it is damaged, and which files it misses.`,
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
	var all []lockfastapi.RecoveryPoint
	err := each(func(token *string) (*string, error) {
		in.NextToken = token
		out, err := call(ctx, c, lockfastapi.ListRecoveryPoints, in)
		if err != nil {
			return nil, orList(err)
		}
		if !a.out.json {
			all = append(all, out.RecoveryPoints...)
			return out.NextToken, nil
		}
		for i := range out.RecoveryPoints {
			if err := a.printLine(&out.RecoveryPoints[i]); err != nil {
				return nil, err
			}
		}
		return out.NextToken, nil
	})
	if err != nil || a.out.json {
		return err
	}
	return printTable(a.out.stdout, all)
}

func (a *app) printLine(p *lockfastapi.RecoveryPoint) error {
	return a.out.line(pointLine{Type: "result", RecoveryPointARN: p.RecoveryPointArn, ResourceARN: p.ResourceArn,
		ResourceName: deref(p.ResourceName), Vault: p.BackupVaultName, Status: p.Status,
		StatusMessage: deref(p.StatusMessage), Damage: damageOf(p), StorageClass: p.StorageClass, Created: p.CreationDate.UTC(), LogicalBytes: p.LogicalBytes,
		StoredBytes: p.StoredBytes, UniqueBytes: p.UniqueBytes, UniquePartBytes: p.UniquePartBytes, SizesOutdated: p.SizesOutdated, IsParent: p.IsParent,
		ParentARN: deref(p.ParentRecoveryPointArn), Member: deref(p.CompositeMemberIdentifier)})
}

// printTable prints recovery points in their order, but children behind their parents.
func printTable(w io.Writer, all []lockfastapi.RecoveryPoint) error {
	listed, children := map[string]bool{}, map[string][]*lockfastapi.RecoveryPoint{}
	for i := range all {
		listed[all[i].RecoveryPointArn] = true
		parent := deref(all[i].ParentRecoveryPointArn)
		children[parent] = append(children[parent], &all[i])
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "CREATED\tSTATUS\tCLASS\tLOGICAL\tSTORED\tUNIQUE\tPARTS\tVAULT\tRESOURCE\tRECOVERY POINT\tREASON")
	var show func(p *lockfastapi.RecoveryPoint, depth int)
	show = func(p *lockfastapi.RecoveryPoint, depth int) {
		printPoint(table, p, depth)
		for _, child := range children[p.RecoveryPointArn] {
			show(child, depth+1)
		}
	}
	for i := range all {
		if p := &all[i]; !listed[deref(p.ParentRecoveryPointArn)] {
			show(p, 0)
		}
	}
	return table.Flush()
}

// about is a size that other recovery points of the vault change, with ~ before it when it is outdated.
func about(p *lockfastapi.RecoveryPoint, n *int64) string {
	if n != nil && p.SizesOutdated {
		return "~" + size(*n)
	}
	return sizeOr(n)
}

// printPoint prints a row of a table. It fails when the table is flushed, if it does.
func printPoint(table io.Writer, p *lockfastapi.RecoveryPoint, depth int) {
	resource := deref(p.ResourceName)
	if resource == "" {
		resource = p.ResourceArn
	}
	fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s%s\t%s\t%s\n", local(p.CreationDate), p.Status, p.StorageClass,
		sizeOr(p.LogicalBytes), sizeOr(p.StoredBytes), about(p, p.UniqueBytes), about(p, p.UniquePartBytes), p.BackupVaultName,
		strings.Repeat("  ", depth), resource, p.RecoveryPointArn, reason(p))
}
