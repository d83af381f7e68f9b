package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lockfast/lockfast/internal/server"
)

// app is what the commands of one command line share.
type app struct {
	out        *output
	config     server.Config // of serve, and of a private server
	configFile string
	server     string // URL given by --server
}

func newRoot(a *app) *cobra.Command {
	a.config = server.DefaultConfig()
	root := &cobra.Command{
		Use:   "lockfast",
		Short: "Back up directories through the AWS Backup API, into a store of your own",
		Long: `Lockfast is a self-hosted backup service that speaks the AWS Backup API and keeps the data itself.

Commands talk to the server named by --server or $AWS_ENDPOINT_URL, else to the one that runs on the data
directory, else they run one privately for as long as they last.`,
		Example: `  lockfast backup /srv/home
  lockfast list
  lockfast restore ARN --to /srv/restored`,
		Args:          positional(cobra.NoArgs),
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	flags := root.PersistentFlags()
	flags.StringVar(&a.config.Data, "data", a.config.Data, "data directory")
	flags.StringVar(&a.configFile, "config", "", "configuration file (default DATA/lockfast.yaml, if it is there)")
	flags.StringVar(&a.server, "server", "", "URL of the server to talk to")
	flags.BoolVar(&a.out.json, "json", false, "print JSON, one object per line")
	root.SetGlobalNormalizationFunc(hyphens)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(newServe(a), newBackup(a), newRestore(a), newCopy(a), newLs(a), newCat(a), newDiff(a), newList(a), newDelete(a),
		newEvents(a), newTrail(a), newPlan(a), newResource(a), newVault(a), newKey(a), newAccount(a), newClock(a), newStore(a), newVersion(a))
	exemplify(root)
	return root
}

// exemplify gives the commands that cobra adds by itself examples, which all others have.
func exemplify(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.Example = "  lockfast help restore"
		case "completion":
			c.Example = "  lockfast completion bash > /etc/bash_completion.d/lockfast"
			for _, shell := range c.Commands() {
				shell.Example = "  lockfast completion " + shell.Name()
			}
		}
	}
}

// hyphens lets a flag also be written like its key in the configuration file.
func hyphens(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	return pflag.NormalizedName(strings.ReplaceAll(name, "_", "-"))
}

// group is a command that only holds others.
func group(use, short, example string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use:     use,
		Short:   short,
		Example: example,
		Args:    positional(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Usage()
			return usagef("%s: choose one of its commands", cmd.CommandPath())
		},
	}
	c.AddCommand(commands...)
	return c
}
