package vault_test

import (
	"context"
	"io/fs"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/lockfast/lockfast/internal/events"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/vault"
	"github.com/lockfast/lockfast/repo"
)

// read reads a vault.
func (f *fixture) read(id string) vault.Vault {
	f.t.Helper()
	v, err := f.Vault(f.ctx, id)
	if err != nil {
		f.t.Fatal(err)
	}
	return v
}

// measure records what was measured of a vault as it is now.
func (f *fixture) measure(id string, m repo.Measure) {
	f.t.Helper()
	if err := f.SetMeasure(f.ctx, f.read(id), m); err != nil {
		f.t.Fatal(err)
	}
}

// settler remembers which vaults it was asked to compute.
type settler []string

func (s *settler) Settle(_ context.Context, vaultUUIDs []string) { *s = append(*s, vaultUUIDs...) }

// outdated reports whether who lists recovery points has the sizes of a vault computed.
func (f *fixture) outdated(id string) bool {
	f.t.Helper()
	var s settler
	onDemand := vault.New(vault.Options{DB: f.db, Sizes: &s, Pager: restjson.NewPager([]byte("key"))})
	if _, err := onDemand.ListRecoveryPoints(f.ctx, &lockfastapi.ListRecoveryPointsInput{}); err != nil {
		f.t.Fatal(err)
	}
	return slices.Contains(s, id)
}

// Nobody is told of these changes: the process may have ended with the transaction.
func TestSizes_AreOutdatedByTheTransactionThatChangesThem(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		if !f.outdated(id) {
			t.Error("a vault that was never measured is not outdated")
		}
		f.measure(id, repo.Measure{})
		step := func(name string, want bool, does func()) {
			t.Helper()
			does()
			if got := f.outdated(id); got != want {
				t.Errorf("%s: outdated = %v, want %v", name, got, want)
			}
			f.measure(id, repo.Measure{})
			if f.outdated(id) {
				t.Errorf("%s: outdated after a measure", name)
			}
		}
		tx := func(fn func(context.Context, *meta.Tx) error) func() { return func() { f.update(fn) } }

		step("create", false, func() { f.creating(id, 1) })
		step("drop without data", false, tx(func(ctx context.Context, tx *meta.Tx) error { return f.DropCreatingTx(ctx, tx, id, pointARN(1)) }))
		step("complete", true, func() { f.completed(id, 2) })
		step("accept a deletion", false, func() {
			if err := f.delete(pointARN(2)); err != nil {
				t.Fatal(err)
			}
		})
		step("remove", true, tx(func(ctx context.Context, tx *meta.Tx) error { return f.RemovePointTx(ctx, tx, id, pointARN(2)) }))
		step("complete one that ages", true, func() { f.aging(id, 3) })
		f.clock.add(10 * day)
		var left []vault.Leftover
		step("move to cold storage", true, func() {
			if err := f.moved(f.claim(pointARN(3)), "cold"); err != nil {
				t.Fatal(err)
			}
			var err error
			if left, err = f.Moved(f.ctx); err != nil || len(left) != 1 {
				t.Fatalf("Moved = %v, %v, want one", left, err)
			}
		})
		step("remove what it was", true, tx(func(ctx context.Context, tx *meta.Tx) error { return f.LeftoverGoneTx(ctx, tx, left[0]) }))
		step("restore", true, tx(func(ctx context.Context, tx *meta.Tx) error {
			return f.RestorePointTx(ctx, tx, id, repo.FoundPoint{ID: "found"}, repo.PointRecord{ARN: pointARN(4), Status: "COMPLETED"}, true)
		}))
		step("reclaim", true, func() {
			if err := f.Outdate(f.ctx, id); err != nil {
				t.Fatal(err)
			}
		})
		step("change of another vault", false, func() { f.completed(f.vault("other"), 5) })
	})
}

func TestSetMeasure_LeavesOutdatedWhatChangedSince(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		f.measure(id, repo.Measure{})
		before := f.read(id)
		f.completed(id, 1)
		if err := f.SetMeasure(f.ctx, before, repo.Measure{}); err != nil {
			t.Fatal(err)
		}
		if !f.outdated(id) {
			t.Error("the change between a measure and its record is lost")
		}
	})
}

// Two servers may measure at a time. Who comes late with the older measure must not undo the newer one.
func TestSetMeasure_LeavesNewerOnesAlone(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		id := f.vault("home")
		arn := f.completed(id, 1)
		before := f.read(id)
		f.completed(id, 2)
		sized := func(unique int64) repo.Measure {
			return repo.Measure{Sizes: map[repo.PointID]repo.Sizes{repo.PointID(completion(1).StoreID): {Unique: unique}}}
		}
		f.measure(id, sized(7))
		if err := f.SetMeasure(f.ctx, before, sized(40)); err != nil {
			t.Fatal(err)
		}
		if p, err := f.Point(f.ctx, id, arn); err != nil || p.UniqueBytes == nil || *p.UniqueBytes != 7 {
			t.Errorf("Point = %+v, %v, want 7 unique bytes", p, err)
		}
		if f.outdated(id) {
			t.Error("the newer measure is outdated")
		}
	})
}

// migrationsBefore returns the migrations that a database of an earlier version has seen.
func migrationsBefore(t *testing.T, number string) meta.MigrationSet {
	t.Helper()
	earlier := fstest.MapFS{}
	files := vault.Migrations().Files
	names, err := fs.Glob(files, "migration/*.sql")
	for _, name := range names {
		if name < "migration/"+number && err == nil {
			earlier[name] = &fstest.MapFile{}
			earlier[name].Data, err = fs.ReadFile(files, name)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return meta.MigrationSet{Package: "vault", Files: earlier}
}

// A database that an earlier version has measured may hold wrong sizes.
func TestMigrations_HaveEverythingMeasuredOnce(t *testing.T) {
	t.Parallel()
	metatest.Each(t, func(t *testing.T, create func(*testing.T) string) {
		db := metatest.Open(t, meta.Options{URL: create(t)}, migrationsBefore(t, "0382"), events.Migrations())
		const id = "00000000-0000-4000-8000-000000000000"
		err := db.Update(t.Context(), func(ctx context.Context, tx *meta.Tx) error {
			_, err := tx.Exec(ctx, `INSERT INTO vault (uuid, account, region, name, creator_request_id, request, created_at, point_count, deleting_since)
				VALUES (?, ?, ?, 'home', '', '', 0, 0, 0)`, id, account, region)
			if err == nil {
				_, err = tx.Exec(ctx, `INSERT INTO vault_usage (vault_uuid, epoch, measured_at, physical_bytes, live_bytes, dead_bytes, dead_part_bytes,
					locked_bytes, logical_bytes, cold_live_bytes, cold_dead_bytes, cold_dead_part_bytes) VALUES (?, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)`, id)
			}
			return err
		})
		if err == nil {
			err = db.Migrate(t.Context(), vault.Migrations(), events.Migrations())
		}
		if err != nil {
			t.Fatal(err)
		}
		f := newFixture(t, db, 0)
		if u, err := f.Usages(f.ctx); err != nil || len(u) != 1 || u[0].PhysicalBytes != 2 {
			t.Errorf("Usages = %+v, %v, want what was measured", u, err)
		}
		if !f.outdated(id) {
			t.Error("the vault is not outdated")
		}
		f.measure(id, repo.Measure{})
		if f.outdated(id) {
			t.Error("the vault is outdated after a measure")
		}
	})
}
