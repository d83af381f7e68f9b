package main

import (
	"context"
	"os"
	"path/filepath"
)

// pruneStory deletes two of three versions, so that about half of what is stored
// is needed no more.
func pruneStory(ctx context.Context, o options, tools []tool, r *results) error {
	if err := backupVersions(ctx, o, tools); err != nil {
		return err
	}
	if err := sizeAll(tools, r, "prune: stored before"); err != nil {
		return err
	}
	for _, t := range tools {
		settle()
		before, err := folderSize(t.store())
		if err != nil {
			return err
		}
		u, err := t.remove(ctx, 1, 2)
		if err != nil {
			return err
		}
		r.step("prune", "delete two and reclaim", t.name(), u)
		after, err := folderSize(t.store())
		if err != nil {
			return err
		}
		r.fact("prune: returned", "MiB", t.name(), float64(before-after)/(1<<20))
	}
	return sizeAll(tools, r, "prune: stored after")
}

// backupVersions makes three versions of a tree, and points 1 to 3 of them with every tool.
func backupVersions(ctx context.Context, o options, tools []tool) error {
	data := versions{dir: filepath.Join(o.work, "versions"), size: o.size << 20, seed: 1}
	if err := os.RemoveAll(data.dir); err != nil {
		return err
	}
	defer os.RemoveAll(data.dir)
	for _, t := range tools {
		if err := t.prepare(ctx); err != nil {
			return err
		}
	}
	for point := 1; point <= 3; point++ {
		if err := data.write(point); err != nil {
			return err
		}
		for _, t := range tools {
			settle()
			if _, err := t.backup(ctx, point, data.dir); err != nil {
				return err
			}
		}
	}
	return nil
}
