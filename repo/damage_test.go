package repo_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
)

func flip(at int) func(b []byte) []byte {
	return func(b []byte) []byte {
		b[(at+len(b))%len(b)] ^= 1
		return b
	}
}

func cut(b []byte) []byte { return b[:len(b)/2] }

func vanish([]byte) []byte { return nil }

// copiesOf returns the later generations that say the same as an object.
func copiesOf(name blob.Name) []blob.Name {
	switch name {
	case "format":
		return []blob.Name{"format.2"}
	case "k/1-1":
		return []blob.Name{"k/1-2"}
	}
	return nil
}

func TestOpen_Refuses(t *testing.T) {
	t.Parallel()
	recrc := func(at int, value byte) func(b []byte) []byte {
		return func(b []byte) []byte {
			b[at] = value
			return withFormatCRC(b)
		}
	}
	for _, c := range []struct {
		name   string
		key    wrapper
		object blob.Name
		change func(b []byte) []byte
		want   error
		text   string
	}{
		{name: "wrong key", key: wrapper{5}, want: repo.ErrWrongKey, text: "k/1-"},
		{name: "no format object", object: "format", change: vanish, want: repo.ErrFormat, text: "not a vault"},
		{name: "damaged format object", object: "format", change: flip(20), want: repo.ErrDamaged, text: "format"},
		{name: "newer version", object: "format", change: recrc(9, 2), want: repo.ErrFormat, text: "format version 2"},
		{name: "unknown feature", object: "format", change: recrc(37, 1), want: repo.ErrFormat, text: "incompatible feature"},
		{name: "unknown suite", object: "format", change: recrc(11, 9), want: repo.ErrFormat, text: "suite 9"},
		{name: "feature only for readers", object: "format", change: recrc(40, 128), want: repo.ErrDamaged, text: "format"},
		{name: "damaged key object", object: "k/1-1", change: flip(60), want: repo.ErrDamaged, text: "k/1-"},
		{name: "no key object", object: "k/1-1", change: vanish, want: repo.ErrDamaged, text: "k/"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			v, s, l := newVault(t)
			v.Close()
			for _, name := range append(copiesOf(c.object), c.object) {
				if name != "" {
					overwrite(t, s, name, c.change)
				}
			}
			key := testKey
			if c.key != (wrapper{}) {
				key = c.key
			}
			_, err := repo.Open(t.Context(), s, l, key, repo.Options{})
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("Open = %v, want %v naming %q", err, c.want, c.text)
			}
		})
	}
}

func TestOpen_VaultOfAnotherLedger(t *testing.T) {
	t.Parallel()
	_, s, _ := newVault(t)
	_, err := repo.Open(t.Context(), s, localledger.New(localledger.Options{}), testKey, repo.Options{})
	if !errors.Is(err, repo.ErrClaimed) || !strings.Contains(err.Error(), "c/1") {
		t.Errorf("Open with another ledger = %v, want ErrClaimed", err)
	}
}

func TestCreate_NeverReplacesAVault(t *testing.T) {
	t.Parallel()
	_, s, l := newVault(t)
	if _, err := repo.Create(t.Context(), s, l, testKey, small()); !errors.Is(err, blob.ErrExist) {
		t.Errorf("Create over a vault = %v, want ErrExist", err)
	}
}

// TestDamage_IsNamed damages each kind of object. A check names it; what is not concerned can still be restored; nothing
// panics.
func TestDamage_IsNamed(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"d", "m", "x", "r", "f"} {
		for name, change := range map[string]func([]byte) []byte{
			"missing": vanish, "short": cut, "head": flip(30), "salt": flip(50), "body": flip(200), "end": flip(-10), "empty": func([]byte) []byte { return []byte{} },
		} {
			t.Run(kind+" "+name, func(t *testing.T) {
				t.Parallel()
				// What is in a pack is found through the index, so header and trailer are not needed to restore. Parity
				// restores what is little.
				little := strings.Contains("head salt end", name) || name == "body" && kind != "d"
				half := kind == "m" && name == "short" // the slots stand in the first half, the parity in the second
				testDamage(t, kind, change, kind == "x" || kind == "f" || little || half)
			})
		}
	}
}

func testDamage(t *testing.T, kind string, change func([]byte) []byte, restorable bool) {
	v, s, l := newVault(t)
	have := newGenerator(21).files(60)
	id := mustBackup(t, v, "", have, nil)
	before := names(t, s)
	other := mustBackup(t, v, "", files{"alone": randomBytes(5000)}, nil)
	after := names(t, s)
	object := before[kind][0]
	v.Close()
	overwrite(t, s, object, change)

	again, err := repo.Open(t.Context(), s, l, testKey, repo.Options{Workers: 2})
	if err != nil {
		t.Fatalf("Open with %s damaged: %v", object, err)
	}
	defer again.Close()
	r, err := again.Check(t.Context(), repo.CheckOptions{Level: repo.CheckBytes})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(r.Damages, func(d repo.Damage) bool { return d.Object == string(object) })
	if i < 0 {
		t.Fatalf("Check names %v, want %s (%d objects)", r.Damages, object, len(after))
	}
	if d := r.Damages[i]; !errors.Is(d.Err, repo.ErrDamaged) || !restorable && !slices.Contains(d.Points, id) || slices.Contains(d.Points, other) {
		t.Errorf("Damage = %+v, want the point %s only", d, id)
	}
	if err := verify(t.Context(), again, other, nil); err == nil || errors.Is(err, repo.ErrDamaged) {
		t.Errorf("restore of the sound point = %v, want one file", err)
	}
	err = verify(t.Context(), again, id, have)
	if restorable != (err == nil) || err != nil && !errors.Is(err, repo.ErrDamaged) {
		t.Errorf("restore with %s damaged = %v, want it to work: %t", object, err, restorable)
	}
	if plain, err := repo.OpenReadOnly(t.Context(), s, testKey, repo.Options{}); err != nil {
		t.Errorf("OpenReadOnly with %s damaged: %v", object, err)
	} else if _, err := plain.PointIDs(t.Context()); err != nil {
		t.Errorf("PointIDs without a ledger: %v", err)
	}
}

func TestCheck_NamesDamagedPaths(t *testing.T) {
	t.Parallel()
	v, s, _ := newVault(t)
	id := mustBackup(t, v, "", files{"bad": randomBytes(100_000), "empty": nil, "tiny": []byte("x")}, nil)
	overwrite(t, s, names(t, s)["d"][0], flip(5000))
	r, err := v.Check(t.Context(), repo.CheckOptions{Level: repo.CheckBytes})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Damages) != 1 || !slices.Equal(r.Damages[0].Points, []repo.PointID{id}) {
		t.Errorf("Check = %+v, want one damaged pack of %s", r.Damages, id)
	}
	want := []repo.DamagedPoint{{ID: id, Paths: [][]byte{[]byte("bad")}}}
	if diff := cmp.Diff(want, r.DamagedPoints); diff != "" {
		t.Errorf("damaged points (-want +got):\n%s", diff)
	}
}

func TestReclaim_RebuildsDamagedIndex(t *testing.T) {
	t.Parallel()
	v, s, l := newVault(t)
	have := newGenerator(22).files(60)
	id := mustBackup(t, v, "", have, nil)
	v.Close()
	overwrite(t, s, names(t, s)["x"][0], flip(300))
	again, err := repo.Open(t.Context(), s, l, testKey, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	mustReclaim(t, again)
	again.Close()
	third, err := repo.Open(t.Context(), s, l, testKey, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	if err := verify(t.Context(), third, id, have); err != nil {
		t.Error(err)
	}
	if err := sound(t.Context(), third); err != nil {
		t.Error(err)
	}
}

func TestForeignObjects_AreLeftAlone(t *testing.T) {
	t.Parallel()
	s, l := mem.New(), localledger.New(localledger.Options{})
	v := create(t, s, l, small())
	other := blob.Name("d/ab/abababababababababababababababab")
	foreign := []blob.Name{"readme.txt", "d/notes", other, "x/0/zzz", "r/notes", "f/notes.1", "lost/found"}
	for _, name := range foreign {
		if err := s.Put(t.Context(), name, bytes.NewReader([]byte("hello")), 5); err != nil {
			t.Fatal(err)
		}
	}
	have := newGenerator(23).files(40)
	a := mustBackup(t, v, "", have, nil)
	b := mustBackup(t, v, a, have, have)
	if err := remove(t.Context(), v, l, a); err != nil {
		t.Fatal(err)
	}
	mustReclaim(t, v)
	for _, name := range foreign {
		if _, err := s.Stat(t.Context(), name); err != nil {
			t.Errorf("%s after reclaim: %v", name, err)
		}
	}
	if err := verify(t.Context(), v, b, have); err != nil {
		t.Error(err)
	}
	plain, err := repo.OpenReadOnly(t.Context(), s, testKey, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(t.Context(), plain, b, have); err != nil {
		t.Error(err)
	}
}

func TestWriter_SurfacesStoreErrorsAtOnce(t *testing.T) {
	t.Parallel()
	s, l := mem.New(), localledger.New(localledger.Options{})
	create(t, s, l, small()).Close()
	full := fullStore{s}
	v, err := repo.Open(t.Context(), full, l, testKey, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	w, err := v.NewWriter(t.Context(), repo.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort(t.Context())
	for range 200 {
		if _, err = w.Stream(t.Context(), newSource(randomBytes(400_000)), repo.Content{}); err != nil {
			break
		}
	}
	if !errors.Is(err, blob.ErrNoSpace) {
		t.Errorf("Stream into a full store = %v, want ErrNoSpace", err)
	}
}
