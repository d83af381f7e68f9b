package ledgertest

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockfast/lockfast/repo"
)

// take takes the round for one that is looked at daily and held for an hour.
func (k *kit) take(holder byte, want bool) repo.Round {
	k.Helper()
	r, ok, err := k.TakeRound(k.ctx, repo.ID{holder}, 24*time.Hour, time.Hour)
	k.must(err)
	if ok != want {
		k.Fatalf("TakeRound for %d = %+v, %t, want %t", holder, r, ok, want)
	}
	return r
}

func testRound(k *kit) {
	first := k.take(1, true)
	if first.Began.IsZero() || first.Place != "" || first.Over {
		k.Errorf("a first round is %+v", first)
	}
	k.take(2, false)
	if again := k.take(1, true); !again.Began.Equal(first.Began) {
		k.Errorf("a repetition began another round: %+v after %+v", again, first)
	}
	k.Advance(50 * time.Minute)
	first.Place = "a"
	k.must(k.NoteRound(k.ctx, first, time.Hour))
	k.Advance(50 * time.Minute)
	k.take(2, false)
	first.Place = "b"
	k.must(k.NoteRound(k.ctx, first, 0))
	second := k.take(2, true)
	if second.Place != "b" || !second.Began.Equal(first.Began) {
		k.Errorf("the next holder goes on with %+v, want %+v", second, first)
	}
	// One that falls silent is followed by another, and changes nothing any more.
	k.Advance(61 * time.Minute)
	third := k.take(3, true)
	second.Place = "c"
	if err := k.NoteRound(k.ctx, second, time.Hour); !errors.Is(err, repo.ErrFenced) {
		k.Errorf("NoteRound of a holder that was followed: %v, want %v", err, repo.ErrFenced)
	}
	if again := k.take(3, true); again.Place != "b" {
		k.Errorf("a holder that was followed noted %q", again.Place)
	}
	third.Place, third.Over = "d", true
	k.must(k.NoteRound(k.ctx, third, 0))
	k.must(k.NoteRound(k.ctx, third, 0)) // its answer was lost
	k.take(3, false)
	k.Advance(24 * time.Hour)
	if next := k.take(4, true); next.Place != "" || next.Over || next.Began.Sub(first.Began) < 24*time.Hour {
		k.Errorf("the round of the next day is %+v", next)
	}
	k.must(k.NoteRound(k.ctx, repo.Round{Holder: repo.ID{4}, Place: "e"}, 0))
	k.Advance(48 * time.Hour)
	if late := k.take(5, true); late.Place != "e" {
		k.Errorf("a round that is not over after two days goes on at %q, want e", late.Place)
	}
	k.must(k.NoteRound(k.ctx, repo.Round{Holder: repo.ID{5}, Place: "f"}, 0))
	if k.Reopen != nil {
		k.Ledger = k.Reopen()
		if r := k.take(6, true); r.Place != "f" {
			k.Errorf("after reopening the round goes on at %q, want f", r.Place)
		}
	}
}

func testRoundRace(k *kit) {
	var taken atomic.Int64
	var g sync.WaitGroup
	for n := range byte(8) {
		g.Go(func() {
			_, ok, err := k.TakeRound(k.ctx, repo.ID{n + 1}, 24*time.Hour, time.Hour)
			if err != nil {
				k.Error(err)
			} else if ok {
				taken.Add(1)
			}
		})
	}
	if g.Wait(); taken.Load() != 1 {
		k.Errorf("%d of 8 took the round at once, want one", taken.Load())
	}
}
