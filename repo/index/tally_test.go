package index_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/index"
)

func TestTally_TellsWhatOneOwnerNamesAlone(t *testing.T) {
	t.Parallel()
	info, slots := packOf(0, 0, 20)
	b := index.NewBuilder()
	b.AddPack(info, slots)
	s := index.NewSet()
	s.Add(numbers(1), build(t, b))
	absent := id(5e9) // stands in no segment
	owners := [][]chunk.ID{
		{slots[0].ID, slots[1].ID, slots[1].ID, absent},
		{slots[1].ID, slots[2].ID},
		{slots[3].ID, slots[1].ID},
	}
	tally := s.Tally()
	var more [][]bool
	for _, ids := range owners {
		tally.Begin()
		var m []bool
		for _, id := range ids {
			m = append(m, tally.Name(id))
		}
		more = append(more, m)
	}
	// The third owner of a node need not go on: the second has.
	want := [][]bool{{true, true, false, true}, {true, true}, {true, false}}
	if diff := cmp.Diff(want, more); diff != "" {
		t.Errorf("Name (-want +got):\n%s", diff)
	}
	var sole [][]bool
	for _, ids := range owners {
		tally.Begin()
		var m []bool
		for _, id := range append(ids, ids[0]) {
			m = append(m, tally.Sole(id))
		}
		sole = append(sole, m)
	}
	want = [][]bool{{true, false, false, true, false}, {false, true, false}, {true, false, false}}
	if diff := cmp.Diff(want, sole); diff != "" {
		t.Errorf("Sole (-want +got):\n%s", diff)
	}
}

// A pack may be described by several segments, and wholly by none but one.
func TestTally_YieldsUnnamedPartsOnce(t *testing.T) {
	t.Parallel()
	info, slots := packOf(0, 0, 20)
	all, some := index.NewBuilder(), index.NewBuilder()
	all.AddPack(info, slots)
	for id, loc := range want(0, slots) {
		if loc.Part && loc.Slot == 9 {
			some.Add(id, info, loc)
		}
	}
	s := index.NewSet()
	s.Add(numbers(1), build(t, some), build(t, all))
	tally := s.Tally()
	tally.Begin()
	tally.Name(slots[9].Parts[0].ID)
	tally.Name(slots[19].Parts[4].ID)
	var got []int
	for loc := range tally.Unnamed() {
		got = append(got, int(loc.Slot)*10+int(loc.PartOffset/1000))
	}
	slices.Sort(got)
	if diff := cmp.Diff([]int{91, 92, 93, 94, 190, 191, 192, 193}, got); diff != "" {
		t.Errorf("Unnamed (-want +got):\n%s", diff)
	}
}
