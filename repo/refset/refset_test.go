package refset_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/pack"
	"github.com/lockfast/lockfast/repo/refset"
)

// slot is a pack number and a slot of it.
type slot struct {
	pack uint32
	slot int
}

// total is the number of slots of a pack in these tests.
func total(pack uint32) int { return []int{1, 7, 64, 65, 130, 200}[pack%6] }

// draw returns a set and what is in it.
func draw(t *rapid.T, name string) (refset.Set, map[slot]bool) {
	b := refset.NewBuilder()
	model := map[slot]bool{}
	for range rapid.IntRange(0, 40).Draw(t, name) {
		p := uint32(rapid.IntRange(0, 12).Draw(t, "pack"))
		if rapid.IntRange(0, 9).Draw(t, "all") == 0 {
			b.AddAll(p)
			for i := range total(p) {
				model[slot{p, i}] = true
			}
			continue
		}
		first := rapid.IntRange(0, total(p)-1).Draw(t, "slot")
		for i := first; i < min(total(p), first+rapid.IntRange(1, 60).Draw(t, "run")); i++ {
			b.Add(p, i)
			model[slot{p, i}] = true
		}
	}
	s, err := b.Set(total)
	if err != nil {
		t.Fatal(err)
	}
	return s, model
}

// contents returns everything in a set.
func contents(s refset.Set) map[slot]bool {
	out := map[slot]bool{}
	for p := range s.Packs() {
		for i := range p.Each() {
			out[slot{p.Pack, i}] = true
		}
	}
	return out
}

func TestAlgebra_IsThatOfSets(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		a, ma := draw(rt, "a")
		b, mb := draw(rt, "b")
		union, intersection, difference := map[slot]bool{}, map[slot]bool{}, map[slot]bool{}
		for k := range ma {
			union[k] = true
			if mb[k] {
				intersection[k] = true
			} else {
				difference[k] = true
			}
		}
		for k := range mb {
			union[k] = true
		}
		for name, c := range map[string]struct {
			got  refset.Set
			want map[slot]bool
		}{
			"a":         {a, ma},
			"Union":     {refset.Union(a, b), union},
			"Intersect": {refset.Intersect(a, b), intersection},
			"AndNot":    {refset.AndNot(a, b), difference},
		} {
			if d := cmp.Diff(c.want, contents(c.got), cmp.AllowUnexported(slot{})); d != "" {
				rt.Fatalf("%s (-want +got):\n%s", name, d)
			}
			if c.got.Count() != len(c.want) {
				rt.Fatalf("%s.Count() = %d, want %d", name, c.got.Count(), len(c.want))
			}
			bytes := c.got.Bytes(func(p uint32) []uint32 { return slices.Repeat([]uint32{10}, total(p)) })
			if bytes != 10*int64(len(c.want)) {
				rt.Fatalf("%s.Bytes() = %d, want %d", name, bytes, 10*len(c.want))
			}
			for k := range union {
				if c.got.Has(k.pack, k.slot) != c.want[k] {
					rt.Fatalf("%s.Has(%v) = %v", name, k, !c.want[k])
				}
			}
		}
		if refset.AndNot(a, a).Len() != 0 {
			rt.Fatal("a without a is not empty")
		}
	})
}

func name(no uint32) (pack.ID, bool) { return pack.ID{byte(no * 77), byte(no)}, true }

func TestEncode_RoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s, model := draw(rt, "set")
		superset := rapid.Bool().Draw(rt, "superset")
		b, err := refset.Encode(s, superset, name)
		if err != nil {
			rt.Fatal(err)
		}
		records, sup, err := refset.Parse("f/x", b)
		if err != nil || sup != superset {
			rt.Fatalf("Parse = %v, %v", sup, err)
		}
		got, unknown := refset.FromRecords(records, func(id pack.ID) (uint32, bool) {
			return uint32(id[1]),
				id[1] != 3
		})
		for k := range model {
			if k.pack == 3 {
				delete(model, k)
			}
		}
		if d := cmp.Diff(model, contents(got), cmp.AllowUnexported(slot{})); d != "" {
			rt.Fatalf("set (-want +got):\n%s", d)
		}
		if _, had := s.Pack(3); had != (len(unknown) == 1) {
			rt.Fatalf("unknown packs = %v", unknown)
		}
		again, err := refset.Encode(s, superset, name)
		if err != nil || !slices.Equal(again, b) {
			rt.Fatal("Encode is not deterministic")
		}
	})
}

func TestParse_RefusesDamage(t *testing.T) {
	t.Parallel()
	b := refset.NewBuilder()
	b.Add(4, 5)
	b.AddAll(2)
	s, err := b.Set(total)
	if err != nil {
		t.Fatal(err)
	}
	enc, err := refset.Encode(s, false, name)
	if err != nil {
		t.Fatal(err)
	}
	for n := range enc {
		if _, _, err := refset.Parse("f/x", enc[:n]); !errors.Is(err, chunk.ErrDamaged) {
			t.Errorf("Parse of %d bytes = %v, want damage", n, err)
		}
	}
	if _, _, err := refset.Parse("f/x", append(enc, 0)); !errors.Is(err, chunk.ErrDamaged) {
		t.Errorf("Parse of a byte more = %v, want damage", err)
	}
	delta := slices.Clone(enc)
	delta[8] |= 2
	if _, _, err := refset.Parse("f/x", delta); err == nil || errors.Is(err, chunk.ErrDamaged) {
		t.Errorf("Parse of a delta = %v, want that it is not supported", err)
	}
}

func TestBuilder_RefusesSlotsThatAPackDoesNotHave(t *testing.T) {
	t.Parallel()
	b := refset.NewBuilder()
	b.Add(1, 7)
	if _, err := b.Set(total); err == nil {
		t.Error("Set with slot 7 of 7 = nil, want an error")
	}
}

func FuzzParse(f *testing.F) {
	b := refset.NewBuilder()
	b.Add(4, 5)
	b.AddAll(2)
	s, _ := b.Set(total)
	enc, _ := refset.Encode(s, true, name)
	f.Add(enc)
	f.Fuzz(func(t *testing.T, b []byte) {
		records, superset, err := refset.Parse("f/x", b)
		if err != nil {
			return
		}
		names := map[uint32]pack.ID{}
		s, _ := refset.FromRecords(records, func(id pack.ID) (uint32, bool) {
			no := uint32(len(names))
			names[no] = id
			return no, true
		})
		again, err := refset.Encode(s, superset, func(no uint32) (pack.ID, bool) { return names[no], true })
		if err != nil || !slices.Equal(again, b) {
			t.Errorf("parsed refset does not encode to the same bytes: %v", err)
		}
	})
}

func BenchmarkUnion(b *testing.B) {
	sets := make([]refset.Set, 2)
	for i := range sets {
		c := refset.NewBuilder()
		for p := range uint32(32768) {
			for s := i; s < 64; s += 2 {
				c.Add(p, s)
			}
		}
		sets[i], _ = c.Set(func(uint32) int { return 70 })
	}
	for b.Loop() {
		refset.Union(sets[0], sets[1])
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/32768, "ns/pack")
}
