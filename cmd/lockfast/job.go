package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/lockfast/lockfast/internal/lockfastapi"
)

const (
	minPoll = 5 * time.Millisecond
	maxPoll = 100 * time.Millisecond
	// stopWait is how long an interrupted command waits for its job to end.
	stopWait = 5 * time.Second
)

// pause waits a fiftieth of the time since start, within bounds, so that watching adds little to what is watched.
func pause(ctx context.Context, start time.Time) error {
	t := time.NewTimer(min(max(time.Since(start)/50, minPoll), maxPoll))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// errInterrupted ends a command that the user has lost patience with.
var errInterrupted = errors.New("interrupted")

// follow waits for the end of a job and shows its progress. When ctx ends first, it asks for a stop, if there is a way,
// and waits a little for the job to end.
func (a *app) follow(ctx context.Context, c *client, jobID, subject string, stop func(context.Context) error,
) (*lockfastapi.DescribeJobDetailOutput, error) {
	p := a.out.progress(subject, true)
	defer p.finish()
	for {
		detail, err := call(ctx, c, lockfastapi.DescribeJobDetail, &lockfastapi.DescribeJobDetailInput{JobId: jobID})
		if err == nil {
			p.update(detail.Items, detail.BytesRead, deref(detail.TotalBytes))
			if ended(detail.State) {
				return detail, nil
			}
			err = pause(ctx, p.start)
		}
		if ctx.Err() != nil && stop != nil {
			p.finish()
			return nil, errors.Join(errInterrupted, a.abandon(ctx, c, jobID, stop))
		}
		if err != nil {
			return nil, err
		}
	}
}

func ended(state string) bool {
	switch state {
	case "COMPLETED", "FAILED", "ABORTED", "EXPIRED", "PARTIAL":
		return true
	}
	return false
}

// abandon stops a job after the user has lost patience.
func (a *app) abandon(ctx context.Context, c *client, jobID string, stop func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWait)
	defer cancel()
	a.out.note("lockfast: stopping job %s", jobID)
	if err := stop(ctx); err != nil {
		return err
	}
	for start := time.Now(); ; {
		detail, err := call(ctx, c, lockfastapi.DescribeJobDetail, &lockfastapi.DescribeJobDetailInput{JobId: jobID})
		if err != nil || ended(detail.State) {
			return err
		}
		if pause(ctx, start) != nil {
			return fmt.Errorf("job %s is still stopping", jobID)
		}
	}
}

// jobError says why a job did not complete; nil if it did.
func jobError(what string, d *lockfastapi.DescribeJobDetailOutput) error {
	if d.State == "COMPLETED" {
		return nil
	}
	if m := deref(d.StatusMessage); strings.HasPrefix(m, what) {
		return errors.New(m)
	} else if m != "" {
		return fmt.Errorf("%s: %s", what, m)
	}
	return fmt.Errorf("%s: job %s ended %s", what, d.JobId, d.State)
}

// nameSkipped names every item that a job left out, and returns errSkipped if there was one.
func (a *app) nameSkipped(ctx context.Context, c *client, d *lockfastapi.DescribeJobDetailOutput) error {
	if d.SkippedItems == 0 {
		return nil
	}
	named := int64(0)
	err := each(func(token *string) (*string, error) {
		out, err := call(ctx, c, lockfastapi.ListSkippedItems,
			&lockfastapi.ListSkippedItemsInput{JobId: d.JobId, NextToken: token})
		if err != nil {
			return nil, err
		}
		for _, s := range out.SkippedItems {
			a.out.skipped(s.DisplayPath, s.Reason)
			named++
		}
		return out.NextToken, nil
	})
	if err != nil {
		return err
	}
	if rest := d.SkippedItems - named; rest > 0 {
		a.out.note("lockfast: skipped %d more items", rest)
	}
	return errSkipped
}

// over does one thing after the other. What fails is reported at once and does not keep the others from being done; the
// result is the worst of all: a failure before skipped items before success.
func (a *app) over(things []string, fn func(string) error) error {
	var worst error
	for i, thing := range things {
		err := fn(thing)
		switch {
		case err == nil || errors.Is(err, errSkipped) && worst != nil:
			continue
		case errors.Is(err, errSkipped) || i == len(things)-1:
			worst = err
		default:
			a.out.fail(err)
			worst = errReported
		}
		if errors.Is(err, context.Canceled) || errors.Is(err, errInterrupted) {
			break
		}
	}
	return worst
}

// defaultRole is the role that the server made for an account, named after an ARN of that account.
func defaultRole(arn string) string {
	account := ""
	if parts := strings.SplitN(arn, ":", 6); len(parts) == 6 {
		account = parts[4]
	}
	return "arn:aws:iam::" + account + ":role/service-role/AWSBackupDefaultServiceRole"
}
