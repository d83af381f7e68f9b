package repo_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
	"github.com/lockfast/lockfast/repo/seal"
)

// epochs are changes of one bit of the epoch in a header: it was 1.
func epochs() map[string]func([]byte) []byte {
	out := map[string]func([]byte) []byte{}
	for _, bit := range []int{0, 1, 6, 31} {
		out[fmt.Sprintf("epoch bit %d", bit)] = func(b []byte) []byte {
			b[12+bit/8] ^= 1 << (bit % 8)
			return b
		}
	}
	return out
}

// TestRepair_EpochInAHeader changes the epoch of every kind of object, with parity and without: it is damage of that object, which a
// check names and a repair replaces.
func TestRepair_EpochInAHeader(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"d", "m", "x", "r", "f", "v", "p"} {
		for name, change := range epochs() {
			t.Run(kind+" "+name, func(t *testing.T) {
				t.Parallel()
				testEpoch(t, small(), kind, change)
			})
		}
		if kind == "r" || kind == "v" || kind == "p" {
			continue // without parity it is lost
		}
		t.Run(kind+" without parity", func(t *testing.T) {
			t.Parallel()
			o := small()
			o.NoParity = true
			testEpoch(t, o, kind, epochs()["epoch bit 6"])
		})
	}
}

func testEpoch(t *testing.T, o repo.CreateOptions, kind string, change func([]byte) []byte) {
	s, l := mem.New(), localledger.New(localledger.Options{})
	v := create(t, s, l, o)
	have := newGenerator(51).files(40)
	id := mustBackup(t, v, "", have, nil)
	mustBackup(t, v, "", newGenerator(52).files(20), nil)
	if _, err := v.PutVaultState(t.Context(), repo.VaultRecord{Generation: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := v.PutPointState(t.Context(), id, repo.PointRecord{Generation: 2}); err != nil {
		t.Fatal(err)
	}
	v.Close()
	object := names(t, s)[kind][0]
	overwrite(t, s, object, change)

	lowest := repo.CheckHeads
	if kind == "v" || kind == "p" {
		lowest = repo.CheckTrees
	}
	for level := lowest; level <= repo.CheckBytes; level++ {
		v = open(t, s, l)
		r, err := v.Check(t.Context(), repo.CheckOptions{Level: level})
		if err != nil {
			t.Fatalf("Check at level %d = %v", level, err)
		}
		if got := append(objects(r), healed(r)...); !slices.Equal(got, []string{string(object)}) {
			t.Errorf("Check at level %d names %q, want %s", level, got, object)
		}
		v.Close()
	}
	v = open(t, s, l)
	mustScrub(t, v, repo.ScrubOptions{Share: 1})
	if r := mustRepair(t, v, repo.RepairOptions{}); len(r.Lost) > 0 {
		t.Errorf("Repair = %+v, want nothing lost", r)
	}
	if err := sound(t.Context(), v); err != nil {
		t.Errorf("after the repair: %v", err)
	}
	if err := verify(t.Context(), v, id, have); err != nil {
		t.Error(err)
	}
}

func healed(r repo.CheckReport) (names []string) {
	for _, d := range r.Healed {
		names = append(names, d.Object)
	}
	return names
}

func TestOpen_EpochInTheClaim(t *testing.T) {
	t.Parallel()
	v, s, l := newVault(t)
	v.Close()
	overwrite(t, s, "c/1", epochs()["epoch bit 1"])
	v = open(t, s, l)
	if got := objects(mustCheck(t, v, repo.CheckOptions{})); !slices.Equal(got, []string{"c/1"}) {
		t.Errorf("Check names %q, want c/1", got)
	}
}

// TestOpen_KeyOfAnEpochIsLost: a vault that lacks the key of an epoch before its newest has no damaged objects, and an error says what it
// lacks.
func TestOpen_KeyOfAnEpochIsLost(t *testing.T) {
	t.Parallel()
	v, s, l := newVault(t)
	mustBackup(t, v, "", newGenerator(53).files(5), nil)
	v.Close()
	secret := seal.Secret{8}
	later := seal.KeyRecord{Epoch: 2, Generation: 1, UUID: small().UUID}
	var err error
	if later.Wrapped, err = testKey.Wrap(t.Context(), secret[:], later.Bind()); err != nil {
		t.Fatal(err)
	}
	if later.Domain, err = seal.SealDomain(later.UUID, later.Epoch, secret, small().DomainKey); err != nil {
		t.Fatal(err)
	}
	put(t, s, blob.Name(later.Name()), later.Encode())
	for _, name := range []blob.Name{"k/1-1", "k/1-2"} {
		if err := s.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	_, err = repo.Open(t.Context(), s, l, testKey, repo.Options{})
	if err == nil || !strings.Contains(err.Error(), "needs the vault key of epoch 1, which is not there") {
		t.Errorf("Open without the keys of epoch 1 = %v, want the epoch named", err)
	}
}
