package kms

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/lockfast/lockfast/arn"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/keys"
	"github.com/lockfast/lockfast/internal/kmsapi"
	"github.com/lockfast/lockfast/internal/meta"
)

// States of a key. The last one is ours: its destruction has begun and cannot be cancelled; clients see it as the one
// before.
const (
	enabled    = string(kmsapi.KeyStateEnabled)
	disabled   = string(kmsapi.KeyStateDisabled)
	pending    = string(kmsapi.KeyStatePendingDeletion)
	destroying = "Destroying"
)

const (
	aliasPrefix = "alias/"
	reserved    = "alias/aws/"
	// defaultAlias is the name of the key of vaults for which none was named.
	defaultAlias = "alias/aws/backup"
)

// key is the row of a key. Times are zero where there is none.
type key struct {
	id, account, region string
	manager             kmsapi.KeyManagerType
	description, state  string
	policy, policyIDs   string
	created             time.Time
	version             uint32
	rotationDays        int
	rotateAt, deleteAt  time.Time
	windowDays          int
}

const keyColumns = "id, account, region, manager, description, state, policy, policy_ids, created_at, version, rotation_days, " +
	"rotate_at, window_days, delete_at"

func scanKey(scan func(...any) error) (k key, err error) {
	var created, rotate, remove int64
	err = scan(&k.id, &k.account, &k.region, &k.manager, &k.description, &k.state, &k.policy, &k.policyIDs, &created, &k.version,
		&k.rotationDays, &rotate, &k.windowDays, &remove)
	k.created, k.rotateAt, k.deleteAt = meta.FromMicros(created), at(rotate), at(remove)
	return k, err
}

// at is a time that is stored as 0 when there is none; micros is its inverse.
func at(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return meta.FromMicros(us)
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return meta.Micros(t)
}

func (k key) name() keys.KeyName {
	return keys.KeyName{Account: k.account, Region: k.region, ID: k.id, Version: k.version}
}

func (k key) arn() string { return k.name().ARN() }

// aliasARN names an alias, which begins with alias/.
func aliasARN(account, region, name string) string {
	return arn.ARN{Partition: "aws", Service: "kms", Region: region, Account: account, Resource: name}.String()
}

func selectKeys(ctx context.Context, tx *meta.Tx, rest string, args ...any) ([]key, error) {
	rows, err := tx.Query(ctx, "SELECT "+keyColumns+" FROM kms_key"+rest, args...)
	if err != nil {
		return nil, fmt.Errorf("list KMS keys: %w", err)
	}
	defer rows.Close()
	var all []key
	for rows.Next() {
		k, err := scanKey(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("list KMS keys: %w", err)
		}
		all = append(all, k)
	}
	return all, rows.Err()
}

// byARN reads a key of any account; ok is false if there is none. lock is "" or the end of the statement that locks its
// row.
func byARN(ctx context.Context, tx *meta.Tx, name, lock string) (k key, ok bool, err error) {
	a, _ := arn.Parse(name) // what is no ARN names no key
	id, isKey := strings.CutPrefix(a.Resource, "key/")
	if !isKey || a.Service != "kms" {
		return key{}, false, nil
	}
	found, err := selectKeys(ctx, tx, " WHERE id = ? AND account = ? AND region = ?"+lock, id, a.Account, a.Region)
	if err != nil || len(found) == 0 {
		return key{}, false, err
	}
	return found[0], found[0].arn() == name, nil
}

// find finds a key of the caller as operations name it: by its id, its ARN, an alias or the ARN of an alias.
func find(ctx context.Context, tx *meta.Tx, ref, lock string) (key, error) {
	c := caller.From(ctx)
	where, args, missing, err := parseRef(c, ref)
	if err != nil {
		return key{}, err
	}
	found, err := selectKeys(ctx, tx, where+lock, args...)
	if err != nil {
		return key{}, err
	}
	if len(found) == 0 {
		return key{}, missing
	}
	return found[0], nil
}

// parseRef turns the name of a key into the condition for its row and the error for its absence.
func parseRef(c caller.Caller, ref string) (where string, args []any, missing, err error) {
	resource := ref
	if strings.HasPrefix(ref, "arn:") {
		a, err := arn.Parse(ref)
		if err != nil || a.Service != "kms" || a.Partition != "aws" {
			return "", nil, nil, kmsapi.InvalidArnExceptionf("Invalid arn %s", ref)
		}
		if a.Region != c.Region {
			return "", nil, nil, kmsapi.NotFoundExceptionf("Invalid arn %s", a.Region)
		}
		resource = a.Resource
		if c.Account != a.Account {
			return "", nil, nil, noKey(ref)
		}
		if id, ok := strings.CutPrefix(resource, "key/"); ok {
			resource = id
		} else if !strings.HasPrefix(resource, aliasPrefix) {
			return "", nil, nil, kmsapi.InvalidArnExceptionf("Invalid arn %s", ref)
		}
	}
	if strings.HasPrefix(resource, aliasPrefix) {
		return " WHERE id = (SELECT key_id FROM kms_alias WHERE account = ? AND region = ? AND name = ?)",
			[]any{c.Account, c.Region, resource}, noAlias(c, resource), nil
	}
	return " WHERE account = ? AND region = ? AND id = ?", []any{c.Account, c.Region, resource},
		noKey(key{id: resource, account: c.Account, region: c.Region}.arn()), nil
}

func noKey(name string) error { return kmsapi.NotFoundExceptionf("Key '%s' does not exist", name) }

func noAlias(c caller.Caller, name string) error {
	return kmsapi.NotFoundExceptionf("Alias %s is not found.", aliasARN(c.Account, c.Region, name))
}

// read finds a key in a transaction of its own.
func (s *Service) read(ctx context.Context, ref string) (k key, err error) {
	err = s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		k, err = find(ctx, tx, ref, "")
		return err
	})
	return k, err
}

// change finds a key, locked, and lets fn change it. A key whose deletion is scheduled is refused.
func (s *Service) change(ctx context.Context, ref string, fn func(ctx context.Context, tx *meta.Tx, k key) error) (k key, err error) {
	err = s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		if k, err = find(ctx, tx, ref, tx.ForUpdate()); err != nil {
			return err
		}
		if err := k.notPending(); err != nil {
			return err
		}
		return fn(ctx, tx, k)
	})
	return k, err
}

func (k key) notPending() error {
	if k.state == pending || k.state == destroying {
		return kmsapi.KMSInvalidStateExceptionf("%s is pending deletion.", k.arn())
	}
	return nil
}

// usable refuses a key that may not encrypt or decrypt now.
func (k key) usable() error {
	if k.state == disabled {
		return kmsapi.DisabledExceptionf("%s is disabled.", k.arn())
	}
	return k.notPending()
}

// set changes columns of a key's row, of which the transaction holds the lock.
func set(ctx context.Context, tx *meta.Tx, k key, columns string, args ...any) error {
	if _, err := tx.Exec(ctx, "UPDATE kms_key SET "+columns+" WHERE id = ?", append(args, k.id)...); err != nil {
		return fmt.Errorf("change KMS key %s: %w", k.arn(), err)
	}
	return nil
}

// open opens a version of a key.
func (s *Service) open(ctx context.Context, tx *meta.Tx, k key, version uint32) (*keys.Key, error) {
	var material []byte
	err := tx.QueryRow(ctx, "SELECT material FROM kms_key_version WHERE key_id = ? AND version = ?", k.id, version).Scan(&material)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, errNoVersion
	}
	if err != nil {
		return nil, fmt.Errorf("read KMS key %s: %w", k.arn(), err)
	}
	n := k.name()
	n.Version = version
	return s.o.Root.OpenKey(ctx, n, material)
}

// errNoVersion says that a key has no such version.
var errNoVersion = errors.New("no such version of the KMS key")

// addVersion gives a key its next version, or the first.
func (s *Service) addVersion(ctx context.Context, tx *meta.Tx, k key) error {
	material, err := s.o.Root.NewMaterial(ctx, k.name())
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "INSERT INTO kms_key_version (key_id, version, material, created_at) VALUES (?, ?, ?, ?)",
		k.id, k.version, material, micros(s.now()))
	if err != nil {
		return fmt.Errorf("insert version %d of KMS key %s: %w", k.version, k.arn(), err)
	}
	return nil
}
