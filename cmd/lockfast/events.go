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

// eventLine is the JSON form of an event.
type eventLine struct {
	Type             string          `json:"type"`
	EventID          string          `json:"event_id"`
	Time             time.Time       `json:"time"`
	EventType        string          `json:"event_type"`
	VaultEvent       string          `json:"vault_event,omitempty"`
	Vault            string          `json:"vault"`
	RecoveryPointARN string          `json:"recovery_point_arn"`
	Status           string          `json:"status"`
	StatusMessage    string          `json:"status_message"`
	Event            json.RawMessage `json:"event"`
}

func newEvents(a *app) *cobra.Command {
	var vault, point, kind string
	cmd := &cobra.Command{
		Use:   "events",
		Short: "List what happened",
		Long: `List what happened to recovery points, jobs, backup plans, vaults and settings, newest first: when recovery points were
created and completed, when somebody had them deleted, and why a deletion did not succeed; when jobs began, and how they
ended; and what was changed. The server keeps events for the time that its setting event_retention says.

With --json, each line also holds the event as Amazon EventBridge would deliver it.`,
		Example: `  lockfast events --vault offsite
  lockfast events --recovery-point ARN --json
  lockfast events --type BACKUP_JOB_FAILED
  lockfast events --type 'Backup Job State Change'`,
		Args: positional(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if point != "" {
				if err := checkARN(point); err != nil {
					return err
				}
			}
			return a.with(cmd, func(ctx context.Context, c *client) error { return a.events(ctx, c.at(point), vault, point, kind) })
		},
	}
	cmd.Flags().StringVar(&vault, "vault", "", "only events of this vault")
	cmd.Flags().StringVar(&kind, "type", "", "only events of this type, or of this name among the events of a vault")
	cmd.Flags().StringVar(&point, "recovery-point", "", "only events of this recovery point")
	return cmd
}

func (a *app) events(ctx context.Context, c *client, vault, point, kind string) error {
	in := &lockfastapi.ListEventsInput{}
	if vault != "" {
		in.BackupVaultName = &vault
	}
	if point != "" {
		in.RecoveryPointArn = &point
	}
	table := tabwriter.NewWriter(a.out.stdout, 0, 0, 2, ' ', 0)
	if !a.out.json {
		fmt.Fprintln(table, "TIME\tEVENT\tSTATUS\tVAULT\tRECOVERY POINT\tREASON")
	}
	if kind != "" {
		in.EventType = &kind
	}
	err := each(func(token *string) (*string, error) {
		in.NextToken = token
		out, err := call(ctx, c, lockfastapi.ListEvents, in)
		if err != nil {
			return nil, err
		}
		for i := range out.Events {
			if err := a.printEvent(table, &out.Events[i]); err != nil {
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

func (a *app) printEvent(table *tabwriter.Writer, e *lockfastapi.Event) error {
	if a.out.json {
		return a.out.line(eventLine{Type: "result", EventID: e.EventId, Time: e.EventTime.UTC(), EventType: e.EventType,
			VaultEvent: deref(e.VaultEvent), Vault: deref(e.BackupVaultName), RecoveryPointARN: deref(e.RecoveryPointArn),
			Status: deref(e.Status), StatusMessage: deref(e.StatusMessage), Event: json.RawMessage(e.Document)})
	}
	name := deref(e.VaultEvent)
	if name == "" {
		name = e.EventType
	}
	_, err := fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", local(e.EventTime), name, deref(e.Status),
		deref(e.BackupVaultName), deref(e.RecoveryPointArn), deref(e.StatusMessage))
	return err
}
