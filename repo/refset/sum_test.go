package refset_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/lockfast/lockfast/repo/refset"
)

func TestSum_IsTheUnion(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		sum := refset.NewSum()
		var want refset.Set
		for range rapid.IntRange(0, 8).Draw(rt, "sets") {
			b := refset.NewBuilder()
			for range rapid.IntRange(0, 40).Draw(rt, "slots") {
				pack := uint32(rapid.IntRange(0, 6).Draw(rt, "pack"))
				if rapid.IntRange(0, 9).Draw(rt, "all") == 0 {
					b.AddAll(pack)
				} else {
					b.Add(pack, rapid.IntRange(0, 60+int(pack)*7).Draw(rt, "slot"))
				}
			}
			set, err := b.Set(func(pack uint32) int { return 70 + int(pack)*7 })
			if err != nil {
				rt.Fatal(err)
			}
			sum.AddSet(set)
			want = refset.Union(want, set)
		}
		if diff := cmp.Diff(list(want), list(sum.Set())); diff != "" {
			rt.Fatalf("sum (-union +sum):\n%s", diff)
		}
	})
}

// list returns the slots of a set by pack, and whether it says that these are all.
func list(s refset.Set) map[uint32][]int {
	out := map[uint32][]int{}
	for p := range s.Packs() {
		for slot := range p.Each() {
			out[p.Pack] = append(out[p.Pack], slot)
		}
		if p.All() {
			out[p.Pack] = append(out[p.Pack], -1)
		}
	}
	return out
}
