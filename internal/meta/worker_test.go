package meta_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/riverqueue/river"

	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
)

type task struct {
	N int `json:"n"`
}

func (task) Kind() string { return "task" }

type worker struct {
	river.WorkerDefaults[task]
	work func(context.Context, int) error
}

func (w worker) Work(ctx context.Context, j *river.Job[task]) error { return w.work(ctx, j.Args.N) }

func startWorkers(t *testing.T, db *meta.DB, work func(context.Context, int) error) *meta.Runner {
	t.Helper()
	w := river.NewWorkers()
	river.AddWorker(w, worker{work: work})
	r, err := db.StartWorkers(t.Context(), w, meta.WorkerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func stop(t *testing.T, r *meta.Runner) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := r.Stop(ctx); err != nil {
		t.Error(err)
	}
}

func enqueue(db *meta.DB, n int, end error) error {
	return db.Update(context.Background(), func(ctx context.Context, tx *meta.Tx) error {
		return errors.Join(tx.Enqueue(ctx, task{n}, nil), end)
	})
}

func receive(t *testing.T, c <-chan int) int {
	t.Helper()
	select {
	case n := <-c:
		return n
	case <-time.After(30 * time.Second):
		t.Fatal("no job within 30 s")
		return 0
	}
}

func TestEnqueue_RunsAfterCommitAndNeverAfterRollback(t *testing.T) {
	t.Parallel()
	metatest.Run(t, func(t *testing.T, open func(*testing.T, ...meta.MigrationSet) *meta.DB) {
		db := open(t)
		ran := make(chan int, 10)
		r := startWorkers(t, db, func(_ context.Context, n int) error { ran <- n; return nil })
		defer stop(t, r)
		broken := errors.New("broken")
		if err := enqueue(db, 1, broken); !errors.Is(err, broken) {
			t.Fatal(err)
		}
		var took []time.Duration
		for n := 2; n < 7; n++ {
			start := time.Now()
			if err := enqueue(db, n, nil); err != nil {
				t.Fatal(err)
			}
			if got := receive(t, ran); got != n {
				t.Errorf("job %d ran, want %d", got, n)
			}
			took = append(took, time.Since(start).Round(time.Millisecond))
		}
		t.Logf("from begin to start: %v", took)
	})
}

func TestEnqueue_BurstFromManyTransactions(t *testing.T) {
	t.Parallel()
	metatest.Run(t, func(t *testing.T, open func(*testing.T, ...meta.MigrationSet) *meta.DB) {
		db := open(t)
		const jobs = 60
		ran := make(chan int, jobs)
		r := startWorkers(t, db, func(_ context.Context, n int) error { ran <- n; return nil })
		defer stop(t, r)
		start := time.Now()
		var wg sync.WaitGroup
		for k := range 4 {
			wg.Go(func() {
				for n := k; n < jobs; n += 4 {
					if err := enqueue(db, n, nil); err != nil {
						t.Error(err)
					}
				}
			})
		}
		seen := map[int]bool{}
		for range jobs {
			seen[receive(t, ran)] = true
		}
		wg.Wait()
		t.Logf("%d jobs in %v", jobs, time.Since(start).Round(time.Millisecond))
		if len(seen) != jobs {
			t.Errorf("%d different jobs ran, want %d", len(seen), jobs)
		}
	})
}

func TestWorker_UpdatesTheDatabase(t *testing.T) {
	t.Parallel()
	metatest.Run(t, func(t *testing.T, open func(*testing.T, ...meta.MigrationSet) *meta.DB) {
		db := open(t, counters())
		ran := make(chan int, 1)
		r := startWorkers(t, db, func(ctx context.Context, n int) error {
			err := db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error { return add(ctx, tx, "a") })
			ran <- n
			return err
		})
		defer stop(t, r)
		if err := enqueue(db, 1, nil); err != nil {
			t.Fatal(err)
		}
		receive(t, ran)
		if n := read(t, db, "a"); n != 1 {
			t.Errorf("n = %d, want 1", n)
		}
	})
}

func TestStop_CancelsJobsWhenTheContextEnds(t *testing.T) {
	t.Parallel()
	metatest.Run(t, func(t *testing.T, open func(*testing.T, ...meta.MigrationSet) *meta.DB) {
		db := open(t)
		started := make(chan int)
		r := startWorkers(t, db, func(ctx context.Context, n int) error {
			started <- n
			<-ctx.Done()
			return ctx.Err()
		})
		if err := enqueue(db, 1, nil); err != nil {
			t.Fatal(err)
		}
		receive(t, started)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := r.Stop(ctx); err != nil {
			t.Errorf("Stop = %v", err)
		}
	})
}

// Start and end of a server write nothing, not even who leads, so that nothing waits for a disk.
func TestStartWorkers_WritesNothingWithoutJobs(t *testing.T) {
	t.Parallel()
	url := metatest.SQLite(t)
	db := metatest.Open(t, meta.Options{URL: url})
	written := func() int64 {
		t.Helper()
		info, err := os.Stat(strings.TrimPrefix(url, "sqlite:") + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	if err := enqueue(db, 1, nil); err != nil { // the first transaction begins the file
		t.Fatal(err)
	}
	if err := db.Update(t.Context(), func(ctx context.Context, tx *meta.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM river_job")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	before := written()
	r := startWorkers(t, db, func(context.Context, int) error { return nil })
	stop(t, r)
	if after := written(); after != before {
		t.Errorf("%d bytes written, want none", after-before)
	}
}

// A job for later is found by whoever leads, which a process that is alone does without a record.
func TestStartWorkers_JobForLater(t *testing.T) {
	t.Parallel()
	db := metatest.Open(t, meta.Options{URL: metatest.SQLite(t)})
	ran := make(chan int, 1)
	r := startWorkers(t, db, func(_ context.Context, n int) error { ran <- n; return nil })
	defer stop(t, r)
	err := db.Update(t.Context(), func(ctx context.Context, tx *meta.Tx) error {
		return tx.Enqueue(ctx, task{1}, &river.InsertOpts{ScheduledAt: time.Now().Add(time.Second)})
	})
	if err != nil {
		t.Fatal(err)
	}
	receive(t, ran)
	var leaders int
	err = db.View(t.Context(), func(ctx context.Context, tx *meta.Tx) error {
		return tx.QueryRow(ctx, "SELECT count(*) FROM river_leader").Scan(&leaders)
	})
	if err != nil || leaders > 0 {
		t.Errorf("%d leaders on record, %v, want none", leaders, err)
	}
}

func TestStartWorkers_TakesUpJobsOfADeadProcess(t *testing.T) {
	t.Parallel()
	db := metatest.Open(t, meta.Options{URL: metatest.SQLite(t)})
	if err := enqueue(db, 1, nil); err != nil {
		t.Fatal(err)
	}
	err := db.Update(t.Context(), func(ctx context.Context, tx *meta.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE river_job SET state = 'running', attempt = 25, attempted_at = created_at")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan int, 1)
	r := startWorkers(t, db, func(_ context.Context, n int) error { ran <- n; return nil })
	defer stop(t, r)
	receive(t, ran)
}

func TestStartWorkers_OtherProcessEnqueues(t *testing.T) {
	t.Parallel()
	metatest.Each(t, func(t *testing.T, create func(*testing.T) string) {
		url := create(t)
		db := metatest.Open(t, meta.Options{URL: url})
		other := metatest.Open(t, meta.Options{URL: url})
		ran := make(chan int, 1)
		r := startWorkers(t, db, func(_ context.Context, n int) error { ran <- n; return nil })
		defer stop(t, r)
		for n := range 3 {
			start := time.Now()
			if err := enqueue(other, n, nil); err != nil {
				t.Fatal(err)
			}
			receive(t, ran)
			t.Logf("from begin to start elsewhere: %v", time.Since(start).Round(time.Millisecond))
		}
	})
}
