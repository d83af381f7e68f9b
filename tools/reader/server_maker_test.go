package reader_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/lockfast/lockfast/blob/fault"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/internal/keys"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/localledger"
	"github.com/lockfast/lockfast/resource"
	"github.com/lockfast/lockfast/resource/directory"
)

// kmsKey is what the vault key of v1-server hangs on: the second version of a KMS key.
var kmsKey = keys.KeyName{
	Account: "000000000000", Region: "us-east-1", ID: "9f0b8e0a-6f5e-4f9b-8a51-6a3f3b1d2c11", Version: 2,
}

const (
	groupID  = repo.PointID("00112233445566778899aabbccddeeff") // of the recovery point of a group
	groupARN = "arn:aws:backup:us-east-1:000000000000:recovery-point:composite:golden"
	roleARN  = "arn:aws:iam::000000000000:role/service-role/AWSBackupDefaultServiceRole"
)

// smallVault are the options of v1-server and of the vault that it has a copy from.
func smallVault() repo.CreateOptions {
	return repo.CreateOptions{
		DataPack: 512 << 10, MetaPack: 512 << 10, ColdPack: 512 << 10,
		Chunk: chunk.Params{Min: 1 << 10, Avg: 4 << 10, Max: 16 << 10},
	}
}

// foreign makes an empty vault of another domain, always the same one.
func foreign(t *testing.T) *repo.Vault {
	t.Helper()
	o := smallVault()
	o.UUID, o.DomainKey = uuid.New(), [32]byte{1, 2, 3}
	key, err := keys.Create(filepath.Join(t.TempDir(), "test-root.key"))
	try(t, err)
	v, err := repo.Create(t.Context(), mem.New(), localledger.New(localledger.Options{}), key, o)
	try(t, err)
	t.Cleanup(func() { v.Close() })
	return v
}

// makeServer makes a vault with what a server writes beside the data: links to a KMS key in both key objects, states of
// the vault, of its recovery points and of a group, some with a generation before them, a copy from another domain with
// its copy map, cold packs, and refsets that a reclaim wrote anew.
func makeServer(t *testing.T, m *maker) {
	material, err := m.root.NewMaterial(t.Context(), kmsKey)
	try(t, err)
	m.key, err = m.root.OpenKey(t.Context(), kmsKey, material)
	try(t, err)
	faults := fault.New(m.blobs)
	m.blobs = faults
	m.create(t, smallVault())
	m.putState(t, "", 1)
	m.putState(t, "", 2)
	for i := range 12 {
		m.write(t, fmt.Sprintf("small/%03d", i), 513+m.random.IntN(500), 2)
	}
	m.write(t, "large", 100<<10, 48)
	m.write(t, "inline", 100, 1)
	a := m.capture(t, m.vault, "", pointRecord("first"))
	m.write(t, "large", 80<<10, 48)
	b := m.capture(t, m.vault, a, pointRecord("second"))
	m.copyAcross(t)
	cold := m.moveToCold(t, a, pointRecord("cold"))
	report, err := m.vault.Reclaim(t.Context(), repo.ReclaimOptions{})
	if try(t, err); report.PacksRemoved == 0 {
		t.Fatalf("reclaim = %+v, want packs removed", report)
	}
	m.putState(t, groupID, 1)
	m.putState(t, cold, 5)
	faults.Add(fault.Rule{Op: fault.Delete}) // the older generation stays, as when a server dies
	m.putState(t, "", 3)
	m.putState(t, b, 2)
	faults.Clear()
	data, err := json.MarshalIndent(states(t, m.vault), "", "\t")
	try(t, err, os.WriteFile(filepath.Join(filepath.Dir(m.store), "states.json"), append(data, '\n'), 0o644))
}

// capture makes a recovery point of the source in a vault, with its first state if there is one.
func (m *maker) capture(t *testing.T, v *repo.Vault, parent repo.PointID, first *repo.PointRecord) repo.PointID {
	t.Helper()
	w, err := v.NewWriter(t.Context(), repo.WriterOptions{Parent: parent})
	try(t, err)
	defer w.Abort(t.Context())
	address := map[string]string{directory.PathKey: m.dir}
	report, err := driver().Capture(t.Context(), resource.Capture{
		Writer: w, Resource: resource.Resource{ARN: "arn:golden", Type: directory.Name, Address: address},
	})
	if try(t, err); len(report.Skipped) > 0 {
		t.Fatalf("skipped: %v", report.Skipped)
	}
	id, err := w.Commit(t.Context(), repo.Facts{
		Created: time.Now(), Resource: "arn:golden", Driver: directory.Name, Metadata: report.Metadata, Record: first,
	})
	try(t, err)
	m.listing[id] = list(t, m.dir)
	return id
}

// copyAcross makes a recovery point of other files in a vault of another domain, and copies it.
func (m *maker) copyAcross(t *testing.T) {
	t.Helper()
	other := &maker{dir: t.TempDir(), random: m.random, listing: listing{}}
	other.write(t, "copied/list", 330<<10, 48)
	other.write(t, "copied/small", 900, 2)
	from := foreign(t)
	id := other.capture(t, from, "", nil)
	made, _ := across(t, from, m.vault, id, pointRecord("copy"))
	m.listing[made] = other.listing[id]
}

// across copies a recovery point into a vault of another domain, and returns how many bytes it moved.
func across(t *testing.T, from, to *repo.Vault, id repo.PointID, first *repo.PointRecord) (repo.PointID, int64) {
	t.Helper()
	p, err := from.OpenPoint(t.Context(), id)
	try(t, err)
	defer p.Close()
	w, err := to.NewWriter(t.Context(), repo.WriterOptions{})
	try(t, err)
	defer w.Abort(t.Context())
	try(t, w.CopyAcross(t.Context(), p))
	facts := p.Facts()
	facts.Record = first
	made, err := w.Commit(t.Context(), facts)
	try(t, err)
	return made, w.CopyProgress().Moved
}

// putState writes a generation of the state of a recovery point, or without one of the vault.
func (m *maker) putState(t *testing.T, id repo.PointID, generation uint64) {
	t.Helper()
	var n uint64
	var err error
	if id == "" {
		s := vaultRecord()
		s.Generation, s.Tags = generation, map[string]string{"generation": fmt.Sprint(generation), "empty": ""}
		n, err = m.vault.PutVaultState(t.Context(), s)
	} else {
		found, failed := m.vault.PointState(t.Context(), id)
		try(t, failed)
		s := groupRecord()
		if found.State != nil {
			s = found.State
			s.Status, s.StatusMessage, s.StatusAt = "EXPIRED", "the role does not allow it", at(9)
		}
		s.Generation = generation
		n, err = m.vault.PutPointState(t.Context(), id, *s)
	}
	if err != nil && !errors.Is(err, fault.ErrInjected) || n != generation {
		t.Fatalf("state of %q is generation %d, %v, want %d", id, n, err, generation)
	}
}

// at is a time that is not a whole second.
func at(n int64) time.Time { return time.Unix(1_750_000_000+n, 1_000_000*n+n).UTC() }

// vaultRecord has a value of its own for everything that is known of a vault.
func vaultRecord() repo.VaultRecord {
	return repo.VaultRecord{
		Name: "golden", Account: "000000000000", Region: "us-east-1", Created: at(1), MinDays: 7, MaxDays: 300,
		LockedFrom: at(2), LockMode: 2, Policy: `{"Version":"2012-10-17"}`, KeyARN: kmsKey.ARN(), Type: "BACKUP_VAULT",
		Notifications: map[string]string{"BACKUP_JOB_COMPLETED": "arn:aws:sns:us-east-1:000000000000:done"},
		Holds:         map[string]string{"hold": "of the vault"}, CreatorRequestID: "token", Request: "digest",
		CustomerKey: true, Principals: map[string]string{roleARN: "AROA1"},
	}
}

// pointRecord has a value of its own for everything that is known of a recovery point.
func pointRecord(name string) *repo.PointRecord {
	const prefix = "arn:aws:backup:us-east-1:000000000000:"
	return &repo.PointRecord{
		Status: "COMPLETED", StatusMessage: "all is well", ARN: prefix + "recovery-point:" + name,
		ResourceARN: "arn:golden", Created: at(3), ColdAfterDays: 30, DeleteAfter: 365, ColdAt: at(4), DeleteAt: at(5),
		OptedIn: true, Cold: name == "cold", RetainedUntil: at(6), Tags: map[string]string{"k": "v", "\u00fc": name},
		Holds: map[string]string{"hold": "of the point"}, RoleARN: roleARN, Plan: prefix + "backup-plan:plan",
		PlanVersion: "version", Rule: "rule", ParentARN: groupARN, ResourceType: "Directory", ResourceName: name,
		Job: "job of " + name, Initiated: at(7), Completed: at(8), SourceVaultARN: prefix + "backup-vault:other",
		Member: "member", Restore: map[string]string{"path": "/restore"}, SourceTags: map[string]string{"source": "tag"},
		LogicalBytes: 12345, StoredBytes: 678, Restored: at(10), Address: map[string]string{"path": "/golden"},
	}
}

// groupRecord is the state of a recovery point that has no data.
func groupRecord() *repo.PointRecord {
	return &repo.PointRecord{
		Status: "COMPLETED", ARN: groupARN, ResourceARN: "arn:group", Created: at(11), Parent: true,
		ResourceType: "CloudFormation", Job: "job of the group", Initiated: at(12), Completed: at(13), LogicalBytes: 1 << 40,
	}
}
