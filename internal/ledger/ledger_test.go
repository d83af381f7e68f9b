package ledger_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/lockfast/lockfast/internal/ledger"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/ledgertest"
)

type clock struct{ ahead atomic.Int64 }

func (c *clock) shift() time.Duration    { return time.Duration(c.ahead.Load()) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// vault creates the ledger of a new vault in db.
func vault(t *testing.T, d *ledger.DB, name string) *ledger.Vault {
	t.Helper()
	v := d.Vault(name)
	if err := v.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	return v
}

func run(t *testing.T, test func(t *testing.T, db *meta.DB)) {
	t.Helper()
	metatest.Run(t, func(t *testing.T, open func(*testing.T, ...meta.MigrationSet) *meta.DB) {
		test(t, open(t, ledger.Migrations()))
	})
}

// The vaults of the suite share one database, as they do in a server.
func TestSuite(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	run(t, func(t *testing.T, db *meta.DB) {
		t.Run("Ledger", func(t *testing.T) {
			ledgertest.Run(t, func(t *testing.T) ledgertest.Subject {
				var c clock
				d := ledger.New(db, ledger.Options{Shift: c.shift})
				name := fmt.Sprint("vault-", n.Add(1))
				return ledgertest.Subject{
					Ledger: vault(t, d, name), Advance: c.advance,
					Reopen: func() repo.Ledger { return ledger.New(db, ledger.Options{}).Vault(name) },
				}
			})
		})
	})
}

func open(t *testing.T, v *ledger.Vault, kind repo.SessionKind) repo.Session {
	t.Helper()
	s, err := v.Open(t.Context(), repo.SessionOptions{Kind: kind})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// draw names n data packs.
func draw(n int) []repo.Object {
	all := make([]repo.Object, n)
	for i := range all {
		all[i].Kind = repo.ObjectData
		rand.Read(all[i].ID[:])
	}
	return all
}

func prepared(s repo.Session) repo.Prepared {
	return repo.Prepared{Session: s.ID, Point: repo.PointID(s.ID)}
}

func points(t *testing.T, v *ledger.Vault) []repo.PointState {
	t.Helper()
	s, err := v.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s.Points
}

func TestCommitTx_IsPartOfTheLargerTransaction(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, db *meta.DB) {
		d := ledger.New(db, ledger.Options{})
		v := vault(t, d, "v")
		w := open(t, v, repo.SessionWriter)
		broken := errors.New("broken")
		commit := func(end error) error {
			return db.Update(t.Context(), func(ctx context.Context, tx *meta.Tx) error {
				return errors.Join(d.CommitTx(ctx, tx, "v", prepared(w)), end)
			})
		}
		journal := func(when string, want int) {
			t.Helper()
			if all, err := v.Journal(t.Context(), 0, 10); err != nil || len(all) != want {
				t.Errorf("journal %s = %v, %v, want %d entries", when, all, err, want)
			}
		}
		if err := commit(broken); !errors.Is(err, broken) {
			t.Fatal(err)
		}
		journal("after rollback", 0)
		if got := points(t, v); len(got) != 0 {
			t.Errorf("points after rollback = %v, want none", got)
		}
		if err := commit(nil); err != nil {
			t.Fatal(err)
		}
		journal("after commit", 1)
		want := []repo.PointState{{ID: repo.PointID(w.ID)}}
		if diff := cmp.Diff(want, points(t, v)); diff != "" {
			t.Errorf("points (-want +got):\n%s", diff)
		}
		remove := func(end error) error {
			return db.Update(t.Context(), func(ctx context.Context, tx *meta.Tx) error {
				return errors.Join(d.DeleteTx(ctx, tx, "v", want[0].ID), d.RemoveTx(ctx, tx, "v", want[0].ID), end)
			})
		}
		if err := remove(broken); !errors.Is(err, broken) {
			t.Fatal(err)
		}
		journal("after rollback of a removal", 1)
		if diff := cmp.Diff(want, points(t, v)); diff != "" {
			t.Errorf("points after rollback (-want +got):\n%s", diff)
		}
		if err := remove(nil); err != nil || len(points(t, v)) != 0 {
			t.Errorf("remove = %v, points %v", err, points(t, v))
		}
		journal("after removal", 2)
	})
}

// Every method is cut at every boundary of its transaction and repeats it. Only
// Open without a job does not.
func TestLedger_CutAtEveryTransaction(t *testing.T) {
	t.Parallel()
	metatest.Each(t, func(t *testing.T, create func(*testing.T) string) {
		crash := errors.New("crash")
		var cut string
		db := metatest.Open(t, meta.Options{URL: create(t), Hook: func(point string) error {
			if point == cut {
				cut = "" // only the first try
				return crash
			}
			return nil
		}}, ledger.Migrations())
		d := ledger.New(db, ledger.Options{})
		for i, point := range []string{meta.BeforeBegin, meta.BeforeCommit, meta.AfterCommit} {
			v := vault(t, d, fmt.Sprint("v", i))
			twice := func(what string, fn func() error) {
				t.Helper()
				cut = point
				if err := fn(); err != nil || cut != "" {
					t.Fatalf("%s cut %s = %v, cut: %t", what, point, err, cut == "")
				}
			}
			ctx := t.Context()
			var w, c repo.Session
			pack := draw(2)
			cut = point
			if err := d.Vault(fmt.Sprint("new", i)).Create(ctx); err != nil && !db.IsDuplicate(err) || cut != "" {
				t.Errorf("create cut %s = %v", point, err)
			}
			cut = point
			if _, err := v.Open(ctx, repo.SessionOptions{Kind: repo.SessionWriter}); !errors.Is(err, crash) {
				t.Errorf("open cut %s = %v, want %v", point, err, crash)
			}
			twice("open", func() (err error) {
				w, err = v.Open(ctx, repo.SessionOptions{Kind: repo.SessionWriter, Job: "job"})
				return err
			})
			c = open(t, v, repo.SessionCollector)
			twice("reserve", func() error { return v.Reserve(ctx, w.ID, pack) })
			twice("register", func() error { return v.Register(ctx, w.ID, pack) })
			p := prepared(w)
			for _, o := range pack {
				p.Packs = append(p.Packs, o.ID)
			}
			twice("acknowledge", func() error { _, err := v.Acknowledge(ctx, w.ID, []byte("pins")); return err })
			var head repo.JournalHead
			twice("announce", func() (err error) { head, err = v.Announce(ctx, w.ID); return err })
			if n := len(chained(t, v)); (n != 1) != (point == meta.AfterCommit) {
				t.Errorf("journal has %d entries after an announcement cut %s", n, point)
			}
			if s, err := v.Snapshot(ctx); err != nil || s.Journal != head {
				t.Errorf("head = %v, %v, want what Announce returned: %v", s.Journal, err, head)
			}
			before := len(chained(t, v))
			twice("commit", func() error { return v.Commit(ctx, p) })
			twice("delete", func() error { return v.Delete(ctx, p.Point) })
			twice("remove", func() error { return v.Remove(ctx, p.Point) })
			if n := len(chained(t, v)); n != before+2 {
				t.Errorf("journal has %d entries after commit and removal cut %s, want %d", n, point, before+2)
			}
			twice("condemn", func() error { _, err := v.Condemn(ctx, c.ID, p.Packs); return err })
			twice("rescue", func() error { return v.Rescue(ctx, c.ID, p.Packs[:1]) })
			twice("retire", func() error { return v.Retire(ctx, c.ID, []repo.Retirement{{ID: p.Packs[1]}}) })
			twice("forget", func() error { return v.Forget(ctx, c.ID, p.Packs, nil) })
			twice("close", func() error { return v.Close(ctx, c.ID) })
			left, _, err := v.Changes(ctx, 0)
			if err != nil {
				t.Fatal(err)
			}
			live := 0
			for _, o := range left {
				if o.State == repo.ObjectLive {
					live++
				} else {
					t.Errorf("object left = %+v", o)
				}
			}
			if live != 1 {
				t.Errorf("%d live objects left after the cuts %s, want the rescued one", live, point)
			}
		}
	})
}

func TestLedger_VaultsAreApart(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, db *meta.DB) {
		d := ledger.New(db, ledger.Options{})
		a, b := vault(t, d, "a"), vault(t, d, "b")
		w := open(t, a, repo.SessionWriter)
		objects := draw(3)
		if err := a.Reserve(t.Context(), w.ID, objects); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Announce(t.Context(), w.ID); err != nil || len(chained(t, a)) != 1 || len(chained(t, b)) != 0 {
			t.Errorf("Announce = %v, journals have %d and %d entries, want 1 and 0", err, len(chained(t, a)), len(chained(t, b)))
		}
		open(t, b, repo.SessionCollector)
		open(t, a, repo.SessionCollector)
		if err := b.Register(t.Context(), w.ID, objects); !errors.Is(err, repo.ErrFenced) {
			t.Errorf("session of another vault: %v, want %v", err, repo.ErrFenced)
		}
		if all, _, err := b.Changes(t.Context(), 0); len(all) != 0 || err != nil {
			t.Errorf("objects of another vault: %v, %v", all, err)
		}
		if _, err := d.Vault("none").Snapshot(t.Context()); !errors.Is(err, repo.ErrNotFound) {
			t.Errorf("ledger that was not created: %v, want %v", err, repo.ErrNotFound)
		}
		if _, ok, err := a.TakeRound(t.Context(), repo.ID{1}, time.Hour, time.Hour); !ok || err != nil {
			t.Fatalf("TakeRound = %t, %v", ok, err)
		}
		err := db.Update(t.Context(), func(ctx context.Context, tx *meta.Tx) error { return d.DropTx(ctx, tx, "a") })
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Identity(t.Context()); !errors.Is(err, repo.ErrNotFound) {
			t.Errorf("dropped ledger: %v, want %v", err, repo.ErrNotFound)
		}
		if _, err := b.Identity(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestVaults_ListsAll(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, db *meta.DB) {
		d := ledger.New(db, ledger.Options{})
		vault(t, d, "v")
		vault(t, d, "a")
		if got, err := d.Vaults(t.Context()); err != nil || !slices.Equal(got, []string{"a", "v"}) {
			t.Errorf("Vaults = %v, %v, want [a v]", got, err)
		}
	})
}

func TestFenceAll_ForgetsAtOnceWhatALeaseKeeps(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, db *meta.DB) {
		var c clock
		d := ledger.New(db, ledger.Options{Shift: c.shift})
		v := vault(t, d, "v")
		forget := func(sessions ...repo.SessionID) {
			t.Helper()
			k := open(t, v, repo.SessionCollector)
			if err := v.Forget(t.Context(), k.ID, nil, sessions); err != nil {
				t.Fatal(err)
			}
			if err := v.Close(t.Context(), k.ID); err != nil {
				t.Fatal(err)
			}
			if err := v.Forget(t.Context(), k.ID, nil, nil); !errors.Is(err, repo.ErrFenced) {
				t.Errorf("Forget by a closed collector = %v", err)
			}
		}
		has := func(id repo.SessionID) bool {
			s, err := v.Snapshot(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range s.Sessions {
				if s.ID == id {
					return true
				}
			}
			return false
		}
		// fence lets the lease of a new session run out.
		fence := func() repo.SessionID {
			t.Helper()
			s := open(t, v, repo.SessionWriter)
			c.advance(s.Lease + time.Second)
			if n, err := v.Fence(t.Context()); n != 1 || err != nil {
				t.Fatalf("Fence = %d, %v, want 1", n, err)
			}
			return s.ID
		}
		late, dead := fence(), open(t, v, repo.SessionWriter)
		if forget(late); !has(late) {
			t.Error("the row of a fenced session is forgotten at once, although its owner may be alive")
		}
		if err := d.FenceAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := v.Commit(t.Context(), prepared(dead)); !errors.Is(err, repo.ErrFenced) {
			t.Errorf("Commit = %v, want %v", err, repo.ErrFenced)
		}
		if forget(late, dead.ID); has(late) || has(dead.ID) {
			t.Errorf("rows kept after FenceAll: late %v, dead %v, want none", has(late), has(dead.ID))
		}
		late = fence()
		c.advance(4 * 24 * time.Hour)
		if forget(late); has(late) {
			t.Error("the row of a fenced session is kept for ever")
		}
	})
}

// TestFenceAll_LetsRoundsGo: a node that was killed and starts again goes on with the round at once.
func TestFenceAll_LetsRoundsGo(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, db *meta.DB) {
		d := ledger.New(db, ledger.Options{})
		v := vault(t, d, "v")
		take := func(holder byte) (repo.Round, bool) {
			t.Helper()
			r, ok, err := v.TakeRound(t.Context(), repo.ID{holder}, time.Hour, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			return r, ok
		}
		r, _ := take(1)
		r.Place = "a"
		if err := v.NoteRound(t.Context(), r, time.Hour); err != nil {
			t.Fatal(err)
		}
		if _, ok := take(2); ok {
			t.Error("a round that is held was taken by another")
		}
		if err := d.FenceAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		if r, ok := take(2); !ok || r.Place != "a" {
			t.Errorf("after FenceAll the round is %+v, %t, want it to go on at a", r, ok)
		}
	})
}

// Concurrent writers and a collector on one vault: nothing deadlocks, and every
// session that was told it committed has its point.
func TestLedger_ManyAtOnce(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, db *meta.DB) {
		v := vault(t, ledger.New(db, ledger.Options{}), "v")
		var g errgroup.Group
		for range 6 {
			g.Go(func() error {
				for range 5 {
					w, err := v.Open(t.Context(), repo.SessionOptions{Kind: repo.SessionWriter})
					if err != nil {
						return err
					}
					o := draw(2)
					if err := v.Reserve(t.Context(), w.ID, o); err != nil {
						return err
					}
					if err := v.Register(t.Context(), w.ID, o); err != nil {
						return err
					}
					p := prepared(w)
					p.Packs = []repo.ID{o[0].ID, o[1].ID}
					if err := v.Commit(t.Context(), p); err != nil {
						return err
					}
				}
				return nil
			})
		}
		g.Go(func() error {
			for range 5 {
				c, err := v.Open(t.Context(), repo.SessionOptions{Kind: repo.SessionCollector})
				if err != nil {
					return err
				}
				all, _, err := v.Changes(t.Context(), 0)
				if err != nil {
					return err
				}
				var ids []repo.ID
				for _, o := range all {
					ids = append(ids, o.ID)
				}
				if _, err := v.Condemn(t.Context(), c.ID, ids); err != nil {
					return err
				}
				if err := errors.Join(v.Rescue(t.Context(), c.ID, ids), v.Close(t.Context(), c.ID)); err != nil {
					return err
				}
			}
			return nil
		})
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		if n := len(points(t, v)); n != 30 {
			t.Errorf("%d points, want 30", n)
		}
	})
}

func TestLedger_TenThousandPacks(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, db *meta.DB) {
		v := vault(t, ledger.New(db, ledger.Options{}), "v")
		w, c := open(t, v, repo.SessionWriter), open(t, v, repo.SessionCollector)
		const n = 10_000
		objects := draw(n)
		step := func(what string, fn func() error) {
			t.Helper()
			start := time.Now()
			if err := fn(); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			t.Logf("%s %d packs: %v", what, n, time.Since(start).Round(time.Millisecond))
		}
		step("reserve", func() error { return v.Reserve(t.Context(), w.ID, objects) })
		step("register", func() error { return v.Register(t.Context(), w.ID, objects) })
		p := prepared(w)
		retire := make([]repo.Retirement, n)
		for i, o := range objects {
			p.Packs = append(p.Packs, o.ID)
			retire[i] = repo.Retirement{ID: o.ID, Remap: []byte("map")}
		}
		step("commit", func() error { return v.Commit(t.Context(), p) })
		step("condemn", func() error { _, err := v.Condemn(t.Context(), c.ID, p.Packs); return err })
		step("retire", func() error { return v.Retire(t.Context(), c.ID, retire) })
		step("read", func() error { _, _, err := v.Changes(t.Context(), 0); return err })
		step("forget", func() error { return v.Forget(t.Context(), c.ID, p.Packs, nil) })
		if all, _, err := v.Changes(t.Context(), 0); len(all) != 0 || err != nil {
			t.Errorf("%d objects left, %v", len(all), err)
		}
	})
}

func TestChanges_OlderThanWhatIsRemembered(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, db *meta.DB) {
		v := vault(t, ledger.New(db, ledger.Options{Remember: 3}), "v")
		w, c := open(t, v, repo.SessionWriter), open(t, v, repo.SessionCollector)
		forgotten := map[repo.ID]bool{}
		for range 5 {
			_, before, err := v.Changes(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			o := draw(1)
			_, epochErr := v.Condemn(t.Context(), c.ID, nil)
			err = errors.Join(v.Reserve(t.Context(), w.ID, o), v.Register(t.Context(), w.ID, o), epochErr)
			if err == nil {
				_, err = v.Condemn(t.Context(), c.ID, []repo.ID{o[0].ID})
			}
			err = errors.Join(err, v.Retire(t.Context(), c.ID, []repo.Retirement{{ID: o[0].ID}}),
				v.Forget(t.Context(), c.ID, []repo.ID{o[0].ID}, nil))
			if err != nil {
				t.Fatal(err)
			}
			forgotten[o[0].ID] = true
			if _, _, err := v.Changes(t.Context(), before); before > 0 && !errors.Is(err, repo.ErrStale) {
				t.Errorf("changes since %d, five revisions ago, with three remembered = %v, want %v", before, err, repo.ErrStale)
			}
		}
		all, revision, err := v.Changes(t.Context(), 0)
		if len(all) != 0 || err != nil {
			t.Errorf("all rows = %v, %v, want none", all, err)
		}
		last, _, err := v.Changes(t.Context(), revision-1)
		if err != nil || len(last) != 1 || last[0].State != repo.ObjectForgotten || !forgotten[last[0].ID] {
			t.Errorf("last change = %v, %v, want the object forgotten last", last, err)
		}
	})
}

func TestDue_UntilAReclaimThatBeganLater(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, db *meta.DB) {
		var c clock
		d := ledger.New(db, ledger.Options{Shift: c.shift})
		v := vault(t, d, "v")
		due := func() uint64 {
			t.Helper()
			all, err := d.Due(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return all["v"]
		}
		done := func(freed uint64) {
			t.Helper()
			if err := d.Reclaimed(t.Context(), "v", freed); err != nil {
				t.Fatal(err)
			}
		}
		var points []repo.PointID
		for range 2 {
			w := open(t, v, repo.SessionWriter)
			if err := v.Commit(t.Context(), prepared(w)); err != nil {
				t.Fatal(err)
			}
			points = append(points, repo.PointID(w.ID))
		}
		if n := due(); n != 0 {
			t.Errorf("due after commits = %d, want 0", n)
		}
		for _, step := range []struct {
			name string
			do   func() error
		}{
			{"Remove", func() error { return v.Remove(t.Context(), points[0]) }},
			{"another Remove", func() error { return v.Remove(t.Context(), points[1]) }},
			{"Close of a writer", func() error { return v.Close(t.Context(), open(t, v, repo.SessionWriter).ID) }},
			{"a lease that ran out", func() error {
				open(t, v, repo.SessionWriter)
				c.advance(time.Hour)
				_, err := v.Fence(t.Context())
				return err
			}},
		} {
			before := due()
			if err := step.do(); err != nil {
				t.Fatal(err)
			}
			if n := due(); n <= before {
				t.Errorf("due after %s = %d, want more than %d", step.name, n, before)
			}
			done(before)
			if due() == 0 {
				t.Errorf("after %s, a reclaim that began before it is enough", step.name)
			}
		}
		for _, nothing := range []func() error{
			func() error { return v.Remove(t.Context(), points[0]) },
			func() error { return v.Close(t.Context(), open(t, v, repo.SessionReader).ID) },
		} {
			last := due()
			if err := nothing(); err != nil || due() != last {
				t.Errorf("%v, due = %d, want %d: nothing became free", err, due(), last)
			}
		}
		done(due())
		if n := due(); n != 0 {
			t.Errorf("due after a reclaim = %d, want 0", n)
		}
	})
}
