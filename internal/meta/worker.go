package meta

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/riverqueue/river"
)

const (
	// A fetch follows a wake-up at once, but not another fetch sooner than this.
	fetchCooldown = 5 * time.Millisecond
	pollInterval  = time.Second
	// stopGrace is how long cancelled jobs may take to return.
	stopGrace = 10 * time.Second
	// keepCompleted is how long River keeps the rows of jobs that went well.
	keepCompleted = time.Hour
)

// WorkerOptions says how jobs are worked. The zero value works the default
// queue, four jobs at a time.
type WorkerOptions struct {
	// Queues maps names of queues to the number of jobs worked at a time.
	Queues map[string]int
	// PollInterval is how often to look for jobs that no wake-up announced:
	// scheduled ones, and those of other processes when the announcement was
	// lost. The default is a second.
	PollInterval time.Duration
	// JobTimeout ends the context of a job; by default there is no such limit.
	// A worker may set its own by its Timeout method. River takes a job away
	// from a node that died only when the job has a limit, an hour after it, so
	// work without one needs a lease in a table of its own. (On SQLite, jobs
	// that were running when the process died are available again at start.)
	JobTimeout time.Duration
}

// Runner works jobs until it is stopped.
type Runner struct {
	db     *DB
	client *river.Client[*sql.Tx]
	free   func()
}

// StartWorkers starts working jobs by workers. A job starts within milliseconds
// of the commit that enqueued it, in this process and, on PostgreSQL, in others.
// Cancelling ctx cancels the running jobs at once; [Runner.Stop] must be called
// in any case.
func (db *DB) StartWorkers(ctx context.Context, workers *river.Workers, o WorkerOptions) (*Runner, error) {
	if db.running.Add(1) == 1 {
		if err := db.adoptOrphans(ctx); err != nil {
			db.running.Add(-1)
			return nil, err
		}
	}
	driver, free, err := db.dialect.worker(ctx, db)
	if err != nil {
		db.running.Add(-1)
		return nil, err
	}
	r := &Runner{db: db, free: free}
	if r.client, err = river.NewClient(driver, o.config(workers, db.quietLog())); err == nil {
		err = r.client.Start(ctx)
	}
	if err != nil {
		free()
		db.running.Add(-1)
		return nil, fmt.Errorf("start workers: %w", err)
	}
	return r, nil
}

func (o WorkerOptions) config(workers *river.Workers, log *slog.Logger) *river.Config {
	c := &river.Config{
		Workers:                     workers,
		Queues:                      map[string]river.QueueConfig{},
		FetchCooldown:               fetchCooldown,
		FetchPollInterval:           cmp.Or(o.PollInterval, pollInterval),
		JobTimeout:                  cmp.Or(o.JobTimeout, -1),
		CompletedJobRetentionPeriod: keepCompleted,
		Logger:                      log,
	}
	for name, n := range o.Queues {
		c.Queues[name] = river.QueueConfig{MaxWorkers: n}
	}
	if len(c.Queues) == 0 {
		c.Queues[river.QueueDefault] = river.QueueConfig{MaxWorkers: 4}
	}
	return c
}

func (db *DB) adoptOrphans(ctx context.Context) error {
	text := db.dialect.orphans()
	if text == "" {
		return nil
	}
	return db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		_, err := tx.Exec(ctx, text)
		return err
	})
}

// Stop takes no new jobs and lets running ones finish until ctx is done; then
// it cancels them and waits ten seconds for them to return. Jobs that did not
// finish are worked again later.
func (r *Runner) Stop(ctx context.Context) error {
	err := r.client.Stop(ctx)
	if err != nil {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
		defer cancel()
		err = r.client.StopAndCancel(grace)
	}
	r.free()
	r.db.running.Add(-1)
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("stop workers: a job does not return")
	}
	return err
}

// newInserter makes a client that only inserts, whatever workers there are.
func (db *DB) newInserter() (*river.Client[*sql.Tx], error) {
	c, err := river.NewClient(db.dialect.driver(db), &river.Config{Logger: db.quietLog()})
	if err != nil {
		return nil, fmt.Errorf("open job queue: %w", err)
	}
	return c, nil
}

// announce tells workers of the transaction's jobs, once per queue.
func (tx *Tx) announce(ctx context.Context) error {
	text := tx.db.dialect.announce()
	if text == "" {
		return nil
	}
	for _, q := range tx.queues {
		if _, err := tx.Exec(ctx, text, insertPayload(q)); err != nil {
			return fmt.Errorf("announce jobs: %w", err)
		}
	}
	return nil
}

// quietLog keeps River's everyday news out of the log.
func (db *DB) quietLog() *slog.Logger {
	return slog.New(warnings{db.log.Handler()})
}

type warnings struct{ slog.Handler }

func (w warnings) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && w.Handler.Enabled(ctx, l)
}
func (w warnings) WithAttrs(a []slog.Attr) slog.Handler { return warnings{w.Handler.WithAttrs(a)} }
func (w warnings) WithGroup(name string) slog.Handler   { return warnings{w.Handler.WithGroup(name)} }
