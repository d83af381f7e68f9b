// Package meta keeps Lockfast's own records in SQL: SQLite in one file, or
// PostgreSQL 15 and later, with one SQL text for both.
//
// [DB] runs transactions: [DB.Update] writes, [DB.View] reads a snapshot. Inside
// them a [Tx] takes SQL with '?' placeholders. A [MigrationSet] holds the tables
// of one package; [DB.Migrate] brings a database up to date. Background work is
// enqueued in the transaction that changes the row it belongs to ([Tx.Enqueue])
// and worked by River ([DB.StartWorkers]).
//
// Portable SQL. Types are TEXT, BIGINT, BOOLEAN and BLOB, in upper case.
// Times are BIGINT, microseconds since 1970 in UTC ([Micros], [FromMicros]). TEXT
// compares by bytes on both databases. JSON is TEXT. ON CONFLICT and RETURNING
// work on both, and so do VALUES lists with their columns column1, column2 ... if
// the first row casts its placeholders. After a failed statement the transaction is unusable on
// PostgreSQL, so return its error instead of going on.
//
// The package knows nothing of the tables of others: each table belongs to one
// package, which alone reads and writes it.
package meta

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/riverqueue/river"
)

// Points of a write transaction at which [Options.Hook] is called.
const (
	BeforeBegin  = "before begin"
	BeforeCommit = "before commit"
	AfterCommit  = "after commit"
)

// Options says which database to open.
type Options struct {
	// URL is "sqlite:PATH", "sqlite::memory:" or "postgres://...". A password
	// in it appears neither in errors nor in logs.
	URL string
	// Log receives what River has to say; nil discards it.
	Log *slog.Logger
	// Full, if not nil, is called when [Open] or a write transaction finds the
	// disk of a SQLite file full. If it returns true it has made some room, and
	// they try again. It may be called concurrently.
	Full func() bool
	// Hook, for tests only, is called at every boundary of every write
	// transaction. An error ends [DB.Update] there, as a crash would: at
	// BeforeBegin and BeforeCommit nothing is kept, at AfterCommit the
	// transaction is durable but the caller is told of a failure.
	Hook func(point string) error
}

// DB is an open database. Its methods may be called concurrently.
type DB struct {
	dialect dialect
	// write is the only handle that writes; on SQLite it has one connection,
	// which River shares, so writers queue up in the process.
	write *sql.DB
	// read is a pool for snapshots. It is the same handle as write where a
	// second one would not see the data (SQLite in memory) or serves nothing.
	read    *sql.DB
	name    string
	log     *slog.Logger
	hook    func(point string) error
	full    func() bool            // may be nil
	client  *river.Client[*sql.Tx] // only inserts
	wake    *wakeup
	running atomic.Int32 // runners started and not stopped
}

// ErrNested is returned for a transaction begun inside another one's function.
// On SQLite it would wait for itself.
var ErrNested = errors.New("meta: a transaction inside a transaction")

// ErrVersion is wrapped by the error of [Open] for a database server that is
// too old.
var ErrVersion = errors.New("database server is too old")

// Open opens a database, which [DB.Migrate] must bring up to date before use. A
// missing SQLite file is created; its folder must exist.
func Open(ctx context.Context, o Options) (*DB, error) {
	db := &DB{hook: o.Hook, full: o.Full, log: o.Log, wake: &wakeup{}}
	if db.log == nil {
		db.log = slog.New(slog.DiscardHandler)
	}
	var err error
	switch scheme, rest, _ := strings.Cut(o.URL, ":"); scheme {
	case "sqlite":
		err = db.openSQLite(ctx, rest)
	case "postgres", "postgresql":
		err = db.openPostgres(ctx, o.URL)
	default:
		err = errors.New(`database URL: want "sqlite:PATH" or "postgres://..."`)
	}
	if err != nil {
		return nil, err
	}
	if db.client, err = db.newInserter(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// Close closes the database. Runners must have been stopped.
func (db *DB) Close() error {
	err := db.read.Close()
	if db.write != db.read {
		err = errors.Join(db.write.Close(), err)
	}
	return err
}

// String names the database without its password.
func (db *DB) String() string { return db.name }

// Ping reports whether the database answers.
func (db *DB) Ping(ctx context.Context) error {
	if err := db.read.PingContext(ctx); err != nil {
		return fmt.Errorf("database %s: %w", db, err)
	}
	return nil
}

// IsDuplicate reports whether err comes from a statement that broke a primary
// key or a unique index.
func (db *DB) IsDuplicate(err error) bool { return db.dialect.duplicate(err) }

// Micros is t as it is stored: microseconds since 1970, UTC.
func Micros(t time.Time) int64 { return t.UnixMicro() }

// FromMicros is the inverse of [Micros].
func FromMicros(us int64) time.Time { return time.UnixMicro(us).UTC() }
