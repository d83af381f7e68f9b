package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockfast/lockfast/internal/lockfastapi"
)

// itemLine is the JSON form of an entry. Path is readable text; PathBytes, in base64, is exact.
type itemLine struct {
	Type       string     `json:"type"`
	Path       string     `json:"path"`
	PathBytes  []byte     `json:"path_bytes"`
	Kind       string     `json:"kind"`
	Mode       string     `json:"mode"`
	UID        int64      `json:"uid"`
	GID        int64      `json:"gid"`
	Size       int64      `json:"size"`
	ModifiedAt *time.Time `json:"modified"`
	LinkTarget string     `json:"link_target,omitempty"`
}

// changeLine is the JSON form of a difference.
type changeLine struct {
	Type       string `json:"type"`
	Change     string `json:"change"`
	Path       string `json:"path"`
	PathBytes  []byte `json:"path_bytes"`
	SizeBefore *int64 `json:"size_before"`
	SizeAfter  *int64 `json:"size_after"`
}

func newLs(a *app) *cobra.Command {
	var recursive bool
	cmd := &cobra.Command{
		Use:   "ls ARN [PATH]",
		Short: "List the contents of a recovery point",
		Example: `  lockfast ls ARN
  lockfast ls --recursive ARN mail/letters`,
		Args: positional(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkARN(args[0]); err != nil {
				return err
			}
			in := &lockfastapi.ListItemsInput{RecoveryPointArn: args[0], Recursive: &recursive}
			if len(args) == 2 {
				in.Path = &args[1]
			}
			return a.with(cmd, func(ctx context.Context, c *client) error { return a.ls(ctx, c.at(args[0]), in) })
		},
	}
	cmd.Flags().BoolVarP(&recursive, "recursive", "R", false, "list everything below PATH")
	return cmd
}

func (a *app) ls(ctx context.Context, c *client, in *lockfastapi.ListItemsInput) error {
	return each(func(token *string) (*string, error) {
		in.NextToken = token
		out, err := call(ctx, c, lockfastapi.ListItems, in)
		if err != nil {
			return nil, c.orItem(ctx, err, in.RecoveryPointArn)
		}
		for i := range out.Items {
			if err := a.printItem(&out.Items[i]); err != nil {
				return nil, err
			}
		}
		return out.NextToken, nil
	})
}

func (a *app) printItem(it *lockfastapi.Item) error {
	if a.out.json {
		return a.out.line(itemLine{Type: "result", Path: it.DisplayPath, PathBytes: it.Path, Kind: string(it.Type),
			Mode: fmt.Sprintf("%04o", it.Mode&0o7777), UID: it.Uid, GID: it.Gid, Size: it.Size, ModifiedAt: it.ModifiedAt,
			LinkTarget: string(it.LinkTarget)})
	}
	link, modified := "", "-"
	if it.LinkTarget != nil {
		link = " -> " + printable(it.LinkTarget)
	}
	if it.ModifiedAt != nil {
		modified = local(*it.ModifiedAt)
	}
	_, err := fmt.Fprintf(a.out.stdout, "%s %6d %6d %12d %19s %s%s\n", fileMode(it), it.Uid, it.Gid, it.Size, modified,
		it.DisplayPath, link)
	return err
}

// printable quotes what would confuse a terminal.
func printable(b []byte) string {
	q, _ := json.Marshal(string(b))
	if s := string(q[1 : len(q)-1]); s != string(b) {
		return string(q)
	}
	return string(b)
}

// fileMode writes type and permission bits as ls(1) does.
func fileMode(it *lockfastapi.Item) string {
	text := []byte("?rwxrwxrwx")
	switch it.Type {
	case lockfastapi.ItemTypeFile:
		text[0] = '-'
	case lockfastapi.ItemTypeDir:
		text[0] = 'd'
	case lockfastapi.ItemTypeLink:
		text[0] = 'l'
	case lockfastapi.ItemTypeFifo:
		text[0] = 'p'
	case lockfastapi.ItemTypeChar:
		text[0] = 'c'
	case lockfastapi.ItemTypeBlock:
		text[0] = 'b'
	case lockfastapi.ItemTypeSocket:
		text[0] = 's'
	}
	for i := range 9 {
		if it.Mode&(0o400>>i) == 0 {
			text[1+i] = '-'
		}
	}
	for i, letter := range []byte("sst") { // in the place of the x of owner, group and others
		x := &text[3*(i+1)]
		switch {
		case it.Mode&(0o4000>>i) == 0:
		case *x == 'x':
			*x = letter
		default:
			*x = letter - 'a' + 'A'
		}
	}
	return string(text)
}

func newCat(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "cat ARN PATH",
		Short:   "Write a file of a recovery point to standard output",
		Example: "  lockfast cat ARN mail/letters/1.txt > letter.txt",
		Args:    positional(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkARN(args[0]); err != nil {
				return err
			}
			return a.with(cmd, func(ctx context.Context, c *client) error {
				c = c.at(args[0])
				out, err := call(ctx, c, lockfastapi.GetItem,
					&lockfastapi.GetItemInput{RecoveryPointArn: args[0], Path: args[1]})
				if err != nil {
					return c.orItem(ctx, err, args[0])
				}
				defer out.Body.Close()
				n, err := io.Copy(a.out.stdout, out.Body)
				if err != nil {
					return fmt.Errorf("read %s: %w", args[1], err)
				}
				if want := out.ContentLength; want != nil && n != *want {
					return fmt.Errorf("read %s: the server sent %d of %d bytes", args[1], n, *want)
				}
				return nil
			})
		},
	}
}

func newDiff(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "diff ARN ARN",
		Short: "Show what differs between two recovery points",
		Long: `Show what differs from the first recovery point to the second: + added, - removed, M content changed, m only
owner, mode, times or other metadata changed.`,
		Example: "  lockfast diff OLDER_ARN NEWER_ARN",
		Args:    positional(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, arn := range args {
				if err := checkARN(arn); err != nil {
					return err
				}
			}
			return a.with(cmd, func(ctx context.Context, c *client) error {
				return a.diff(ctx, c.at(args[0]), args[0], args[1])
			})
		},
	}
}

func (a *app) diff(ctx context.Context, c *client, older, newer string) error {
	return each(func(token *string) (*string, error) {
		out, err := call(ctx, c, lockfastapi.CompareRecoveryPoints, &lockfastapi.CompareRecoveryPointsInput{
			RecoveryPointArn: older, OtherRecoveryPointArn: newer, NextToken: token})
		if err != nil {
			return nil, c.orPoint(ctx, err, older, newer)
		}
		for i := range out.Changes {
			if err := a.printChange(&out.Changes[i]); err != nil {
				return nil, err
			}
		}
		return out.NextToken, nil
	})
}

func (a *app) printChange(ch *lockfastapi.Change) error {
	if a.out.json {
		return a.out.line(changeLine{Type: "result", Change: string(ch.Change), Path: ch.DisplayPath, PathBytes: ch.Path,
			SizeBefore: ch.SizeBefore, SizeAfter: ch.SizeAfter})
	}
	mark := map[lockfastapi.ChangeType]string{lockfastapi.ChangeTypeAdded: "+", lockfastapi.ChangeTypeRemoved: "-",
		lockfastapi.ChangeTypeChanged: "M", lockfastapi.ChangeTypeMetadata: "m"}[ch.Change]
	_, err := fmt.Fprintf(a.out.stdout, "%s %s\n", mark, ch.DisplayPath)
	return err
}
