package meta

import (
	"context"
	"database/sql"
	"time"

	"github.com/riverqueue/river/riverdriver"
)

// dialect holds what differs between the databases.
type dialect interface {
	// query turns portable SQL into the database's own.
	query(text string) string
	// schema does the same for a migration, including its column types.
	schema(text string) string
	forUpdate() string
	// snapshot is the isolation of a View.
	snapshot() sql.IsolationLevel
	now(ctx context.Context, tx *sql.Tx) (time.Time, error)

	// retryable errors say that the transaction had no effect and may well
	// succeed when run again.
	retryable(err error) bool
	duplicate(err error) bool
	// lost errors say that the database cannot be reached or used.
	lost(err error) bool
	// full errors may mean that the disk is full, here and not on a server.
	full(err error) bool
	missingTable(err error) bool

	// upgrade creates River's tables and runs apply in a transaction, alone
	// among all processes.
	upgrade(ctx context.Context, db *DB, apply func(ctx context.Context, tx *sql.Tx) error) error

	// driver is River's driver for inserting. worker is its driver for working,
	// and a function that frees what the driver holds.
	driver(db *DB) riverdriver.Driver[*sql.Tx]
	worker(ctx context.Context, db *DB) (riverdriver.Driver[*sql.Tx], func(), error)
	// announce is SQL that sends its parameter to the workers of all processes
	// on commit, or "" when workers are in this process only.
	announce() string
	// orphans is SQL that makes jobs of a process that died available again
	// when no other process can be running them, or "".
	orphans() string
}
