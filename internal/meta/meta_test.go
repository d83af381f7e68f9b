package meta_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"testing/fstest"

	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
)

// counters is a set with one table.
func counters() meta.MigrationSet {
	return meta.MigrationSet{Package: "counter", Files: fstest.MapFS{
		"migration/9000_counter.sql": {Data: []byte(
			`CREATE TABLE counter (name TEXT PRIMARY KEY, n BIGINT NOT NULL, done BOOLEAN NOT NULL DEFAULT FALSE, data BLOB);
			-- a comment with a BLOB; and a '
			INSERT INTO counter (name, n, data) VALUES ('a', 0, NULL), ('B?', 0, NULL);`)},
	}}
}

func read(t *testing.T, db *meta.DB, name string) (n int64) {
	t.Helper()
	err := db.View(t.Context(), func(ctx context.Context, tx *meta.Tx) error {
		return tx.QueryRow(ctx, "SELECT n FROM counter WHERE name = ?", name).Scan(&n)
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func add(ctx context.Context, tx *meta.Tx, name string) error {
	_, err := tx.Exec(ctx, "UPDATE counter SET n = n + 1 WHERE name = ?", name)
	return err
}

func TestUpdate_RollsBackOnErrorAndPanic(t *testing.T) {
	t.Parallel()
	metatest.Run(t, func(t *testing.T, open func(*testing.T, ...meta.MigrationSet) *meta.DB) {
		db := open(t, counters())
		broken := errors.New("broken")
		err := db.Update(t.Context(), func(ctx context.Context, tx *meta.Tx) error {
			return errors.Join(add(ctx, tx, "a"), broken)
		})
		if !errors.Is(err, broken) {
			t.Errorf("Update = %v, want %v", err, broken)
		}
		func() {
			defer func() {
				if r := recover(); r != "boom" {
					t.Errorf("recovered %v, want boom", r)
				}
			}()
			_ = db.Update(t.Context(), func(ctx context.Context, tx *meta.Tx) error {
				if err := add(ctx, tx, "a"); err != nil {
					t.Error(err)
				}
				panic("boom")
			})
		}()
		if n := read(t, db, "a"); n != 0 {
			t.Errorf("n = %d after rollbacks, want 0", n)
		}
	})
}

func TestPortableValues(t *testing.T) {
	t.Parallel()
	metatest.Run(t, func(t *testing.T, open func(*testing.T, ...meta.MigrationSet) *meta.DB) {
		db := open(t, counters())
		err := db.Update(t.Context(), func(ctx context.Context, tx *meta.Tx) error {
			_, err := tx.Exec(ctx, "UPDATE counter SET data = ?, done = ?, n = ? WHERE name = 'B?' /* ? */ AND name <> ?",
				[]byte{0, 0xff}, true, int64(1)<<60, "x?")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		err = db.View(t.Context(), func(ctx context.Context, tx *meta.Tx) error {
			var (
				names []string
				data  []byte
				done  bool
			)
			rows, err := tx.Query(ctx, "SELECT name, data, done FROM counter ORDER BY name DESC")
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				var name string
				if err := rows.Scan(&name, &data, &done); err != nil {
					return err
				}
				names = append(names, name)
			}
			if len(names) != 2 || names[0] != "a" || names[1] != "B?" {
				t.Errorf("names = %q, want a before B? in descending order of bytes", names)
			}
			if string(data) != "\x00\xff" || !done {
				t.Errorf("data, done = %q, %v", data, done)
			}
			return rows.Err()
		})
		if err != nil {
			t.Error(err)
		}
		err = db.Update(t.Context(), func(ctx context.Context, tx *meta.Tx) error {
			_, err := tx.Exec(ctx, "INSERT INTO counter (name, n) VALUES (?, 1)", "a")
			return err
		})
		if !db.IsDuplicate(err) {
			t.Errorf("IsDuplicate(%v) = false", err)
		}
		err = db.View(t.Context(), func(ctx context.Context, tx *meta.Tx) error {
			var n int
			return tx.QueryRow(ctx, "SELECT n FROM counter WHERE name = ?", "none").Scan(&n)
		})
		if !errors.Is(err, sql.ErrNoRows) {
			t.Errorf("no row: %v", err)
		}
	})
}
