package ledgertest

import (
	"errors"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/repo"
)

func (k *kit) wantErr(what string, err, want error) {
	k.Helper()
	if !errors.Is(err, want) {
		k.Errorf("%s = %v, want %v", what, err, want)
	}
}

func testIdentity(k *kit) {
	a, err := k.Identity(k.ctx)
	k.must(err)
	b, err := k.Identity(k.ctx)
	k.must(err)
	if a != b || a == [16]byte{} {
		k.Errorf("Identity = %x then %x, want the same, not zero", a, b)
	}
}

func testClaim(k *kit) {
	is := func(want uint64) {
		k.Helper()
		n, err := k.Claimed(k.ctx)
		if k.must(err); n != want {
			k.Errorf("Claimed = %d, want %d", n, want)
		}
	}
	is(0)
	k.must(k.NoteClaim(k.ctx, 3))
	is(3)
	k.must(k.NoteClaim(k.ctx, 1))
	is(1)
	if k.Reopen != nil {
		k.Ledger = k.Reopen()
		is(1)
	}
}

func testUnknownPin(k *kit) {
	_, err := k.Open(k.ctx, repo.SessionOptions{Kind: repo.SessionReader, Pin: "00112233445566778899aabbccddeeff"})
	k.wantErr("Open of an unknown point", err, repo.ErrNotFound)
}

func testDeletedPin(k *kit) {
	p, _ := k.point(1)
	r := k.open(repo.SessionOptions{Kind: repo.SessionReader, Pin: p})
	k.must(k.Delete(k.ctx, p))
	_, err := k.Open(k.ctx, repo.SessionOptions{Kind: repo.SessionReader, Pin: p})
	k.wantErr("Open of a deleted point", err, repo.ErrNotFound)
	k.must(k.Remove(k.ctx, p))
	if got := k.session(r.ID); got.State != repo.SessionActive || got.Pin != p {
		k.Errorf("reader after its point was removed = %+v, want active, pinning %s", got, p)
	}
}

func testLease(k *kit) {
	w := k.writer()
	if w.Lease <= 0 {
		k.Fatalf("lease = %v, want more than 0", w.Lease)
	}
	k.Advance(2 * w.Lease)
	n, err := k.Fence(k.ctx)
	k.must(err)
	if n != 1 || k.session(w.ID).State != repo.SessionFenced {
		k.Errorf("Fence = %d, session %+v, want 1, fenced", n, k.session(w.ID))
	}
	_, err = k.Renew(k.ctx, w.ID)
	k.wantErr("Renew of a fenced session", err, repo.ErrFenced)
	_, err = k.Acknowledge(k.ctx, w.ID, nil)
	k.wantErr("Acknowledge of a fenced session", err, repo.ErrFenced)
	err = k.Reserve(k.ctx, w.ID, []repo.Object{{ID: repo.ID{1}, Kind: repo.ObjectData}})
	k.wantErr("Reserve of a fenced session", err, repo.ErrFenced)
	k.must(k.Close(k.ctx, w.ID))
}

func testRenew(k *kit) {
	w := k.writer()
	for range 5 {
		k.Advance(w.Lease * 3 / 4)
		epoch, err := k.Renew(k.ctx, w.ID)
		k.must(err)
		if epoch != w.Opened {
			k.Errorf("Renew = epoch %d, want %d", epoch, w.Opened)
		}
	}
	if n, err := k.Fence(k.ctx); n != 0 || err != nil {
		k.Errorf("Fence = %d, %v, want 0, nil", n, err)
	}
}

func testSameJob(k *kit) {
	a := k.open(repo.SessionOptions{Kind: repo.SessionWriter, Job: "j1"})
	other := k.open(repo.SessionOptions{Kind: repo.SessionWriter, Job: "j2"})
	none := k.writer()
	k.open(repo.SessionOptions{Kind: repo.SessionWriter, Job: "j1"})
	k.writer()
	got := []repo.SessionState{k.session(a.ID).State, k.session(other.ID).State, k.session(none.ID).State}
	want := []repo.SessionState{repo.SessionFenced, repo.SessionActive, repo.SessionActive}
	if diff := cmp.Diff(want, got); diff != "" {
		k.Errorf("states of sessions (-want +got):\n%s", diff)
	}
}

func testOneCollector(k *kit) {
	a := k.collector()
	_, err := k.Open(k.ctx, repo.SessionOptions{Kind: repo.SessionCollector})
	k.wantErr("Open of a second collector", err, repo.ErrBusy)
	k.Advance(2 * a.Lease)
	b := k.collector()
	k.must(k.Close(k.ctx, b.ID))
	k.collector()
	_, err = k.Condemn(k.ctx, a.ID, nil)
	k.wantErr("Condemn of a fenced collector", err, repo.ErrFenced)
}

func testClose(k *kit) {
	w, r := k.writer(), k.open(repo.SessionOptions{Kind: repo.SessionReader})
	for range 2 {
		k.must(k.Close(k.ctx, w.ID))
		k.must(k.Close(k.ctx, r.ID))
	}
	k.must(k.Close(k.ctx, "ffffffffffffffffffffffffffffffff"))
	if got := k.session(w.ID).State; got != repo.SessionClosed {
		k.Errorf("state of a closed writer = %d, want closed", got)
	}
	if got := k.session(r.ID).State; got != 0 {
		k.Errorf("state of a closed reader = %d, want no row", got)
	}
	_, err := k.Renew(k.ctx, r.ID)
	k.wantErr("Renew of a closed session", err, repo.ErrFenced)
}

func testAcknowledge(k *kit) {
	c, w := k.collector(), k.writer()
	epoch, err := k.Condemn(k.ctx, c.ID, nil)
	k.must(err)
	pins := []byte("pins")
	got, err := k.Acknowledge(k.ctx, w.ID, pins)
	k.must(err)
	pins[0] = 'x'
	row := k.session(w.ID)
	if got != epoch || row.Acked != epoch || string(row.Pins) != "pins" || row.Opened != w.Opened {
		k.Errorf("Acknowledge = %d, row %+v, want epoch %d and the pins", got, row, epoch)
	}
	_, err = k.Acknowledge(k.ctx, w.ID, nil)
	k.must(err)
	if got := k.session(w.ID).Pins; len(got) != 0 {
		k.Errorf("pins = %q, want none", got)
	}
}

func testCommitRace(k *kit) {
	for range 10 {
		w := k.writer()
		k.Advance(2 * w.Lease)
		done := make(chan error)
		go func() { done <- k.Commit(k.ctx, prepared(w)) }()
		_, ferr := k.Fence(k.ctx)
		cerr := <-done
		k.must(ferr)
		snapshot, err := k.Snapshot(k.ctx)
		k.must(err)
		committed := false
		for _, p := range snapshot.Points {
			committed = committed || p.ID == repo.PointID(w.ID)
		}
		if committed != (cerr == nil) {
			k.Fatalf("Commit = %v, but committed = %t", cerr, committed)
		}
		if cerr != nil && !errors.Is(cerr, repo.ErrFenced) {
			k.Fatalf("Commit = %v, want nil or ErrFenced", cerr)
		}
	}
}

func testReopen(k *kit) {
	if k.Reopen == nil {
		return
	}
	p, packs := k.point(2)
	before, err := k.Identity(k.ctx)
	k.must(err)
	for range 2 { // the first time may write anew what the second one reads
		k.Ledger = k.Reopen()
	}
	after, err := k.Identity(k.ctx)
	k.must(err)
	snapshot, err := k.Snapshot(k.ctx)
	k.must(err)
	if before != after || len(snapshot.Points) != 1 || snapshot.Points[0].ID != p {
		k.Errorf("after reopening: identity %x, points %v, want %x, %s", after, snapshot.Points, before, p)
	}
	for _, id := range packs {
		k.wantState(id, repo.ObjectLive)
	}
}
