// Package metatest runs tests that use a database on SQLite and on PostgreSQL.
//
// The PostgreSQL server is a real one, found in PATH or under
// /usr/lib/postgresql, started once per test binary with its data in a temporary
// folder and reachable by a Unix socket only. It ends with the test binary,
// however that ends. A missing server fails the test; nothing is skipped.
package metatest

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"

	"github.com/lockfast/lockfast/internal/meta"
)

// Run runs test once per database, as parallel subtests. Each call of open gives
// an empty database of its own with the migrations applied; it is closed at the
// end of the test that it was opened for.
func Run(t *testing.T, test func(t *testing.T, open func(t *testing.T, sets ...meta.MigrationSet) *meta.DB)) {
	t.Helper()
	Each(t, func(t *testing.T, create func(t *testing.T) string) {
		test(t, func(t *testing.T, sets ...meta.MigrationSet) *meta.DB {
			t.Helper()
			return Open(t, meta.Options{URL: create(t)}, sets...)
		})
	})
}

// Each is like [Run] for tests that open the database themselves: create makes
// an empty database and returns its URL.
func Each(t *testing.T, test func(t *testing.T, create func(t *testing.T) string)) {
	t.Helper()
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		test(t, func(t *testing.T) string { return SQLite(t) })
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		test(t, func(t *testing.T) string { return PostgreSQL(t) })
	})
}

// Open opens a database, applies sets and closes it at the end of the test.
func Open(t testing.TB, o meta.Options, sets ...meta.MigrationSet) *meta.DB {
	t.Helper()
	db, err := meta.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close database: %v", err)
		}
	})
	if err := db.Migrate(t.Context(), sets...); err != nil {
		t.Fatal(err)
	}
	return db
}

// SQLite returns the URL of a file that does not exist yet.
func SQLite(t testing.TB) string {
	return "sqlite:" + filepath.Join(t.TempDir(), "meta.db")
}

var count atomic.Int64 // of databases, for their names

// PostgreSQL creates an empty database on the shared server and returns its URL.
// It is dropped at the end of the test.
func PostgreSQL(t testing.TB) string {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatalf("PostgreSQL is needed for this test: %v", err)
	}
	name := fmt.Sprintf("test%d", count.Add(1))
	if err := s.exec(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.exec(context.Background(), "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("drop database: %v", err)
		}
	})
	return s.url(name)
}

func (s *server) exec(ctx context.Context, query string) error {
	db, err := sql.Open("pgx", s.url("postgres"))
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.ExecContext(ctx, query)
	return err
}
