package meta

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
	"modernc.org/sqlite"
)

// Result codes of SQLite, https://www.sqlite.org/rescode.html.
const (
	sqliteBusy       = 5
	sqliteLocked     = 6
	sqliteReadOnly   = 8
	sqliteIO         = 10
	sqliteCorrupt    = 11
	sqliteFull       = 13
	sqliteCantOpen   = 14
	sqliteNotADB     = 26
	sqlitePrimaryKey = 1555
	sqliteUnique     = 2067
)

// IsDamaged reports whether err says that the file of an embedded database is no whole database any more.
func IsDamaged(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && (e.Code()&0xff == sqliteCorrupt || e.Code()&0xff == sqliteNotADB)
}

type sqliteDialect struct{}

// openSQLite opens a file in WAL mode: one connection that writes, and a pool
// of readers. In memory there is a single connection, which is the database.
func (db *DB) openSQLite(ctx context.Context, path string) error {
	db.dialect = sqliteDialect{}
	db.name = "sqlite:" + path
	switch path {
	case "":
		return errors.New("database URL: sqlite: needs a path")
	case ":memory:":
		return db.openSQLiteMemory(ctx)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("database %s: %w", db, err)
	}
	if err := createPrivate(abs); err != nil {
		return fmt.Errorf("open database %s: %w", db, err)
	}
	file := "file:" + (&url.URL{Path: abs}).EscapedPath() + "?" + sqlitePragmas
	if db.write, err = sql.Open("sqlite", file+"&_txlock=immediate"); err != nil {
		return fmt.Errorf("database %s: %w", db, err)
	}
	keepOpen(db.write, 1)
	if err := db.connect(ctx); err != nil {
		db.write.Close()
		return fmt.Errorf("open database %s: %w", db, err)
	}
	if db.read, err = sql.Open("sqlite", file+"&_pragma=query_only(1)"); err != nil {
		db.write.Close()
		return fmt.Errorf("database %s: %w", db, err)
	}
	keepOpen(db.read, max(4, 2*runtime.GOMAXPROCS(0)))
	return nil
}

// connect opens the connection that writes. That makes files beside the database, for which a full disk has no room,
// and puts a new database into WAL mode, at which SQLite waits for no other process that does the same: it is busy at once.
func (db *DB) connect(ctx context.Context) error {
	try := func() error { return db.write.PingContext(ctx) }
	err := db.retry(ctx, try)
	if err != nil && db.dialect.full(err) && db.full != nil && db.full() {
		err = db.retry(ctx, try)
	}
	if err != nil && db.dialect.full(err) {
		return fmt.Errorf("is its disk full?: %w", err)
	}
	return err
}

// createPrivate makes a missing file with a mode that SQLite also gives to the
// files beside it.
func createPrivate(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

const sqlitePragmas = "_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)" +
	"&_pragma=synchronous(FULL)&_pragma=journal_size_limit(67108864)&_pragma=foreign_keys(1)&_pragma=temp_store(MEMORY)&_dqs=0"

func (db *DB) openSQLiteMemory(ctx context.Context) (err error) {
	db.write, err = sql.Open("sqlite", "file::memory:?_pragma=foreign_keys(1)&_dqs=0&_txlock=immediate")
	if err != nil {
		return fmt.Errorf("database %s: %w", db, err)
	}
	keepOpen(db.write, 1)
	db.read = db.write
	return db.write.PingContext(ctx)
}

// keepOpen fixes the size of a pool.
func keepOpen(db *sql.DB, n int) {
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	db.SetConnMaxLifetime(0)
	db.SetConnMaxIdleTime(0)
}

func (sqliteDialect) query(text string) string     { return text }
func (sqliteDialect) schema(text string) string    { return text }
func (sqliteDialect) forUpdate() string            { return "" }
func (sqliteDialect) snapshot() sql.IsolationLevel { return sql.LevelDefault }

func (sqliteDialect) now(context.Context, *sql.Tx) (time.Time, error) {
	return time.Now().UTC().Truncate(time.Microsecond), nil
}

func (sqliteDialect) retryable(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && (e.Code()&0xff == sqliteBusy || e.Code()&0xff == sqliteLocked)
}

// lost counts in a database that is busy for long, and a disk that is full or
// answers no more.
func (sqliteDialect) lost(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return false
	}
	switch e.Code() & 0xff {
	case sqliteBusy, sqliteLocked, sqliteReadOnly, sqliteIO, sqliteFull, sqliteCantOpen:
		return true
	}
	return false
}

func (sqliteDialect) full(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && (e.Code()&0xff == sqliteFull || e.Code()&0xff == sqliteIO) // the files beside it cannot grow: an I/O error
}

func (sqliteDialect) duplicate(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && (e.Code() == sqlitePrimaryKey || e.Code() == sqliteUnique)
}

// missingTable goes by the text because SQLite has no code for it.
func (sqliteDialect) missingTable(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && strings.Contains(e.Error(), "no such table")
}

func (d sqliteDialect) upgrade(ctx context.Context, db *DB, apply func(context.Context, *sql.Tx) error) error {
	m, err := rivermigrate.New(d.driver(db), &rivermigrate.Config{Logger: db.quietLog()})
	if err != nil {
		return err
	}
	tx, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin transaction on %s: %w", db, err)
	}
	defer tx.Rollback()
	//nolint:staticcheck // Deprecated for the sake of PostgreSQL's enums; here one transaction is atomic and quick.
	if _, err := m.MigrateTx(ctx, tx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("create job tables: %w", err)
	}
	if err := apply(ctx, tx); err != nil {
		return err
	}
	return tx.Commit()
}

func (sqliteDialect) driver(db *DB) riverdriver.Driver[*sql.Tx] {
	return localDriver{Driver: riversqlite.New(db.write), db: db}
}

func (d sqliteDialect) worker(_ context.Context, db *DB) (riverdriver.Driver[*sql.Tx], func(), error) {
	return d.driver(db), func() {}, nil
}

func (sqliteDialect) announce() string { return "" }

// orphans relies on a SQLite database having one server only.
func (sqliteDialect) orphans() string {
	return "UPDATE river_job SET state = 'available' WHERE state = 'running'"
}
