package meta_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func set(files ...string) meta.MigrationSet {
	m := fstest.MapFS{}
	for i := 0; i < len(files); i += 2 {
		m[files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
	}
	return meta.MigrationSet{Package: "test", Files: m}
}

// reopen opens a database and migrates it, as a start of the program does.
func reopen(t *testing.T, url string, sets ...meta.MigrationSet) error {
	t.Helper()
	db, err := meta.Open(t.Context(), meta.Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	return errors.Join(db.Migrate(t.Context(), sets...), db.Close())
}

func TestMigrate_UpgradesInPlace(t *testing.T) {
	t.Parallel()
	metatest.Each(t, func(t *testing.T, create func(*testing.T) string) {
		url := create(t)
		late := set("8000_late.sql", "CREATE TABLE late (id TEXT PRIMARY KEY)")
		more := set("9001_more.sql", "ALTER TABLE counter ADD COLUMN more TEXT NOT NULL DEFAULT 'yes'; UPDATE counter SET n = 7")
		for _, sets := range [][]meta.MigrationSet{
			{counters()}, {counters()}, {more, counters()}, {more, counters(), late}, {more, counters(), late},
		} {
			if err := reopen(t, url, sets...); err != nil {
				t.Fatal(err)
			}
		}
		db := metatest.Open(t, meta.Options{URL: url}, more, counters(), late)
		if n := read(t, db, "a"); n != 7 {
			t.Errorf("n = %d, want 7: the migration ran once", n)
		}
	})
}

func TestMigrate_Refuses(t *testing.T) {
	t.Parallel()
	old := set("0001_a.sql", "CREATE TABLE a (id BIGINT)")
	tests := []struct {
		name string
		sets []meta.MigrationSet
		err  error
		want string
	}{
		{"newer database", nil, meta.ErrNewer, "0001_a"},
		{"altered migration", []meta.MigrationSet{set("0001_a.sql", "CREATE TABLE b (id BIGINT)")}, meta.ErrAltered, "0001_a"},
		{"renamed migration", []meta.MigrationSet{set("0001_b.sql", "CREATE TABLE a (id BIGINT)")}, meta.ErrAltered, "0001_b"},
		{"equal numbers", []meta.MigrationSet{old, set("0001_b.sql", "")}, nil, "same number"},
		{"name without number", []meta.MigrationSet{old, set("b.sql", "")}, nil, "b.sql"},
		{"broken SQL", []meta.MigrationSet{old, set("0002_b.sql", "CREATE TABLE c (id BIGINT); nonsense")}, nil, "0002_b"},
	}
	metatest.Each(t, func(t *testing.T, create func(*testing.T) string) {
		url := create(t)
		if err := reopen(t, url, old); err != nil {
			t.Fatal(err)
		}
		for _, test := range tests {
			err := reopen(t, url, test.sets...)
			if err == nil || test.err != nil && !errors.Is(err, test.err) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: Migrate = %v, want %v naming %q", test.name, err, test.err, test.want)
			}
		}
		// A refusal leaves nothing behind: the first half of the broken one is gone.
		if err := reopen(t, url, old, set("0002_b.sql", "CREATE TABLE c (id BIGINT)")); err != nil {
			t.Error(err)
		}
	})
}

func TestMigrate_TwoProcessesAtOnce(t *testing.T) {
	t.Parallel()
	metatest.Each(t, func(t *testing.T, create func(*testing.T) string) {
		url := create(t)
		var g errgroup.Group
		for range 4 {
			g.Go(func() error { return reopen(t, url, counters()) })
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		db := metatest.Open(t, meta.Options{URL: url}, counters())
		if n := read(t, db, "a"); n != 0 {
			t.Errorf("n = %d, want 0", n)
		}
	})
}

func TestMigrate_NewerJobTables(t *testing.T) {
	t.Parallel()
	metatest.Each(t, func(t *testing.T, create func(*testing.T) string) {
		url := create(t)
		db := metatest.Open(t, meta.Options{URL: url})
		err := db.Update(t.Context(), func(ctx context.Context, tx *meta.Tx) error {
			_, err := tx.Exec(ctx, "UPDATE schema_migration SET checksum = '1000' WHERE name = 'river'")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := reopen(t, url); !errors.Is(err, meta.ErrNewer) {
			t.Errorf("Migrate = %v, want %v", err, meta.ErrNewer)
		}
	})
}

// Not a test of a limit, which would fail on a busy machine: it logs the times.
func TestMigrate_StartIsQuick(t *testing.T) {
	t.Parallel()
	url := metatest.SQLite(t)
	for _, state := range []string{"fresh", "existing"} {
		start := time.Now()
		if err := reopen(t, url, counters()); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s database: open, migrate and close in %v", state, time.Since(start).Round(time.Millisecond))
	}
}
