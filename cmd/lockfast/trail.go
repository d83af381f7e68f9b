package main

import (
	"context"
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockfast/lockfast/internal/lockfastapi"
)

// trailQuery is which calls to show.
type trailQuery struct {
	since                 time.Duration
	event, user, resource string
	errors, changes       bool
	limit                 int
}

func newTrail(a *app) *cobra.Command {
	var q trailQuery
	cmd := &cobra.Command{
		Use:   "trail",
		Short: "Show who called the API, and what came of it",
		Long: `Show the recorded API calls of the account, newest first.

With --json each line is the whole record of a call, in the form of AWS CloudTrail. Secrets and tags are not recorded.`,
		Example: `  lockfast trail --since 1h
  lockfast trail --event DeleteRecoveryPoint --errors
  lockfast trail --user alice --changes --limit 0 --json`,
		Args: positional(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case q.since < 0:
				return usagef("--since %s is negative", q.since)
			case q.limit < 0:
				return usagef("--limit %d is negative", q.limit)
			}
			return a.with(cmd, func(ctx context.Context, c *client) error { return a.trail(ctx, c, q) })
		},
	}
	flags := cmd.Flags()
	flags.DurationVar(&q.since, "since", 0, "only calls of the last time, such as 90m or 24h")
	flags.StringVar(&q.event, "event", "", "only calls of this operation")
	flags.StringVar(&q.user, "user", "", "only calls of this user, or of role sessions of this name")
	flags.StringVar(&q.resource, "resource", "", "only calls about the resource with this ARN")
	flags.BoolVar(&q.errors, "errors", false, "only calls that failed")
	flags.BoolVar(&q.changes, "changes", false, "only calls that may change something")
	flags.IntVar(&q.limit, "limit", 100, "most calls to show; 0 shows all")
	return cmd
}

// input is the request for the calls; a filter that was not given is left out.
func (q *trailQuery) input(now time.Time) *lockfastapi.ListTrailEventsInput {
	in := &lockfastapi.ListTrailEventsInput{}
	if q.since > 0 {
		in.StartTime = new(now.Add(-q.since))
	}
	for _, f := range []struct {
		value string
		to    **string
	}{{q.event, &in.EventName}, {q.user, &in.UserName}, {q.resource, &in.ResourceArn}} {
		if f.value != "" {
			*f.to = &f.value
		}
	}
	if q.errors {
		in.ErrorsOnly = new(true)
	}
	if q.changes {
		in.ReadOnly = new(false)
	}
	return in
}

func (a *app) trail(ctx context.Context, c *client, q trailQuery) error {
	in := q.input(time.Now())
	table := tabwriter.NewWriter(a.out.stdout, 0, 0, 2, ' ', 0)
	if !a.out.json {
		fmt.Fprintln(table, "TIME\tUSER\tFROM\tEVENT\tRESULT\tRESOURCE")
	}
	shown := 0
	err := each(func(token *string) (*string, error) {
		in.NextToken = token
		if q.limit > 0 {
			in.MaxResults = new(min(q.limit-shown, 1000))
		}
		out, err := call(ctx, c, lockfastapi.ListTrailEvents, in)
		if err != nil {
			return nil, err
		}
		for i := range out.TrailEvents {
			if err := a.printCall(table, &out.TrailEvents[i]); err != nil {
				return nil, err
			}
		}
		if shown += len(out.TrailEvents); q.limit > 0 && shown >= q.limit {
			return nil, nil
		}
		return out.NextToken, nil
	})
	if err != nil || a.out.json {
		return err
	}
	return table.Flush()
}

// printCall prints a call; in JSON its record, with the type that all lines have.
func (a *app) printCall(table *tabwriter.Writer, e *lockfastapi.TrailEvent) error {
	if a.out.json {
		var rec map[string]json.RawMessage
		if err := json.Unmarshal([]byte(e.TrailRecord), &rec); err != nil {
			return fmt.Errorf("record of call %s: %w", e.EventId, err)
		}
		rec["type"] = json.RawMessage(`"result"`)
		return a.out.line(rec)
	}
	user, result, resource := deref(e.UserName), "ok", "-"
	if user == "" {
		user = "-"
	}
	if e.ErrorCode != nil {
		result = *e.ErrorCode
	}
	if len(e.ResourceArns) > 0 {
		resource = e.ResourceArns[0]
	}
	_, err := fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", local(e.EventTime), user, deref(e.SourceIpAddress), e.EventName,
		result, resource)
	return err
}
