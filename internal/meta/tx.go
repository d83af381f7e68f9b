package meta

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/riverqueue/river"
)

const (
	maxTries = 12
	// A writer that waits longer than this for SQLite's single write
	// connection is most likely waiting for itself.
	writeWait = 30 * time.Second
)

// Tx is a transaction on either database. It is valid only inside the function
// it was given to, and must not be used by several goroutines at once.
type Tx struct {
	tx     *sql.Tx
	db     *DB
	queues []string // that got a job, each once
}

type txKey struct{}

// Update runs fn in a write transaction and commits it when fn returns nil. It
// is durable on return. Any error or panic of fn rolls it back.
//
// When the database asks for it (serialisation failure, deadlock, busy), fn is
// run again from the start in a new transaction, a bounded number of times: fn
// must have no effect outside the transaction, and set rather than add to
// variables outside it.
//
// SQLite runs one write transaction at a time. PostgreSQL runs them side by
// side, read committed: lock what must not change by [Tx.ForUpdate].
func (db *DB) Update(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	try := func() error { return db.update(ctx, fn) }
	err := db.retry(ctx, try)
	if err != nil && db.full != nil && db.dialect.full(err) && db.full() {
		err = db.retry(ctx, try)
	}
	return err
}

// View runs fn in a transaction that reads one snapshot of the database and
// must not write.
func (db *DB) View(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	return db.retry(ctx, func() error {
		o := &sql.TxOptions{ReadOnly: true, Isolation: db.dialect.snapshot()}
		return db.run(ctx, db.read, o, fn, func(tx *Tx) error { return tx.tx.Rollback() })
	})
}

func (db *DB) update(ctx context.Context, fn func(context.Context, *Tx) error) error {
	if err := db.at(BeforeBegin); err != nil {
		return err
	}
	var queues []string
	err := db.run(ctx, db.write, nil, fn, func(tx *Tx) error {
		if err := db.at(BeforeCommit); err != nil {
			return err
		}
		if err := tx.announce(ctx); err != nil {
			return err
		}
		if err := tx.tx.Commit(); err != nil {
			return fmt.Errorf("commit to %s: %w", db, err)
		}
		queues = tx.queues
		return nil
	})
	if err != nil {
		return err
	}
	if err := db.at(AfterCommit); err != nil {
		return err
	}
	db.wake.wake(queues)
	return nil
}

// run begins a transaction, runs fn, and ends it by end, or by rolling back.
func (db *DB) run(ctx context.Context, on *sql.DB, o *sql.TxOptions, fn func(context.Context, *Tx) error, end func(*Tx) error) error {
	if ctx.Value(txKey{}) == db {
		return ErrNested
	}
	conn, err := connect(ctx, on)
	if err != nil {
		return fmt.Errorf("%s: %w", db, err)
	}
	defer conn.Close()
	t, err := conn.BeginTx(ctx, o)
	if err != nil {
		return fmt.Errorf("%s: %w", db, &beginError{err})
	}
	defer t.Rollback() // does nothing once ended
	tx := &Tx{tx: t, db: db}
	if err := fn(context.WithValue(ctx, txKey{}, db), tx); err != nil {
		return err
	}
	return end(tx)
}

// beginError is a failure before a transaction had any effect.
type beginError struct{ err error }

func (e *beginError) Error() string { return "begin transaction: " + e.err.Error() }
func (e *beginError) Unwrap() error { return e.err }

// ErrNoConnection is returned when all connections stayed busy for half a
// minute; on SQLite, most likely because a transaction waits for another that it
// was begun in.
var ErrNoConnection = errors.New("no free database connection for " + writeWait.String())

func connect(ctx context.Context, on *sql.DB) (*sql.Conn, error) {
	wait, cancel := context.WithTimeoutCause(ctx, writeWait, ErrNoConnection)
	defer cancel()
	conn, err := on.Conn(wait)
	if wait.Err() != nil {
		return nil, errors.Join(context.Cause(wait), closeConn(conn))
	}
	if err != nil {
		return nil, &beginError{err}
	}
	return conn, nil
}

func closeConn(conn *sql.Conn) error {
	if conn == nil {
		return nil
	}
	return conn.Close()
}

// retry runs try until it succeeds or fails for good.
func (db *DB) retry(ctx context.Context, try func() error) error {
	for n := 1; ; n++ {
		err := try()
		if err == nil || n == maxTries || !db.dialect.retryable(err) {
			return db.explain(err)
		}
		pause := time.Millisecond << min(n, 8)
		timer := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return db.explain(err)
		}
	}
}

func (db *DB) at(point string) error {
	if db.hook == nil {
		return nil
	}
	return db.hook(point)
}

// Exec runs a statement that returns no rows.
func (tx *Tx) Exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return tx.tx.ExecContext(ctx, tx.db.dialect.query(query), args...)
}

// Query runs a statement that returns rows. Close them before the next
// statement of the transaction.
func (tx *Tx) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return tx.tx.QueryContext(ctx, tx.db.dialect.query(query), args...)
}

// QueryRow runs a statement of which the first row is wanted; its Scan returns
// [sql.ErrNoRows] when there is none.
func (tx *Tx) QueryRow(ctx context.Context, query string, args ...any) *sql.Row {
	return tx.tx.QueryRowContext(ctx, tx.db.dialect.query(query), args...)
}

// ForUpdate ends a SELECT whose rows must not change until the transaction
// ends: " FOR UPDATE" or, where writers are alone anyway, "".
func (tx *Tx) ForUpdate() string { return tx.db.dialect.forUpdate() }

// Now is the database's clock, which all nodes share, for leases. Policy has a
// clock of its own.
func (tx *Tx) Now(ctx context.Context) (time.Time, error) { return tx.db.dialect.now(ctx, tx.tx) }

// Enqueue inserts a job, which exists if the transaction commits and is then
// started at once by a free worker.
func (tx *Tx) Enqueue(ctx context.Context, args river.JobArgs, o *river.InsertOpts) error {
	r, err := tx.db.client.InsertTx(ctx, tx.tx, args, o)
	if err != nil {
		return fmt.Errorf("enqueue %s: %w", args.Kind(), err)
	}
	if !slices.Contains(tx.queues, r.Job.Queue) {
		tx.queues = append(tx.queues, r.Job.Queue)
	}
	return nil
}
