package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockfast/lockfast/internal/lockfastapi"
)

// resourceLine is the JSON form of a resource.
type resourceLine struct {
	Type         string            `json:"type"`
	ResourceARN  string            `json:"resource_arn"`
	ResourceType string            `json:"resource_type"`
	Name         string            `json:"name"`
	Path         string            `json:"path,omitempty"`
	Members      []string          `json:"members,omitempty"`
	Tags         map[string]string `json:"tags,omitempty"`
	Created      *time.Time        `json:"created,omitempty"`
}

func newResource(a *app) *cobra.Command {
	return group("resource", "Declare what can be backed up", "  lockfast resource add --type EFS --path /srv/home",
		newResourceAdd(a), newResourceList(a), newResourceRemove(a), newResourceTest(a))
}

func newResourceAdd(a *app) *cobra.Command {
	var in lockfastapi.RegisterResourceInput
	var path, name string
	var tags []string
	cmd := &cobra.Command{
		Use:   "add --type EFS --path DIR | --type CloudFormation --name NAME --member NAME...",
		Short: "Declare a resource and print its ARN",
		Long: `Declare a directory, type EFS, or a group of declared resources, type CloudFormation, and print the ARN.

The members of a group are backed up together: a backup of the group makes one recovery point for the group, which is
the parent, and one for each member. Members may be groups themselves.`,
		Example: `  lockfast resource add --type EFS --path /srv/home --name homes --tag backup=daily
  lockfast resource add --type CloudFormation --name shop --member web --member crm`,
		Args: positional(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if name != "" {
				in.Name = &name
			}
			var err error
			if in.Tags, err = parseTags(tags); err != nil {
				return err
			}
			if err := address(&in, path); err != nil {
				return err
			}
			return a.with(cmd, func(ctx context.Context, c *client) error { return a.addResource(ctx, c, &in) })
		},
	}
	cmd.Flags().StringVar(&in.Type, "type", "EFS", "type of the resource: EFS, a directory tree, or CloudFormation, a group")
	cmd.Flags().StringVar(&path, "path", "", "the directory, on the server's host")
	cmd.Flags().StringVar(&name, "name", "", "name (default for a directory: the last part of the path)")
	cmd.Flags().StringArrayVar(&in.Members, "member", nil, "name of a resource that belongs to the group; repeatable")
	cmd.Flags().StringArrayVar(&tags, "tag", nil, "tag of the resource, KEY=VALUE; repeatable")
	return cmd
}

// address checks the flags that belong to the type of a resource, and fills in where it is.
func address(in *lockfastapi.RegisterResourceInput, path string) error {
	group := in.Type == "CloudFormation"
	switch {
	case group && path != "":
		return usagef("resource add: a group has no --path")
	case group && in.Name == nil:
		return usagef("resource add: --name NAME of the group is missing")
	case group && in.Members == nil:
		return usagef("resource add: --member NAME is missing")
	case group:
		return nil
	case in.Members != nil:
		return usagef("resource add: --member is for --type CloudFormation only")
	case path == "":
		return usagef("resource add: --path DIR is missing")
	}
	path, err := filepath.Abs(path)
	in.Path = &path
	return err
}

func parseTags(list []string) (map[string]string, error) {
	var tags map[string]string
	for _, s := range list {
		k, v, ok := strings.Cut(s, "=")
		if !ok || k == "" {
			return nil, usagef("--tag %q is not KEY=VALUE", s)
		}
		if tags == nil {
			tags = map[string]string{}
		}
		tags[k] = v
	}
	return tags, nil
}

func (a *app) addResource(ctx context.Context, c *client, in *lockfastapi.RegisterResourceInput) error {
	if in.Path != nil {
		if err := c.checkHere(); err != nil {
			return err
		}
	}
	out, err := call(ctx, c, lockfastapi.RegisterResource, in)
	if err != nil {
		return err
	}
	if a.out.json {
		return a.out.line(resourceLine{Type: "result", ResourceARN: out.ResourceArn, ResourceType: out.Type,
			Name: out.Name, Path: out.Path, Members: out.Members})
	}
	_, err = fmt.Fprintln(a.out.stdout, out.ResourceArn)
	return err
}

func newResourceList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the resources",
		Example: "  lockfast resource list",
		Args:    positional(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, a.listResources)
		},
	}
}

func (a *app) listResources(ctx context.Context, c *client) error {
	table := tabwriter.NewWriter(a.out.stdout, 0, 0, 2, ' ', 0)
	if !a.out.json {
		fmt.Fprintln(table, "NAME\tTYPE\tPATH OR MEMBERS\tTAGS\tARN")
	}
	err := each(func(token *string) (*string, error) {
		out, err := call(ctx, c, lockfastapi.ListResources, &lockfastapi.ListResourcesInput{NextToken: token})
		if err != nil {
			return nil, err
		}
		for _, r := range out.Resources {
			if a.out.json {
				err = a.out.line(resourceLine{Type: "result", ResourceARN: r.ResourceArn, ResourceType: r.Type,
					Name: r.Name, Path: r.Path, Members: r.Members, Tags: r.Tags, Created: r.CreationDate})
			} else {
				_, err = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", r.Name, r.Type, r.Path+strings.Join(r.Members, ","), joinTags(r.Tags), r.ResourceArn)
			}
			if err != nil {
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

func joinTags(tags map[string]string) string {
	list := make([]string, 0, len(tags))
	for k, v := range tags {
		list = append(list, k+"="+v)
	}
	slices.Sort(list)
	return strings.Join(list, ",")
}

func newResourceRemove(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "remove ARN",
		Short:   "Forget a resource; its recovery points stay",
		Example: "  lockfast resource remove arn:aws:elasticfilesystem:us-east-1:000000000000:file-system/fs-0123456789abcdef0",
		Args:    positional(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkARNOf(args[0], "resource", "lockfast resource list"); err != nil {
				return err
			}
			return a.with(cmd, func(ctx context.Context, c *client) error {
				_, err := call(ctx, c.at(args[0]), lockfastapi.RemoveResource,
					&lockfastapi.RemoveResourceInput{ResourceArn: args[0]})
				if err == nil && a.out.json {
					err = a.out.line(resourceLine{Type: "result", ResourceARN: args[0]})
				}
				return err
			})
		},
	}
}

func newResourceTest(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "test ARN",
		Short:   "Check that a resource can be backed up now",
		Example: "  lockfast resource test ARN",
		Args:    positional(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkARNOf(args[0], "resource", "lockfast resource list"); err != nil {
				return err
			}
			return a.with(cmd, func(ctx context.Context, c *client) error { return a.testResource(ctx, c, args[0]) })
		},
	}
}

func (a *app) testResource(ctx context.Context, c *client, arn string) error {
	out, err := call(ctx, c.at(arn), lockfastapi.TestResource, &lockfastapi.TestResourceInput{ResourceArn: arn})
	if err != nil {
		return err
	}
	if !out.Reachable {
		return fmt.Errorf("%s cannot be backed up: %s", arn, deref(out.Message))
	}
	if a.out.json {
		return a.out.line(struct {
			Type      string            `json:"type"`
			ARN       string            `json:"resource_arn"`
			Reachable bool              `json:"reachable"`
			Facts     map[string]string `json:"facts,omitempty"`
		}{"result", arn, true, out.Facts})
	}
	_, err = fmt.Fprintf(a.out.stdout, "%s can be backed up\n", arn)
	return err
}
