package ledger_test

import (
	"context"
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/lockfast/lockfast/internal/ledger"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
	"github.com/lockfast/lockfast/repo"
)

// chained returns the journal of a vault and demands that it is whole.
func chained(t *testing.T, v *ledger.Vault) []repo.JournalEntry {
	t.Helper()
	s, err := v.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all, err := v.Journal(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var last repo.JournalHead
	for _, e := range all {
		if e.Kind == repo.JournalBegun {
			last.Number = e.Number - 1
		}
		if last.Next(e.Kind, e.ID) != e {
			t.Fatalf("entry after %d = %+v, which does not follow it", last.Number, e)
		}
		last = e.Head()
	}
	if last != s.Journal {
		t.Fatalf("journal ends at %d, its head is %d", last.Number, s.Journal.Number)
	}
	return all
}

// TestMigrations_LedgerWithoutAJournal upgrades a database in place that has a recovery point from before there was a journal.
func TestMigrations_LedgerWithoutAJournal(t *testing.T) {
	t.Parallel()
	metatest.Each(t, func(t *testing.T, create func(*testing.T) string) {
		url, former := create(t), fstest.MapFS{}
		now := ledger.Migrations()
		names, err := fs.Glob(now.Files, "*.sql")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if name >= "0197" {
				continue
			}
			text, err := fs.ReadFile(now.Files, name)
			if err != nil {
				t.Fatal(err)
			}
			former[name] = &fstest.MapFile{Data: text}
		}
		db, err := meta.Open(t.Context(), meta.Options{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Migrate(t.Context(), meta.MigrationSet{Package: now.Package, Files: former}); err != nil {
			t.Fatal(err)
		}
		const point = "0123456789abcdef0123456789abcdef"
		err = db.Update(t.Context(), func(ctx context.Context, tx *meta.Tx) error {
			if err := ledger.New(db, ledger.Options{}).CreateTx(ctx, tx, "v"); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, "INSERT INTO ledger_point (vault, id, deleting) VALUES (?, ?, FALSE)", "v", point)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		v := ledger.New(metatest.Open(t, meta.Options{URL: url}, now), ledger.Options{}).Vault("v")
		if all := chained(t, v); len(all) != 0 {
			t.Errorf("journal after the upgrade = %v, want none", all)
		}
		if err := v.Remove(t.Context(), point); err != nil {
			t.Fatal(err)
		}
		w := open(t, v, repo.SessionWriter)
		if _, err := v.Announce(t.Context(), w.ID); err != nil {
			t.Fatal(err)
		}
		if err := v.Commit(t.Context(), prepared(w)); err != nil {
			t.Fatal(err)
		}
		if all := chained(t, v); len(all) != 3 {
			t.Errorf("journal = %v, want 3 entries", all)
		}
	})
}

func TestBeginJournalTx(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, db *meta.DB) {
		d := ledger.New(db, ledger.Options{})
		identity := [16]byte{1, 2}
		err := db.Update(t.Context(), func(ctx context.Context, tx *meta.Tx) error {
			if err := d.RestoreTx(ctx, tx, "v", identity, draw(1)); err != nil {
				return err
			}
			return d.BeginJournalTx(ctx, tx, "v", 41)
		})
		if err != nil {
			t.Fatal(err)
		}
		v := d.Vault("v")
		w := open(t, v, repo.SessionWriter)
		if _, err := v.Announce(t.Context(), w.ID); err != nil {
			t.Fatal(err)
		}
		all := chained(t, v)
		if len(all) != 2 || all[0] != repo.BeginJournal(41, identity) || all[0].Number != 42 {
			t.Errorf("journal = %v, want its beginning as entry 42 and an announcement", all)
		}
	})
}
