package repo

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/field"
	"github.com/lockfast/lockfast/repo/seal"
)

// maxSkipped is how many skipped items a manifest names (docs/format.md section 11.1).
const maxSkipped = 10_000

// Facts is what a manifest says about its recovery point in the words of whoever made it.
type Facts struct {
	Created     time.Time
	Resource    string // in the caller's words
	Driver      string // says how Meta of entries is encoded
	Metadata    map[string]string
	Skipped     []Skip // at most 10,000; more are only counted
	SkippedMore int64  // how many there were beyond Skipped
	// Record, if not nil, is written as the first state of the recovery point before its manifest is. It does not come back
	// from a manifest: see [Vault.PointState].
	Record *PointRecord
}

// Skip is an item that could not be captured.
type Skip struct {
	Path   []byte
	Reason string
}

// PointStats counts what a recovery point holds; its manifest carries it.
type PointStats struct {
	Entries      int64
	LogicalBytes int64 // sum of the contents' sizes
	BytesRead    int64 // offered to Small and Stream when it was made; 0 for a copy
	BytesStored  int64 // of packs written for it
}

// manifest is the object that makes a recovery point exist (docs/format.md section 11.1).
type manifest struct {
	id       PointID
	facts    Facts
	stats    PointStats
	root     ID
	segments []ID
	parent   PointID
	job      string
	packs    int
	head     JournalHead // from when it was announced; zero in one of an earlier version
	warm     PointID     // what this one was before it was moved to cold storage; empty = it is warm
}

func (m *manifest) encode(vault [16]byte) []byte {
	id, _ := chunk.ParseID(string(m.id))
	f := m.facts
	b := field.Append(nil, 1, id[:])
	b = field.Append(b, 2, vault[:])
	b = field.AppendTime(b, 3, f.Created)
	b = field.Append(b, 4, f.Resource)
	b = field.Append(b, 5, f.Driver)
	for _, k := range slices.Sorted(maps.Keys(f.Metadata)) {
		b = field.AppendPair(b, 6, k, f.Metadata[k])
	}
	if !m.root.IsZero() {
		b = field.Append(b, 7, m.root[:])
	}
	for i, n := range []int64{m.stats.Entries, m.stats.LogicalBytes, m.stats.BytesRead, m.stats.BytesStored} {
		b = field.AppendUint(b, uint64(8+i), uint64(n))
	}
	for _, s := range m.segments {
		b = field.Append(b, 12, s[:])
	}
	if parent, err := chunk.ParseID(string(m.parent)); err == nil {
		b = field.Append(b, 13, parent[:])
	}
	if m.job != "" {
		b = field.Append(b, 14, m.job)
	}
	for i, s := range f.Skipped {
		if i == maxSkipped {
			f.SkippedMore += int64(len(f.Skipped) - maxSkipped)
			break
		}
		b = field.AppendPair(b, 15, s.Path, s.Reason)
	}
	b = field.AppendUint(b, 16, uint64(f.SkippedMore))
	if m.head != (JournalHead{}) {
		b = field.Append(b, 17, m.head.encode())
	}
	b = field.AppendUint(b, 18, seal.ChunkerGear)
	b = field.AppendUint(b, 20, uint64(m.packs))
	if warm, err := chunk.ParseID(string(m.warm)); err == nil {
		b = field.Append(b, 24, warm[:])
	}
	return b
}

func decodeManifest(id PointID, vault [16]byte, plain []byte) (manifest, error) {
	m := manifest{id: id, facts: Facts{Metadata: map[string]string{}}}
	object := string(manifestName(id))
	var self, owner ID
	r := field.Reader{Data: plain}
	for r.Next() {
		switch r.Tag {
		case 1:
			self = r.ID()
		case 2:
			owner = r.ID()
		default:
			m.decodeField(&r)
		}
	}
	if r.Err() != nil {
		return manifest{}, chunk.Damaged(object, "%v", r.Err())
	}
	if self.String() != string(id) || owner != vault {
		return manifest{}, chunk.Damaged(object, "it is of point %s in vault %s", self, owner)
	}
	return m, nil
}

func (m *manifest) decodeField(r *field.Reader) {
	switch r.Tag {
	case 3:
		m.facts.Created = r.Time()
	case 4:
		m.facts.Resource = string(r.Value)
	case 5:
		m.facts.Driver = string(r.Value)
	case 6:
		k, v := r.Pair()
		m.facts.Metadata[string(k)] = string(v)
	case 7:
		m.root = r.ID()
	case 8:
		m.stats.Entries = int64(r.Uint())
	case 9:
		m.stats.LogicalBytes = int64(r.Uint())
	case 10:
		m.stats.BytesRead = int64(r.Uint())
	case 11:
		m.stats.BytesStored = int64(r.Uint())
	case 12:
		m.segments = append(m.segments, r.ID())
	case 13:
		m.parent = PointID(ID(r.ID()).String())
	case 14:
		m.job = string(r.Value)
	case 15:
		path, reason := r.Pair()
		m.facts.Skipped = append(m.facts.Skipped, Skip{Path: slices.Clone(path), Reason: string(reason)})
	case 16:
		m.facts.SkippedMore = int64(r.Uint())
	case 17:
		m.head.Number, m.head.Hash = r.Place()
	case 20:
		m.packs = int(r.Uint())
	case 24:
		m.warm = PointID(ID(r.ID()).String())
	}
}

// String names the point and nothing of its metadata.
func (m *manifest) String() string { return fmt.Sprintf("recovery point %s", m.id) }
