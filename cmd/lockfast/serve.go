package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/lockfast/lockfast/internal/server"
)

// heapFloor counts as memory in use, so that a server with little to do does not collect garbage all the time; see
// gcPercent. It is never touched, so the system never provides it.
const heapFloor = 32 << 20

func newServe(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the AWS Backup API",
		Long: `Serve the AWS Backup API until SIGTERM or Ctrl-C.

The first start makes the data directory with a database, a root key, and an administrator whose access key is in
DATA/credentials. Keep a copy of DATA/root.key elsewhere: without it, the store cannot be read.`,
		Example: `  lockfast serve --data /srv/lockfast
  lockfast serve --config /etc/lockfast.yaml --listen 0.0.0.0:9480 --tls-cert cert.pem --tls-key key.pem`,
		Args: positional(cobra.NoArgs),
	}
	settings := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	a.config.Flags(settings)
	settings.VisitAll(func(f *pflag.Flag) {
		if f.Name != "data" { // a flag of every command
			cmd.Flags().AddFlag(f)
		}
	})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := a.loadConfig(cmd.Flags()); err != nil {
			return err
		}
		log := slog.New(slog.NewTextHandler(a.out.stderr, &slog.HandlerOptions{Level: a.config.LogLevel}))
		s, err := server.Open(cmd.Context(), server.Options{Config: a.config, Log: log})
		if err != nil {
			return err
		}
		fmt.Fprintf(a.out.stdout, "lockfast: serving on %s\n", s.Address().URL)
		floor := make([]byte, heapFloor)
		defer runtime.KeepAlive(floor)
		return s.Serve(cmd.Context())
	}
	return cmd
}

// loadConfig completes and checks the configuration: defaults, then the file, then flags.
func (a *app) loadConfig(flags *pflag.FlagSet) error {
	name := a.configFile
	if name == "" {
		name = filepath.Join(a.config.Data, "lockfast.yaml")
	}
	err := a.config.Load(name, flags)
	if a.configFile == "" && errors.Is(err, unix.ENOTDIR) {
		return fmt.Errorf("data directory %s: not a directory; choose another with --data", a.config.Data)
	}
	if err != nil && (a.configFile != "" || !errors.Is(err, fs.ErrNotExist)) {
		return err
	}
	return a.config.Check()
}
