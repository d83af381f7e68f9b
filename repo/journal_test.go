package repo_test

import (
	"context"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
)

// TestJournalHead_Next fixes the bytes of format section 13 by hashes that the BLAKE3 of tools/reader has computed.
func TestJournalHead_Next(t *testing.T) {
	t.Parallel()
	var id repo.ID
	for i := range id {
		id[i] = byte(i)
	}
	var last repo.JournalHead
	for i, want := range []string{
		"e8ee5d7ea5ddd12aab6129398643f0bc4b875db727e284d02dc504e6c6391a9b",
		"d5f4fc69ec0c2b1ba5d2bcea1ee1e81277371ac9ed472a4ef39f66f82aab9efa",
		"9a2d77df05b2359cc326b48d9d1da81efb12ecfa5f7ac37923b107f3459b5e1f",
	} {
		e := last.Next(repo.JournalKind(i+1), id)
		if got := hex.EncodeToString(e.Hash[:]); got != want || e.Number != uint64(i+1) {
			t.Errorf("entry %d has hash %s, want %s as entry %d", e.Number, got, want, i+1)
		}
		last = e.Head()
	}
	begun := repo.BeginJournal(41, id)
	want := "434b8b7546b840fc4d356977806321e6218a06b942d9f23f6e40e9c9cac6fc60"
	if got := hex.EncodeToString(begun.Hash[:]); got != want || begun.Number != 42 {
		t.Errorf("journal begins with entry %d, hash %s, want 42, %s", begun.Number, got, want)
	}
}

// TestOlderLedger_CopiedBesideAJob restores a ledger that was copied while a backup was at work, which the ledger has heard of
// therefore. What the backup made is not taken for what a job that was cut has left.
func TestOlderLedger_CopiedBesideAJob(t *testing.T) {
	t.Parallel()
	ctx, s := t.Context(), mem.New()
	path := filepath.Join(t.TempDir(), "ledger")
	ledger := func() *localledger.Ledger {
		l, err := localledger.Open(path, localledger.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.CloseFile() })
		return l
	}
	l := ledger()
	v := create(t, s, l, small())
	have := newGenerator(78).files(20)
	w, err := v.NewWriter(ctx, repo.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := capture(ctx, w, have, nil); err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	id, err := w.Commit(ctx, repo.Facts{Resource: "home"})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(v.Current(ctx), v.Close(), l.CloseFile(), os.WriteFile(path, old, 0o600)); err != nil {
		t.Fatal(err)
	}
	l = ledger()
	v = reopen(t, s, l)
	want := "recovery point " + string(id) + " is in the store and not in the database, which is older than the store"
	refuses := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, repo.ErrOutdated) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s = %v, want it to say: %s", what, err, want)
		}
	}
	mustBackup(t, v, "", newGenerator(79).files(3), nil) // whose entries take the numbers of those that are lost
	refuses("Current", v.Current(ctx))
	for level := repo.CheckNames; level <= repo.CheckBytes; level++ {
		r := mustCheck(t, v, repo.CheckOptions{Level: level})
		if len(r.Damages) != 1 || r.Damages[0].Object != "r/"+string(id) {
			t.Fatalf("damages at level %d = %v, want the recovery point", level, r.Damages)
		}
		refuses("Check", r.Damages[0].Err)
	}
	_, err = v.Reclaim(ctx, repo.ReclaimOptions{})
	refuses("Reclaim", err)
	_, err = v.Repair(ctx, repo.RepairOptions{Check: true})
	refuses("Repair", err)
	if again := adopted(t, s); verify(ctx, again, id, have) != nil || sound(ctx, again) != nil {
		t.Errorf("after a new ledger was made: %v, %v", verify(ctx, again, id, have), sound(ctx, again))
	}
}

// TestReclaim_SweepsWhatWasAnnounced: a job that was cut between manifest and commit leaves nothing, and nobody takes its
// manifest for one of a later ledger; nor one of an earlier version, which carries no head.
func TestReclaim_SweepsWhatWasAnnounced(t *testing.T) {
	t.Parallel()
	for name, view := range map[string]func(repo.Ledger) repo.Ledger{
		"announced":       func(l repo.Ledger) repo.Ledger { return l },
		"earlier version": func(l repo.Ledger) repo.Ledger { return unannounced{l} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, s, l := t.Context(), mem.New(), localledger.New(localledger.Options{})
			v := create(t, s, view(l), small())
			_, p := mustPrepare(t, v)
			if err := errors.Join(v.Current(ctx), l.FenceAll(), v.Current(ctx)); err != nil {
				t.Fatal(err)
			}
			if r := mustCheck(t, v, repo.CheckOptions{}); r.Damages != nil || r.Foreign != nil {
				t.Errorf("Check = %+v, want nothing", r)
			}
			mustReclaim(t, v)
			if _, err := s.Stat(ctx, blob.Name("r/"+string(p.Point))); !errors.Is(err, blob.ErrNotExist) {
				t.Errorf("manifest after reclaim: %v", err)
			}
		})
	}
}

// unannounced is a ledger whose writers are of a version that kept no journal.
type unannounced struct{ repo.Ledger }

func (unannounced) Announce(context.Context, repo.SessionID) (repo.JournalHead, error) {
	return repo.JournalHead{}, nil
}

// altered is a ledger of which rows were changed by hand.
type altered struct {
	repo.Ledger
	journal func([]repo.JournalEntry) []repo.JournalEntry
	head    func([]repo.JournalEntry) repo.JournalHead
	points  func([]repo.PointState) []repo.PointState
}

func (a altered) entries(ctx context.Context) ([]repo.JournalEntry, error) {
	all, err := a.Ledger.Journal(ctx, 0, 1000)
	if err == nil && a.journal != nil {
		all = a.journal(all)
	}
	return all, err
}

func (a altered) Journal(ctx context.Context, from uint64, limit int) ([]repo.JournalEntry, error) {
	all, err := a.entries(ctx)
	all = slices.DeleteFunc(all, func(e repo.JournalEntry) bool { return e.Number < from })
	return all[:min(limit, len(all))], err
}

func (a altered) Snapshot(ctx context.Context) (repo.Snapshot, error) {
	s, err := a.Ledger.Snapshot(ctx)
	if err == nil && a.points != nil {
		s.Points = a.points(s.Points)
	}
	if err == nil && a.head != nil {
		var all []repo.JournalEntry
		all, err = a.entries(ctx)
		s.Journal = a.head(all)
	}
	return s, err
}

// TestCheck_JournalChangedByHand changes and removes each entry of a journal, and cuts it.
func TestCheck_JournalChangedByHand(t *testing.T) {
	t.Parallel()
	v, s, l := newVault(t)
	gone := mustBackup(t, v, "", newGenerator(80).files(2), nil)
	mustBackup(t, v, "", newGenerator(81).files(2), nil)
	if err := remove(t.Context(), v, l, gone); err != nil {
		t.Fatal(err)
	}
	const entries = 5 // announced and committed twice, removed once
	if r := mustCheck(t, v, repo.CheckOptions{}); r.Damages != nil {
		t.Fatal(r.Damages)
	}
	broken := func(t *testing.T, l repo.Ledger, number string) {
		t.Helper()
		v := reopen(t, s, l)
		for range 2 { // nothing of it is recorded as damage of the store
			r := mustCheck(t, v, repo.CheckOptions{})
			at := slices.IndexFunc(r.Damages, func(d repo.Damage) bool { return d.Object == "journal" })
			if at < 0 || !errors.Is(r.Damages[at].Err, repo.ErrJournal) || !strings.Contains(r.Damages[at].Err.Error(), "entry "+number+" ") {
				t.Errorf("damages = %v, want entry %s of the journal", r.Damages, number)
			}
			if known, err := l.Damages(t.Context()); err != nil || known != nil {
				t.Errorf("recorded = %v, %v, want nothing", known, err)
			}
		}
		if r, err := v.Round(t.Context(), repo.ScrubOptions{}); err != nil || !slices.ContainsFunc(r.Damages, func(d repo.Damage) bool {
			return d.Object == "journal"
		}) {
			t.Errorf("Round = %+v, %v, want the journal", r, err)
		}
		mustReclaim(t, v)
		if r := mustRepair(t, v, repo.RepairOptions{Check: true}); r.Damaged != 0 {
			t.Errorf("Repair = %+v, want nothing to repair", r)
		}
	}
	for i := range entries {
		number := string(rune('1' + i))
		for what, change := range map[string]func([]repo.JournalEntry) []repo.JournalEntry{
			"kind":   func(all []repo.JournalEntry) []repo.JournalEntry { all[i].Kind ^= 3; return all },
			"id":     func(all []repo.JournalEntry) []repo.JournalEntry { all[i].ID[3] ^= 1; return all },
			"hash":   func(all []repo.JournalEntry) []repo.JournalEntry { all[i].Hash[31] ^= 1; return all },
			"absent": func(all []repo.JournalEntry) []repo.JournalEntry { return slices.Delete(all, i, i+1) },
			"cut":    func(all []repo.JournalEntry) []repo.JournalEntry { return all[:i] },
		} {
			t.Run(what+" "+number, func(t *testing.T) { broken(t, altered{Ledger: restless{l}, journal: change}, number) })
		}
	}
}

// TestCheck_JournalOfAnother gives a ledger another journal, which is whole: the manifest of a recovery point that it has shows it.
func TestCheck_JournalOfAnother(t *testing.T) {
	t.Parallel()
	v, s, l := newVault(t)
	id := mustBackup(t, v, "", newGenerator(82).files(2), nil)
	other := altered{Ledger: l, journal: func(all []repo.JournalEntry) []repo.JournalEntry {
		var last repo.JournalHead
		all[0].ID[0] ^= 1
		for i, e := range all {
			all[i] = last.Next(e.Kind, e.ID)
			last = all[i].Head()
		}
		return all
	}, head: func(all []repo.JournalEntry) repo.JournalHead { return all[len(all)-1].Head() }}
	v = reopen(t, s, other)
	r := mustCheck(t, v, repo.CheckOptions{})
	if len(r.Damages) != 1 || r.Damages[0].Object != "r/"+string(id) || !errors.Is(r.Damages[0].Err, repo.ErrJournal) {
		t.Errorf("Check = %v, want the manifest that has another head", r.Damages)
	}
	scrubbed, err := v.Round(t.Context(), repo.ScrubOptions{})
	if err != nil || len(scrubbed.Damages) != 1 || scrubbed.Damages[0].Object != "r/"+string(id) {
		t.Errorf("Round = %v, %v, want the manifest that has another head", scrubbed.Damages, err)
	}
}

// TestCheck_PointMissingFromBoth removes a recovery point from store and ledger by hand. The journal tells.
func TestCheck_PointMissingFromBoth(t *testing.T) {
	t.Parallel()
	v, s, l := newVault(t)
	id := mustBackup(t, v, "", newGenerator(83).files(2), nil)
	mustBackup(t, v, "", newGenerator(84).files(2), nil)
	without := altered{Ledger: l, points: func(all []repo.PointState) []repo.PointState {
		return slices.DeleteFunc(all, func(p repo.PointState) bool { return p.ID == id })
	}}
	named := func(where string, want error) {
		t.Helper()
		r := mustCheck(t, reopen(t, s, without), repo.CheckOptions{})
		if len(r.Damages) != 1 || r.Damages[0].Object != "r/"+string(id) || !errors.Is(r.Damages[0].Err, want) {
			t.Errorf("Check, missing from %s = %v, want %v", where, r.Damages, want)
		}
	}
	named("the ledger", repo.ErrOutdated)
	if err := s.Delete(t.Context(), blob.Name("r/"+string(id))); err != nil {
		t.Fatal(err)
	}
	named("both", repo.ErrJournal)
}

// TestTakeOver_BeginsTheJournalAnew: heads that manifests carry from before are not held against a ledger that was made anew, and
// those of later manifests are.
func TestTakeOver_BeginsTheJournalAnew(t *testing.T) {
	t.Parallel()
	v, s, l := newVault(t)
	for seed := range uint64(3) {
		mustBackup(t, v, "", newGenerator(85+seed).files(2), nil)
	}
	before, err := l.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	next := localledger.New(localledger.Options{})
	if err := takeOver(t.Context(), s, next); err != nil {
		t.Fatal(err)
	}
	again := open(t, s, next)
	mustBackup(t, again, "", newGenerator(89).files(2), nil)
	if r := mustCheck(t, again, repo.CheckOptions{}); r.Damages != nil {
		t.Errorf("Check = %v, want nothing", r.Damages)
	}
	all, err := next.Journal(t.Context(), 0, 10)
	if err != nil || len(all) != 3 || all[0].Kind != repo.JournalBegun {
		t.Fatalf("journal = %v, %v, want a beginning and a recovery point", all, err)
	}
	// The third of three was announced as entry 5 and committed as entry 6, which no manifest carries.
	if n := all[0].Number; n != before.Journal.Number {
		t.Errorf("journal begins with entry %d, want %d", n, before.Journal.Number)
	}
}
