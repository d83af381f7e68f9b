package repo

import (
	"maps"
	"slices"
	"time"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/field"
)

// VaultRecord is what a state object says of a vault: what policy adds to its data (docs/format.md section 14). Times and
// numbers are zero where there is none.
type VaultRecord struct {
	Generation           uint64
	Name                 string
	Account, Region      string
	Created              time.Time
	MinDays, MaxDays     uint64 // of the lock
	LockedFrom           time.Time
	LockMode             uint64 // 0 none, 1 governance, 2 compliance
	Policy               string // JSON
	KeyARN               string
	Tags                 map[string]string
	Type                 string
	Notifications, Holds map[string]string
	CreatorRequestID     string
	Request              string // digest of the request that created it
	CustomerKey          bool
	Principals           map[string]string // of Policy: ARN -> unique id when it was put
}

// PointRecord is what a state object says of a recovery point. Times and numbers are zero where there is none.
type PointRecord struct {
	Generation                 uint64
	Status, StatusMessage      string
	ARN                        string
	ResourceARN                string
	Created                    time.Time
	ColdAfterDays, DeleteAfter uint64 // days
	ColdAt, DeleteAt           time.Time
	OptedIn, Cold              bool
	Parent                     bool // of others; it has no data and no manifest
	Continuous                 bool
	RetainedUntil              time.Time
	Tags, Holds                map[string]string
	RoleARN                    string
	Plan, PlanVersion, Rule    string
	ParentARN                  string
	ResourceType, ResourceName string
	Job                        string
	Initiated, Completed       time.Time
	SourceVaultARN             string
	Member                     string
	Restore                    map[string]string // what a restore is started with
	SourceTags                 map[string]string // of the resource when it was backed up
	LogicalBytes, StoredBytes  uint64
	Restored                   time.Time
	StatusAt                   time.Time
	Address                    map[string]string // of the resource, in the words of whoever declared it
	DamagedAt                  time.Time         // when damage of it was found first
	DamagedPaths               []string          // that it misses, for people; what exceeds the limits of the format is only counted
	DamagedMore                uint64            // further ones
	DamagedUnknown             bool              // a part of its tree cannot be read
}

// Limits of the paths that the state of a recovery point names as damaged.
const (
	maxRecordedPaths = 100
	maxRecordedText  = 64 << 10 // bytes in all
)

// appendPairs adds a field for each entry of a map, in the order of the keys.
func appendPairs(b []byte, tag uint64, m map[string]string) []byte {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		b = field.AppendPair(b, tag, k, m[k])
	}
	return b
}

func appendText(b []byte, tag uint64, s string) []byte {
	if s == "" {
		return b
	}
	return field.Append(b, tag, s)
}

func appendCount(b []byte, tag, n uint64) []byte {
	if n == 0 {
		return b
	}
	return field.AppendUint(b, tag, n)
}

// readPair adds the current pair to a map.
func readPair(r *field.Reader, m *map[string]string) {
	k, v := r.Pair()
	if *m == nil {
		*m = map[string]string{}
	}
	(*m)[string(k)] = string(v)
}

func (s *VaultRecord) encode(vault [16]byte) []byte {
	b := field.Append(nil, 1, vault[:])
	b = field.AppendUint(b, 2, s.Generation)
	b = appendText(b, 3, s.Name)
	b = appendText(b, 4, s.Account)
	b = appendText(b, 5, s.Region)
	b = field.AppendTime(b, 6, s.Created)
	b = appendCount(b, 7, s.MinDays)
	b = appendCount(b, 8, s.MaxDays)
	b = field.AppendTime(b, 9, s.LockedFrom)
	b = appendCount(b, 10, s.LockMode)
	b = appendText(b, 11, s.Policy)
	b = appendText(b, 12, s.KeyARN)
	b = appendPairs(b, 13, s.Tags)
	b = appendText(b, 14, s.Type)
	b = appendPairs(b, 15, s.Notifications)
	b = appendPairs(b, 16, s.Holds)
	b = appendText(b, 17, s.CreatorRequestID)
	b = appendText(b, 18, s.Request)
	if s.CustomerKey {
		b = field.AppendUint(b, 19, 1)
	}
	return appendPairs(b, 20, s.Principals)
}

// decodeVaultRecord reads the state of a vault; name is that of its object.
func decodeVaultRecord(name blob.Name, vault [16]byte, generation uint64, plain []byte) (s VaultRecord, err error) {
	var owner ID
	texts := map[uint64]*string{3: &s.Name, 4: &s.Account, 5: &s.Region, 11: &s.Policy, 12: &s.KeyARN, 14: &s.Type,
		17: &s.CreatorRequestID, 18: &s.Request}
	counts := map[uint64]*uint64{2: &s.Generation, 7: &s.MinDays, 8: &s.MaxDays, 10: &s.LockMode}
	times := map[uint64]*time.Time{6: &s.Created, 9: &s.LockedFrom}
	pairs := map[uint64]*map[string]string{13: &s.Tags, 15: &s.Notifications, 16: &s.Holds, 20: &s.Principals}
	r := field.Reader{Data: plain}
	for r.Next() {
		switch {
		case r.Tag == 1:
			owner = r.ID()
		case r.Tag == 19:
			s.CustomerKey = r.Uint()&1 != 0
		default:
			readField(&r, texts, counts, times, pairs)
		}
	}
	if r.Err() != nil {
		return s, chunk.Damaged(string(name), "%v", r.Err())
	}
	if owner != vault || s.Generation != generation {
		return s, chunk.Damaged(string(name), "it is generation %d of vault %s", s.Generation, owner)
	}
	return s, nil
}

// readField stores the current field where a table says; unknown ones are skipped.
func readField(r *field.Reader, texts map[uint64]*string, counts map[uint64]*uint64, times map[uint64]*time.Time,
	pairs map[uint64]*map[string]string) {
	switch {
	case texts[r.Tag] != nil:
		*texts[r.Tag] = string(r.Value)
	case counts[r.Tag] != nil:
		*counts[r.Tag] = r.Uint()
	case times[r.Tag] != nil:
		*times[r.Tag] = r.Time()
	case pairs[r.Tag] != nil:
		readPair(r, pairs[r.Tag])
	}
}

// Flags of field 11 of a recovery point's state.
const (
	flagOptedIn = 1 << iota
	flagCold
	flagParent
	flagContinuous
)

func (s *PointRecord) flags() (n uint64) {
	for i, set := range []bool{s.OptedIn, s.Cold, s.Parent, s.Continuous} {
		if set {
			n |= 1 << i
		}
	}
	return n
}

func (s *PointRecord) setFlags(n uint64) {
	s.OptedIn, s.Cold = n&flagOptedIn != 0, n&flagCold != 0
	s.Parent, s.Continuous = n&flagParent != 0, n&flagContinuous != 0
}

func (s *PointRecord) encode(vault [16]byte, point PointID) []byte {
	id, _ := chunk.ParseID(string(point))
	b := field.Append(nil, 1, id[:])
	b = field.AppendUint(b, 2, s.Generation)
	b = appendText(b, 3, s.Status)
	b = appendText(b, 4, s.ARN)
	b = appendText(b, 5, s.ResourceARN)
	b = field.AppendTime(b, 6, s.Created)
	b = appendCount(b, 7, s.ColdAfterDays)
	b = appendCount(b, 8, s.DeleteAfter)
	b = field.AppendTime(b, 9, s.ColdAt)
	b = field.AppendTime(b, 10, s.DeleteAt)
	b = appendCount(b, 11, s.flags())
	b = field.AppendTime(b, 12, s.RetainedUntil)
	b = appendPairs(b, 13, s.Tags)
	b = appendPairs(b, 14, s.Holds)
	for i, text := range []string{s.RoleARN, s.Plan, s.PlanVersion, s.Rule, s.ParentARN, s.ResourceType, s.ResourceName, s.Job} {
		b = appendText(b, uint64(15+i), text)
	}
	b = field.AppendTime(b, 23, s.Initiated)
	b = field.AppendTime(b, 24, s.Completed)
	b = appendText(b, 25, s.StatusMessage)
	b = appendText(b, 26, s.SourceVaultARN)
	b = appendText(b, 27, s.Member)
	b = appendPairs(b, 28, s.Restore)
	b = appendPairs(b, 29, s.SourceTags)
	b = appendCount(b, 30, s.LogicalBytes)
	b = appendCount(b, 31, s.StoredBytes)
	b = field.AppendTime(b, 32, s.Restored)
	b = field.AppendTime(b, 33, s.StatusAt)
	b = field.Append(b, 34, vault[:])
	b = appendPairs(b, 35, s.Address)
	return s.appendDamage(b)
}

// appendDamage adds what is known to be damaged, of the paths as many as fit.
func (s *PointRecord) appendDamage(b []byte) []byte {
	b = field.AppendTime(b, 36, s.DamagedAt)
	named, text := 0, 0
	for _, path := range s.DamagedPaths {
		if text += len(path); named == maxRecordedPaths || text > maxRecordedText {
			break
		}
		b = field.Append(b, 37, path)
		named++
	}
	b = appendCount(b, 38, s.DamagedMore+uint64(len(s.DamagedPaths)-named))
	if s.DamagedUnknown {
		b = field.AppendUint(b, 39, 1)
	}
	return b
}

// decodePointRecord reads the state of a recovery point; name is that of its object.
func decodePointRecord(name blob.Name, vault [16]byte, point PointID, generation uint64, plain []byte) (s PointRecord, err error) {
	var self, owner ID
	texts := map[uint64]*string{3: &s.Status, 4: &s.ARN, 5: &s.ResourceARN, 15: &s.RoleARN, 16: &s.Plan, 17: &s.PlanVersion,
		18: &s.Rule, 19: &s.ParentARN, 20: &s.ResourceType, 21: &s.ResourceName, 22: &s.Job, 25: &s.StatusMessage,
		26: &s.SourceVaultARN, 27: &s.Member}
	counts := map[uint64]*uint64{2: &s.Generation, 7: &s.ColdAfterDays, 8: &s.DeleteAfter, 30: &s.LogicalBytes, 31: &s.StoredBytes,
		38: &s.DamagedMore}
	times := map[uint64]*time.Time{6: &s.Created, 9: &s.ColdAt, 10: &s.DeleteAt, 12: &s.RetainedUntil, 23: &s.Initiated,
		24: &s.Completed, 32: &s.Restored, 33: &s.StatusAt, 36: &s.DamagedAt}
	pairs := map[uint64]*map[string]string{13: &s.Tags, 14: &s.Holds, 28: &s.Restore, 29: &s.SourceTags, 35: &s.Address}
	text := 0 // bytes of the paths that are damaged
	r := field.Reader{Data: plain}
	for r.Next() {
		switch r.Tag {
		case 1:
			self = r.ID()
		case 11:
			s.setFlags(r.Uint())
		case 34:
			owner = r.ID()
		case 37:
			if text += len(r.Value); len(s.DamagedPaths) == maxRecordedPaths || text > maxRecordedText {
				return s, chunk.Damaged(string(name), "it names more damaged paths than a state may")
			}
			s.DamagedPaths = append(s.DamagedPaths, string(r.Value))
		case 39:
			s.DamagedUnknown = r.Uint()&1 != 0
		default:
			readField(&r, texts, counts, times, pairs)
		}
	}
	if r.Err() != nil {
		return s, chunk.Damaged(string(name), "%v", r.Err())
	}
	if self.String() != string(point) || owner != vault || s.Generation != generation {
		return s, chunk.Damaged(string(name), "it is generation %d of point %s in vault %s", s.Generation, self, owner)
	}
	return s, nil
}
