package vault

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"time"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/repo"
)

// The state of a vault and of each recovery point is also kept in the store, so that the database can be lost
// (docs/format.md section 14). Whoever changes a row raises its state_version and enqueues [WriteStates], in the same
// transaction; the work writes what is unwritten and notes it as written. So a state that was answered is in the store
// within seconds, however often the server crashes meanwhile. What protects data is in the store before it is answered: see
// [Service.durable]. The first state of a recovery point is written with its data: see [Service.PlannedRecord].

// WriteStates is the work of writing the unwritten states of a vault and its recovery points to the store. There is one
// such job per vault however many they are.
type WriteStates struct {
	VaultUUID string `json:"vault_uuid"`
}

// Kind names the work.
func (WriteStates) Kind() string { return "vault_write_states" }

// States writes states to the store.
type States interface {
	// WriteState makes the state of a vault, or with an ARN that of one of its recovery points, durable in the store as it
	// is in the database now.
	WriteState(ctx context.Context, vaultUUID, pointARN string) error
	// Writable is nil if states of a vault can be written now, as far as can be told. Its errors wrap [ErrKey] if the key of
	// the vault may not be used now, [repo.ErrClaimed] if another server has taken the vault over, and [blob.ErrUnavailable]
	// if the store is away.
	Writable(ctx context.Context, vaultUUID string) error
}

// State is what the rows of vaults and recovery points say about their state in the store.
type State struct {
	Version, Written int64
	ID               string // the store's name for the state of a parent
}

// durable is called between the transaction of a change that protects data and its answer: the change is in the store when
// it returns nil. Else it is made all the same, and written as soon as that is possible; the client is told to try again.
func (s *Service) durable(ctx context.Context, vaultUUID, pointARN string) error {
	if s.states == nil {
		return nil
	}
	if err := s.states.WriteState(ctx, vaultUUID, pointARN); err != nil {
		late := backupapi.ServiceUnavailableExceptionf("The change was made, but could not be written to the store yet. " +
			"It will be written as soon as that is possible. Repeat the request to know that it is.")
		return fmt.Errorf("make the change durable in the store: %w: %w", late, err)
	}
	return nil
}

// touch marks the state of a recovery point, of which the vault is locked, as changed.
func (s *Service) touch(ctx context.Context, tx *meta.Tx, vaultUUID, arn string) error {
	_, err := tx.Exec(ctx, "UPDATE recovery_point SET state_version = state_version + 1 WHERE vault_uuid = ? AND arn = ?", vaultUUID, arn)
	if err != nil {
		return fmt.Errorf("note change of %s: %w", arn, err)
	}
	return s.enqueueStates(ctx, tx, vaultUUID)
}

// touchVault is touch for a vault itself.
func (s *Service) touchVault(ctx context.Context, tx *meta.Tx, vaultUUID string) error {
	if err := exec1(ctx, tx, "UPDATE vault SET state_version = state_version + 1 WHERE uuid = ?", vaultUUID); err != nil {
		return err
	}
	return s.enqueueStates(ctx, tx, vaultUUID)
}

// enqueueStates sees to it that somebody writes the vault's states.
func (s *Service) enqueueStates(ctx context.Context, tx *meta.Tx, vaultUUID string) error {
	if s.states == nil {
		return nil
	}
	res, err := tx.Exec(ctx, "UPDATE vault SET state_since = ? WHERE uuid = ? AND state_since = 0", micros(time.Now()), vaultUUID)
	if err != nil {
		return fmt.Errorf("enqueue states: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return err
	}
	return tx.Enqueue(ctx, WriteStates{vaultUUID}, nil)
}

// TagsChangedTx marks the state of what an ARN names as changed: a vault or a recovery point, which [Service.TaggableTx]
// has locked.
func (s *Service) TagsChangedTx(ctx context.Context, tx *meta.Tx, account, arn string) error {
	if region, name, ok := parseVaultARN(arn, account); ok {
		v, err := byName(ctx, tx, account, region, name, "")
		if err != nil {
			return err
		}
		return s.touchVault(ctx, tx, v.UUID)
	}
	points, err := selectPoints(ctx, tx, " WHERE p.account = ? AND p.arn = ?", account, arn)
	for _, p := range points {
		err = errors.Join(err, s.touch(ctx, tx, p.VaultUUID, p.ARN))
	}
	return err
}

// requeueStatesAfter is how long the work on a vault's states may take before [Service.Sweep] enqueues it again.
const requeueStatesAfter = 10 * time.Minute

// requeueStates enqueues the work on states that was lost, or that nobody has enqueued yet because the vault is older than
// states are.
func (s *Service) requeueStates(ctx context.Context) error {
	if s.states == nil {
		return nil
	}
	return s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		now := time.Now()
		lost, err := selectVaults(ctx, tx, " WHERE state_since > 0 AND state_since < ? OR state_since = 0 AND "+unwritten+
			" ORDER BY uuid"+tx.ForUpdate(), micros(now.Add(-requeueStatesAfter)))
		if err != nil {
			return err
		}
		for _, v := range lost {
			if err := exec1(ctx, tx, "UPDATE vault SET state_since = ? WHERE uuid = ?", micros(now), v.UUID); err != nil {
				return err
			}
			if err := tx.Enqueue(ctx, WriteStates{v.UUID}, nil); err != nil {
				return err
			}
		}
		return nil
	})
}

// UnwrittenVaults returns the vaults of which states are to be written.
func (s *Service) UnwrittenVaults(ctx context.Context) (ids []string, err error) {
	err = s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		found, err := selectVaults(ctx, tx, " WHERE "+unwritten+" ORDER BY uuid")
		ids = nil
		for _, v := range found {
			ids = append(ids, v.UUID)
		}
		return err
	})
	return ids, err
}

// unwritten is the condition that a vault or one of its recovery points has a state to write.
const unwritten = `(state_version > state_written OR EXISTS (SELECT 1 FROM recovery_point p WHERE p.vault_uuid = vault.uuid
	AND p.state_version > p.state_written AND ` + writable + `))`

// writable is the condition that a recovery point has a state to write.
const writable = "p.status <> 'CREATING' AND (p.store_id <> '' OR p.is_parent = TRUE)"

// Unwritten are states that are to be written to the store. Generations are the versions of the rows.
type Unwritten struct {
	Account string
	Vault   *repo.VaultRecord // nil if it is written
	Points  []UnwrittenPoint
}

// UnwrittenPoint is the state of a recovery point that is to be written.
type UnwrittenPoint struct {
	ARN    string
	ID     repo.PointID // the store's name
	Parent bool
	Record repo.PointRecord
}

// Written says as which generation a state was written; an empty ARN stands for the vault.
type Written struct {
	ARN                 string
	Version, Generation uint64
}

// UnwrittenStates returns up to limit unwritten states of a vault. When there are none, the work on them is over: the next
// change enqueues it anew. The error wraps [ErrNotFound] if there is no such vault.
func (s *Service) UnwrittenStates(ctx context.Context, vaultUUID string, limit int) (u Unwritten, err error) {
	err = s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		u = Unwritten{}
		v, err := s.LockTx(ctx, tx, vaultUUID)
		if err != nil {
			return err
		}
		if u, err = s.unwrittenTx(ctx, tx, v, true, " AND p.state_version > p.state_written ORDER BY p.arn LIMIT ?", limit); err != nil {
			return err
		}
		if u.Vault != nil || len(u.Points) > 0 {
			return nil
		}
		return exec1(ctx, tx, "UPDATE vault SET state_since = 0 WHERE uuid = ?", vaultUUID)
	})
	return u, err
}

// UnwrittenState is UnwrittenStates for a vault alone, or with an ARN for one of its recovery points alone.
func (s *Service) UnwrittenState(ctx context.Context, vaultUUID, pointARN string) (u Unwritten, err error) {
	err = s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		v, err := s.LockTx(ctx, tx, vaultUUID)
		if err != nil {
			return err
		}
		u, err = s.unwrittenTx(ctx, tx, v, pointARN == "", " AND p.state_version > p.state_written AND p.arn = ?", pointARN)
		return err
	})
	return u, err
}

func (s *Service) unwrittenTx(ctx context.Context, tx *meta.Tx, v Vault, itself bool, rest string, args ...any) (u Unwritten, err error) {
	u.Account = v.Account
	if itself && v.State.Version > v.State.Written {
		record, err := s.vaultRecord(ctx, tx, v)
		if err != nil {
			return u, err
		}
		u.Vault = &record
	}
	points, err := selectPoints(ctx, tx, " WHERE p.vault_uuid = ? AND "+writable+rest, append([]any{v.UUID}, args...)...)
	if err != nil {
		return u, err
	}
	for _, p := range points {
		if p, err = nameState(ctx, tx, p); err != nil {
			return u, err
		}
		tags, err := s.tags.TagsTx(ctx, tx, p.Account, p.ARN)
		if err != nil {
			return u, err
		}
		n := UnwrittenPoint{ARN: p.ARN, ID: repo.PointID(p.StoreID), Record: recordOf(p, tags)}
		if n.Parent = p.IsParent; n.Parent {
			n.ID = repo.PointID(p.State.ID)
		}
		n.Record.Generation = uint64(p.State.Version)
		u.Points = append(u.Points, n)
	}
	return u, nil
}

// nameState gives a parent a name for its state.
func nameState(ctx context.Context, tx *meta.Tx, p Point) (Point, error) {
	if !p.IsParent || p.State.ID != "" {
		return p, nil
	}
	id := make([]byte, 16)
	rand.Read(id) // never fails
	p.State.ID = hex.EncodeToString(id)
	return p, exec1(ctx, tx, "UPDATE recovery_point SET state_id = ? WHERE vault_uuid = ? AND arn = ?", p.State.ID, p.VaultUUID, p.ARN)
}

// StatesWritten notes what is durable in the store. A row that was changed meanwhile stays unwritten, with a version above
// the generation that was written. gone are those of which the row is not there any more.
func (s *Service) StatesWritten(ctx context.Context, vaultUUID string, all []Written) (gone []Written, err error) {
	err = s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		gone = nil
		if _, err := s.LockTx(ctx, tx, vaultUUID); err != nil {
			return err
		}
		for _, w := range all {
			table, where, args := "vault", "uuid = ?", []any{vaultUUID}
			if w.ARN != "" {
				table, where, args = "recovery_point", "vault_uuid = ? AND arn = ?", []any{vaultUUID, w.ARN}
			}
			shift := int64(w.Generation) - int64(w.Version)
			res, err := tx.Exec(ctx, "UPDATE "+table+" SET state_version = state_version + ?, state_written = ? WHERE "+where,
				append([]any{shift, int64(w.Generation)}, args...)...)
			if err != nil {
				return fmt.Errorf("note written state: %w", err)
			}
			if n, err := res.RowsAffected(); err != nil {
				return err
			} else if n == 0 {
				gone = append(gone, w)
			}
		}
		return nil
	})
	return gone, err
}

// vaultRecord is what the store is told of a vault.
func (s *Service) vaultRecord(ctx context.Context, tx *meta.Tx, v Vault) (r repo.VaultRecord, err error) {
	p, err := policyOf(ctx, tx, v.UUID)
	if err != nil {
		return r, err
	}
	tags, err := s.tags.TagsTx(ctx, tx, v.Account, v.ARN())
	return repo.VaultRecord{
		Generation: uint64(v.State.Version), Name: v.Name, Account: v.Account, Region: v.Region, Created: v.CreatedAt,
		Policy: p.Text, KeyARN: v.KeyARN, Tags: tags, Type: string(backupapi.VaultTypeBackupVault),
		CreatorRequestID: v.CreatorRequestID, Request: v.request, CustomerKey: v.CustomerKey, Principals: p.IDs,
	}, err
}

// recordOf is what the store is told of a recovery point.
func recordOf(p Point, tags map[string]string) repo.PointRecord {
	r := repo.PointRecord{
		Status: string(p.Status), StatusMessage: p.StatusMessage, ARN: p.ARN, ResourceARN: p.ResourceARN, Created: p.CreatedAt,
		DeleteAfter: uint64(p.DeleteAfterDays), DeleteAt: p.DeleteAt, Parent: p.IsParent, Continuous: p.Continuous,
		Tags: filled(tags), RoleARN: p.RoleARN, ParentARN: p.ParentARN, ResourceType: p.ResourceType, ResourceName: p.ResourceName,
		Job: p.JobID, Initiated: p.InitiatedAt, Completed: p.CompletedAt, SourceVaultARN: p.SourceVaultARN, Member: p.MemberID,
		Restore: filled(p.Metadata), SourceTags: filled(p.SourceTags), LogicalBytes: uint64(p.LogicalBytes),
		Restored: p.RestoredAt, Address: filled(p.Address),
	}
	r.ColdAfterDays, r.ColdAt, r.Cold = uint64(p.ColdAfterDays), p.ColdAt, !p.ColdSince.IsZero()
	if by := p.CreatedBy; by != nil {
		r.Plan, r.PlanVersion, r.Rule = deref(by.BackupPlanId), deref(by.BackupPlanVersion), deref(by.BackupRuleId)
	}
	if p.Status == Deleting {
		r.StatusAt = p.StatusAt
	}
	if !p.DamagedAt.IsZero() {
		r.DamagedAt, r.DamagedPaths = p.DamagedAt, p.Damage.Paths
		r.DamagedMore, r.DamagedUnknown = uint64(p.Damage.More), p.Damage.Unknown
	}
	return r
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// filled makes no difference between an empty map and none.
func filled(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	return maps.Clone(m)
}

// PlannedRecord is what the store is told of a recovery point that is about to be completed, with its data. If it is
// completed so, with the record in the [Completion], nothing more needs to be written. StoreID and StoredBytes of c are not
// known yet.
func (s *Service) PlannedRecord(p Point, c Completion) *repo.PointRecord {
	p.CompletedAt = s.now()
	if p.Status = Completed; p.Continuous {
		p.Status = Available
	}
	p.StatusMessage, p.Metadata, p.SourceTags, p.Address, p.LogicalBytes = c.StatusMessage, c.Metadata, c.SourceTags, c.Address, 0
	r := recordOf(p, c.Tags)
	return &r
}

// settle compares the first state in the store with the row of a recovery point that is complete now.
func (s *Service) settle(ctx context.Context, tx *meta.Tx, vaultUUID, arn string, written *repo.PointRecord) error {
	if written == nil {
		return s.touch(ctx, tx, vaultUUID, arn)
	}
	p, err := pointIn(ctx, tx, vaultUUID, arn)
	if err != nil {
		return err
	}
	tags, err := s.tags.TagsTx(ctx, tx, p.Account, p.ARN)
	if err != nil {
		return err
	}
	want, have := recordOf(p, tags), *written
	want.Generation, have.Generation, have.LogicalBytes, want.LogicalBytes = 0, 0, 0, 0 // the manifest has the size
	if err := exec1(ctx, tx, "UPDATE recovery_point SET state_version = 1, state_written = 1 WHERE vault_uuid = ? AND arn = ?", vaultUUID, arn); err != nil {
		return err
	}
	if reflect.DeepEqual(want, have) {
		return nil
	}
	return s.touch(ctx, tx, vaultUUID, arn)
}
