package repo_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
	"github.com/lockfast/lockfast/repo/pack"
)

// lossVault is a vault with two recovery points, and a copy of it in another vault of the domain.
type lossVault struct {
	s      blob.Store
	l      *localledger.Ledger
	to     *repo.Vault
	toObj  blob.Store
	toRows *localledger.Ledger
	points map[repo.PointID]files
}

// newLossVault has contents of every kind: in bundles, in chunks, in lists. The second point shares most with the first.
func newLossVault(t *testing.T) *lossVault {
	t.Helper()
	v, s, l := newVault(t)
	w := &lossVault{s: s, l: l, toObj: mem.New(), toRows: localledger.New(localledger.Options{})}
	w.to = create(t, w.toObj, w.toRows, other())
	first := newGenerator(81).files(150)
	first["long"] = randomBytes(900_000)
	second := newGenerator(82).change(first)
	a := mustBackup(t, v, "", first, nil)
	b := mustBackup(t, v, a, second, first)
	w.points = map[repo.PointID]files{a: first, b: second}
	for _, id := range []repo.PointID{a, b} {
		mustCopy(t, v, w.to, id)
	}
	v.Close()
	return w
}

// lose removes all objects of some kinds.
func (w *lossVault) lose(t *testing.T, kinds string) {
	t.Helper()
	all := names(t, w.s)
	for _, kind := range strings.Fields(kinds) {
		for _, name := range all[kind] {
			overwrite(t, w.s, name, vanish)
		}
	}
}

// whole demands that the vault is sound and every point can be restored, also when it is opened anew.
func (w *lossVault) whole(t *testing.T) {
	t.Helper()
	v := open(t, w.s, w.l)
	defer v.Close()
	if err := sound(t.Context(), v); err != nil {
		t.Error(err)
	}
	for id, want := range w.points {
		if err := verify(t.Context(), v, id, want); err != nil {
			t.Error(err)
		}
	}
}

// TestRepair_ById loses packs with the segments that describe them, so that only trees tell what to take from the copy.
func TestRepair_ById(t *testing.T) {
	t.Parallel()
	for _, kinds := range []string{"d x", "m x", "d m x", "d m x f", "x f", "d x f"} {
		t.Run(kinds, func(t *testing.T) {
			t.Parallel()
			w := newLossVault(t)
			w.lose(t, kinds)
			v := open(t, w.s, w.l)
			r := mustRepair(t, v, repo.RepairOptions{From: []*repo.Vault{w.to}})
			if len(r.Lost)+len(r.DamagedPoints) > 0 || (r.FromOther > 0) != strings.ContainsAny(kinds, "dm") {
				t.Errorf("Repair = %+v, want what was lost from the copy", r)
			}
			v.Close()
			w.whole(t)

			v = open(t, w.s, w.l)
			mustReclaim(t, v)
			if err := exact(t.Context(), v); err != nil {
				t.Error(err)
			}
			v.Close()
			w.whole(t)
			v = open(t, w.s, w.l)
			for id := range w.points {
				if err := remove(t.Context(), v, w.l, id); err != nil {
					t.Fatal(err)
				}
			}
			mustReclaim(t, v)
			if left := names(t, w.s); len(left["r"])+len(left["f"])+len(left["d"])+len(left["m"]) > 0 {
				t.Errorf("left after deletion and reclaim: %v", left)
			}
		})
	}
}

// TestRepair_ByIdOfOneSegment loses what one of two backups stored; what the other one stored stays where it is.
func TestRepair_ByIdOfOneSegment(t *testing.T) {
	t.Parallel()
	v, s, l := newVault(t)
	w := &lossVault{s: s, l: l, points: map[repo.PointID]files{}}
	w.to = create(t, mem.New(), localledger.New(localledger.Options{}), other())
	first, second := newGenerator(83).files(60), newGenerator(84).files(60)
	w.points[mustBackup(t, v, "", first, nil)] = first
	kept := names(t, s)
	id := mustBackup(t, v, "", second, nil)
	w.points[id] = second
	mustCopy(t, v, w.to, id)
	v.Close()
	for kind, all := range names(t, s) {
		for _, name := range all {
			if strings.Contains("d m x", kind) && !slices.Contains(kept[kind], name) {
				overwrite(t, s, name, vanish)
			}
		}
	}
	v = open(t, s, l)
	if r := mustRepair(t, v, repo.RepairOptions{From: []*repo.Vault{w.to}}); r.Refsets != 1 || len(r.Lost) > 0 {
		t.Errorf("Repair = %+v, want the refset of one point written anew", r)
	}
	for _, kind := range []string{"d", "m"} {
		if now := names(t, s)[kind]; !contains(now, kept[kind]) {
			t.Errorf("%s = %v, want %v among them", kind, now, kept[kind])
		}
	}
	v.Close()
	w.whole(t)
}

func contains(all, some []blob.Name) bool {
	return !slices.ContainsFunc(some, func(name blob.Name) bool { return !slices.Contains(all, name) })
}

// TestRepair_ByIdNamesWhatIsInNoVault: the other vault has one of two points. The other one keeps what could be found, through a
// reclaim too, its lost entries are named, and a vault that has the rest completes it.
func TestRepair_ByIdNamesWhatIsInNoVault(t *testing.T) {
	t.Parallel()
	for _, kinds := range []string{"d x", "m x", "d m x"} {
		t.Run(kinds, func(t *testing.T) {
			t.Parallel()
			w := newLossVault(t)
			some := create(t, mem.New(), localledger.New(localledger.Options{}), other())
			ids := slices.Sorted(maps.Keys(w.points))
			v := open(t, w.s, w.l)
			mustCopy(t, v, some, ids[0])
			v.Close()
			w.lose(t, kinds)

			v = open(t, w.s, w.l)
			for range 2 {
				r := mustRepair(t, v, repo.RepairOptions{From: []*repo.Vault{some}})
				if len(r.Lost) == 0 || len(r.DamagedPoints) != 1 || r.DamagedPoints[0].ID != ids[1] {
					t.Fatalf("Repair = %+v, want the point %s to miss something", r, ids[1])
				}
				if err := verify(t.Context(), v, ids[0], w.points[ids[0]]); err != nil {
					t.Error(err)
				}
				if err := verify(t.Context(), v, ids[1], w.points[ids[1]]); !errors.Is(err, repo.ErrDamaged) {
					t.Errorf("restore of what is in no vault = %v, want ErrDamaged", err)
				}
				if !slices.ContainsFunc(r.Lost, func(d repo.Damage) bool {
					_, _, err := pack.ParseName(d.Object)
					return err == nil && slices.Equal(d.Points, ids[1:])
				}) {
					t.Errorf("lost %+v, want a pack that %s still names", r.Lost, ids[1])
				}
				d := r.DamagedPoints[0]
				named := map[string]bool{}
				for _, key := range d.Paths {
					named[string(key)] = true
				}
				if err := w.readable(t, v, ids[1], named, d.Unknown); err != nil {
					t.Error(err)
				}
				v.Close()
				v = open(t, w.s, w.l)
				mustReclaim(t, v)
			}
			if r := mustRepair(t, v, repo.RepairOptions{From: []*repo.Vault{some, w.to}}); len(r.Lost) > 0 || r.FromOther == 0 {
				t.Errorf("Repair from both = %+v, want the rest from the second", r)
			}
			v.Close()
			w.whole(t)
		})
	}
}

// readable demands that the entries of a point which are not named can be read. Of those that a part of a tree cannot be read
// of, nothing is known.
func (w *lossVault) readable(t *testing.T, v *repo.Vault, id repo.PointID, named map[string]bool, unknown bool) error {
	t.Helper()
	p := opened(t, v, id)
	good := 0
	for key, want := range w.points[id] {
		e, err := p.Lookup(t.Context(), []byte(key))
		if err != nil && unknown {
			continue
		}
		if err != nil {
			return err
		}
		got := make([]byte, e.Content.Size)
		_, err = p.Reader(t.Context(), e.Content).ReadAt(got, 0)
		switch intact := (e.Content.Size == 0 || err == nil) && bytes.Equal(got, want); {
		case intact:
			good++
		case !named[key] && !unknown:
			return fmt.Errorf("%s = %w, and is not named", key, err)
		}
	}
	if good == 0 && !unknown {
		return fmt.Errorf("nothing of %s can be read", id)
	}
	return nil
}

// blind is a ledger that knows nothing of some packs.
type blind struct {
	repo.Ledger
	packs map[repo.ID]bool
}

func (l blind) Changes(ctx context.Context, since uint64) ([]repo.Object, uint64, error) {
	objects, revision, err := l.Ledger.Changes(ctx, since)
	return slices.DeleteFunc(objects, func(o repo.Object) bool { return l.packs[o.ID] }), revision, err
}

// TestRepair_ByIdOfPacksThatNothingKnows: refsets name packs that are not even known to the ledger.
func TestRepair_ByIdOfPacksThatNothingKnows(t *testing.T) {
	t.Parallel()
	w := newLossVault(t)
	l := blind{w.l, map[repo.ID]bool{}}
	for _, kind := range []string{"d", "m"} {
		for _, name := range names(t, w.s)[kind] {
			_, id, err := pack.ParseName(string(name))
			if err != nil {
				t.Fatal(err)
			}
			l.packs[repo.ID(id)] = true
		}
	}
	w.lose(t, "d m x")
	v := open(t, w.s, l)
	r := mustRepair(t, v, repo.RepairOptions{From: []*repo.Vault{w.to}})
	if len(r.Lost) > 0 || r.Refsets != 2 || r.FromOther == 0 {
		t.Errorf("Repair = %+v, want both refsets written anew", r)
	}
	if err := sound(t.Context(), v); err != nil {
		t.Error(err)
	}
	for id, want := range w.points {
		if err := verify(t.Context(), v, id, want); err != nil {
			t.Error(err)
		}
	}
}

// TestRepair_ByIdTrustsNobody: the other vault is damaged, too. What it gives is right, or nothing.
func TestRepair_ByIdTrustsNobody(t *testing.T) {
	t.Parallel()
	w := newLossVault(t)
	w.to.Close()
	for _, name := range names(t, w.toObj)["d"] {
		overwrite(t, w.toObj, name, func(b []byte) []byte {
			for at := 3000; at < len(b)/2; at += 20_000 {
				b[at] ^= 4
			}
			return b
		})
	}
	w.lose(t, "d x")
	v := open(t, w.s, w.l)
	r := mustRepair(t, v, repo.RepairOptions{From: []*repo.Vault{open(t, w.toObj, w.toRows)}})
	if len(r.Lost) == 0 || r.FromOther == 0 || len(r.DamagedPoints) == 0 {
		t.Fatalf("Repair = %+v, want some contents, and some lost", r)
	}
	for _, d := range r.DamagedPoints {
		named := map[string]bool{}
		for _, key := range d.Paths {
			named[string(key)] = true
		}
		if err := w.readable(t, v, d.ID, named, false); err != nil || len(named) == 0 || len(named) == len(w.points[d.ID]) {
			t.Errorf("%s: %v; %d of %d entries are named", d.ID, err, len(named), len(w.points[d.ID]))
		}
	}
}

// TestRepair_ByIdCutAnywhere cuts a repair after every write and removal; the next one finishes it.
func TestRepair_ByIdCutAnywhere(t *testing.T) {
	t.Parallel()
	for steps := 0; ; steps++ {
		w := newLossVault(t)
		w.lose(t, "d m x")
		v, err := repo.Open(t.Context(), &limitedStore{Store: w.s, left: steps}, w.l, testKey, repo.Options{Workers: 2})
		if err != nil {
			t.Fatal(err)
		}
		_, err = v.Repair(t.Context(), repo.RepairOptions{Check: true, Level: repo.CheckBytes, From: []*repo.Vault{w.to}})
		v.Close()
		if err := w.l.FenceAll(); err != nil {
			t.Fatal(err)
		}
		again := open(t, w.s, w.l)
		if r := mustRepair(t, again, repo.RepairOptions{From: []*repo.Vault{w.to}}); len(r.Lost) > 0 {
			t.Fatalf("after %d steps: Repair = %+v, want nothing lost", steps, r)
		}
		again.Close()
		w.whole(t)
		if t.Failed() {
			t.Fatalf("after %d steps", steps)
		}
		if err == nil {
			if steps < 8 {
				t.Errorf("the repair took %d steps", steps)
			}
			return
		}
	}
}

// TestRepair_ByIdOfColdPacks loses a cold pack with its segment. A recovery point stays in its tier: what a warm one has as well is
// taken from there, into cold packs, and the rest from the copy.
func TestRepair_ByIdOfColdPacks(t *testing.T) {
	t.Parallel()
	s, l := mem.New(), localledger.New(localledger.Options{})
	v := create(t, s, l, coldOptions())
	to := create(t, mem.New(), localledger.New(localledger.Options{}), other())
	g := newGenerator(85)
	old := g.files(80)
	have := g.change(old)
	first := mustBackup(t, v, "", old, nil)
	mustCopy(t, v, to, first)
	w := &lossVault{s: s, l: l, points: map[repo.PointID]files{}}
	w.points[mustBackup(t, v, first, have, old)] = have
	w.points[mustMoveToCold(t, v, l, first)] = old
	reclaimAll(t, v)
	v.Close()
	w.lose(t, "a x")
	v = open(t, s, l)
	r := mustRepair(t, v, repo.RepairOptions{From: []*repo.Vault{to}})
	if len(r.Lost) > 0 || r.FromOther == 0 || r.FromVault == 0 {
		t.Errorf("Repair = %+v, want contents of the vault and of the copy", r)
	}
	if id, err := repo.Misplaced(t.Context(), v); id != "" || err != nil {
		t.Errorf("Misplaced = %q, %v, want none", id, err)
	}
	v.Close()
	w.whole(t)
}

// TestRepair_ByIdNamesWhatNobodyReported repairs another damage than that of the lost pack, which no vault has.
func TestRepair_ByIdNamesWhatNobodyReported(t *testing.T) {
	t.Parallel()
	w := newLossVault(t)
	ids := slices.Sorted(maps.Keys(w.points))
	segment := names(t, w.s)["x"][0]
	w.lose(t, "d x")
	empty := create(t, mem.New(), localledger.New(localledger.Options{}), other())
	v := open(t, w.s, w.l)
	r, err := v.Repair(t.Context(), repo.RepairOptions{
		Damages: []repo.Damage{{Object: string(segment), Err: repo.ErrDamaged}}, From: []*repo.Vault{empty},
	})
	if err != nil || len(r.DamagedPoints) != len(ids) || len(r.DamagedPoints[0].Paths) == 0 {
		t.Errorf("Repair = %+v, %v, want both points named", r, err)
	}
}

// TestRepair_ByIdBesideADamagedPack: one recovery point needs a pack that is lost with its segment, and one of which a part is
// damaged. What is left of that one moves, and the point goes on naming both.
func TestRepair_ByIdBesideADamagedPack(t *testing.T) {
	t.Parallel()
	v, s, l := newVault(t)
	w := &lossVault{s: s, l: l, points: map[repo.PointID]files{}}
	w.to = create(t, mem.New(), localledger.New(localledger.Options{}), other())
	first := files{"bad": randomBytes(200_000), "good": randomBytes(200_000)}
	a := mustBackup(t, v, "", first, nil)
	before := names(t, s)
	second := maps.Clone(first)
	second["new"] = randomBytes(100_000)
	b := mustBackup(t, v, a, second, first)
	w.points[a], w.points[b] = first, second
	empty := create(t, mem.New(), localledger.New(localledger.Options{}), other())
	mustCopy(t, v, w.to, b)
	v.Close()
	damages := []repo.Damage{{Object: string(before["d"][0]), Err: repo.ErrDamaged}}
	for kind, all := range names(t, s) {
		for _, name := range all {
			if strings.Contains("d x", kind) && !slices.Contains(before[kind], name) {
				overwrite(t, s, name, vanish)
				damages = append(damages, repo.Damage{Object: string(name), Err: repo.ErrDamaged})
			}
		}
	}
	overwrite(t, s, before["d"][0], flip(3000))
	v = open(t, s, l)
	r, err := v.Repair(t.Context(), repo.RepairOptions{Damages: damages, From: []*repo.Vault{empty}})
	if err != nil || len(r.DamagedPoints) != 2 || r.Slots == 0 || r.Refsets != 2 {
		t.Errorf("Repair = %+v, %v, want both points named, and contents of the damaged pack moved", r, err)
	}
	mustReclaim(t, v)
	v.Close()
	v = open(t, s, l)
	if r := mustRepair(t, v, repo.RepairOptions{From: []*repo.Vault{w.to}}); len(r.Lost) > 0 {
		t.Errorf("Repair from the copy = %+v, want nothing lost", r)
	}
	v.Close()
	w.whole(t)
}

// TestRepair_ByIdBehindARemap: a reclaim retired a pack and was cut before it rewrote the refset. So only the remap says that the
// recovery point needs a pack that is lost with its segment, and nothing says how many slots that has.
func TestRepair_ByIdBehindARemap(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"the other vault", "no vault"} {
		t.Run("in "+in, func(t *testing.T) {
			t.Parallel()
			v, s, l := newVault(t)
			w := &lossVault{s: s, l: l, points: map[repo.PointID]files{}}
			w.to = create(t, mem.New(), localledger.New(localledger.Options{}), other())
			second := files{"needed": randomBytes(200_000)}
			first := maps.Clone(second)
			first["dropped"] = randomBytes(200_000)
			a := mustBackup(t, v, "", first, nil)
			b := mustBackup(t, v, a, second, first)
			w.points[b] = second
			if in == "the other vault" {
				mustCopy(t, v, w.to, b)
			}
			apart := files{"apart": randomBytes(200_000)}
			beside := mustBackup(t, v, "", apart, nil)
			if err := remove(t.Context(), v, l, a); err != nil {
				t.Fatal(err)
			}
			v.Close()
			before := names(t, s)
			cut := errors.New("cut")
			v = open(t, beforePut{s, blob.Name("f/" + string(b) + ".2"), func() error { return cut }}, l)
			if _, err := v.Reclaim(t.Context(), repo.ReclaimOptions{}); !errors.Is(err, cut) {
				t.Fatalf("Reclaim = %v, want it cut before it rewrites the refset", err)
			}
			v.Close()
			if err := l.FenceAll(); err != nil {
				t.Fatal(err)
			}
			for kind, all := range names(t, s) {
				for _, name := range all {
					if strings.Contains("d m x", kind) && !slices.Contains(before[kind], name) {
						overwrite(t, s, name, vanish)
					}
				}
			}
			overwrite(t, s, blob.Name("f/"+string(beside)), vanish) // which is repaired all the same
			v = open(t, s, l)
			r := mustRepair(t, v, repo.RepairOptions{From: []*repo.Vault{w.to}})
			if err := verify(t.Context(), v, beside, apart); err != nil || len(names(t, s)["f"]) != 2 {
				t.Errorf("the other recovery point = %v, refsets are %v", err, names(t, s)["f"])
			}
			if in == "no vault" {
				if len(r.DamagedPoints) != 1 || r.DamagedPoints[0].ID != b || r.Refsets != 1 {
					t.Errorf("Repair = %+v, want the recovery point named and the other one's refset written", r)
				}
				return
			}
			if len(r.Lost) > 0 || r.Refsets != 2 {
				t.Errorf("Repair = %+v, want both refsets written anew", r)
			}
			v.Close()
			w.points[beside] = apart
			w.whole(t)
		})
	}
}
