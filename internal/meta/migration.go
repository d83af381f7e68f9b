package meta

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/riverqueue/river/rivermigrate"
)

// MigrationSet holds the migrations of one package: files NNNN_name.sql of
// portable SQL, at any depth of Files. Numbers are unique among all sets; each
// package begins at a hundred of its own. A migration that was released is never
// altered; later ones change what it made.
type MigrationSet struct {
	Package string
	Files   fs.FS
}

// Sentinel errors of [DB.Migrate].
var (
	// ErrNewer: the database was written by a newer version of the program.
	ErrNewer = errors.New("database is from a newer version")
	// ErrAltered: a migration is not the one that was applied.
	ErrAltered = errors.New("migration was altered after it was applied")
)

// migration is one file, or, under riverNumber, River's schema as a whole, whose
// checksum is its version.
type migration struct {
	number   int64
	name     string
	checksum string
	text     string
}

const (
	riverNumber = 0
	riverName   = "river"
)

const migrationTable = `CREATE TABLE schema_migration (
	number BIGINT PRIMARY KEY,
	name TEXT NOT NULL,
	checksum TEXT NOT NULL,
	applied_at BIGINT NOT NULL
)`

// Migrate applies the migrations that the database lacks, in ascending order of
// their numbers, in one transaction, alone among all processes. It needs a
// single query when there is nothing to do. It must be given all sets of the
// program at once.
func (db *DB) Migrate(ctx context.Context, sets ...MigrationSet) error {
	known, err := db.collect(sets)
	if err != nil {
		return err
	}
	done, err := db.recorded(ctx, db.read)
	if err != nil && !db.dialect.missingTable(err) {
		return fmt.Errorf("read schema of %s: %w", db, err)
	}
	if todo, err := missing(known, done); err != nil || len(todo) == 0 {
		return db.schemaError(err)
	}
	// Another process may have been faster; ask again under the lock.
	return db.schemaError(db.dialect.upgrade(ctx, db, func(ctx context.Context, tx *sql.Tx) error {
		return db.apply(ctx, tx, known, len(done) == 0)
	}))
}

func (db *DB) schemaError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("schema of %s: %w", db, err)
}

// collect reads the files of sets in ascending order, River's schema first.
func (db *DB) collect(sets []MigrationSet) ([]migration, error) {
	m, err := rivermigrate.New(db.dialect.driver(db), &rivermigrate.Config{Logger: db.quietLog()})
	if err != nil {
		return nil, err
	}
	versions := m.AllVersions()
	last := strconv.Itoa(versions[len(versions)-1].Version)
	all := []migration{{number: riverNumber, name: riverName, checksum: last}}
	for _, s := range sets {
		if all, err = s.appendTo(all); err != nil {
			return nil, fmt.Errorf("migrations of %s: %w", s.Package, err)
		}
	}
	slices.SortFunc(all, func(a, b migration) int { return int(a.number - b.number) })
	for i := 1; i < len(all); i++ {
		if all[i].number == all[i-1].number {
			return nil, fmt.Errorf("migrations %s and %s have the same number", all[i-1].name, all[i].name)
		}
	}
	return all, nil
}

func (s MigrationSet) appendTo(all []migration) ([]migration, error) {
	err := fs.WalkDir(s.Files, ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(file) != ".sql" {
			return err
		}
		text, err := fs.ReadFile(s.Files, file)
		if err != nil {
			return err
		}
		name := strings.TrimSuffix(path.Base(file), ".sql")
		digits, _, _ := strings.Cut(name, "_")
		number, err := strconv.ParseInt(digits, 10, 32)
		if err != nil || len(digits) != 4 || number == riverNumber {
			return fmt.Errorf("file %s: want a name like 0300_name.sql", file)
		}
		sum := sha256.Sum256(text)
		all = append(all, migration{number, name, hex.EncodeToString(sum[:]), string(text)})
		return nil
	})
	return all, err
}

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// recorded reads what was applied, by number.
func (db *DB) recorded(ctx context.Context, q querier) (map[int64]migration, error) {
	rows, err := q.QueryContext(ctx, "SELECT number, name, checksum FROM schema_migration")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	done := map[int64]migration{}
	for rows.Next() {
		var m migration
		if err := rows.Scan(&m.number, &m.name, &m.checksum); err != nil {
			return nil, err
		}
		done[m.number] = m
	}
	return done, rows.Err()
}

// missing lists those of known that are not done, and refuses a database that
// this program does not understand.
func missing(known []migration, done map[int64]migration) ([]migration, error) {
	var todo []migration
	found := 0
	for _, m := range known {
		d, ok := done[m.number]
		if ok {
			found++
		}
		switch {
		case !ok:
			todo = append(todo, m)
		case d.checksum == m.checksum && d.name == m.name:
		case m.number == riverNumber:
			if version(d) > version(m) {
				return nil, fmt.Errorf("%w: its job tables have version %s, this program knows %s", ErrNewer, d.checksum, m.checksum)
			}
			todo = append(todo, m)
		default:
			return nil, fmt.Errorf("%w: %s (applied as %s)", ErrAltered, m.name, d.name)
		}
	}
	if found == len(done) {
		return todo, nil
	}
	for _, m := range known {
		delete(done, m.number)
	}
	for _, d := range done {
		return nil, fmt.Errorf("%w: it has the migration %s, which this program does not know", ErrNewer, d.name)
	}
	return todo, nil
}

func version(m migration) int {
	n, _ := strconv.Atoi(m.checksum)
	return n
}

// apply runs what is missing and records it. River's tables exist already.
func (db *DB) apply(ctx context.Context, tx *sql.Tx, known []migration, fresh bool) error {
	if fresh {
		text := strings.Replace(db.dialect.schema(migrationTable), "CREATE TABLE", "CREATE TABLE IF NOT EXISTS", 1)
		if _, err := tx.ExecContext(ctx, text); err != nil {
			return err
		}
	}
	done, err := db.recorded(ctx, tx)
	if err != nil {
		return err
	}
	todo, err := missing(known, done)
	if err != nil {
		return err
	}
	record := db.dialect.query(`INSERT INTO schema_migration (number, name, checksum, applied_at) VALUES (?, ?, ?, ?)
		ON CONFLICT (number) DO UPDATE SET checksum = excluded.checksum, applied_at = excluded.applied_at`)
	for _, m := range todo {
		if m.text != "" {
			if _, err := tx.ExecContext(ctx, db.dialect.schema(m.text)); err != nil {
				return fmt.Errorf("migration %s: %w", m.name, err)
			}
		}
		if _, err := tx.ExecContext(ctx, record, m.number, m.name, m.checksum, Micros(time.Now())); err != nil {
			return fmt.Errorf("record migration %s: %w", m.name, err)
		}
	}
	return nil
}
