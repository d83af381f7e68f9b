package ledgertest

import (
	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/repo"
)

func testCondemn(k *kit) {
	w, c := k.writer(), k.collector()
	packs := k.live(w, repo.ObjectData, 2)
	segment := k.live(w, repo.ObjectSegment, 1)
	e1, err := k.Condemn(k.ctx, c.ID, append(packs[:1:1], segment[0], repo.ID{1}))
	k.must(err)
	e2, err := k.Condemn(k.ctx, c.ID, packs[:1])
	k.must(err)
	if e1 != w.Opened+1 || e2 != e1+1 {
		k.Errorf("Condemn = epochs %d, %d, want %d, %d", e1, e2, w.Opened+1, w.Opened+2)
	}
	if o := k.object(packs[0]); o.State != repo.ObjectCondemned || o.Epoch != e2 {
		k.Errorf("condemned pack = %+v, want condemned at %d", o, e2)
	}
	k.wantState(packs[1], repo.ObjectLive)
	k.wantState(segment[0], repo.ObjectLive)
	if late := k.writer(); late.Acked != e2 || late.Opened != e2 {
		k.Errorf("session opened later = %+v, want epoch %d", late, e2)
	}
}

func testWaiting(k *kit) {
	c := k.collector()
	w, r := k.writer(), k.open(repo.SessionOptions{Kind: repo.SessionReader})
	epoch, err := k.Condemn(k.ctx, c.ID, nil)
	k.must(err)
	k.writer()
	names := func() map[repo.SessionID]bool {
		k.Helper()
		waiting, err := k.Waiting(k.ctx, epoch)
		k.must(err)
		out := map[repo.SessionID]bool{}
		for _, s := range waiting {
			out[s.ID] = true
		}
		return out
	}
	if diff := cmp.Diff(map[repo.SessionID]bool{w.ID: true, r.ID: true}, names()); diff != "" {
		k.Errorf("waiting for (-want +got):\n%s", diff)
	}
	_, err = k.Acknowledge(k.ctx, w.ID, nil)
	k.must(err)
	if got := names(); got[w.ID] {
		k.Error("still waiting for a session that acknowledged")
	}
	k.must(k.Close(k.ctx, r.ID))
	if got := names(); len(got) != 0 {
		k.Errorf("waiting for %v, want none", got)
	}
}

func testWaitingFences(k *kit) {
	w := k.writer()
	k.Advance(w.Lease * 3 / 4)
	c := k.collector()
	epoch, err := k.Condemn(k.ctx, c.ID, nil)
	k.must(err)
	k.Advance(w.Lease / 2)
	waiting, err := k.Waiting(k.ctx, epoch)
	k.must(err)
	if len(waiting) != 0 || k.session(w.ID).State != repo.SessionFenced {
		k.Errorf("Waiting = %v, session %+v, want none, fenced", waiting, k.session(w.ID))
	}
	k.wantErr("Commit of a fenced session", k.Commit(k.ctx, prepared(w)), repo.ErrFenced)
}

func testRescue(k *kit) {
	w, c := k.writer(), k.collector()
	packs := k.live(w, repo.ObjectData, 2)
	_, err := k.Condemn(k.ctx, c.ID, packs[:1])
	k.must(err)
	k.must(k.Rescue(k.ctx, c.ID, append(packs, repo.ID{1})))
	k.wantState(packs[0], repo.ObjectLive)
	k.wantState(packs[1], repo.ObjectLive)
	err = k.Retire(k.ctx, c.ID, []repo.Retirement{{ID: packs[0]}})
	k.wantErr("Retire of a rescued pack", err, repo.ErrNotFound)
}

func testRetire(k *kit) {
	w, c := k.writer(), k.collector()
	packs := k.live(w, repo.ObjectData, 2)
	_, err := k.Condemn(k.ctx, c.ID, packs[:1])
	k.must(err)
	err = k.Retire(k.ctx, c.ID, []repo.Retirement{{ID: packs[0]}, {ID: packs[1]}})
	k.wantErr("Retire of a live pack", err, repo.ErrNotFound)
	k.wantState(packs[0], repo.ObjectCondemned)
	for range 2 {
		k.must(k.Retire(k.ctx, c.ID, []repo.Retirement{{ID: packs[0], Remap: []byte("map")}}))
	}
	if o := k.object(packs[0]); o.State != repo.ObjectRetired || string(o.Remap) != "map" || o.Epoch <= w.Opened+1 {
		k.Errorf("retired pack = %+v, want its remap and a new epoch", o)
	}
	k.must(k.Rescue(k.ctx, c.ID, packs[:1]))
	_, err = k.Condemn(k.ctx, c.ID, packs[:1])
	k.must(err)
	k.wantState(packs[0], repo.ObjectRetired)
}

func testRetireSegment(k *kit) {
	w, c := k.writer(), k.collector()
	segment := k.live(w, repo.ObjectSegment, 1)
	k.must(k.Retire(k.ctx, c.ID, []repo.Retirement{{ID: segment[0]}}))
	k.wantState(segment[0], repo.ObjectRetired)
}

func testForget(k *kit) {
	w, c := k.writer(), k.collector()
	packs := k.live(w, repo.ObjectData, 2)
	spare := k.reserve(w, repo.ObjectData, 1)
	_, err := k.Condemn(k.ctx, c.ID, packs[:1])
	k.must(err)
	k.must(k.Retire(k.ctx, c.ID, []repo.Retirement{{ID: packs[0]}}))
	all := append(packs, spare[0].ID)
	k.must(k.Forget(k.ctx, c.ID, all, []repo.SessionID{w.ID}))
	k.wantState(packs[0], 0)
	k.wantState(packs[1], repo.ObjectLive)
	k.wantState(spare[0].ID, repo.ObjectReserved)
	if got := k.session(w.ID).State; got != repo.SessionActive {
		k.Errorf("state of the writer = %d, want active", got)
	}
	k.must(k.Close(k.ctx, w.ID))
	k.must(k.Forget(k.ctx, c.ID, nil, []repo.SessionID{w.ID}))
	k.wantState(packs[1], repo.ObjectLive)
	k.wantState(spare[0].ID, 0)
	if got := k.session(w.ID).State; got != 0 {
		k.Errorf("state of a forgotten session = %d, want no row", got)
	}
}

func testNeedsCollector(k *kit) {
	w := k.writer()
	_, err := k.Condemn(k.ctx, w.ID, nil)
	k.wantErr("Condemn", err, repo.ErrFenced)
	k.wantErr("Rescue", k.Rescue(k.ctx, w.ID, nil), repo.ErrFenced)
	k.wantErr("Retire", k.Retire(k.ctx, w.ID, nil), repo.ErrFenced)
	k.wantErr("Forget", k.Forget(k.ctx, w.ID, nil, nil), repo.ErrFenced)
}
