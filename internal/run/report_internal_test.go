package run

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

var quiet = slog.New(slog.DiscardHandler)

func TestReporting_TakesTheWorkAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		report := func(context.Context) error {
			calls++
			switch calls {
			case 1:
				return errors.New("the database is away") // is passed over
			case 3:
				return errStopped
			}
			return nil
		}
		err := reporting(t.Context(), quiet, errTaken, report, func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		})
		if !errors.Is(err, errStopped) || calls != 3 {
			t.Errorf("reporting = %v after %d reports, want %v after 3", err, calls, errStopped)
		}
	})
}

func TestReporting_AnswersTheErrorOfTheWork(t *testing.T) {
	t.Parallel()
	own := errors.New("own")
	fine := func(context.Context) error { return nil }
	if err := reporting(t.Context(), quiet, errTaken, fine, func(context.Context) error { return own }); !errors.Is(err, own) {
		t.Errorf("reporting = %v, want %v", err, own)
	}
	if err := reporting(t.Context(), quiet, errTaken, fine, func(context.Context) error { panic("x") }); !errors.Is(err, errPanic) {
		t.Errorf("reporting of a panic = %v, want %v", err, errPanic)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := reporting(ctx, quiet, errTaken, fine, func(ctx context.Context) error { return ctx.Err() }); !errors.Is(err, context.Canceled) {
		t.Errorf("reporting of a stopping server = %v, want %v", err, context.Canceled)
	}
}

func TestPaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		report := paced(time.Second, func(context.Context) error { calls++; return nil })
		for range 30 {
			if err := report(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if calls != 3 {
			t.Errorf("30 reports in 3 s made %d calls, want 3", calls)
		}
	})
}

func TestReclaimer_WaitsAndTakesABurstTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &Reclaimer{Log: quiet, Delay: time.Minute}
		start := time.Now()
		for range 50 {
			r.Later("v")
			time.Sleep(time.Second)
		}
		if ids := r.take(start.Add(59 * time.Second)); len(ids) != 0 {
			t.Errorf("reclaim is due early: %v", ids)
		}
		if ids := r.take(start.Add(time.Minute)); len(ids) != 1 {
			t.Errorf("due after a minute = %v, want one vault", ids)
		}
		if ids := r.take(start.Add(time.Hour)); len(ids) != 0 {
			t.Errorf("due once more: %v", ids)
		}
	})
}

func TestReclaimer_RemembersWhenMoreIsFree(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &Reclaimer{Log: quiet, Delay: time.Minute}
		due := func() map[string]bool {
			r.ripen()
			return r.take(time.Now())
		}
		r.remember("v", time.Now().Add(48*time.Hour))
		r.remember("settled", time.Now().Add(time.Hour))
		r.remember("settled", time.Time{})
		time.Sleep(47 * time.Hour)
		if ids := due(); len(ids) != 0 {
			t.Errorf("due before the time: %v", ids)
		}
		time.Sleep(time.Hour)
		if ids := due(); len(ids) != 1 || !ids["v"] {
			t.Errorf("due at the time = %v, want v", ids)
		}
		if ids := due(); len(ids) != 0 {
			t.Errorf("due once more: %v", ids)
		}
	})
}

func TestFreeName(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 67_800_000, time.FixedZone("", 3600))
	got, err := freeName(t.TempDir(), now)
	if want := "aws-backup-restore_2026-01-02T02-04-05-067Z"; err != nil || got != want {
		t.Errorf("freeName = %q, %v, want %q", got, err, want)
	}
}
