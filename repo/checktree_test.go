package repo_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/localledger"
	"github.com/lockfast/lockfast/repo/pack"
	"github.com/lockfast/lockfast/repo/seal"
)

// wrongTree is a vault with two recovery points, of which one is made wrong in a way that only its tree shows.
type wrongTree struct {
	*testing.T
	v  *repo.Vault
	s  blob.Store
	l  *localledger.Ledger
	id repo.PointID // of the point that is to be wrong
	b  repo.Content // its content under the key b, a chunk of its own
}

// newWrongTree has a vault with contents that are too large for bundles, and one that has a list.
func newWrongTree(t *testing.T) *wrongTree {
	w := &wrongTree{T: t}
	w.v, w.s, w.l = newVault(t)
	w.id = mustBackup(t, w.v, "", files{"a": randomBytes(2000), "b": randomBytes(2000), "c": randomBytes(900_000)}, nil)
	w.b = w.content(w.id, "b")
	return w
}

func (w *wrongTree) content(id repo.PointID, key string) repo.Content {
	w.Helper()
	e, err := opened(w.T, w.v, id).Lookup(w.Context(), []byte(key))
	if err != nil {
		w.Fatal(err)
	}
	return e.Content
}

func (w *wrongTree) unindex(ids ...repo.ID) {
	w.Helper()
	if err := repo.Unindex(w.Context(), w.v, ids...); err != nil {
		w.Fatal(err)
	}
	w.v.Close()
	w.v = reopen(w.T, w.s, w.l)
}

func (w *wrongTree) refset(of repo.ID, drop bool) {
	w.Helper()
	pack, slot := repo.PlaceOf(w.v, of)
	if err := repo.ChangeRefset(w.Context(), w.v, w.id, pack, slot, drop); err != nil {
		w.Fatal(err)
	}
}

// TestCheck_OfTrees: what a tree refers to is in the index and in the refset, and nothing else is. Every deviation is found at the
// level of trees, named with what cannot be restored, and not below, where nothing is promised and nothing may be said.
func TestCheck_OfTrees(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		make    func(*wrongTree)
		object  string   // f or r: what is said to be wrong
		paths   []string // that cannot be restored
		unknown bool     // perhaps others
	}{
		"refset without a slot": {make: func(w *wrongTree) { w.refset(w.b.Extents[0].ID, true) }, object: "f"},
		"refset without a node": {make: func(w *wrongTree) { w.refset(repo.RootOf(opened(w.T, w.v, w.id)), true) }, object: "f"},
		"refset with a slot too many": {make: func(w *wrongTree) {
			other := mustBackup(w.T, w.v, "", files{"x": randomBytes(2000)}, nil)
			w.refset(w.content(other, "x").Extents[0].ID, false)
		}, object: "f"},
		"node that is not in the index": {
			make:   func(w *wrongTree) { w.unindex(repo.RootOf(opened(w.T, w.v, w.id))) },
			object: "r", unknown: true,
		},
		"list that is not in the index": {
			make:   func(w *wrongTree) { w.unindex(w.content(w.id, "c").List) },
			object: "r", paths: []string{"c"},
		},
		"content that is not in the index": {
			make:   func(w *wrongTree) { w.unindex(w.b.Extents[0].ID) },
			object: "f", paths: []string{"b"},
		},
		"content that no pack has": {make: func(w *wrongTree) { w.id = w.unstored() }, object: "f", paths: []string{"b", "d"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWrongTree(t)
			mustBackup(t, w.v, w.id, files{}, nil) // needs nothing of it
			c.make(w)
			for level := repo.CheckNames; level < repo.CheckTrees; level++ {
				if r := mustCheck(t, w.v, repo.CheckOptions{Level: level}); r.Damages != nil || r.DamagedPoints != nil || r.Healed != nil {
					t.Errorf("Check at level %d = %+v, want nothing", level, r)
				}
			}
			want := repo.DamagedPoint{ID: w.id, Unknown: c.unknown}
			for _, key := range c.paths {
				want.Paths = append(want.Paths, []byte(key))
			}
			object := map[string]string{"f": "f/" + string(w.id), "r": "r/" + string(w.id)}[c.object]
			for level := repo.CheckTrees; level <= repo.CheckBytes; level++ {
				r := mustCheck(t, w.v, repo.CheckOptions{Level: level})
				if diff := cmp.Diff([]string{object}, objects(r)); diff != "" {
					t.Errorf("damage at level %d (-want +got):\n%s", level, diff)
				} else if diff := cmp.Diff([]repo.PointID{w.id}, r.Damages[0].Points); diff != "" {
					t.Errorf("points of the damage at level %d (-want +got):\n%s", level, diff)
				}
				var lost []repo.DamagedPoint
				if c.unknown || c.paths != nil {
					lost = []repo.DamagedPoint{want}
				}
				if diff := cmp.Diff(lost, r.DamagedPoints); diff != "" {
					t.Errorf("points that miss something at level %d (-want +got):\n%s", level, diff)
				}
			}
		})
	}
}

// unstored commits a recovery point with two entries whose contents nobody has stored.
func (w *wrongTree) unstored() repo.PointID {
	w.Helper()
	writer, err := w.v.NewWriter(w.Context(), repo.WriterOptions{})
	if err != nil {
		w.Fatal(err)
	}
	defer writer.Abort(w.Context())
	stored, err := writer.Stream(w.Context(), newSource(bytes.Repeat([]byte("new"), 1000)), repo.Content{})
	if err != nil {
		w.Fatal(err)
	}
	nowhere := func(n byte) repo.Content {
		return repo.Content{Size: 1000, Extents: []repo.Extent{{ID: chunk.ID{n}, Length: 1000}}}
	}
	for _, e := range []repo.Entry{{Key: []byte("a"), Content: stored}, {Key: []byte("b"), Content: nowhere(1)},
		{Key: []byte("c"), Content: w.b}, {Key: []byte("d"), Content: nowhere(2)}} {
		if err := writer.Tree().Put(w.Context(), e); err != nil {
			w.Fatal(err)
		}
	}
	p, err := repo.PrepareUnresolved(w.Context(), writer, repo.Facts{})
	if err == nil {
		err = w.l.Commit(w.Context(), p)
	}
	if err != nil {
		w.Fatal(err)
	}
	return p.Point
}

// TestCheck_NamesAPointOnce has a point that needs a damaged slot and a content that is not in the index.
func TestCheck_NamesAPointOnce(t *testing.T) {
	t.Parallel()
	w := newWrongTree(t)
	w.unindex(w.b.Extents[0].ID)
	in, _ := repo.PlaceOf(w.v, w.content(w.id, "a").Extents[0].ID)
	overwrite(t, w.s, blob.Name(pack.Name(seal.TypeDataPack, in)), ruin)
	r := mustCheck(t, w.v, repo.CheckOptions{Level: repo.CheckBytes})
	want := []repo.DamagedPoint{{ID: w.id, Paths: [][]byte{[]byte("a"), []byte("b"), []byte("c")}}}
	if diff := cmp.Diff(want, r.DamagedPoints); diff != "" {
		t.Errorf("points that miss something (-want +got):\n%s", diff)
	}
}
