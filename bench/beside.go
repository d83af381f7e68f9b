package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// besideStory compares a backup that has a vault for itself with one that runs
// while the space of deleted points is reclaimed there.
func besideStory(ctx context.Context, o options, tools []tool, r *results) error {
	if err := backupVersions(ctx, o, tools); err != nil {
		return err
	}
	quiet := versions{dir: filepath.Join(o.work, "quiet"), size: o.size << 20 / 3, seed: 2}
	busy := versions{dir: filepath.Join(o.work, "busy"), size: quiet.size, seed: 3} // as much, and none of it stored yet
	for _, data := range []versions{quiet, busy} {
		if err := os.RemoveAll(data.dir); err != nil {
			return err
		}
		defer os.RemoveAll(data.dir)
		if err := data.write(1); err != nil {
			return err
		}
	}
	for _, t := range tools {
		if err := besideWith(ctx, t, r, quiet.dir, busy.dir); err != nil {
			return fmt.Errorf("%s: %w", t.name(), err)
		}
	}
	return nil
}

// besideWith tells the story of one tool from its three points on.
func besideWith(ctx context.Context, t tool, r *results, quiet, busy string) (err error) {
	end, err := t.share(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	for _, dir := range []string{quiet, busy} {
		if err := warm(dir); err != nil {
			return err
		}
	}
	settle()
	alone, err := t.backup(ctx, 4, quiet)
	if err != nil {
		return err
	}
	r.add("beside: backup alone", "s", t.name(), alone.wall.Seconds())
	settle()
	c, err := contend(ctx, t, busy)
	if err != nil {
		return err
	}
	c.record(r, t.name(), alone.wall)
	return c.finish(ctx, t, r)
}

// contest is what came of a deletion and of a reclaim and a backup after it,
// which began together. Times count from the beginning of the deletion.
type contest struct {
	deletion   time.Time
	start, end time.Duration // of the backup
	reclaimed  time.Duration
	refused    bool // the backup, for the lock of the reclaim
}

// contend deletes points 1 and 2, and makes point 5 while their space is reclaimed.
func contend(ctx context.Context, t tool, path string) (contest, error) {
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	c := contest{deletion: time.Now()}
	if _, err := t.forget(ctx, 1, 2); err != nil {
		return c, err
	}
	done := make(chan error, 1)
	go func() {
		_, err := t.reclaim(ctx)
		c.reclaimed = time.Since(c.deletion)
		done <- err
	}()
	waitForLock(ctx, t.lock(), done)
	c.start = time.Since(c.deletion)
	_, err := t.backup(ctx, 5, path)
	c.end = time.Since(c.deletion)
	if c.refused = refused(err); c.refused {
		err = nil
	}
	err = errors.Join(err, <-done)
	if err != nil {
		err = errors.Join(err, ctx.Err()) // says if it was the time
	}
	return c, err
}

// waitForLock waits for what matches the pattern, but not beyond the end of who makes it.
func waitForLock(ctx context.Context, pattern string, done <-chan error) {
	for pattern != "" && ctx.Err() == nil && len(done) == 0 {
		if found, _ := filepath.Glob(pattern); len(found) > 0 { // the pattern is ours, and good
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (c contest) record(r *results, tool string, alone time.Duration) {
	const row = "beside: backup during a reclaim"
	if c.refused {
		r.note(row, "s", tool, "refused: locked")
		return
	}
	took := c.end - c.start
	r.add(row, "s", tool, took.Seconds())
	r.fact("beside: slow-down", "times", tool, took.Seconds()/alone.Seconds())
	together := max(0, min(c.end, c.reclaimed)-c.start)
	r.fact("beside: share of it with the reclaim", "%", tool, 100*together.Seconds()/took.Seconds())
}

// finish reclaims once more, with nothing beside it: if the first reclaim has
// left more than a hundredth, the space is not back before.
func (c contest) finish(ctx context.Context, t tool, r *results) error {
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	before, err := folderSize(t.store())
	if err != nil {
		return err
	}
	if _, err := t.reclaim(ctx); err != nil {
		return errors.Join(err, ctx.Err())
	}
	back := c.reclaimed
	after, err := folderSize(t.store())
	if err != nil {
		return err
	}
	if before-after > before/100 {
		back = time.Since(c.deletion)
	}
	r.add("beside: space back after deletion", "s", t.name(), back.Seconds())
	r.fact("beside: left to a second reclaim", "MiB", t.name(), float64(before-after)/(1<<20))
	return nil
}
