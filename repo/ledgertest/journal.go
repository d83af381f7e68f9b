package ledgertest

import (
	"sync"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/repo"
)

// chain returns the whole journal, read in small parts, and demands that it is whole.
func (k *kit) chain() (all []repo.JournalEntry) {
	k.Helper()
	snapshot, err := k.Snapshot(k.ctx)
	k.must(err)
	var last repo.JournalHead
	for {
		some, err := k.Journal(k.ctx, last.Number+1, 2)
		k.must(err)
		for _, e := range some {
			if want := last.Next(e.Kind, e.ID); e != want {
				k.Fatalf("entry after %d = %+v, want %+v", last.Number, e, want)
			}
			last = e.Head()
		}
		if all = append(all, some...); len(some) < 2 {
			break
		}
	}
	if last != snapshot.Journal {
		k.Fatalf("journal ends at %d, its head is %d", last.Number, snapshot.Journal.Number)
	}
	return all
}

// event is what an entry says.
type event struct {
	Kind repo.JournalKind
	ID   string
}

func (k *kit) wantEvents(want ...event) {
	k.Helper()
	var got []event
	for _, e := range k.chain() {
		got = append(got, event{e.Kind, e.ID.String()})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		k.Errorf("journal (-want +got):\n%s", diff)
	}
}

func testJournal(k *kit) {
	k.wantEvents()
	w := k.writer()
	packs := k.live(w, repo.ObjectData, 1)
	head, err := k.Announce(k.ctx, w.ID)
	k.must(err)
	if all := k.chain(); len(all) != 1 || all[0].Head() != head {
		k.Fatalf("journal = %v, want what Announce returned: %v", all, head)
	}
	for range 2 {
		k.must(k.Commit(k.ctx, prepared(w, packs...)))
	}
	events := []event{{repo.JournalAnnounced, string(w.ID)}, {repo.JournalCommitted, string(w.ID)}}
	k.wantEvents(events...)
	k.must(k.Delete(k.ctx, repo.PointID(w.ID)))
	k.wantEvents(events...)
	for range 2 {
		k.must(k.Remove(k.ctx, repo.PointID(w.ID)))
	}
	events = append(events, event{repo.JournalRemoved, string(w.ID)})
	k.wantEvents(events...)

	closed, r, lost := k.writer(), k.collector(), k.writer()
	k.must(k.Close(k.ctx, closed.ID))
	_, err = k.Announce(k.ctx, closed.ID)
	k.wantErr("Announce of a closed session", err, repo.ErrFenced)
	_, err = k.Announce(k.ctx, "ffffffffffffffffffffffffffffffff")
	k.wantErr("Announce of an unknown session", err, repo.ErrFenced)
	k.wantErr("Commit of a closed session", k.Commit(k.ctx, prepared(closed)), repo.ErrFenced)
	k.wantErr("Commit on an unknown pack", k.Commit(k.ctx, prepared(lost, repo.ID{1})), repo.ErrFenced)
	k.must(k.Close(k.ctx, r.ID))
	k.wantEvents(events...)
	for range 2 { // the first may write it anew
		if k.Reopen == nil {
			break
		}
		k.Ledger = k.Reopen()
		k.wantEvents(events...)
	}
}

func testJournalConcurrent(k *kit) {
	const writers, each = 4, 5
	var g sync.WaitGroup
	for range writers {
		g.Go(func() {
			for range each {
				w, err := k.Open(k.ctx, repo.SessionOptions{Kind: repo.SessionWriter})
				if err == nil {
					_, err = k.Announce(k.ctx, w.ID)
				}
				if err == nil {
					err = k.Commit(k.ctx, prepared(w))
				}
				if err == nil {
					err = k.Remove(k.ctx, repo.PointID(w.ID))
				}
				if err != nil {
					k.Error(err)
				}
			}
		})
	}
	g.Wait()
	if n := len(k.chain()); n != 3*writers*each {
		k.Errorf("journal has %d entries, want %d", n, 3*writers*each)
	}
}
