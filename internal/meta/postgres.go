package meta

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/rivermigrate"
)

const (
	postgresOldest = 15
	postgresPool   = 16
	// Key of the advisory lock under which migrations run: "lockfast" in ASCII.
	postgresMigrationLock = 0x6c6f636b66617374
)

// SQLSTATE codes, https://www.postgresql.org/docs/15/errcodes-appendix.html.
const (
	postgresSerialization = "40001"
	postgresDeadlock      = "40P01"
	postgresLockTimeout   = "55P03"
	postgresUnique        = "23505"
	postgresNoTable       = "42P01"
)

// postgresLost are the beginnings of codes: of a connection that broke, of no
// resources, of an operator who intervened.
func postgresLost() []string { return []string{"080", "531", "532", "533", "57P"} }

// postgresDialect keeps the configuration for the listener's connection.
type postgresDialect struct{ config *pgx.ConnConfig }

func (db *DB) openPostgres(ctx context.Context, text string) error {
	config, err := pgx.ParseConfig(text)
	if err != nil {
		// The cause may quote the text, password included.
		return errors.New("database URL: not a valid PostgreSQL URL (postgres://user:password@host:port/database)")
	}
	// A plan made for any list of a thousand ids compares each row with all of
	// them; one made for the list at hand uses a hash table.
	for name, value := range map[string]string{"application_name": "lockfast", "plan_cache_mode": "force_custom_plan"} {
		if config.RuntimeParams[name] == "" {
			config.RuntimeParams[name] = value
		}
	}
	db.name = postgresName(config)
	db.dialect = postgresDialect{config: config}
	db.write = stdlib.OpenDB(*config)
	keepOpen(db.write, postgresPool)
	db.read = db.write
	if err := db.checkPostgres(ctx); err != nil {
		db.write.Close()
		return fmt.Errorf("open database %s: %w", db, hide(err, config.Password))
	}
	return nil
}

func postgresName(c *pgx.ConnConfig) string {
	u := url.URL{Scheme: "postgres", Host: net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port))), Path: "/" + c.Database}
	if strings.HasPrefix(c.Host, "/") {
		u.Host = c.Host
	}
	return u.Scheme + "://" + u.Host + u.Path
}

// hide takes a secret out of an error's text; the error then only keeps its text.
func hide(err error, secret string) error {
	if secret == "" || !strings.Contains(err.Error(), secret) {
		return err
	}
	return errors.New(strings.ReplaceAll(err.Error(), secret, "xxxxx"))
}

func (db *DB) checkPostgres(ctx context.Context) error {
	var version int
	if err := db.write.QueryRowContext(ctx, "SELECT current_setting('server_version_num')::int").Scan(&version); err != nil {
		return err
	}
	if version/10000 < postgresOldest {
		return fmt.Errorf("%w: PostgreSQL %d, want %d or later", ErrVersion, version/10000, postgresOldest)
	}
	return nil
}

func (postgresDialect) query(text string) string     { return postgresQuery(text) }
func (postgresDialect) schema(text string) string    { return postgresTypes(text) }
func (postgresDialect) forUpdate() string            { return " FOR UPDATE" }
func (postgresDialect) snapshot() sql.IsolationLevel { return sql.LevelRepeatableRead }

func (postgresDialect) now(ctx context.Context, tx *sql.Tx) (time.Time, error) {
	var us int64
	err := tx.QueryRowContext(ctx, "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint").Scan(&us)
	return FromMicros(us), err
}

// retryable counts a lost connection in if the transaction had not begun.
func (postgresDialect) retryable(err error) bool {
	if _, ok := errors.AsType[*beginError](err); ok {
		return true
	}
	return hasCode(err, postgresSerialization, postgresDeadlock, postgresLockTimeout)
}

// lost counts in a server that stops, starts, or has no room.
func (postgresDialect) lost(err error) bool {
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && len(e.Code) == 5 && slices.Contains(postgresLost(), e.Code[:3])
}

func (postgresDialect) duplicate(err error) bool    { return hasCode(err, postgresUnique) }
func (postgresDialect) missingTable(err error) bool { return hasCode(err, postgresNoTable) }

func hasCode(err error, codes ...string) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return false
	}
	for _, c := range codes {
		if e.Code == c {
			return true
		}
	}
	return false
}

// upgrade holds an advisory lock on a connection of its own, since River's
// migrations need several transactions.
func (postgresDialect) full(error) bool { return false }

func (d postgresDialect) upgrade(ctx context.Context, db *DB, apply func(context.Context, *sql.Tx) error) error {
	m, err := rivermigrate.New(d.driver(db), &rivermigrate.Config{Logger: db.quietLog()})
	if err != nil {
		return err
	}
	lock, err := db.write.Conn(ctx)
	if err != nil {
		return err
	}
	defer lock.Close()
	if _, err := lock.ExecContext(ctx, "SELECT pg_advisory_lock($1)", int64(postgresMigrationLock)); err != nil {
		return fmt.Errorf("lock schema: %w", err)
	}
	defer func() { // if it fails, the lock goes with the connection
		_, _ = lock.ExecContext(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", int64(postgresMigrationLock))
	}()
	if _, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("create job tables: %w", err)
	}
	tx, err := lock.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := apply(ctx, tx); err != nil {
		return err
	}
	return tx.Commit()
}

func (postgresDialect) driver(db *DB) riverdriver.Driver[*sql.Tx] {
	return silentDriver{riverdatabasesql.New(db.write)}
}

// worker adds a connection that listens.
func (d postgresDialect) worker(ctx context.Context, db *DB) (riverdriver.Driver[*sql.Tx], func(), error) {
	config, err := pgxpool.ParseConfig(d.config.ConnString())
	if err != nil {
		return nil, nil, errors.New("database URL: not valid for a listener")
	}
	config.ConnConfig = d.config.Copy()
	config.MaxConns, config.MinConns = 1, 0
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, nil, hide(err, d.config.Password)
	}
	return riverdatabasesql.NewWithPgxListener(db.write, pool), pool.Close, nil
}

// announce runs at the end of each transaction that enqueued. River's own
// notification is held back when another transaction sent one a moment ago,
// even if that one commits earlier, and the job would wait for the next poll.
func (postgresDialect) announce() string {
	return "SELECT pg_notify(coalesce(current_schema() || '.', '') || '" + insertTopic + "', ?)"
}

func (postgresDialect) orphans() string { return "" }
