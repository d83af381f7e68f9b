package index_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/index"
	"github.com/lockfast/lockfast/repo/pack"
	"github.com/lockfast/lockfast/repo/seal"
)

// id returns a random-looking id.
func id(n uint64) (id chunk.ID) {
	r := rand.New(rand.NewPCG(n, 1))
	binary.LittleEndian.PutUint64(id[:], r.Uint64())
	binary.LittleEndian.PutUint64(id[8:], r.Uint64())
	return id
}

// packOf returns a pack with the given number of chunks, every tenth of which is a bundle of 5 parts; ids start at
// first.
func packOf(no uint64, first uint64, n int) (index.PackInfo, []pack.Slot) {
	var slots []pack.Slot
	off := uint32(pack.HeaderSize)
	for i := range n {
		s := pack.Slot{ID: id(first + uint64(i)), Kind: chunk.Data, Codec: chunk.Zstd, Offset: off,
			Stored: 1000 + uint32(i), Plain: 5000}
		if i%10 == 9 {
			s.Kind = chunk.Bundle
			for j := range 5 {
				s.Parts = append(s.Parts, pack.Part{ID: id(1e9 + first*10 + uint64(i*5+j)), Length: 1000})
			}
		}
		slots = append(slots, s)
		off += s.Stored
	}
	return index.PackInfo{Info: pack.Info{ID: pack.ID(id(2e9 + no)), Type: seal.TypeDataPack, Epoch: 1,
		Size: int64(off)}, Slots: n}, slots
}

// want returns the locations that a pack gives.
func want(no uint32, slots []pack.Slot) map[chunk.ID]index.Location {
	out := map[chunk.ID]index.Location{}
	for i, s := range slots {
		loc := index.Location{Pack: no, Slot: uint16(i), Kind: s.Kind, Codec: s.Codec, Chunk: s.ID, Offset: s.Offset,
			Stored: s.Stored, Plain: s.Plain}
		if s.Kind != chunk.Bundle {
			out[s.ID] = loc
			continue
		}
		for _, p := range s.Parts {
			loc.Part, loc.PartLength = true, p.Length
			out[p.ID] = loc
			loc.PartOffset += p.Length
		}
	}
	return out
}

func build(t testing.TB, b *index.Builder) *index.Segment {
	t.Helper()
	built, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	s, err := index.Open("x/0/test", built.Plain)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// numbers gives packs of packOf their numbers.
func numbers(n int) func(pack.ID) uint32 {
	m := map[pack.ID]uint32{}
	for i := range n {
		m[pack.ID(id(2e9+uint64(i)))] = uint32(i)
	}
	return func(id pack.ID) uint32 {
		if no, ok := m[id]; ok {
			return no
		}
		return index.NoPack
	}
}

func TestSet_FindsEverythingAndNothingElse(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		set := index.NewSet()
		all := map[chunk.ID]index.Location{}
		packs := rapid.IntRange(1, 5).Draw(rt, "packs")
		b := index.NewBuilder()
		for no := range packs {
			info, slots := packOf(uint64(no), uint64(no)*1e5, rapid.IntRange(0, 300).Draw(rt, "slots"))
			b.AddPack(info, slots)
			for k, v := range want(uint32(no), slots) {
				all[k] = v
			}
			if rapid.Bool().Draw(rt, "cut") {
				set.Add(numbers(packs), build(t, b))
				b = index.NewBuilder()
			}
		}
		set.Add(numbers(packs), build(t, b))
		for k, v := range all {
			if got, ok := set.Lookup(k, nil); !ok || got != v {
				rt.Fatalf("Lookup(%s) = %+v, %v, want %+v", k, got, ok, v)
			}
			if got, ok := set.Lookup(k, func(p uint32) bool { return p == v.Pack }); ok {
				rt.Fatalf("Lookup(%s) in a refused pack = %+v", k, got)
			}
		}
		for i := range 200 {
			if got, ok := set.Lookup(id(5e9+uint64(i)), nil); ok {
				rt.Fatalf("Lookup of an unknown id = %+v", got)
			}
		}
	})
}

func TestMerge_KeepsWhatIsAliveAndSupersedes(t *testing.T) {
	t.Parallel()
	set := index.NewSet()
	merged := index.NewBuilder()
	all := map[chunk.ID]index.Location{}
	var ids []index.SegmentID
	for no := range 8 {
		b := index.NewBuilder()
		info, slots := packOf(uint64(no), uint64(no)*1e5, 200)
		b.AddPack(info, slots)
		s := build(t, b)
		ids = append(ids, s.ID())
		set.Add(numbers(8), s)
		merged.Merge(s, func(p pack.ID) bool { return numbers(8)(p) != 3 })
		if no != 3 {
			for k, v := range want(uint32(no), slots) {
				all[k] = v
			}
		}
	}
	s := build(t, merged)
	set.Add(numbers(8), s)
	if got := set.Segments(); len(got) != 1 || got[0] != s || len(s.Superseded()) != len(ids) {
		t.Errorf("%d segments after a merge of %d", len(got), len(ids))
	}
	for k, v := range all {
		if got, ok := set.Lookup(k, nil); !ok || got != v {
			t.Fatalf("Lookup(%s) = %+v, %v, want %+v", k, got, ok, v)
		}
	}
	n := 0
	for k, loc := range s.All() {
		n++
		if loc.Pack = numbers(8)(s.Pack(int(loc.Pack)).ID); loc != all[k] {
			t.Fatalf("All yields %s at %+v, want %+v", k, loc, all[k])
		}
	}
	if n != len(all) || set.PackCount() != 7 {
		t.Errorf("All yields %d of %d, %d packs", n, len(all), set.PackCount())
	}
}

func TestSet_SecondPlaceCountsWhenTheFirstIsGone(t *testing.T) {
	t.Parallel()
	info0, slots := packOf(0, 0, 50)
	info1, _ := packOf(1, 0, 50)
	b := index.NewBuilder()
	b.AddPack(info0, slots)
	b.AddPack(info1, slots)
	set := index.NewSet()
	set.Add(numbers(2), build(t, b))
	for dead := range uint32(2) {
		got, ok := set.Lookup(slots[0].ID, func(p uint32) bool { return p == dead })
		if !ok || got.Pack != 1-dead {
			t.Errorf("Lookup without pack %d = pack %d, %v", dead, got.Pack, ok)
		}
	}
	set.Rebind(func(p pack.ID) uint32 {
		if p == info1.ID {
			return 7
		}
		return index.NoPack
	})
	if got, ok := set.Lookup(slots[0].ID, nil); !ok || got.Pack != 7 {
		t.Errorf("Lookup after Rebind = pack %d, %v", got.Pack, ok)
	}
	if p, ok := set.Pack(7); !ok || p.ID != info1.ID {
		t.Errorf("Pack(7) = %s, %v", p.ID, ok)
	}
}

func TestBuilder_BorrowedEntries(t *testing.T) {
	t.Parallel()
	info, slots := packOf(0, 0, 50)
	b := index.NewBuilder()
	all := want(0, slots)
	for k, v := range all {
		b.Add(k, info, v)
	}
	set := index.NewSet()
	set.Add(numbers(1), build(t, b))
	for k, v := range all {
		if got, ok := set.Lookup(k, nil); !ok || got != v {
			t.Fatalf("Lookup(%s) = %+v, %v, want %+v", k, got, ok, v)
		}
	}
}

func TestOpen_RefusesDamage(t *testing.T) {
	t.Parallel()
	b := index.NewBuilder()
	b.AddPack(packOf(0, 0, 100))
	built, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 10, 63, 64, len(built.Plain) - 1} {
		if _, err := index.Open("x/0/y", built.Plain[:n]); !errors.Is(err, chunk.ErrDamaged) {
			t.Errorf("Open of %d bytes = %v, want damage", n, err)
		}
	}
}

func TestTable_OneStoresTheOthersWait(t *testing.T) {
	t.Parallel()
	table := index.NewTable()
	const ids, sessions = 500, 4
	var stored atomic.Int64
	var wg sync.WaitGroup
	for s := range uint32(sessions) {
		wg.Go(func() {
			for n := range ids {
				for {
					state, _, loc := table.Claim(id(uint64(n)), s)
					if state == index.Absent {
						if n%50 == int(s) && stored.Load() < 20 {
							table.Abandon(id(uint64(n)))
							continue
						}
						stored.Add(1)
						table.Store(id(uint64(n)), index.Location{Pack: 9, Slot: uint16(n), Kind: chunk.Data,
							Chunk: id(uint64(n)), Plain: 5})
						break
					}
					if state == index.Stored {
						if loc.Slot != uint16(n) || loc.Chunk != id(uint64(n)) {
							t.Errorf("id %d is at slot %d", n, loc.Slot)
						}
						break
					}
					if err := table.Wait(t.Context(), id(uint64(n))); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if stored.Load() != ids || table.Len() != ids {
		t.Errorf("%d stored, %d in the table, want %d", stored.Load(), table.Len(), ids)
	}
}

func TestTable_PartsAndForget(t *testing.T) {
	t.Parallel()
	table := index.NewTable()
	_, slots := packOf(0, 0, 50)
	all := want(0, slots)
	for k, v := range want(1, slots[:20]) {
		v.Pack = 1
		all[k] = v
	}
	for k, v := range all {
		table.Store(k, v)
	}
	table.Claim(id(77_777), 5)
	table.Claim(id(88_888), 6)
	for k, v := range all {
		if state, _, got := table.Lookup(k); state != index.Stored || got != v {
			t.Fatalf("Lookup(%s) = %v, %+v, want %+v", k, state, got, v)
		}
	}
	table.Forget(func(p uint32) bool { return p == 1 }, func(o uint32) bool { return o == 5 })
	for k, v := range all {
		state, _, got := table.Lookup(k)
		if v.Pack == 1 && state != index.Absent || v.Pack == 0 && got != v {
			t.Fatalf("Lookup(%s) after Forget = %v, %+v", k, state, got)
		}
	}
	if state, _, _ := table.Lookup(id(77_777)); state != index.Absent {
		t.Errorf("claim of a lost owner is %v", state)
	}
	if state, owner, _ := table.Lookup(id(88_888)); state != index.Pending || owner != 6 {
		t.Errorf("claim of a living owner is %v by %d", state, owner)
	}
}

func TestTable_IsAMap(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		table := index.NewTable()
		model := map[chunk.ID]bool{}
		for range rapid.IntRange(0, 400).Draw(rt, "steps") {
			k := id(uint64(rapid.IntRange(0, 60).Draw(rt, "id")))
			k[15] = 0 // one shard
			if rapid.Bool().Draw(rt, "claim") {
				if state, _, _ := table.Claim(k, 1); (state == index.Absent) == model[k] {
					rt.Fatalf("Claim(%s) = %v", k, state)
				}
				model[k] = true
			} else {
				table.Abandon(k)
				delete(model, k)
			}
		}
		if table.Len() != len(model) {
			rt.Fatalf("Len() = %d, want %d", table.Len(), len(model))
		}
		for k := range model {
			if state, _, _ := table.Lookup(k); state != index.Pending {
				rt.Fatalf("Lookup(%s) = %v", k, state)
			}
		}
	})
}

func TestTable_WaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	table := index.NewTable()
	table.Claim(id(1), 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := table.Wait(ctx, id(1)); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait = %v, want context.Canceled", err)
	}
	if err := table.Wait(ctx, id(2)); err != nil {
		t.Errorf("Wait for what nobody claims = %v", err)
	}
}

func TestParseSegmentName(t *testing.T) {
	t.Parallel()
	want := index.SegmentID(id(1))
	level, got, err := index.ParseSegmentName(index.SegmentName(3, want))
	if d := cmp.Diff(want, got); d != "" || level != 3 || err != nil {
		t.Errorf("ParseSegmentName = %d, %s, %v", level, got, err)
	}
	for _, bad := range []string{"", "x/0/", "x/00/" + want.String(), "x/1/" + want.String() + "0",
		"d/0/" + want.String()} {
		if _, _, err := index.ParseSegmentName(bad); err == nil {
			t.Errorf("ParseSegmentName(%q) = nil, want an error", bad)
		}
	}
}

func FuzzOpen(f *testing.F) {
	for _, n := range []int{0, 5, 100} {
		b := index.NewBuilder()
		b.AddPack(packOf(0, 0, n))
		built, err := b.Build()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(built.Plain)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := index.Open("x/0/y", b)
		if err != nil {
			return
		}
		set := index.NewSet()
		set.Add(func(pack.ID) uint32 { return 1 }, s)
		for i := range 20 {
			set.Lookup(id(uint64(i)), nil)
		}
		n := 0
		for k := range s.All() {
			set.Lookup(k, nil)
			if n++; n == 100 {
				break
			}
		}
		for range s.Bundles() {
		}
		m := index.NewBuilder()
		m.Merge(s, nil)
	})
}

func BenchmarkLookup(b *testing.B) {
	const n = 4 << 20
	builder := index.NewBuilder()
	for no := range uint64(n / 32768) {
		info, slots := packOf(no, 0, 0)
		for i := range 32768 {
			slots = append(slots, pack.Slot{ID: id(no*32768 + uint64(i)), Kind: chunk.Data, Stored: 1000, Plain: 1000})
		}
		builder.AddPack(info, slots)
	}
	set := index.NewSet()
	set.Add(numbers(n/32768), build(b, builder))
	for _, c := range []struct {
		name  string
		first uint64
	}{{"present", 0}, {"absent", 1e12}} {
		b.Run(fmt.Sprintf("%s of %d", c.name, n), func(b *testing.B) {
			ids := make([]chunk.ID, 1<<16)
			for i := range ids {
				ids[i] = id(c.first + uint64(i)*61%n)
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				set.Lookup(ids[i&(1<<16-1)], nil)
				i++
			}
		})
	}
}

func BenchmarkTableClaim(b *testing.B) {
	ids := make([]chunk.ID, 1<<18)
	for i := range ids {
		ids[i] = id(uint64(i))
	}
	table := index.NewTable()
	i := 0
	for b.Loop() {
		k := ids[i&(1<<18-1)]
		if state, _, _ := table.Claim(k, 1); state == index.Absent {
			table.Store(k, index.Location{Pack: 1, Kind: chunk.Data, Chunk: k})
		}
		i++
	}
}

func BenchmarkBuild(b *testing.B) {
	var packs []index.PackInfo
	var slots [][]pack.Slot
	for no := range uint64(100) {
		info, s := packOf(no, no*1e5, 1000)
		packs, slots = append(packs, info), append(slots, s)
	}
	n := 0
	for b.Loop() {
		w := index.NewBuilder()
		for i := range packs {
			w.AddPack(packs[i], slots[i])
		}
		n = w.Len()
		if _, err := w.Build(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/entry")
}
