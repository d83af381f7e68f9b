package repo

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/repo/field"
	"github.com/lockfast/lockfast/repo/pack"
)

func sampleManifest() manifest {
	return manifest{
		id: "00112233445566778899aabbccddeeff", root: ID{1}, segments: []ID{{2}, {3}}, parent: "ffeeddccbbaa99887766554433221100", job: "j", packs: 4,
		head: JournalHead{Number: 1 << 40, Hash: [32]byte{5, 31: 6}},
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

func sampleRecord() PointRecord {
	at := func(n int64) time.Time { return time.Unix(n, 1000).UTC() }
	pairs := map[string]string{"k": "v", "": "x"}
	return PointRecord{
		Generation: 7, Status: "COMPLETED", StatusMessage: "m", ARN: "a", ResourceARN: "r", Created: at(1), ColdAfterDays: 2, DeleteAfter: 3,
		ColdAt: at(4), DeleteAt: at(5), OptedIn: true, Parent: true, RetainedUntil: at(6), Tags: pairs, Holds: pairs, RoleARN: "role",
		Plan: "p", PlanVersion: "pv", Rule: "rule", ParentARN: "pa", ResourceType: "t", ResourceName: "n", Job: "j", Initiated: at(8),
		Completed: at(9), SourceVaultARN: "s", Member: "mm", Restore: pairs, SourceTags: pairs, LogicalBytes: 10, StoredBytes: 11,
		Restored: at(12), StatusAt: at(13), Address: pairs, DamagedAt: at(14), DamagedPaths: []string{"b", "a"}, DamagedMore: 15, DamagedUnknown: true,
	}
}

func sampleVaultRecord() VaultRecord {
	pairs := map[string]string{"k": "v"}
	return VaultRecord{
		Generation: 3, Name: "n", Account: "a", Region: "r", Created: time.Unix(1, 0).UTC(), MinDays: 1, MaxDays: 2, LockedFrom: time.Unix(2, 0).UTC(),
		LockMode: 2, Policy: "{}", KeyARN: "k", Tags: pairs, Type: "T", Notifications: pairs, Holds: pairs, CreatorRequestID: "c",
		Request: "d", CustomerKey: true, Principals: pairs,
	}
}

func TestRecords_RoundTrip(t *testing.T) {
	t.Parallel()
	vault, point := [16]byte{9}, PointID("00112233445566778899aabbccddeeff")
	want := sampleRecord()
	got, err := decodePointRecord("p", vault, point, 7, want.encode(vault, point))
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("state of a recovery point (-want +got), %v:\n%s", err, diff)
	}
	whole := sampleVaultRecord()
	back, err := decodeVaultRecord("v", vault, 3, whole.encode(vault))
	if diff := cmp.Diff(whole, back); diff != "" || err != nil {
		t.Errorf("state of a vault (-want +got), %v:\n%s", err, diff)
	}
	for name, err := range map[string]error{
		"another vault":      second(decodePointRecord("p", [16]byte{8}, point, 7, want.encode(vault, point))),
		"another point":      second(decodePointRecord("p", vault, "ffeeddccbbaa99887766554433221100", 7, want.encode(vault, point))),
		"another generation": second(decodePointRecord("p", vault, point, 8, want.encode(vault, point))),
		"a vault's vault":    second(decodeVaultRecord("v", [16]byte{8}, 3, whole.encode(vault))),
	} {
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("state of %s = %v, want ErrDamaged", name, err)
		}
	}
}

// What exceeds the limits is counted where a state is written, and refused where it is read.
func TestPointRecord_LimitsDamagedPaths(t *testing.T) {
	t.Parallel()
	vault, point := [16]byte{9}, PointID("00112233445566778899aabbccddeeff")
	decode := func(b []byte) (PointRecord, error) { return decodePointRecord("p", vault, point, 0, b) }
	for name, c := range map[string]struct {
		paths []string
		want  int
	}{
		"none":          {nil, 0},
		"as many":       {slices.Repeat([]string{"p"}, maxRecordedPaths), maxRecordedPaths},
		"more":          {slices.Repeat([]string{"p"}, maxRecordedPaths+2), maxRecordedPaths},
		"as long":       {[]string{strings.Repeat("p", maxRecordedText-1), "p"}, 2},
		"longer":        {[]string{"p", strings.Repeat("p", maxRecordedText), "p"}, 1},
		"longer, alone": {[]string{strings.Repeat("p", maxRecordedText+1)}, 0},
	} {
		r := PointRecord{DamagedAt: time.Unix(1, 0).UTC(), DamagedPaths: c.paths, DamagedMore: 5}
		got, err := decode(r.encode(vault, point))
		if err != nil || len(got.DamagedPaths) != c.want || got.DamagedMore != uint64(5+len(c.paths)-c.want) {
			t.Errorf("%s: %d paths and %d more, %v, want %d of %d", name, len(got.DamagedPaths), got.DamagedMore, err, c.want, len(c.paths))
		}
	}
	bare := (&PointRecord{}).encode(vault, point)
	for name, extra := range map[string][]byte{
		"more paths":   bytes.Repeat(field.Append(nil, 37, "p"), maxRecordedPaths+1),
		"longer paths": field.Append(field.Append(nil, 37, "p"), 37, strings.Repeat("p", maxRecordedText)),
	} {
		if _, err := decode(slices.Concat(bare, extra)); !errors.Is(err, ErrDamaged) {
			t.Errorf("state with %s than there may be = %v, want ErrDamaged", name, err)
		}
	}
	if got, err := decode(slices.Concat(bare, field.Append(nil, 40, "of a later version"))); err != nil || !cmp.Equal(got, PointRecord{}) {
		t.Errorf("state with a field of a later version = %+v, %v, want it to be ignored", got, err)
	}
}

func second[T any](_ T, err error) error { return err }

func FuzzRecords(f *testing.F) {
	vault, point := [16]byte{9}, PointID("00112233445566778899aabbccddeeff")
	p, v := sampleRecord(), sampleVaultRecord()
	f.Add(p.encode(vault, point))
	f.Add(v.encode(vault))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := decodePointRecord("p", vault, point, 7, b); err == nil {
			again, err := decodePointRecord("p", vault, point, 7, got.encode(vault, point))
			if diff := cmp.Diff(got, again); diff != "" || err != nil {
				t.Errorf("state does not survive encoding, %v:\n%s", err, diff)
			}
		}
		decodeVaultRecord("v", vault, 3, b)
	})
}

func FuzzCopyMap(f *testing.F) {
	pairs := append(append(make([]byte, 0, 2*mapPair), make([]byte, mapPair)...), make([]byte, mapPair)...)
	pairs[mapPair], pairs[mapPair+len(ID{})] = 1, 7
	f.Add(pairs)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if checkPairs("t/x/y", b) != nil {
			return
		}
		for i := 0; i < len(b); i += mapPair {
			if to, ok := find(b, ID(b[i:][:len(ID{})])); !ok || to != ID(b[i+len(ID{}):][:len(ID{})]) {
				t.Errorf("pair %d is not found", i/mapPair)
			}
		}
	})
}
