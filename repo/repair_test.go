package repo_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
)

// sector zeroes the nth sector of an object, counted from the end if it is negative.
func sector(n int) func(b []byte) []byte {
	return func(b []byte) []byte {
		count := (len(b) + 4095) / 4096
		at := 4096 * ((n + count) % count)
		clear(b[at:min(at+4096, len(b))])
		return b
	}
}

// ruin leaves nothing that parity could start from.
func ruin(b []byte) []byte {
	clear(b)
	return b
}

func open(t testing.TB, s blob.Store, l repo.Ledger) *repo.Vault {
	t.Helper()
	v, err := repo.Open(t.Context(), s, l, testKey, repo.Options{Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

func mustRepair(t testing.TB, v *repo.Vault, o repo.RepairOptions) repo.RepairReport {
	t.Helper()
	o.Check, o.Level = true, repo.CheckBytes
	r, err := v.Repair(t.Context(), o)
	if err != nil {
		t.Fatalf("Repair = %v", err)
	}
	return r
}

// TestRepair_ByParity damages any object so little that its parity, or what it follows from, is enough: everything is read
// meanwhile, the damage is reported, and a repair leaves a sound vault in which the damaged object is gone.
func TestRepair_ByParity(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"m", "x", "r", "f"} {
		for name, change := range map[string]func([]byte) []byte{
			"head": flip(9), "flag": flip(11), "body": flip(150), "end": flip(-10), "first sector": sector(0), "second sector": sector(1), "last sector": sector(-1),
		} {
			t.Run(kind+" "+name, func(t *testing.T) {
				t.Parallel()
				testRepair(t, kind, change)
			})
		}
	}
}

func TestRepair_DerivesWhatIsGone(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"x", "f"} {
		for name, change := range map[string]func([]byte) []byte{"gone": vanish, "cut": cut, "ruined": ruin} {
			t.Run(kind+" "+name, func(t *testing.T) {
				t.Parallel()
				testRepair(t, kind, change)
			})
		}
	}
}

// TestRepair_TrailersOfDataPacks: the trailer of a data pack is protected even where its contents are not.
func TestRepair_TrailersOfDataPacks(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func([]byte) []byte{"head": flip(9), "footer": flip(-3), "last sector": sector(-1)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testRepair(t, "d", change)
		})
	}
}

func testRepair(t *testing.T, kind string, change func([]byte) []byte) {
	v, s, l := newVault(t)
	have := newGenerator(31).files(60)
	a := mustBackup(t, v, "", have, nil)
	changed := newGenerator(32).change(have)
	b := mustBackup(t, v, a, changed, have)
	v.Close()
	object := names(t, s)[kind][0]
	overwrite(t, s, object, change)

	v = open(t, s, l)
	whole := func(when string) {
		t.Helper()
		for id, want := range map[repo.PointID]files{a: have, b: changed} {
			if err := verify(t.Context(), v, id, want); err != nil {
				t.Errorf("%s: %v", when, err)
			}
		}
	}
	whole("damaged")
	plain, err := repo.OpenReadOnly(t.Context(), s, testKey, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if ids, err := plain.PointIDs(t.Context()); err != nil || len(ids) != 2 {
		t.Errorf("PointIDs without a ledger = %v, %v, want both", ids, err)
	}
	r := mustRepair(t, v, repo.RepairOptions{})
	if r.Damaged == 0 || len(r.Lost) > 0 || r.Packs+r.Segments+r.Refsets+r.Manifests == 0 {
		t.Errorf("Repair = %+v, want something repaired and nothing lost", r)
	}
	if slices.Contains(names(t, s)[kind], object) {
		t.Errorf("%s is still there", object)
	}
	whole("repaired")
	if err := sound(t.Context(), v); err != nil {
		t.Errorf("after the repair: %v", err)
	}
	v.Close()
	v = open(t, s, l)
	whole("opened again")
	for _, id := range []repo.PointID{a, b} {
		if err := remove(t.Context(), v, l, id); err != nil {
			t.Fatal(err)
		}
	}
	mustReclaim(t, v)
	if left := names(t, s); len(left["r"])+len(left["f"])+len(left["d"])+len(left["m"]) > 0 {
		t.Errorf("left after deletion and reclaim: %v", left)
	}
}

// TestReads_ThreeBadShards damages more than parity can restore: an error, and nothing else, is what a read returns.
func TestReads_ThreeBadShards(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"m", "r"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			v, s, l := newVault(t)
			have := newGenerator(33).files(400)
			id := mustBackup(t, v, "", have, nil)
			v.Close()
			for _, name := range names(t, s)[kind] {
				overwrite(t, s, name, func(b []byte) []byte {
					for at := 200; at < len(b); at += 2000 {
						b[at] ^= 0x40
					}
					return b
				})
			}
			v = open(t, s, l)
			if err := verify(t.Context(), v, id, have); !errors.Is(err, repo.ErrDamaged) {
				t.Errorf("restore = %v, want ErrDamaged", err)
			}
			r := mustRepair(t, v, repo.RepairOptions{})
			if len(r.Lost) == 0 || !slices.Contains(r.Lost[0].Points, id) {
				t.Errorf("Repair = %+v, want it to name the point %s", r, id)
			}
		})
	}
}

// TestRepair_FromAnotherVault takes what is lost from a copy.
func TestRepair_FromAnotherVault(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"d", "m"} {
		for name, change := range map[string]func([]byte) []byte{"ruined": ruin, "gone": vanish, "cut": func(b []byte) []byte { return b[:100] }, "flipped": func(b []byte) []byte {
			for at := 100; at < len(b); at += 900 {
				b[at] ^= 2
			}
			return b
		}} {
			t.Run(kind+" "+name, func(t *testing.T) {
				t.Parallel()
				v, s, l := newVault(t)
				to := create(t, mem.New(), localledger.New(localledger.Options{}), other())
				have := newGenerator(34).files(80)
				id := mustBackup(t, v, "", have, nil)
				mustCopy(t, v, to, id)
				for _, object := range names(t, s)[kind] {
					overwrite(t, s, object, change)
				}
				v.Close()
				v = open(t, s, l)
				if err := verify(t.Context(), v, id, have); !errors.Is(err, repo.ErrDamaged) {
					t.Fatalf("restore before the repair = %v, want ErrDamaged", err)
				}
				r := mustRepair(t, v, repo.RepairOptions{From: []*repo.Vault{to}})
				if r.FromOther == 0 || len(r.Lost) > 0 {
					t.Errorf("Repair = %+v, want all from the other vault", r)
				}
				if err := verify(t.Context(), v, id, have); err != nil {
					t.Error(err)
				}
				if err := sound(t.Context(), v); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestRepair_RefusesAnotherDomain(t *testing.T) {
	t.Parallel()
	v, _, _ := newVault(t)
	o := small()
	o.UUID, o.DomainKey = [16]byte{8}, [32]byte{10}
	other := create(t, mem.New(), localledger.New(localledger.Options{}), o)
	if _, err := v.Repair(t.Context(), repo.RepairOptions{From: []*repo.Vault{other}}); !errors.Is(err, repo.ErrDomain) {
		t.Errorf("Repair = %v, want ErrDomain", err)
	}
}

// TestRepair_NamesWhatIsLost damages one file's content in a pack that holds others too. What can be saved moves to new
// packs, the rest is named, and goes on being named.
func TestRepair_NamesWhatIsLost(t *testing.T) {
	t.Parallel()
	v, s, l := newVault(t)
	have := files{"bad": randomBytes(200_000), "good": randomBytes(200_000), "tiny": []byte("x")}
	id := mustBackup(t, v, "", have, nil)
	var object blob.Name
	for _, name := range names(t, s)["d"] {
		object = name
	}
	overwrite(t, s, object, flip(3000))
	before := names(t, s)["d"]
	r := mustRepair(t, v, repo.RepairOptions{})
	if len(r.Lost) != 1 || r.Lost[0].Object != string(object) || !slices.Contains(r.Lost[0].Points, id) || len(r.Lost[0].Paths) != 1 ||
		!errors.Is(r.Lost[0].Err, repo.ErrDamaged) {
		t.Fatalf("Repair = %+v, want %s of %s with one path", r, object, id)
	}
	if after := names(t, s)["d"]; len(after) <= len(before) || !slices.Contains(after, object) {
		t.Errorf("data packs %v after %v, want a new one beside the damaged one", after, before)
	}
	lost := string(r.Lost[0].Paths[0])
	v.Close()
	v = open(t, s, l)
	mustReclaim(t, v)
	p, err := v.OpenPoint(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for key, want := range have {
		e, err := p.Lookup(t.Context(), []byte(key))
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, e.Content.Size)
		_, err = p.Reader(t.Context(), e.Content).ReadAt(got, 0)
		if key == lost && !errors.Is(err, repo.ErrDamaged) {
			t.Errorf("%s = %v, want ErrDamaged", key, err)
		}
		if key != lost && (err != nil || string(got) != string(want)) {
			t.Errorf("%s = %v, want its content", key, err)
		}
	}
	if again := mustRepair(t, v, repo.RepairOptions{}); len(again.Lost) != 1 {
		t.Errorf("second Repair = %+v, want the same lost", again)
	}
}

// TestRepair_CutAnywhere cuts a repair after every write and removal: nothing is worse than before, and the next repair
// finishes it.
func TestRepair_CutAnywhere(t *testing.T) {
	t.Parallel()
	for steps := 0; ; steps++ {
		v, s, l := newVault(t)
		have := newGenerator(35).files(50)
		id := mustBackup(t, v, "", have, nil)
		v.Close()
		all := names(t, s)
		for _, kind := range []string{"m", "x", "r", "f"} {
			overwrite(t, s, all[kind][0], flip(130))
		}
		limited := &limitedStore{Store: s, left: steps}
		v, err := repo.Open(t.Context(), limited, l, testKey, repo.Options{Workers: 2})
		if err != nil {
			t.Fatal(err)
		}
		_, err = v.Repair(t.Context(), repo.RepairOptions{Check: true, Level: repo.CheckBytes})
		v.Close()
		if err := l.FenceAll(); err != nil {
			t.Fatal(err)
		}
		again := open(t, s, l)
		if verr := verify(t.Context(), again, id, have); verr != nil {
			t.Fatalf("after %d steps: %v", steps, verr)
		}
		mustRepair(t, again, repo.RepairOptions{})
		if serr := sound(t.Context(), again); serr != nil {
			t.Fatalf("after %d steps and a second repair: %v", steps, serr)
		}
		again.Close()
		if err == nil {
			if steps < 8 {
				t.Errorf("a repair of four objects took %d steps", steps)
			}
			return
		}
	}
}

// limitedStore refuses changes after some.
type limitedStore struct {
	blob.Store
	left int
}

var errLimit = errors.New("cut")

func (s *limitedStore) step() error {
	if s.left--; s.left < 0 {
		return errLimit
	}
	return nil
}

func (s *limitedStore) Put(ctx context.Context, name blob.Name, r io.Reader, size int64) error {
	if err := s.step(); err != nil {
		return err
	}
	return s.Store.Put(ctx, name, r, size)
}

func (s *limitedStore) Delete(ctx context.Context, name blob.Name) error {
	if err := s.step(); err != nil {
		return err
	}
	return s.Store.Delete(ctx, name)
}

// TestRepair_OfAVaultWithoutParity works on what versions before wrote; only the sources beside parity are left.
func TestRepair_OfAVaultWithoutParity(t *testing.T) {
	t.Parallel()
	s, l := mem.New(), localledger.New(localledger.Options{})
	o := small()
	o.NoParity = true
	v := create(t, s, l, o)
	have := newGenerator(36).files(60)
	id := mustBackup(t, v, "", have, nil)
	for _, kind := range []string{"f", "x"} {
		overwrite(t, s, names(t, s)[kind][0], flip(130))
	}
	if r := mustRepair(t, v, repo.RepairOptions{}); len(r.Lost) > 0 || r.Refsets != 1 {
		t.Errorf("Repair = %+v, want the refset computed", r)
	}
	if err := errors.Join(verify(t.Context(), v, id, have), sound(t.Context(), v)); err != nil {
		t.Error(err)
	}
	overwrite(t, s, names(t, s)["m"][0], flip(150))
	if r := mustRepair(t, v, repo.RepairOptions{}); len(r.Lost) == 0 {
		t.Errorf("Repair of a meta pack without parity = %+v, want it lost", r)
	}
}

// TestRepair_WholeDataPacks: with the option, contents are protected too.
func TestRepair_WholeDataPacks(t *testing.T) {
	t.Parallel()
	s, l := mem.New(), localledger.New(localledger.Options{})
	o := small()
	o.Options.DataParity = true
	v := create(t, s, l, o)
	have := files{"large": randomBytes(300_000), "small": randomBytes(900)}
	id := mustBackup(t, v, "", have, nil)
	for _, name := range names(t, s)["d"] {
		overwrite(t, s, name, sector(2))
	}
	if err := verify(t.Context(), v, id, have); err != nil {
		t.Errorf("restore of a damaged pack: %v", err)
	}
	if d := v.Observed(); len(d) == 0 || !strings.HasPrefix(d[0].Object, "d/") {
		t.Errorf("Observed = %v, want the data pack", d)
	}
	if r := mustRepair(t, v, repo.RepairOptions{Damages: v.Observed()}); len(r.Lost) > 0 || r.FromParity == 0 {
		t.Errorf("Repair = %+v, want contents by parity", r)
	}
	if err := sound(t.Context(), v); err != nil {
		t.Error(err)
	}
}

// TestRepair_OfWhatReadsMet needs no check: reads note what they got around, also for the next process.
func TestRepair_OfWhatReadsMet(t *testing.T) {
	t.Parallel()
	v, s, l := newVault(t)
	have := newGenerator(38).files(40)
	id := mustBackup(t, v, "", have, nil)
	v.Close()
	for _, kind := range []string{"m", "r", "f", "x"} {
		overwrite(t, s, names(t, s)[kind][0], flip(120))
	}
	v = open(t, s, l)
	if err := verify(t.Context(), v, id, have); err != nil {
		t.Fatal(err)
	}
	if _, err := v.PointSizes(t.Context()); err != nil { // reads refsets
		t.Fatal(err)
	}
	v.Close()
	v = open(t, s, l)
	r, err := v.Repair(t.Context(), repo.RepairOptions{Level: repo.CheckNames})
	if err != nil || r.Damaged != 4 || r.Packs != 1 || r.Manifests != 1 || r.Refsets != 1 || r.Segments != 1 {
		t.Errorf("Repair = %+v, %v, want one object of each kind", r, err)
	}
	if err := sound(t.Context(), v); err != nil {
		t.Error(err)
	}
	if left, err := l.Damages(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("Damages after the repair = %v, %v, want none", left, err)
	}
}

func TestOptions_OnDamage(t *testing.T) {
	t.Parallel()
	v, s, l := newVault(t)
	have := newGenerator(37).files(30)
	id := mustBackup(t, v, "", have, nil)
	v.Close()
	object := names(t, s)["r"][0]
	overwrite(t, s, object, flip(100))
	var told []string
	v, err := repo.Open(t.Context(), s, l, testKey, repo.Options{OnDamage: func(name string, err error) {
		told = append(told, fmt.Sprint(name, errors.Is(err, repo.ErrDamaged)))
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	for range 2 {
		if err := verify(t.Context(), v, id, have); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{string(object) + "true"}; !slices.Equal(told, want) {
		t.Errorf("OnDamage was told of %v, want %v", told, want)
	}
}

// TestRepair_BesideAPointThatIsLost: a point of which neither refset nor tree can be read is named, and does not keep others
// from being repaired.
func TestRepair_BesideAPointThatIsLost(t *testing.T) {
	t.Parallel()
	v, s, l := newVault(t)
	gone := mustBackup(t, v, "", newGenerator(61).files(50), nil)
	first := names(t, s)
	have := newGenerator(62).files(50)
	id := mustBackup(t, v, "", have, nil)
	v.Close()
	for _, kind := range []string{"m", "f"} {
		for _, name := range names(t, s)[kind] {
			if slices.Contains(first[kind], name) {
				overwrite(t, s, name, ruin)
			} else {
				overwrite(t, s, name, flip(120))
			}
		}
	}
	v = open(t, s, l)
	r := mustRepair(t, v, repo.RepairOptions{})
	if len(r.Lost) == 0 || r.Packs == 0 || r.Refsets != 1 {
		t.Errorf("Repair = %+v, want one point repaired and one lost", r)
	}
	named := false
	for _, d := range r.Lost {
		named = named || slices.Contains(d.Points, gone)
		if slices.Contains(d.Points, id) {
			t.Errorf("lost %s of %v (%v), want only %s", d.Object, d.Points, d.Err, gone)
		}
	}
	if !named {
		t.Errorf("lost %+v, want the point %s", r.Lost, gone)
	}
	if err := verify(t.Context(), v, id, have); err != nil {
		t.Error(err)
	}
	if err := remove(t.Context(), v, l, gone); err != nil {
		t.Fatal(err)
	}
	mustReclaim(t, v)
	if err := errors.Join(sound(t.Context(), v), verify(t.Context(), v, id, have)); err != nil {
		t.Error(err)
	}
}

// TestReads_SwappedObjects exchanges two objects of a kind. Parity finds nothing wrong in them, and they are not taken for
// what they are not.
func TestReads_SwappedObjects(t *testing.T) {
	t.Parallel()
	for kind, readable := range map[string]bool{"d": false, "m": false, "r": false, "f": true, "x": true} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			v, s, l := newVault(t)
			contents := []files{newGenerator(51).files(50), newGenerator(52).files(50)}
			ids := []repo.PointID{mustBackup(t, v, "", contents[0], nil), mustBackup(t, v, "", contents[1], nil)}
			v.Close()
			objects := names(t, s)[kind][:2]
			var bodies [][]byte
			for _, name := range objects {
				overwrite(t, s, name, func(b []byte) []byte {
					bodies = append(bodies, b)
					return b
				})
			}
			for i, name := range objects {
				overwrite(t, s, name, func([]byte) []byte { return bodies[1-i] })
			}
			v = open(t, s, l)
			damaged := 0
			for i, id := range ids {
				err := verify(t.Context(), v, id, contents[i])
				if err != nil && !errors.Is(err, repo.ErrDamaged) {
					t.Errorf("restore = %v, want the content or ErrDamaged", err)
				}
				if err != nil {
					damaged++
				}
			}
			if (damaged == 0) != readable {
				t.Errorf("%d recovery points cannot be restored, want all of them: %t", damaged, readable)
			}
			r := mustRepair(t, v, repo.RepairOptions{})
			if (len(r.Lost) == 0) != readable {
				t.Errorf("Repair = %+v, want nothing lost: %t", r, readable)
			}
		})
	}
}
