package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"
)

// reportEvery is how often a runner looks whether it may go on.
const reportEvery = 200 * time.Millisecond

// reporting runs fn and meanwhile calls report, several times a second. If report fails with an error that wraps gone, the
// work has been taken away: the context of fn is cancelled with that error as its cause. Other failures are passed over,
// since the lease that reports extend outlives many of them.
func reporting(ctx context.Context, log *slog.Logger, gone error, report func(context.Context) error,
	fn func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for wait(ctx, reportEvery) {
			err := report(ctx)
			switch {
			case errors.Is(err, gone):
				cancel(err)
			case err != nil && ctx.Err() == nil:
				log.WarnContext(ctx, "progress not recorded", "error", err)
			}
		}
	}()
	err := guard(ctx, log, fn)
	cause := context.Cause(ctx)
	cancel(nil)
	<-done
	if err != nil && cause != nil {
		return cause
	}
	return err
}

// paced makes a report function that does something at most once in a while.
func paced(pause time.Duration, fn func(context.Context) error) func(context.Context) error {
	var last time.Time
	return func(ctx context.Context) error {
		if time.Since(last) < pause {
			return nil
		}
		last = time.Now()
		return fn(ctx)
	}
}

// errPanic is the error of work that panicked.
var errPanic = errors.New("internal error; the log of the server says more")

// guard runs fn and turns a panic into an error, so that a fault in a driver costs a job and not the server.
func guard(ctx context.Context, log *slog.Logger, fn func(context.Context) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			log.ErrorContext(ctx, "job panicked", "cause", fmt.Sprint(r), "stack", string(debug.Stack()))
			err = errPanic
		}
	}()
	return fn(ctx)
}

// wait waits for a time; false if ctx was done first.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Every calls fn again and again with a pause in between, the first time after one pause, until ctx is done. Failures and
// panics go to the log.
func Every(ctx context.Context, log *slog.Logger, pause time.Duration, fn func(context.Context) error) error {
	for wait(ctx, pause) {
		if err := guard(ctx, log, fn); err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, "background work failed", "error", err)
		}
	}
	return nil
}
