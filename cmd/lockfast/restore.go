package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/resource/directory"
)

// restoreResult is the JSON form of a finished restore.
type restoreResult struct {
	Type             string `json:"type"`
	RecoveryPointARN string `json:"recovery_point_arn"`
	Path             string `json:"path"`
	JobID            string `json:"restore_job_id"`
	Items            int64  `json:"items"`
	Skipped          int64  `json:"skipped"`
	Bytes            int64  `json:"bytes"`
	StatusMessage    string `json:"status_message,omitempty"`
}

func newRestore(a *app) *cobra.Command {
	var to, role string
	var items []string
	var escaped, intact bool
	cmd := &cobra.Command{
		Use:   "restore ARN --to DIR",
		Short: "Restore a recovery point, or some items of it, into a directory",
		Long: `Restore the contents of a recovery point directly into DIR, which must be absent or empty.

With --item, only that file or directory is restored, under its own path below DIR. Its name is taken byte
for byte. With --escaped, it is written as "lockfast ls" prints it: a backslash as \\, a byte that is not UTF-8 as \xff.

A restore that meets damage fails and names what is damaged. "lockfast vault repair" may put it right. With --intact,
everything that is whole is restored, and what is damaged is left out and named; the exit status is 3 then.`,
		Example: `  lockfast restore arn:aws:backup:us-east-1:000000000000:recovery-point:UUID --to /srv/restored
  lockfast restore ARN --to /tmp/letters --item mail/letters --item notes.txt`,
		Args: positional(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if to == "" {
				return usagef("restore: --to DIR is missing")
			}
			if err := checkARN(args[0]); err != nil {
				return err
			}
			return a.with(cmd, func(ctx context.Context, c *client) error {
				return a.restore(ctx, c, &lockfastapi.RestoreToDirectoryInput{
					RecoveryPointArn: args[0], Directory: to, Items: displayed(items, escaped), Escaped: new(true), IamRoleArn: optional(role), Intact: &intact})
			})
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "directory that receives the contents; absent or empty")
	cmd.Flags().StringVar(&role, "role", "", "ARN of the role to restore with (default: the one that made the recovery point)")
	cmd.Flags().StringArrayVar(&items, "item", nil, "path of a file or directory inside the recovery point; repeatable")
	cmd.Flags().BoolVar(&escaped, "escaped", false, "items are written as ls prints them")
	cmd.Flags().BoolVar(&intact, "intact", false, "restore what is whole of a damaged recovery point, and name the rest")
	return cmd
}

// displayed returns paths in the form in which they travel, which holds any bytes.
func displayed(items []string, already bool) []string {
	if already {
		return items
	}
	var out []string
	for _, item := range items {
		out = append(out, directory.Display([]byte(item)))
	}
	return out
}

// checkARN catches arguments that are not ARNs at all.
func checkARN(s string) error {
	return checkARNOf(s, "recovery point", "lockfast list")
}

// checkARNOf is checkARN for ARNs of another kind, which a command lists.
func checkARNOf(s, kind, list string) error {
	if strings.HasPrefix(s, "arn:") && strings.Count(s, ":") >= 5 {
		return nil
	}
	return usagef("%q is not the ARN of a %s; `%s` shows them", s, kind, list)
}

// at returns a client for the region that an ARN lies in.
func (c *client) at(arn string) *client {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 || parts[3] == "" || parts[3] == c.region {
		return c
	}
	rest, moved := *c.rest, *c
	rest.Region, moved.region = parts[3], parts[3]
	moved.rest = &rest
	return &moved
}

// optional returns nil for the empty string.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// restore restores to a directory, which may be relative to the current one.
func (a *app) restore(ctx context.Context, c *client, in *lockfastapi.RestoreToDirectoryInput) error {
	if err := c.checkHere(); err != nil {
		return err
	}
	arn := in.RecoveryPointArn
	c = c.at(arn)
	dir, err := filepath.Abs(in.Directory)
	if err != nil {
		return err
	}
	in.Directory = dir
	job, err := call(ctx, c, lockfastapi.RestoreToDirectory, in)
	if err != nil {
		return fmt.Errorf("restore to %s: %w", dir, c.orPoint(ctx, err, arn))
	}
	detail, err := a.follow(ctx, c, job.RestoreJobId, dir, nil)
	if err != nil {
		return err
	}
	if err := jobError("restore to "+dir, detail); err != nil {
		return err
	}
	if err := a.printRestore(arn, dir, detail); err != nil {
		return err
	}
	return a.nameSkipped(ctx, c, detail)
}

func (a *app) printRestore(arn, dir string, d *lockfastapi.DescribeJobDetailOutput) error {
	if a.out.json {
		return a.out.line(restoreResult{Type: "result", RecoveryPointARN: arn, Path: dir, JobID: d.JobId, Items: d.Items,
			Skipped: d.SkippedItems, Bytes: d.BytesRead, StatusMessage: deref(d.StatusMessage)})
	}
	if m := deref(d.StatusMessage); m != "" {
		a.out.note("lockfast: %s", m)
	}
	_, err := fmt.Fprintf(a.out.stdout, "%s: %d items, %s\n", dir, d.Items, size(d.BytesRead))
	return err
}
