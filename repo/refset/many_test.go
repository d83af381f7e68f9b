package refset_test

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/lockfast/lockfast/repo/refset"
)

// lengths gives every slot a length of its own.
func lengths(pack uint32) []uint32 {
	l := make([]uint32, total(pack))
	for i := range l {
		l[i] = 1 + pack*1000 + uint32(i)
	}
	return l
}

func TestShares_AreWhatCountingGives(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		var sets []refset.Set
		var models []map[slot]bool
		union := map[slot]bool{}
		users := map[slot]int{}
		for range rapid.IntRange(0, 6).Draw(rt, "sets") {
			s, m := draw(rt, "set")
			sets, models = append(sets, s), append(models, m)
			for k := range m {
				union[k] = true
				users[k]++
			}
		}
		want := make([]refset.Share, len(sets))
		for i, m := range models {
			for k := range m {
				n := int64(lengths(k.pack)[k.slot])
				want[i].Referenced += n
				if users[k] == 1 {
					want[i].Unique += n
				}
			}
		}
		if d := cmp.Diff(want, refset.Shares(sets, lengths)); d != "" {
			rt.Fatalf("Shares (-want +got):\n%s", d)
		}
		if d := cmp.Diff(union, contents(refset.UnionAll(sets...)), cmp.AllowUnexported(slot{})); d != "" {
			rt.Fatalf("UnionAll (-want +got):\n%s", d)
		}
		maps.DeleteFunc(union, func(k slot, _ bool) bool { return users[k] != 1 })
		if d := cmp.Diff(union, contents(refset.Singles(sets...)), cmp.AllowUnexported(slot{})); d != "" {
			rt.Fatalf("Singles (-want +got):\n%s", d)
		}
	})
}

func BenchmarkShares(b *testing.B) {
	const packs, points = 32768, 100 // 100 recovery points of 1 TiB
	sets := make([]refset.Set, points)
	for i := range sets {
		c := refset.NewBuilder()
		for p := range uint32(packs) {
			if (int(p)+i)%5 == 0 {
				c.Add(p, i%64)
			} else {
				c.AddAll(p)
			}
		}
		sets[i], _ = c.Set(func(uint32) int { return 64 })
	}
	l := make([]uint32, 64)
	b.Run("Shares", func(b *testing.B) {
		for b.Loop() {
			refset.Shares(sets, func(uint32) []uint32 { return l })
		}
	})
	b.Run("UnionAll", func(b *testing.B) {
		for b.Loop() {
			refset.UnionAll(sets...)
		}
	})
}
