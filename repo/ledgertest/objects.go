package ledgertest

import (
	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/repo"
)

func testReserve(k *kit) {
	a, b := k.writer(), k.writer()
	object := k.reserve(a, repo.ObjectMeta, 1)[0]
	k.must(k.Reserve(k.ctx, a.ID, []repo.Object{object}))
	want := repo.Object{ID: object.ID, Kind: repo.ObjectMeta, State: repo.ObjectReserved, Session: a.ID}
	if diff := cmp.Diff(want, k.object(object.ID)); diff != "" {
		k.Errorf("reserved object (-want +got):\n%s", diff)
	}
	other := repo.Object{ID: repo.ID{1}, Kind: repo.ObjectData}
	if err := k.Reserve(k.ctx, b.ID, []repo.Object{other, object}); err == nil {
		k.Error("Reserve of a name of another session = nil, want an error")
	}
	k.wantState(other.ID, 0)
	live := k.live(a, repo.ObjectData, 1)[0]
	if err := k.Reserve(k.ctx, a.ID, []repo.Object{{ID: live, Kind: repo.ObjectData}}); err == nil {
		k.Error("Reserve of a live name = nil, want an error")
	}
}

func testRegister(k *kit) {
	w := k.writer()
	id := k.live(w, repo.ObjectData, 1)[0]
	k.must(k.Register(k.ctx, w.ID, []repo.Object{{ID: id, Size: 100, Sum: []byte("again")}}))
	want := repo.Object{ID: id, Kind: repo.ObjectData, State: repo.ObjectLive, Session: w.ID, Size: 100}
	if diff := cmp.Diff(want, k.object(id)); diff != "" {
		k.Errorf("registered object (-want +got):\n%s", diff)
	}
	cold := k.live(w, repo.ObjectCold, 1)[0]
	since := k.object(cold).Registered
	if since.IsZero() {
		k.Error("a cold pack does not know when it was registered")
	}
	k.must(k.Register(k.ctx, w.ID, []repo.Object{{ID: cold, Size: 100}}))
	c := k.collector()
	_, err := k.Condemn(k.ctx, c.ID, []repo.ID{cold})
	k.must(err)
	if got := k.object(cold).Registered; !got.Equal(since) {
		k.Errorf("a cold pack was registered at %s, later at %s", since, got)
	}
	summed := k.reserve(w, repo.ObjectData, 1)[0]
	summed.Size, summed.Sum = 100, []byte("the checksum of a pack, 32 bytes")
	k.must(k.Register(k.ctx, w.ID, []repo.Object{summed}))
	_, err = k.Condemn(k.ctx, c.ID, []repo.ID{summed.ID})
	k.must(err)
	k.must(k.Rescue(k.ctx, c.ID, []repo.ID{summed.ID}))
	if diff := cmp.Diff(summed.Sum, k.object(summed.ID).Sum); diff != "" {
		k.Errorf("checksum of a registered object (-want +got):\n%s", diff)
	}
	k.must(k.Close(k.ctx, w.ID))
	k.wantState(id, repo.ObjectLive)
}

func testRegisterForeign(k *kit) {
	a, b := k.writer(), k.writer()
	objects := k.reserve(a, repo.ObjectData, 1)
	mine := k.reserve(b, repo.ObjectData, 1)
	k.wantErr("Register of a name of another", k.Register(k.ctx, b.ID, append(mine, objects...)), repo.ErrNotFound)
	k.wantState(mine[0].ID, repo.ObjectReserved)
	k.must(k.Close(k.ctx, a.ID))
	k.wantErr("Register of a closed session", k.Register(k.ctx, a.ID, objects), repo.ErrFenced)
}

func testChanges(k *kit) {
	w := k.writer()
	first := k.live(w, repo.ObjectData, 2)
	_, revision, err := k.Changes(k.ctx, 0)
	k.must(err)
	second := k.live(w, repo.ObjectSegment, 1)
	c := k.collector()
	_, err = k.Condemn(k.ctx, c.ID, first[:1])
	k.must(err)
	changed, next, err := k.Changes(k.ctx, revision)
	k.must(err)
	got := map[repo.ID]repo.ObjectState{}
	for i, o := range changed {
		got[o.ID] = o.State
		if i > 0 && string(changed[i-1].ID[:]) >= string(o.ID[:]) {
			k.Error("Changes is not ascending by id")
		}
	}
	want := map[repo.ID]repo.ObjectState{first[0]: repo.ObjectCondemned, second[0]: repo.ObjectLive}
	if diff := cmp.Diff(want, got); diff != "" {
		k.Errorf("changes (-want +got):\n%s", diff)
	}
	if changed, _, err := k.Changes(k.ctx, next); len(changed) != 0 || err != nil {
		k.Errorf("Changes without a change = %v, %v, want none", changed, err)
	}
}

func testCommit(k *kit) {
	w := k.writer()
	packs := k.live(w, repo.ObjectData, 1)
	spare := k.reserve(w, repo.ObjectData, 1)
	k.must(k.Commit(k.ctx, prepared(w, packs...)))
	snapshot, err := k.Snapshot(k.ctx)
	k.must(err)
	if diff := cmp.Diff([]repo.PointState{{ID: repo.PointID(w.ID)}}, snapshot.Points); diff != "" {
		k.Errorf("points (-want +got):\n%s", diff)
	}
	if len(snapshot.Sessions) != 0 {
		k.Errorf("sessions after commit = %v, want none", snapshot.Sessions)
	}
	k.wantState(packs[0], repo.ObjectLive)
	k.wantState(spare[0].ID, 0)
}

func testCommitRepeated(k *kit) {
	w := k.writer()
	for range 2 {
		k.must(k.Commit(k.ctx, prepared(w)))
	}
	k.must(k.Close(k.ctx, w.ID))
}

func testCommitFenced(k *kit) {
	w := k.writer()
	k.must(k.Close(k.ctx, w.ID))
	k.wantErr("Commit of a closed session", k.Commit(k.ctx, prepared(w)), repo.ErrFenced)
	never := repo.Session{ID: "ffffffffffffffffffffffffffffffff"}
	k.wantErr("Commit of an unknown session", k.Commit(k.ctx, prepared(never)), repo.ErrFenced)
}

// retired returns a pack that is retired with the remap.
func (k *kit) retired(remap []byte) repo.ID {
	k.Helper()
	w, c := k.writer(), k.collector()
	pack := k.live(w, repo.ObjectData, 1)
	k.must(k.Close(k.ctx, w.ID))
	_, err := k.Condemn(k.ctx, c.ID, pack)
	k.must(err)
	k.must(k.Retire(k.ctx, c.ID, []repo.Retirement{{ID: pack[0], Remap: remap}}))
	k.must(k.Close(k.ctx, c.ID))
	return pack[0]
}

func testCommitLostPack(k *kit) {
	pack := k.retired(nil)
	k.wantErr("Commit on a retired pack", k.Commit(k.ctx, prepared(k.writer(), pack)), repo.ErrFenced)
	k.wantErr("Commit on an unknown pack", k.Commit(k.ctx, prepared(k.writer(), repo.ID{1})), repo.ErrFenced)
	w := k.writer()
	reserved := k.reserve(w, repo.ObjectData, 1)
	k.wantErr("Commit on a reserved pack", k.Commit(k.ctx, prepared(w, reserved[0].ID)), repo.ErrFenced)
}

func testCommitMovedPack(k *kit) {
	pack := k.retired([]byte("elsewhere"))
	k.must(k.Commit(k.ctx, prepared(k.writer(), pack)))
	if got := k.object(pack).Remap; string(got) != "elsewhere" {
		k.Errorf("remap = %q, want elsewhere", got)
	}
}

func testDelete(k *kit) {
	p, _ := k.point(1)
	k.wantErr("Delete of an unknown point", k.Delete(k.ctx, "00112233445566778899aabbccddeeff"), repo.ErrNotFound)
	for range 2 {
		k.must(k.Delete(k.ctx, p))
	}
	snapshot, err := k.Snapshot(k.ctx)
	k.must(err)
	if diff := cmp.Diff([]repo.PointState{{ID: p, Deleting: true}}, snapshot.Points); diff != "" {
		k.Errorf("points (-want +got):\n%s", diff)
	}
	for range 2 {
		k.must(k.Remove(k.ctx, p))
	}
	snapshot, err = k.Snapshot(k.ctx)
	k.must(err)
	if len(snapshot.Points) != 0 {
		k.Errorf("points after Remove = %v, want none", snapshot.Points)
	}
}
