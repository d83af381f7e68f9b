package pack

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/repo/chunk"
)

func FuzzParseTable(f *testing.F) {
	slots := []Slot{{ID: chunk.ID{1}, Kind: chunk.Data, Codec: chunk.Zstd, Offset: HeaderSize, Stored: 50, Plain: 100},
		{ID: chunk.ID{2}, Kind: chunk.Bundle, Offset: HeaderSize + 50, Stored: 30, Plain: 14,
			Parts: []Part{{chunk.ID{3}, 6}, {chunk.ID{4}, 8}}}}
	f.Add(appendTable(nil, slots), uint64(HeaderSize+80))
	f.Add([]byte{0xff, 0xff, 3}, uint64(0))
	f.Fuzz(func(t *testing.T, b []byte, end uint64) {
		got, err := parseTable("pack", b, end)
		if err != nil {
			return
		}
		again, err := parseTable("pack", appendTable(nil, got), end)
		if d := cmp.Diff(got, again); d != "" || err != nil {
			t.Errorf("table does not encode: %v\n%s", err, d)
		}
	})
}
