// Command bench measures Lockfast side by side with restic and borg: one run,
// one machine, the same data, every tool from its command line. It prints each
// figure and a table of ratios. `make bench` runs it; see docs/performance.md.
//
// It tells stories: tree and image protect what changes between two backups, files
// a million small files, prune gives half of a store back, and beside backs up
// while that is done.
package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
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
	image int64 // MiB of the image
	files int   // of the story files
	size  int64 // MiB of a version in the stories prune and beside
}

// story is a sequence of steps, each done by every tool in turn.
type story func(ctx context.Context, o options, tools []tool, r *results) error

func stories() map[string]story {
	return map[string]story{
		"tree": treeStory, "image": imageStory, "files": filesStory, "prune": pruneStory, "beside": besideStory,
	}
}

func run() error {
	var o options
	flag.StringVar(&o.work, "work", "",
		"folder for data and stores, which takes up to 25 GiB (default: a temporary one, removed afterwards)")
	flag.IntVar(&o.runs, "runs", 1, "how often the whole story is told; the table shows medians")
	flag.StringVar(&o.only, "only", "tree,image,files,prune,beside", "which stories, in which order")
	flag.StringVar(&o.tools, "tools", "restic,borg,lockfast", "which tools")
	flag.BoolVar(&o.keep, "keep", false, "leave the stores behind, to look at them; needs more space")
	flag.Int64Var(&o.image, "image", 4096, "MiB of the disk image in the story image")
	flag.IntVar(&o.files, "files", 1_000_000, "how many files of 4 KiB the story files has")
	flag.Int64Var(&o.size, "size", 3072, "MiB of one version of the data in the stories prune and beside")
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
	err := tellAll(ctx, o, figures)
	figures.print(os.Stdout) // what was measured before an error, too
	return err
}

func tellAll(ctx context.Context, o options, r *results) error {
	names, known := strings.Split(o.only, ","), stories()
	for _, name := range names {
		if known[name] == nil {
			return fmt.Errorf("unknown story %q: use %s", name, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
	}
	for n := range o.runs {
		for _, name := range names {
			if err := tell(ctx, o, name, known[name], n, r); err != nil {
				return fmt.Errorf("story %s: %w", name, err)
			}
		}
	}
	return nil
}

// tell runs one story with every tool, step by step in turn.
func tell(ctx context.Context, o options, name string, steps story, n int, r *results) error {
	stores := filepath.Join(o.work, fmt.Sprintf("stores-%s-%d", name, n))
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
	return steps(ctx, o, tools, r)
}
