package directory

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"time"

	"github.com/lockfast/lockfast/resource"
)

// racyWindow is how long before the walk a change may lie and still share its time with a later one.
const racyWindow = 2 * time.Second

// Capture walks the tree and merges it with the parent recovery point.
func (d *Driver) Capture(ctx context.Context, order resource.Capture) (resource.Report, error) {
	fd, path, private, err := d.openRoot(order.Resource)
	if err != nil {
		return resource.Report{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := newCapture(ctx, order, d.options, stampOf(d.options.Now().Add(-racyWindow)))
	stopReaders := c.startReaders(ctx, d.options.Readers)
	stopProgress := report(order.Progress, c.progress)
	err = walk(ctx, fd, d.options.CrossMounts, private, c)
	if err == nil {
		err = c.drain(ctx)
	}
	cancel()
	stopReaders()
	c.abandon()
	stopProgress()
	if err == nil && c.cursor != nil {
		err = c.cursor.Err()
	}
	if err != nil {
		return resource.Report{}, fmt.Errorf("capture directory %s: %w", Display([]byte(filepath.Clean(path))), err)
	}
	logger(order.Log).DebugContext(ctx, "directory captured", "items", c.items.Load(), "kept", c.kept, "vanished", c.vanished)
	return c.report(), nil
}

func (c *capture) report() resource.Report {
	r := resource.Report{
		Items: c.items.Load(), BytesRead: c.reader.bytes.Load(), LogicalBytes: c.logical.Load(), Vanished: c.vanished,
		Skipped: c.skips.list, SkippedMore: c.skips.more, Metadata: map[string]string{"consistency": "files as they were read, not an image of one point in time"},
	}
	maps.Copy(r.Metadata, c.owners.table())
	return r
}

func (c *capture) progress() resource.Progress {
	return resource.Progress{Items: c.items.Load(), Bytes: c.logical.Load() + c.ahead(), TotalBytes: c.total}
}

// ahead is what was read of files that are not complete yet.
func (c *capture) ahead() int64 {
	return max(0, c.reader.bytes.Load()-c.finished.Load())
}

// report calls f with what now returns, a few times a second. The returned function calls it a last time and ends it.
func report(f func(resource.Progress), now func() resource.Progress) (stop func()) {
	if f == nil {
		return func() {}
	}
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				f(now())
			case <-quit:
				f(now())
				return
			}
		}
	}()
	return func() {
		close(quit)
		<-ended
	}
}
