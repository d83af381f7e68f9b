package repo

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/repo/pack"
)

func sampleManifest() manifest {
	return manifest{
		id: "00112233445566778899aabbccddeeff", root: ID{1}, segments: []ID{{2}, {3}}, parent: "ffeeddccbbaa99887766554433221100", job: "j", packs: 4,
		facts: Facts{
			Created: time.Unix(3, 4).UTC(), Resource: "r", Driver: "d", Metadata: map[string]string{"k": "v", "a": ""},
			Skipped: []Skip{{Path: []byte("p"), Reason: "why"}}, SkippedMore: 5,
		},
		stats: PointStats{Entries: 1, LogicalBytes: 2, BytesRead: 3, BytesStored: 4},
	}
}

func TestManifest_RoundTrip(t *testing.T) {
	t.Parallel()
	want := sampleManifest()
	vault := [16]byte{9}
	got, err := decodeManifest(want.id, vault, want.encode(vault))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(manifest{})); diff != "" {
		t.Errorf("manifest (-want +got):\n%s", diff)
	}
	if _, err := decodeManifest(want.id, [16]byte{8}, want.encode(vault)); err == nil {
		t.Error("manifest of another vault = nil, want an error")
	}
}

func FuzzManifest(f *testing.F) {
	m := sampleManifest()
	f.Add(m.encode([16]byte{9}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		decodeManifest(m.id, [16]byte{9}, b)
	})
}

func FuzzRemap(f *testing.F) {
	f.Add(appendRemap(appendRemap(nil, 7, place{pack.ID{1}, 70000 % pack.MaxSlots}), 9, place{pack.ID{2}, 0}))
	f.Fuzz(func(t *testing.T, b []byte) {
		moves, err := parseRemap(b)
		if err != nil {
			return
		}
		var again []byte
		for slot, to := range moves {
			again = appendRemap(again, slot, to)
		}
		if back, err := parseRemap(again); err != nil || !cmp.Equal(moves, back, cmp.AllowUnexported(place{})) {
			t.Errorf("remap does not survive encoding: %v", err)
		}
	})
}
