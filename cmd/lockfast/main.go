// Command lockfast serves the AWS Backup API and is its command line.
//
// `lockfast serve` runs a server. Every other command talks to one over HTTP, signed like any other client: the one
// given by --server or $AWS_ENDPOINT_URL, the one that runs on the data directory, or one that it starts privately for
// as long as the command lasts. Only `lockfast store` reads a vault directly, without a server or a database.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	_ "time/tzdata" // schedules have time zones, and the host may know none

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitDone    = 0
	exitFailed  = 1
	exitUsage   = 2
	exitSkipped = 3 // done, but items were left out
)

// gcPercent trades a little processor time for memory: most of the heap are buffers, which cost the collector nothing
// to scan, and peak memory falls by a quarter. $GOGC overrides it.
const gcPercent = 50

// firstPercent lets the heap grow to 16 MiB before it is collected for the first time. Starting a private server allocates
// less, and what it keeps is so little that gcPercent alone would have it collected over and over.
const firstPercent = 400

func main() {
	if os.Getenv("GOGC") == "" {
		collectLater()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// collectLater sets firstPercent, and gcPercent as soon as garbage has been collected once.
func collectLater() {
	debug.SetGCPercent(firstPercent)
	first := new(struct{ _ *byte }) // with a pointer: small objects without one share their memory
	runtime.AddCleanup(first, func(percent int) { debug.SetGCPercent(percent) }, gcPercent)
}

// run runs one command line and returns its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	a := &app{out: &output{stdout: stdout, stderr: stderr}}
	root := newRoot(a)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	switch {
	case errors.Is(err, errSkipped):
		return exitSkipped
	case errors.Is(err, errReported):
		return exitFailed
	}
	if ctx.Err() != nil {
		err = errInterrupted
	}
	a.out.fail(err)
	if usage := (usageError{}); errors.As(err, &usage) {
		fmt.Fprintf(stderr, "try: %s --help\n", cmd.CommandPath())
		return exitUsage
	}
	return exitFailed
}

// errReported ends a command that failed and has said why.
var errReported = errors.New("something failed")

// errSkipped ends a command that did its work but for items that it has named.
var errSkipped = errors.New("items were skipped")

// usageError is a command line that makes no sense, as against one that could not be carried out.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// positional turns the complaints of a check of arguments into usage errors.
func positional(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{err}
		}
		return nil
	}
}
