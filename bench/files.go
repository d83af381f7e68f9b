package main

import (
	"context"
	"os"
	"path/filepath"
)

// filesStory protects very many small files.
func filesStory(ctx context.Context, o options, tools []tool, r *results) error {
	dir := filepath.Join(o.work, "files")
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := writeFiles(dir, o.files); err != nil {
		return err
	}
	if err := prepareAll(ctx, tools, dir); err != nil {
		return err
	}
	if err := backupAll(ctx, tools, r, "files", "first backup", 1, dir); err != nil {
		return err
	}
	if err := backupAll(ctx, tools, r, "files", "unchanged backup", 2, dir); err != nil {
		return err
	}
	if err := sizeAll(tools, r, "files: stored"); err != nil {
		return err
	}
	return restoreAll(ctx, o.work, tools, r, "files", 2, dir)
}
