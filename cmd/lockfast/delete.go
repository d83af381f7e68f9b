package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/lockfastapi"
)

// deleteWait is how long to watch a deletion that was accepted.
const deleteWait = 2 * time.Minute

// deleteResult is the JSON form of a deletion. Refusal is set in a dry run only.
type deleteResult struct {
	Type             string  `json:"type"`
	RecoveryPointARN string  `json:"recovery_point_arn"`
	Vault            string  `json:"vault"`
	Deleted          bool    `json:"deleted"`
	DryRun           bool    `json:"dry_run"`
	UniqueBytes      *int64  `json:"unique_bytes"`
	UniquePartBytes  *int64  `json:"unique_part_bytes"`
	Refusal          *string `json:"refusal,omitempty"`
}

// freedResult is the JSON form of what a vault would free.
type freedResult struct {
	Type              string `json:"type"`
	Vault             string `json:"vault"`
	DryRun            bool   `json:"dry_run"`
	RecoveryPoints    int64  `json:"recovery_points"`
	FreedBytes        int64  `json:"freed_bytes"`
	FreedPartBytes    int64  `json:"freed_part_bytes"`
	RetainedBytes     int64  `json:"retained_bytes"`
	PinnedBytes       int64  `json:"pinned_bytes"`
	SharedBytes       int64  `json:"shared_bytes"`
	SharedBundleBytes int64  `json:"shared_bundle_bytes"`
	ColdFreedBytes    int64  `json:"cold_freed_bytes"`
	ColdFreedParts    int64  `json:"cold_freed_part_bytes"`
	Unknown           string `json:"unknown,omitempty"` // why it cannot be said what would be freed
}

func newDelete(a *app) *cobra.Command {
	var vault string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "delete ARN...",
		Short: "Delete recovery points",
		Long: `Delete recovery points for ever. Other recovery points stay whole. The space of data that no other needs comes
back by itself within minutes, or at once by ` + "`lockfast vault reclaim`" + `.

With --dry-run nothing is deleted. It says what deleting all of them together would free, vault by vault, and what stays
because others need it, and names those that may not be deleted.

The role that made a recovery point has to allow it. If it does not, the recovery point stays, as EXPIRED with the
reason; delete it again once the role allows it. That of a group goes after those of its members.`,
		Example: `  lockfast delete --dry-run ARN ARN
  lockfast delete ARN`,
		Args: positional(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, arn := range args {
				if err := checkARN(arn); err != nil {
					return err
				}
			}
			return a.with(cmd, func(ctx context.Context, c *client) error {
				if dryRun {
					return a.previewDeletion(ctx, c, args, vault)
				}
				return a.deleteAll(ctx, c, args, vault)
			})
		},
	}
	cmd.Flags().StringVar(&vault, "vault", "", "vault of the recovery points (default: found by the ARNs)")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be deleted and freed, and delete nothing")
	return cmd
}

// deleteAll deletes recovery points, those of groups last. All that are as high are asked for before any of them is waited for, so
// that a server can destroy them together.
func (a *app) deleteAll(ctx context.Context, c *client, arns []string, vault string) error {
	var order []string
	points := map[string]*lockfastapi.RecoveryPoint{}
	for _, arn := range arns {
		if points[arn] != nil {
			continue // named twice
		}
		p, err := c.at(arn).findPoint(ctx, arn, vault)
		if err != nil {
			return err
		}
		points[arn], order = p, append(order, arn)
	}
	slices.SortStableFunc(order, func(x, y string) int { return cmp.Compare(height(points[x]), height(points[y])) })
	asked := map[string]error{} // what came of it
	return a.over(order, func(arn string) error {
		for _, next := range order {
			if _, done := asked[next]; !done && height(points[next]) == height(points[arn]) {
				asked[next] = requestDeletion(ctx, c.at(next), points[next])
			}
		}
		if err := asked[arn]; err != nil {
			return err
		}
		return a.finishDeletion(ctx, c.at(arn), points[arn])
	})
}

// height is 0 for what has data, 1 for a group in a group, and 2 for a group that is in none.
func height(p *lockfastapi.RecoveryPoint) int {
	switch {
	case !p.IsParent:
		return 0
	case p.ParentRecoveryPointArn != nil:
		return 1
	}
	return 2
}

func requestDeletion(ctx context.Context, c *client, p *lockfastapi.RecoveryPoint) error {
	in := &backupapi.DeleteRecoveryPointInput{BackupVaultName: p.BackupVaultName, RecoveryPointArn: p.RecoveryPointArn}
	if _, err := call(ctx, c, backupapi.DeleteRecoveryPoint, in); err != nil {
		return fmt.Errorf("delete %s: %w", p.RecoveryPointArn, err)
	}
	return nil
}

// finishDeletion waits for a deletion that was asked for, and says what came of it.
func (a *app) finishDeletion(ctx context.Context, c *client, p *lockfastapi.RecoveryPoint) error {
	if err := a.awaitDeletion(ctx, c, p); err != nil {
		return err
	}
	if a.out.json {
		return a.out.line(deleteResult{Type: "result", RecoveryPointARN: p.RecoveryPointArn, Vault: p.BackupVaultName, Deleted: true,
			UniqueBytes: p.UniqueBytes, UniquePartBytes: p.UniquePartBytes})
	}
	_, err := fmt.Fprintf(a.out.stdout, "deleted %s from vault %s: %s, frees %s\n", p.RecoveryPointArn, p.BackupVaultName,
		local(p.CreationDate), sizeOr(p.UniqueBytes))
	return err
}

// previewDeletion says what deleting recovery points would do.
func (a *app) previewDeletion(ctx context.Context, c *client, arns []string, vault string) error {
	out := &lockfastapi.DescribeDeletionOutput{}
	for region, arns := range byRegion(arns) {
		in := &lockfastapi.DescribeDeletionInput{RecoveryPointArns: arns}
		if vault != "" {
			in.BackupVaultName = &vault
		}
		more, err := call(ctx, c.at(arns[0]), lockfastapi.DescribeDeletion, in)
		if err != nil {
			return fmt.Errorf("region %s: %w", region, err)
		}
		out.RecoveryPoints = append(out.RecoveryPoints, more.RecoveryPoints...)
		out.Vaults = append(out.Vaults, more.Vaults...)
	}
	refused := 0
	for i := range out.RecoveryPoints {
		p := &out.RecoveryPoints[i]
		if p.Refusal != nil {
			refused++
		}
		if err := a.printDeletion(p); err != nil {
			return err
		}
	}
	for i := range out.Vaults {
		if err := a.printFreed(&out.Vaults[i]); err != nil {
			return err
		}
	}
	var unknown error
	for _, v := range out.Vaults {
		if v.Unknown != nil {
			unknown = errors.Join(unknown, fmt.Errorf("vault %s cannot be measured: %s", v.BackupVaultName, *v.Unknown))
		}
	}
	if unknown != nil {
		return unknown
	}
	if refused > 0 {
		return fmt.Errorf("%d of %d recovery points may not be deleted", refused, len(out.RecoveryPoints))
	}
	return nil
}

// byRegion yields ARNs by their region, in the order in which regions come first.
func byRegion(arns []string) iter.Seq2[string, []string] {
	return func(yield func(string, []string) bool) {
		var regions []string
		groups := map[string][]string{}
		for _, text := range arns {
			region := strings.SplitN(text, ":", 5)[3]
			if groups[region] == nil {
				regions = append(regions, region)
			}
			groups[region] = append(groups[region], text)
		}
		for _, region := range regions {
			if !yield(region, groups[region]) {
				return
			}
		}
	}
}

func (a *app) printDeletion(d *lockfastapi.PointDeletion) error {
	p := &d.RecoveryPoint
	if a.out.json {
		return a.out.line(deleteResult{Type: "result", RecoveryPointARN: p.RecoveryPointArn, Vault: p.BackupVaultName, DryRun: true,
			UniqueBytes: p.UniqueBytes, UniquePartBytes: p.UniquePartBytes, Refusal: d.Refusal})
	}
	if d.Refusal != nil {
		_, err := fmt.Fprintf(a.out.stdout, "may not delete %s from vault %s: %s\n", p.RecoveryPointArn, p.BackupVaultName, *d.Refusal)
		return err
	}
	_, err := fmt.Fprintf(a.out.stdout, "would delete %s from vault %s: %s, %s by itself\n", p.RecoveryPointArn, p.BackupVaultName,
		local(p.CreationDate), sizeOr(p.UniqueBytes))
	return err
}

func (a *app) printFreed(v *lockfastapi.VaultDeletion) error {
	if a.out.json {
		return a.out.line(freedResult{Type: "result", Vault: v.BackupVaultName, DryRun: true, RecoveryPoints: v.RecoveryPoints,
			FreedBytes: v.FreedBytes, FreedPartBytes: v.FreedPartBytes, RetainedBytes: v.RetainedBytes, PinnedBytes: v.PinnedBytes, SharedBytes: v.SharedBytes,
			SharedBundleBytes: v.SharedBundleBytes, ColdFreedBytes: v.ColdFreedBytes, ColdFreedParts: v.ColdFreedPartBytes, Unknown: deref(v.Unknown)})
	}
	if v.Unknown != nil {
		return nil // said in the end
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: deleting %d recovery points frees %s", v.BackupVaultName, v.RecoveryPoints, size(v.FreedBytes))
	if v.ColdFreedBytes > 0 {
		fmt.Fprintf(&b, " (%s of it in cold storage, when little of what it stands in is needed)", size(v.ColdFreedBytes))
	}
	if v.RetainedBytes > 0 {
		fmt.Fprintf(&b, " (%s of it when the store does not retain it any more)", size(v.RetainedBytes))
	}
	if v.PinnedBytes > 0 {
		fmt.Fprintf(&b, ", and %s when the jobs have ended that use it", size(v.PinnedBytes))
	}
	if v.FreedPartBytes > 0 {
		fmt.Fprintf(&b, ", and by `lockfast vault reclaim` %s of small files (before compression) out of %s of bundles that others need, too",
			size(v.FreedPartBytes), size(v.SharedBundleBytes))
	}
	fmt.Fprintf(&b, "; %s stay because other recovery points need them\n", size(v.SharedBytes))
	_, err := io.WriteString(a.out.stdout, b.String())
	return err
}

// errNoPoint says that there is no such recovery point.
var errNoPoint = errors.New("no recovery point")

// findPoint finds a recovery point, in any vault if none is named.
func (c *client) findPoint(ctx context.Context, arn, vault string) (*lockfastapi.RecoveryPoint, error) {
	in := &lockfastapi.ListRecoveryPointsInput{RecoveryPointArn: &arn}
	if vault != "" {
		in.BackupVaultName = &vault
	}
	out, err := call(ctx, c, lockfastapi.ListRecoveryPoints, in)
	if err != nil {
		return nil, orList(err)
	}
	if len(out.RecoveryPoints) == 0 && vault != "" {
		return nil, fmt.Errorf("%w %s in vault %s; `lockfast list` shows those there are", errNoPoint, arn, vault)
	}
	if len(out.RecoveryPoints) == 0 {
		return nil, fmt.Errorf("%w %s; `lockfast list` shows those there are", errNoPoint, arn)
	}
	return &out.RecoveryPoints[0], nil
}

// orPoint says of what was not found, if it is one of these recovery points, how to see those that exist.
func (c *client) orPoint(ctx context.Context, err error, arns ...string) error {
	if !isNotFound(err) {
		return err
	}
	for _, arn := range arns {
		if _, missing := c.findPoint(ctx, arn, ""); errors.Is(missing, errNoPoint) {
			return missing
		}
	}
	return err
}

// orItem is orPoint, or says how to see the items of a recovery point that has not the one asked for.
func (c *client) orItem(ctx context.Context, err error, arn string) error {
	err = c.orPoint(ctx, err, arn)
	if isNotFound(err) {
		return fmt.Errorf("%w `lockfast ls %s` shows those there are", err, arn)
	}
	return err
}

// awaitDeletion watches an accepted deletion: the recovery point goes, or stays as EXPIRED with the reason.
func (a *app) awaitDeletion(ctx context.Context, c *client, p *lockfastapi.RecoveryPoint) error {
	for start := time.Now(); time.Since(start) < deleteWait; {
		out, err := call(ctx, c, backupapi.DescribeRecoveryPoint, &backupapi.DescribeRecoveryPointInput{
			BackupVaultName: p.BackupVaultName, RecoveryPointArn: p.RecoveryPointArn})
		if isNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if deref(out.Status) == backupapi.RecoveryPointStatusExpired {
			return fmt.Errorf("delete %s: the data is kept: %s", p.RecoveryPointArn, deref(out.StatusMessage))
		}
		if err := pause(ctx, start); err != nil {
			return err
		}
	}
	a.out.note("lockfast: the deletion was accepted and goes on by itself")
	return nil
}
