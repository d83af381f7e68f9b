package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockfast/lockfast/internal/lockfastapi"
)

// clockLine is the JSON form of the policy time.
type clockLine struct {
	Type    string    `json:"type"`
	Now     time.Time `json:"now"`
	Virtual bool      `json:"virtual"`
}

func newClock(a *app) *cobra.Command {
	return group("clock", "See and move the clock of a server that was started with --clock",
		"  lockfast clock show\n  lockfast clock advance 24h", newClockShow(a), newClockAdvance(a))
}

func newClockShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "show",
		Short:   "Show the time by which schedules and lifecycles count",
		Example: "  lockfast clock show",
		Args:    positional(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, func(ctx context.Context, c *client) error {
				out, err := call(ctx, c, lockfastapi.DescribeClock, &lockfastapi.DescribeClockInput{})
				if err != nil {
					return err
				}
				return a.printClock(out.Now, out.Virtual)
			})
		},
	}
}

func newClockAdvance(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "advance DURATION",
		Short: "Move the clock forward, and begin what is due then",
		Long: `Move the clock of a server that was started with --clock forward, by a duration such as 90m or 24h. The command returns when the
jobs of rules that are due by then are made and the deletion of what is past its retention has begun.`,
		Example: "  lockfast clock advance 24h",
		Args:    positional(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			by, err := time.ParseDuration(args[0])
			if err != nil || by < time.Second {
				return usageError{fmt.Errorf("%q is not a duration such as 24h", args[0])}
			}
			return a.with(cmd, func(ctx context.Context, c *client) error {
				out, err := call(ctx, c, lockfastapi.AdvanceClock, &lockfastapi.AdvanceClockInput{Seconds: int64(by / time.Second)})
				if err != nil {
					return err
				}
				return a.printClock(out.Now, true)
			})
		},
	}
}

func (a *app) printClock(now time.Time, virtual bool) error {
	if a.out.json {
		return a.out.line(clockLine{Type: "result", Now: now, Virtual: virtual})
	}
	kind := "real time"
	if virtual {
		kind = "a clock of its own"
	}
	_, err := fmt.Fprintf(a.out.stdout, "%s, by %s\n", now.UTC().Format(time.RFC3339), kind)
	return err
}
