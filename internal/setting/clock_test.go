package setting_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/setting"
)

// near reports whether a time is a little later than another one, since real time goes on.
func near(got, want time.Time) bool { return !got.Before(want) && got.Before(want.Add(time.Hour)) }

func TestClock_IsMovedAndKept(t *testing.T) {
	run(t, func(t *testing.T, ctx context.Context, _ *setting.Service, db *meta.DB) {
		start := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
		c, err := setting.OpenClock(ctx, db, &start, true, false)
		if err != nil || !near(c.Now(), start) {
			t.Fatalf("OpenClock = %v, %v, want a clock at %v", c, err, start)
		}
		moved := 0
		c.Moved = func(context.Context) error { moved++; return nil }
		out, err := c.AdvanceClock(ctx, &lockfastapi.AdvanceClockInput{Seconds: 10 * 24 * 3600})
		if err != nil || !near(out.Now, start.AddDate(0, 0, 10)) || moved != 1 {
			t.Errorf("AdvanceClock = %v, %v, moved %d times", out, err, moved)
		}
		for _, seconds := range []int64{-1, 0, 400 * 24 * 3600} {
			_, err := c.AdvanceClock(ctx, &lockfastapi.AdvanceClockInput{Seconds: seconds})
			if _, ok := errors.AsType[*lockfastapi.InvalidParameterValueException](err); !ok {
				t.Errorf("AdvanceClock by %d = %v", seconds, err)
			}
		}
		// It goes on from where it stands; a later start counts, an earlier one does not.
		for _, c := range []struct {
			start *time.Time
			adopt bool
			want  time.Time
		}{
			{&start, false, start.AddDate(0, 0, 10)},
			{nil, true, start.AddDate(0, 0, 10)},
			{new(start.AddDate(1, 0, 0)), false, start.AddDate(1, 0, 0)},
			{&start, false, start.AddDate(1, 0, 0)},
		} {
			again, err := setting.OpenClock(ctx, db, c.start, false, c.adopt)
			if err != nil || !near(again.Now(), c.want) {
				t.Errorf("OpenClock(%v) = %v, %v, want %v", c.start, again, err, c.want)
			}
		}
		if _, err := setting.OpenClock(ctx, db, nil, false, false); err == nil {
			t.Error("data with a clock was opened without one")
		}
	})
}

func TestClock_OfRealTime(t *testing.T) {
	run(t, func(t *testing.T, ctx context.Context, _ *setting.Service, db *meta.DB) {
		c, err := setting.OpenClock(ctx, db, nil, true, false)
		if c != nil || err != nil {
			t.Fatalf("OpenClock = %v, %v, want none", c, err)
		}
		out, err := c.DescribeClock(ctx, &lockfastapi.DescribeClockInput{})
		if err != nil || out.Virtual || !near(out.Now, time.Now().Add(-time.Minute)) {
			t.Errorf("DescribeClock = %v, %v", out, err)
		}
		_, err = c.AdvanceClock(ctx, &lockfastapi.AdvanceClockInput{Seconds: 1})
		if _, ok := errors.AsType[*lockfastapi.InvalidRequestException](err); !ok {
			t.Errorf("AdvanceClock = %v", err)
		}
		if _, err := setting.OpenClock(ctx, db, new(time.Now()), false, false); err == nil {
			t.Error("data of real time was given a clock")
		}
	})
}
