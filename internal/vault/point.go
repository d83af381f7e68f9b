package vault

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/lockfast/lockfast/arn"
	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/wire"
)

// Point is the row of a recovery point. Times are zero where there is none.
type Point struct {
	VaultUUID, VaultName       string
	ARN                        string
	Account, Region            string
	ResourceARN                string
	ResourceType, ResourceName string
	RoleARN                    string
	JobID                      string
	Status                     Status
	StatusMessage              string
	StatusAt                   time.Time // of the last change of Status
	CreatedAt                  time.Time // of the capture; retention counts from here
	InitiatedAt                time.Time // of the job
	CompletedAt, RestoredAt    time.Time
	DeleteAfterDays            int64     // 0 = kept for ever
	DeleteAt                   time.Time // zero while AVAILABLE: what is too old leaves it continuously
	Cold
	Damaged
	LogicalBytes, StoredBytes int64
	UniqueBytes               *int64                          // nil until computed; StoredBytes is what the backup wrote until then
	UniquePartBytes           *int64                          // likewise
	StoreID                   string                          // the store's name for it; empty while CREATING
	Metadata                  map[string]string               // what a restore is started with
	SourceTags                map[string]string               // tags of the resource when it was backed up
	Continuous                bool                            // it grows with its resource while it is AVAILABLE
	SourceVaultARN            string                          // vault that a copy was made from; empty for what is no copy
	CreatedBy                 *backupapi.RecoveryPointCreator // rule of a plan; nil for none
	Address                   map[string]string               // where the resource was
	State                     State
	Composite
	Key // of the vault
}

const pointColumns = `p.vault_uuid, v.name, p.arn, p.account, p.region, p.resource_arn, p.resource_type, p.resource_name,
	p.role_arn, p.job_id, p.status, p.status_message, p.status_at, p.created_at, p.initiated_at, p.completed_at, p.restored_at,
	p.delete_after_days, p.delete_at, p.logical_bytes, p.stored_bytes, p.unique_bytes, p.unique_part_bytes, p.store_id, p.metadata,
	p.source_tags, p.continuous, p.is_parent, p.parent_arn, p.member_id, p.source_vault_arn, p.created_by,
	p.cold_after_days, p.cold_at, p.cold_since, p.cold_claim, p.cold_until, p.cold_tries, p.warm_store_id,
	p.address, p.state_version, p.state_written, p.state_id, p.damaged_at, p.damage, v.key_arn, v.customer_key`

const pointTables = " FROM recovery_point p JOIN vault v ON v.uuid = p.vault_uuid"

func scanPoint(scan func(...any) error) (Point, error) {
	var (
		p                       Point
		metadata, tags, address string
	)
	err := scan(&p.VaultUUID, &p.VaultName, &p.ARN, &p.Account, &p.Region, &p.ResourceARN, &p.ResourceType, &p.ResourceName,
		&p.RoleARN, &p.JobID, &p.Status, &p.StatusMessage, at{&p.StatusAt}, at{&p.CreatedAt}, at{&p.InitiatedAt},
		at{&p.CompletedAt}, at{&p.RestoredAt}, &p.DeleteAfterDays, at{&p.DeleteAt}, &p.LogicalBytes, &p.StoredBytes,
		&p.UniqueBytes, &p.UniquePartBytes, &p.StoreID, &metadata, &tags, &p.Continuous, &p.IsParent, &p.ParentARN, &p.MemberID, &p.SourceVaultARN,
		creator{&p.CreatedBy}, &p.ColdAfterDays, at{&p.ColdAt}, at{&p.ColdSince}, &p.claim, at{&p.claimedUntil}, &p.tries, &p.warmID,
		&address, &p.State.Version, &p.State.Written, &p.State.ID, at{&p.DamagedAt}, damage{&p.Damage}, &p.KeyARN, &p.CustomerKey)
	if err != nil {
		return Point{}, err
	}
	err = errors.Join(json.Unmarshal([]byte(metadata), &p.Metadata), json.Unmarshal([]byte(tags), &p.SourceTags),
		json.Unmarshal([]byte(address), &p.Address))
	return p, err
}

// at scans a time that is stored as 0 when there is none.
type at struct{ t *time.Time }

func (a at) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("time column holds %T", v)
	}
	if *a.t = (time.Time{}); n != 0 {
		*a.t = meta.FromMicros(n)
	}
	return nil
}

// creator scans a creator that is stored as JSON, empty for none.
type creator struct {
	to **backupapi.RecoveryPointCreator
}

func (c creator) Scan(v any) error {
	text, ok := v.(string)
	if !ok {
		return fmt.Errorf("created_by holds %T", v)
	}
	if *c.to = nil; text == "" {
		return nil
	}
	return json.Unmarshal([]byte(text), c.to)
}

// creatorColumns are what the columns created_by and plan_id hold.
func creatorColumns(c *backupapi.RecoveryPointCreator) (createdBy, planID string, err error) {
	if c == nil {
		return "", "", nil
	}
	text, err := json.Marshal(c)
	if c.BackupPlanId != nil {
		planID = *c.BackupPlanId
	}
	return string(text), planID, err
}

// micros is the inverse of [at].
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return meta.Micros(t)
}

func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func some(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// pointIn reads a recovery point of a vault, or returns an error that wraps [ErrNotFound].
func pointIn(ctx context.Context, tx *meta.Tx, vaultUUID, arn string) (Point, error) {
	p, err := scanPoint(tx.QueryRow(ctx, "SELECT "+pointColumns+pointTables+" WHERE p.vault_uuid = ? AND p.arn = ?",
		vaultUUID, arn).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return Point{}, fmt.Errorf("read recovery point %s: %w", arn, err)
	}
	return p, nil
}

func selectPoints(ctx context.Context, tx *meta.Tx, rest string, args ...any) ([]Point, error) {
	rows, err := tx.Query(ctx, "SELECT "+pointColumns+pointTables+rest, args...)
	if err != nil {
		return nil, fmt.Errorf("list recovery points: %w", err)
	}
	defer rows.Close()
	var all []Point
	for rows.Next() {
		p, err := scanPoint(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("list recovery points: %w", err)
		}
		all = append(all, p)
	}
	return all, rows.Err()
}

// Point reads a recovery point, or returns an error that wraps [ErrNotFound].
func (s *Service) Point(ctx context.Context, vaultUUID, arn string) (p Point, err error) {
	err = s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		p, err = pointIn(ctx, tx, vaultUUID, arn)
		return err
	})
	return p, err
}

// FindPoint finds a recovery point of an account by its ARN, in whichever vault of the region it is. A missing one, and
// one whose data cannot be read, such as a parent, is an API error.
func (s *Service) FindPoint(ctx context.Context, account, region, arn string) (p Point, err error) {
	if err := checkARN(arn); err != nil {
		return p, err
	}
	err = s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		p, err = find(ctx, tx, account, region, arn)
		return err
	})
	return p, err
}

// RoleOfPoint returns the role that made the recovery point that [Service.FindPoint] finds; empty if it finds none.
func (s *Service) RoleOfPoint(ctx context.Context, account, region, arn string) (string, error) {
	p, err := s.FindPoint(ctx, account, region, arn)
	if _, refused := errors.AsType[wire.APIError](err); refused {
		return "", nil
	}
	return p.RoleARN, err
}

func find(ctx context.Context, tx *meta.Tx, account, region, arn string) (Point, error) {
	found, err := selectPoints(ctx, tx, " WHERE p.account = ? AND p.arn = ? AND p.region = ? ORDER BY v.name", account, arn, region)
	if err != nil {
		return Point{}, err
	}
	for _, p := range found {
		if restorable(p.Status) {
			return p, checkReadable(p)
		}
	}
	if len(found) == 0 {
		return Point{}, backupapi.ResourceNotFoundExceptionf("Recovery point %s does not exist", arn)
	}
	return Point{}, backupapi.InvalidRequestExceptionf("Recovery point %s cannot be read while its status is %s", arn, found[0].Status)
}

// RestorableTx finds a recovery point for a restore as [Service.FindPoint] does, and locks its vault's row, under which
// the caller records the restore.
func (s *Service) RestorableTx(ctx context.Context, tx *meta.Tx, account, region, arn string) (*backupapi.DescribeRecoveryPointOutput, error) {
	if err := checkARN(arn); err != nil {
		return nil, err
	}
	p, err := find(ctx, tx, account, region, arn)
	if err != nil {
		return nil, err
	}
	if _, err := s.LockTx(ctx, tx, p.VaultUUID); err != nil {
		return nil, err
	}
	if p, err = find(ctx, tx, account, region, arn); err != nil { // now that it cannot change
		return nil, err
	}
	return describe(p), nil
}

// read finds the recovery point that an operation names; a missing vault or recovery point is an API error.
func (s *Service) read(ctx context.Context, tx *meta.Tx, name, arn, lock string) (Vault, Point, error) {
	c := caller.From(ctx)
	v, err := byName(ctx, tx, c.Account, c.Region, name, lock)
	if err != nil {
		return v, Point{}, err
	}
	p, err := readIn(ctx, tx, v, arn)
	return v, p, err
}

// readIn finds the recovery point of a vault that an operation names; a missing one is an API error.
func readIn(ctx context.Context, tx *meta.Tx, v Vault, arn string) (Point, error) {
	p, err := pointIn(ctx, tx, v.UUID, arn)
	if errors.Is(err, ErrNotFound) {
		err = backupapi.ResourceNotFoundExceptionf("Recovery point %s does not exist in backup vault %s", arn, v.Name)
	}
	return p, err
}

// checkARN refuses what does not have the form of an ARN.
func checkARN(text string) error { return checkFilters(&text) }

// checkFilters refuses filters of a list that should be ARNs and are not: an empty list would say that there is nothing.
func checkFilters(arns ...*string) error {
	if err := arn.CheckAll(arns...); err != nil {
		return backupapi.InvalidParameterValueExceptionf("%v", err)
	}
	return nil
}

// ownAccount refuses the vaults of other accounts.
func ownAccount(c caller.Caller, id *string) error {
	if id == nil || *id == c.Account {
		return nil
	}
	return &wire.Denied{Message: "Insufficient privileges to perform this action."}
}
