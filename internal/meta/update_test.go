package meta_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"golang.org/x/sync/errgroup"

	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
)

func TestUpdate_CompareAndSetHasOneWinner(t *testing.T) {
	t.Parallel()
	metatest.Run(t, func(t *testing.T, open func(*testing.T, ...meta.MigrationSet) *meta.DB) {
		db := open(t, counters())
		var won atomic.Int64
		var g errgroup.Group
		const rounds = 20
		for range 8 {
			g.Go(func() error {
				for from := range int64(rounds) {
					var n int64
					err := db.Update(t.Context(), func(ctx context.Context, tx *meta.Tx) error {
						r, err := tx.Exec(ctx, "UPDATE counter SET n = ? WHERE name = 'a' AND n = ?", from+1, from)
						if err != nil {
							return err
						}
						n, err = r.RowsAffected()
						return err
					})
					if err != nil {
						return err
					}
					won.Add(n)
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		if n := read(t, db, "a"); n != rounds || won.Load() != rounds {
			t.Errorf("n = %d, won %d times, want %d", n, won.Load(), rounds)
		}
	})
}

func TestForUpdate_ReadModifyWriteLosesNothing(t *testing.T) {
	t.Parallel()
	metatest.Run(t, func(t *testing.T, open func(*testing.T, ...meta.MigrationSet) *meta.DB) {
		db := open(t, counters())
		var g errgroup.Group
		for range 8 {
			g.Go(func() error {
				for range 10 {
					err := db.Update(t.Context(), func(ctx context.Context, tx *meta.Tx) error {
						var n int64
						row := tx.QueryRow(ctx, "SELECT n FROM counter WHERE name = 'a'"+tx.ForUpdate())
						if err := row.Scan(&n); err != nil {
							return err
						}
						_, err := tx.Exec(ctx, "UPDATE counter SET n = ? WHERE name = 'a'", n+1)
						return err
					})
					if err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		if n := read(t, db, "a"); n != 80 {
			t.Errorf("n = %d, want 80", n)
		}
	})
}

// Two transactions that lock two rows in opposite order deadlock on PostgreSQL;
// one of them must be run again. On SQLite they simply take turns.
func TestUpdate_RunsAgainAfterDeadlock(t *testing.T) {
	t.Parallel()
	metatest.Run(t, func(t *testing.T, open func(*testing.T, ...meta.MigrationSet) *meta.DB) {
		db := open(t, counters())
		var (
			g    errgroup.Group
			both sync.WaitGroup
		)
		both.Add(2)
		for _, names := range [][]string{{"a", "B?"}, {"B?", "a"}} {
			g.Go(func() error {
				first := true
				return db.Update(t.Context(), func(ctx context.Context, tx *meta.Tx) error {
					if err := add(ctx, tx, names[0]); err != nil {
						return err
					}
					if first {
						both.Done()
						first = false
					}
					if strings.HasPrefix(db.String(), "postgres") {
						both.Wait()
					}
					return add(ctx, tx, names[1])
				})
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		if a, b := read(t, db, "a"), read(t, db, "B?"); a != 2 || b != 2 {
			t.Errorf("a, b = %d, %d, want 2, 2", a, b)
		}
	})
}

func TestView_ReadsOneSnapshot(t *testing.T) {
	t.Parallel()
	metatest.Run(t, func(t *testing.T, open func(*testing.T, ...meta.MigrationSet) *meta.DB) {
		db := open(t, counters())
		err := db.View(t.Context(), func(ctx context.Context, tx *meta.Tx) error {
			for i := range 2 {
				var n int64
				if err := tx.QueryRow(ctx, "SELECT n FROM counter WHERE name = 'a'").Scan(&n); err != nil {
					return err
				}
				if n != 0 {
					t.Errorf("read %d in round %d, want 0", n, i)
				}
				if err := db.Update(t.Context(), func(ctx context.Context, tx *meta.Tx) error { return add(ctx, tx, "a") }); err != nil {
					return err
				}
			}
			if err := add(ctx, tx, "a"); err == nil {
				t.Error("wrote in a View")
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if n := read(t, db, "a"); n != 2 {
			t.Errorf("n = %d, want 2", n)
		}
	})
}

func TestUpdate_InsideAnotherIsRefused(t *testing.T) {
	t.Parallel()
	metatest.Run(t, func(t *testing.T, open func(*testing.T, ...meta.MigrationSet) *meta.DB) {
		db, other := open(t, counters()), open(t, counters())
		nothing := func(context.Context, *meta.Tx) error { return nil }
		err := db.Update(t.Context(), func(ctx context.Context, tx *meta.Tx) error {
			if err := db.Update(ctx, nothing); !errors.Is(err, meta.ErrNested) {
				t.Errorf("Update in Update = %v, want %v", err, meta.ErrNested)
			}
			if err := db.View(ctx, nothing); !errors.Is(err, meta.ErrNested) {
				t.Errorf("View in Update = %v, want %v", err, meta.ErrNested)
			}
			return other.Update(ctx, nothing)
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestUpdate_EndsWithItsContext(t *testing.T) {
	t.Parallel()
	metatest.Run(t, func(t *testing.T, open func(*testing.T, ...meta.MigrationSet) *meta.DB) {
		db := open(t, counters())
		ctx, cancel := context.WithCancel(t.Context())
		err := db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
			err := add(ctx, tx, "a")
			cancel()
			return err
		})
		if err == nil {
			t.Error("Update committed after its context was cancelled")
		}
		if n := read(t, db, "a"); n != 0 {
			t.Errorf("n = %d, want 0", n)
		}
	})
}

func TestHook_CutsAtEachBoundary(t *testing.T) {
	t.Parallel()
	metatest.Each(t, func(t *testing.T, create func(*testing.T) string) {
		var cut string
		crash := errors.New("crash")
		db := metatest.Open(t, meta.Options{URL: create(t), Hook: func(point string) error {
			if point == cut {
				return crash
			}
			return nil
		}}, counters())
		for i, test := range []struct {
			at   string
			want int64
		}{
			{meta.BeforeBegin, 0}, {meta.BeforeCommit, 0}, {meta.AfterCommit, 1},
		} {
			cut = test.at
			err := db.Update(t.Context(), func(ctx context.Context, tx *meta.Tx) error { return add(ctx, tx, "a") })
			if !errors.Is(err, crash) {
				t.Errorf("%d: Update cut %s = %v, want %v", i, test.at, err, crash)
			}
			if n := read(t, db, "a"); n != test.want {
				t.Errorf("n = %d after the cut %s, want %d", n, test.at, test.want)
			}
		}
	})
}

func TestMemory_WorksFromManyGoroutines(t *testing.T) {
	t.Parallel()
	db := metatest.Open(t, meta.Options{URL: "sqlite::memory:"}, counters())
	var g errgroup.Group
	for range 8 {
		g.Go(func() error {
			for range 20 {
				err := db.Update(t.Context(), func(ctx context.Context, tx *meta.Tx) error { return add(ctx, tx, "a") })
				if err != nil {
					return err
				}
				if err := db.View(t.Context(), func(ctx context.Context, tx *meta.Tx) error { return nil }); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if n := read(t, db, "a"); n != 160 {
		t.Errorf("n = %d, want 160", n)
	}
}

// With the outer context the mistake cannot be seen, but it ends. Time is that
// of a bubble.
func TestUpdate_InsideAnotherWithTheOuterContextEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db, err := meta.Open(t.Context(), meta.Options{URL: "sqlite::memory:"})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		nothing := func(context.Context, *meta.Tx) error { return nil }
		err = db.Update(t.Context(), func(context.Context, *meta.Tx) error { return db.Update(t.Context(), nothing) })
		if !errors.Is(err, meta.ErrNoConnection) {
			t.Errorf("Update = %v, want %v", err, meta.ErrNoConnection)
		}
	})
}

func TestUpdate_SurvivesLostConnections(t *testing.T) {
	t.Parallel()
	url := metatest.PostgreSQL(t)
	db := metatest.Open(t, meta.Options{URL: url}, counters())
	killer := metatest.Open(t, meta.Options{URL: url}, counters())
	for range 5 {
		err := killer.View(t.Context(), func(ctx context.Context, tx *meta.Tx) error {
			var n int
			return tx.QueryRow(ctx, `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
				WHERE datname = current_database() AND pid <> pg_backend_pid()`).Scan(&n)
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Update(t.Context(), func(ctx context.Context, tx *meta.Tx) error { return add(ctx, tx, "a") }); err != nil {
			t.Fatal(err)
		}
	}
	if n := read(t, db, "a"); n != 5 {
		t.Errorf("n = %d, want 5", n)
	}
}
