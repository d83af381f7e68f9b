// Command bench measures Lockfast side by side with restic and borg: one run,
// one machine, the same data, every tool from its command line. It prints each
// figure and a table of ratios. `make bench` runs it; see docs/performance.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the flags of the program.
type options struct {
	work  string
	runs  int
	only  string
	tools string
	keep  bool
}

func run() error {
	var o options
	flag.StringVar(&o.work, "work", "", "folder for data and stores (default: a temporary one, removed afterwards)")
	flag.IntVar(&o.runs, "runs", 1, "how often the whole story is told; the table shows medians")
	flag.StringVar(&o.only, "only", "tree,image", "which stories: tree, image")
	flag.StringVar(&o.tools, "tools", "restic,borg,lockfast", "which tools")
	flag.BoolVar(&o.keep, "keep", false, "leave the stores behind, to look at them")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if o.work == "" {
		dir, err := os.MkdirTemp("", "lockfast-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		o.work = dir
	}
	if err := os.MkdirAll(o.work, 0o755); err != nil {
		return err
	}
	figures := newResults()
	for n := range o.runs {
		for _, story := range strings.Split(o.only, ",") {
			if err := tell(ctx, o, story, n, figures); err != nil {
				return err
			}
		}
	}
	figures.print(os.Stdout)
	return nil
}

// tell runs one story with every tool, step by step in turn.
func tell(ctx context.Context, o options, story string, n int, r *results) error {
	var steps func(context.Context, string, []tool, *results) error
	switch story {
	case "tree":
		steps = treeStory
	case "image":
		steps = imageStory
	default:
		return fmt.Errorf("unknown story %q: use tree or image", story)
	}
	stores := filepath.Join(o.work, fmt.Sprintf("stores-%s-%d", story, n))
	if err := os.MkdirAll(stores, 0o755); err != nil {
		return err
	}
	if !o.keep {
		defer os.RemoveAll(stores)
	}
	var tools []tool
	for _, name := range strings.Split(o.tools, ",") {
		t, err := newTool(name, filepath.Join(stores, name))
		if err != nil {
			return err
		}
		tools = append(tools, t)
	}
	return steps(ctx, o.work, tools, r)
}
