package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/lockfastapi"
)

// planLine is the JSON form of a plan.
type planLine struct {
	Type    string     `json:"type"`
	Plan    string     `json:"plan"`
	Name    string     `json:"name"`
	ARN     string     `json:"arn"`
	Created *time.Time `json:"created"`
	LastRun *time.Time `json:"last_run"`
}

// explanationLine is the JSON form of what a plan does with a resource.
type explanationLine struct {
	Type       string               `json:"type"`
	Resource   string               `json:"resource_arn"`
	Name       string               `json:"name"`
	Selected   bool                 `json:"selected"`
	Selection  string               `json:"selection,omitempty"`
	Role       string               `json:"role_arn,omitempty"`
	Selections []verdictLine        `json:"selections"`
	NextBackup map[string]time.Time `json:"next_backup,omitempty"` // by rule
}

type verdictLine struct {
	Selection string `json:"selection"`
	Selected  bool   `json:"selected"`
	Reason    string `json:"reason"`
}

func newPlan(a *app) *cobra.Command {
	return group("plan", "See what backup plans do; they are made by the AWS Backup API",
		"  lockfast plan list\n  lockfast plan explain nightly", newPlanList(a), newPlanExplain(a))
}

func newPlanList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the backup plans",
		Example: "  lockfast plan list",
		Args:    positional(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, a.listPlans)
		},
	}
}

func (a *app) listPlans(ctx context.Context, c *client) error {
	table := tabwriter.NewWriter(a.out.stdout, 0, 0, 2, ' ', 0)
	if !a.out.json {
		fmt.Fprintln(table, "PLAN\tNAME\tCREATED\tLAST RUN")
	}
	err := eachPlan(ctx, c, func(p backupapi.BackupPlansListMember) error {
		if a.out.json {
			return a.out.line(planLine{Type: "result", Plan: *p.BackupPlanId, Name: *p.BackupPlanName, ARN: *p.BackupPlanArn,
				Created: p.CreationDate, LastRun: p.LastExecutionDate})
		}
		ran := "never"
		if p.LastExecutionDate != nil {
			ran = local(*p.LastExecutionDate)
		}
		_, err := fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", *p.BackupPlanId, *p.BackupPlanName, local(*p.CreationDate), ran)
		return err
	})
	if err != nil || a.out.json {
		return err
	}
	return table.Flush()
}

func eachPlan(ctx context.Context, c *client, fn func(backupapi.BackupPlansListMember) error) error {
	return each(func(token *string) (*string, error) {
		out, err := call(ctx, c, backupapi.ListBackupPlans, &backupapi.ListBackupPlansInput{NextToken: token})
		if err != nil {
			return nil, err
		}
		for _, p := range out.BackupPlansList {
			if err := fn(p); err != nil {
				return nil, err
			}
		}
		return out.NextToken, nil
	})
}

func newPlanExplain(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "explain PLAN [RESOURCE]",
		Short: "Say why a plan selects resources or not, and when it backs them up next",
		Long: `Say of every declared resource, or of one, whether a backup plan selects it and why, and when each of its rules makes
backups next. PLAN is the id or the name of a plan, RESOURCE an ARN.`,
		Example: "  lockfast plan explain nightly\n" +
			"  lockfast plan explain nightly arn:aws:elasticfilesystem:us-east-1:000000000000:file-system/fs-0123456789abcdef0",
		Args: positional(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd, func(ctx context.Context, c *client) error {
				in := &lockfastapi.ExplainBackupPlanInput{}
				if len(args) == 2 {
					in.ResourceArn = &args[1]
				}
				var err error
				if in.BackupPlanId, err = findPlan(ctx, c, args[0]); err != nil {
					return err
				}
				return a.explainPlan(ctx, c, in)
			})
		},
	}
}

// findPlan returns the id of the plan that has an id or a name.
func findPlan(ctx context.Context, c *client, plan string) (id string, err error) {
	named := 0
	err = eachPlan(ctx, c, func(p backupapi.BackupPlansListMember) error {
		if *p.BackupPlanId == plan || *p.BackupPlanName == plan {
			id = *p.BackupPlanId
			named++
		}
		return nil
	})
	switch {
	case err != nil:
		return "", err
	case named == 0:
		return "", fmt.Errorf("no backup plan has the id or the name %s; lockfast plan list shows them", plan)
	case named > 1:
		return "", fmt.Errorf("%d backup plans have the name %s; name one by its id, which lockfast plan list shows", named, plan)
	}
	return id, nil
}

func (a *app) explainPlan(ctx context.Context, c *client, in *lockfastapi.ExplainBackupPlanInput) error {
	table := tabwriter.NewWriter(a.out.stdout, 0, 0, 2, ' ', 0)
	first := true
	err := each(func(token *string) (*string, error) {
		in.NextToken = token
		out, err := call(ctx, c, lockfastapi.ExplainBackupPlan, in)
		if err != nil {
			return nil, err
		}
		if a.out.json {
			return out.NextToken, a.explanationLines(out)
		}
		if first {
			first = false
			fmt.Fprint(table, "RULE\tNEXT BACKUP\n")
			for _, r := range out.Rules {
				next := "never"
				if r.NextBackup != nil {
					next = local(*r.NextBackup)
				}
				fmt.Fprintf(table, "%s\t%s\n", r.RuleName, next)
			}
			fmt.Fprint(table, "\nRESOURCE\tSELECTED\tSELECTION\tWHY\n")
		}
		for _, r := range out.Resources {
			explain(table, r)
		}
		return out.NextToken, nil
	})
	if err != nil || a.out.json {
		return err
	}
	return table.Flush()
}

// explain writes a line for a resource: the selection that selects it, or what all of them say.
func explain(table *tabwriter.Writer, r lockfastapi.ExplainedResource) {
	name := r.ResourceName + " (" + r.ResourceArn + ")"
	if len(r.Verdicts) == 0 {
		fmt.Fprintf(table, "%s\tno\t\tThe plan has no selections.\n", name)
	}
	for _, v := range r.Verdicts {
		if r.Selected && v.SelectionName != *r.SelectionName {
			continue
		}
		selected := map[bool]string{true: "yes", false: "no"}[v.Selected]
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", name, selected, v.SelectionName, v.Reason)
	}
}

func (a *app) explanationLines(out *lockfastapi.ExplainBackupPlanOutput) error {
	next := map[string]time.Time{}
	for _, r := range out.Rules {
		if r.NextBackup != nil {
			next[r.RuleName] = *r.NextBackup
		}
	}
	for _, r := range out.Resources {
		line := explanationLine{Type: "result", Resource: r.ResourceArn, Name: r.ResourceName, Selected: r.Selected,
			Selection: deref(r.SelectionName), Role: deref(r.IamRoleArn), Selections: []verdictLine{}}
		if r.Selected {
			line.NextBackup = next
		}
		for _, v := range r.Verdicts {
			line.Selections = append(line.Selections, verdictLine{v.SelectionName, v.Selected, v.Reason})
		}
		if err := a.out.line(line); err != nil {
			return err
		}
	}
	return nil
}
