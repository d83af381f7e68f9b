package ledgertest

import (
	"slices"
	"time"

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

// testEnded: a removed point and a forgotten writer are told from ids that the ledger never gave, also after the next ones.
func testEnded(k *kit) {
	p, _ := k.point(1)
	removed, _ := k.point(1)
	w, running, r := k.writer(), k.writer(), k.open(repo.SessionOptions{Kind: repo.SessionReader, Pin: p})
	all := []repo.PointID{"0123456789abcdef0123456789abcdef", p, removed, repo.PointID(w.ID), repo.PointID(running.ID), repo.PointID(r.ID)}
	want := func(when string, want ...repo.PointID) {
		k.Helper()
		got, err := k.Ended(k.ctx, all)
		k.must(err)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			k.Errorf("Ended %s = %v, want %v", when, got, want)
		}
	}
	want("before anything")
	k.must(k.Delete(k.ctx, removed))
	k.must(k.Close(k.ctx, w.ID))
	k.must(k.Close(k.ctx, r.ID))
	want("while there are rows")
	k.must(k.Remove(k.ctx, removed))
	k.must(k.Remove(k.ctx, removed))
	c := k.collector()
	k.must(k.Forget(k.ctx, c.ID, nil, []repo.SessionID{w.ID, running.ID, c.ID}))
	want("afterwards", removed, repo.PointID(w.ID))
	k.must(k.Close(k.ctx, c.ID))
	k.Advance(90 * 24 * time.Hour)
	next := k.collector()
	k.must(k.Forget(k.ctx, next.ID, nil, []repo.SessionID{c.ID}))
	want("after 90 days", removed, repo.PointID(w.ID))
	if k.Reopen != nil {
		k.Ledger = k.Reopen()
		want("after a restart", removed, repo.PointID(w.ID))
	}
}

func testForgotten(k *kit) {
	w, c := k.writer(), k.collector()
	packs, segments := k.live(w, repo.ObjectData, 2), k.live(w, repo.ObjectSegment, 1)
	k.must(k.Close(k.ctx, w.ID))
	_, err := k.Condemn(k.ctx, c.ID, packs[:1])
	k.must(err)
	k.must(k.Retire(k.ctx, c.ID, []repo.Retirement{{ID: packs[0], Remap: []byte("map")}, {ID: segments[0]}}))
	_, before, err := k.Changes(k.ctx, 0)
	k.must(err)
	k.must(k.Forget(k.ctx, c.ID, []repo.ID{packs[0], packs[1], segments[0]}, nil))
	changed, after, err := k.Changes(k.ctx, before)
	k.must(err)
	got := map[repo.ID]repo.ObjectState{}
	for _, o := range changed {
		got[o.ID] = o.State
		if o.Remap != nil {
			k.Errorf("forgotten object %s has a remap", o.ID)
		}
	}
	want := map[repo.ID]repo.ObjectState{packs[0]: repo.ObjectForgotten, segments[0]: repo.ObjectForgotten}
	if diff := cmp.Diff(want, got); diff != "" {
		k.Errorf("changes after objects were forgotten (-want +got):\n%s", diff)
	}
	if changed, _, err := k.Changes(k.ctx, after); len(changed) != 0 || err != nil {
		k.Errorf("changes told twice: %v, %v", changed, err)
	}
	k.must(k.Forget(k.ctx, c.ID, []repo.ID{packs[0]}, nil))
	k.wantErr("Retire of a forgotten pack", k.Retire(k.ctx, c.ID, []repo.Retirement{{ID: packs[0]}}), repo.ErrNotFound)
	k.wantErr("Commit on a forgotten pack", k.Commit(k.ctx, prepared(k.writer(), packs[0])), repo.ErrFenced)
}

// testFencedChangeNothing has a writer and a collector wake after they were fenced.
func testFencedChangeNothing(k *kit) {
	w, c := k.writer(), k.collector()
	packs, names := k.live(w, repo.ObjectData, 2), k.reserve(w, repo.ObjectData, 1)
	_, err := k.Condemn(k.ctx, c.ID, packs[:1])
	k.must(err)
	k.Advance(2 * w.Lease)
	next := k.collector() // takes over
	before, _, err := k.Changes(k.ctx, 0)
	k.must(err)
	for name, call := range map[string]func() error{
		"Renew":       func() error { _, err := k.Renew(k.ctx, w.ID); return err },
		"Acknowledge": func() error { _, err := k.Acknowledge(k.ctx, w.ID, []byte("pins")); return err },
		"Reserve":     func() error { return k.Reserve(k.ctx, w.ID, []repo.Object{{ID: repo.ID{1}, Kind: repo.ObjectData}}) },
		"Register":    func() error { return k.Register(k.ctx, w.ID, names) },
		"Announce":    func() error { _, err := k.Announce(k.ctx, w.ID); return err },
		"Commit":      func() error { return k.Commit(k.ctx, prepared(w, packs...)) },
		"Condemn":     func() error { _, err := k.Condemn(k.ctx, c.ID, packs); return err },
		"Rescue":      func() error { return k.Rescue(k.ctx, c.ID, packs) },
		"Retire":      func() error { return k.Retire(k.ctx, c.ID, []repo.Retirement{{ID: packs[0]}}) },
		"Forget":      func() error { return k.Forget(k.ctx, c.ID, packs, []repo.SessionID{w.ID}) },
	} {
		k.wantErr(name+" of a fenced session", call(), repo.ErrFenced)
	}
	after, _, err := k.Changes(k.ctx, 0)
	k.must(err)
	if diff := cmp.Diff(before, after); diff != "" {
		k.Errorf("fenced sessions changed objects (-before +after):\n%s", diff)
	}
	k.must(k.Retire(k.ctx, next.ID, []repo.Retirement{{ID: packs[0]}}))
}

// testClockJumps moves the clock by a day, both ways, between the steps of a reclaim. It may cost sessions their lease, and
// nothing else.
func testClockJumps(k *kit) {
	const day = 24 * time.Hour
	for _, jump := range []time.Duration{day, -day} {
		p, packs := k.point(1)
		w := k.open(repo.SessionOptions{Kind: repo.SessionWriter, Pin: p})
		k.Advance(jump)
		c := k.collector()
		if state := k.session(w.ID).State; (state == repo.SessionFenced) != (jump > 0) {
			k.Errorf("state of a writer after a jump by %s = %d", jump, state)
		}
		epoch, err := k.Condemn(k.ctx, c.ID, packs)
		k.must(err)
		k.Advance(-jump)
		waiting, err := k.Waiting(k.ctx, epoch)
		if jump > 0 {
			k.must(err)
			if len(waiting) != 0 {
				k.Errorf("waiting for %v, want none: the writer is fenced for good", waiting)
			}
			k.wantErr("Commit of a fenced session", k.Commit(k.ctx, prepared(w, packs...)), repo.ErrFenced)
		} else if k.session(w.ID).State == repo.SessionActive && len(waiting) == 0 {
			k.Error("not waiting for a writer that is active and has not acknowledged")
		}
		k.wantState(packs[0], repo.ObjectCondemned)
		snapshot, err := k.Snapshot(k.ctx)
		k.must(err)
		if !slices.Contains(snapshot.Points, repo.PointState{ID: p}) {
			k.Errorf("recovery point %s is gone after the clock jumped by %s", p, jump)
		}
		k.must(k.Close(k.ctx, c.ID))
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
