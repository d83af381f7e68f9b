package parity_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/parity"
)

func random(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 7))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestFor_FollowsTheFormat(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ bytes, data, length, region int }{
		{1, 1, 4096, 8192 + 32},
		{4096, 1, 4096, 8192 + 32},
		{4097, 2, 4096, 8192 + 40},
		{131072, 32, 4096, 8192 + 280},
		{131073, 17, 8192, 16384 + 160},
		{8 << 20, 32, 256 << 10, 512<<10 + 280},
	} {
		l := parity.For(c.bytes)
		if want := (parity.Layout{Bytes: c.bytes, Data: c.data, Length: c.length}); l != want || l.Region() != c.region {
			t.Errorf("For(%d) = %+v with %d bytes, want %+v with %d", c.bytes, l, l.Region(), want, c.region)
		}
	}
}

func TestOfObject_InvertsTheSize(t *testing.T) {
	t.Parallel()
	sizes := map[int]bool{}
	for n := 1; n < 400_000; n += 97 {
		size := n + parity.For(n).Region()
		if l, ok := parity.OfObject(size); !ok || l.Bytes != n || sizes[size] {
			t.Fatalf("OfObject(%d) = %+v, %t, want %d covered bytes", size, l, ok, n)
		}
		sizes[size] = true
	}
	if _, ok := parity.OfObject(8000); ok {
		t.Error("OfObject takes 8000 bytes, too few for any region")
	}
}

// TestRepair_UpToTwoShards is the contract: whatever is done to at most two shards is undone, and whatever is done to more
// is an error, never other bytes.
func TestRepair_UpToTwoShards(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 300_000).Draw(t, "bytes")
		plain := random(rapid.Uint64().Draw(t, "seed"), n)
		l := parity.For(n)
		region := l.Append(nil, plain)
		covered, damaged := bytes.Clone(plain), bytes.Clone(region)
		shards := l.Data + parity.Spare
		all := make([]int, shards)
		for i := range all {
			all[i] = i
		}
		hit := rapid.Permutation(all).Draw(t, "order")[:rapid.IntRange(0, min(shards, 4)).Draw(t, "bad")]
		for _, i := range hit {
			shard := covered[min(i*l.Length, n):min((i+1)*l.Length, n)]
			if i >= l.Data {
				table := (len(region) - parity.Spare*l.Length) / 2
				shard = damaged[table+(i-l.Data)*l.Length:][:l.Length]
			}
			at := rapid.IntRange(0, len(shard)-1).Draw(t, "at")
			if rapid.Bool().Draw(t, "burst") {
				for j := range shard[at:] {
					shard[at+j] ^= 0xa5
				}
			} else {
				shard[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
			}
		}
		fixed, bad, err := l.Repair(covered, damaged)
		slices.Sort(hit)
		switch {
		case len(hit) > parity.Spare && (!errors.Is(err, chunk.ErrDamaged) || fixed != nil):
			t.Fatalf("Repair of %d bad shards = %v, want ErrDamaged", len(hit), err)
		case len(hit) <= parity.Spare && (err != nil || !bytes.Equal(fixed, plain) || !slices.Equal(bad, hit)):
			t.Fatalf("Repair of shards %v = %v, %v, want what was written", hit, bad, err)
		}
		if (l.Check(covered, damaged) == nil) != (len(hit) == 0) {
			t.Fatalf("Check with %d bad shards = %v", len(hit), l.Check(covered, damaged))
		}
	})
}

func TestRepairObject_AnySector(t *testing.T) {
	t.Parallel()
	for _, n := range []int{100, 4000, 5000, 50_000, 140_000, 600_001} {
		whole := parity.AppendObject(random(3, n))
		for at := 0; at < len(whole); at += 4096 {
			b := bytes.Clone(whole)
			clear(b[at:min(at+4096, len(b))])
			fixed, err := parity.RepairObject(b)
			if err != nil || !bytes.Equal(fixed, whole) {
				t.Fatalf("RepairObject of %d bytes with the sector at %d zeroed = %v, want what was written", n, at, err)
			}
			if _, err := parity.CheckObject(b); err == nil {
				t.Fatalf("CheckObject of %d bytes takes the sector at %d for whole", n, at)
			}
		}
	}
}

func TestRepairObject_RefusesOtherLengths(t *testing.T) {
	t.Parallel()
	whole := parity.AppendObject(random(4, 9000))
	for name, b := range map[string][]byte{
		"empty": nil, "short": whole[:len(whole)-1], "half": whole[:len(whole)/2], "long": append(bytes.Clone(whole), 0), "none": random(5, 9000),
	} {
		if fixed, err := parity.RepairObject(b); !errors.Is(err, chunk.ErrDamaged) || fixed != nil {
			t.Errorf("RepairObject of %s = %v, want ErrDamaged", name, err)
		}
	}
}

// FuzzRepairObject gives the decoder any bytes: it may refuse them, and what it returns is whole.
func FuzzRepairObject(f *testing.F) {
	f.Add([]byte{}, uint16(0))
	f.Add(parity.AppendObject([]byte("hello")), uint16(3))
	f.Add(parity.AppendObject(random(1, 5000)), uint16(9000))
	f.Fuzz(func(t *testing.T, b []byte, at uint16) {
		for _, b := range [][]byte{b, parity.AppendObject(append([]byte{1}, b...))} {
			if len(b) > 0 {
				b[int(at)%len(b)] ^= 0x10
			}
			fixed, err := parity.RepairObject(b)
			if err != nil {
				continue
			}
			if len(fixed) != len(b) {
				t.Errorf("RepairObject of %d bytes returns %d", len(b), len(fixed))
			}
			if _, err := parity.CheckObject(fixed); err != nil {
				t.Errorf("CheckObject of what was repaired = %v", err)
			}
		}
	})
}
