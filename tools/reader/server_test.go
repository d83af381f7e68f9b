package reader_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/internal/keys"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
	"github.com/lockfast/lockfast/repo/seal"
	"github.com/lockfast/lockfast/resource"
	"github.com/lockfast/lockfast/resource/resourcetest"
)

// states returns what the states in a vault say, by the tags of docs/format.md section 14: those of the recovery points by
// their ids, that of the vault by none. What is left out in an object is left out here.
func states(t *testing.T, v *repo.Vault) map[string]map[string]any {
	t.Helper()
	vault, err := v.VaultState(t.Context())
	if try(t, err); vault.State == nil || len(vault.Damage) > 0 {
		t.Fatalf("state of the vault = %+v", vault)
	}
	all := map[string]map[string]any{"": vaultTags(vault.State)}
	try(t, v.Survey(t.Context(), func(p repo.FoundPoint) error {
		if p.State.State == nil || len(p.State.Damage) > 0 {
			t.Fatalf("state of recovery point %s = %+v", p.ID, p.State)
		}
		all[string(p.ID)] = pointTags(p.State.State)
		return p.Damage
	}))
	return all
}

func vaultTags(s *repo.VaultRecord) map[string]any {
	return tagged(nil, s.Generation, s.Name, s.Account, s.Region, s.Created, s.MinDays, s.MaxDays, s.LockedFrom, s.LockMode,
		s.Policy, s.KeyARN, s.Tags, s.Type, s.Notifications, s.Holds, s.CreatorRequestID, s.Request, bits(s.CustomerKey),
		s.Principals)
}

func pointTags(s *repo.PointRecord) map[string]any {
	return tagged(nil, s.Generation, s.Status, s.ARN, s.ResourceARN, s.Created, s.ColdAfterDays, s.DeleteAfter, s.ColdAt,
		s.DeleteAt, bits(s.OptedIn, s.Cold, s.Parent, s.Continuous), s.RetainedUntil, s.Tags, s.Holds, s.RoleARN, s.Plan,
		s.PlanVersion, s.Rule, s.ParentARN, s.ResourceType, s.ResourceName, s.Job, s.Initiated, s.Completed, s.StatusMessage,
		s.SourceVaultARN, s.Member, s.Restore, s.SourceTags, s.LogicalBytes, s.StoredBytes, s.Restored, s.StatusAt, nil, s.Address,
		s.DamagedAt, s.DamagedPaths, s.DamagedMore, bits(s.DamagedUnknown))
}

// tagged returns values by tag, the first of which is 1; nil and zero ones are left out.
func tagged(values ...any) map[string]any {
	out := map[string]any{}
	for i, value := range values {
		switch v := value.(type) {
		case string:
			if v == "" {
				continue
			}
		case uint64:
			if v == 0 {
				continue
			}
		case map[string]string:
			if len(v) == 0 {
				continue
			}
		case []string:
			if len(v) == 0 {
				continue
			}
		case time.Time:
			if v.IsZero() {
				continue
			}
			value = v.UnixNano()
		case nil:
			continue
		}
		out[strconv.Itoa(i+1)] = value
	}
	return out
}

func bits(set ...bool) (n uint64) {
	for i, b := range set {
		if b {
			n |= 1 << i
		}
	}
	return n
}

// normal returns JSON in one form, with all digits of its numbers.
func normal(t *testing.T, data []byte) string {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var value any
	try(t, d.Decode(&value))
	out, err := json.MarshalIndent(value, "", "  ")
	try(t, err)
	return string(out)
}

// server returns a copy of v1-server, and its vault, opened with the root key alone.
func server(t *testing.T) (dir string, s blob.Store, v *repo.Vault) {
	t.Helper()
	dir = filepath.Join(filepath.Dir(goldens(t)[0]), "v1-server")
	s = only(t, filepath.Join(dir, "store"))
	v, err := repo.OpenReadOnly(t.Context(), s, rootKey(t, filepath.Join(dir, "test-root.key")), repo.Options{})
	try(t, err)
	t.Cleanup(func() { v.Close() })
	return dir, s, v
}

// TestGoldenVault_HoldsWhatServersWrite: there is an object of every kind that this version writes, and more than one
// generation of the format, of keys and of states.
func TestGoldenVault_HoldsWhatServersWrite(t *testing.T) {
	t.Parallel()
	_, s, v := server(t)
	kinds, points, again := map[string]int{}, map[string]int{}, 0
	for info, err := range s.List(t.Context(), "") {
		try(t, err)
		kind, rest, _ := strings.Cut(string(info.Name), "/")
		kinds[kind]++
		switch kind {
		case "p":
			points[rest[:32]]++
		case "f":
			if strings.HasSuffix(rest, ".2") {
				again++
			}
		}
	}
	if again == 0 {
		t.Error("there is no refset of the second generation")
	}
	if d := cmp.Diff([]int{1, 1, 1, 2}, slices.Sorted(maps.Values(points))); d != "" {
		t.Errorf("generations of states of recovery points (-want +got):\n%s", d)
	}
	for kind, want := range map[string]int{
		"format": 1, "format.2": 1, "format.3": 1, "format.4": 1, // the later two since there is cold storage
		"k": 2, "v": 2, "c": 1, "t": 1, "a": 1, "r": 3,
	} {
		if kinds[kind] != want {
			t.Errorf("%d objects of kind %s, want %d", kinds[kind], kind, want)
		}
	}
	if kinds["d"] == 0 || kinds["m"] == 0 || kinds["x"] == 0 {
		t.Errorf("objects = %v, want packs and an index", kinds)
	}
	var cold []repo.PointID
	try(t, v.Survey(t.Context(), func(p repo.FoundPoint) error {
		if p.Cold {
			cold = append(cold, p.ID)
		}
		return nil
	}))
	if len(cold) != 1 {
		t.Errorf("recovery points in cold storage: %v, want one", cold)
	}
}

func TestGoldenVault_HangsOnAKMSKey(t *testing.T) {
	t.Parallel()
	dir, _, v := server(t)
	var both []seal.KeyRecord
	for _, name := range []string{"k/1-1", "k/1-2"} {
		found, err := filepath.Glob(filepath.Join(dir, "store", "*-*", name))
		if try(t, err); len(found) != 1 {
			t.Fatalf("key objects %v, want one %s", found, name)
		}
		data, err := os.ReadFile(found[0])
		try(t, err)
		r, err := seal.DecodeKeyRecord(name, data)
		try(t, err)
		if r.KeyID != kmsKey.ARN() || len(r.Links) != 1 {
			t.Fatalf("%s is wrapped by %s with %d links, want %s with one", name, r.KeyID, len(r.Links), kmsKey.ARN())
		}
		if n, _, err := keys.ParseLink(r.Links[0]); err != nil || n != kmsKey {
			t.Errorf("link of %s = %+v, %v, want %+v", name, n, err, kmsKey)
		}
		r.Generation = 0
		both = append(both, r)
	}
	if d := cmp.Diff(both[0], both[1]); d != "" {
		t.Errorf("k/1-2 says something else (-k/1-1 +k/1-2):\n%s", d)
	}
	if got := v.WrappingKeys(); len(got) != 1 || got[0].ID != kmsKey.ARN() {
		t.Errorf("WrappingKeys() = %+v, want %s", got, kmsKey.ARN())
	}
}

func TestGoldenVault_StatesSayTheSame(t *testing.T) {
	t.Parallel()
	dir, _, v := server(t)
	want, err := os.ReadFile(filepath.Join(dir, "states.json"))
	try(t, err)
	got, err := json.Marshal(states(t, v))
	try(t, err)
	if d := cmp.Diff(normal(t, want), normal(t, got)); d != "" {
		t.Errorf("states (-want +got):\n%s", d)
	}
	stdout, _ := run(t, 0, "states", filepath.Join(dir, "store"), filepath.Join(dir, "test-root.key"))
	if d := cmp.Diff(normal(t, want), normal(t, []byte(stdout))); d != "" {
		t.Errorf("states by the reader (-want +got):\n%s", d)
	}
}

// TestReader_ReadsMarksOfDamage marks a recovery point in a copy of the golden vault, which was made before states had such marks.
func TestReader_ReadsMarksOfDamage(t *testing.T) {
	t.Parallel()
	dir, s, v := server(t)
	ledger := localledger.New(localledger.Options{})
	try(t, ledger.TakeOver(t.Context(), v))
	root := filepath.Join(dir, "test-root.key")
	to, err := repo.Open(t.Context(), s, ledger, rootKey(t, root), repo.Options{})
	try(t, err)
	defer to.Close()
	try(t, v.Survey(t.Context(), func(p repo.FoundPoint) error {
		r := p.State.State
		r.Generation = p.State.Highest + 1
		r.DamagedAt, r.DamagedPaths, r.DamagedMore, r.DamagedUnknown = at(20), []string{"b", "\u00fc"}, 9, true
		_, err := to.PutPointState(t.Context(), p.ID, *r)
		return err
	}))
	want, err := json.Marshal(states(t, v))
	try(t, err)
	stdout, _ := run(t, 0, "states", filepath.Join(dir, "store"), root)
	if d := cmp.Diff(normal(t, want), normal(t, []byte(stdout))); d != "" || !strings.Contains(stdout, "\"37\"") {
		t.Errorf("states by the reader (-want +got):\n%s", d)
	}
}

// TestGoldenVault_CopyMapIsUsed makes the source of the copy anew and copies it again, with the map and without.
func TestGoldenVault_CopyMapIsUsed(t *testing.T) {
	t.Parallel()
	dir, s, v := server(t)
	ledger := localledger.New(localledger.Options{})
	try(t, ledger.TakeOver(t.Context(), v))
	to, err := repo.Open(t.Context(), s, ledger, rootKey(t, filepath.Join(dir, "test-root.key")), repo.Options{})
	try(t, err)
	defer to.Close()
	m := &maker{dir: filepath.Join(t.TempDir(), "copied"), listing: listing{}}
	resourcetest.Restore(t, v, driver(), copied(t, v), resource.Restore{Into: m.dir})
	from := foreign(t)
	source := m.capture(t, from, "", nil)
	if _, moved := across(t, from, to, source, nil); moved != 0 {
		t.Errorf("a copy of what was copied moved %d bytes, want 0", moved)
	}
	for info, err := range s.List(t.Context(), "t/") {
		try(t, err, s.Delete(t.Context(), info.Name))
	}
	if _, moved := across(t, from, to, source, nil); moved == 0 {
		t.Error("a copy without the copy map moved nothing, want everything read")
	}
}

// copied returns the recovery point that is a copy.
func copied(t *testing.T, v *repo.Vault) (id repo.PointID) {
	t.Helper()
	try(t, v.Survey(t.Context(), func(p repo.FoundPoint) error {
		if p.State.State.ResourceName == "copy" {
			id = p.ID
		}
		return nil
	}))
	return id
}

// TestReader_ListsGroups: a recovery point without data has a line of its own.
func TestReader_ListsGroups(t *testing.T) {
	t.Parallel()
	dir, _, _ := server(t)
	out, _ := run(t, 0, "list", filepath.Join(dir, "store"), filepath.Join(dir, "test-root.key"))
	for text, want := range map[string]int{
		string(groupID) + "\t": 1, "\tarn:group\t" + groupARN + "\tGROUP\n": 1, "\tCOLD\n": 1, "\tWARM\n": 2, "\tEXPIRED\t": 2,
	} {
		if n := strings.Count(out, text); n != want {
			t.Errorf("reader lists %q %d times, want %d:\n%s", text, n, want, out)
		}
	}
}

// TestReader_NamesDamageOfWhatServersWrite flips a bit of an object before its parity.
func TestReader_NamesDamageOfWhatServersWrite(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"a", "c", "k", "p", "t", "v"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			dir, _, _ := server(t)
			store := filepath.Join(dir, "store")
			name := flipAt(t, newest(t, store, kind), 150)
			_, stderr := run(t, 1, "verify", store, filepath.Join(dir, "test-root.key"))
			if !strings.Contains(stderr, "damaged: "+name) {
				t.Errorf("reader with %s damaged does not name it:\n%s", name, stderr)
			}
		})
	}
}
