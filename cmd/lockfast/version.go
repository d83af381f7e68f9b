package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/lockfast/lockfast/repo/pack"
)

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  lockfast version",
		Args:    positional(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			version, revision, zstd := "unknown", "", pack.ZstdModule
			if info, ok := debug.ReadBuildInfo(); ok {
				version = info.Main.Version
				for _, m := range info.Deps {
					if m.Path == pack.ZstdModule {
						zstd += " " + m.Version
					}
				}
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
					Zstd     string `json:"zstd"`
				}{"result", version, revision, runtime.Version(), zstd})
			}
			_, err := fmt.Fprintf(a.out.stdout, "lockfast %s (%s, zstd of %s)\n", version, runtime.Version(), zstd)
			return err
		},
	}
}
