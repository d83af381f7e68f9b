package vault

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/lockfast/lockfast/arn"
	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
)

// Vault is the row of a backup vault.
type Vault struct {
	UUID             string // also its prefix in the store
	Account, Region  string
	Name             string
	CreatorRequestID string
	CreatedAt        time.Time
	Points           int64 // recovery points, whatever their status
	Changes          int64 // of what it holds, see [Service.OutdateTx]
	Key
	State State

	request string
}

// ARN is the vault's name for clients.
func (v Vault) ARN() string { return arn.Vault(v.Account, v.Region, v.Name) }

// EraseVault is the work of removing what a deleted vault left in the store.
type EraseVault struct {
	VaultUUID string `json:"vault_uuid"`
}

// Kind names the work.
func (EraseVault) Kind() string { return "vault_erase" }

const vaultColumns = "uuid, account, region, name, creator_request_id, request, created_at, point_count, key_arn, customer_key, " +
	"state_version, state_written, changes"

func scanVault(scan func(...any) error) (v Vault, err error) {
	var created int64
	err = scan(&v.UUID, &v.Account, &v.Region, &v.Name, &v.CreatorRequestID, &v.request, &created, &v.Points,
		&v.KeyARN, &v.CustomerKey, &v.State.Version, &v.State.Written, &v.Changes)
	v.CreatedAt = meta.FromMicros(created)
	return v, err
}

// ErrNotFound says that there is no vault of that UUID, or no such recovery point in it.
var ErrNotFound = errors.New("vault or recovery point does not exist")

// byUUID reads a vault; lock is "" or the end of the statement that locks its row.
func byUUID(ctx context.Context, tx *meta.Tx, id, lock string) (Vault, error) {
	v, err := scanVault(tx.QueryRow(ctx, "SELECT "+vaultColumns+" FROM vault WHERE uuid = ?"+lock, id).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return Vault{}, fmt.Errorf("read vault %s: %w", id, err)
	}
	return v, nil
}

// byName reads a vault; a missing one is an API error.
func byName(ctx context.Context, tx *meta.Tx, account, region, name, lock string) (Vault, error) {
	v, err := scanVault(tx.QueryRow(ctx, "SELECT "+vaultColumns+" FROM vault WHERE account = ? AND region = ? AND name = ?"+
		lock, account, region, name).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return Vault{}, noVault(name)
	}
	if err != nil {
		return Vault{}, fmt.Errorf("read vault %q: %w", name, err)
	}
	return v, nil
}

func noVault(name string) error {
	return backupapi.ResourceNotFoundExceptionf("Backup vault %s does not exist", name)
}

// LockTx locks a vault's row until the transaction ends, and reads it. It comes before every other lock of a
// transaction that changes the vault, its recovery points or the control tables of its store.
func (s *Service) LockTx(ctx context.Context, tx *meta.Tx, vaultUUID string) (Vault, error) {
	return byUUID(ctx, tx, vaultUUID, tx.ForUpdate())
}

// Vault reads a vault, or returns an error that wraps [ErrNotFound].
func (s *Service) Vault(ctx context.Context, vaultUUID string) (v Vault, err error) {
	err = s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		v, err = byUUID(ctx, tx, vaultUUID, "")
		return err
	})
	return v, err
}

// VaultUUIDTx finds a vault by its name. A missing vault is an API error.
func (s *Service) VaultUUIDTx(ctx context.Context, tx *meta.Tx, account, region, name string) (string, error) {
	v, err := byName(ctx, tx, account, region, name, "")
	return v.UUID, err
}

// CreateBackupVault makes an empty vault. Repeating a call with its CreatorRequestId answers the vault that exists.
func (s *Service) CreateBackupVault(ctx context.Context, in *backupapi.CreateBackupVaultInput) (*backupapi.CreateBackupVaultOutput, error) {
	c := caller.From(ctx)
	if in.EncryptionKeyArn != nil {
		if err := checkKeyARN(c, *in.EncryptionKeyArn); err != nil {
			return nil, err
		}
	}
	v := Vault{UUID: uuid.NewString(), Account: c.Account, Region: c.Region, Name: in.BackupVaultName, CreatedAt: s.now()}
	if in.CreatorRequestId != nil {
		v.CreatorRequestID = *in.CreatorRequestId
	}
	if err := checkCreator(v.CreatorRequestID); err != nil {
		return nil, err
	}
	v.request = requestOf(in)
	var out Vault
	err := s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) (err error) {
		out, err = s.create(ctx, tx, v, in)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &backupapi.CreateBackupVaultOutput{
		BackupVaultArn: new(out.ARN()), BackupVaultName: &out.Name, CreationDate: &out.CreatedAt,
	}, nil
}

func (s *Service) create(ctx context.Context, tx *meta.Tx, v Vault, in *backupapi.CreateBackupVaultInput) (Vault, error) {
	var count int
	err := tx.QueryRow(ctx, `INSERT INTO vault_partition (account, region, vaults) VALUES (?, ?, 1)
		ON CONFLICT (account, region) DO UPDATE SET vaults = vault_partition.vaults + 1 RETURNING vaults`,
		v.Account, v.Region).Scan(&count)
	if err != nil {
		return Vault{}, fmt.Errorf("count vaults: %w", err)
	}
	old, err := byName(ctx, tx, v.Account, v.Region, v.Name, "")
	if err == nil {
		if err := addVaults(ctx, tx, v.Account, v.Region, -1); err != nil {
			return Vault{}, err
		}
		return old, repeated(v, old)
	}
	if _, missing := errors.AsType[*backupapi.ResourceNotFoundException](err); !missing {
		return Vault{}, err
	}
	if count > s.quota {
		return Vault{}, backupapi.LimitExceededExceptionf("The limit of %d backup vaults per account and Region is reached", s.quota)
	}
	named := ""
	if in.EncryptionKeyArn != nil {
		named = *in.EncryptionKeyArn
	}
	if err := s.giveKey(ctx, tx, &v, named); err != nil {
		return Vault{}, err
	}
	v.State.Version = 1
	if err := insertVault(ctx, tx, v); err != nil {
		return Vault{}, err
	}
	if err := s.tags.SetTagsTx(ctx, tx, v.Account, v.ARN(), in.BackupVaultTags); err != nil {
		return Vault{}, err
	}
	if err := s.announceVault(ctx, tx, v, "CREATED"); err != nil {
		return Vault{}, err
	}
	return v, s.enqueueStates(ctx, tx, v.UUID)
}

func insertVault(ctx context.Context, tx *meta.Tx, v Vault) error {
	_, err := tx.Exec(ctx, "INSERT INTO vault ("+vaultColumns+", deleting_since) VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, 0, 0)",
		v.UUID, v.Account, v.Region, v.Name, v.CreatorRequestID, v.request, meta.Micros(v.CreatedAt), v.KeyARN, v.CustomerKey,
		v.State.Version, v.State.Written)
	if err != nil {
		return fmt.Errorf("insert vault %q: %w", v.Name, err)
	}
	return nil
}

// repeated is nil if creating v is the same request that created old.
func repeated(v, old Vault) error {
	if v.CreatorRequestID != "" && v.CreatorRequestID == old.CreatorRequestID && v.request == old.request {
		return nil
	}
	err := backupapi.AlreadyExistsExceptionf("Backup vault with the same name already exists")
	err.Arn, err.CreatorRequestId = old.ARN(), old.CreatorRequestID
	return err
}

// addVaults changes the number of vaults, and locks the row that holds it. Who also locks a vault does that first.
func addVaults(ctx context.Context, tx *meta.Tx, account, region string, n int) error {
	_, err := tx.Exec(ctx, "UPDATE vault_partition SET vaults = vaults + ? WHERE account = ? AND region = ?", n, account, region)
	if err != nil {
		return fmt.Errorf("count vaults: %w", err)
	}
	return nil
}

// checkCreator checks a CreatorRequestId: 1 to 50 of A-Z a-z 0-9 - _ and the full stop.
func checkCreator(id string) error {
	for _, r := range id {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '_', r == '.':
		default:
			return backupapi.InvalidParameterValueExceptionf("CreatorRequestId may hold letters, digits and -_. only: %q", id)
		}
	}
	if len(id) > 50 {
		return backupapi.InvalidParameterValueExceptionf("CreatorRequestId has more than 50 characters")
	}
	return nil
}

// requestOf is the digest of what a vault is created with. Without a key it is the same as before vaults had keys.
func requestOf(in *backupapi.CreateBackupVaultInput) string {
	if in.EncryptionKeyArn == nil {
		return digest(in.BackupVaultTags)
	}
	return digest([]any{in.BackupVaultTags, *in.EncryptionKeyArn})
}

// digest makes requests comparable without keeping their tags, which are confidential.
func digest(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("vault: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// DescribeBackupVault answers the fields of a vault.
func (s *Service) DescribeBackupVault(ctx context.Context, in *backupapi.DescribeBackupVaultInput) (*backupapi.DescribeBackupVaultOutput, error) {
	c := caller.From(ctx)
	if err := ownAccount(c, in.BackupVaultAccountId); err != nil {
		return nil, err
	}
	var v Vault
	err := s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) (err error) {
		v, err = byName(ctx, tx, c.Account, c.Region, in.BackupVaultName, "")
		return err
	})
	if err != nil {
		return nil, err
	}
	m := member(v)
	return &backupapi.DescribeBackupVaultOutput{
		BackupVaultArn: m.BackupVaultArn, BackupVaultName: m.BackupVaultName, CreationDate: m.CreationDate,
		CreatorRequestId: m.CreatorRequestId, EncryptionKeyArn: m.EncryptionKeyArn, EncryptionKeyType: m.EncryptionKeyType, Locked: m.Locked,
		NumberOfRecoveryPoints: m.NumberOfRecoveryPoints, VaultState: m.VaultState, VaultType: m.VaultType,
	}, nil
}

// member is the vault as lists show it.
func member(v Vault) backupapi.BackupVaultListMember {
	m := backupapi.BackupVaultListMember{
		BackupVaultArn: new(v.ARN()), BackupVaultName: &v.Name, CreationDate: &v.CreatedAt,
		EncryptionKeyArn: some(v.KeyARN), EncryptionKeyType: v.kind(), Locked: new(false),
		NumberOfRecoveryPoints: &v.Points, VaultState: new(backupapi.VaultStateAvailable),
		VaultType: new(backupapi.VaultTypeBackupVault),
	}
	if v.CreatorRequestID != "" {
		m.CreatorRequestId = &v.CreatorRequestID
	}
	return m
}

// DeleteBackupVault removes an empty vault; what it left in the store is erased afterwards.
func (s *Service) DeleteBackupVault(ctx context.Context, in *backupapi.DeleteBackupVaultInput) (*backupapi.DeleteBackupVaultOutput, error) {
	v, err := s.named(ctx, caller.From(ctx), in.BackupVaultName)
	if err == nil {
		err = s.unclaimed(ctx, v.UUID)
	}
	if err == nil {
		err = s.updateVault(ctx, in.BackupVaultName, s.remove)
	}
	if err != nil {
		return nil, err
	}
	return &backupapi.DeleteBackupVaultOutput{}, nil
}

func (s *Service) remove(ctx context.Context, tx *meta.Tx, v Vault) error {
	if v.Points > 0 {
		err := backupapi.InvalidRequestExceptionf("Backup vault cannot be deleted because it contains recovery points.")
		err.Code, err.Context = "ERROR_9101", strconv.FormatInt(v.Points, 10)
		return err
	}
	for _, table := range []string{"vault_usage WHERE vault_uuid", "vault WHERE uuid"} {
		if _, err := tx.Exec(ctx, "DELETE FROM "+table+" = ?", v.UUID); err != nil {
			return fmt.Errorf("delete vault %q: %w", v.Name, err)
		}
	}
	if err := addVaults(ctx, tx, v.Account, v.Region, -1); err != nil {
		return err
	}
	if err := s.tags.DropTagsTx(ctx, tx, v.Account, v.ARN()); err != nil {
		return err
	}
	if err := s.announceVault(ctx, tx, v, deleted); err != nil {
		return err
	}
	return tx.Enqueue(ctx, EraseVault{v.UUID}, nil)
}
