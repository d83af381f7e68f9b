package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  lockfast version",
		Args:    positional(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			version, revision := "unknown", ""
			if info, ok := debug.ReadBuildInfo(); ok {
				version = info.Main.Version
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" {
						revision = s.Value
					}
				}
			}
			if a.out.json {
				return a.out.line(struct {
					Type     string `json:"type"`
					Version  string `json:"version"`
					Revision string `json:"revision,omitempty"`
					Go       string `json:"go"`
				}{"result", version, revision, runtime.Version()})
			}
			_, err := fmt.Fprintf(a.out.stdout, "lockfast %s (%s)\n", version, runtime.Version())
			return err
		},
	}
}
