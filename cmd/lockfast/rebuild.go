package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lockfast/lockfast/internal/server"
)

// rebuiltLine is the JSON form of what a rebuild did.
type rebuiltLine struct {
	Type string `json:"type"`
	server.RebuildReport
	ElapsedSec float64 `json:"elapsed_seconds"`
}

func newStoreRebuild(a *app, key, cold *string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rebuild LOCATION --key FILE [--data DIR]",
		Short: "Make a new database from a store, when the old one is lost",
		Long: `Make a new database from a store alone, when the old one is lost.

LOCATION is the directory of a store or s3://BUCKET/PREFIX?endpoint=URL; FILE is a copy of the root key. DIR must be
empty but for a configuration file, a root key and the store, and so must be the database if --metadata names another one.
Stop the server of the old database first: it can change nothing in the store any more. An interrupted rebuild is repeated
from its beginning. Afterwards ` + "`lockfast serve --data DIR`" + ` serves what was found. What is in cold storage elsewhere is found with
--cold-store, or cold_store in the configuration file.`,
		Example: `  lockfast store rebuild /mnt/copy/store --key root.key --data /srv/lockfast
  lockfast store rebuild 's3://vaults/home?endpoint=https://s3.example.com' --key root.key --data /srv/lockfast`,
		Args: positional(cobra.ExactArgs(1)),
	}
	settings := pflag.NewFlagSet("rebuild", pflag.ContinueOnError)
	a.config.Flags(settings)
	for _, name := range []string{"metadata", "account", "region", "key-file"} {
		cmd.Flags().AddFlag(settings.Lookup(name))
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *key == "" {
			return usagef("--key FILE is missing: a copy of the server's DATA/root.key")
		}
		if err := a.loadConfig(cmd.Flags()); err != nil {
			return err
		}
		if *cold != "" {
			a.config.ColdStore = *cold
		}
		return a.rebuild(cmd.Context(), args[0], *key)
	}
	return cmd
}

func (a *app) rebuild(ctx context.Context, location, key string) error {
	configured := a.config.Store
	a.config.Store = location
	if err := a.config.Check(); err != nil {
		return err
	}
	if usual := filepath.Join(a.config.Data, "store"); configured != usual && configured != a.config.Store {
		return fmt.Errorf("the configuration file says that the store is %s, not %s", configured, a.config.Store)
	}
	bar := a.out.progress("rebuild", false)
	log := slog.New(slog.NewTextHandler(a.out.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if a.out.json {
		log = slog.New(slog.DiscardHandler) // the report says all of it
	}
	report, err := server.Rebuild(ctx, server.RebuildOptions{Config: a.config, Key: key, Log: log,
		Progress: func(_ string, points int) { bar.update(int64(points), int64(points), 0) }})
	bar.finish()
	if err != nil {
		return err
	}
	return a.printRebuilt(report)
}

func (a *app) printRebuilt(r server.RebuildReport) error {
	if a.out.json {
		return a.out.line(rebuiltLine{Type: "result", RebuildReport: r, ElapsedSec: seconds(r.Took)})
	}
	fmt.Fprintf(a.out.stdout, "%d vaults, %d recovery points, %d resources and %d keys rebuilt in %s\n", r.Vaults, r.RecoveryPoints,
		r.Resources, r.Keys, r.Took.Round(time.Millisecond))
	for _, list := range []struct {
		about string
		items []string
	}{
		{"damaged", r.Damaged}, {"not readable, its keys were destroyed", r.Unreadable}, {"not ours, left alone", r.Foreign},
		{"assumed", r.Assumed}, {"not in the store", r.NotRebuilt},
	} {
		for _, item := range list.items {
			fmt.Fprintf(a.out.stdout, "%s: %s\n", list.about, strings.TrimSpace(item))
		}
	}
	_, err := fmt.Fprintf(a.out.stdout, "serve it with: lockfast serve --data %s\n", a.config.Data)
	return err
}
